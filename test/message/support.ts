/** Shared by the message tests: from a request to octets, and back through an independent parser. */
import PostalMime, { type Email } from "postal-mime";
import { type Composed, type ComposeOptions, compose } from "../../lib/message/compose.ts";
import { type MailRequest, parseRequest } from "../../lib/message/schema.ts";
import type { Content } from "../../lib/smtp/data.ts";

export const OPTIONS: ComposeOptions = {
  from: { address: "shop@example.com", name: "Shop" },
  date: new Date("2025-07-01T10:00:00Z"),
  messageId: "<fixed@example.com>",
};

/** A request that must be right. */
export function request(input: Record<string, unknown>): MailRequest {
  const result = parseRequest({ to: "a@example.com", ...input });
  if (!result.ok) throw new Error(`refused: ${JSON.stringify(result.issues)}`);
  return result.request;
}

/** The paths of what is wrong with a request, sorted. */
export function wrongPaths(input: unknown): string[] {
  const result = parseRequest(input);
  return result.ok ? [] : result.issues.map(({ path }) => path).sort();
}

export async function octetsOf(content: Content): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content.open()) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

export interface Rendered extends Composed {
  readonly octets: Buffer;
  readonly text: string;
  /** Names of the root's header fields, in lower case, in order. */
  readonly names: readonly string[];
  readonly mail: Email;
}

export async function render(
  input: Record<string, unknown>,
  options: Partial<ComposeOptions> = {},
): Promise<Rendered> {
  const composed = await compose(request(input), { ...OPTIONS, ...options });
  const octets = await octetsOf(composed.content);
  const text = octets.toString();
  const mail = await PostalMime.parse(octets, { attachmentEncoding: "arraybuffer" });
  return { ...composed, octets, text, names: namesOf(text), mail };
}

/** Names of the header fields before the first empty line. */
export function namesOf(text: string): string[] {
  const header = text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n");
  return header
    .filter((line) => !/^[ \t]/.test(line))
    .map((line) => line.slice(0, line.indexOf(":")).toLowerCase());
}

/** What no message may ever hold; empty where it is sound. */
export function unsound(octets: Buffer, size: number): string[] {
  const text = octets.toString("latin1");
  const faults: string[] = [];
  if (octets.length !== size) faults.push(`size ${size}, but ${octets.length} octets`);
  if (/\r(?!\n)|(?<!\r)\n/.test(text)) faults.push("bare CR or LF");
  if (text.includes("\0")) faults.push("NUL");
  if (!text.endsWith("\r\n")) faults.push("no final CRLF");
  const lines = text.split("\r\n");
  if (lines.some((line) => line.length > 998)) faults.push("a line over 998 octets");
  const header = lines.slice(0, lines.indexOf(""));
  if (header.some((line) => line.trim() === "")) faults.push("a folded line of white space");
  return faults;
}

export function base64(text: string | Uint8Array): string {
  return Buffer.from(text).toString("base64");
}

export function contentOf(mail: Email, index: number): Buffer {
  const content = mail.attachments[index]?.content;
  if (!(content instanceof ArrayBuffer)) throw new Error(`no attachment ${index}`);
  return Buffer.from(content);
}
