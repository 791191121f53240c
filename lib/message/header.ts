/**
 * Header fields, written (RFC 5322 §2.2, RFC 2047). Every field of a message that is not the
 * structure's own is written here, from parsed values, so no value can end its line: what is not
 * plain becomes encoded-words of whole characters, and lines fold only before a word.
 *
 * MailComposer's own fields are not used: it leaves words longer than a line may be, folds into
 * lines of white space alone, and takes text that looks like an encoded-word for one.
 */
import type { Mailbox } from "./address.ts";
import { CONTROL, LINE_OCTETS } from "./text.ts";

/** RFC 5322 §2.1.1: lines should have at most 78 octets; with encoded-words 76 (RFC 2047 §2). */
const LINE = 76;
/** Longer words are encoded, which splits them: a line never exceeds 998 octets. */
const LONGEST_WORD = 900;
/** `=?UTF-8?B?` and `?=` around the text of an encoded-word. */
const FRAME = 12;
const ENCODED_WORD = 75;
/** Encoded-words of a name: short enough to stand beside `Reply-To: `. */
const NAME_WORD = 60;

const encoder = new TextEncoder();

/** An unstructured field: Subject, and whatever the caller adds. The text arrives as it was given. */
export function textField(name: string, text: string): string {
  // Each token is a word with the spaces before it, so that runs of spaces survive the fold.
  const tokens = text.match(/ *[^ ]+/g) ?? [""];
  const plain = isPlain(text) && tokens.every((token) => token.length <= LONGEST_WORD);
  return folded(name, plain ? tokens : spaced(encodedWords(text, ENCODED_WORD, name)));
}

/** From, Sender, Reply-To, To, Cc. Addresses are in SMTP form; names are any text of one line. */
export function addressField(name: string, mailboxes: readonly Mailbox[]): string {
  const tokens = mailboxes.flatMap((mailbox, index) => {
    const words = mailboxTokens(mailbox);
    if (index < mailboxes.length - 1) words.push(`${words.pop()},`);
    return words;
  });
  return folded(name, spaced(tokens));
}

/** A structured field whose tokens, such as message-ids, are already what the grammar wants. */
export function tokenField(name: string, tokens: readonly string[]): string {
  return folded(name, spaced(tokens));
}

/** The last guard: a line that relays would cut (RFC 5322 §2.1.1) is never handed on. */
export function assertFields(block: string): string {
  for (const line of block.split("\r\n")) {
    if (Buffer.byteLength(line) > LINE_OCTETS) throw new TypeError("A header line is too long.");
  }
  return block;
}

/**
 * `Name: body` with its CRLF. Each token but the first carries the white space before it, and a
 * line is only ever broken before a token, so none is white space alone (RFC 5322 §3.2.2).
 */
function folded(name: string, tokens: readonly string[]): string {
  // Schema and parser keep such values away; what slips through must not begin another field.
  if (!/^[\x21-\x39\x3b-\x7e]+$/.test(name) || tokens.some((token) => CONTROL.test(token))) {
    throw new TypeError("A header field would hold a control character.");
  }
  let out = `${name}:`;
  let column = out.length;
  tokens.forEach((token, index) => {
    const next = index === 0 ? ` ${token}` : token;
    // The first token stays beside the name unless it is an encoded-word, which has its own limit.
    if (column + next.length > LINE && (index > 0 || token.startsWith("=?"))) {
      out += "\r\n";
      column = 0;
    }
    out += next;
    column += next.length;
  });
  return `${out}\r\n`;
}

function spaced(tokens: readonly string[]): string[] {
  return tokens.map((token, index) => (index === 0 ? token : ` ${token}`));
}

function mailboxTokens({ address, name }: Mailbox): string[] {
  if (name !== undefined && name.trim() !== "") return [...phrase(name), `<${address}>`];
  // A quoted local part or an address literal is only unmistakable within angle brackets.
  return [/["[]/.test(address) ? `<${address}>` : address];
}

/** display-name (RFC 5322 §3.4): atoms, a quoted-string, or encoded-words. */
function phrase(name: string): string[] {
  const words = name.split(" ");
  const foldable = words.every((word) => word !== "" && word.length <= NAME_WORD);
  if (!isPlain(name) || !foldable) return encodedWords(name, NAME_WORD);
  if (words.every((word) => /^[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+$/.test(word))) return words;
  return `"${name.replace(/["\\]/g, "\\$&")}"`.split(" ");
}

/**
 * Printable ASCII that says what it means: no space at an end, which readers trim, and nothing
 * that they would take for an encoded-word (RFC 2047 §7).
 */
function isPlain(text: string): boolean {
  return !/[^ -~]/.test(text) && text.trim() === text && !text.includes("=?");
}

/**
 * The whole text as encoded-words of at most `limit` characters. The space between two of them is
 * not part of the text (RFC 2047 §6.2), and each holds whole characters (§5). Base64 or Q,
 * whichever is shorter; Q writes only what a phrase may hold too (§5 rule 3).
 */
function encodedWords(text: string, limit: number, field = ""): string[] {
  const octets = Buffer.byteLength(text);
  const safe = text.match(/[A-Za-z0-9!*+\-/ ]/g)?.length ?? 0;
  const base64 = Math.ceil(octets / 3) * 4 < safe + (octets - safe) * 3;
  const room = (limit - FRAME) & ~3;
  // Beside a long field name even the first word has to fit its line.
  let space = Math.min(room, Math.max(16, (LINE - FRAME - field.length - 2) & ~3));
  const words: string[] = [];
  let pending = "";
  let used = 0;
  const flush = () => {
    const body = base64 ? Buffer.from(pending).toString("base64") : pending;
    words.push(`=?UTF-8?${base64 ? "B" : "Q"}?${body}?=`);
    pending = "";
    used = 0;
    space = room;
  };
  for (const character of text) {
    const piece = base64 ? character : quoted(character);
    const size = base64 ? Buffer.byteLength(character) : piece.length;
    const full = base64 ? Math.ceil((used + size) / 3) * 4 > space : used + size > space;
    if (full && used > 0) flush();
    pending += piece;
    used += size;
  }
  if (used > 0) flush();
  return words;
}

/** The Q encoding of one character (RFC 2047 §4.2). */
function quoted(character: string): string {
  if (character === " ") return "_";
  if (/^[A-Za-z0-9!*+\-/]$/.test(character)) return character;
  let out = "";
  for (const octet of encoder.encode(character)) {
    out += `=${octet.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}
