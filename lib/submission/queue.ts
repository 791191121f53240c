/**
 * Requests that wait in a queue: what a message of ours looks like there, and how it gets there.
 * A message is a plain request with its key, so that whoever may write to the queue needs to know no
 * more than the request; what only we know travels beside it, in attributes. What is larger than the
 * queue takes goes by reference, and only ever to the one bucket that is ours.
 */
import { randomUUID } from "node:crypto";
import type { MailRequest } from "../message/schema.ts";
import type { Order } from "./submit.ts";

/** SQS: body and attributes of one message together, in octets. */
export const QUEUE_LIMIT = 1_048_576;
/** The longest that SQS keeps a new message back, in seconds. */
export const LONGEST_DELAY = 900;

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
  const room = QUEUE_LIMIT - sizeOf(what.attributes);
  const body = Buffer.byteLength(text) <= room ? text : await pointer(ports, text);
  const fifo = url.endsWith(".fifo");
  await queue.send(url, {
    body,
    ...(what.attributes && { attributes: what.attributes }),
    ...(fifo
      ? { group: what.group ?? groupOf(what.content) }
      : what.delaySeconds && { delaySeconds: Math.min(what.delaySeconds, LONGEST_DELAY) }),
  });
}

async function pointer({ payloads }: QueuePorts, text: string): Promise<string> {
  if (payloads === undefined) {
    throw new QueueTooSmall(
      `The request has ${Buffer.byteLength(text)} octets as JSON; the queue takes ${QUEUE_LIMIT}, and this deployment has no bucket (PAYLOAD_BUCKET) for larger ones.`,
    );
  }
  const store = await payloads();
  return JSON.stringify({ posthaste: "payload", key: await store.put(text) } satisfies Pointer);
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

/** A FIFO queue drops what has the id of a message of the last five minutes; the ledger knows better. */
export const deduplication = (): string => randomUUID();
