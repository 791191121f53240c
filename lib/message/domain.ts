/**
 * The domain of an address as SMTP writes it: LDH labels in lower case, A-labels for
 * internationalised ones (RFC 5890 §2.3), or an address literal (RFC 5321 §4.1.3).
 */
import { isIPv4, isIPv6 } from "node:net";
import { domainToASCII } from "node:url";
import { Fault } from "./fault.ts";

/** RFC 5321 §4.5.3.1.2, in octets. */
const DOMAIN_OCTETS = 255;

const LDH = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * The one spelling of a domain by which domains are compared and sent.
 *
 * @throws {Fault} with the reason, where it is no domain.
 */
export function normaliseDomain(domain: string): string {
  if (domain === "") throw new Fault("the domain is missing");
  // Host parsers undo percent-encoding and map away invisible characters; neither belongs here.
  if (/[^a-zA-Z0-9.\-\u0080-\u{10ffff}]/u.test(domain) || DECEPTIVE.test(domain)) {
    throw new Fault("the domain has a character that domains cannot have");
  }
  const ascii = domainToASCII(domain).toLowerCase();
  if (ascii === "") throw new Fault("the domain is not a valid internationalised name");
  if (ascii.length > DOMAIN_OCTETS) throw new Fault("the domain exceeds 255 octets");
  const labels = ascii.split(".");
  for (const label of labels) {
    if (label === "") throw new Fault("the domain has an empty label");
    if (label.length > 63) throw new Fault("a label of the domain exceeds 63 octets");
    if (!LDH.test(label)) throw new Fault("a label of the domain is malformed");
  }
  if (/^[0-9]+$/.test(labels.at(-1) ?? "")) {
    throw new Fault("an IP address as domain is written in brackets, as in user@[192.0.2.1]");
  }
  return ascii;
}

/**
 * An address literal, given without its brackets: `192.0.2.1` or `IPv6:2001:db8::1`.
 *
 * @throws {Fault} where it is neither.
 */
export function normaliseLiteral(literal: string): string {
  if (isIPv4(literal)) return `[${literal}]`;
  const v6 = /^IPv6:(.*)$/i.exec(literal)?.[1] ?? "";
  // Node takes a zone id ("%eth0"); mail has none.
  if (isIPv6(v6) && !v6.includes("%")) return `[IPv6:${v6.toLowerCase()}]`;
  throw new Fault("the address literal is neither [IPv4] nor [IPv6:…]");
}

/**
 * Characters that are not seen, or move others about: separators, controls, and format characters
 * other than the joiners that Persian and Indic words need (RFC 5892 A.1, A.2).
 */
export const DECEPTIVE = /[\p{Cc}\p{Cs}\p{Z}\uFFFD]|(?![\u200C\u200D])\p{Cf}/u;
