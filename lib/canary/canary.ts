/**
 * The answer to "sent, but never received": a probe is sent as any message is, and looked for where it
 * should arrive. A run waits only a little; a probe that takes longer is remembered, and a later run
 * finds it, or calls it lost.
 *
 * What is found is deleted. A marked message that nobody remembers (found after it was lost, or forged)
 * is deleted too, and counts for nothing: anyone may write to an address.
 */
import { isRetold, type Result } from "../submission/outcome.ts";
import type { Order } from "../submission/submit.ts";
import { type Inbox, type Memory, type Probe, WatchError } from "./ports.ts";
import { type Asked, probeId, probeRequest } from "./probe.ts";
import { type CanaryCounts, type CanaryLimits, type ProbeResult, Tally } from "./tally.ts";

export interface CanaryResult {
  /** All that could be judged was in order: sent, on time, in the inbox, once. */
  readonly ok: boolean;
  /** What the submission of this run's probe gave. */
  readonly sent: Pick<
    Result,
    "id" | "outcome" | "reply" | "queueId" | "messageId" | "timing" | "error"
  >;
  /** This run's probe and those of earlier runs, in the order of sending. */
  readonly probes: readonly ProbeResult[];
  /** Further copies of probes that had been found. */
  readonly duplicates: number;
  /** Marked messages that nobody remembers. */
  readonly strays: number;
  /** Why the watched mailbox could not be looked into; what was not found is not judged then. */
  readonly error?: { readonly code: WatchError["code"]; readonly message: string };
}

export interface CanaryPorts {
  readonly send: (order: Order) => Promise<Result>;
  /** @param milliseconds for all that is done with it. @throws WatchError */
  readonly open: (milliseconds: number) => Promise<Inbox>;
  /** Absent: what is not found in this run is lost. */
  readonly memory?: Memory | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds this invocation has left. */
  readonly timeLeft: () => number;
}

/** The longest that a run waits for its own probe where a later run can find it. */
const WAIT_MS = 45_000;
/** What is kept back for deleting, remembering and telling. */
const RESERVE_MS = 3_000;
/** Folders other than the inbox cannot call; nor can servers without IDLE. */
const POLL_MS = 5_000;
/** IMAP knows days, and not whose. */
const MARGIN_MS = 2 * 24 * 3600_000;

/** Never rejects for what a mail server, the table or the network does. */
export async function runCanary(
  ports: CanaryPorts,
  asked: Asked,
  limits: CanaryLimits,
): Promise<{
  readonly result: CanaryResult;
  readonly counts: CanaryCounts;
  readonly sent: Result;
}> {
  const { now, memory } = ports;
  const opening = ports.open(Math.max(0, ports.timeLeft()));
  // Awaited below; what it says is told there.
  opening.catch(() => {});
  // A table that does not answer forgets nothing: it is read again by the next run.
  const remembered = await memory?.read().catch(() => undefined);
  const date = new Date(now());
  const input = probeRequest(asked);
  const sent = await ports.send({ input, id: asked.key, date, autoSubmitted: true });
  const own: Probe = { id: probeId(asked.key, asked.to), sentAt: date.getTime() };
  // An event that came twice sent nothing the second time; what was not taken will not arrive.
  const onItsWay = sent.outcome === "accepted" && !isRetold(sent);
  const tally = new Tally([...(remembered ?? []), ...(onItsWay ? [own] : [])]);
  const lasting = memory !== undefined;
  const wait = lasting ? WAIT_MS : limits.lostMs;
  const failure = await watched(opening, (inbox) =>
    search(ports, inbox, tally, { probe: onItsWay ? own.id : undefined, wait }),
  );
  const { remember, counts, ...told } = tally.judge(now(), limits, {
    looked: failure === undefined,
    lasting,
  });
  if (remembered !== undefined) await memory?.write(remember).catch(() => {});
  const { id, outcome, reply, queueId, messageId, timing, error } = sent;
  const wrong = counts.late + counts.lost + counts.spam + told.duplicates;
  const overdue = told.probes.some(({ fate }) => fate === "overdue");
  const result: CanaryResult = {
    ok: outcome === "accepted" && wrong === 0 && !overdue && failure === undefined,
    sent: {
      ...{ id, outcome, reply, messageId, timing },
      ...(queueId !== undefined && { queueId }),
      ...(error && { error }),
    },
    ...told,
    ...(failure && { error: { code: failure.code, message: failure.message } }),
  };
  return { result, counts, sent };
}

/** Look, and where the own probe is not there yet wait for it, for a while. */
async function search(
  { now, timeLeft }: CanaryPorts,
  inbox: Inbox,
  tally: Tally,
  { probe, wait }: { readonly probe: string | undefined; readonly wait: number },
): Promise<void> {
  const until = now() + Math.min(wait, timeLeft() - RESERVE_MS);
  for (;;) {
    const found = await inbox.look(new Date(tally.oldest(now()) - MARGIN_MS));
    tally.see(found, now());
    if (found.length > 0) await inbox.remove(found);
    const left = until - now();
    if (probe === undefined || tally.has(probe) || left <= 0) return;
    await inbox.wait(Math.min(POLL_MS, left));
  }
}

/** The error that kept the watched mailbox from being looked into, or undefined. */
async function watched(
  opening: Promise<Inbox>,
  work: (inbox: Inbox) => Promise<void>,
): Promise<WatchError | undefined> {
  try {
    const inbox = await opening;
    try {
      await work(inbox);
    } finally {
      await inbox.close();
    }
    return undefined;
  } catch (error) {
    if (error instanceof WatchError) return error;
    throw error;
  }
}
