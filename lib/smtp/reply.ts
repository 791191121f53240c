/**
 * Replies (RFC 5321 §4.2) and enhanced status codes (RFC 3463, RFC 2034). The decoder is total:
 * any octets, split anywhere, give the same replies or one {@link SmtpError}; work is linear and
 * memory is capped, so no server can make a client slow or large.
 */
import { SmtpError } from "./error.ts";

export interface Reply {
  /** 200–599. */
  readonly code: number;
  /** RFC 3463 status, only where its class agrees with the code's. */
  readonly enhanced?: string;
  /** Each line's text, without code, separator and line end. */
  readonly lines: readonly string[];
}

export type ReplyClass = "success" | "intermediate" | "transient" | "permanent";

/** Success is judged by the first digit alone (RFC 5321 §4.2.1, §4.3.2). */
export function classOf(reply: Reply): ReplyClass {
  if (reply.code < 300) return "success";
  if (reply.code < 400) return "intermediate";
  return reply.code < 500 ? "transient" : "permanent";
}

/** All text of a reply, lines joined by a line feed. */
export function textOf(reply: Reply): string {
  return reply.lines.join("\n");
}

/** RFC 5321 §4.5.3.1.5 says 512 octets a line; deployed servers exceed it, none by this much. */
export const REPLY_LIMITS = { lineOctets: 8192, lines: 512, totalOctets: 128 * 1024 } as const;

const LF = 10;
const CR = 13;
const ENHANCED = /^([245])\.\d{1,3}\.\d{1,3}(?=\s|$)/;

export class ReplyDecoder {
  readonly #line = new Uint8Array(REPLY_LIMITS.lineOctets);
  #lineLength = 0;
  #code = 0;
  #lines: string[] = [];
  #total = 0;
  readonly #ready: Reply[] = [];
  #failure: SmtpError | undefined;

  /** Whether anything is held that no `take` has returned: a whole reply, or part of one. */
  get pending(): boolean {
    return this.#ready.length > 0 || this.partial || this.#failure !== undefined;
  }

  /** Whole replies held. */
  get ready(): number {
    return this.#ready.length;
  }

  /** Whether an unfinished reply is held. */
  get partial(): boolean {
    return this.#lineLength > 0 || this.#lines.length > 0;
  }

  push(chunk: Uint8Array): void {
    let start = 0;
    while (this.#failure === undefined) {
      const lf = chunk.indexOf(LF, start);
      const end = lf === -1 ? chunk.length : lf;
      if (this.#lineLength + (end - start) > REPLY_LIMITS.lineOctets) {
        this.#fail(`a reply line exceeds ${REPLY_LIMITS.lineOctets} octets`);
        return;
      }
      this.#line.set(chunk.subarray(start, end), this.#lineLength);
      this.#lineLength += end - start;
      if (lf === -1) return;
      this.#endLine();
      start = lf + 1;
    }
  }

  /**
   * The next whole reply, or `undefined` until more octets come.
   * @throws SmtpError `protocol_error` once, and ever after, the stream is not SMTP. Replies that
   * were whole before the fault are still returned first.
   */
  take(): Reply | undefined {
    const reply = this.#ready.shift();
    if (reply === undefined && this.#failure !== undefined) throw this.#failure;
    return reply;
  }

  #fail(what: string): void {
    this.#failure = new SmtpError(
      "protocol_error",
      `The server's reply is not valid SMTP: ${what}.`,
    );
    this.#lineLength = 0;
    this.#lines = [];
  }

  #endLine(): void {
    let length = this.#lineLength;
    this.#lineLength = 0;
    // A bare LF is tolerated, a single CR before it is its other half; more are part of the text.
    if (this.#line[length - 1] === CR) length -= 1;
    this.#total += length + 2;
    if (this.#lines.length >= REPLY_LIMITS.lines || this.#total > REPLY_LIMITS.totalOctets) {
      this.#fail(
        `a reply exceeds ${REPLY_LIMITS.lines} lines or ${REPLY_LIMITS.totalOctets} octets`,
      );
      return;
    }
    const code = length < 3 ? undefined : codeOf(this.#line);
    if (code === undefined) {
      this.#fail("a line does not begin with a three-digit code from 200 to 599");
      return;
    }
    const separator = length === 3 ? " " : String.fromCharCode(this.#line[3] as number);
    if (separator !== " " && separator !== "-") {
      this.#fail("a code is followed by neither a space nor a hyphen");
      return;
    }
    if (this.#lines.length > 0 && code !== this.#code) {
      this.#fail(`one reply has two codes, ${this.#code} and ${code}`);
      return;
    }
    this.#code = code;
    this.#lines.push(decodeText(this.#line.subarray(Math.min(4, length), length)));
    if (separator === " ") this.#endReply();
  }

  #endReply(): void {
    const lines = this.#lines;
    const enhanced = ENHANCED.exec(lines[0] ?? "")?.[0];
    const agrees = enhanced !== undefined && Number(enhanced[0]) === Math.trunc(this.#code / 100);
    this.#ready.push(agrees ? { code: this.#code, enhanced, lines } : { code: this.#code, lines });
    this.#lines = [];
    this.#total = 0;
  }
}

function codeOf(line: Uint8Array): number | undefined {
  const [a, b, c] = line as unknown as [number, number, number];
  const digits = a >= 50 && a <= 53 && b >= 48 && b <= 57 && c >= 48 && c <= 57;
  return digits ? (a - 48) * 100 + (b - 48) * 10 + (c - 48) : undefined;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });
// biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what is looked for
const CONTROLS = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g;

/**
 * Text for people and JSON: UTF-8 (RFC 6531 §3.7.4.2), else GBK where every high octet pairs up as
 * Chinese providers send it, else UTF-8 with replacement. Controls, which could drive a terminal,
 * become U+FFFD.
 */
function decodeText(octets: Uint8Array): string {
  return decodeOctets(octets).replace(CONTROLS, "\uFFFD");
}

function decodeOctets(octets: Uint8Array): string {
  try {
    return utf8.decode(octets);
  } catch {
    if (looksLikeGbk(octets)) {
      try {
        return new TextDecoder("gb18030", { fatal: true }).decode(octets);
      } catch {
        // A runtime without full ICU, or not GBK after all.
      }
    }
    return lenient.decode(octets);
  }
}

function looksLikeGbk(octets: Uint8Array): boolean {
  for (let i = 0; i < octets.length; i += 1) {
    if ((octets[i] as number) < 0x80) continue;
    i += 1;
    if ((octets[i - 1] as number) < 0xa1 || (octets[i] ?? 0) < 0xa1) return false;
  }
  return true;
}
