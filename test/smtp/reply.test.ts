/** The decoder under arbitrary octets, cut arbitrarily: total, split-invariant, bounded, linear. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { capabilities } from "../../lib/smtp/capabilities.ts";
import { SmtpError } from "../../lib/smtp/error.ts";
import { classOf, REPLY_LIMITS, type Reply, ReplyDecoder, textOf } from "../../lib/smtp/reply.ts";
import { character } from "../support/characters.ts";

interface Heard {
  readonly replies: readonly Reply[];
  readonly failure: string | undefined;
  readonly partial: boolean;
}

function hear(pieces: Iterable<Uint8Array>): Heard {
  const decoder = new ReplyDecoder();
  for (const piece of pieces) decoder.push(piece);
  return drain(decoder);
}

function drain(decoder: ReplyDecoder): Heard {
  const replies: Reply[] = [];
  try {
    for (let reply = decoder.take(); reply; reply = decoder.take()) replies.push(reply);
  } catch (error) {
    if (!(error instanceof SmtpError)) throw error;
    expect(error.code).toBe("protocol_error");
    expect(decoder.pending).toBe(true);
    expect(() => decoder.take()).toThrow(error);
    return { replies, failure: error.message, partial: decoder.partial };
  }
  expect(decoder.pending).toBe(decoder.partial);
  return { replies, failure: undefined, partial: decoder.partial };
}

function cut(octets: Uint8Array, points: readonly number[]): Uint8Array[] {
  const bounds = [0, ...points.map((p) => p % (octets.length + 1)).sort((a, b) => a - b)];
  return bounds.map((from, at) => octets.subarray(from, bounds[at + 1] ?? octets.length));
}

const bytes = (text: string) => new TextEncoder().encode(text);
const eachOctet = (octets: Uint8Array) => [...octets].map((octet) => Uint8Array.of(octet));

/** Octets that look like replies often enough to reach every branch. */
const wire = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc
        .constantFrom(
          ...[
            "250 ok\r\n",
            "250-a\r\n",
            "250\r\n",
            "421 x\n",
            "550-5.1.1 x\r\n",
            "2zz\r\n",
            "\r\n",
          ],
          ...["334 ", "250-", "25", "\r", "\n", "\r\r\n", "2.0.0 ", "600 x\r\n", "199 x\r\n"],
        )
        .map(bytes),
    ),
    { maxLength: 12 },
  )
  .map((parts) => Buffer.concat(parts));

