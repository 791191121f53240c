/**
 * SQS, standard and FIFO: the one source that tries again for days, so everything deferred ends here.
 * A record is acknowledged when its message is done, or has been laid before a person; every other
 * is returned alone, and comes back after a while that grows.
 */
import { ConfigError } from "../lib/config.ts";
import { parseRequest } from "../lib/message/schema.ts";
import { submitBatch } from "../lib/submission/batch.ts";
import { bodyHash, ledgerKey, opaque } from "../lib/submission/identity.ts";
import { inTime } from "../lib/submission/in-time.ts";
import { type Result, unsent } from "../lib/submission/outcome.ts";
import {
  CARRIED,
  CORRELATION,
  enqueue,
  ObjectError,
  pointerIn,
  requestOf,
  SOURCE,
} from "../lib/submission/queue.ts";
import {
  type Carried,
  carriedLedger,
  carry,
  delayAfter,
  givenUp,
  readCarried,
  settledOf,
  verdictOf,
} from "../lib/submission/redelivery.ts";
import type { Order, SubmitPorts } from "../lib/submission/submit.ts";
import {
  attributeOf,
  complain,
  dateOf,
  type Incoming,
  idOf,
  isRecord,
  laidBefore,
  nameOf,
  recordsOf,
  requestId,
  unwrap,
} from "./events.ts";
import {
  type InvocationContext,
  type InvocationLimits,
  limitsOf,
  type Wiring,
  wiring,
} from "./wiring.ts";

export interface BatchAnswer {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[];
}

/** A record of the queue, and what it holds. */
interface Received extends Incoming {
  readonly messageId: string | undefined;
  readonly receipt: string | undefined;
  readonly arn: string;
  readonly group: string | undefined;
  /** Those of the messages it took over from included. */
  readonly receives: number;
  readonly sentAt: number;
  readonly carried: Carried | undefined;
  /** Where the queue holds only the place of the request. */
  readonly fetch?: (() => Promise<Incoming>) | undefined;
}

/** What goes back to the queue, and for how long, in seconds. */
type Returned = { readonly record: Received; readonly seconds: number };

export async function handler(event: unknown, context?: InvocationContext): Promise<BatchAnswer> {
  const records = recordsOf(event);
  let wired: Wiring;
  try {
    wired = wiring();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    complain(error.message, { name: error.name });
    return failures(records.map((record) => (isRecord(record) ? record["messageId"] : undefined)));
  }
  const limits = limitsOf(context);
  const received = records.map((record, index) =>
    receive(wired, record, `${requestId(context)}-${index}`),
  );
  const { ports, remember } = remembering(wired.ports);
  const items = received.map(({ order, group, known, fetch, carried }) => {
    remember(order, carried);
    const large = async (get: () => Promise<Incoming>) => {
      const incoming = await get();
      remember(incoming.order, carried);
      return incoming;
    };
    return { order, group, known, fetch: fetch && (() => large(fetch)) };
  });
  const results = await submitBatch(ports, items, limits);
  const returned: Returned[] = [];
  for (const [index, record] of received.entries()) {
    const result = results[index];
    if (result !== undefined) {
      const known = { requestId: requestId(context), receives: record.receives };
      wired.tell({ source: "sqs", result, ...record.order, ...known });
    }
    const seconds = result ? await conclude(wired, record, result, limits) : soon();
    if (seconds !== undefined) returned.push({ record, seconds });
  }
  await inTime(postpone(wired, returned), limits.timeToRecord(), silent).catch(() => {});
  return failures(returned.map(({ record }) => record.messageId));
}

/**
 * A queue that does not answer must not keep the batch from being answered for: without that, all of
 * it comes back.
 */
const silent = () => new Error("The queue did not answer in the time that was left.");

/** Lambda takes an empty identifier for the failure of the whole batch. */
function failures(ids: readonly unknown[]): BatchAnswer {
  const named = ids.filter((id): id is string => typeof id === "string" && id !== "");
  return { batchItemFailures: [...new Set(named)].map((itemIdentifier) => ({ itemIdentifier })) };
}

/** Not started, or standing behind one that failed: it is nobody's fault, and soon its turn. */
const soon = (): number => 1 + Math.round(Math.random() * 9);

function receive(wired: Wiring, record: unknown, fallback: string): Received {
  const { messageId, body, receiptHandle, eventSourceARN, attributes, messageAttributes } =
    isRecord(record) ? record : {};
  const system = isRecord(attributes) ? attributes : {};
  const arn = typeof eventSourceARN === "string" ? eventSourceARN : "";
  const brought = readCarried(attributeOf(messageAttributes, CARRIED));
  const date = dateOf(system["SentTimestamp"], { date: new Date() });
  const known = {
    id: idOf(brought?.result.id, idOf(messageId, fallback)),
    date: dateOf(brought?.date, { date }),
    autoSubmitted: attributeOf(messageAttributes, SOURCE) !== "api",
    correlationId:
      opaque(attributeOf(messageAttributes, CORRELATION)) ??
      opaque(brought?.correlationId) ??
      opaque(messageId) ??
      opaque(fallback),
  };
  const group = system["MessageGroupId"];
  const counted = system["ApproximateReceiveCount"];
  const count = typeof counted === "object" ? 1 : Number(counted);
  const receives = (count >= 1 ? Math.floor(count) : 1) + (brought?.receives ?? 0);
  const content = unwrap(body, known);
  const { answered, order } = content;
  const place = pointerIn(order.input);
  // An invocation that nobody waits for has sent it, or tried to: this is no time to try again yet.
  const fresh = answered && (verdictOf(answered) !== "again" || receives === 1);
  const carried = brought ?? (answered && carry(answered, order, 0));
  return {
    ...content,
    ...(fresh && { known: answered }),
    ...(place !== undefined && { fetch: () => fetched(wired, place, order) }),
    messageId: typeof messageId === "string" ? messageId : undefined,
    receipt: typeof receiptHandle === "string" ? receiptHandle : undefined,
    arn,
    // A standard queue may have groups, too, for fairness: they say nothing about an order.
    group: arn.endsWith(".fifo") && typeof group === "string" ? group : undefined,
    receives,
    sentAt: date.getTime(),
    carried,
  };
}

