/**
 * What the values of a request's single fields may be, each rule with its reason. A rule answers
 * with what is wrong, or with nothing; none ever repeats a value, which may be long or private.
 */
import { CONTROL, CONTROL_BUT_TAB } from "./text.ts";

/** `undefined` where the value is fine. */
export type Rule = (value: string) => string | undefined;

/** A line of a header has at most 998 octets (RFC 5322 §2.1.1); a token in it needs a margin. */
const TOKEN_OCTETS = 900;

/** RFC 4648 §4 with padding; line breaks as `base64` writes them are let through. */
export const base64: Rule = (value) => {
  if (isWhole(value)) return undefined;
  if (value.startsWith("data:")) return "must be the base64 alone, without a data: prefix";
  if (/[^A-Za-z0-9+/=\s]/.test(value)) return "must be base64 (RFC 4648 §4)";
  const octets = packed(value);
  const padding = octets.indexOf("=");
  const wrong = padding !== -1 && (padding < octets.length - 2 || !octets.endsWith("="));
  return wrong || octets.length % 4 !== 0 ? "must be base64 with its padding, whole" : undefined;
};

/**
 * Whether it is base64 with nothing else in it. Node decodes many megabytes faster than any pattern
 * reads them, but passes over what it does not know (and knows the URL alphabet): text of which
 * nothing was passed over gives as many octets as it has room for.
 */
function isWhole(value: string): boolean {
  const ascii = Buffer.byteLength(value) === value.length;
  if (!ascii || value.length % 4 !== 0 || value.includes("-") || value.includes("_")) return false;
  let octets = 0;
  for (let at = 0; at < value.length; at += ROOM) {
    octets += room.write(value.slice(at, at + ROOM), "base64");
  }
  const padding = value.endsWith("==") ? 2 : value.endsWith("=") ? 1 : 0;
  return octets === (value.length / 4) * 3 - padding;
}
/** Decoded at a time, into one place: what comes out is only counted. */
const ROOM = 64 * 1024;
const room = Buffer.alloc((ROOM / 4) * 3);

/** Base64 without the white space that {@link base64} lets through. */
export function packed(value: string): string {
  return /\s/.test(value) ? value.replace(/\s+/g, "") : value;
}

/** RFC 2045 §5.1. `multipart` is a structure, not a file (and may not be base64, §6.4). */
export const contentType: Rule = (value) => {
  if (value.length > 255) return "must have at most 255 characters";
  if (!MEDIA_TYPE.test(value)) return 'must be a media type such as "application/pdf"';
  return /^multipart\//i.test(value) ? "must not be multipart: attach the file itself" : undefined;
};
const TOKEN = "[A-Za-z0-9!#$%&'*+.^_`{|}~-]+";
const MEDIA_TYPE = new RegExp(
  `^${TOKEN}/${TOKEN}(?: ?; ?${TOKEN}=(?:${TOKEN}|"(?:[\\x20-\\x21\\x23-\\x5b\\x5d-\\x7e]|\\\\[\\x20-\\x7e])*"))*$`,
);

/** A name that a file can have on the receiver's disk: most file systems take 255. */
export const filename: Rule = (value) => {
  if (value.trim() === "") return "must not be blank";
  if (value.length > 255) return "must have at most 255 characters";
  return CONTROL.test(value) ? "must not have control characters" : undefined;
};

/** The part of a `cid:` URL (RFC 2392 §2), without angle brackets. */
export const contentId: Rule = (value) =>
  /^[\x21-\x3b\x3d\x3f-\x7e]{1,200}$/.test(value)
    ? undefined
    : "must be printable ASCII without spaces or angle brackets, as after cid:";

/** One line of text: no control can end it (RFC 5322 §2.2); a tab is white space. */
export const line: Rule = (value) =>
  CONTROL_BUT_TAB.test(value) ? "must not have control characters, nor line breaks" : undefined;

/** The value of a custom header. */
export const headerValue: Rule = (value) =>
  value.trim() === "" ? "must not be blank" : line(value);

