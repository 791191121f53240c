import fc from "fast-check";
import PostalMime from "postal-mime";
import { describe, expect, it } from "vitest";
import { addressField, assertFields, textField, tokenField } from "../../lib/message/header.ts";

const text = fc.string({
  unit: fc.oneof(
    fc.constantFrom(...' a"\\=?_,.<>@:;()é李🎉', "=?utf-8?Q?x?=", "\u200f", "word ", "   "),
    fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 1 })
      .filter((unit) => !/\p{Cc}/u.test(unit)),
  ),
  maxLength: 120,
});

/** Both layers: the octets of the field, and what a receiver reads. */
async function read(field: string) {
  const mail = await PostalMime.parse(`${field}\r\n`);
  return mail;
}

function shape(field: string, name: string) {
  expect(field.endsWith("\r\n")).toBe(true);
  const lines = field.slice(0, -2).split("\r\n");
  expect(lines[0]?.startsWith(`${name}:`)).toBe(true);
  for (const [index, line] of lines.entries()) {
    expect(line).not.toMatch(/[\r\n\0]/);
    if (index > 0) expect(line).toMatch(/^ .*\S/);
    expect(Buffer.byteLength(line)).toBeLessThanOrEqual(998);
    for (const word of line.match(/=\?UTF-8\?[BQ]\?[^ ?]*\?=/g) ?? []) {
      expect(word.length).toBeLessThanOrEqual(75);
      expect(line.replace(/,$/, "").length).toBeLessThanOrEqual(76 + 260);
      // Whole characters in each: no word decodes to a broken one (RFC 2047 §5).
      expect(() => decode(word)).not.toThrow();
    }
  }
}

function decode(word: string): string {
  const [, , kind, body = ""] = word.split("?");
  if (kind === "B") {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      Buffer.from(body, "base64"),
    );
  }
  const escaped = body.replaceAll("_", " ").replace(/=([0-9A-F]{2})/g, "%$1");
  return decodeURIComponent(escaped.replace(/%(?![0-9A-F]{2})/g, "%25"));
}

describe("unstructured fields", () => {
  it.each([
    ["Hello", "Subject: Hello\r\n"],
    ["", "Subject: \r\n"],
    ["a  b", "Subject: a  b\r\n"],
    ["标题", "Subject: =?UTF-8?B?5qCH6aKY?=\r\n"],
    ["Mit besten Grüßen", "Subject: =?UTF-8?Q?Mit_besten_Gr=C3=BC=C3=9Fen?=\r\n"],
    [" x", "Subject: =?UTF-8?Q?_x?=\r\n"],
    ["=?utf-8?Q?x?= y", "Subject: =?UTF-8?B?PT91dGYtOD9RP3g/PSB5?=\r\n"],
  ])("%j", (value, field) => {
    expect(textField("Subject", value)).toBe(field);
  });

  it("folds long text before words, and never within the 76 columns of an encoded-word", () => {
    const lines = textField("Subject", "word ".repeat(50).trim()).trimEnd().split("\r\n");
    expect(lines.length).toBeGreaterThan(3);
    expect(lines.every((line) => line.length <= 76)).toBe(true);
    const encoded = textField("Subject", "我是标题🎉".repeat(2000)).trimEnd().split("\r\n");
    expect(encoded.every((line) => line.length <= 76)).toBe(true);
  });

  it("splits a word longer than a line may be", async () => {
    const field = textField("Subject", "x".repeat(10_000));
    shape(field, "Subject");
    expect((await read(field)).subject).toBe("x".repeat(10_000));
  });

  it("keeps a header with a long name within its line", () => {
    const name = `X-${"n".repeat(74)}`;
    for (const line of textField(name, "é".repeat(200)).trimEnd().split("\r\n").slice(1)) {
      expect(line.length).toBeLessThanOrEqual(76);
    }
  });

  it("are one field, whatever the text, and read as it was", async () => {
    await fc.assert(
      fc.asyncProperty(text, async (value) => {
        const field = textField("Subject", value);
        shape(field, "Subject");
        const mail = await read(field);
        expect(mail.headers.map(({ key }) => key)).toEqual(["subject"]);
        expect(mail.subject ?? "").toBe(value);
      }),
      { numRuns: 1000 },
    );
  });

  it("are one field even with controls that no request can bring", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("\r", "\n", "\0", "a", " ", "é", ":") }),
        (value) => {
          const lines = textField("X-A", value).slice(0, -2).split("\r\n");
          expect(lines.every((line, index) => index === 0 || line.startsWith(" "))).toBe(true);
          expect(lines.join("")).not.toMatch(/[\r\n\0]/);
        },
      ),
    );
  });
});

describe("address fields", () => {
  it.each([
    [[{ address: "a@b.co" }], "To: a@b.co\r\n"],
    [[{ address: "a@b.co", name: "A B" }], "To: A B <a@b.co>\r\n"],
    [[{ address: "a@b.co", name: "B, A." }], 'To: "B, A." <a@b.co>\r\n'],
    [[{ address: "a@b.co", name: 'q"\\' }], 'To: "q\\"\\\\" <a@b.co>\r\n'],
    [[{ address: "a@b.co", name: "李雷" }], "To: =?UTF-8?B?5p2O6Zu3?= <a@b.co>\r\n"],
    [[{ address: '"a, b"@c.co' }], 'To: <"a, b"@c.co>\r\n'],
    [[{ address: "a@[192.0.2.1]" }], "To: <a@[192.0.2.1]>\r\n"],
    [[{ address: "李@b.co", name: " " }], "To: 李@b.co\r\n"],
    [[{ address: "a@b.co" }, { address: "c@d.co", name: "C" }], "To: a@b.co, C <c@d.co>\r\n"],
  ])("%j", (mailboxes, field) => {
    expect(addressField("To", mailboxes)).toBe(field);
  });

  it("hold exactly the given mailboxes, whatever their names", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 4 }), async (names) => {
        const given = names.map((name, index) => ({
          name: name.trim(),
          address: `a${index}@b.co`,
        }));
        const field = addressField("To", given);
        shape(field, "To");
        const { to } = await read(field);
        expect(to?.map(({ address }) => address)).toEqual(given.map(({ address }) => address));
        expect(to?.map(({ name }) => name)).toEqual(given.map(({ name }) => name));
      }),
      { numRuns: 1000 },
    );
  });
});

describe("guards", () => {
  it("tokens stay whole and lines short", () => {
    const ids = Array.from({ length: 30 }, (_, index) => `<id-${index}@example.com>`);
    const lines = tokenField("References", ids).trimEnd().split("\r\n");
    expect(lines.every((line) => line.length <= 76)).toBe(true);
    expect(lines.join("").split(" ").slice(1)).toEqual(ids);
  });

  it("what would begin another field, or a line that relays would cut, is not handed on", () => {
    expect(() => tokenField("A", ["b\r\nBcc: c"])).toThrow(TypeError);
    expect(() => tokenField("A: b\r\nBcc", ["c"])).toThrow(TypeError);
    expect(() => addressField("To", [{ address: "a@b\r\nBcc: c" }])).toThrow(TypeError);
    expect(() => assertFields(`A: ${"x".repeat(996)}\r\n`)).toThrow(TypeError);
    expect(assertFields("A: b\r\n")).toBe("A: b\r\n");
  });
});