describe("ReplyDecoder", () => {
  it("gives the same replies or the same fault, wherever the octets are cut", () => {
    fc.assert(
      fc.property(wire, fc.array(fc.nat(), { maxLength: 8 }), (octets, points) => {
        const whole = hear([octets]);
        expect(hear(cut(octets, points))).toEqual(whole);
        expect(hear(eachOctet(octets))).toEqual(whole);
      }),
      { numRuns: 2000 },
    );
  });

  it("gives text without controls and codes from 200 to 599, whatever comes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
        const { replies } = hear([bytes("250-"), noise, bytes("\r\n250 end\r\n")]);
        for (const reply of replies) {
          expect(reply.code).toBeGreaterThanOrEqual(200);
          expect(reply.code).toBeLessThan(600);
          // biome-ignore lint/suspicious/noControlCharactersInRegex: controls are looked for
          expect(reply.lines.join("")).not.toMatch(/[\x00-\x08\x0a-\x1f\x7f-\x9f]/);
          expect(JSON.parse(JSON.stringify(reply))).toEqual(reply);
        }
      }),
    );
  });

  const corpus = [
    "220 server.test ESMTP\r\n",
    "250-server.test\r\n250-SIZE 10\r\n250 AUTH PLAIN\r\n",
    "250\r\n",
    "250-\r\n250 \r\n",
    "250-a\n250 b\n",
    "550 5.7.1 用户\r\n421 4.3.2 bye\r\n",
    "354 a\rb\r\r\n",
  ];
  it.each(corpus)("hears %j alike at every single cut", (text) => {
    const octets = bytes(text);
    const whole = hear([octets]);
    expect(whole.failure).toBeUndefined();
    expect(whole.replies.length).toBeGreaterThan(0);
    for (let at = 0; at <= octets.length; at += 1) {
      expect(hear([octets.subarray(0, at), octets.subarray(at)])).toEqual(whole);
      expect(hear([octets.subarray(0, at)]).replies.length).toBeLessThanOrEqual(
        whole.replies.length,
      );
    }
  });

  it("takes a line of just the limit, and no longer one", () => {
    const line = (length: number) => bytes(`250 ${"x".repeat(length - 4)}\n`);
    expect(hear([line(REPLY_LIMITS.lineOctets)]).failure).toBeUndefined();
    expect(hear([line(REPLY_LIMITS.lineOctets + 1)]).failure).toContain("line");
  });

  it("takes just so many lines, and no more", () => {
    const lines = (count: number) => bytes(`${"250-x\r\n".repeat(count - 1)}250 x\r\n`);
    expect(hear([lines(REPLY_LIMITS.lines)]).replies).toHaveLength(1);
    expect(hear([lines(REPLY_LIMITS.lines + 1)]).failure).toContain("lines");
  });

  it("takes just so many octets in one reply, and starts anew with the next", () => {
    const line = `250-${"x".repeat(4090)}\r\n`;
    const fits = line.repeat(REPLY_LIMITS.totalOctets / line.length - 1);
    const reply = bytes(`${fits}250 ${"x".repeat(4090)}\r\n`);
    expect(reply.length).toBe(REPLY_LIMITS.totalOctets);
    expect(hear([reply, reply, reply]).replies).toHaveLength(3);
    expect(hear([bytes(line + fits), bytes("250 x\r\n")]).failure).toContain("octets");
  });

  it("gives up on 10 MB without a line end after the first few octets of them", () => {
    const decoder = new ReplyDecoder();
    const piece = new Uint8Array(1024).fill(65);
    let pushes = 0;
    while (pushes < 10 * 1024 && !failed(decoder)) {
      decoder.push(piece);
      pushes += 1;
    }
    expect(pushes).toBe(REPLY_LIMITS.lineOctets / piece.length + 1);
  });

  it("looks at each octet once: one search a line, one copy an octet", () => {
    const octets = bytes(`${"250-some text of a reply\r\n".repeat(400)}250 end\r\n`);
    let copied = 0;
    let searches = 0;
    class Counting extends Uint8Array {
      override subarray(from?: number, to?: number): Uint8Array<ArrayBuffer> {
        const part = new Uint8Array(super.subarray(from, to));
        copied += part.length;
        return part;
      }
      override indexOf(value: number, from?: number): number {
        searches += 1;
        return super.indexOf(value, from);
      }
    }
    const counted = new Counting(octets);
    expect(hear([counted]).replies).toHaveLength(1);
    expect(copied).toBeLessThanOrEqual(octets.length);
    expect(searches).toBeLessThanOrEqual(402);
  });

  it.each([
    ["250 2.1.5 ok", "2.1.5"],
    ["250 2.0.0", "2.0.0"],
    ["421 4.3.2 bye", "4.3.2"],
    ["550 5.7.999 x", "5.7.999"],
    ["550 5.7.1000 x", undefined],
    // RFC 3463 §2: the class agrees with the code, or the status is none.
    ["550 4.2.2 x", undefined],
    ["250 5.0.0 x", undefined],
    ["354 3.0.0 x", undefined],
    ["250 2.1.5x", undefined],
    ["250 ok 2.1.5", undefined],
    ["250 2.1", undefined],
    ["250", undefined],
  ])("reads the enhanced status of %j as %s", (line, enhanced) => {
    expect(hear([bytes(`${line}\r\n`)]).replies[0]?.enhanced).toBe(enhanced);
  });

  it("tells how many replies are whole, and whether another one has begun", () => {
    const decoder = new ReplyDecoder();
    const seen = () => [decoder.ready, decoder.partial, decoder.pending];
    expect(seen()).toEqual([0, false, false]);
    decoder.push(bytes("250-one\r\n"));
    expect(seen()).toEqual([0, true, true]);
    decoder.push(bytes("250 two\r\n250 thr"));
    expect(seen()).toEqual([1, true, true]);
    decoder.push(bytes("ee\r\n"));
    expect(seen()).toEqual([2, false, true]);
    expect(textOf(decoder.take() as Reply)).toBe("one\ntwo");
    expect(seen()).toEqual([1, false, true]);
  });

  it("hears nothing more behind a fault, in the same piece or in another", () => {
    const decoder = new ReplyDecoder();
    decoder.push(bytes("250 ok\r\n2zz\r\n250 never\r\n"));
    decoder.push(bytes("250 never either\r\n"));
    expect(decoder.ready).toBe(1);
    expect(decoder.take()?.lines).toEqual(["ok"]);
    expect(() => decoder.take()).toThrow(/three-digit code/);
  });

  it.each([
    ["2zz ok\r\n", "a line does not begin with a three-digit code from 200 to 599"],
    ...["25", "", "199 x", "600 x", "2/0 x", "2:0 x", "20/ x", "20: x"].flatMap((line) => [
      [`${line}\r\n`, "a line does not begin with a three-digit code from 200 to 599"],
      [`250 ok\r\n${line}\n`, "a line does not begin with a three-digit code from 200 to 599"],
      // What a line before it has left behind is none of its own.
      [`250 ok\r\n${line}\r\n`, "a line does not begin with a three-digit code from 200 to 599"],
    ]),
    ["250_ok\r\n", "a code is followed by neither a space nor a hyphen"],
    ["250-a\r\n251 b\r\n", "one reply has two codes, 250 and 251"],
    [`250 ${"x".repeat(8192)}`, "a reply line exceeds 8192 octets"],
    ["250-x\r\n".repeat(513), "a reply exceeds 512 lines or 131072 octets"],
  ])("says what is wrong with %j", (text, what) => {
    expect(hear([bytes(text)]).failure).toBe(`The server's reply is not valid SMTP: ${what}.`);
  });

  it.each([
    ["UTF-8", "e794a8e688b7", "用户"],
    ["GBK where every high octet pairs up", "d3c3bba7", "用户"],
    ["GBK among ASCII", "41d3c342", "A用B"],
    ["an odd high octet at the end", "d3c3bb", "\ufffd\u00fb"],
    ["a pair that GBK does not begin", "80c3", "\ufffd\ufffd"],
    ["a pair that GBK does not end", "d341", "\ufffdA"],
    ["a pair that means nothing in GBK", "feff", "\ufffd\ufffd"],
    ["a byte order mark, which is text", "efbbbf41", "\ufeffA"],
    ["controls", "411b5b324a0941", "A\ufffd[2J\tA"],
  ])("reads as text: %s", (_, hex, text) => {
    const octets = Buffer.concat([bytes("535 "), Buffer.from(hex, "hex"), bytes("\r\n")]);
    expect(hear([octets]).replies[0]?.lines).toEqual([text]);
  });

  it.each([
    [200, "success"],
    [299, "success"],
    [300, "intermediate"],
    [399, "intermediate"],
    [400, "transient"],
    [499, "transient"],
    [500, "permanent"],
    [599, "permanent"],
  ] as const)("judges %s by its first digit: %s", (code, kind) => {
    expect(classOf({ code, lines: [""] })).toBe(kind);
  });

  it("reads the enhanced status of several lines from the first", () => {
    const { replies } = hear([bytes("550-5.1.1 unknown\r\n550 5.7.1 here\r\n")]);
    expect(replies[0]?.enhanced).toBe("5.1.1");
  });
});

