/**
 * What becomes of a message after a result: done, tried again, or laid before a person. Deferred
 * is tried again however hopeless, so that mail survives until its mailbox is mended; uncertain never
 * is. Where no ledger keeps what earlier sends settled, the message in the queue carries it.
 */
import { randomUUID } from "node:crypto";
import { opaque } from "./identity.ts";
import { Ledger, type LedgerRecord } from "./ledger.ts";
import type { RecipientResult, Result } from "./outcome.ts";
import type { Order } from "./submit.ts";

export type Verdict = "done" | "again" | "failed";

export function verdictOf(result: Result): Verdict {
  if (result.outcome === "uncertain") return "failed";
  if (result.outcome === "deferred" || result.recipients.some(isDeferred)) return "again";
  return result.outcome === "accepted" ? "done" : "failed";
}

const isDeferred = ({ outcome }: RecipientResult): boolean => outcome === "deferred";

/** Recipients that nobody may send to again. */
export function settledOf(result: Pick<Result, "recipients">): readonly RecipientResult[] {
  return result.recipients.filter((recipient) => !isDeferred(recipient));
}

/** Receives after which a message is given up. */
const MOST_RECEIVES = 16;
/** Greylisting's usual least, in seconds. */
const FIRST = 60;
/** The same for what a person has to mend first. */
const FIRST_SLOWLY = 15 * 60;
const LONGEST = 3 * 3600;
const JITTER = 0.2;
/** What a queue keeps by default; after that SQS deletes without a word. */
const RETENTION_MS = 4 * 24 * 3600 * 1000;

/**
 * Seconds until the next try: doubled for every receive, with jitter, lest all that one outage
 * deferred come back at once.
 * @param receives how often the message was received, this time included
 * @param random 0 to 1
 */
export function delayAfter(receives: number, retryable: boolean, random = Math.random()): number {
  const first = retryable ? FIRST : FIRST_SLOWLY;
  const grown = first * 2 ** Math.min(Math.max(receives, 1) - 1, 12);
  return Math.round(Math.min(grown * (1 + JITTER * random), LONGEST));
}

/** @param sentAt when the message was put on the queue, in milliseconds since the epoch */
export function givenUp(
  receives: number,
  sentAt: number,
  delay: number,
  now = Date.now(),
): boolean {
  return receives >= MOST_RECEIVES || now + delay * 1000 > sentAt + RETENTION_MS - LONGEST * 1000;
}

/** What earlier sends settled, as a message in a queue carries it. */
export interface Carried {
  /** The message's Date, the same however often it is sent. */
  readonly date: string;
  readonly correlationId?: string | undefined;
  /** Receives before this message took over from another. */
  readonly receives: number;
  readonly result: Pick<Result, "id" | "outcome" | "messageId"> & {
    readonly recipients: readonly RecipientResult[];
  };
}

export function carry(
  result: Result,
  { date, correlationId }: Pick<Order, "date" | "correlationId">,
  receives: number,
): Carried {
  const { id, outcome, messageId, recipients } = result;
  const kept = { id, outcome, messageId, recipients };
  return { date: date.toISOString(), correlationId, receives, result: kept };
}

/** Undefined where it is none: attributes are anyone's who may write to the queue. */
export function readCarried(text: string | undefined): Carried | undefined {
  if (text === undefined) return undefined;
  try {
    const read = JSON.parse(text) as Carried;
    const { date, receives, result } = read;
    const sound =
      !Number.isNaN(Date.parse(date)) &&
      Number.isSafeInteger(receives) &&
      result.recipients.every(({ address }) => typeof address === "string");
    return sound ? read : undefined;
  } catch {
    return undefined;
  }
}

/**
 * A ledger for one batch that learns what its messages carry, and forgets it afterwards. Keys that
 * nothing is carried for are free each time: without a table nothing is promised about them.
 */
export function carriedLedger(): {
  readonly ledger: Ledger;
  learn(key: string, hash: string, carried: Carried): void;
} {
  const records = new Map<string, LedgerRecord>();
  const learn = (key: string, hash: string, carried: Carried): void => {
    records.set(key, {
      key,
      hash,
      state: "deferred",
      owner: "",
      leaseUntil: 0,
      date: carried.date,
      correlationId: opaque(carried.correlationId),
      result: carried.result as Result,
      expires: Number.MAX_SAFE_INTEGER,
    });
  };
  const ledger = new Ledger({
    now: Date.now,
    token: randomUUID,
    store: {
      create: async ({ key }) => !records.has(key),
      read: async (key) => records.get(key),
      replace: async ({ key }, next) => {
        if (records.has(key)) records.set(key, next);
        return true;
      },
    },
  });
  return { ledger, learn };
}
