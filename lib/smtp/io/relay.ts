/**
 * One send over one or more relays: failover while nothing has been said (connect, TLS, greeting;
 * never once AUTH has begun), and further sessions where a server limits the messages in one
 * (RFC 9422 MAILMAX). One transcript and one clock for all of it.
 */
import { randomBytes } from "node:crypto";
import type { LookupFunction } from "node:net";
import type { Submission } from "../envelope.ts";
import { SmtpError } from "../error.ts";
import type { Security } from "../greet.ts";
import { Redactor } from "../redact.ts";
import type { MessageReport, RecipientReport, SessionReport } from "../report.ts";
import { type SessionPlan, session } from "../session.ts";
import type { Phase } from "../step.ts";
import { type Entry, Transcript } from "../transcript.ts";
import { Connection, type Endpoint, type TlsSettings } from "./connection.ts";
import { type Limits, PHASE_TIMEOUTS } from "./deadline.ts";
import { cachedLookup } from "./dns.ts";
import { drive } from "./driver.ts";
import { tunnelThrough } from "./proxy.ts";
import { Stopwatch, type Timing } from "./stopwatch.ts";
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
  /** Milliseconds that the send may take in all. */
  readonly timeLeft: number;
  readonly signal?: AbortSignal | undefined;
  readonly commit?: ((message: number) => Promise<void>) | undefined;
}

export interface Sent {
  readonly report: SessionReport;
  readonly endpoint: RelayEndpoint;
  readonly tls: { readonly protocol: string; readonly cipher: string } | undefined;
  readonly timing: Timing;
  readonly transcript: readonly Entry[];
  /** Masks what a server may have echoed; for every text that came from it. */
  readonly scrub: (text: string) => string;
}

/** Phases in which another relay may still be asked. */
const BEFORE_LOGIN: ReadonlySet<Phase | undefined> = new Set(["connect", "tls", "greeting"]);

/** What a warm instance keeps between sends: addresses and TLS sessions, no connection. */
export class Relay {
  readonly #lookup: LookupFunction = cachedLookup();
  readonly #sessions = new TlsSessionStore();

  /** Never rejects for what a server or the network does: the report tells. */
  async send(
    target: RelayTarget,
    submissions: readonly Submission[],
    options: SendOptions,
  ): Promise<Sent> {
    const redactor = new Redactor();
    for (const secret of target.secrets) redactor.learn(secret);
    const run: Run = {
      target,
      options,
      redactor,
      transcript: new Transcript(redactor),
      watch: new Stopwatch(),
      endsAt: performance.now() + options.timeLeft,
    };
    let sent = await this.#failover(run, submissions, (message) => message);
    let report = sent.report;
    for (let left = rest(report); left.length > 0; ) {
      const again = left.map((message) => remainder(submissions, report, message));
      sent = await this.#failover(run, again, (index) => left[index] as number);
      report = merge(report, sent.report, left);
      const now = rest(report);
      if (count(report, now) >= count(report, left) && now.length === left.length) break;
      left = now;
    }
    return {
      report,
      endpoint: sent.endpoint,
      tls: sent.tls,
      timing: run.watch.timing(),
      transcript: run.transcript.entries(),
      scrub: (text) => redactor.scrub(text),
    };
  }

