/**
 * One session: greeting, TLS, login, any number of messages, QUIT (RFC 5321 §3). It always returns
 * a report: whatever ends it, each recipient's fate is settled truthfully. Logins are tried here, the
 * first one within the messages' own group where RFC 4954 §4 allows it; messages are transactions.ts's.
 */
import type { Credentials, Mechanism, SaslContext } from "../sasl/mechanism.ts";
import { authenticate, groupAuth, judge, type Refusal } from "./authenticate.ts";
import type { Capabilities } from "./capabilities.ts";
import type { Submission } from "./envelope.ts";
import { SmtpError } from "./error.ts";
import { greet, type Security } from "./greet.ts";
import { candidates, type Learnt, type LoginPolicy, LoginRefused } from "./login.ts";
import type { Reply } from "./reply.ts";
import type { SessionReport } from "./report.ts";
import type { Channel, Step } from "./step.ts";
import { Transactions } from "./transactions.ts";

export interface SessionPlan extends LoginPolicy {
  readonly security: Security;
  readonly ehloName: string;
  readonly host: string;
  readonly port: number;
  /** Absent: no AUTH. */
  readonly credentials?: Credentials;
  readonly chunking: "auto" | "off";
  readonly nonce: () => string;
  /** From a session before this one, where it ended so that another must go on. */
  readonly learnt?: Learnt | undefined;
}

class Session {
  readonly #plan: SessionPlan;
  readonly #messages: Transactions;
  #capabilities: Capabilities | undefined;
  #channel: Channel | undefined;
  #mechanism: string | undefined;
  #learnt: Learnt | undefined;
  #error: SmtpError | undefined;

  constructor(plan: SessionPlan, submissions: readonly Submission[]) {
    this.#plan = plan;
    this.#messages = new Transactions(submissions, plan.chunking);
  }

  /** All but the farewell. Whatever ends it early is kept for the report. */
  *run(): Step<void> {
    try {
      const { security, ehloName, credentials } = this.#plan;
      const { capabilities, channel } = yield* greet(security, ehloName);
      this.#capabilities = capabilities;
      this.#channel = channel;
      this.#messages.welcome(capabilities, channel !== undefined);
      if (credentials === undefined) yield* this.#messages.run();
      else yield* this.#login(this.#saslContext(capabilities, credentials));
    } catch (error) {
      // What others of the session's messages were told must not be lost with a fault of our own.
      this.#error =
        error instanceof SmtpError
          ? error
          : new SmtpError("internal_error", `Unexpected error (${(error as Error).name}).`);
    }
  }

  /** Try the shared mechanisms in order; the first that logs in goes on with the messages. */
  *#login(context: SaslContext): Step<void> {
    const shared = candidates(context, this.#plan);
    const { refused: before = [], alone = false } = this.#plan.learnt ?? {};
    const refused = [...before];
    let last: Reply | undefined;
    for (const mechanism of shared.filter(({ name }) => !before.includes(name))) {
      // This connection is spent, but the server takes another login: in another session.
      if (this.#messages.over) {
        this.#learnt = { refused, alone };
        return;
      }
      // A refused -PLUS counts as not offered, so that SCRAM tells the server what was done to it
      // (RFC 5802 §6, the "y" flag).
      const advertised = context.advertised.filter((name) => !refused.includes(name));
      const refusal = yield* this.#attempt(mechanism, { ...context, advertised }, alone);
      if (refusal === undefined) return;
      if (refusal === "unfinished") {
        this.#learnt = { refused, alone: true };
        return;
      }
      if (refusal.then === "stop") throw refusal.error;
      refused.push(mechanism.name);
      last = refusal.reply;
    }
    throw new SmtpError(
      "auth_unavailable",
      `The server refused each mechanism in common (${shared.map((m) => m.name).join(", ")}).`,
      { phase: "auth", ...(last && { reply: last }) },
    );
  }

  /**
   * Log in and send; AUTH shares the first group where RFC 4954 §4 allows it.
   * @returns `unfinished` where the server wants AUTH by itself, and this connection is spent
   */
  *#attempt(
    mechanism: Mechanism,
    context: SaslContext,
    alone: boolean,
  ): Step<Refusal | "unfinished" | undefined> {
    const grouped =
      !alone &&
      !this.#messages.done &&
      (yield* groupAuth(this.#messages.group, mechanism, context, (reply) => {
        if (reply.code < 300) this.#mechanism = mechanism.name;
        else if (reply.code < 400) this.#messages.loginRefused = "unfinished";
        else this.#messages.loginRefused = judge(reply, mechanism.name);
      }));
    if (grouped) {
      try {
        yield* this.#messages.run();
        return undefined;
      } catch (error) {
        if (!(error instanceof LoginRefused)) throw error;
        yield* this.#messages.withdraw();
        if (error.refusal !== "unfinished" || this.#messages.over) return error.refusal;
      }
    }
    const refusal = yield* authenticate(mechanism, context);
    if (refusal !== undefined) return refusal;
    this.#mechanism = mechanism.name;
    yield* this.#messages.run();
    return undefined;
  }

  /**
   * Take leave. The answer to a QUIT that left with content comes with the verdict on it; to one that
   * leaves by itself it is hardly waited for (the driver's deadlines).
   */
  *leave(): Step<void> {
    // After 421 the server closes by itself (RFC 5321 §3.8): nobody is left to answer.
    const gone = this.#error?.reply?.code === 421;
    const polite = this.#error === undefined || (POLITE.has(this.#error.code) && !gone);
    if (!polite || this.#messages.dropped) return;
    try {
      const alone = !this.#messages.over;
      if (alone) yield* this.#messages.quit();
      yield* this.#messages.group.settle();
      yield { do: "read", phase: alone ? "farewell" : "quit" };
    } catch (error) {
      // The outcome is settled; how the server says goodbye changes nothing (RFC 5321 §4.1.1.10).
      if (!(error instanceof SmtpError)) throw error;
    }
  }

  report(): SessionReport {
    return {
      capabilities: this.#capabilities,
      channel: this.#channel,
      mechanism: this.#mechanism,
      learnt: this.#learnt,
      error: this.#error,
      messages: this.#messages.report(this.#error),
    };
  }

  #saslContext(capabilities: Capabilities, credentials: Credentials): SaslContext {
    return {
      credentials,
      host: this.#plan.host,
      port: this.#plan.port,
      secure: this.#channel !== undefined,
      nonce: this.#plan.nonce,
      bindings: this.#channel?.bindings ?? [],
      advertised: capabilities.auth,
    };
  }
}

/** After these the server still listens, and a QUIT is due. */
const POLITE: ReadonlySet<string> = new Set([
  "greeting_refused",
  "ehlo_refused",
  "starttls_refused",
  "starttls_unavailable",
  "auth_failed",
  "auth_required",
  "auth_refused",
  "auth_deferred",
  "auth_unavailable",
  "auth_insecure",
]);

/**
 * The whole conversation for these messages; with none it only logs in and leaves.
 * Never throws a {@link SmtpError}: the report holds it.
 */
export function* session(
  plan: SessionPlan,
  submissions: readonly Submission[],
): Step<SessionReport> {
  const state = new Session(plan, submissions);
  yield* state.run();
  yield* state.leave();
  return state.report();
}
