/**
 * Attachments on their way into a message: where their octets come from, and how each is encoded.
 * Content in the request is base64
 * already and only gets its lines; content elsewhere is opened only while it is sent, and
 * encoded as it passes, so memory does not grow with it.
 */
import { canonicalise } from "../smtp/data.ts";
import { Base64Encoder, encodedSize, wrapped, wrappedSize } from "./base64.ts";
import * as field from "./field.ts";
import type { Attachment, S3Reference } from "./schema.ts";
import { LINE_OCTETS, longestLine, wellFormed } from "./text.ts";

/** Content that lives elsewhere. Whoever implements it pins the version, so that it cannot change. */
export interface AttachmentSource {
  /** Octets, known before the first of them is read. */
  readonly size: number;
  /** Used where the request names none. */
  readonly contentType?: string | undefined;
  readonly filename?: string | undefined;
  /** Called once for each time the message is read: sending, signing, a second relay. */
  open(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

export type ResolveAttachment = (reference: S3Reference) => Promise<AttachmentSource>;

/**
 * A source gave more or fewer octets than it said. The size is already declared to the server, so
 * the session has to be dropped before the final dot: nothing half is delivered.
 */
export class ContentChanged extends Error {
  override readonly name = "ContentChanged";
  readonly code = "content_changed";
  /** Octets that were promised. */
  readonly expected: number;
  /** Octets that came, as far as they were read. */
  readonly received: number;

  constructor(expected: number, received: number) {
    super(`An attachment of ${expected} octets gave ${received}: it changed while it was sent.`);
    this.expected = expected;
    this.received = received;
  }
}

/** One leaf of the message: its labels, and its body as it will stand on the wire. */
export interface Part {
  readonly filename: string | undefined;
  /** `undefined`: guessed from the file name. */
  readonly contentType: string | undefined;
  readonly contentId: string | undefined;
  readonly encoding: "base64" | "7bit";
  /** Octets of the encoded body, without the line end that belongs to the boundary. */
  readonly size: number;
  /** Content that stands in the message as it is; the boundary must not occur in it. */
  readonly verbatim?: Uint8Array;
  open(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** Encoded at a time: whole lines, and small enough that many sessions fit an instance. */
const PIECE = 57 * 4096;

/** The type of what is only octets (RFC 2046 §4.5.1). */
export const OCTETS = "application/octet-stream";

/**
 * The part that an attachment of the request becomes.
 *
 * @throws what `resolve` throws.
 */
export async function partOf(one: Attachment, resolve?: ResolveAttachment): Promise<Part> {
  if (one.s3 === undefined) return inlinePart(one, one.content ?? "");
  if (resolve === undefined)
    throw new TypeError("There is nothing that could read S3 attachments.");
  const source = await resolve(one.s3);
  const filename = one.filename ?? usableName(source.filename) ?? usableName(one.s3.key);
  const contentType = one.contentType ?? usableType(source.contentType) ?? byName(filename);
  return {
    filename,
    // Whether it is 7-bit throughout is not known before it is sent.
    contentType: isMessage(contentType) ? OCTETS : contentType,
    contentId: one.contentId,
    encoding: "base64",
    size: encodedSize(source.size),
    open: () => encodeSource(source),
  };
}

/** A part whose content is at hand, in base64: as such it goes on, and is never decoded. */
export function inlinePart(labels: Omit<Attachment, "content" | "s3">, content: string): Part {
  const { filename, contentId } = labels;
  const contentType = labels.contentType ?? byName(filename);
  const verbatim = isMessage(contentType) ? sevenBit(Buffer.from(content, "base64")) : undefined;
  if (verbatim !== undefined) {
    const open = () => [verbatim];
    const encoding = "7bit";
    return { filename, contentType, contentId, encoding, size: verbatim.length, verbatim, open };
  }
  const canonical = canonicalEnd(content);
  return {
    filename,
    contentType: isMessage(contentType) ? OCTETS : contentType,
    contentId,
    encoding: "base64",
    size: wrappedSize(canonical.length),
    open: () => wrapped(canonical),
  };
}

/** Bits of the last group that belong to no octet are zero (RFC 4648 §3.5), whatever was given. */
function canonicalEnd(base64: string): string {
  const last = base64.slice(-4);
  const whole = Buffer.from(last, "base64").toString("base64");
  return whole === last ? base64 : `${base64.slice(0, -4)}${whole}`;
}

/**
 * message/* must not be encoded (RFC 2045 §6.4, RFC 2046 §5.2.1); message/global may be (RFC 6532
 * §3.7). What is not 7-bit would then need 8BITMIME on every hop, so it travels as octets under its
 * file name instead, and arrives whole.
 */
export function isMessage(contentType: string | undefined): boolean {
  return contentType !== undefined && /^message\/(?!global)/i.test(contentType);
}

/**
 * The extensions that the composer's own table takes for a message or a multipart, which may not be
 * base64. Of these only a mail file is one; web archives are files like any other.
 */
function byName(filename: string | undefined): string | undefined {
  const extension = /\.([^.]+)$/.exec(filename ?? "")?.[1]?.toLowerCase();
  if (extension === "eml") return "message/rfc822";
  if (extension === "gzip") return "application/gzip";
  return /^(mime|mht|mhtml|nws)$/.test(extension ?? "") ? OCTETS : undefined;
}

/** The content with canonical line ends, where it may stand unencoded (RFC 2045 §2.7). */
function sevenBit(content: Uint8Array): Uint8Array | undefined {
  if (content.some((octet) => octet > 127 || octet === 0)) return undefined;
  const whole = canonicalise(content);
  const last = content.at(-1);
  const verbatim = last === undefined || last === 10 || last === 13 ? whole : whole.subarray(0, -2);
  return longestLine(verbatim) > LINE_OCTETS ? undefined : verbatim;
}

async function* encodeSource(source: AttachmentSource): AsyncGenerator<Uint8Array> {
  const encoder = new Base64Encoder();
  let received = 0;
  for await (const chunk of source.open()) {
    received += chunk.length;
    if (received > source.size) throw new ContentChanged(source.size, received);
    for (let at = 0; at < chunk.length; at += PIECE) {
      yield encoder.encode(chunk.subarray(at, at + PIECE));
    }
  }
  if (received < source.size) throw new ContentChanged(source.size, received);
  yield encoder.end();
}

/** S3 says binary/octet-stream where nobody said anything; the file name knows better. */
function usableType(contentType: string | undefined): string | undefined {
  if (contentType === undefined || contentType === "binary/octet-stream") return undefined;
  return field.contentType(contentType) === undefined ? contentType : undefined;
}

/** The last segment of a path, if a file can be called that. */
function usableName(path: string | undefined): string | undefined {
  const segment =
    wellFormed(path ?? "")
      .split("/")
      .at(-1) ?? "";
  const name = segment.replace(/\p{Cc}/gu, "");
  return field.filename(name) === undefined ? name : undefined;
}
