/**
 * The messages of a session, one transaction after another: which follows which, and what may share a
 * group with what (RFC 2920 §3.1, RFC 3030). A login may share the first group, and is then known to
 * hold or not once the group has been read.
 */
import { Agenda } from "./agenda.ts";
import type { Refusal } from "./authenticate.ts";
import type { Capabilities } from "./capabilities.ts";
import { command } from "./command.ts";
import type { Submission } from "./envelope.ts";
import type { SmtpError } from "./error.ts";
import { Group } from "./group.ts";
import { LoginRefused } from "./login.ts";
import type { MessageReport } from "./report.ts";
import type { Step } from "./step.ts";
import { ONE_FLIGHT_OCTETS, type Transaction } from "./transaction.ts";

/** Servers must take this many recipients (RFC 5321 §4.5.3.1.8), so none will be left over. */
const SURE_RECIPIENTS = 100;

export class Transactions {
  readonly group = new Group();
  /** What a login that shares the group was told, until the group has been read. */
  loginRefused: Refusal | "unfinished" | undefined;
  readonly #agenda: Agenda;
  readonly #chunking: "auto" | "off";
  readonly #live: Transaction[] = [];
  #capabilities: Capabilities | undefined;
  #quitQueued = false;
  /** The connection must be dropped as it is: anything more could be taken for content. */
  #drop = false;
  /** Nothing may leave behind content: the server has refused what did. */
  #contentAlone = false;

  constructor(submissions: readonly Submission[], chunking: "auto" | "off") {
    this.#agenda = new Agenda(submissions);
    this.#chunking = chunking;
  }

  /** What the server offers decides what can be sent at all, and how. */
  welcome(capabilities: Capabilities, secured: boolean): void {
    this.#capabilities = capabilities;
    this.group.pipelining = capabilities.has("PIPELINING");
    this.#agenda.sort(capabilities, secured);
  }

  /** Whether nothing is left to begin. */
  get done(): boolean {
    return this.#agenda.empty;
  }

  /** Whether no more commands may follow: QUIT has left, or nothing may leave any more. */
  get over(): boolean {
    return this.#quitQueued || this.#drop;
  }

  /** Whether not even a QUIT may leave. */
  get dropped(): boolean {
    return this.#drop;
  }

  /** Work through the transactions; each one's content shares a group with the next envelope. */
  *run(): Step<void> {
    let current = this.#next();
    let queued = false;
    while (current !== undefined) {
      if (!queued && current.oneFlight(this.#chunking)) {
        current = yield* this.#flight(current);
        continue;
      }
      if (!queued) yield* this.#envelope(current);
      yield* this.#settle();
      const sent = yield* this.#content(current);
      this.#agenda.overflow(current);
      const following = this.#next();
      queued = false;
      // RFC 2920 §3.1: content may be first in a group. What follows it leaves with it.
      if (sent && this.group.pipelining && !this.#contentAlone) {
        if (following === undefined) {
          yield* this.quit();
        } else if (!following.oneFlight(this.#chunking)) {
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
        this.#live.splice(this.#live.indexOf(following), 1);
        queued = false;
      }
      if (current.open && (following || current.withdrawn)) yield* this.#rset();
      current = following;
    }
  }

  /** Take back the envelopes that went with a refused login, so that another login may send them. */
  *withdraw(): Step<void> {
    for (const transaction of this.#live) transaction.disown();
    // RFC 4954 leaves this to us: content now, even a lone dot, would be mail without a login.
    if (this.#live.some(({ invited }) => invited)) this.#drop = true;
    if (this.over) return;
    if (this.#live.some(({ open }) => open)) {
      yield* this.#rset();
      yield* this.group.settle();
    }
    const again = this.#live.filter(({ untouched }) => untouched);
    this.#live.splice(0, this.#live.length, ...this.#live.filter(({ untouched }) => !untouched));
    this.#agenda.putBack(again);
  }

  *quit(): Step<void> {
    this.#quitQueued = true;
    yield { do: "write", line: command("QUIT") };
  }

  /** @param error what ended the session; without one, what is open may go in another session */
  report(error: SmtpError | undefined): readonly MessageReport[] {
    for (const transaction of this.#live) transaction.abandon(error);
    return this.#agenda.report(error);
  }

  /** MAIL, RCPT, [DATA]: as much of the envelope as may go in one group. */
  *#envelope(transaction: Transaction): Step<void> {
    this.#live.push(transaction);
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
    while (current?.oneFlight(this.#chunking)) {
      octets += current.submission.content.size;
      if (flown.length > 0) {
        if (octets > ONE_FLIGHT_OCTETS) break;
        yield* this.#rset();
      }
      this.#live.push(current);
      yield* current.envelope();
      yield* current.content("bdat");
      flown.push(current);
      current = this.#next();
    }
    // QUIT goes along where nothing will follow: no recipient left over. Another login, which hardly
    // a server asks for, is another session's.
    const sure = flown.every(({ recipients }) => recipients.length <= SURE_RECIPIENTS);
    if (current === undefined && sure) yield* this.quit();
    yield* this.#settle();
    for (const transaction of flown) this.#agenda.overflow(transaction);
    current ??= this.#quitQueued ? undefined : this.#next();
    if (current && flown.at(-1)?.open) yield* this.#rset();
    return current;
  }

  /** Read the group to its end, then see whether the login in it held. @throws LoginRefused */
  *#settle(): Step<void> {
    try {
      yield* this.group.settle();
    } catch (error) {
      // The first cause: a server that refuses the login may well hang up at once.
      if (typeof this.loginRefused === "object" && this.loginRefused.then === "stop") {
        for (const transaction of this.#live) transaction.disown();
        this.#drop = true;
        throw this.loginRefused.error;
      }
      throw error;
    }
    const refusal = this.loginRefused;
    this.loginRefused = undefined;
    if (refusal !== undefined) throw new LoginRefused(refusal);
  }

  *#rset(): Step<void> {
    yield* this.group.send(command("RSET"), "rset", () => {});
  }

  #next(): Transaction | undefined {
    return this.#agenda.next(this.group, this.#capabilities as Capabilities);
  }
}