  async #failover(
    run: Run,
    submissions: readonly Submission[],
    indexOf: (index: number) => number,
  ): Promise<Attempt> {
    const { endpoints } = run.target;
    for (const [index, endpoint] of endpoints.entries()) {
      const others = endpoints.length - index - 1;
      const attempt = await this.#attempt(run, endpoint, others, submissions, indexOf);
      const { error } = attempt.report;
      const final =
        others === 0 ||
        error === undefined ||
        error.code === "aborted" ||
        !BEFORE_LOGIN.has(error.phase);
      if (final) return attempt;
      run.transcript.client(
        run.watch.elapsed(),
        `[${endpoint.host}: ${error.message} Next relay.]`,
      );
    }
    throw new Error("a mailbox without relays cannot be");
  }

  async #attempt(
    run: Run,
    endpoint: RelayEndpoint,
    others: number,
    submissions: readonly Submission[],
    indexOf: (index: number) => number,
  ): Promise<Attempt> {
    const { target, options, watch, transcript, redactor } = run;
    const left = run.endsAt - performance.now();
    const limits: Limits = {
      endsAt: run.endsAt,
      // While another relay waits, this one gets its share of the time to say hello.
      helloBy: others > 0 ? performance.now() + left / (others + 1) : run.endsAt,
      signal: options.signal,
    };
    const plan: SessionPlan = {
      ...target,
      security: endpoint.security,
      host: endpoint.host,
      port: endpoint.port,
      nonce: () => randomBytes(18).toString("base64url"),
    };
    const conversation = session(plan, submissions);
    let connection: Connection;
    const begun = performance.now();
    try {
      connection = await Connection.open(endpoint, limits, {
        lookup: this.#lookup,
        ...(target.proxy && {
          tunnel: tunnelThrough(target.proxy, endpoint, Math.min(left, PHASE_TIMEOUTS.connect)),
        }),
      });
    } catch (error) {
      if (!(error instanceof SmtpError)) throw error;
      return { endpoint, tls: undefined, report: unreached(error, submissions) };
    }
    watch.connected(performance.now() - begun);
    const report = await drive(conversation, connection, {
      tls: target.tls,
      sessions: this.#sessions.for(endpoint, target.tls),
      transcript,
      redactor,
      watch,
      commit: options.commit && ((message) => (options.commit as Commit)(indexOf(message))),
    });
    return { endpoint, tls: connection.tls, report };
  }
}

type Commit = (message: number) => Promise<void>;

interface Run {
  readonly target: RelayTarget;
  readonly options: SendOptions;
  readonly redactor: Redactor;
  readonly transcript: Transcript;
  readonly watch: Stopwatch;
  readonly endsAt: number;
}

interface Attempt {
  readonly endpoint: RelayEndpoint;
  readonly tls: { readonly protocol: string; readonly cipher: string } | undefined;
  readonly report: SessionReport;
}

function unreached(error: SmtpError, submissions: readonly Submission[]): SessionReport {
  return {
    capabilities: undefined,
    channel: undefined,
    mechanism: undefined,
    error,
    messages: submissions.map(({ recipients }) => ({
      notes: [],
      recipients: recipients.map((address) => ({
        address,
        fate: { is: "unsent", error } as const,
      })),
    })),
  };
}

function open({ fate }: RecipientReport): boolean {
  return fate.is === "unsent" && fate.error === undefined;
}

/** Messages with recipients that a session in good order left for another one. */
function rest(report: SessionReport): readonly number[] {
  if (report.error !== undefined) return [];
  return report.messages.flatMap(({ recipients }, index) => (recipients.some(open) ? [index] : []));
}

function count(report: SessionReport, messages: readonly number[]): number {
  return messages.reduce(
    (sum, index) => sum + (report.messages[index]?.recipients.filter(open).length ?? 0),
    0,
  );
}

function remainder(
  submissions: readonly Submission[],
  report: SessionReport,
  message: number,
): Submission {
  const left = report.messages[message]?.recipients.filter(open) ?? [];
  return {
    ...(submissions[message] as Submission),
    recipients: left.map(({ address }) => address),
  };
}

function merge(
  before: SessionReport,
  after: SessionReport,
  messages: readonly number[],
): SessionReport {
  const merged = before.messages.map((message, index): MessageReport => {
    const later = after.messages[messages.indexOf(index)];
    if (later === undefined) return message;
    const fates = new Map(later.recipients.map((recipient) => [recipient.address, recipient]));
    return {
      notes: message.notes,
      recipients: message.recipients.map((r) => (open(r) ? (fates.get(r.address) ?? r) : r)),
    };
  });
  return { ...after, messages: merged };
}