async function fetched({ queues }: Wiring, place: string, order: Order): Promise<Incoming> {
  try {
    if (queues.payloads === undefined) throw new ObjectError("unavailable", "No PAYLOAD_BUCKET.");
    return unwrap(await (await queues.payloads()).get(place), order);
  } catch (error) {
    const gone = error instanceof ObjectError && error.kind === "missing";
    const message = "The request was too large for the queue, and cannot be read from its bucket.";
    const problem = { code: "payload_unavailable", phase: "request", message };
    const retryable = !gone && queues.payloads !== undefined;
    return {
      order,
      known: unsent(order.id, gone ? "rejected" : "deferred", problem, { retryable }),
    };
  }
}

/** Where no table keeps what earlier sends settled, the messages themselves have brought it. */
function remembering(ports: SubmitPorts) {
  const { ledger, learn } = carriedLedger();
  const remember = ({ input, id }: Order, carried: Carried | undefined): void => {
    const parsed = carried && parseRequest(input);
    if (!carried || !parsed?.ok) return;
    const { request } = parsed;
    learn(ledgerKey(request.mailbox, request.idempotencyKey ?? id), bodyHash(request), carried);
  };
  return { remember, ports: ports.ledger ? ports : { ...ports, ledger: async () => ledger } };
}

/** Seconds until the record comes back; undefined where it is acknowledged. */
async function conclude(
  wired: Wiring,
  record: Received,
  result: Result,
  { timeToRecord }: InvocationLimits,
): Promise<number | undefined> {
  const verdict = verdictOf(result);
  if (verdict === "done") return undefined;
  const delay = delayAfter(record.receives, result.retryable);
  const over = givenUp(record.receives, record.sentAt, delay);
  // Without a ledger a record that comes back is sent again, to those who have it already, too.
  const lasting = wired.ports.ledger !== undefined;
  const settled = settledOf(result).length;
  if (verdict === "again" && !over) {
    if (lasting || settled === settledBefore(record)) return delay;
    const handing = handOver(wired, record, result, delay);
    if (await inTime(handing, timeToRecord(), silent).catch(() => false)) return undefined;
  }
  const why = verdict === "failed" ? "failed" : over ? "given up" : "could not be tried again";
  const laying = laidBefore(wired, { source: "sqs", order: record.order, result, why });
  const aside = await inTime(laying, timeToRecord(), silent).catch(() => false);
  if (aside || (!lasting && settled > 0 && result.outcome !== "rejected")) return undefined;
  return delay;
}

const settledBefore = ({ carried }: Received): number =>
  carried ? settledOf(carried.result).length : 0;

/** A message in a queue cannot be changed: another takes its place, and knows who is settled. */
async function handOver(
  { queues }: Wiring,
  { order, arn, group, receives }: Received,
  result: Result,
  delaySeconds: number,
): Promise<boolean> {
  try {
    const queue = await queues.queue();
    await enqueue(queues, await queue.urlOf(arn), {
      content: pointerIn(order.input) ? order.input : requestOf({ ...order, id: result.id }),
      attributes: {
        [CARRIED]: JSON.stringify(carry(result, order, receives)),
        ...(order.autoSubmitted === false && { [SOURCE]: "api" }),
      },
      delaySeconds,
      group,
    });
    return true;
  } catch (error) {
    complain("the rest of a message could not be queued", { id: result.id, name: nameOf(error) });
    return false;
  }
}

/** Left undone it costs time alone: the record comes back when the queue's own timeout ends. */
async function postpone({ queues }: Wiring, returned: readonly Returned[]): Promise<void> {
  const byQueue = new Map<string, { receipt: string; seconds: number }[]>();
  for (const { record, seconds } of returned) {
    if (record.receipt === undefined || record.arn === "") continue;
    const entries = byQueue.get(record.arn) ?? [];
    byQueue.set(record.arn, [...entries, { receipt: record.receipt, seconds }]);
  }
  for (const [arn, entries] of byQueue) {
    try {
      const queue = await queues.queue();
      await queue.postpone(await queueUrl(queues, arn), entries);
    } catch (error) {
      complain("records could not be postponed", { arn, name: nameOf(error) });
    }
  }
}

/** The configured queue's URL is known; that of another has to be asked for. */
async function queueUrl({ config, queue }: Wiring["queues"], arn: string): Promise<string> {
  const name = arn.split(":").at(-1);
  const { queueUrl: own } = config;
  return own?.endsWith(`/${name}`) ? own : (await queue()).urlOf(arn);
}
