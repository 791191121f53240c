/**
 * Reverse-paths and forward-paths (RFC 5321 §4.1.2) and xtext (RFC 3461 §4). Addresses come parsed
 * and checked by the message layer; this is the last guard before the wire, and trusts nobody.
 */
import { CommandError } from "./error.ts";

/** `<local@domain>`; the empty string is the null reverse-path `<>`. */
export function path(address: string): string {
  if (address === "") return "<>";
  if (!safe(address)) throw new CommandError("An address cannot be written as an SMTP path.");
  return `<${address}>`;
}

/**
 * Outside a quoted local part nothing may end the path or begin a parameter: no space, no angle
 * bracket, no unbalanced quote.
 */
function safe(address: string): boolean {
  const quoted = /^"(?:[^"\\]|\\.)*"@/.exec(address);
  const rest = quoted ? address.slice(quoted[0].length) : address;
  return /^[^\s<>"\\,;()\p{Cc}]+$/u.test(rest) && (quoted !== null || rest.includes("@"));
}

/** RFC 3461 §4: printable ASCII except `+` and `=`, all else as `+HH` of its octet. */
export function xtext(text: string): string {
  let out = "";
  for (const octet of new TextEncoder().encode(text)) {
    const plain = octet > 0x20 && octet < 0x7f && octet !== 0x2b && octet !== 0x3d;
    out += plain
      ? String.fromCharCode(octet)
      : `+${octet.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}

/** RFC 6533 §3: `utf-8;` ORCPT form for addresses beyond ASCII, `rfc822;` otherwise. */
export function orcpt(address: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the ASCII range is meant
  if (/^[\x00-\x7f]*$/.test(address)) return `rfc822;${xtext(address)}`;
  let out = "utf-8;";
  for (const character of address) {
    const point = character.codePointAt(0) as number;
    const plain = point > 0x20 && point < 0x7f && !"+=\\".includes(character);
    out += plain ? character : `\\x{${point.toString(16).toUpperCase()}}`;
  }
  return out;
}

/** The host part, in lower case, for limits that count domains. */
export function domainOf(address: string): string {
  return address.slice(address.lastIndexOf("@") + 1).toLowerCase();
}
