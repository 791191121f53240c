/**
 * A batch of orders as a queue delivers them. What has no order of its own goes all at once, so that
 * messages of one mailbox share one session; of a group whose order counts, each waits for the one
 * before, and behind one that failed the rest stays where it is. Nothing begins that could not end.
 */
import type { Result } from "./outcome.ts";
import { verdictOf } from "./redelivery.ts";
import { type Limits, type Order, type SubmitPorts, submitAll } from "./submit.ts";

export interface BatchItem {
  readonly order: Order;
  /** Set where the order within the group counts (FIFO). */
  readonly group?: string | undefined;
  /** Settled before it came to sending: it takes its place in the group, and no more. */
  readonly known?: Result | undefined;
  /**
   * Large: fetched when its turn comes, sent alone and forgotten, since a batch of such would not fit
   * into memory, and what kills the function keeps every record of the batch from being settled.
   */
  readonly fetch?: (() => Promise<Fetched>) | undefined;
}

export interface Fetched {
  readonly order: Order;
  readonly known?: Result | undefined;
}

/** Messages in one session at most; SQS hands out ten unless it is told otherwise. */
const SESSION = 25;
/** Milliseconds that a session should have ahead of it when it begins. */
const START_MS = 5_000;
const LEAST_MS = 1_000;

/** The result of each; undefined for what was not started. */
export async function submitBatch(
  ports: SubmitPorts,
  items: readonly BatchItem[],
  limits: Limits,
): Promise<readonly (Result | undefined)[]> {
  // A function with a short timeout has less than that from the beginning.
  const needed = Math.min(START_MS, Math.max(LEAST_MS, limits.timeLeft() / 4));
  const results: (Result | undefined)[] = items.map(({ known }) => known);
  const stopped = new Set<string>();
  for (const round of rounds(items)) {
    const open = round.filter((index) => !stopped.has(items[index]?.group ?? "\n"));
    const fresh = open.filter((index) => results[index] === undefined);
    if (fresh.length > 0) {
      if (limits.timeLeft() < needed) {
        for (const index of fresh) stop(stopped, items[index]);
        continue;
      }
      const settled = await send(
        ports,
        fresh.map((index) => items[index] as BatchItem),
        limits,
      );
      for (const [position, index] of fresh.entries()) results[index] = settled[position];
    }
    for (const index of open) {
      const result = results[index];
      if (result === undefined || verdictOf(result) === "again") stop(stopped, items[index]);
    }
  }
  return results.map((result, index) => (behind(items, results, index) ? undefined : result));
}

async function send(
  ports: SubmitPorts,
  items: readonly BatchItem[],
  limits: Limits,
): Promise<readonly (Result | undefined)[]> {
  const fetched = await Promise.all(items.map((item) => item.fetch?.() ?? item));
  const open = fetched.filter(({ known }) => known === undefined).map(({ order }) => order);
  const settled = open.length > 0 ? await submitAll(ports, open, limits) : [];
  return fetched.map(({ known, order }) => known ?? settled[open.indexOf(order)]);
}

function stop(stopped: Set<string>, item: BatchItem | undefined): void {
  if (item?.group !== undefined) stopped.add(item.group);
}

/** Also what needed no sending waits behind a failure: its record is returned with the others. */
function behind(
  items: readonly BatchItem[],
  results: readonly (Result | undefined)[],
  index: number,
): boolean {
  const group = items[index]?.group;
  if (group === undefined) return false;
  return items.slice(0, index).some((item, before) => {
    const result = results[before];
    return item.group === group && (result === undefined || verdictOf(result) === "again");
  });
}

/** Indexes that may go together: all that is free, of each group the next; what is large alone. */
function rounds(items: readonly BatchItem[]): readonly (readonly number[])[] {
  const depth = new Map<string, number>();
  const ordered: number[][] = [];
  const free: number[] = [];
  for (const [index, { group }] of items.entries()) {
    if (group === undefined) {
      free.push(index);
      continue;
    }
    const round = depth.get(group) ?? 0;
    depth.set(group, round + 1);
    ordered[round] = [...(ordered[round] ?? []), index];
  }
  return [free, ...ordered].flatMap((round) => {
    const large = round.filter((index) => items[index]?.fetch !== undefined);
    const light = round.filter((index) => items[index]?.fetch === undefined);
    const chunks: number[][] = [];
    for (let at = 0; at < light.length; at += SESSION) chunks.push(light.slice(at, at + SESSION));
    return [...chunks, ...large.map((index) => [index])];
  });
}
