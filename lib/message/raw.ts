/**
 * Messages that arrive whole (RFC 5322). What they have stays as it is, octet for octet; what they
 * lack is added; Bcc goes. The header is read strictly: where two receivers could read two
 * different messages (several From, a blank folded line, a space before the colon), neither is
 * sent. Nor is what relays would break: NUL, and lines over 998 octets, header or body.
 */
import { isUtf8 } from "node:buffer";
import { canonicalise, contentOf } from "../smtp/data.ts";
import { type Mailbox, parseAddressList } from "./address.ts";
import type { Composed, ComposeOptions } from "./compose.ts";
import type { Parsed } from "./fault.ts";
import { dateField, list, recipientFields, senderField } from "./fields.ts";
import { addressField, assertFields, tokenField } from "./header.ts";
import type { MailRequest } from "./schema.ts";
import { LINE_OCTETS, longestLine } from "./text.ts";

interface Field {
  /** In lower case. */
  readonly name: string;
  /** After the colon, unfolded. */
  readonly body: string;
  /** The whole field as it was given, with its CRLF. */
  readonly octets: Uint8Array;
}

export interface RawMessage {
  readonly fields: readonly Field[];
  /** What follows the empty line, line ends canonical. */
  readonly body: Uint8Array;
  /** Every address of From and of Sender: policy judges them all. Empty where the field is missing. */
  readonly from: readonly Mailbox[];
  readonly sender: readonly Mailbox[];
  /** Those of To, Cc and Bcc; only asked for where the request names none. */
  readonly recipients: Parsed<readonly Mailbox[]>;
}

export type RawResult =
  | { readonly ok: true; readonly value: RawMessage }
  | { readonly ok: false; readonly reasons: readonly string[] };

/** RFC 5322 §3.6, RFC 2045 §3: once at most; of two, receivers differ in which they believe. */
const ONCE = ["From", "Sender", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"];

/** Enough to mend a message by; a file that is no message at all would give one a line. */
const REASONS = 20;

/** Reads a whole message from base64, or tells what is wrong with it. */
export function parseRaw(base64: string): RawResult {
  const octets = withoutEnvelopeLine(canonicalise(Buffer.from(base64, "base64")));
  if (octets.length === 0) return { ok: false, reasons: ["the message is empty"] };
  const reasons: string[] = [];
  if (octets.includes(0)) reasons.push("a message cannot hold NUL (RFC 5322 §2.2)");
  const { fields, body } = split(octets, reasons);
  if (longestLine(body) > LINE_OCTETS) {
    reasons.push(
      "a line of the body exceeds 998 octets (RFC 5322 §2.1.1): encode that part as quoted-printable or base64",
    );
  }
  for (const name of ONCE) {
    if (fields.filter((field) => field.name === name.toLowerCase()).length > 1) {
      reasons.push(`there are several ${name} fields (RFC 5322 §3.6)`);
    }
  }
  const from = addresses(fields, ["from"]);
  const sender = addresses(fields, ["sender"]);
  if (!from.ok) reasons.push(`From cannot be read: ${from.reason}`);
  else if (
    from.value.length === 0 &&
    fields.some((field) => field.name === "from" && !blank(field))
  ) {
    reasons.push("From names no address");
  }
  if (!sender.ok) reasons.push(`Sender cannot be read: ${sender.reason}`);
  if (reasons.length > 0 || !from.ok || !sender.ok) {
    return { ok: false, reasons: reasons.slice(0, REASONS) };
  }
  const recipients = addresses(fields, ["to", "cc", "bcc"]);
  return { ok: true, value: { fields, body, from: from.value, sender: sender.value, recipients } };
}

function addresses(fields: readonly Field[], names: readonly string[]): Parsed<readonly Mailbox[]> {
  const found: Mailbox[] = [];
  for (const field of fields) {
    if (!names.includes(field.name)) continue;
    const result = parseAddressList(field.body);
    if (!result.ok) return result;
    for (const mailbox of result.value) found.push(mailbox);
  }
  return { ok: true, value: found };
}

/** The line that parts messages in an mbox file (RFC 4155) is no part of the message. */
function withoutEnvelopeLine(octets: Uint8Array): Uint8Array {
  const start = Buffer.from(octets.subarray(0, 8)).toString("latin1");
  // "From :" would be the field, in its obsolete spelling.
  return /^>?From [^ \t:]/.test(start) ? octets.subarray(octets.indexOf(10) + 1) : octets;
}

function blank(field: Field): boolean {
  return field.body.trim() === "";
}

/** Header fields up to the empty line; everything after it is body. */
function split(octets: Uint8Array, reasons: string[]): { fields: Field[]; body: Uint8Array } {
  const lines: { start: number; end: number; text: string }[] = [];
  let at = 0;
  while (at < octets.length) {
    const end = octets.indexOf(10, at) + 1;
    if (end === at + 2) break;
    const line = octets.subarray(at, end - 2);
    if (line.length > LINE_OCTETS)
      reasons.push(`header line ${lines.length + 1} exceeds 998 octets`);
    lines.push({ start: at, end, text: decode(line) ?? "\0" });
    at = end;
  }
  const fields: Field[] = [];
  let number = 0;
  let start = 0;
  let text = "";
  const finish = (end: number) => {
    const colon = text.indexOf(":");
    if (colon === -1) return;
    const name = text.slice(0, colon).trimEnd().toLowerCase();
    fields.push({ name, body: text.slice(colon + 1), octets: octets.subarray(start, end) });
  };
  for (const line of lines) {
    number += 1;
    const problem = judge(line.text, number === 1);
    if (problem !== undefined) reasons.push(`header line ${number} ${problem}`);
    if (/^[ \t]/.test(line.text)) {
      text += line.text;
      continue;
    }
    finish(line.start);
    start = line.start;
    text = line.text;
  }
  finish(at);
  return { fields, body: octets.subarray(Math.min(at + 2, octets.length)) };
}

function judge(line: string, first: boolean): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what is looked for
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(line)) {
    return "has control characters, or octets that are not UTF-8 (RFC 6532 §3.1)";
  }
  if (/^[ \t]/.test(line)) {
    if (first) return "continues a field that never began";
    return line.trim() === ""
      ? "is white space alone; some receivers end the header there"
      : undefined;
  }
  // Obsolete (RFC 5322 §4.5), and not read by all; but what goes anyway does no harm.
  if (/^(resent-)?bcc[ \t]*:/i.test(line)) return undefined;
  if (/^[\x21-\x39\x3b-\x7e]+[ \t]+:/.test(line)) return "has white space before its colon";
  return /^[\x21-\x39\x3b-\x7e]+:/.test(line)
    ? undefined
    : "is no header field; an empty line parts header and body";
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decode(octets: Uint8Array): string | undefined {
  try {
    return utf8.decode(octets);
  } catch {
    return undefined;
  }
}

