/**
 * The header fields that say what an attachment is and what it is called (RFC 2045 §5, RFC 2183, RFC
 * 2231). Loaded only where there is one: nodemailer knows which type an extension means, and how names
 * in any script are written so that old readers show them too, and has a large table for it.
 */
import {
  buildHeaderValue,
  detectExtension,
  detectMimeType,
  encodeWord,
  encodeWords,
  foldLines,
  parseHeaderValue,
} from "nodemailer/lib/mime-funcs";
import { isMessage, OCTETS, type Part } from "./attachment.ts";
import { type Labelled, mostlyLatin } from "./mime.ts";
import { CONTROL } from "./text.ts";

/** RFC 5322 §2.1.1; with encoded-words 76 (RFC 2047 §2). */
const LINE = 76;
/** Characters of each encoded-word of a name. */
const NAME_WORD = 52;

/**
 * @param number of the attachment in its message, from 1: what has no name is called by it
 * @param besideHtml whether there is html that could show it
 */
export function labelled(part: Part, number: number, besideHtml: boolean): Labelled {
  const contentType =
    part.contentType ?? (part.filename === undefined ? OCTETS : detectMimeType(part.filename));
  const filename = part.filename ?? nameOf(contentType, number);
  const inline = besideHtml && part.contentId !== undefined && !readAsText(contentType);
  const fields = [
    `Content-Type: ${typeField(contentType, filename)}`,
    ...(part.contentId === undefined ? [] : [`Content-ID: <${part.contentId}>`]),
    `Content-Transfer-Encoding: ${part.encoding}`,
    `Content-Disposition: ${buildHeaderValue({
      value: inline ? "inline" : "attachment",
      params: filename === undefined ? {} : { filename },
    })}`,
  ];
  return { part, fields: fields.map((field) => `${foldLines(field, LINE)}\r\n`).join("") };
}

/** A message needs no name; whatever else has none gets one that any disk takes. */
function nameOf(contentType: string, number: number): string | undefined {
  if (isMessage(contentType)) return undefined;
  const extension = contentType === OCTETS ? "bin" : detectExtension(contentType);
  return `attachment-${number}.${extension}`;
}

/**
 * Readers take inline text and messages for more of the body (RFC 2183 §2.1), and show no file then.
 * Attached, they stay files; a `cid:` finds them all the same.
 */
function readAsText(contentType: string): boolean {
  return /^(text\/(plain|html)|message\/)/i.test(contentType);
}

/** The name stands here once more, as encoded-words, for readers that never learnt RFC 2231. */
function typeField(contentType: string, filename: string | undefined): string {
  const { value, params } = parseHeaderValue(contentType);
  if (filename === undefined) return buildHeaderValue({ value, params });
  const others = Object.entries(params).filter(([name]) => !/^name(\*|$)/i.test(name));
  const type = buildHeaderValue({ value, params: Object.fromEntries(others) });
  const plain = encodeWords(filename) === filename && !CONTROL.test(filename);
  if (plain) return `${type}; name=${quotedIfNeeded(filename)}`;
  const words = encodeWord(filename, mostlyLatin(filename) ? "Q" : "B", NAME_WORD);
  return `${type}; name="${words}"`;
}

function quotedIfNeeded(name: string): string {
  return /[\s'"\\;:/=(),<>@[\]?]|^-/.test(name) ? JSON.stringify(name) : name;
}
