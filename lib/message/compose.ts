/**
 * A request made into a message (RFC 5322, RFC 2045–2049): its header fields (fields.ts), its MIME
 * tree (mime.ts), and its attachments, whose bodies stream into their places when it is sent.
 *
 * The same request, date and message-id give the same octets, so a resend repeats the message.
 */
import type { Content } from "../smtp/data.ts";
import type { Mailbox } from "./address.ts";
import { inlinePart, type Part, partOf, type ResolveAttachment } from "./attachment.ts";
import { headerBlock } from "./fields.ts";
import { isHtml, type Labelled, type Piece, type Text, tree } from "./mime.ts";
import { composeRaw, parseRaw } from "./raw.ts";
import type { MailRequest } from "./schema.ts";
import { bodyText, crlf } from "./text.ts";

export interface ComposeOptions {
  /** The mailbox's own From, for requests that name none. */
  readonly from: Mailbox;
  /** Who really sends: a Sender field names it where its address differs from From (RFC 5322 §3.6.2). */
  readonly sender?: Mailbox | undefined;
  /** Date and Message-ID for requests that name none; the same for every resend. */
  readonly date: Date;
  readonly messageId: string;
  /** `X-Correlation-Id`, where the request's own headers have none: ASCII without spaces. */
  readonly correlationId?: string | undefined;
  /** Sent by a machine, unasked: `Auto-Submitted: auto-generated` (RFC 3834 §5). Default: no. */
  readonly autoSubmitted?: boolean | undefined;
  /** Makes the text part of a message that has only html. Default: there is none then. */
  readonly htmlToText?: ((html: string) => string | Promise<string>) | undefined;
  /** Finds attachments that live elsewhere; its errors are handed on. */
  readonly resolveAttachment?: ResolveAttachment | undefined;
}

export interface Composed {
  readonly content: Content;
  /** The Message-ID that the message bears, angle brackets included. */
  readonly messageId: string;
}

/**
 * Composes the message. Nothing is read from attachments that live elsewhere until the content is
 * opened; a source that then gives another number of octets than it said makes the reading throw
 * {@link ContentChanged}.
 *
 * @throws what `resolveAttachment` throws.
 */
export async function compose(request: MailRequest, options: ComposeOptions): Promise<Composed> {
  if (request.raw !== undefined) {
    const raw = parseRaw(request.raw);
    if (!raw.ok) throw new TypeError(`Not a checked request: ${raw.reasons.join("; ")}`);
    return composeRaw(raw.value, request, options);
  }
  const parts = await Promise.all(
    (request.attachments ?? []).map((one) => partOf(one, options.resolveAttachment)),
  );
  if (request.calendar !== undefined) {
    const labels = { filename: "invite.ics", contentType: "application/ics" };
    const content = Buffer.from(crlf(request.calendar.content)).toString("base64");
    parts.push(inlinePart(labels, content));
  }
  const messageId = request.messageId ?? options.messageId;
  const texts = await alternatives(request, options);
  const fields = headerBlock(request, { ...options, messageId });
  const [first, ...rest] = tree(texts, await labels(parts, texts), messageId);
  return { content: assemble([`${fields}MIME-Version: 1.0\r\n${first}`, ...rest]), messageId };
}

/** Loaded only with an attachment: it knows the type of each file name's extension. */
async function labels(parts: readonly Part[], texts: readonly Text[]): Promise<Labelled[]> {
  if (parts.length === 0) return [];
  const { labelled } = await import("./labels.ts");
  const besideHtml = texts.some(isHtml);
  return parts.map((part, index) => labelled(part, index + 1, besideHtml));
}

/**
 * Least faithful first (RFC 2046 §5.1.4): text, html, calendar. There is always one. An empty text
 * or html beside another says nothing, and a reader who prefers it would see a blank message: it
 * counts as not given.
 */
async function alternatives(request: MailRequest, options: ComposeOptions): Promise<Text[]> {
  const { calendar } = request;
  const html = request.html || undefined;
  const text =
    (request.text || undefined) ??
    (html === undefined ? undefined : await options.htmlToText?.(html)) ??
    (html === undefined && calendar === undefined ? "" : undefined);
  const found: Text[] = [];
  if (text !== undefined) found.push(textOf("text/plain; charset=utf-8", text));
  if (html !== undefined) found.push(textOf("text/html; charset=utf-8", html));
  if (calendar !== undefined) {
    const contentType = `text/calendar; charset=utf-8; method=${calendar.method}`;
    found.push(textOf(contentType, calendar.content));
  }
  return found;
}

/** Line ends are canonical before any encoding (RFC 2046 §4.1.1). */
function textOf(contentType: string, text: string): Text {
  // A schema keeps away what cannot be sent; a converter of html may not.
  return { contentType, content: crlf(bodyText(text)) };
}

/** Content whose size is the sum of its pieces', opened as often as it is asked for. */
function assemble(pieces: readonly Piece[]): Content {
  const bodies = pieces.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece));
  // Bodies are 7-bit by construction, so what exceeds ASCII is a header (RFC 6532).
  const eightBit = pieces.some((piece) => typeof piece === "string" && NOT_ASCII.test(piece));
  return {
    size: bodies.reduce((sum, body) => sum + ("size" in body ? body.size : body.length), 0),
    eightBit,
    utf8Header: eightBit,
    async *open() {
      for (const body of bodies) {
        if ("size" in body) yield* body.open();
        else yield body;
      }
    },
  };
}

const NOT_ASCII = /[^\0-\x7f]/;
