/**
 * What the events have in common: reading a request out of its envelopes, and what happens to a
 * message when nobody waits for the result. Whatever a record holds, it is judged alone: an error in
 * one never makes another be sent again.
 */
import { createHash, randomUUID } from "node:crypto";
import { malformed } from "../lib/submission/explain.ts";
import { opaque } from "../lib/submission/identity.ts";
import { type Result, retold } from "../lib/submission/outcome.ts";
import { correlated, type Enqueued, enqueue, requestOf, SOURCE } from "../lib/submission/queue.ts";
import { delayAfter, settledOf, verdictOf } from "../lib/submission/redelivery.ts";
import { type Order, submitAll } from "../lib/submission/submit.ts";
import type { Source } from "../lib/telemetry/log.ts";
import { type InvocationContext, limitsOf, type Wiring, wiring } from "./wiring.ts";

/** One message out of an event: to be sent, or settled before it came to that. */
export interface Incoming {
  readonly order: Order;
  readonly known?: Result | undefined;
  /** What an earlier invocation answered. */
  readonly answered?: Result | undefined;
}

export interface Known {
  readonly id: string;
  readonly date: Date;
  readonly correlationId?: string | undefined;
  readonly autoSubmitted?: boolean;
}

/** Envelopes within envelopes: a rule to a topic to a queue. */
const DEEPEST = 4;

/** A request as text or value, in whatever envelope it came; never throws. */
export function unwrap(body: unknown, known: Known, depth = 0): Incoming {
  let value = body;
  if (typeof body === "string") {
    try {
      value = JSON.parse(body);
    } catch {
      return refused(known, body, "is not JSON");
    }
  }
  if (!isRecord(value)) return refused(known, value, "is no JSON object");
  const inner = depth < DEEPEST ? envelope(value, known) : undefined;
  if (inner !== undefined) {
    const { body: content, known: own, answered } = inner;
    return { ...unwrap(content, own, depth + 1), ...(answered && { answered }) };
  }
  return { order: { autoSubmitted: true, ...known, input: value } };
}

export function refused(known: Known, input: unknown, message: string): Incoming {
  const issue = { path: "", message: `the request ${message}` };
  return { order: { ...known, input }, known: malformed(known.id, [issue]) };
}

/** What a service put around a request, told by the fields that only it writes together. */
function envelope(
  value: Readonly<Record<string, unknown>>,
  known: Known,
): { readonly body: unknown; readonly known: Known; readonly answered?: Result } | undefined {
  const { requestContext: call, result } = value;
  if (value["Type"] === "Notification" && "Message" in value && "TopicArn" in value) {
    const own = { ...named(value["MessageId"], known), date: dateOf(value["Timestamp"], known) };
    return { body: value["Message"], known: { ...known, ...own } };
  }
  if (typeof value["detail-type"] === "string" && "detail" in value) {
    const own = { ...named(value["id"], known), date: dateOf(value["time"], known) };
    return { body: value["detail"], known: { ...known, ...own } };
  }
  // Lambda's record of an asynchronous invocation (a destination): the request and its answer.
  if (isRecord(call) && "requestPayload" in value && "condition" in call) {
    const own = { ...named(call["requestId"], known), date: dateOf(value["timestamp"], known) };
    const answer = value["responsePayload"];
    return {
      body: value["requestPayload"],
      known: { ...known, ...own, autoSubmitted: false },
      ...(isResult(answer) && { answered: retold(answer) }),
    };
  }
  // What was laid before a person, and was sent back to try again.
  if (value["posthaste"] === "failed" && "request" in value && isRecord(result)) {
    const autoSubmitted = value["source"] !== "api";
    const own = { id: idOf(result["id"], known.id), date: dateOf(value["date"], known) };
    const correlationId = opaque(value["correlationId"]) ?? known.correlationId;
    return { body: value["request"], known: { ...known, ...own, autoSubmitted, correlationId } };
  }
  return undefined;
}

/** The id of a service's own making is the key, and what the request is followed by. */
function named(id: unknown, known: Known): Pick<Known, "id" | "correlationId"> {
  return { id: idOf(id, known.id), correlationId: opaque(id) ?? known.correlationId };
}

function isResult(value: unknown): value is Result {
  if (!isRecord(value) || typeof value["id"] !== "string") return false;
  const { outcome, recipients } = value;
  return typeof outcome === "string" && Array.isArray(recipients) && recipients.every(isRecord);
}

/** A key has to be printable ASCII and no longer than 255; what is not is known by its digest. */
export function idOf(value: unknown, otherwise: string): string {
  if (typeof value !== "string" || value.trim() === "") return otherwise;
  if (/^[\x20-\x7e]{1,255}$/.test(value)) return value;
  return `sha256-${createHash("sha256").update(value).digest("base64url")}`;
}

