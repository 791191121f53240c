/**
 * What is known of a message across invocations. Events are delivered at least once and functions
 * die midway, so a send is claimed before it begins, made durable before its terminator is written,
 * and settled after. A record that was left `sending` by an invocation that is gone is `uncertain`:
 * nobody can tell, so nobody sends it again by itself.
 *
 *     queued → claimed → sending → settled
 *                 ↑          ↘ (owner gone) settled, uncertain
 *                 └ deferred ←┘
 */
import { inTime } from "./in-time.ts";
import { type RecipientResult, type Result, retold } from "./outcome.ts";

export type LedgerState = "queued" | "claimed" | "sending" | "deferred" | "settled";

export interface LedgerRecord {
  /** Scope and id of the message. */
  readonly key: string;
  readonly state: LedgerState;
  /** Who holds it; a new token for every claim. */
  readonly owner: string;
  /** Milliseconds since the epoch until which the owner may still be alive. */
  readonly leaseUntil: number;
  /** Of the request's body: the same key with another body is another message. */
  readonly hash: string;
  /** When it was first asked for: the message's Date, however often it is sent. */
  readonly date: string;
  /** What the first request was followed by: the message's X-Correlation-Id, however often it is sent. */
  readonly correlationId?: string | undefined;
  /** The last result, where there is one. */
  readonly result?: Result;
  /** Seconds since the epoch after which the record counts for nothing. */
  readonly expires: number;
}

/** The ledger cannot be asked, so nothing may be sent: the message might have been sent already. */
export class LedgerError extends Error {
  override readonly name = "LedgerError";
  readonly retryable: boolean;

  /** @param cause its name or the system's code is told; its text may hold anything */
  constructor(cause: unknown) {
    const { name, code } = cause as { readonly name: string; readonly code?: string };
    const why = /^E[A-Z]+$/.test(code ?? "") ? code : name;
    super(`The ledger could not be asked whether the message was sent before (${why}).`);
    this.retryable = !/^(AccessDenied|ResourceNotFound|Validation)Exception$/.test(name);
  }
}

/**
 * What the ledger answers, if it does so in time.
 * @throws LedgerError whatever went wrong, silence too
 */
export function answered<T>(asking: Promise<T>, milliseconds: number): Promise<T> {
  const told = asking.catch((error: unknown) => {
    throw new LedgerError(error);
  });
  return inTime(told, milliseconds, () => new LedgerError({ name: "TimeoutError" }));
}

/** Storage with single-record conditions and consistent reads; nothing more is needed. */
export interface LedgerStore {
  /** Put where there is no record, or only an expired one. False where there is another. */
  create(record: LedgerRecord, now: number): Promise<boolean>;
  read(key: string): Promise<LedgerRecord | undefined>;
  /** Replace a record that is still the one seen: same owner, same state. False where it is not. */
  replace(
    seen: Pick<LedgerRecord, "key" | "owner" | "state">,
    next: LedgerRecord,
  ): Promise<boolean>;
}

export interface Asked {
  readonly key: string;
  readonly hash: string;
  readonly date: Date;
  readonly correlationId?: string | undefined;
}

export type Claim =
  | {
      readonly is: "held";
      readonly record: LedgerRecord;
      /** Recipients that an earlier send settled; they are not sent to again. */
      readonly before: readonly RecipientResult[];
    }
  /** Already settled: this is the result, and nothing may be sent. */
  | { readonly is: "settled"; readonly result: Result }
  /** Another invocation is at it. */
  | { readonly is: "busy" }
  /** The key was used with another body. */
  | { readonly is: "conflict" };

export type Queued =
  /** The record is there where this call made it. */
  | { readonly is: "queued"; readonly record?: LedgerRecord }
  | { readonly is: "settled"; readonly result: Result }
  | { readonly is: "conflict" };

/** RFC 9110 knows no such figure; long enough for every redelivery, short enough for a table. */
const LIFE_SECONDS = 30 * 24 * 3600;
/** Attempts to win a race before it counts as lost. */
const ATTEMPTS = 4;

export interface LedgerOptions {
  readonly store: LedgerStore;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly token: () => string;
}

