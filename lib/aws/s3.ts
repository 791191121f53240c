/**
 * Attachments in S3. An object is looked at first, so that its size can be declared, and then read
 * only as the very object that was looked at (If-Match): what changes in between, ends early or
 * fails midway is an error, never a message with something else in it. Read at the pace of the
 * relay, so memory does not grow with the object.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  GetObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  S3Client,
} from "@aws-sdk/client-s3";
import {
  type AttachmentSource,
  ContentChanged,
  type ResolveAttachment,
} from "../message/attachment.ts";
import type { S3Reference } from "../message/schema.ts";
import { settings } from "./settings.ts";

/** Why an attachment cannot be had. */
export class AttachmentError extends Error {
  override readonly name = "AttachmentError";
  readonly code: "attachment_missing" | "attachment_forbidden" | "attachment_unavailable";
  /** Whether asking again may help without anybody doing something. */
  readonly retryable: boolean;

  constructor(code: AttachmentError["code"], message: string, retryable = false) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

/** The object is no longer the one whose size was declared. */
export class ObjectChanged extends ContentChanged {
  override readonly message: string;

  constructor(what: string, expected: number, received: number) {
    super(expected, received);
    this.message = `${what} changed while the message was being sent.`;
  }
}

/** Milliseconds to the first octet of an answer, for each of three attempts. */
const ANSWER_MS = 5_000;
/** Milliseconds between two pieces of an object that somebody waits for. */
const STALL_MS = 20_000;

export interface S3Options {
  /** Milliseconds that a read may stand still before it is given up. Default: 20,000. */
  readonly stallMs?: number;
}

/** Reads attachments with the function's own role; which buckets are allowed is policy's business. */
export function s3Attachments({ stallMs = STALL_MS }: S3Options = {}): ResolveAttachment {
  const client = new S3Client({
    ...settings("S3"),
    maxAttempts: 3,
    followRegionRedirects: true,
    // Length and ETag are checked, and TLS protects the octets: a checksum in script would cost
    // more time than everything else here.
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: {
      connectionTimeout: ANSWER_MS,
      requestTimeout: ANSWER_MS,
      throwOnRequestTimeout: true,
    },
  });
  return async (reference) => {
    const object = objectOf(reference);
    const what = nameOf(reference);
    let head: HeadObjectCommandOutput;
    try {
      head = await client.send(new HeadObjectCommand(object));
    } catch (error) {
      throw translate(error, what);
    }
    if (archived(head)) {
      throw new AttachmentError(
        "attachment_unavailable",
        `${what} is archived (${head.StorageClass}): it has to be restored before it can be sent.`,
      );
    }
    const { ContentLength: size, ETag: etag } = head;
    if (size === undefined || etag === undefined) {
      throw new AttachmentError(
        "attachment_unavailable",
        `S3 names no size and version for ${what}.`,
        true,
      );
    }
    const source: AttachmentSource = {
      size,
      contentType: head.ContentType,
      filename: filenameOf(head.ContentDisposition) ?? reference.key.split("/").at(-1),
      // The version that HEAD found is not asked for by its id: that takes another permission
      // (s3:GetObjectVersion) than the one that has just been shown to be there.
      open: () => read(client, { ...object, IfMatch: etag }, { what, size, stallMs }),
    };
    return source;
  };
}

function objectOf({ bucket, key, versionId }: S3Reference) {
  return { Bucket: bucket, Key: key, ...(versionId !== undefined && { VersionId: versionId }) };
}

function nameOf({ bucket, key, versionId }: S3Reference): string {
  const version = versionId === undefined ? "" : ` (version ${versionId})`;
  return `s3://${bucket}/${key}${version}`;
}

/** Such an object answers HEAD and refuses GET, which would be noticed in mid-session only. */
function archived({ StorageClass, ArchiveStatus, Restore }: HeadObjectCommandOutput): boolean {
  const away =
    StorageClass === "GLACIER" || StorageClass === "DEEP_ARCHIVE" || ArchiveStatus !== undefined;
  return away && !(Restore ?? "").includes('ongoing-request="false"');
}

interface Expected {
  readonly what: string;
  readonly size: number;
  readonly stallMs: number;
}

async function* read(
  client: S3Client,
  input: ConstructorParameters<typeof GetObjectCommand>[0],
  { what, size, stallMs }: Expected,
): AsyncGenerator<Uint8Array> {
  let body: Body;
  try {
    body = (await client.send(new GetObjectCommand(input))).Body as Body;
  } catch (error) {
    if (statusOf(error) === 412) throw new ObjectChanged(what, size, 0);
    throw translate(error, what);
  }
  let received = 0;
  let sinceCollected = 0;
  try {
    const pieces = body[Symbol.asyncIterator]();
    for (;;) {
      const piece = await within(stallMs, pieces.next(), body);
      if (piece.done === true) break;
      received += piece.value.length;
      yield piece.value;
      sinceCollected += piece.value.length;
      if (sinceCollected >= COLLECT_OCTETS) {
        sinceCollected = 0;
        collect();
      }
    }
  } catch (error) {
    throw new AttachmentError(
      "attachment_unavailable",
      `${what} could not be read to its end: ${received} of ${size} octets came (${reason(error)}).`,
      true,
    );
  } finally {
    // Whoever stops reading must not leave a connection that S3 goes on filling.
    body.destroy();
  }
  if (received !== size) throw new ObjectChanged(what, size, received);
}

/** Octets read, after which what they were read into, and encoded into, is given back. */
const COLLECT_OCTETS = 1024 * 1024;

type Collector = (options: { readonly type: "minor" }) => void;
let collector: Collector | undefined;

/**
 * Each piece comes in a buffer of its own outside of V8's heap, where by itself V8 looks only when
 * some 64 MiB have gathered: the peak would grow by that. A minor collection takes less than a millisecond.
 * Node hands out the function for it only under a flag, which is withdrawn at once.
 */
function collect(): void {
  if (collector === undefined) {
    setFlagsFromString("--expose-gc");
    const found: unknown = runInNewContext("globalThis.gc");
    setFlagsFromString("--no-expose-gc");
    collector = typeof found === "function" ? (found as Collector) : () => {};
  }
  collector({ type: "minor" });
}

/** What the SDK gives for a body under Node: the response itself. */
interface Body extends AsyncIterable<Uint8Array> {
  destroy(error?: Error): void;
}

/** Only waiting counts: while the relay is slow, nobody asks, and the connection may rest. */
async function within<T>(milliseconds: number, waited: Promise<T>, body: Body): Promise<T> {
  const stalled = () => body.destroy(new Error(`nothing came for ${milliseconds} ms`));
  const timer = setTimeout(stalled, milliseconds);
  try {
    return await waited;
  } finally {
    clearTimeout(timer);
  }
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}

function reason(error: unknown): string {
  const { name, code, message } = error as NodeJS.ErrnoException;
  return name === "Error" ? (code ?? message) : name;
}

/** HEAD has no body, so often nothing but the status tells. */
function translate(error: unknown, what: string): AttachmentError {
  const status = statusOf(error);
  const name = reason(error);
  // 405: the version asked for marks a deletion.
  if (status === 404 || status === 405) {
    return new AttachmentError("attachment_missing", `There is no ${what}.`);
  }
  if (name === "InvalidObjectState") {
    return new AttachmentError("attachment_unavailable", `${what} is archived (${name}).`);
  }
  if (status === 403 || name === "CredentialsProviderError") {
    return new AttachmentError(
      "attachment_forbidden",
      `${what} may not be read, or is not there: without s3:ListBucket on the bucket S3 answers 403 for both. Check the key, and that the function's role has s3:GetObject (and kms:Decrypt where the object is encrypted with a key of your own).`,
    );
  }
  const retryable = status === undefined || status >= 500 || status === 429 || status === 408;
  return new AttachmentError(
    "attachment_unavailable",
    `${what} could not be read (${status === undefined ? name : `${name}, ${status}`}).`,
    retryable,
  );
}

/** RFC 6266 §4.3: `filename*` goes before `filename`; what cannot be read counts as absent. */
export function filenameOf(disposition: string | undefined): string | undefined {
  if (disposition === undefined) return undefined;
  const extended = /;\s*filename\*\s*=\s*(UTF-8|ISO-8859-1)'[^']*'([^;\s]+)/i.exec(disposition);
  if (extended !== null) {
    const decoded = percentDecoded(extended[2] ?? "", extended[1] ?? "");
    if (decoded !== undefined) return decoded;
  }
  const plain = /;\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]+))/i.exec(disposition);
  const value = plain?.[1]?.replace(/\\(.)/g, "$1") ?? plain?.[2];
  return value === undefined || value === "" ? undefined : decoded(Buffer.from(value, "latin1"));
}

/** RFC 8187 §3.2.1. */
function percentDecoded(value: string, charset: string): string | undefined {
  if (/%(?![0-9A-Fa-f]{2})/.test(value)) return undefined;
  const octets = Buffer.from(
    value.replace(/%(..)/g, (_match, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    "latin1",
  );
  return charset.toUpperCase() === "UTF-8" ? decoded(octets) : octets.toString("latin1");
}

/** Node reads header octets as Latin-1, and many who upload write UTF-8. */
function decoded(octets: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(octets);
  } catch {
    return octets.toString("latin1");
  }
}