export function dateOf(value: unknown, { date: otherwise }: Pick<Known, "date">): Date {
  // An object can say in its JSON that it is not to be made text of.
  const text = typeof value === "string" ? value : "";
  // SQS writes milliseconds as text.
  const date = new Date(/^\d{1,15}$/.test(text) ? +text : text);
  const year = date.getUTCFullYear();
  return year >= 1990 && year <= 9999 ? date : otherwise;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whatever is no list of records holds none. */
export function recordsOf(event: unknown): readonly unknown[] {
  const records = isRecord(event) ? event["Records"] : undefined;
  return Array.isArray(records) ? records : [];
}

/** A message attribute of SQS, as Lambda gives it. */
export function attributeOf(attributes: unknown, name: string): string | undefined {
  const attribute = isRecord(attributes) ? attributes[name] : undefined;
  const value = isRecord(attribute) ? attribute["stringValue"] : undefined;
  return typeof value === "string" ? value : undefined;
}

/** For what comes without an id of its own. */
export function requestId(context: InvocationContext | undefined): string {
  return context?.awsRequestId ?? randomUUID();
}

/**
 * Messages of a source that Lambda invokes asynchronously: it tries twice more within minutes, and
 * then drops. So what is deferred goes to the queue, which has days.
 * @throws Error where Lambda must try again, and nothing that was sent is sent twice by that
 */
export async function settleAll(
  source: Source,
  incoming: readonly Incoming[],
  context: InvocationContext | undefined,
): Promise<void> {
  const wired = wiring();
  const fresh = incoming.filter(({ known }) => known === undefined);
  const orders = fresh.map(({ order }) => order);
  const results = await submitAll(wired.ports, orders, limitsOf(context));
  const outcomes = incoming.map(({ order, known }) => ({
    order,
    result: known ?? (results[orders.indexOf(order)] as Result),
  }));
  const stranded: typeof outcomes = [];
  const unplaced: typeof outcomes = [];
  for (const { order, result } of outcomes) {
    wired.tell({ source, result, requestId: requestId(context), ...order });
    const verdict = verdictOf(result);
    if (
      verdict === "failed" &&
      !(await laidBefore(wired, { source, order, result, why: "failed" }))
    ) {
      unplaced.push({ order, result });
    }
    if (verdict === "again" && !(await queued(wired, source, order, result))) {
      stranded.push({ order, result });
    }
  }
  if (stranded.length + unplaced.length === 0) return;
  // Without a ledger, another try would send again what has been sent.
  const untouched = outcomes.every(({ result }) =>
    settledOf(result).every(({ outcome }) => outcome === "rejected"),
  );
  if (wired.ports.ledger !== undefined || untouched) {
    const reasons = [...stranded, ...unplaced].map(
      ({ result }) => `${result.id}: ${result.error?.code ?? result.outcome}`,
    );
    throw new Error(`Neither sent nor on a queue: ${reasons.join(", ")}.`);
  }
  for (const { order, result } of stranded) {
    await laidBefore(wired, { source, order, result, why: "no queue to try again from" });
  }
}

/** False where it could not be put on the queue. */
async function queued(
  { queues }: Wiring,
  source: string,
  order: Order,
  result: Result,
): Promise<boolean> {
  if (queues.config.queueUrl === undefined) return false;
  const what: Enqueued = {
    content: requestOf({ input: order.input, id: result.id }),
    attributes: { [SOURCE]: source, ...correlated(order.correlationId) },
    delaySeconds: delayAfter(1, result.retryable),
  };
  try {
    await enqueue(queues, queues.config.queueUrl, what);
    return true;
  } catch (error) {
    complain("a deferred message could not be queued", { id: result.id, name: nameOf(error) });
    return false;
  }
}

export interface Failed {
  readonly source: string;
  readonly order: Order;
  readonly result: Result;
  readonly why: string;
}

/** Request and result, for a person to see. False where there is a queue for that and it refused. */
export async function laidBefore({ queues }: Wiring, failed: Failed): Promise<boolean> {
  const { source, order, result, why } = failed;
  const { failedQueueUrl: url } = queues.config;
  if (url === undefined) {
    complain("a message was not delivered", { id: result.id, outcome: result.outcome, why });
    return true;
  }
  const date = order.date.toISOString();
  const { input: request, correlationId } = order;
  const content = { posthaste: "failed", why, source, date, correlationId, request, result };
  // What is too large for the queue, and has no bucket, sheds what is largest.
  const smaller = [
    content,
    { ...content, result: { ...result, transcript: [] } },
    { ...content, result: { ...result, transcript: [] }, request: null },
  ];
  let name = "";
  for (const each of smaller) {
    try {
      await enqueue(queues, url, { content: each });
      return true;
    } catch (error) {
      name = nameOf(error);
      if (name !== "QueueTooSmall") break;
    }
  }
  complain("a failed message could not be laid aside", { id: result.id, name });
  return false;
}

/** A line for what no result tells; ids and names only, since logs are read widely. */
export function complain(message: string, about: Readonly<Record<string, string>>): void {
  process.stderr.write(`${JSON.stringify({ level: "error", message, ...about })}\n`);
}

export function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}
