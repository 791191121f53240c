/**
 * One send over one or more relays: failover while nothing has been said (connect, TLS, greeting,
 * EHLO, STARTTLS; never once AUTH has begun), and further sessions where a server limits the messages in one
 * (RFC 9422 MAILMAX) or took another login than it was offered. One transcript and one clock for all of it.
 */
import { randomBytes, type X509Certificate } from "node:crypto";
import type { Submission } from "../envelope.ts";
import { SmtpError } from "../error.ts";
import type { Security } from "../greet.ts";
import type { Learnt } from "../login.ts";
import { Redactor } from "../redact.ts";
import { count, masked, merge, remainder, rest, unreached } from "../remainder.ts";
import type { SessionReport, Timing } from "../report.ts";
import { type SessionPlan, session } from "../session.ts";
import { type Entry, Transcript } from "../transcript.ts";
import { Ahead, type AheadTarget, type Greeted } from "./ahead.ts";
import { Connection, type TlsSettings } from "./connection.ts";
import { HELLO, type Limits } from "./deadline.ts";
import { AddressBook, type Endpoint, type Lookup } from "./dns.ts";
import { drive } from "./driver.ts";
import { inTime, recorded } from "./in-time.ts";
import { tunnelThrough } from "./proxy.ts";
import { Stopwatch } from "./stopwatch.ts";
import { TlsSessionStore } from "./tls-sessions.ts";

export interface RelayEndpoint extends Endpoint {
  readonly security: Security;
}

export interface RelayTarget extends Omit<SessionPlan, "security" | "host" | "port" | "nonce"> {
  /** At least one; tried in order. */
  readonly endpoints: readonly RelayEndpoint[];
  readonly tls: TlsSettings;
  /** `http://…` or `socks5://…`. */
  readonly proxy?: string | undefined;
  /** What must never be shown, wherever it turns up. */
  readonly secrets: readonly string[];
}

export interface SendOptions {
  /** The session before, of the same send: transcript and clock go on from it. */
  readonly after?: Pick<Sent, "transcript" | "timing" | "begun"> | undefined;
  /** Milliseconds that the send may take in all. */
  readonly timeLeft: number;
  readonly signal?: AbortSignal | undefined;
  readonly commit?: ((message: number) => Promise<void>) | undefined;
}

interface Secured {
  readonly protocol: string;
  readonly cipher: string;
  /** The one that was verified. */
  readonly certificate?: X509Certificate | undefined;
}

export interface Sent {
  readonly report: SessionReport;
  readonly endpoint: RelayEndpoint;
  readonly tls: Secured | undefined;
  readonly timing: Timing;
  readonly transcript: readonly Entry[];
  /** Masks what a server may have echoed; for every text that came from it. */
  readonly scrub: (text: string) => string;
  /** `performance.now()` when it began. */
  readonly begun: number;
}

export interface RelayOptions {
  /** Instead of the system's resolver. */
  readonly lookup?: Lookup | undefined;
  /** Milliseconds for which an address is kept; default: 60,000. */
  readonly addressLife?: number | undefined;
  /** Where to connect before a mailbox says so. */
  readonly ahead?: AheadTarget | undefined;
}

/** What a warm instance keeps between sends: addresses and TLS sessions, no connection. */
export class Relay {
  readonly #addresses: AddressBook;
  readonly #sessions = new TlsSessionStore();
  readonly #ahead: Ahead | undefined;

  constructor({ lookup, addressLife, ahead }: RelayOptions = {}) {
    this.#addresses = new AddressBook(lookup, addressLife);
    this.#ahead = ahead && new Ahead(ahead, this.#addresses, this.#sessions);
  }

  /**
   * Connects to the relay that is named ahead, as far as EHLO, for the first send of this instance to go
   * on with. Never fails; {@link Relay.release} has to follow.
   */
  prepare({ timeLeft }: Pick<SendOptions, "timeLeft">): void {
    this.#ahead?.begin(timeLeft);
  }

  /** Closes what was prepared and not used. */
  async release(): Promise<void> {
    await this.#ahead?.release();
  }

  /** Never rejects for what a server or the network does: the report tells. */
  async send(
    target: RelayTarget,
    submissions: readonly Submission[],
    options: SendOptions,
  ): Promise<Sent> {
    const redactor = new Redactor();
    for (const secret of target.secrets) redactor.learn(secret);
    const endsAt = performance.now() + options.timeLeft;
    const ready = await this.#prepared(target, options, endsAt);
    // What was said before the secrets were known is masked like all the rest.
    const before = ready?.transcript.map((entry) => ({
      ...entry,
      text: redactor.scrub(entry.text),
    }));
    const run: Run = {
      target,
      options,
      redactor,
      transcript: new Transcript(redactor, before ?? options.after?.transcript),
      watch: ready?.watch ?? new Stopwatch(options.after?.begun, options.after?.timing),
      endsAt,
      ready,
    };
    let sent = await this.#failover(run, submissions, (message) => message);
    let { report } = sent;
    let { learnt } = report;
    for (let left = rest(report); left.length > 0; left = rest(report)) {
      const open = count(report, left);
      const again = left.map((message) => remainder(submissions, report, message));
      sent = await this.#failover(run, again, (index) => left[index] as number, learnt);
      report = merge(report, sent.report, left);
      // Each session settles a recipient, or learns which login not to try: they come to an end.
      if (report.learnt === undefined && count(report, left) === open) break;
      // What one session learnt holds for all that follow.
      learnt = report.learnt ?? learnt;
    }
    return {
      report: { ...report, capabilities: masked(report.capabilities, redactor) },
      endpoint: sent.endpoint,
      tls: sent.tls,
      timing: run.watch.timing(),
      transcript: run.transcript.entries(),
      scrub: (text) => redactor.scrub(text),
      begun: run.watch.begun,
    };
  }

