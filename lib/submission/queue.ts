/**
 * Requests that wait in a queue: what a message of ours looks like there, and how it gets there.
 * A message is a plain request with its key, so that whoever may write to the queue needs to know no
 * more than the request; what only we know travels beside it, in attributes. What is larger than the
 * queue takes goes by reference, and only ever to the one bucket that is ours.
 */
import { randomUUID } from "node:crypto";
import { type MailRequest, parseRequest } from "../message/schema.ts";
import { bodyHash, correlationOf, ledgerKey } from "./identity.ts";
import { type Result, unsent } from "./outcome.ts";
import { CONFLICT, prepare } from "./prepare.ts";
import type { Limits, Order, SubmitPorts } from "./submit.ts";

/** SQS: body and attributes of one message together, in octets. */
export const QUEUE_LIMIT = 1_048_576;
/** The longest that SQS keeps a new message back, in seconds. */
const LONGEST_DELAY = 900;

export interface QueueMessage {
  readonly body: string;
  readonly attributes?: Readonly<Record<string, string>>;
  /** Seconds until it may be received first; FIFO queues have no such thing. */
  readonly delaySeconds?: number;
  /** FIFO queues need one: the order is kept within it. */
  readonly group?: string;
}

export interface Queue {
  send(url: string, message: QueueMessage): Promise<void>;
  /** Set when each may be received again, in seconds from now. Rejects if any was not set. */
  postpone(
    url: string,
    entries: readonly { readonly receipt: string; readonly seconds: number }[],
  ): Promise<void>;
  urlOf(arn: string): Promise<string>;
}

/** Requests by reference. */
export interface Payloads {
  /** Keeps the text and gives its key. */
  put(text: string): Promise<string>;
  /** @throws ObjectError */
  get(key: string): Promise<string>;
}

export interface ObjectReference {
  readonly bucket: string;
  readonly key: string;
  readonly versionId?: string | undefined;
}

export interface Objects {
  /** @throws ObjectError */
  read(object: ObjectReference): Promise<Uint8Array>;
}

/** Why an object could not be read whole. `missing` and `too_large` will not mend themselves. */
export class ObjectError extends Error {
  override readonly name = "ObjectError";
  readonly kind: "missing" | "too_large" | "unavailable";