function failed(decoder: ReplyDecoder): boolean {
  try {
    decoder.take();
    return false;
  } catch {
    return true;
  }
}

describe("capabilities", () => {
  const word = fc.oneof(
    fc.constantFrom("AUTH", "auth=", "AUTH=LOGIN", "SIZE", "LIMITS", "RCPTMAX=", "__proto__"),
    fc.constantFrom("constructor", "MAILMAX=0", "RCPTDOMAINMAX=9", "-1", "99999999999999999", "="),
    fc.string({ unit: character, maxLength: 12 }),
  );
  const line = fc.array(word, { maxLength: 5 }).map((words) => words.join(" "));

  it("makes something of any reply, and nothing of its first line", () => {
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 8 }), (lines) => {
        const found = capabilities({ code: 250, lines });
        const without = capabilities({ code: 250, lines: ["", ...lines.slice(1)] });
        expect([...found.keywords]).toEqual([...without.keywords]);
        expect(found.auth).toEqual(without.auth);
        for (const name of found.auth) expect(name).toMatch(/^[A-Z0-9_-]{1,20}$/);
        for (const limit of [found.size, ...Object.values(found.limits)]) {
          if (limit !== undefined) expect(Number.isSafeInteger(limit) && limit > 0).toBe(true);
        }
        const firsts = lines.slice(1).map((text) =>
          text
            .trim()
            .split(/[ \t]+/)[0]
            ?.toUpperCase(),
        );
        for (const keyword of found.keywords.keys()) {
          expect(firsts.some((first) => first === keyword || first?.startsWith("AUTH="))).toBe(
            true,
          );
        }
      }),
    );
  });

  it("offers nothing where there was no EHLO", () => {
    const nothing = capabilities(undefined);
    expect([...nothing.keywords, ...nothing.auth]).toEqual([]);
    expect(nothing.limits).toEqual({});
    expect(nothing.host).toBe("");
  });

  it("reads words, however many spaces stand around them, and no others", () => {
    const found = capabilities({
      code: 250,
      lines: [
        "  mail.example\tat your service",
        "  SIZE \t 10 ",
        "-X 1",
        "A_B",
        "A*",
        " X-1  a  b",
      ],
    });
    expect(found.host).toBe("mail.example");
    expect(found.size).toBe(10);
    expect([...found.keywords]).toEqual([
      ["SIZE", ["10"]],
      ["X-1", ["a", "b"]],
    ]);
  });

  it("takes no number for one that something follows", () => {
    const { size, limits } = capabilities({
      code: 250,
      lines: ["x", "SIZE 10x", "LIMITS RCPTMAX=5x MAILMAX=x5 RCPTDOMAINMAX=3"],
    });
    expect([size, limits]).toEqual([undefined, { rcptDomainMax: 3 }]);
  });
});
