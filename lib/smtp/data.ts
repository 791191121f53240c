/**
 * Message content on its way to the wire (RFC 5321 §2.3.8, §4.5.2). Only CR LF ends a line: a bare
 * CR or LF becomes CR LF here, whatever the source, so no receiver can be made to see an
 * end-of-data that was not sent (SMTP smuggling).
 */

/** One message's content, openable more than once (failover, a second session, signing). */
export interface Content {
  /** Octets in canonical form: CRLF line ends, a final CRLF, before dot-stuffing. For SIZE and BDAT. */
  readonly size: number;
  /** Whether any octet exceeds 127 (then 8BITMIME is needed). */
  readonly eightBit: boolean;
  /** Whether header fields hold raw UTF-8 (then SMTPUTF8 is needed). */
  readonly utf8Header: boolean;
  /** Canonical octets, `size` of them in all, in pieces of any length. */
  open(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

const LF = 10;
const CR = 13;
const DOT = 46;

/**
 * Canonicalises, and for DATA dot-stuffs, in one pass over each piece (RFC 5321 §4.5.2). The state
 * between pieces is two flags, so any split gives the same octets. BDAT content is never stuffed
 * (RFC 3030 §2).
 */
export class ContentEncoder {
  readonly #stuff: boolean;
  #lineStart = true;
  #afterCr = false;
  /** Canonical octets produced so far, stuffing not counted: comparable with {@link Content.size}. */
  size = 0;

  constructor(framing: "data" | "bdat") {
    this.#stuff = framing === "data";
  }

  encode(piece: Uint8Array): Uint8Array {
    // Worst case doubles: every octet a bare LF, or a dot on a line of its own.
    let out: Uint8Array | undefined;
    let used = 0;
    let copied = 0;
    let stuffed = 0;
    const view = new DataView(piece.buffer, piece.byteOffset, piece.length);
    const take = (upTo: number, ...extra: number[]) => {
      out ??= new Uint8Array(piece.length * 2 + 2);
      out.set(piece.subarray(copied, upTo), used);
      used += upTo - copied;
      copied = upTo;
      for (const octet of extra) out[used++] = octet;
    };
    for (let i = 0; i < piece.length; i += 1) {
      const octet = piece[i] as number;
      if (octet === LF) {
        // Its CR is missing: write one before it.
        if (!this.#afterCr) take(i, CR);
        this.#afterCr = false;
        this.#lineStart = true;
        continue;
      }
      if (this.#afterCr) {
        // A bare CR stood here: complete it.
        take(i, LF);
        this.#afterCr = false;
        this.#lineStart = true;
      }
      if (this.#lineStart) {
        if (octet === DOT && this.#stuff) {
          take(i, DOT);
          stuffed += 1;
        }
        this.#lineStart = false;
      }
      if (octet === CR) {
        this.#afterCr = true;
      } else {
        // Most octets change nothing: on to the next line end in as tight a loop as there is.
        i = lineEnd(piece, view, i + 1) - 1;
      }
    }
    if (out === undefined) {
      this.size += piece.length;
      return piece;
    }
    take(piece.length);
    this.size += used - stuffed;
    return out.subarray(0, used);
  }

  /** What is missing so that the content ends with CRLF; nothing is added to empty content. */
  end(): Uint8Array {
    const tail = this.#afterCr ? [LF] : this.#lineStart ? [] : [CR, LF];
    this.#afterCr = false;
    this.#lineStart = true;
    this.size += tail.length;
    return Uint8Array.from(tail);
  }
}

/** Where the next CR or LF stands, or the end of the piece. */
function lineEnd(piece: Uint8Array, view: DataView, from: number): number {
  let at = from;
  // Four octets at a time while none is below 14: subtracting borrows from the top bit of those
  // alone that are (or are above 127 with their own set, which "and not" takes out).
  for (; at + 4 <= piece.length; at += 4) {
    const four = view.getUint32(at);
    if (((four - 0x0e0e0e0e) & ~four & 0x80808080) !== 0) break;
  }
  for (; at < piece.length; at += 1) {
    const octet = piece[at];
    if (octet === LF || octet === CR) break;
  }
  return at;
}

/** Canonical form of whole content: CR LF line ends, a final one. */
export function canonicalise(octets: Uint8Array): Uint8Array {
  const encoder = new ContentEncoder("bdat");
  const body = encoder.encode(octets);
  const tail = encoder.end();
  if (tail.length === 0) return body;
  const whole = new Uint8Array(body.length + tail.length);
  whole.set(body);
  whole.set(tail, body.length);
  return whole;
}

/** Content held in memory; canonicalised here, so that `size` is what the wire will carry. */
export function contentOf(octets: Uint8Array, flags: { utf8Header?: boolean } = {}): Content {
  const canonical = canonicalise(octets);
  return {
    size: canonical.length,
    eightBit: canonical.some((octet) => octet > 127),
    utf8Header: flags.utf8Header ?? false,
    open: () => [canonical],
  };
}