  constructor(kind: ObjectError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}

/** The request does not fit, and there is no bucket to put it into. */
export class QueueTooSmall extends Error {
  override readonly name = "QueueTooSmall";
}

export interface QueuePorts {
  readonly config: {
    readonly queueUrl: string | undefined;
    readonly failedQueueUrl: string | undefined;
  };
  readonly queue: () => Promise<Queue>;
  /** Absent: what is too large is refused. */
  readonly payloads?: () => Promise<Payloads>;
  readonly objects: () => Promise<Objects>;
}

/** Attribute: which way the request came in. */
export const SOURCE = "posthaste-source";
/** Attribute: what the request is followed by. */
export const CORRELATION = "posthaste-correlation";
/** Attribute: what is known of earlier sends, where no ledger keeps it. */
export const CARRIED = "posthaste-carried";

/** Body in place of a request that is too large for the queue. */
export interface Pointer {
  readonly posthaste: "payload";
  readonly key: string;
}

export function pointerIn(body: unknown): string | undefined {
  const { posthaste, key } = (body ?? {}) as Partial<Pointer>;
  return posthaste === "payload" && typeof key === "string" ? key : undefined;
}

/** An order as a request that carries its key: the same message, whoever sends it. */
export function requestOf({ input, id }: Pick<Order, "input" | "id">): MailRequest {
  const request = input as MailRequest;
  return { ...request, idempotencyKey: request.idempotencyKey ?? id };
}

/** What the request is followed by, as an attribute. */
export function correlated(correlationId: string | undefined): Readonly<Record<string, string>> {
  return correlationId === undefined ? {} : { [CORRELATION]: correlationId };
}

export interface Enqueued {
  /** The request, or whatever stands for it. */
  readonly content: unknown;
  readonly attributes?: Readonly<Record<string, string>>;
  readonly delaySeconds?: number;
  readonly group?: string | undefined;
}

/** @throws QueueTooSmall, and what the queue throws */
export async function enqueue(ports: QueuePorts, url: string, what: Enqueued): Promise<void> {
  const queue = await ports.queue();
  const text = JSON.stringify(what.content);
  const body = fits(text, what.attributes) ? text : await pointer(ports, text);
  const fifo = url.endsWith(".fifo");
  await queue.send(url, {
    body,
    ...(what.attributes && { attributes: what.attributes }),
    ...(fifo
      ? { group: what.group ?? groupOf(what.content) }
      : what.delaySeconds && { delaySeconds: Math.min(what.delaySeconds, LONGEST_DELAY) }),
  });
}

function fits(text: string, attributes: Enqueued["attributes"]): boolean {
  return Buffer.byteLength(text) + sizeOf(attributes) <= QUEUE_LIMIT;
}

async function pointer({ payloads }: QueuePorts, text: string): Promise<string> {
  if (payloads === undefined) throw tooSmall(text);
  const store = await payloads();
  return JSON.stringify({ posthaste: "payload", key: await store.put(text) } satisfies Pointer);
}

function tooSmall(text: string): QueueTooSmall {
  return new QueueTooSmall(
    `The request has ${Buffer.byteLength(text)} octets as JSON; the queue takes ${QUEUE_LIMIT}, and this deployment has no bucket (PAYLOAD_BUCKET) for larger ones.`,
  );
}

/** What one mailbox sends keeps its order; mailboxes do not wait for one another. */
function groupOf(content: unknown): string {
  const { mailbox } = (content ?? {}) as { mailbox?: unknown };
  return typeof mailbox === "string" ? `mailbox-${mailbox}` : "default";
}

/** SQS counts an attribute's name, type and value. */
function sizeOf(attributes: Readonly<Record<string, string>> = {}): number {
  return Object.entries(attributes).reduce(
    (sum, [name, value]) => sum + name.length + "String".length + Buffer.byteLength(value),
    0,
  );
}

/** Where an accepted order waits, or the result that made waiting unnecessary. */
export type Accepted =
  | { readonly id: string; readonly mailbox: string | undefined }
  | { readonly result: Result };

/**
 * Take an order for later: everything that can be judged now is, so that who asks is told now. Only
 * what passed, or what may pass later without anybody doing something, goes to the queue.
 * @throws QueueTooSmall
 */
export async function accept(
  ports: SubmitPorts,
  queues: QueuePorts,
  order: Order,
  limits: Limits,
): Promise<Accepted> {
  const { ledger: known, ...checking } = ports;
  const checked = await prepare(checking, order, limits);
  const parsed = parseRequest(order.input);
  if ("outcome" in checked && (!checked.retryable || !parsed.ok)) return { result: checked };
  if (!parsed.ok || known === undefined) throw new Error("a queue was wired without a ledger");
  const { request } = parsed;
  const { mailbox } = request;
  const id = request.idempotencyKey ?? order.id;
  const content = requestOf({ input: request, id });
  const correlationId = correlationOf(request, order.correlationId);
  const attributes = { [SOURCE]: "api", ...correlated(correlationId) };
  // Before the key is taken: whoever sends less under it should not meet a conflict.
  const text = JSON.stringify(content);
  if (queues.payloads === undefined && !fits(text, attributes)) throw tooSmall(text);
  try {
    const ledger = await known();
    const asked = {
      key: ledgerKey(mailbox, id),
      hash: bodyHash(request),
      date: order.date,
      correlationId,
    };
    const noted = await ledger.enqueue(asked);
    if (noted.is === "settled") return { result: noted.result };
    if (noted.is === "conflict") return { result: unsent(id, "rejected", CONFLICT) };
    try {
      await enqueue(queues, queues.config.queueUrl ?? "", { content, attributes });
    } catch (error) {
      if (noted.record) await ledger.settle(noted.record, unavailable(id));
      throw error;
    }
    return { id, mailbox };
  } catch {
    return { result: unavailable(id) };
  }
}

function unavailable(id: string): Result {
  const message = "The message could not be put on the queue.";
  const problem = { code: "queue_unavailable", phase: "queue", message };
  return unsent(id, "deferred", problem, { retryable: true });
}

/** A FIFO queue drops what has the id of a message of the last five minutes; the ledger knows better. */
export const deduplication = (): string => randomUUID();
