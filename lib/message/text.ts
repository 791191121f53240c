/**
 * Text that can be sent: Unicode scalar values only, lines that end in CR LF. What cannot be
 * carried is made visible as U+FFFD and never dropped, so nothing disappears without a trace.
 */

/** Lone surrogates have no UTF-8 form (RFC 3629 §3): each becomes U+FFFD, as in `toWellFormed`. */
export function wellFormed(text: string): string {
  // With the u flag only a surrogate without its partner matches.
  return text.replace(/\p{Cs}/gu, "\uFFFD");
}

/**
 * Text of a body. U+0000 may not stand in a message (RFC 5322 §2.2, RFC 5321 §4.5.2) and readers
 * stop at it, so it becomes U+FFFD, which is what HTML makes of it anyway.
 */
export function bodyText(text: string): string {
  return wellFormed(text).replaceAll("\u0000", "\uFFFD");
}

/** Every line end (CR LF, bare CR, bare LF) becomes CR LF (RFC 5322 §2.3, RFC 2046 §4.1.1). */
export function crlf(text: string): string {
  return text.replace(/\r\n|\r|\n/g, "\r\n");
}

/** Controls: C0, DEL, C1. In a header field they are never text (RFC 5322 §3.2.3). */
export const CONTROL = /\p{Cc}/u;

/** As {@link CONTROL}, with the tab let through where white space may stand. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what is looked for
export const CONTROL_BUT_TAB = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/;

/** RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6: octets of a line, its CRLF not counted. */
export const LINE_OCTETS = 998;

/** Octets of the longest line of canonical content, its CRLF not counted. */
export function longestLine(octets: Uint8Array): number {
  let longest = 0;
  for (let start = 0; start < octets.length; ) {
    const lf = octets.indexOf(10, start);
    const end = lf === -1 ? octets.length : lf - 1;
    longest = Math.max(longest, end - start);
    start = lf === -1 ? octets.length : lf + 1;
  }
  return longest;
}
