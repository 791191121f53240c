/**
 * Base64 in lines of 76 characters (RFC 2045 §6.8): the same octets give the same text however they
 * are cut, and its length is known from theirs, so SIZE can be declared beforehand. What comes as
 * base64 already is never decoded: it only gets its lines.
 */

/** 57 octets make a line of 76 characters. */
const LINE_OCTETS = 57;
const LINE_CHARACTERS = 76;
const CR = 13;
const LF = 10;
/** Characters that get their lines at a time: small enough that many sessions fit an instance. */
const PIECE = LINE_CHARACTERS * 4096;

/** Octets of the encoded form, line ends between the lines counted, none after the last. */
export function encodedSize(octets: number): number {
  return wrappedSize(Math.ceil(octets / 3) * 4);
}

/** The same for so many characters of base64. */
export function wrappedSize(characters: number): number {
  const lines = Math.ceil(characters / LINE_CHARACTERS);
  return characters + 2 * Math.max(0, lines - 1);
}

/** Base64 at hand, without white space, in its lines. */
export function* wrapped(base64: string): Generator<Uint8Array> {
  for (let at = 0; at < base64.length; at += PIECE) {
    const piece = lines(base64.slice(at, at + PIECE));
    yield at === 0 ? piece.subarray(2) : piece;
  }
}

/** Encodes octets that come in pieces. Memory is that of one piece; whole lines leave at once. */
export class Base64Encoder {
  readonly #carry = Buffer.alloc(LINE_OCTETS);
  #carried = 0;
  #begun = false;

  /** The whole lines that `piece` completes; may be empty. */
  encode(piece: Uint8Array): Uint8Array {
    const whole = this.#carried + piece.length >= LINE_OCTETS;
    // What completes the line that was begun, and where the last whole line ends.
    const taken = whole && this.#carried > 0 ? LINE_OCTETS - this.#carried : 0;
    const end = whole ? piece.length - ((this.#carried + piece.length) % LINE_OCTETS) : 0;
    this.#carry.set(piece.subarray(0, taken), this.#carried);
    const begun = taken > 0 ? base64(this.#carry) : "";
    const out = this.#joined(lines(`${begun}${base64(piece.subarray(taken, end))}`));
    this.#carried = whole ? 0 : this.#carried;
    this.#carry.set(piece.subarray(end), this.#carried);
    this.#carried += piece.length - end;
    return out;
  }

  /** The last, shorter line with its padding; empty where there is none. */
  end(): Uint8Array {
    const text = base64(this.#carry.subarray(0, this.#carried));
    this.#carried = 0;
    return this.#joined(lines(text));
  }

  /** Lines are written with the line end before them; the very first has none. */
  #joined(out: Uint8Array): Uint8Array {
    if (this.#begun || out.length === 0) return out;
    this.#begun = true;
    return out.subarray(2);
  }
}

function base64({ buffer, byteOffset, length }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, length).toString("base64");
}

/** Each line with a line end before it. */
function lines(text: string): Uint8Array {
  const gap = 2 * Math.ceil(text.length / LINE_CHARACTERS);
  const out = Buffer.allocUnsafe(text.length + gap);
  // It stands at the end first, and each line moves forward into its place: one buffer for both.
  out.write(text, gap, "latin1");
  let to = 0;
  for (let from = gap; from < out.length; from += LINE_CHARACTERS) {
    out[to] = CR;
    out[to + 1] = LF;
    out.copyWithin(to + 2, from, from + LINE_CHARACTERS);
    to += LINE_CHARACTERS + 2;
  }
  return out;
}
