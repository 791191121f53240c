/**
 * The one place that writes a command line (RFC 5321 §2.3.8, §4.1.1). Nothing that holds a control
 * can pass, so no value can become a second command.
 */
import { CommandError } from "./error.ts";
import type { Line } from "./step.ts";

/** RFC 5321 §4.5.3.1.4: 512 octets with the line end; each extension adds its own room. */
export const COMMAND_OCTETS = 512;
/** MAIL with every parameter this client writes; RCPT with NOTIFY and ORCPT (RFC 3461 §4). */
const EXTENDED_OCTETS = 2048;
/** RFC 4954 §4: responses may be this long, whatever the limit for commands. */
const SASL_OCTETS = 12288;

const encoder = new TextEncoder();
// biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** EHLO, HELO, MAIL, RCPT, DATA, BDAT, RSET, QUIT, STARTTLS: shown as they are. */
export function command(...words: readonly string[]): Line {
  return line(words.join(" "), EXTENDED_OCTETS);
}

/**
 * `AUTH name [initial-response]`. Absent and empty differ: empty is `=` (RFC 4954 §4). Returns
 * `undefined` where the line would exceed {@link COMMAND_OCTETS} and the response must wait for the
 * server's empty challenge.
 */
export function auth(mechanism: string, initial?: Uint8Array): Line | undefined {
  if (initial === undefined) return line(`AUTH ${mechanism}`, COMMAND_OCTETS);
  const secret = initial.length === 0 ? "=" : base64(initial);
  const text = `AUTH ${mechanism} ${secret}`;
  if (text.length + 2 > COMMAND_OCTETS) return undefined;
  return { ...line(text, COMMAND_OCTETS), shown: `AUTH ${mechanism} ***`, secret };
}

/** A SASL response line. Which part of it is a secret only the mechanism knows: none of it is shown. */
export function response(octets: Uint8Array): Line {
  const secret = base64(octets);
  return { ...line(secret, SASL_OCTETS), shown: "***", secret };
}

/** Cancels a SASL exchange (RFC 4954 §4). */
export const CANCEL: Line = { bytes: encoder.encode("*\r\n"), shown: "*" };

/** End of mail data (RFC 5321 §4.1.1.4); content always ends with CRLF before it. */
export const END_OF_DATA: Line = { bytes: encoder.encode(".\r\n"), shown: "." };

function line(text: string, limit: number): Line {
  if (CONTROL.test(text)) throw new CommandError("A command argument holds a control character.");
  const bytes = encoder.encode(`${text}\r\n`);
  if (bytes.length > limit) throw new CommandError(`A command line exceeds ${limit} octets.`);
  return { bytes, shown: text };
}

export function base64(octets: Uint8Array): string {
  let binary = "";
  for (const octet of octets) binary += String.fromCharCode(octet);
  return btoa(binary);
}

/** Strict base64 (RFC 4648 §4), or `undefined`: what a server sends is checked, not guessed at. */
export function unbase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
