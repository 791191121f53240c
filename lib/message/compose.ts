/**
 * A request made into a message (RFC 5322, RFC 2045–2049). MailComposer builds the MIME tree; the
 * header fields are ours (header.ts), and so are the attachments' bodies: the tree is rendered
 * with a mark in the place of each, and the bodies stream into their places when it is sent.
 *
 * The same request, date and message-id give the same octets, so a resend repeats the message.
 */
import { createHash, randomBytes } from "node:crypto";
import MailComposer from "nodemailer/lib/mail-composer";
import { detectMimeType } from "nodemailer/lib/mime-funcs";
import { type Content, canonicalise } from "../smtp/data.ts";
import type { Mailbox } from "./address.ts";
import { inlinePart, OCTETS, type Part, partOf, type ResolveAttachment } from "./attachment.ts";
import { headerBlock } from "./fields.ts";
import { composeRaw, parseRaw } from "./raw.ts";
import type { MailRequest } from "./schema.ts";
import { bodyText, crlf } from "./text.ts";

export { ContentChanged } from "./attachment.ts";

export { parseRaw } from "./raw.ts";

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
    parts.push(inlinePart(labels, Buffer.from(crlf(request.calendar.content))));
  }
  const messageId = request.messageId ?? options.messageId;
  const { structure, pieces } = await render(
    await alternatives(request, options),
    parts,
    messageId,
  );
  const fields = headerBlock(request, { ...options, messageId });
  const head = Buffer.from(`${fields}MIME-Version: 1.0\r\n${structure}`);
  return { content: assemble([head, ...pieces]), messageId };
}

interface Alternative {
  readonly contentType: string;
  readonly content: string;
  /** Left to the composer where missing. */
  readonly contentTransferEncoding?: string;
}

/**
 * Least faithful first (RFC 2046 §5.1.4): text, html, calendar. There is always one. An empty text
 * or html beside another says nothing, and a reader who prefers it would see a blank message: it
 * counts as not given.
 */
async function alternatives(request: MailRequest, options: ComposeOptions): Promise<Alternative[]> {
  const { calendar } = request;
  const html = request.html || undefined;
  const text =
    (request.text || undefined) ??
    (html === undefined ? undefined : await options.htmlToText?.(html)) ??
    (html === undefined && calendar === undefined ? "" : undefined);
  const found: Alternative[] = [];
  if (text !== undefined) found.push(alternative("text/plain; charset=utf-8", text));
  if (html !== undefined) found.push(alternative("text/html; charset=utf-8", html));
  if (calendar !== undefined) {
    const contentType = `text/calendar; charset=utf-8; method=${calendar.method}`;
    found.push(alternative(contentType, calendar.content));
  }
  return found;
}

/** Line ends are canonical before any encoding (RFC 2046 §4.1.1). */
function alternative(contentType: string, text: string): Alternative {
  // A schema keeps these away; a converter of html may not.
  const content = crlf(bodyText(text));
  // Relays may take white space off the end of a line: quoted-printable keeps it (RFC 2045 §6.7).
  // Text that is mostly not ASCII becomes base64 anyway, which keeps everything.
  const exposed = /[ \t]\r?$/m.test(content) && /^[\t\r\n\x20-\x7e]*$/.test(content);
  return exposed
    ? { contentType, content, contentTransferEncoding: "quoted-printable" }
    : { contentType, content };
}

type Piece = Uint8Array | Part;

/** 24 octets, and 3 that count: 36 characters of base64, on a line of their own. */
const NONCE = 24;
const START = 32;
const MARK = 36;

/**
 * Renders the tree and cuts it at the marks. The mark is random, and no part of the result, so
 * nobody can write one into a text beforehand.
 */
