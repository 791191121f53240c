/**
 * S3 on loopback, as far as attachments need it: HeadObject and GetObject with a range, If-Match and
 * versions, by path, as the real SDK speaks it. An object may be nothing but a size: its octets are
 * made on the way out, so that the largest takes no memory.
 *
 * Rule guarded here: what S3 can do to a reader, this does. It ends early, changes, refuses, resets
 * and falls silent.
 */
import { createHash, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

export interface StoredObject {
  /** Or how many octets of a pattern that {@link patternOf} repeats. */
  readonly body: Uint8Array | string | number;
  readonly contentType?: string;
  /** Written as it is; Latin-1, as HTTP has it. */
  readonly contentDisposition?: string;
  readonly storageClass?: string;
}

/**
 * An answer with this status and code; or, of a GET's body, half: whole as far as HTTP can tell
 * (`short`), with the connection reset (`reset`), or with silence for the rest (`hang`).
 */
export type ObjectsFault =
  | { readonly status: number; readonly code: string }
  | "short"
  | "reset"
  | "hang";

export interface Objects {
  /** For `AWS_ENDPOINT_URL_S3`; an IP address, so the SDK puts the bucket into the path. */
  readonly url: string;
  /** Requests so far, by method, those that were made to fail included. */
  calls(method: "GET" | "HEAD"): number;
  /** GET answers that are being sent at this moment. */
  streaming(): number;
  /** Stores a new current version of `bucket/key` and gives its id. */
  put(path: string, object: StoredObject | StoredObject["body"]): string;
  /** Every request, or every one of this method, fails so, until this is called with `undefined`. */
  fail(fault: ObjectsFault | undefined, method?: "GET" | "HEAD"): void;
  close(): Promise<void>;
}

const BLOCK = Buffer.alloc(64 * 1024, "The same octets each time, and none twice in a row. ");

/** The octets of an object that is nothing but a size. */
export function* patternOf(size: number, from = 0): Generator<Uint8Array> {
  for (let at = from; at < size; ) {
    const start = at % BLOCK.length;
    const piece = BLOCK.subarray(start, Math.min(BLOCK.length, start + size - at));
    yield piece;
    at += piece.length;
  }
}

interface Version extends StoredObject {
  readonly id: string;
  readonly size: number;
  readonly etag: string;
  readonly modified: string;
}

class Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string) {
    super(code);
    this.status = status;
    this.code = code;
  }
}

/** @param initial from `bucket/key` to an object */
export async function startObjects(
  initial: Readonly<Record<string, StoredObject | StoredObject["body"]>> = {},
): Promise<Objects> {
  const store = new Map<string, Version[]>();
  const put: Objects["put"] = (path, object) => {
    const stored =
      typeof object === "object" && !(object instanceof Uint8Array) ? object : { body: object };
    const version = versionOf(stored);
    store.set(path, [...(store.get(path) ?? []), version]);
    return version.id;
  };
  for (const [path, object] of Object.entries(initial)) put(path, object);
  const calls = { GET: 0, HEAD: 0 };
  let failure: { readonly fault: ObjectsFault; readonly method: string | undefined } | undefined;
  let streaming = 0;

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method } = request;
    if (method !== "GET" && method !== "HEAD") throw new Refusal(405, "MethodNotAllowed");
    calls[method] += 1;
    const applies = failure?.method === undefined || failure.method === method;
    const fault = applies ? failure?.fault : undefined;
    if (typeof fault === "object") throw new Refusal(fault.status, fault.code);
    const version = find(store, request);
    const [from, to] = rangeOf(request.headers.range, version.size);
    const half = from + Math.floor((to - from) / 2);
    response.writeHead(to - from === version.size ? 200 : 206, {
      "content-length": fault === "short" ? half - from : to - from,
      "content-type": version.contentType ?? "binary/octet-stream",
      etag: version.etag,
      "last-modified": version.modified,
      "x-amz-version-id": version.id,
      "x-amz-request-id": randomUUID(),
      ...(version.contentDisposition && { "content-disposition": version.contentDisposition }),
      ...(version.storageClass && { "x-amz-storage-class": version.storageClass }),
      ...(to - from < version.size && {
        "content-range": `bytes ${from}-${to - 1}/${version.size}`,
      }),
    });
    if (method === "HEAD") {
      response.end();
      return;
    }
    streaming += 1;
    response.once("close", () => {
      streaming -= 1;
    });
    const until = fault === undefined ? to : half;
    const ends = fault === undefined || fault === "short";
    await pipeline(Readable.from(octetsOf(version, from, until)), response, { end: ends });
    // The first half is on its way; a reset at once would take it back.
    if (fault === "reset") setTimeout(() => request.socket.resetAndDestroy(), 20);
  };

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      // A reader that went away, in the midst of a body: nobody is left to be told.
      if (response.headersSent) response.destroy();
      else refuse(response, error instanceof Refusal ? error : new Refusal(500, "InternalError"));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port was given");

  return {
    url: `http://127.0.0.1:${address.port}`,
    calls: (method) => calls[method],
    streaming: () => streaming,
    put,
    fail: (fault, method) => {
      failure = fault === undefined ? undefined : { fault, method };
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function versionOf(object: StoredObject): Version {
  const { body } = object;
  const octets = typeof body === "number" ? undefined : Buffer.from(body);
  return {
    ...object,
    ...(octets && { body: octets }),
    id: randomUUID(),
    size: octets?.length ?? (body as number),
    etag: `"${createHash("md5")
      .update(octets ?? `a pattern of ${body}`)
      .digest("hex")}"`,
    modified: new Date().toUTCString(),
  };
}

function find(store: ReadonlyMap<string, readonly Version[]>, request: IncomingMessage): Version {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://127.0.0.1");
  const versions = store.get(decodeURIComponent(pathname.slice(1)));
  if (versions === undefined) throw new Refusal(404, "NoSuchKey");
  const id = searchParams.get("versionId");
  const version = id === null ? versions.at(-1) : versions.find((one) => one.id === id);
  if (version === undefined) throw new Refusal(404, "NoSuchVersion");
  const match = request.headers["if-match"];
  if (match !== undefined && match !== "*" && match !== version.etag) {
    throw new Refusal(412, "PreconditionFailed");
  }
  return version;
}

/** RFC 9110 §14.1.2: one range, as first and last octet or as how many from the end. */
function rangeOf(header: string | undefined, size: number): readonly [number, number] {
  const range = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (range === null) return [0, size];
  const [, first = "", last = ""] = range;
  const from = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const to = first === "" || last === "" ? size : Math.min(size, Number(last) + 1);
  if (from >= to) throw new Refusal(416, "InvalidRange");
  return [from, to];
}

function octetsOf({ body }: Version, from: number, to: number): Iterable<Uint8Array> {
  return typeof body === "number" ? patternOf(to, from) : [Buffer.from(body).subarray(from, to)];
}

function refuse(response: ServerResponse, { status, code }: Refusal): void {
  response.writeHead(status, { "content-type": "application/xml" });
  response.end(
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>A fault that was asked for.</Message></Error>`,
  );
}
