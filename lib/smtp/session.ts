/**
 * One session: greeting, TLS, login, any number of messages, QUIT (RFC 5321 §3). It always returns
 * a report: whatever ends it, each recipient's fate is settled truthfully. Grouping follows RFC 2920
 * §3.1 and RFC 4954 §4, and nothing is grouped that the server did not offer.
 */
import type { Credentials, Mechanism, SaslContext } from "../sasl/mechanism.ts";
import { Agenda } from "./agenda.ts";
import { authenticate, groupAuth, judge, type Refusal } from "./authenticate.ts";
import type { Capabilities } from "./capabilities.ts";
import { command } from "./command.ts";
import type { Submission } from "./envelope.ts";
import { SmtpError } from "./error.ts";
import { greet, type Security } from "./greet.ts";
import { Group } from "./group.ts";
import { candidates, type Learnt, type LoginPolicy, LoginRefused } from "./login.ts";
import type { Reply } from "./reply.ts";
import type { SessionReport } from "./report.ts";
import type { Channel, Step } from "./step.ts";
import { ONE_FLIGHT_OCTETS, type Transaction } from "./transaction.ts";

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

/** Servers must take this many recipients (RFC 5321 §4.5.3.1.8), so none will be left over. */
const SURE_RECIPIENTS = 100;

class Session {
  readonly plan: SessionPlan;
  readonly agenda: Agenda;
  readonly group = new Group();
  readonly live: Transaction[] = [];
  capabilities: Capabilities | undefined;
  channel: Channel | undefined;
  mechanism: string | undefined;
  error: SmtpError | undefined;
  learnt: Learnt | undefined;
  #quitQueued = false;
  /** Nothing may leave behind content: the server has refused what did. */
  #contentAlone = false;
  /** Set by the reply to an AUTH that shares its group, until the group has been read. */
  #loginRefused: Refusal | "unfinished" | undefined;
  /** The connection must be dropped as it is: anything more could be taken for content. */
  #drop = false;

  constructor(plan: SessionPlan, submissions: readonly Submission[]) {
    this.plan = plan;
    this.agenda = new Agenda(submissions);
  }

  *run(): Step<void> {
    const welcome = yield* greet(this.plan.security, this.plan.ehloName);
    this.capabilities = welcome.capabilities;
    this.channel = welcome.channel;
    this.group.pipelining = welcome.capabilities.has("PIPELINING");
    this.agenda.sort(welcome.capabilities, welcome.channel !== undefined);
    if (this.plan.credentials === undefined) yield* this.#transact();
    else yield* this.#login(this.#saslContext(this.plan.credentials));
  }

  /** Try the shared mechanisms in order; the first that logs in goes on with the messages. */
  *#login(context: SaslContext): Step<void> {
    const shared = candidates(context, this.plan);
    const { refused: before = [], alone = false } = this.plan.learnt ?? {};
    const refused = [...before];
    let last: Reply | undefined;
    for (const mechanism of shared.filter(({ name }) => !before.includes(name))) {
      // This connection is spent, but the server takes another login: in another session.
      if (this.#over) {
        this.learnt = { refused, alone };
        return;
      }
      // A refused -PLUS counts as not offered, so that SCRAM tells the server what was done to it
      // (RFC 5802 §6, the "y" flag).
      const advertised = context.advertised.filter((name) => !refused.includes(name));
      const refusal = yield* this.#attempt(mechanism, { ...context, advertised }, alone);
      if (refusal === undefined) return;
      if (refusal === "unfinished") {
        this.learnt = { refused, alone: true };
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
      !this.agenda.empty &&
      (yield* groupAuth(this.group, mechanism, context, (reply) => {
        if (reply.code < 300) this.mechanism = mechanism.name;
        else if (reply.code < 400) this.#loginRefused = "unfinished";
        else this.#loginRefused = judge(reply, mechanism.name);
      }));
    if (grouped) {
      try {
        yield* this.#transact();
        return undefined;
      } catch (error) {
        if (!(error instanceof LoginRefused)) throw error;
        yield* this.#withdraw();
        if (error.refusal !== "unfinished" || this.#over) return error.refusal;
      }
    }
    const refusal = yield* authenticate(mechanism, context);
    if (refusal !== undefined) return refusal;
    this.mechanism = mechanism.name;
    yield* this.#transact();
    return undefined;
  }

  /** Take back the envelopes that went with a refused login, so that another login may send them. */
  *#withdraw(): Step<void> {
    for (const transaction of this.live) transaction.disown();
    // RFC 4954 leaves this to us: content now, even a lone dot, would be mail without a login.
    if (this.live.some(({ invited }) => invited)) this.#drop = true;
    if (this.#over) return;
    if (this.live.some(({ open }) => open)) {
      yield* this.#rset();
      yield* this.group.settle();
    }
    const again = this.live.filter(({ untouched }) => untouched);
    this.live.splice(0, this.live.length, ...this.live.filter(({ untouched }) => !untouched));
    this.agenda.putBack(again);
  }

  /** Whether no more commands may follow: QUIT has left, or nothing may leave any more. */
  get #over(): boolean {
    return this.#quitQueued || this.#drop;
  }

  /** Work through the transactions; each one's content shares a group with the next envelope. */
  *#transact(): Step<void> {
    let current = this.#next();
    let queued = false;
    while (current !== undefined) {
      if (!queued && current.oneFlight(this.plan.chunking)) {
        current = yield* this.#flight(current);
        continue;
      }
      if (!queued) yield* this.#envelope(current);
      yield* this.#settle();
      const sent = yield* this.#content(current);
      this.agenda.overflow(current);
      const following = this.#next();
      queued = false;
      // RFC 2920 §3.1: content may be first in a group. What follows it leaves with it.
      if (sent && this.group.pipelining && !this.#contentAlone) {
        if (following === undefined) {
          yield* this.#quit();
        } else if (!following.oneFlight(this.plan.chunking)) {
          yield* this.#envelope(following);
          queued = true;
        }
      }
      yield* this.#settle();
      if (queued && following?.outOfSequence) {
        // Some servers discard what they find behind content, whatever RFC 2920 §3.1 allows. It is
        // no verdict on the message: it goes again, by itself.
        this.#contentAlone = true;
        following.disown();
        this.live.splice(this.live.indexOf(following), 1);
        queued = false;
      }
      if (current.open && (following || current.withdrawn)) yield* this.#rset();
      current = following;
    }
  }