export class Ledger {
  readonly #options: LedgerOptions;

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  /**
   * @param leaseMs longer than the claiming invocation can live
   * @param again a person asked: what is uncertain or rejected is opened once more
   */
  async claim(asked: Asked, leaseMs: number, again = false): Promise<Claim> {
    const { store, now, token } = this.#options;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const fresh: LedgerRecord = {
        key: asked.key,
        state: "claimed",
        owner: token(),
        leaseUntil: now() + leaseMs,
        hash: asked.hash,
        date: asked.date.toISOString(),
        correlationId: asked.correlationId,
        expires: Math.floor(now() / 1000) + LIFE_SECONDS,
      };
      if (await store.create(fresh, now())) return { is: "held", record: fresh, before: [] };
      const seen = await store.read(asked.key);
      if (seen === undefined) continue;
      if (seen.hash !== asked.hash) return { is: "conflict" };
      const alive = seen.leaseUntil > now();
      if ((seen.state === "claimed" || seen.state === "sending") && alive) return { is: "busy" };
      if (seen.state === "sending") {
        // Its owner is gone, and the terminator may have been written.
        const result = abandoned(seen);
        const settled: LedgerRecord = { ...seen, state: "settled", result };
        if (!(await store.replace(seen, settled))) continue;
        if (!again) return { is: "settled", result };
        continue;
      }
      if (seen.state === "settled" && seen.result) {
        const open = seen.result.recipients.some(({ outcome }) => outcome !== "accepted");
        if (!again || !open) return { is: "settled", result: retold(seen.result) };
      }
      const next: LedgerRecord = {
        ...fresh,
        date: seen.date,
        correlationId: seen.correlationId,
        ...(seen.result && { result: seen.result }),
      };
      if (!(await store.replace(seen, next))) continue;
      return { is: "held", record: next, before: settledBefore(seen.result, again) };
    }
    return { is: "busy" };
  }

  /**
   * Note a message that is about to wait in a queue. What is known of its key already stays as it is:
   * it may wait a second time, and is sent once all the same.
   */
  async enqueue(asked: Asked): Promise<Queued> {
    const { store, now, token } = this.#options;
    const record: LedgerRecord = {
      key: asked.key,
      state: "queued",
      owner: token(),
      leaseUntil: 0,
      hash: asked.hash,
      date: asked.date.toISOString(),
      correlationId: asked.correlationId,
      expires: Math.floor(now() / 1000) + LIFE_SECONDS,
    };
    if (await store.create(record, now())) return { is: "queued", record };
    const seen = await store.read(asked.key);
    if (seen !== undefined && seen.hash !== asked.hash) return { is: "conflict" };
    if (seen?.state === "settled" && seen.result) {
      return { is: "settled", result: retold(seen.result) };
    }
    return { is: "queued" };
  }

  /**
   * Make the send durable; the terminator may be written once this resolves.
   * @throws Error when the record is no longer ours
   */
  async sending(held: LedgerRecord, result: Result): Promise<LedgerRecord> {
    const next: LedgerRecord = { ...held, state: "sending", result };
    if (await this.#options.store.replace(held, next)) return next;
    throw new Error("another invocation has taken the message over");
  }

  /** Keep the result. Deferred recipients open the message again; everything else closes it. */
  async settle(held: LedgerRecord, result: Result): Promise<void> {
    const open = result.outcome !== "uncertain" && result.recipients.some(isDeferred);
    const empty = result.recipients.length === 0 && result.outcome === "deferred";
    const state = open || empty ? "deferred" : "settled";
    await this.#options.store.replace(held, { ...held, state, leaseUntil: 0, result });
  }

  /** The message as it stands, for who asks; nothing is changed by that. */
  async find(key: string): Promise<LedgerRecord | undefined> {
    const found = await this.#options.store.read(key);
    const now = this.#options.now();
    if (found === undefined || found.expires * 1000 <= now) return undefined;
    if (found.leaseUntil > now) return found;
    // What a claim would find: its invocation is gone.
    if (found.state === "claimed") return { ...found, state: "deferred" };
    if (found.state === "sending") return { ...found, state: "settled", result: abandoned(found) };
    return found;
  }
}

function isDeferred({ outcome }: RecipientResult): boolean {
  return outcome === "deferred";
}

/** Whom not to send to again: everyone settled; where a person asks, only who has it. */
function settledBefore(result: Result | undefined, again: boolean): readonly RecipientResult[] {
  const recipients = result?.recipients ?? [];
  return recipients.filter(({ outcome }) =>
    again ? outcome === "accepted" : outcome !== "deferred",
  );
}

/** The result that a dead invocation left: what it was about to send may have been taken. */
function abandoned({ key, result }: LedgerRecord): Result {
  const message =
    "The invocation that sent this message ended before it could record the answer. It may have been delivered; it is not sent again by itself.";
  const base = result as Result;
  return {
    ...base,
    id: base?.id ?? key,
    outcome: "uncertain",
    retryable: false,
    reply: null,
    recipients: (base?.recipients ?? []).map((recipient) =>
      isDeferred(recipient) ? { ...recipient, outcome: "uncertain" } : recipient,
    ),
    error: { code: "invocation_lost", phase: "content", message },
  };
}
