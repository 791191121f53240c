import PostalMime from "postal-mime";
import { describe, expect, test } from "vitest";
import { type ComposeOptions, compose } from "../../lib/message/compose.ts";
import { parseRaw } from "../../lib/message/raw.ts";
import type { MailRequest } from "../../lib/message/schema.ts";

const OPTIONS = {
  from: { address: "shop@example.com", name: "Shop" },
  date: new Date("2025-07-01T10:00:00Z"),
  messageId: "<fixed@example.com>",
} as ComposeOptions;

const FULL = [
  "From: Author <author@example.com>",
  "To: a@example.com",
  "Subject: x",
  "Date: Mon, 30 Jun 2025 09:00:00 +0200",
  "Message-ID: <own@example.com>",
].join("\r\n");

const base64 = (text: string | Uint8Array) => Buffer.from(text).toString("base64");

async function send(text: string | Uint8Array, fields: Partial<MailRequest> = {}) {
  const request = { raw: base64(text), partial: "accept", ...fields } as MailRequest;
  const { content, messageId } = await compose(request, OPTIONS);
  const pieces: Uint8Array[] = [];
  for await (const piece of content.open()) pieces.push(piece);
  const octets = Buffer.concat(pieces);
  expect(octets.length).toBe(content.size);
  return { octets, text: octets.toString(), content, messageId };
}

/** The one reason why a message is refused. */
function reason(text: string | Uint8Array): string {
  const result = parseRaw(base64(text));
  return result.ok ? "" : result.reasons.join("\n");
}

function read(text: string) {
  const result = parseRaw(base64(text));
  if (!result.ok) throw new Error(result.reasons.join("\n"));
  const { from, sender, recipients } = result.value;
  return {
    from: from.map(({ address }) => address),
    sender: sender.map(({ address }) => address),
    recipients: recipients.ok ? recipients.value.map(({ address }) => address) : recipients.reason,
  };
}

describe("what is there stays", () => {
  test("a whole message goes octet for octet", async () => {
    const given = `X-Odd:\tkept  as\r\n\tit is \r\n${FULL}\r\nx-lower: 1\r\n\r\n.dot\r\n\r\ntrailing  \r\n`;
    const { text, messageId, content } = await send(given);
    expect(text).toBe(given);
    expect(messageId).toBe("<own@example.com>");
    expect(content).toMatchObject({ eightBit: false, utf8Header: false });
  });

  test("line ends become CRLF, a last one is added", async () => {
    const { text } = await send(`${FULL.replaceAll("\r\n", "\n")}\n\na\rb\nc`);
    expect(text).toBe(`${FULL}\r\n\r\na\r\nb\r\nc\r\n`);
  });
});

describe("what is missing is added", () => {
  test("all five fields", async () => {
    const { text, messageId } = await send("X: 1\r\n\r\nbody\r\n", {
      to: [{ address: "to@example.com", name: "李" }] as MailRequest["to"],
    });
    const header = text.slice(0, text.indexOf("\r\n\r\n") + 2);
    expect(header.startsWith("X: 1\r\n")).toBe(true);
    expect(header).toContain("From: Shop <shop@example.com>\r\n");
    expect(header).toContain("To: =?UTF-8?B?5p2O?= <to@example.com>\r\n");
    expect(header).toMatch(/^Subject: ?\r$/m);
    expect(header).toMatch(/^Date: Tue, 0?1 Jul 2025 10:00:00 \+0000\r$/m);
    expect(header).toContain("Message-ID: <fixed@example.com>\r\n");
    expect(messageId).toBe("<fixed@example.com>");
    expect(text.endsWith("\r\n\r\nbody\r\n")).toBe(true);
  });

  test("a blank From, Date or Message-ID is a missing one", async () => {
    const given = "From:\r\nDate: \r\nMessage-ID:\r\nTo: a@example.com\r\n\r\nx";
    const { text } = await send(given);
    expect(text.match(/^From:/gm)).toHaveLength(1);
    expect(text.match(/^Date:/gm)).toHaveLength(1);
    expect(text.match(/^Message-ID:/gm)).toHaveLength(1);
    expect(text).toContain("From: Shop <shop@example.com>");
  });

  test("MIME-Version where Content-* would mean nothing without it", async () => {
    const typed = await send(`${FULL}\r\nContent-Type: text/html\r\n\r\n<p>x</p>`);
    expect(typed.text.match(/^MIME-Version: 1\.0\r$/gm)).toHaveLength(1);
    const twice = await send(`${FULL}\r\nmime-version: 1.0\r\nContent-Type: text/html\r\n\r\nx`);
    expect(twice.text.match(/^mime-version:/gim)).toHaveLength(1);
  });

  test("8-bit text is given its charset", async () => {
    const { octets, content } = await send(`${FULL}\r\n\r\n你好\r\n`);
    expect(content).toMatchObject({ eightBit: true, utf8Header: false });
    expect((await PostalMime.parse(octets)).text?.trim()).toBe("你好");
    expect(octets.toString()).toContain("Content-Transfer-Encoding: 8bit\r\n");
    const latin1 = await send(Buffer.from(`${FULL}\r\n\r\n\xe9\r\n`, "latin1"));
    expect(latin1.octets.toString("latin1")).not.toContain("charset");
  });

  test("a message of a header alone gets its empty line", async () => {
    expect((await send(FULL)).text).toBe(`${FULL}\r\n\r\n`);
    expect((await send(`${FULL}\r\n`)).text).toBe(`${FULL}\r\n\r\n`);
  });

  test("a message of a body alone gets a header", async () => {
    const { text } = await send("\r\nonly body\r\n", {
      to: [{ address: "a@example.com" }] as never,
    });
    expect(text.startsWith("From: Shop <shop@example.com>\r\n")).toBe(true);
    expect(text.endsWith("\r\n\r\nonly body\r\n")).toBe(true);
  });
});