/** Fields that mean nothing when blank: such a one counts as missing, and is replaced. */
const NEEDED: ReadonlySet<string> = new Set(["from", "to", "date", "message-id"]);

/** The message with what it lacks, in canonical form. */
export function composeRaw(
  raw: RawMessage,
  request: MailRequest,
  options: ComposeOptions,
): Composed {
  const kept = raw.fields.filter(
    (field) =>
      field.name !== "bcc" &&
      field.name !== "resent-bcc" &&
      !(NEEDED.has(field.name) && blank(field)),
  );
  const has = (name: string) => kept.some((field) => field.name === name);
  const added: string[] = [];
  const from = has("from") ? raw.from : [request.from ?? options.from];
  if (!has("from")) added.push(addressField("From", from));
  if (!has("sender")) {
    // Several authors need a Sender (RFC 5322 §3.6.2).
    added.push(
      ...senderField(from, options.sender ?? (from.length > 1 ? options.from : undefined)),
    );
  }
  if (!has("to") && !has("cc")) added.push(...recipientFields(request));
  else if (!has("to")) added.push(...list("To", request.to));
  if (!has("reply-to")) added.push(...list("Reply-To", request.replyTo));
  if (!has("subject")) added.push("Subject: \r\n");
  if (!has("date")) added.push(dateField(request, options));
  const given = kept.find((field) => field.name === "message-id")?.body.trim();
  if (given === undefined) added.push(tokenField("Message-ID", [options.messageId]));
  added.push(...mimeFields(kept, raw.body));
  const header = Buffer.concat([
    ...kept.map((field) => field.octets),
    Buffer.from(assertFields(added.join(""))),
  ]);
  const whole = Buffer.concat([header, Buffer.from("\r\n"), raw.body]);
  const utf8Header = header.some((octet) => octet > 127);
  return { content: contentOf(whole, { utf8Header }), messageId: given ?? options.messageId };
}

/**
 * What tells a receiver how to read the body, where nothing does: Content-* fields mean nothing
 * without MIME-Version (RFC 2045 §4), and 8-bit text has no charset unless one is named.
 */
function mimeFields(kept: readonly Field[], body: Uint8Array): string[] {
  if (kept.some(({ name }) => name === "mime-version")) return [];
  const version = tokenField("MIME-Version", ["1.0"]);
  if (kept.some(({ name }) => name.startsWith("content-"))) return [version];
  if (!body.some((octet) => octet > 127) || !isUtf8(body)) return [];
  return [
    version,
    tokenField("Content-Type", ["text/plain;", "charset=utf-8"]),
    tokenField("Content-Transfer-Encoding", ["8bit"]),
  ];
}