  /** MAIL, RCPT, [DATA]: as much of the envelope as may go in one group. */
  *#envelope(transaction: Transaction): Step<void> {
    this.live.push(transaction);
    yield* transaction.envelope();
    if (transaction.dataInGroup) yield* transaction.data();
  }

  /** Content, if anyone accepted and the server is ready for it. Returns whether it was written. */
  *#content(transaction: Transaction): Step<boolean> {
    if (!transaction.willing()) {
      if (transaction.invited) yield* transaction.nothing();
      return false;
    }
    if (!transaction.dataInGroup) yield* transaction.data();
    yield* this.#settle();
    if (!transaction.invited) return false;
    yield* transaction.content("data");
    return true;
  }

  /**
   * BDAT: envelope and content of one message, and of as many more as fit, in one flight. RSET keeps
   * a refused one from disturbing the next. Returns the transaction to go on with.
   */
  *#flight(first: Transaction): Step<Transaction | undefined> {
    const flown: Transaction[] = [];
    let octets = 0;
    let current: Transaction | undefined = first;
    while (current?.oneFlight(this.plan.chunking)) {
      octets += current.submission.content.size;
      if (flown.length > 0) {
        if (octets > ONE_FLIGHT_OCTETS) break;
        yield* this.#rset();
      }
      this.live.push(current);
      yield* current.envelope();
      yield* current.content("bdat");
      flown.push(current);
      current = this.#next();
    }
    // QUIT goes along where nothing will follow: no recipient left over. Another login, which hardly
    // a server asks for, is another session's.
    const sure = flown.every(({ recipients }) => recipients.length <= SURE_RECIPIENTS);
    if (current === undefined && sure) yield* this.#quit();
    yield* this.#settle();
    for (const transaction of flown) this.agenda.overflow(transaction);
    current ??= this.#quitQueued ? undefined : this.#next();
    if (current && flown.at(-1)?.open) yield* this.#rset();
    return current;
  }

  /** Read the group to its end, then see whether the login in it held. */
  *#settle(): Step<void> {
    try {
      yield* this.group.settle();
    } catch (error) {
      // The first cause: a server that refuses the login may well hang up at once.
      if (typeof this.#loginRefused === "object" && this.#loginRefused.then === "stop") {
        for (const transaction of this.live) transaction.disown();
        this.#drop = true;
        throw this.#loginRefused.error;
      }
      throw error;
    }
    const refusal = this.#loginRefused;
    this.#loginRefused = undefined;
    if (refusal !== undefined) throw new LoginRefused(refusal);
  }

  #next(): Transaction | undefined {
    return this.agenda.next(this.group, this.capabilities as Capabilities);
  }

  #saslContext(credentials: Credentials): SaslContext {
    return {
      credentials,
      host: this.plan.host,
      port: this.plan.port,
      secure: this.channel !== undefined,
      nonce: this.plan.nonce,
      bindings: this.channel?.bindings ?? [],
      advertised: this.capabilities?.auth ?? [],
    };
  }

  *#rset(): Step<void> {
    yield* this.group.send(command("RSET"), "rset", () => {});
  }

  *#quit(): Step<void> {
    this.#quitQueued = true;
    yield { do: "write", line: command("QUIT") };
  }

  /**
   * Take leave. The answer to a QUIT that left with content comes with the verdict on it; to one that
   * leaves by itself it is hardly waited for (the driver's deadlines).
   */
  *leave(): Step<void> {
    // After 421 the server closes by itself (RFC 5321 §3.8): nobody is left to answer.
    const gone = this.error?.reply?.code === 421;
    const polite = this.error === undefined || (POLITE.has(this.error.code) && !gone);
    if (!polite || this.#drop) return;
    try {
      const alone = !this.#quitQueued;
      if (alone) yield* this.#quit();
      yield* this.group.settle();
      yield { do: "read", phase: alone ? "farewell" : "quit" };
    } catch (error) {
      // The outcome is settled; how the server says goodbye changes nothing (RFC 5321 §4.1.1.10).
      if (!(error instanceof SmtpError)) throw error;
    }
  }

  report(): SessionReport {
    for (const transaction of this.live) transaction.abandon(this.error);
    return {
      capabilities: this.capabilities,
      channel: this.channel,
      mechanism: this.mechanism,
      learnt: this.learnt,
      error: this.error,
      messages: this.agenda.report(this.error),
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
  try {
    yield* state.run();
  } catch (error) {
    // What others of the session's messages were told must not be lost with a fault of our own.
    state.error =
      error instanceof SmtpError
        ? error
        : new SmtpError("internal_error", `Unexpected error (${(error as Error).name}).`);
  }
  yield* state.leave();
  return state.report();
}
