/**
 * The result: what the server said, and what it means. Five outcomes, of which `deferred` (certainly
 * not taken) and `uncertain` (handed over, no answer) are never confused.
 */

import type { Timing } from "../smtp/report.ts";
import type { Entry } from "../smtp/transcript.ts";

export type RecipientOutcome = "accepted" | "rejected" | "deferred" | "uncertain";
export type Outcome = RecipientOutcome | "partial";

export interface ReplyResult {
  readonly code: number;
  readonly enhanced?: string;
  readonly text: string;
}

export interface RecipientResult {
  readonly address: string;
  readonly outcome: RecipientOutcome;
  /** The reply to this recipient, or the one that settled it; null if none came. */
  readonly reply: ReplyResult | null;
}

export interface ErrorResult {
  readonly code: string;
  readonly phase: string;
  readonly message: string;
  /** Every reason, where there is more than one to give. */
  readonly issues?: readonly Issue[];
}

export interface Issue {
  readonly code?: string;
  readonly path: string;
  readonly message: string;
}

export interface ServerResult {
  readonly host: string;
  readonly port: number;
  readonly tls: { readonly protocol: string; readonly cipher: string } | null;
  /** The mechanism that logged in. */
  readonly auth: string | null;
  readonly extensions: readonly string[];
}

export interface Result {
  readonly id: string;
  readonly outcome: Outcome;
  /** Some recipient is deferred, and trying again unattended may succeed. */
  readonly retryable: boolean;
  /** The reply that decided; null if none came. */
  readonly reply: ReplyResult | null;
  /** Where the reply names one. */
  readonly queueId?: string;
  readonly messageId: string | null;
  readonly envelope: { readonly from: string; readonly to: readonly string[] } | null;
  readonly recipients: readonly RecipientResult[];
  /** Null where no server was asked. */
  readonly server: ServerResult | null;
  readonly timing: Timing;
  readonly transcript: readonly Entry[];
  /** What was asked for, is lacking, and changes nothing that was promised. */
  readonly notes?: readonly string[];
  /** Absent when accepted. */
  readonly error?: ErrorResult;
}

/** Results that an earlier invocation settled: nothing was done for them now, so nothing is counted. */
const earlier = new WeakSet<Result>();

/** The same result, known from now on to be told again. */
export function retold(result: Result): Result {
  earlier.add(result);
  return result;
}

export function isRetold(result: Result): boolean {
  return earlier.has(result);
}

/** Of several recipients: any uncertain, all accepted, some accepted, some deferred, else rejected. */
export function overall(outcomes: readonly RecipientOutcome[]): Outcome {
  if (outcomes.includes("uncertain")) return "uncertain";
  const accepted = outcomes.filter((outcome) => outcome === "accepted").length;
  if (accepted > 0) return accepted === outcomes.length ? "accepted" : "partial";
  return outcomes.includes("deferred") ? "deferred" : "rejected";
}

/** Octets of a result as JSON: Lambda's answer takes 6 MB, and in HTTP's the quotes are escaped. */
const MOST_RESULT_OCTETS = 4 * 1024 * 1024;
/**
 * Recipients with which no result comes near that: a reply has 128 KiB (smtp/reply.ts), of which each
 * octet becomes three in JSON at worst, and the transcript 64. Most results are never measured.
 */
const FEW = 4;

/**
 * A result that can be told, however many recipients it has and however much the server said of each:
 * the texts of their replies are cut to 200 characters, and if that is not enough, left out.
 */
export function bounded(result: Result): Result {
  if (result.recipients.length <= FEW) return result;
  const fits = (tried: Result) => Buffer.byteLength(JSON.stringify(tried)) <= MOST_RESULT_OCTETS;
  if (fits(result)) return result;
  const cut = (reply: ReplyResult | null, most: number) =>
    reply && { ...reply, text: reply.text.slice(0, most) };
  const shorter = (most: number): Result => ({
    ...result,
    reply: cut(result.reply, 2000),
    recipients: result.recipients.map((one) => ({ ...one, reply: cut(one.reply, most) })),
  });
  const brief = shorter(200);
  return fits(brief) ? brief : shorter(0);
}

const NO_TIME: Timing = {
  totalMs: 0,
  connectMs: 0,
  tlsMs: 0,
  authMs: 0,
  transactionMs: 0,
  roundTrips: 0,
};

/** A result without a session: refused by our own policy, or no way to begin. */
export function unsent(
  id: string,
  outcome: "rejected" | "deferred",
  error: ErrorResult,
  known: {
    retryable?: boolean;
    envelope?: Result["envelope"];
    /** Where the envelope is not known whole, since the sender is the mailbox's to say. */
    to?: readonly string[];
    messageId?: string | undefined;
  } = {},
): Result {
  const to = known.envelope?.to ?? known.to ?? [];
  return {
    id,
    outcome,
    retryable: known.retryable ?? false,
    reply: null,
    messageId: known.messageId ?? null,
    envelope: known.envelope ?? null,
    recipients: to.map((address) => ({ address, outcome, reply: null })),
    server: null,
    timing: NO_TIME,
    transcript: [],
    error,
  };
}