/** RFC 5322 §3.6.8, and whatever the request has a field for or would deceive the receiver. */
export const headerName: Rule = (value) => {
  if (!/^[\x21-\x39\x3b-\x7e]{1,76}$/.test(value)) {
    return "is no header name: 1 to 76 printable ASCII characters, no space, no colon";
  }
  const name = value.toLowerCase();
  const field = FIELDS.get(name);
  if (field !== undefined) return `must be given in the field ${field}, not as a header`;
  if (/^(content-|mime-version$)/.test(name)) return "describes the structure, which is made here";
  return /^(resent-|arc-|dkim-)/.test(name) || TRACE.has(name)
    ? "is written by mail systems and would deceive the receiver"
    : undefined;
};

/** A map, so that a header called "constructor" is only a name. */
const FIELDS: ReadonlyMap<string, string> = new Map([
  ["from", '"from"'],
  ["sender", '"from"; Sender is added where it differs from the mailbox'],
  ["to", '"to"'],
  ["cc", '"cc"'],
  ["bcc", '"bcc"'],
  ["reply-to", '"replyTo"'],
  ["subject", '"subject"'],
  ["date", '"date"'],
  ["message-id", '"messageId"'],
  ["in-reply-to", '"inReplyTo"'],
  ["references", '"references"'],
  ["importance", '"importance"'],
  ["list-unsubscribe", '"listUnsubscribe"'],
  ["list-unsubscribe-post", '"listUnsubscribe"'],
]);

const TRACE: ReadonlySet<string> = new Set([
  "apparently-to",
  "authentication-results",
  "delivered-to",
  "domainkey-signature",
  "received",
  "received-spf",
  "return-path",
]);

/** Our own Message-ID (RFC 5322 §3.6.4): a left and a right part. */
export const messageId: Rule = (value) =>
  /^<[\x21-\x3b\x3d\x3f\x41-\x7e]+@[\x21-\x3b\x3d\x3f\x41-\x7e]+>$/.test(value) &&
  value.length <= TOKEN_OCTETS
    ? undefined
    : 'must be a message-id such as "<id@example.com>", in ASCII';

/** Another's Message-ID: what stands in the angle brackets is theirs to choose. */
export const reference: Rule = (value) =>
  /^<[\x21-\x3b\x3d\x3f-\x7e]+>$/.test(value) && value.length <= TOKEN_OCTETS
    ? undefined
    : 'must be one message-id in angle brackets, such as "<id@example.com>"';

/** RFC 8058 §3.1: the URL of List-Unsubscribe is https; it cannot be folded (RFC 2369 §2). */
export const unsubscribeUrl: Rule = (value) => {
  // URL parsing drops line ends and trims: what is sent must be what was given.
  if (/[\s\p{Cc}]/u.test(value)) return "must be an https URL without white space or controls";
  if (!URL.canParse(value) || new URL(value).protocol !== "https:") return "must be an https URL";
  return new URL(value).href.length > TOKEN_OCTETS ? "must have at most 900 characters" : undefined;
};

/** `a@b`, or a `mailto:` URL with its subject or body. */
export const unsubscribeMailto: Rule = (value) =>
  /^(mailto:)?[\x21-\x3b\x3d\x3f-\x7e]+$/i.test(value) &&
  value.includes("@") &&
  value.length <= TOKEN_OCTETS
    ? undefined
    : "must be an address or a mailto: URL, in ASCII";

/** RFC 3461 §4.4: at most 100 characters once encoded as xtext. */
export const envelopeId: Rule = (value) => {
  if (!/^[\x20-\x7e]+$/.test(value)) return "must be printable ASCII";
  const escaped = value.match(/[ +=]/g)?.length ?? 0;
  return value.length + 2 * escaped > 100
    ? "must have at most 100 characters (space, + and = count three)"
    : undefined;
};

/** A key the caller chooses; it becomes the id of the result. */
export const idempotencyKey: Rule = (value) =>
  /^[\x20-\x7e]{1,255}$/.test(value) && value.trim() !== ""
    ? undefined
    : "must be 1 to 255 printable ASCII characters";

/** The name of a mailbox: a suffix of a secret's name, never a host. */
export const mailboxName: Rule = (value) =>
  /^[A-Za-z0-9_-]{1,64}$/.test(value)
    ? undefined
    : "must be 1 to 64 letters, digits, hyphens or underscores";

/** RFC 5545 §3.4. */
export const icalendar: Rule = (value) =>
  /^\s*BEGIN:VCALENDAR\s/i.test(value) ? undefined : "must begin with BEGIN:VCALENDAR";
