/** Content on its way to the wire: no cut and no octet may make an end of data that was not sent. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ContentEncoder, canonicalise, contentOf } from "../../lib/smtp/data.ts";

type Framing = "data" | "bdat";

function encode(pieces: Iterable<Uint8Array>, framing: Framing) {
  const encoder = new ContentEncoder(framing);
  const out: Uint8Array[] = [];
  for (const piece of pieces) out.push(Buffer.from(encoder.encode(piece)));
  out.push(encoder.end());
  return { wire: Buffer.concat(out), size: encoder.size };
}

/** What a careful receiver makes of it (RFC 5321 §4.5.2), written without the encoder's help. */
function unstuff(wire: Buffer): Buffer {
  return Buffer.from(wire.toString("latin1").replace(/(^|\r\n)\./g, "$1"), "latin1");
}

/** Line ends as they ought to be, the slow way. */
function plainly(octets: Uint8Array): Buffer {
  const text = Buffer.from(octets).toString("latin1");
  const lines = text.replace(/\r\n|\r|\n/g, "\r\n");
  return Buffer.from(lines === "" || lines.endsWith("\r\n") ? lines : `${lines}\r\n`, "latin1");
}

function cut(octets: Uint8Array, points: readonly number[]): Uint8Array[] {
  const bounds = [0, ...points.map((p) => p % (octets.length + 1)).sort((a, b) => a - b)];
  return bounds.map((from, at) => octets.subarray(from, bounds[at + 1] ?? octets.length));
}

const content = fc
  .array(fc.constantFrom("\r", "\n", ".", "a", "\r\n", "\0", "ÿ", "\r\n.\r\n", "long line"), {
    maxLength: 24,
  })
  .map((parts) => Buffer.from(parts.join(""), "latin1"));
const points = fc.array(fc.nat(), { maxLength: 6 });

describe("ContentEncoder", () => {
  it("gives the same octets and size, wherever the content is cut", () => {
    fc.assert(
      fc.property(content, points, fc.constantFrom<Framing>("data", "bdat"), (octets, at, as) => {
        const whole = encode([octets], as);
        expect(encode(cut(octets, at), as)).toEqual(whole);
        expect(
          encode(
            [...octets].map((octet) => Uint8Array.of(octet)),
            as,
          ),
        ).toEqual(whole);
      }),
      { numRuns: 2000 },
    );
  });

  it("is undone by un-stuffing, and counts what is left", () => {
    fc.assert(
      fc.property(content, points, (octets, at) => {
        const canonical = plainly(octets);
        const { wire, size } = encode(cut(octets, at), "data");
        expect(unstuff(wire)).toEqual(canonical);
        expect(size).toBe(canonical.length);
        expect(encode(cut(octets, at), "bdat")).toEqual({ wire: canonical, size });
        expect(Buffer.from(canonicalise(octets))).toEqual(canonical);
      }),
      { numRuns: 2000 },
    );
  });

  it("finds a bare line end at every place, whatever stands around it", () => {
    for (const around of [0, 9, 14, 46, 97, 127, 128, 138, 141, 255]) {
      for (let at = 0; at < 24; at += 1) {
        for (const end of [10, 13]) {
          // Not at the buffer's own start, which is where octets are aligned.
          const octets = new Uint8Array(25).fill(around).subarray(1);
          octets[at] = end;
          expect(encode([octets], "bdat").wire).toEqual(plainly(octets));
        }
      }
    }
  });

  it("writes no bare CR, no bare LF and no line of one dot", () => {
    fc.assert(
      fc.property(content, points, (octets, at) => {
        const wire = encode(cut(octets, at), "data").wire.toString("latin1");
        expect(wire).not.toMatch(/\r(?!\n)|(?<!\r)\n/);
        expect(`\r\n${wire}`).not.toMatch(/\r\n\.\r\n/);
        expect(wire === "" || wire.endsWith("\r\n")).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  const smuggled = [
    "\n.\n",
    "\r.\r",
    "\n.\r\n",
    "\r\n.\r",
    "\r\n.\n",
    "\r.\r\n",
    "\r\n.\r\n",
    "\n.\r",
  ];
  it.each(smuggled)("lets %j end nothing, at any chunk bound", (sequence) => {
    const octets = Buffer.from(`a${sequence}MAIL FROM:<x@y>`, "latin1");
    for (let first = 0; first <= octets.length; first += 1) {
      for (let second = first; second <= octets.length; second += 1) {
        const { wire } = encode(cut(octets, [first, second]), "data");
        expect(wire.toString("latin1")).toBe("a\r\n..\r\nMAIL FROM:<x@y>\r\n");
      }
    }
  });

  it("leaves canonical content as it is, without a copy", () => {
    const octets = Buffer.from("Subject: x\r\n\r\nhello\r\n");
    expect(new ContentEncoder("data").encode(octets)).toBe(octets);
  });

  it("adds nothing to empty content", () => {
    expect(encode([], "data")).toEqual({ wire: Buffer.alloc(0), size: 0 });
    expect(contentOf(new Uint8Array(0)).size).toBe(0);
  });

  it("searches each octet but a few times, though every second one is a bare CR", () => {
    let searched = 0;
    class Counting extends Uint8Array {
      override subarray(from?: number, to?: number): Counting {
        return super.subarray(from, to) as Counting;
      }
      override indexOf(value: number, from = 0): number {
        const found = super.indexOf(value, from);
        searched += (found === -1 ? this.length : found + 1) - from;
        return found;
      }
    }
    for (const text of ["a\r", "a\n", "a\r\n", ".\r"]) {
      searched = 0;
      const octets = new Counting(Buffer.from(text.repeat(2000), "latin1"));
      new ContentEncoder("data").encode(octets);
      expect(searched).toBeLessThanOrEqual(3 * octets.length);
    }
  });

  it("has a plain header unless it is told otherwise", () => {
    expect(contentOf(new Uint8Array(1)).utf8Header).toBe(false);
    expect(contentOf(new Uint8Array(1), { utf8Header: true }).utf8Header).toBe(true);
  });

  it("knows 8-bit content", () => {
    expect(contentOf(Buffer.from("a\r\n")).eightBit).toBe(false);
    expect(contentOf(Uint8Array.of(127)).eightBit).toBe(false);
    expect(contentOf(Uint8Array.of(128)).eightBit).toBe(true);
  });
});
