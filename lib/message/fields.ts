/**
 * Which header fields a message bears, and in what order (RFC 5322 §3.6). Bcc is never among them:
 * this function does not know it.
 */
import type { Mailbox } from "./address.ts";
import { formatDate } from "./date.ts";
import { addressField, assertFields, textField, tokenField } from "./header.ts";
import type { MailRequest } from "./schema.ts";

export interface FieldOptions {
  readonly from: Mailbox;
  readonly sender?: Mailbox | undefined;
  readonly date: Date;
  readonly messageId: string;
  readonly correlationId?: string | undefined;
  readonly autoSubmitted?: boolean | undefined;
}

/** The header without its structure's own fields (MIME-Version, Content-*), each with its CRLF. */
export function headerBlock(request: MailRequest, options: FieldOptions): string {
  const from = request.from ?? options.from;
  const given = new Set(Object.keys(request.headers ?? {}).map((name) => name.toLowerCase()));
  const fields = [
    addressField("From", [from]),
    ...senderField([from], options.sender),
    ...recipientFields(request),
    ...list("Reply-To", request.replyTo),
    textField("Subject", request.subject ?? ""),
    dateField(request, options),
    tokenField("Message-ID", [options.messageId]),
    ...threading(request),
    ...importance(request, given),
    ...unsubscribe(request),
  ];
  if (options.autoSubmitted && !given.has("auto-submitted")) {
    fields.push(tokenField("Auto-Submitted", ["auto-generated"]));
  }
  if (options.correlationId !== undefined && !given.has("x-correlation-id")) {
    fields.push(textField("X-Correlation-Id", options.correlationId));
  }
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    fields.push(textField(name, value));
  }
  return assertFields(fields.join(""));
}

/** RFC 5322 §3.6.2: needed where the author is another, or not one. */
export function senderField(from: readonly Mailbox[], sender: Mailbox | undefined): string[] {
  const same = from.length === 1 && from[0]?.address === sender?.address;
  return sender === undefined || same ? [] : [addressField("Sender", [sender])];
}

/**
 * To and Cc. A message whose recipients are all hidden says so (RFC 5322 §3.4, A.1.3): filters
 * mistrust mail that is to nobody.
 */
export function recipientFields(request: MailRequest): string[] {
  const fields = [...list("To", request.to), ...list("Cc", request.cc)];
  return fields.length > 0 ? fields : [tokenField("To", ["undisclosed-recipients:;"])];
}

export function list(name: string, mailboxes: readonly Mailbox[] | undefined): string[] {
  return mailboxes === undefined || mailboxes.length === 0 ? [] : [addressField(name, mailboxes)];
}

export function dateField(request: MailRequest, options: FieldOptions): string {
  const date = request.date === undefined ? options.date : new Date(request.date);
  return tokenField("Date", formatDate(date).split(" "));
}

/** RFC 5322 §3.6.4: References names the thread, the message replied to last. */
function threading({ inReplyTo, references }: MailRequest): string[] {
  const thread = [...(references ?? [])];
  if (inReplyTo !== undefined && !thread.includes(inReplyTo)) thread.push(inReplyTo);
  return [
    ...(inReplyTo === undefined ? [] : [tokenField("In-Reply-To", [inReplyTo])]),
    ...(thread.length === 0 ? [] : [tokenField("References", thread)]),
  ];
}

/** Importance (RFC 2156 §5.3.4), and X-Priority for the readers that know only that. */
function importance(request: MailRequest, given: ReadonlySet<string>): string[] {
  const level = request.importance;
  if (level === undefined) return [];
  const fields = [tokenField("Importance", [level])];
  if (level !== "normal" && !given.has("x-priority")) {
    fields.push(tokenField("X-Priority", [level === "high" ? "1" : "5"]));
  }
  return fields;
}

/** RFC 2369 §3.2, RFC 8058 §3.1: the URL first where a click on it is enough. */
function unsubscribe({ listUnsubscribe }: MailRequest): string[] {
  if (listUnsubscribe === undefined) return [];
  const { url, mailto, oneClick } = listUnsubscribe;
  const uris: string[] = [];
  if (url !== undefined) uris.push(`<${new URL(url).href}>`);
  if (mailto !== undefined) uris.push(`<${mailto.replace(/^(mailto:)?/i, "mailto:")}>`);
  const tokens = uris.map((uri, index) => (index < uris.length - 1 ? `${uri},` : uri));
  const fields = [tokenField("List-Unsubscribe", tokens)];
  if (oneClick) fields.push(tokenField("List-Unsubscribe-Post", ["List-Unsubscribe=One-Click"]));
  return fields;
}