async function render(
  texts: readonly Alternative[],
  parts: readonly Part[],
  messageId: string,
): Promise<{ structure: string; pieces: Piece[] }> {
  const nonce = randomBytes(NONCE);
  const composer = new MailComposer({
    alternatives: texts.map((text) => ({ ...text })),
    attachments: parts.map((part, index) =>
      attachmentOf(part, index + 1, mark(nonce, index), texts),
    ),
    // "=_" cannot occur in base64 or quoted-printable (RFC 2045 §6.7); what stands in the message
    // as it is has a part in the hash, so it cannot hold a boundary that depends on it.
    boundaryPrefix: "=_",
    baseBoundary: digest(messageId, texts, parts),
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const rendered = Buffer.from(canonicalise(await composer.compile().build()));
  const end = rendered.indexOf("\r\n\r\n");
  const structure = rendered.subarray(0, end + 2).toString();
  // Content-* fields, folded lines and all; the others of MailComposer give way to our own.
  const own = structure.match(/^Content-[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*/gim) ?? [];
  return {
    structure: `${own.join("")}\r\n`,
    pieces: cut(rendered.subarray(end + 4), nonce, parts),
  };
}

function mark(nonce: Uint8Array, index: number): Buffer {
  return Buffer.from([...nonce, index >> 16, (index >> 8) & 255, index & 255]);
}

function cut(body: Buffer, nonce: Buffer, parts: readonly Part[]): Piece[] {
  const pieces: Piece[] = [];
  const start = nonce.toString("base64");
  let from = 0;
  for (let at = body.indexOf(start); at !== -1; at = body.indexOf(start, from)) {
    const count = body.toString("latin1", at + START, at + MARK);
    const index = Buffer.from(count, "base64").readUIntBE(0, 3);
    pieces.push(body.subarray(from, at), parts[index] as Part);
    from = at + MARK;
  }
  pieces.push(body.subarray(from));
  if (pieces.length !== 2 * parts.length + 1) throw new Error("An attachment lost its place.");
  return pieces;
}

function attachmentOf(
  part: Part,
  number: number,
  placeholder: Buffer,
  texts: readonly Alternative[],
) {
  const html = texts.some(({ contentType }) => contentType.startsWith("text/html"));
  const inline = part.contentId !== undefined && html && !readAsText(part);
  // Without a name or a type to make one from, MailComposer's own would end in an asterisk.
  const octets = (part.contentType ?? OCTETS) === OCTETS;
  const filename = part.filename ?? (octets ? `attachment-${number}.bin` : undefined);
  return {
    ...(filename === undefined ? {} : { filename }),
    ...(part.contentType === undefined ? {} : { contentType: part.contentType }),
    ...(part.contentId === undefined ? {} : { cid: part.contentId }),
    contentDisposition: inline ? "inline" : "attachment",
    contentTransferEncoding: part.encoding,
    content: part.encoding === "7bit" ? Buffer.from(placeholder.toString("base64")) : placeholder,
  };
}

/**
 * Readers take inline text and messages for more of the body (RFC 2183 §2.1), and show no file then.
 * Attached, they stay files; a `cid:` finds them all the same.
 */
function readAsText({ contentType, filename }: Part): boolean {
  const type = contentType ?? detectMimeType(filename ?? "");
  return /^(text\/(plain|html)|message\/)/i.test(type);
}

function digest(messageId: string, texts: readonly Alternative[], parts: readonly Part[]): string {
  const hash = createHash("sha256").update(messageId);
  for (const { content } of texts) hash.update("\0").update(content);
  for (const { verbatim } of parts) hash.update("\0").update(verbatim ?? "");
  return hash.digest("hex").slice(0, 32);
}

/** Content whose size is the sum of its pieces', opened as often as it is asked for. */
function assemble(pieces: readonly Piece[]): Content {
  const octets = pieces.filter((piece) => piece instanceof Uint8Array);
  const eightBit = octets.some((piece) => piece.some((octet) => octet > 127));
  const sizes = pieces.map((piece) => (piece instanceof Uint8Array ? piece.length : piece.size));
  return {
    size: sizes.reduce((sum, size) => sum + size, 0),
    // Bodies are 7-bit by construction, so what exceeds ASCII is a header (RFC 6532).
    eightBit,
    utf8Header: eightBit,
    async *open() {
      for (const piece of pieces) {
        if (piece instanceof Uint8Array) yield piece;
        else yield* piece.open();
      }
    },
  };
}
