/**
 * The SASL profile of SMTP (RFC 4954). Mechanisms are tried strongest first; only a refusal of the
 * mechanism itself (504) leads to the next one. A refused password, a demand for something stronger
 * and a server that fails to prove itself all end the attempt: nothing weaker is ever handed out.
 */
import type { Exchange, Mechanism, SaslContext } from "../sasl/mechanism.ts";
import { SaslError } from "../sasl/mechanism.ts";
import { auth, CANCEL, response, unbase64 } from "./command.ts";
import { CommandError, SmtpError } from "./error.ts";
import type { Group } from "./group.ts";
import { classOf, type Reply } from "./reply.ts";
import { type Line, read, type Step } from "./step.ts";

/** What a refused AUTH means for the attempt. */
export type Refusal =
  | { readonly then: "next"; readonly reply: Reply }
  | { readonly then: "stop"; readonly error: SmtpError };

/** RFC 4954 §6. `undefined` where AUTH succeeded. */
export function judge(reply: Reply, mechanism: string): Refusal | undefined {
  if (reply.code < 300) return undefined;
  if (reply.code === 504) return { then: "next", reply };
  return { then: "stop", error: authError(reply, mechanism) };
}

function authError(reply: Reply, mechanism: string): SmtpError {
  const at = { phase: "auth", reply } as const;
  if (reply.code === 535) {
    return new SmtpError(
      "auth_failed",
      "The server refused the username or password. Mend the mailbox's secret; some providers want an app password or authorization code, not the account's own.",
      at,
    );
  }
  if (reply.code === 530) {
    return new SmtpError("auth_required", "The server demands another login.", at);
  }
  // 432 asks for a password transition (a person), except as Exchange's "4.3.2, too many connections".
  if (classOf(reply) === "transient" && (reply.code !== 432 || reply.enhanced === "4.3.2")) {
    return new SmtpError("auth_deferred", "The server cannot check the login now.", at);
  }
  return refused(reply, mechanism);
}

function refused(reply: Reply, mechanism: string): SmtpError {
  return new SmtpError("auth_refused", `The server refused AUTH ${mechanism}.`, {
    phase: "auth",
    reply,
  });
}

/**
 * AUTH in a group with what follows, where one line is the whole exchange (RFC 4954 §4 allows it;
 * PLAIN and EXTERNAL). Returns whether it was queued; `on` gets the reply.
 */
export function* groupAuth(
  group: Group,
  mechanism: Mechanism,
  context: SaslContext,
  on: (reply: Reply) => void,
): Step<boolean> {
  if (!mechanism.oneShot || !group.pipelining) return false;
  const exchange = begin(mechanism, context);
  const line = exchange.initial && auth(mechanism.name, exchange.initial);
  if (line === undefined) return false;
  yield* group.send(line, "auth", on);
  return true;
}

/**
 * One mechanism, step by step.
 * @returns the refusal, or `undefined` once the server accepted and proved what it had to.
 * @throws SmtpError `auth_refused` when a challenge is not base64, one too many, or proves nothing.
 */
export function* authenticate(
  mechanism: Mechanism,
  context: SaslContext,
): Step<Refusal | undefined> {
  return yield* exchanged(mechanism, context, begin(mechanism, context));
}

function* exchanged(
  mechanism: Mechanism,
  context: SaslContext,
  exchange: Exchange,
): Step<Refusal | undefined> {
  const { initial } = exchange;
  const withInitial = initial && auth(mechanism.name, initial);
  // Sent alone where the response is too long for the line, or where the server speaks first.
  yield { do: "write", line: withInitial ?? (auth(mechanism.name) as Line) };
  let held = withInitial === undefined ? initial : undefined;
  // Ends with the mechanism's last answer: none of them has more than two (test/sasl/hostile.test.ts).
  for (let count = 0; ; count += 1) {
    const reply = yield* read("auth");
    if (classOf(reply) !== "intermediate") {
      if (reply.code === 501 && count === 0 && withInitial && mechanism.ignoresPrompts) {
        // LOGIN knows no initial response by its draft; a server that insists is asked its way.
        const patient = prove(() => mechanism.begin(context, { initialResponse: false }));
        return yield* exchanged(mechanism, context, patient);
      }
      const refusal = judge(reply, mechanism.name);
      if (refusal === undefined) prove(() => exchange.finish());
      // 504 refuses a mechanism only as an answer to its name.
      if (refusal?.then === "next" && count > 0)
        return { then: "stop", error: refused(reply, mechanism.name) };
      return refusal;
    }
    const challenge =
      unbase64((reply.lines[0] ?? "").trim()) ?? (mechanism.ignoresPrompts && new Uint8Array(0));
    // A server that ignored the initial response asks with an empty challenge: it gets it again.
    if (count === 0 && withInitial && mechanism.oneShot && challenge && challenge.length === 0) {
      held = initial;
    }
    let answer: Line;
    try {
      if (held !== undefined) answer = fitting(held);
      else if (!challenge) throw new SaslError("the challenge is not base64");
      else answer = fitting(exchange.next(challenge));
    } catch (error) {
      if (!(error instanceof SaslError)) throw error;
      yield* cancel();
      throw untrusted(error);
    }
    held = undefined;
    yield { do: "write", line: answer };
  }
}

/** A token may be longer than a response (RFC 4954 §4): no fault of ours, and no login either. */
function fitting(octets: Uint8Array): Line {
  try {
    return response(octets);
  } catch (error) {
    throw error instanceof CommandError ? new SaslError("the response is too long to send") : error;
  }
}

/** `*` and its 501; how the server takes it no longer matters. */
function* cancel(): Step<void> {
  try {
    yield { do: "write", line: CANCEL };
    yield* read("auth");
  } catch (error) {
    if (!(error instanceof SmtpError)) throw error;
  }
}

function begin(mechanism: Mechanism, context: SaslContext) {
  return prove(() => mechanism.begin(context));
}

function prove<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw error instanceof SaslError ? untrusted(error) : error;
  }
}

function untrusted(error: SaslError): SmtpError {
  return new SmtpError("auth_refused", `The login was broken off: ${error.message}.`, {
    phase: "auth",
  });
}
