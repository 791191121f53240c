import fc from "fast-check";
import PostalMime from "postal-mime";
import { expect, test } from "vitest";
import { type ComposeOptions, compose } from "../../lib/message/compose.ts";
import { parseRaw } from "../../lib/message/raw.ts";
import type { MailRequest } from "../../lib/message/schema.ts";
import { wellFormed } from "../../lib/message/text.ts";

const OPTIONS = {
  from: { address: "shop@example.com" },
  date: new Date("2025-07-01T10:00:00Z"),
  messageId: "<fixed@example.com>",
} as ComposeOptions;

/** Header fields that a message of these requests may have; the custom one has a fixed name. */
const EXPECTED = new Set([
  "from",
  "to",
  "subject",
  "date",
  "message-id",
  "x-custom",
  "mime-version",
  "content-type",
  "content-transfer-encoding",
]);

async function octetsOf(
  fields: Record<string, unknown>,
): Promise<{ octets: Buffer; size: number }> {
  const to = [{ address: "a@example.com" }];
  const request = { to, partial: "accept", ...fields } as unknown as MailRequest;
  const { content } = await compose(request, OPTIONS);
  const pieces: Uint8Array[] = [];
  for await (const piece of content.open()) pieces.push(Uint8Array.from(piece));
  return { octets: Buffer.concat(pieces), size: content.size };
}

/** Everything that no value may bring about, whatever it is. */
function expectSound(octets: Buffer, size: number): void {
  expect(octets.length).toBe(size);
  const text = octets.toString("latin1");
  expect(text).not.toMatch(/\r(?!\n)|(?<!\r)\n|\0|[\x80-\xff]/);
  for (const line of text.split("\r\n")) expect(line.length).toBeLessThanOrEqual(998);
  const header = text.slice(0, text.indexOf("\r\n\r\n"));
  const names: string[] = [];
  for (const line of header.split("\r\n")) {
    if (/^[ \t]/.test(line)) expect(line.trim()).not.toBe("");
    else names.push(/^([!-9;-~]+):/.exec(line)?.[1]?.toLowerCase() ?? line);
  }
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(EXPECTED).toContain(name);
}

/** Hostile and odd pieces, between any UTF-16 code units. */
const nasty = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        "\r\nBcc: evil@example.org",
        "\n.\r\n",
        "\r",
        "\0",
        "\u0085",
        "\u2028",
        "=?UTF-8?Q?x?=",
        "?=",
        '"',
        "\\",
        "  ",
        "\t",
        "\ud83c",
        "🎉",
        "汉字",
        "é",
        "x".repeat(1200),
        " ".repeat(1200),
        ";",
        "'",
        "%0D%0A",
      ),
      fc.string({ unit: "binary", maxLength: 20 }),
    ),
    { maxLength: 8 },
  )
  .map((parts) => parts.join(""));

test("no value can end its field, begin another, or make a line too long", async () => {
  await fc.assert(
    fc.asyncProperty(nasty, nasty, nasty, nasty, async (subject, name, value, text) => {
      const { octets, size } = await octetsOf({
        subject,
        text,
        from: { address: "a@example.com", name },
        headers: { "X-Custom": value },
      });
      expectSound(octets, size);
    }),
    { numRuns: 200 },
  );
});

test("no file name or content type can either", async () => {
  await fc.assert(
    fc.asyncProperty(
      nasty.map((name) => name.slice(0, 255)),
      async (filename) => {
        const attachments = [{ filename, content: "AAAA" }];
        const { octets, size } = await octetsOf({ text: "t", attachments });
        expectSound(octets, size);
        const parts = octets.toString().match(/^Content-[A-Za-z-]+:/gm) ?? [];
        // Two of the root, two of the text, three of the file, whatever it is called.
        expect(parts.length).toBeLessThanOrEqual(7);
        expect(octets.toString()).not.toMatch(/^Bcc/m);
      },
    ),
    { numRuns: 200, examples: [["\0"], ["a\tb\u0085"]] },
  );
});

/** Text as people write it: any script, no controls. */
const written = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        "我是标题",
        "日本語",
        "🎉👨‍👩‍👧",
        "שלום",
        "naïve",
        "a",
        "word",
        '"',
        "\\",
        "=?x?=",
        ",",
      ),
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }),
    ),
    { minLength: 1, maxLength: 30 },
  )
  .map((words) => wellFormed(words.join(" ").replace(/[\p{Cc}\u2028\u2029]/gu, "")).trim())
  .filter((text) => text !== "");

