/**
 * The tokens of RFC 5322 §3.2 that addresses are made of. Every code unit is looked at a bounded
 * number of times, whatever the input, and a control is refused wherever it stands.
 */
import { Fault } from "./fault.ts";

export class Token {
  readonly kind: "atom" | "quoted" | "literal" | "special" | "end";
  /** Without quotes or brackets, unescaped. */
  readonly text: string;
  /** White space, or a comment, stands before it. */
  readonly spaced: boolean;

  constructor(kind: Token["kind"], text: string, spaced: boolean) {
    this.kind = kind;
    this.text = text;
    this.spaced = spaced;
  }

  /** Whether it is this special character, outside quotes. */
  is(special: string): boolean {
    return this.kind === "special" && this.text === special;
  }
}

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const OPEN = 0x28;
const CLOSE = 0x29;
const LEFT = 0x5b;
const BACKSLASH = 0x5c;
const RIGHT = 0x5d;

/**
 * A reader of tokens. `strict` is for a string a caller wrote; `header` for a field of a message,
 * where lines fold (§2.2.3), tabs are white space and comments (§3.2.2) may stand.
 */
export class Tokens {
  readonly #text: string;
  readonly #lenient: boolean;
  #at = 0;
  #again: Token | undefined;

  constructor(text: string, mode: "strict" | "header") {
    this.#text = text;
    this.#lenient = mode === "header";
  }

  /** @throws {Fault} with this reason, unless a header field is read. */
  needLenience(reason: string): void {
    if (!this.#lenient) throw new Fault(reason);
  }

  /** Lets {@link next} give this token once more. */
  unread(token: Token): void {
    this.#again = token;
  }

  /** The next token; at the end, one of kind `end`, as often as asked. */
  next(): Token {
    const again = this.#again;
    this.#again = undefined;
    if (again !== undefined) return again;
    const spaced = this.#skip();
    if (this.#at >= this.#text.length) return new Token("end", "", spaced);
    const code = this.#code();
    if (code === QUOTE) return new Token("quoted", this.#until(QUOTE), spaced);
    if (code === LEFT) return new Token("literal", this.#until(RIGHT), spaced);
    const start = this.#at;
    while (isAtext(this.#text.charCodeAt(this.#at))) this.#at += 1;
    const kind = this.#at > start ? "atom" : "special";
    if (kind === "special") this.#at += 1;
    return new Token(kind, this.#text.slice(start, this.#at), spaced);
  }

  #code(): number {
    const code = this.#text.charCodeAt(this.#at);
    if (isControl(code)) throw new Fault("a control character or line break is not allowed");
    return code;
  }

  /** Steps over one piece of white space, if one is here. */
  #white(): boolean {
    const code = this.#text.charCodeAt(this.#at);
    if (code === SPACE || (code === TAB && this.#lenient)) {
      this.#at += 1;
      return true;
    }
    if (code !== CR || !this.#lenient || this.#text.charCodeAt(this.#at + 1) !== LF) return false;
    // A line end folds only before white space; at the very end it is the field's own.
    const next = this.#text.charCodeAt(this.#at + 2);
    const folds = next === SPACE || next === TAB || Number.isNaN(next);
    if (folds) this.#at += 2;
    return folds;
  }

  #skip(): boolean {
    const start = this.#at;
    // Comments nest, as deep as they like: a counter, not a stack.
    let depth = 0;
    while (this.#at < this.#text.length) {
      if (this.#white()) continue;
      const code = this.#code();
      if (code === OPEN) {
        this.needLenience("a comment in parentheses is not supported; a name needs double quotes");
        depth += 1;
      } else if (depth === 0) {
        break;
      } else if (code === CLOSE) {
        depth -= 1;
      } else if (code === BACKSLASH) {
        this.#at += 1;
        if (this.#at < this.#text.length) this.#code();
      }
      this.#at += 1;
    }
    if (depth > 0) throw new Fault("a comment is not closed");
    return this.#at > start;
  }

  /** The text up to this end, quoted pairs (§3.2.1) undone. */
  #until(end: number): string {
    const parts: string[] = [];
    this.#at += 1;
    while (this.#at < this.#text.length) {
      const start = this.#at;
      if (this.#white()) {
        if (this.#text.charCodeAt(start) !== CR) parts.push(" ");
        continue;
      }
      const code = this.#code();
      this.#at += 1;
      if (code === end) return parts.join("");
      if (code !== BACKSLASH) {
        parts.push(this.#text.slice(start, this.#at));
      } else if (this.#at < this.#text.length) {
        this.#code();
        this.#at += 1;
        parts.push(this.#text.slice(start + 1, this.#at));
      }
    }
    throw new Fault(end === QUOTE ? "a double quote is not closed" : "a bracket is not closed");
  }
}

/** RFC 5322 §3.2.3, and all that is beyond ASCII (RFC 6532 §3.2); NaN, past the end, is not. */
function isAtext(code: number): boolean {
  return code > SPACE && !SPECIALS.has(code) && !isControl(code);
}

/** RFC 5322 §3.2.3. */
const SPECIALS: ReadonlySet<number> = new Set(
  Array.from('()<>[]:;@\\,."', (character) => character.charCodeAt(0)),
);

/** C0, DEL, C1, and the two separators that some programs take for a line end. */
function isControl(code: number): boolean {
  return code < SPACE || (code >= 0x7f && code < 0xa0) || code === 0x2028 || code === 0x2029;
}
