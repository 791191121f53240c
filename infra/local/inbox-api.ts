/**
 * The inbox over HTTP, for the page and for scripts: what was delivered, parsed and as it came.
 *
 * Rule guarded here: mail is anybody's text. Its HTML is served alone, with a policy that lets it run
 * nothing and load nothing; whatever else of it is handed out is JSON or a download.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Email } from "postal-mime";
import type { Answer } from "./gateway.ts";
import { type DeliveredMessage, type Inbox, parseMessage } from "./inbox.ts";
import { SAFETY } from "./page.ts";

/** Of a long session, the newest. */
const MOST_SHOWN = 200;
const MOST_SOURCE_BYTES = 256 * 1024;
/** `sandbox` gives it an origin of its own, and neither scripts nor forms nor links to follow. */
const MAIL_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; sandbox; frame-ancestors 'self'";
const IMAGE = /^image\/(png|jpe?g|gif|webp|avif|bmp|svg\+xml)$/i;

/** GET and DELETE under `/inbox`. Undefined where there is nothing. */
export async function answerInbox(
  inbox: Inbox,
  method: string,
  path: string,
): Promise<Answer | undefined> {
  if (path === "/inbox" && method === "DELETE") {
    inbox.clear();
    return { status: 204, headers: SAFETY, body: "" };
  }
  if (method !== "GET" && method !== "HEAD") return undefined;
  if (path === "/inbox") {
    const newest = inbox.messages.slice(-MOST_SHOWN).reverse();
    const messages = await Promise.all(newest.map(summary));
    return json({ total: inbox.messages.length, messages });
  }
  const [, queueId = "", rest = ""] = /^\/inbox\/([0-9A-F]{1,32})(\.eml|\/.+)?$/.exec(path) ?? [];
  const message = inbox.find(queueId);
  if (message === undefined) return undefined;
  if (rest === "") return json(await details(message));
  if (rest === ".eml") return file(message.raw, "message/rfc822", `${queueId}.eml`);
  const parsed = await parsedOf(message);
  if (rest === "/html") return parsed?.html === undefined ? undefined : mail(parsed);
  const [, index = ""] = /^\/attachments\/(\d{1,4})$/.exec(rest) ?? [];
  const found = index === "" ? undefined : parsed?.attachments[Number(index)];
  if (found === undefined) return undefined;
  return file(octetsOf(found.content), "application/octet-stream", found.filename ?? "attachment");
}

/** A line for each change, until the browser goes: Server-Sent Events. */
export function streamInbox(
  inbox: Inbox,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  response.writeHead(200, { ...SAFETY, "content-type": "text/event-stream" });
  const tell = () => response.write(`data: ${inbox.messages.length}\n\n`);
  const end = inbox.watch(tell);
  request.once("close", end);
  tell();
}

async function summary(message: DeliveredMessage) {
  const { queueId, receivedAt, from, to, raw } = message;
  const parsed = await parsedOf(message);
  return {
    ...{ queueId, receivedAt, from, to, octets: raw.length },
    subject: parsed?.subject ?? "",
    attachments: parsed?.attachments.length ?? 0,
  };
}

async function details(message: DeliveredMessage) {
  const parsed = await parsedOf(message);
  const { raw } = message;
  return {
    ...(await summary(message)),
    headers: (parsed?.headers ?? []).map(({ originalKey, value }) => ({
      name: originalKey,
      value,
    })),
    text: parsed?.text ?? "",
    html: parsed?.html !== undefined,
    attachments: (parsed?.attachments ?? []).map(({ filename, mimeType, content }) => ({
      filename: filename ?? "",
      contentType: mimeType,
      octets: octetsOf(content).length,
    })),
    source: raw.subarray(0, MOST_SOURCE_BYTES).toString("utf8"),
    cut: Math.max(0, raw.length - MOST_SOURCE_BYTES),
  };
}

/** The same message is asked for again and again, and never changes. */
const known = new WeakMap<DeliveredMessage, Promise<Email | undefined>>();

/** Whoever sends `raw` may send what no parser makes sense of. */
function parsedOf(message: DeliveredMessage): Promise<Email | undefined> {
  const parsing = known.get(message) ?? parseMessage(message).catch(() => undefined);
  known.set(message, parsing);
  return parsing;
}

/** Images that came along are put into the text: nothing may be fetched, not even from here. */
function mail({ html = "", attachments }: Email): Answer {
  const images = new Map(
    attachments
      .filter(({ contentId, mimeType }) => contentId && IMAGE.test(mimeType))
      .map(({ contentId = "", mimeType, content }) => [
        contentId.replace(/^<|>$/g, ""),
        `data:${mimeType};base64,${octetsOf(content).toString("base64")}`,
      ]),
  );
  const body = html.replace(/\bcid:([^"'\s)>]+)/g, (all, id) => images.get(id) ?? all);
  const headers = {
    ...SAFETY,
    "content-security-policy": MAIL_POLICY,
    "content-type": "text/html; charset=utf-8",
  };
  return { status: 200, headers, body };
}

function octetsOf(content: ArrayBuffer | Uint8Array | string): Buffer {
  if (typeof content === "string") return Buffer.from(content);
  return content instanceof Uint8Array ? Buffer.from(content) : Buffer.from(content);
}

function file(body: Buffer, type: string, name: string): Answer {
  const plain = name.replace(/[^\w. -]/g, "_");
  // encodeURIComponent leaves what RFC 8187 does not.
  const whole = encodeURIComponent(name).replace(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16)}`,
  );
  const disposition = `attachment; filename="${plain}"; filename*=UTF-8''${whole}`;
  return {
    status: 200,
    headers: { ...SAFETY, "content-type": type, "content-disposition": disposition },
    body,
  };
}

function json(body: unknown): Answer {
  const headers = { ...SAFETY, "content-type": "application/json" };
  return { status: 200, headers, body: JSON.stringify(body) };
}
