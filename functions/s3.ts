/**
 * S3: an object that was created is a message. `.json` holds a request; `.eml` a whole message
 * (RFC 5322), for those in its To and Cc. Its Bcc goes before anyone reads it: a file that was saved
 * by a mail program names there whom its writer hid, and not whom to send to.
 */

import { opaque } from "../lib/submission/identity.ts";
import { inTime } from "../lib/submission/in-time.ts";
import { unsent } from "../lib/submission/outcome.ts";
import type { ObjectError } from "../lib/submission/queue.ts";
import type { Limits } from "../lib/submission/submit.ts";
import {
  dateOf,
  type Incoming,
  idOf,
  isRecord,
  type Known,
  recordsOf,
  refused,
  requestId,
  settleAll,
  unwrap,
} from "./events.ts";
import { type InvocationContext, limitsOf, wiring } from "./wiring.ts";

export async function handler(event: unknown, context?: InvocationContext): Promise<void> {
  const records = recordsOf(event).filter((record) => !isOther(record));
  const fallback = requestId(context);
  const limits = limitsOf(context);
  const incoming = await Promise.all(
    records.map((record, index) => messageOf(record, `${fallback}-${index}`, limits)),
  );
  await settleAll("s3", incoming, context);
}

/** A notification of anything but a creation: nothing to send, and nothing wrong. */
function isOther(record: unknown): boolean {
  const name = isRecord(record) ? record["eventName"] : undefined;
  return typeof name === "string" && !/^(s3:)?ObjectCreated:/.test(name);
}

async function messageOf(
  record: unknown,
  fallback: string,
  { timeLeft }: Limits,
): Promise<Incoming> {
  const { s3, eventTime, responseElements } = isRecord(record) ? record : {};
  const putBy = isRecord(responseElements) ? responseElements["x-amz-request-id"] : undefined;
  const { bucket, object } = isRecord(s3) ? s3 : {};
  const name = isRecord(bucket) ? bucket["name"] : undefined;
  const { key: encoded, versionId, sequencer } = isRecord(object) ? object : {};
  const key = decoded(encoded);
  const date = dateOf(eventTime, { date: new Date() });
  if (typeof name !== "string" || name === "" || key === undefined) {
    return refused({ id: fallback, date }, record, "is in no object that the event names");
  }
  const version = typeof versionId === "string" && versionId !== "" ? versionId : undefined;
  const order = typeof sequencer === "string" ? sequencer : "";
  const id = idOf([`${name}/${key}`, version ?? "", order].join("#"), fallback);
  // An object's name is its owner's affair: a recipient is shown the id of the request that put it.
  const correlationId = opaque(putBy) ?? fallback;
  const known: Known = { id, date, correlationId };
  const reference = { bucket: name, key, ...(version !== undefined && { versionId: version }) };
  const kind = /\.(json|eml)$/i.exec(key)?.[1]?.toLowerCase();
  if (kind === undefined) return refused(known, reference, "is in no .json or .eml object");
  try {
    const reading = (await wiring().queues.objects()).read(reference);
    const octets = await inTime(reading, timeLeft(), () => new Error("It is not read in time."));
    if (kind === "json") return unwrap(Buffer.from(octets).toString("utf8"), known);
    const input = { raw: Buffer.from(withoutBcc(octets), "latin1").toString("base64") };
    return { order: { autoSubmitted: true, ...known, input } };
  } catch (error) {
    return unread(known, reference, error);
  }
}

/** What is gone or too large will not mend; the rest is tried again. */
function unread(known: Known, reference: unknown, error: unknown): Incoming {
  const { kind, message } = error as Partial<ObjectError>;
  const final = kind === "missing" || kind === "too_large";
  const code = kind === "too_large" ? "message_too_large" : `object_${kind ?? "unavailable"}`;
  const problem = { code, phase: "request", message: kind ? `${message}` : "It cannot be read." };
  const result = unsent(known.id, final ? "rejected" : "deferred", problem, { retryable: !final });
  return { order: { ...known, input: reference }, known: result };
}

/** Keys come as in the query of a URL. */
function decoded(key: unknown): string | undefined {
  if (typeof key !== "string" || key === "") return undefined;
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}

/** Octet for octet, Bcc and its folded lines left out of the header. */
export function withoutBcc(octets: Uint8Array): string {
  const text = Buffer.from(octets).toString("latin1");
  const end = /(\r\n|\n|\r)(\r\n|\n|\r)/.exec(text)?.index ?? text.length;
  const header = `${text.slice(0, end)}\n`;
  const kept = header.replace(
    /^(?:resent-)?bcc[ \t]*:[^\r\n]*(?:\r\n|\n|\r)(?:[ \t][^\r\n]*(?:\r\n|\n|\r))*/gim,
    "",
  );
  return kept.replace(/\n$/, "") + text.slice(end);
}
