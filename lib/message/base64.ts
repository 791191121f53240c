/**
 * Base64 in lines of 76 characters (RFC 2045 §6.8), streamed: the same octets give the same text
 * however they are cut, and its length is known from theirs, so SIZE can be declared beforehand.
 */

/** 57 octets make a line of 76 characters. */
const LINE_OCTETS = 57;
const LINE_CHARACTERS = 76;
const CR = 13;
const LF = 10;

/** Octets of the encoded form, line ends between the lines counted, none after the last. */
export function encodedSize(octets: number): number {
  const characters = Math.ceil(octets / 3) * 4;
  const lines = Math.ceil(characters / LINE_CHARACTERS);
  return characters + 2 * Math.max(0, lines - 1);
}

/**
 * For each 12 bits their two characters, as one 16-bit store. Filled octet by octet, so that it is
 * right on either byte order.
 */
const PAIRS = new Uint16Array(4096);
{
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const octets = new Uint8Array(PAIRS.buffer);
  for (let i = 0; i < 4096; i += 1) {
    octets[2 * i] = alphabet.charCodeAt(i >> 6);
    octets[2 * i + 1] = alphabet.charCodeAt(i & 63);
  }
}
const LINE_END = new Uint16Array(Uint8Array.of(CR, LF).buffer)[0] as number;

/** Encodes octets that come in pieces. Memory is that of one piece; whole lines leave at once. */
export class Base64Encoder {
  readonly #carry = new Uint8Array(LINE_OCTETS);
  #carried = 0;
  #begun = false;

  /** The whole lines that `piece` completes; may be empty. */
  encode(piece: Uint8Array): Uint8Array {
    let rest = piece;
    let head = 0;
    if (this.#carried > 0) {
      const taken = Math.min(LINE_OCTETS - this.#carried, rest.length);
      this.#carry.set(rest.subarray(0, taken), this.#carried);
      this.#carried += taken;
      rest = rest.subarray(taken);
      if (this.#carried < LINE_OCTETS) return new Uint8Array(0);
      head = 1;
    }
    const lines = Math.floor(rest.length / LINE_OCTETS);
    // A line end and 76 characters are 39 pairs, so every store is aligned.
    const out = new Uint16Array((head + lines) * 39);
    if (head === 1) write(this.#carry, LINE_OCTETS, out, 0);
    write(rest, lines * LINE_OCTETS, out, head * 39);
    this.#carried = rest.length - lines * LINE_OCTETS;
    this.#carry.set(rest.subarray(lines * LINE_OCTETS));
    return this.#joined(new Uint8Array(out.buffer));
  }

  /** The last, shorter line with its padding; empty where there is none. */
  end(): Uint8Array {
    if (this.#carried === 0) return new Uint8Array(0);
    const text = Buffer.from(this.#carry.buffer, 0, this.#carried).toString("base64");
    this.#carried = 0;
    return this.#joined(Uint8Array.from(Buffer.from(`\r\n${text}`, "latin1")));
  }

  /** Lines are written with the line end before them; the very first has none. */
  #joined(out: Uint8Array): Uint8Array {
    if (this.#begun || out.length === 0) return out;
    this.#begun = true;
    return out.subarray(2);
  }
}

function write(from: Uint8Array, length: number, out: Uint16Array, at: number): void {
  let to = at;
  let i = 0;
  while (i < length) {
    out[to++] = LINE_END;
    for (const end = i + LINE_OCTETS; i < end; i += 3) {
      const a = from[i] as number;
      const b = from[i + 1] as number;
      const c = from[i + 2] as number;
      out[to++] = PAIRS[(a << 4) | (b >> 4)] as number;
      out[to++] = PAIRS[((b & 15) << 8) | c] as number;
    }
  }
}