test("subjects and names come back from an independent parser", async () => {
  await fc.assert(
    fc.asyncProperty(written, written, async (subject, name) => {
      const { octets } = await octetsOf({
        subject,
        text: "t",
        to: [{ address: "a@example.com", name }, { address: "b@example.com" }],
      });
      const mail = await PostalMime.parse(octets);
      expect(mail.subject).toBe(subject);
      expect(mail.to?.map(({ address }) => address)).toEqual(["a@example.com", "b@example.com"]);
      expect(mail.to?.[0]?.name?.replace(/\s+/g, " ")).toBe(name.replace(/\s+/g, " "));
    }),
    { numRuns: 200 },
  );
});

test("bodies come back, whatever their script and line ends", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(written, fc.constantFrom("", ".", "..", "a  ", "From x", "--", "\t")), {
        minLength: 1,
        maxLength: 12,
      }),
      fc.constantFrom("\n", "\r\n", "\r"),
      async (lines, end) => {
        const { octets, size } = await octetsOf({ text: lines.join(end), html: lines.join(end) });
        expectSound(octets, size);
        const mail = await PostalMime.parse(octets);
        const expected = lines.join("\n").replace(/\n+$/, "");
        const plain = (text = "") => text.replaceAll("\r\n", "\n").replace(/\n+$/, "");
        expect(plain(mail.text)).toBe(expected);
        expect(plain(mail.html)).toBe(expected);
      },
    ),
    { numRuns: 200 },
  );
});

test("file names come back", async () => {
  await fc.assert(
    fc.asyncProperty(
      written.map((name) =>
        name
          .slice(0, 120)
          // What stands before a slash is a folder's name, and ".pdf" alone is no PDF's.
          .replace(/\p{Cs}|\//gu, "")
          .trim(),
      ),
      async (stem) => {
        const filename = `f${stem}.pdf`;
        const { octets } = await octetsOf({ attachments: [{ filename, content: "AAAA" }] });
        const mail = await PostalMime.parse(octets);
        expect(mail.attachments[0]?.filename).toBe(filename);
        expect(mail.attachments[0]?.mimeType).toBe("application/pdf");
      },
    ),
    { numRuns: 200 },
  );
});

test("attached octets come back, at hand or streamed in any pieces, as the same message", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 }),
      async (pieces) => {
        const whole = Buffer.concat(pieces);
        const inline = await octetsOf({
          text: "t",
          attachments: [{ filename: "a.bin", content: whole.toString("base64") }],
        });
        const request = {
          to: [{ address: "a@example.com" }],
          text: "t",
          attachments: [{ filename: "a.bin", s3: { bucket: "b", key: "k" } }],
          partial: "accept",
        } as unknown as MailRequest;
        const { content } = await compose(request, {
          ...OPTIONS,
          resolveAttachment: async () => ({
            size: whole.length,
            open: async function* () {
              yield* pieces;
            },
          }),
        });
        const streamed: Uint8Array[] = [];
        for await (const piece of content.open()) streamed.push(Uint8Array.from(piece));
        expect(Buffer.concat(streamed).equals(inline.octets)).toBe(true);
        expect(content.size).toBe(inline.size);
        const mail = await PostalMime.parse(inline.octets);
        expect(Buffer.from(mail.attachments[0]?.content as ArrayBuffer).equals(whole)).toBe(true);
      },
    ),
  );
});

test("any octets as a raw message are refused, or go out sound and without Bcc", async () => {
  const line = fc.oneof(
    fc.constantFrom(
      "From: a@example.com",
      "Bcc: b@example.org",
      "bcc : c@example.org",
      " folded",
      "",
      "\t",
    ),
    fc.constantFrom(
      "From: b@example.com",
      "Subject: x",
      "X",
      ":",
      "Resent-Bcc:",
      "\0",
      "Sender: s@t.uv",
    ),
    fc.string({ unit: "binary", maxLength: 30 }),
  );
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { maxLength: 10 }),
      fc.constantFrom("\r\n", "\n", "\r"),
      async (lines, end) => {
        const raw = Buffer.from(`Subject: s${end}${lines.join(end)}`).toString("base64");
        if (!parseRaw(raw).ok) return;
        accepted += 1;
        const { octets, size } = await octetsOf({ raw });
        expect(octets.length).toBe(size);
        const text = octets.toString("latin1");
        expect(text).not.toMatch(/\r(?!\n)|(?<!\r)\n|\0/);
        const header = text.slice(0, text.indexOf("\r\n\r\n"));
        expect(header).not.toMatch(/^(resent-)?bcc[ \t]*:/im);
        expect(header.match(/^from[ \t]*:/gim)).toHaveLength(1);
      },
    ),
    { numRuns: 500 },
  );
  expect(accepted).toBeGreaterThan(10);
});
