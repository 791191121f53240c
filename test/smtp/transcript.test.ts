/** The transcript is bounded and ordered; what a server echoes of a secret is masked in it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Redactor } from "../../lib/smtp/redact.ts";
import { type Entry, TRANSCRIPT_LIMITS, Transcript } from "../../lib/smtp/transcript.ts";
import { character } from "../support/characters.ts";

const said = fc.record({
  server: fc.boolean(),
  text: fc.oneof(
    fc.string({ unit: character, maxLength: 30 }),
    fc.nat(4000).map((length) => "x".repeat(length)),
    fc.nat(2200).map((length) => "\u0001".repeat(length)),
    fc.nat(1100).map((length) => "😀".repeat(length)),
    fc.nat(2000).map((length) => '"'.repeat(length)),
  ),
});

function record(lines: readonly { server: boolean; text: string }[]): readonly Entry[] {
  const transcript = new Transcript(new Redactor());
  for (const [at, { server, text }] of lines.entries()) {
    // The time is the line's number, so that what is kept can be told.
    if (server) transcript.server(at, { code: 250, lines: [text] });
    else transcript.client(at, text);
  }
  return transcript.entries();
}

const marker = ({ text }: Entry) => /^\[\d+ lines cut here\]$/.test(text);

describe("Transcript", () => {
  it("keeps within 256 entries and 64 KiB as JSON, in order, the ends kept and the middle marked", () => {
    fc.assert(
      fc.property(fc.array(said, { minLength: 1, maxLength: 400, size: "max" }), (lines) => {
        const entries = record(lines);
        expect(entries.length).toBeLessThanOrEqual(256);
        const octets = Buffer.byteLength(JSON.stringify(entries));
        expect(octets).toBeLessThanOrEqual(64 * 1024);
        const kept = entries.filter((entry) => !marker(entry)).map(({ at }) => at);
        expect(kept).toEqual([...kept].sort((a, b) => a - b));
        expect(new Set(kept).size).toBe(kept.length);
        expect(kept[0]).toBe(0);
        expect(kept.at(-1)).toBe(lines.length - 1);
        const cut = entries.filter(marker);
        if (kept.length === lines.length) {
          expect(cut).toEqual([]);
          return;
        }
        expect(cut).toHaveLength(1);
        expect(cut[0]?.text).toBe(`[${lines.length - kept.length} lines cut here]`);
        const at = entries.findIndex(marker);
        expect(at).toBeGreaterThan(0);
        expect(at).toBeLessThan(entries.length - 1);
        expect(entries[at - 1]?.at).toBe(kept[at - 1]);
        // All that is missing is missing there.
        expect((kept[at] as number) - (kept[at - 1] as number)).toBe(
          lines.length - kept.length + 1,
        );
      }),
      { numRuns: 150 },
    );
  });

  it("keeps a conversation of 255 short lines whole, and cuts a longer one", () => {
    const short = (count: number) =>
      Array.from({ length: count }, () => ({ server: false, text: "x" }));
    expect(record(short(255)).some(marker)).toBe(false);
    expect(record(short(255))).toHaveLength(255);
    const cut = record(short(1000));
    expect(cut).toHaveLength(256);
    expect(cut[128]?.text).toBe("[745 lines cut here]");
  });

  it("cuts one long line, and says by how much", () => {
    const [entry] = record([{ server: false, text: "x".repeat(TRANSCRIPT_LIMITS.lineLength + 7) }]);
    expect(entry?.text).toBe(`${"x".repeat(TRANSCRIPT_LIMITS.lineLength)}[7 more]`);
  });

  it("prints a reply's lines as they came", () => {
    const transcript = new Transcript(new Redactor());
    transcript.server(1.26, { code: 250, lines: ["server.test", "", "SIZE 10"] });
    transcript.server(2, { code: 354, lines: [""] });
    expect(transcript.entries()).toEqual([
      { at: 1.3, from: "S", text: "250-server.test" },
      { at: 1.3, from: "S", text: "250-" },
      { at: 1.3, from: "S", text: "250 SIZE 10" },
      { at: 2, from: "S", text: "354" },
    ]);
  });

  it("goes on from the session before", () => {
    const before: readonly Entry[] = [
      { at: 0, from: "S", text: "220 hello" },
      { at: 1.2, from: "C", text: "EHLO client.test" },
    ];
    const transcript = new Transcript(new Redactor(), before);
    transcript.client(3, "QUIT");
    expect(transcript.entries()).toEqual([...before, { at: 3, from: "C", text: "QUIT" }]);
  });

  it.each([
    ["r=fyko+d2lbbFgONRv9qkxdawL,s=QSXCR+Q6sek8bf92,i=4096", true],
    ["v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", true],
    ['realm="r",nonce="OA6MG9tEQGm2hh",qop="auth"', true],
    ["rspauth=ea40f60335c427b5527b84dbabcdfffd", true],
    ["Password:", false],
    ["number=1", false],
    ['{"status":"401"}', false],
  ])("shows the challenge %s unless it can be guessed at: masked %s", (said, masked) => {
    const transcript = new Transcript(new Redactor());
    const encoded = Buffer.from(said).toString("base64");
    transcript.server(0, { code: 334, lines: [` ${encoded} `] });
    transcript.server(0, { code: 250, lines: [encoded] });
    const [challenge, other] = transcript.entries().map(({ text }) => text);
    expect(challenge).toBe(masked ? "334 ***" : `334  ${encoded}`);
    expect(other).toBe(`250 ${encoded}`);
  });

  it("masks a secret before it cuts the line, so that no part of it is left", () => {
    const redactor = new Redactor();
    redactor.learn("correct horse battery");
    const transcript = new Transcript(redactor);
    const filler = "x".repeat(TRANSCRIPT_LIMITS.lineLength - 10);
    transcript.server(0, { code: 535, lines: [`${filler} correct horse battery`] });
    expect(transcript.entries()[0]?.text).not.toContain("corr");
  });
});

describe("Redactor", () => {
  const secret = fc.oneof(
    fc.string({ minLength: 6, maxLength: 40 }),
    fc.string({ unit: character, minLength: 6, maxLength: 20 }),
    fc.constantFrom(
      "p+a/s=s w?r&d",
      "密码密码密码",
      "a.*b[c]^$|(d)",
      "ends with \\",
      "\ud800lonely",
    ),
  );
  const around = fc.constantFrom("", " ", "user=", '"', "\n", "=", "x");

  it("masks a secret raw, in base64, base64url and URL-encoded, wherever it stands", () => {
    fc.assert(
      fc.property(secret, around, around, (word, before, after) => {
        const redactor = new Redactor();
        redactor.learn(word);
        const octets = Buffer.from(new TextEncoder().encode(word));
        const encoded = encodeURIComponent(octets.toString("utf8"));
        const base64 = octets.toString("base64");
        const forms = [word, base64, base64.replace(/=+$/, ""), octets.toString("base64url")];
        for (const form of [...forms, encoded, encoded.toLowerCase()]) {
          const scrubbed = redactor.scrub(`${before}${form}${after}`);
          // A mask of asterisks is no news where the secret is made of them.
          if (!"***".includes(form)) expect(scrubbed).not.toContain(form);
          expect(scrubbed).toContain("***");
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("masks what crossed the wire, padded or not", () => {
    const redactor = new Redactor();
    redactor.learnWire("AGFsaWNlAHNlY3JldA==");
    expect(redactor.scrub("535 bad AGFsaWNlAHNlY3JldA==.")).toBe("535 bad ***.");
    expect(redactor.scrub("535 bad AGFsaWNlAHNlY3JldA.")).toBe("535 bad ***.");
  });

  // What a response proves is as good as the password to who guesses at leisure.
  it.each([
    ["SCRAM's", "c=biws,r=nonce,p=", "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", ""],
    ["CRAM-MD5's", "tim ", "b913a602c7eda7a495b4e6e7334d3890", ""],
    ["DIGEST-MD5's", "nc=00000001,response=", "d388dad90d4bbd760a152321f2143af7", ",qop=auth"],
    ["a bare one", "", "b913a602c7eda7a495b4e6e7334d3890", ""],
    ["one with two signs of padding", "p=", "aGVsbG8gaGVsbG8gaGVsbG8gaGVsbG8hIQ==", ",x"],
  ])("masks the proof within a response: %s", (_, before, proof, after) => {
    const redactor = new Redactor();
    redactor.learnWire(Buffer.from(`${before}${proof}${after}`).toString("base64"));
    expect(redactor.scrub(`535 ${proof} is wrong`)).toBe("535 *** is wrong");
    expect(redactor.scrub("535 biws r=nonce nc=00000001 qop=auth")).not.toContain("***");
  });

  it("takes nothing short or broken for a proof", () => {
    const redactor = new Redactor();
    redactor.learnWire(Buffer.from(`user ${"a".repeat(26)}`).toString("base64"));
    redactor.learnWire(Buffer.from(`user (${"b".repeat(30)})`).toString("base64"));
    redactor.learnWire(Buffer.from(`user!${"c".repeat(30)}`).toString("base64"));
    redactor.learnWire("no base64 at all!");
    const text = `${"a".repeat(26)} ${"b".repeat(30)} ${"c".repeat(30)}`;
    expect(redactor.scrub(text)).toBe(text);
  });

  it("masks the octets in hexadecimal, and what JSON makes of a secret", () => {
    const redactor = new Redactor();
    redactor.learn('pa"ss\\\u0001word');
    expect(redactor.scrub("x 70612273735c01776f7264 y")).toBe("x *** y");
    expect(redactor.scrub('{"p":"my pa\\"ss\\\\\\u0001word"}')).toBe('{"p":"my ***"}');
  });

  it("learns nothing from padding alone", () => {
    const redactor = new Redactor();
    redactor.learnWire("==");
    expect(redactor.scrub("a == b")).toBe("a *** b");
  });

  it("masks the longest form first", () => {
    const redactor = new Redactor();
    redactor.learn("secret");
    redactor.learn("secret-and-more");
    expect(redactor.scrub("x secret-and-more y")).toBe("x *** y");
  });

  it("masks a very short secret only where it stands alone", () => {
    const redactor = new Redactor();
    redactor.learn("abc");
    expect(redactor.scrub("abc abcd (abc)")).toBe("*** abcd (***)");
  });

  it("learns nothing from nothing", () => {
    const redactor = new Redactor();
    redactor.learn(undefined);
    redactor.learn("");
    redactor.learnWire("=");
    redactor.learnWire("");
    redactor.learnWire(undefined);
    expect(redactor.scrub("a = b")).toBe("a = b");
  });
});

describe("forms of a secret that a server may echo", () => {
  it.each([
    "p%40ss+w0rd%21%2F%3A",
    "p%40ss+w0rd!%2F%3A",
    "p%40ss%20w0rd!%2F%3A",
    "p%40ss%20w0rd%21%2F%3A",
  ])("masks %s", (form) => {
    const redactor = new Redactor();
    redactor.learn("p@ss w0rd!/:");
    expect(redactor.scrub(`535 ${form} refused`)).toBe("535 *** refused");
  });
});