  /** The connection made ahead, where it is the one that the first relay would get. */
  async #prepared(
    target: RelayTarget,
    options: SendOptions,
    endsAt: number,
  ): Promise<Greeted | undefined> {
    const [endpoint, ...others] = target.endpoints;
    if (this.#ahead === undefined || endpoint === undefined || options.after) return undefined;
    const limits = limitsOf({ endsAt, options }, others.length);
    return this.#ahead.take({ ...target, endpoint }, limits);
  }

  async #failover(
    run: Run,
    submissions: readonly Submission[],
    indexOf: (index: number) => number,
    learnt?: Learnt,
  ): Promise<Attempt> {
    const { endpoints } = run.target;
    for (const [index, endpoint] of endpoints.entries()) {
      const others = endpoints.length - index - 1;
      const attempt = await this.#attempt(run, endpoint, others, submissions, indexOf, learnt);
      const { error } = attempt.report;
      if (error === undefined || error.code === "aborted" || !HELLO.has(error.phase)) {
        return attempt;
      }
      const next = others > 0 ? " Next relay." : "";
      if (endpoints.length > 1) {
        const text = `[${endpoint.host}:${endpoint.port}: ${error.message}${next}]`;
        run.transcript.client(run.watch.elapsed(), run.redactor.scrub(text));
      }
      if (others === 0) return attempt;
    }
    throw new Error("a mailbox without relays cannot be");
  }

  async #attempt(
    run: Run,
    endpoint: RelayEndpoint,
    others: number,
    submissions: readonly Submission[],
    indexOf: (index: number) => number,
    learnt: Learnt | undefined,
  ): Promise<Attempt> {
    const { target, options, watch, transcript, redactor } = run;
    const left = run.endsAt - performance.now();
    const limits = limitsOf(run, others);
    const { ready } = run;
    run.ready = undefined;
    const plan: SessionPlan = {
      ...target,
      security: endpoint.security,
      host: endpoint.host,
      port: endpoint.port,
      nonce: () => randomBytes(18).toString("base64url"),
      learnt,
    };
    const timed = submissions.map((submission) => inTime(submission, limits));
    const conversation = session(plan, timed);
    let connection: Connection;
    const begun = performance.now();
    watch.connecting();
    if (left <= 0) {
      ready?.connection.close(false);
      const late = new SmtpError(
        "timeout",
        "No time was left to ask the server: preparing the message used up all that this invocation had.",
        { phase: "connect" },
      );
      return { endpoint, tls: undefined, report: unreached(late, submissions) };
    }
    try {
      const tunnel = target.proxy ? tunnelThrough(target.proxy, endpoint) : undefined;
      connection =
        ready?.connection ?? (await Connection.open(endpoint, limits, this.#addresses, tunnel));
    } catch (error) {
      if (!(error instanceof SmtpError)) throw error;
      return { endpoint, tls: undefined, report: unreached(error, submissions) };
    }
    if (ready === undefined) watch.connected(performance.now() - begun);
    else connection.adopt(limits);
    const { commit } = options;
    try {
      const report = await drive(conversation, connection, {
        tls: target.tls,
        sessions: this.#sessions.for(endpoint, target.tls),
        transcript,
        redactor,
        watch,
        said: ready?.said,
        commit: commit && ((message) => recorded(commit(indexOf(message)), limits)),
      });
      return { endpoint, tls: connection.tls, report };
    } finally {
      await connection.released();
    }
  }
}

interface Run {
  readonly target: RelayTarget;
  readonly options: SendOptions;
  readonly redactor: Redactor;
  readonly transcript: Transcript;
  readonly watch: Stopwatch;
  readonly endsAt: number;
  /** For the first relay, and once. */
  ready: Greeted | undefined;
}

/** @param others how many relays wait behind this one */
function limitsOf({ endsAt, options }: Pick<Run, "endsAt" | "options">, others: number): Limits {
  // While others wait, each is left an equal share of the time; the last one has all that is left.
  const helloBy = endsAt - ((endsAt - performance.now()) * others) / (others + 1);
  return { endsAt, helloBy, signal: options.signal };
}

interface Attempt {
  readonly endpoint: RelayEndpoint;
  readonly tls: Secured | undefined;
  readonly report: SessionReport;
}