describe("Bcc goes", () => {
  test.each([
    ["plain", "Bcc: secret@example.com"],
    ["in any case", "bCC: secret@example.com"],
    ["folded", "Bcc: x@example.com,\r\n\tsecret@example.com,\r\n  secret2@example.com"],
    ["with a space before the colon", "Bcc \t: secret@example.com"],
    ["resent", "Resent-Bcc: secret@example.com"],
    ["after a bare CR", "X: 1\rBcc: secret@example.com"],
    ["after a bare LF", "X: 1\nBcc: secret@example.com"],
    ["several times", "Bcc: secret@example.com\r\nX: 1\r\nBcc: secret@example.com"],
  ])("%s", async (_what, field) => {
    for (const given of [`${field}\r\n${FULL}\r\n\r\nb\r\n`, `${FULL}\r\n${field}\r\n\r\nb\r\n`]) {
      const { text } = await send(given);
      expect(text).not.toMatch(/bcc|secret/i);
      for (const line of FULL.split("\r\n")) expect(text).toContain(`${line}\r\n`);
    }
  });

  test("a body that speaks of Bcc is left alone", async () => {
    expect((await send(`${FULL}\r\n\r\nBcc: hello\r\n`)).text).toContain("\r\n\r\nBcc: hello\r\n");
  });
});

describe("who it is from and to", () => {
  test("every address is told, names and groups and comments aside", () => {
    const header = [
      'From: "B, A" <a@example.com>, (x) b@EXAMPLE.com',
      "Sender: s@example.com",
      "To: Group: c@example.com,\r\n d@example.com;",
      "Cc: e@example.com",
      "Bcc : f@example.com",
    ];
    expect(read(`${header.join("\r\n")}\r\n\r\n`)).toEqual({
      from: ["a@example.com", "b@example.com"],
      sender: ["s@example.com"],
      recipients: expect.arrayContaining([..."cdef"].map((local) => `${local}@example.com`)),
    });
  });

  test("no recipients are no fault; the request may have them", () => {
    expect(read("From: a@example.com\r\nTo: undisclosed-recipients:;\r\n\r\n").recipients).toEqual(
      [],
    );
  });

  test("Sender is added where From is not the mailbox's own", async () => {
    const sender = { address: "shop@example.com" } as NonNullable<ComposeOptions["sender"]>;
    const request = { raw: base64(`${FULL}\r\n\r\n`), partial: "accept" } as MailRequest;
    const { content } = await compose(request, { ...OPTIONS, sender });
    const [octets] = content.open() as Iterable<Uint8Array>;
    expect(Buffer.from(octets as Uint8Array).toString()).toContain("Sender: shop@example.com\r\n");
  });

  test("raw UTF-8 in the header needs SMTPUTF8", async () => {
    const { content } = await send("From: 李 <a@example.com>\r\nTo: b@example.com\r\n\r\nx");
    expect(content).toMatchObject({ utf8Header: true, eightBit: true });
  });
});

describe("refused, with the reason", () => {
  test.each<[string, string | Uint8Array, RegExp]>([
    ["several From", `From: a@example.com\r\n${FULL}\r\n\r\n`, /several From/],
    ["several Sender", `Sender: a@b.cd\r\nSender: e@f.gh\r\n${FULL}\r\n\r\n`, /several Sender/],
    ["several Subject", `subject: y\r\n${FULL}\r\n\r\n`, /several Subject/],
    ["From that names nobody", "From: undisclosed:;\r\n\r\n", /From names no address/],
    ["From that cannot be read", "From: a@\r\n\r\n", /From cannot be read/],
    ["NUL", `${FULL}\r\n\r\na\0b`, /NUL/],
    ["a header line too long", `X: ${"x".repeat(996)}\r\n${FULL}\r\n\r\n`, /line 1 exceeds 998/],
    ["a body line too long", `${FULL}\r\n\r\n${"x".repeat(999)}`, /body exceeds 998/],
    ["no header field", `${FULL}\r\nhello world\r\n\r\n`, /line 6 is no header field/],
    ["text alone", "hello world", /line 1 is no header field/],
    ["a continuation first", ` x\r\n${FULL}\r\n\r\n`, /line 1 continues/],
    ["a blank folded line", `X: 1\r\n \t\r\n${FULL}\r\n\r\n`, /line 2 is white space alone/],
    ["a space before the colon", "From : a@example.com\r\n\r\n", /white space before its colon/],
    ["octets that are not UTF-8", Buffer.from("X: \xe9\r\n\r\n", "latin1"), /UTF-8/],
    ["a control character", "X: a\u0007b\r\n\r\n", /control/],
    ["nothing", "", /empty/],
  ])("%s", (_what, text, expected) => {
    expect(reason(text)).toMatch(expected);
  });

  test("998 octets are within the limit", () => {
    const line = "x".repeat(998);
    expect(reason(`X: ${"x".repeat(995)}\r\n${FULL}\r\n\r\n${line}\r\n`)).toBe("");
  });

  test("the list of reasons has an end, and repeats nothing of the message", () => {
    const text = reason("secret words\r\n".repeat(5000));
    expect(text.split("\n").length).toBeLessThanOrEqual(20);
    expect(text).not.toContain("secret");
  });

  test("the line that an mbox file begins with is taken off", async () => {
    const { text } = await send(`From a@example.com Tue Jul  1 10:00:00 2025\n${FULL}\n\nx\n`);
    expect(text).toBe(`${FULL}\r\n\r\nx\r\n`);
  });
});
