import PostalMime from "postal-mime";
import { describe, expect, test } from "vitest";
import { type ComposeOptions, compose } from "../../lib/message/compose.ts";
import type { MailRequest } from "../../lib/message/schema.ts";
import type { Content } from "../../lib/smtp/data.ts";

const box = (address: string, name?: string) => ({
  address,
  smtputf8: /[^ -~]/.test(address),
  ...(name === undefined ? {} : { name }),
});

const OPTIONS: ComposeOptions = {
  from: box("shop@example.com", "Shop"),
  date: new Date("2025-07-01T10:00:00Z"),
  messageId: "<fixed.1@example.com>",
};

function request(fields: Partial<MailRequest> = {}): MailRequest {
  return {
    to: [box("a@example.com")],
    subject: "Hi",
    text: "Hello\r\n",
    partial: "accept",
    ...fields,
  };
}

async function octetsOf(content: Content): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content.open()) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

/** Composes, and holds every message to what all of them owe the wire. */
async function wire(fields: Partial<MailRequest> = {}, options: Partial<ComposeOptions> = {}) {
  const { content, messageId } = await compose(request(fields), { ...OPTIONS, ...options });
  const octets = await octetsOf(content);
  const text = octets.toString("utf8");
  expect(octets.length).toBe(content.size);
  expect(text.replaceAll("\r\n", "")).not.toMatch(/[\r\n\0]/);
  expect(text.endsWith("\r\n")).toBe(true);
  for (const line of text.split("\r\n")) expect(Buffer.byteLength(line)).toBeLessThanOrEqual(998);
  expect(content.eightBit).toBe(octets.some((octet) => octet > 127));
  const header = text.slice(0, text.indexOf("\r\n\r\n") + 2);
  return {
    octets,
    text,
    header,
    content,
    messageId,
    unfolded: header.replace(/\r\n(?=[ \t])/g, ""),
  };
}

const parse = (octets: Uint8Array) => PostalMime.parse(octets);
const base64 = (text: string) => Buffer.from(text).toString("base64");

describe("header fields", () => {
  test("Date, Message-ID and MIME-Version are there; Bcc is not", async () => {
    const { unfolded } = await wire({ bcc: [box("secret@example.com")] });
    expect(unfolded).toContain("Date: Tue, 01 Jul 2025 10:00:00 +0000\r\n");
    expect(unfolded).toContain("Message-ID: <fixed.1@example.com>\r\n");
    expect(unfolded.match(/^MIME-Version: 1\.0$/gm)).toHaveLength(1);
    expect(unfolded).not.toMatch(/bcc|secret/i);
  });

  test("the request's own Date and Message-ID come first", async () => {
    const { unfolded, messageId } = await wire({
      messageId: "<mine@example.com>",
      date: "2020-02-03T04:05:06.000Z",
    });
    expect(messageId).toBe("<mine@example.com>");
    expect(unfolded).toContain("Message-ID: <mine@example.com>\r\n");
    expect(unfolded).toMatch(/^Date: Mon, 0?3 Feb 2020 04:05:06 \+0000$/m);
  });

  test("a long Chinese subject is folded at character bounds", async () => {
    const subject = "我是标题，日本語の件名🎉".repeat(60);
    const { octets, header } = await wire({ subject });
    expect((await parse(octets)).subject).toBe(subject);
    for (const line of header.split("\r\n")) expect(line.length).toBeLessThanOrEqual(76);
    const words = header.match(/=\?UTF-8\?B\?[^?]*\?=/g) ?? [];
    expect(words.length).toBeGreaterThan(20);
    for (const word of words) {
      const decoded = Buffer.from(word.slice(10, -2), "base64");
      expect(Buffer.from(decoded.toString("utf8"))).toEqual(decoded);
    }
  });

  test("10,000 characters without a space stay within the line limit", async () => {
    const subject = "x".repeat(10_000);
    const { octets, unfolded } = await wire({ subject, headers: { "X-Long": subject } });
    expect((await parse(octets)).subject).toBe(subject);
    const words = /^X-Long: (.*)$/m.exec(unfolded)?.[1]?.split(" ") ?? [];
    expect(words.map((word) => /^=\?UTF-8\?Q\?(x+)\?=$/.exec(word)?.[1]).join("")).toBe(subject);
  });

  test("what looks like an encoded-word is shown as it was given", async () => {
    const subject = "=?UTF-8?Q?Your_bank?= =?utf-8?B?aGk=?=";
    const { octets } = await wire({ subject, from: box("a@example.com", "=?UTF-8?Q?CEO?=") });
    const parsed = await parse(octets);
    expect(parsed.subject).toBe(subject);
    expect(parsed.from?.name).toBe("=?UTF-8?Q?CEO?=");
  });

  test("names that could read as addresses stay names", async () => {
    const name = 'A, B "x" <evil@example.org>; \\';
    const { octets } = await wire({ to: [box("a@example.com", name), box('"x, y"@example.com')] });
    expect((await parse(octets)).to).toEqual([
      { name, address: "a@example.com" },
      expect.objectContaining({ address: expect.stringContaining("x, y") }),
    ]);
  });

  test("1,000 recipients fold", async () => {
    const to = Array.from({ length: 1000 }, (_, i) => box(`user${i}@example.com`, `用户 ${i}`));
    const { octets, header } = await wire({ to });
    expect((await parse(octets)).to).toEqual(to.map(({ name, address }) => ({ name, address })));
    for (const line of header.split("\r\n")) expect(line.length).toBeLessThanOrEqual(76);
  });

  test("a message to hidden recipients alone names nobody", async () => {
    const { unfolded } = await wire({ to: [], bcc: [box("secret@example.com")] });
    expect(unfolded).toContain("To: undisclosed-recipients:;\r\n");
  });

  test("Sender stands only where From is another", async () => {
    const sender = box("shop@example.com");
    expect((await wire({}, { sender })).header).not.toContain("Sender:");
    const { unfolded } = await wire({ from: box("sales@example.com") }, { sender });
    expect(unfolded).toContain("From: sales@example.com\r\n");
    expect(unfolded).toContain("Sender: shop@example.com\r\n");
  });

  test("threading, unsubscribing, importance, replies, custom fields", async () => {
    const { unfolded } = await wire(
      {
        replyTo: [box("r@example.com", "R")],
        inReplyTo: "<b@example.com>",
        references: ["<a@example.com>"],
        importance: "high",
        listUnsubscribe: {
          url: "https://example.com/u?x=1",
          mailto: "u@example.com",
          oneClick: true,
        },
        headers: { "X-Campaign": "42  is\tit" },
      },
      { autoSubmitted: true },
    );
    expect(unfolded).toContain("Reply-To: R <r@example.com>\r\n");
    expect(unfolded).toContain("In-Reply-To: <b@example.com>\r\n");
    expect(unfolded).toContain("References: <a@example.com> <b@example.com>\r\n");
    expect(unfolded).toContain("Importance: high\r\nX-Priority: 1\r\n");
    expect(unfolded).toContain(
      "List-Unsubscribe: <https://example.com/u?x=1>, <mailto:u@example.com>\r\n",
    );
    expect(unfolded).toContain("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
    expect(unfolded).toContain("Auto-Submitted: auto-generated\r\n");
    expect(unfolded).toContain("X-Campaign: ");
    expect((await wire()).unfolded).not.toMatch(/^(Auto-Submitted|Importance|List-)/m);
  });

  test.each([
    ["a name", { "X-A\r\nBcc: b@example.com\r\nX-B": "1" }],
    ["a colon in a name", { "Bcc: b@example.com": "1" }],
  ])("%s that would begin another field is refused", async (_what, headers) => {
    await expect(compose(request({ headers }), OPTIONS)).rejects.toThrow(TypeError);
  });

  test("a message-id that would begin another field is refused", async () => {
    const options = { ...OPTIONS, messageId: "<a@b>\r\nBcc: b@example.com" };
    await expect(compose(request(), options)).rejects.toThrow(TypeError);
  });

  test("only a local part beyond ASCII makes the header UTF-8", async () => {
    const plain = await wire({ to: [box("b@xn--fsqu00a.xn--0zwm56d", "李雷")] });
    expect(plain.content).toMatchObject({ utf8Header: false, eightBit: false });
    const utf8 = await wire({ to: [box("δοκιμή@xn--fsqu00a.xn--0zwm56d", "李雷")] });
    expect(utf8.content).toMatchObject({ utf8Header: true, eightBit: true });
    expect(utf8.header).toContain("<δοκιμή@xn--fsqu00a.xn--0zwm56d>");
    expect(utf8.header).not.toContain("李雷");
  });
});

describe("structure", () => {
  test("text and html are alternatives, an inline image is related, a file is mixed in", async () => {
    const { octets, text } = await wire({
      text: "你好",
      html: '<p>你好 <img src="cid:logo"></p>',
      attachments: [
        { filename: "报告 €.pdf", content: base64("%PDF") },
        { filename: "logo.png", contentId: "logo", content: base64("PNG") },
      ],
    });
    const order = ["multipart/mixed", "multipart/alternative", "multipart/related"];
    const at = order.map((type) => text.indexOf(`Content-Type: ${type}`));
    expect(at[0]).toBeGreaterThan(0);
    expect(at).toEqual([...at].sort((a, b) => a - b));
    const parsed = await parse(octets);
    expect(parsed.text?.trim()).toBe("你好");
    expect(parsed.html?.trim()).toBe('<p>你好 <img src="cid:logo"></p>');
    const files = parsed.attachments.map(
      ({ filename, mimeType, contentId, disposition, content }) => ({
        filename,
        mimeType,
        contentId,
        disposition,
        content: Buffer.from(content as ArrayBuffer).toString(),
      }),
    );
    expect(files).toEqual([
      {
        filename: "logo.png",
        mimeType: "image/png",
        contentId: "<logo>",
        disposition: "inline",
        content: "PNG",
      },
      {
        filename: "报告 €.pdf",
        mimeType: "application/pdf",
        contentId: undefined,
        disposition: "attachment",
        content: "%PDF",
      },
    ]);
  });

  test("a calendar is an alternative with its method, and a file", async () => {
    const content = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nSUMMARY:会议\nEND:VCALENDAR\n";
    const { octets, text } = await wire({ calendar: { method: "REQUEST", content } });
    expect(text).toMatch(/^Content-Type: text\/calendar; charset=utf-8; method=REQUEST\r$/m);
    const { attachments } = await parse(octets);
    expect(attachments.map(({ filename, mimeType }) => [filename, mimeType])).toContainEqual([
      "invite.ics",
      "application/ics",
    ]);
    const file = base64(content.replaceAll("\n", "\r\n")).replace(/.{76}/g, "$&\r\n");
    expect(text).toContain(`\r\n\r\n${file}\r\n--`);
  });

  test("the text part is made of the html where only html is given", async () => {
    const htmlToText = async (html: string) => html.replace(/<[^>]+>/g, "").toUpperCase();
    const fields = { text: undefined, html: "<b>hi</b>" } as unknown as Partial<MailRequest>;
    const made = await parse((await wire(fields, { htmlToText })).octets);
    expect(made.text?.trim()).toBe("HI");
    const given = await parse(
      (await wire({ text: "own", html: "<b>hi</b>" }, { htmlToText })).octets,
    );
    expect(given.text?.trim()).toBe("own");
  });

  test.each([
    ["dots at line starts", ".\n..\n.x\n"],
    ["bare CR and LF", "a\rb\nc\r\nd"],
    ["trailing spaces", "a  \nb\t\n-- \n"],
    ["no final newline", "a"],
    ["a long line", `${"x".repeat(5000)}\n`],
    ["a long Chinese line", `${"汉".repeat(5000)}\n`],
    ["an equals sign", "a=3D b=\n"],
    ["blank lines", "\n\n\na\n\n"],
  ])("a body with %s comes back", async (_what, text) => {
    const { octets } = await wire({ text });
    const expected = text.replace(/\r\n|\r|\n/g, "\n");
    expect((await parse(octets)).text?.replaceAll("\r\n", "\n").trimEnd()).toBe(expected.trimEnd());
    // Between boundaries nothing is added or lost at the end either; where the part is not base64
    // the parser adds one line end.
    const mixed = await wire({ text, attachments: [{ filename: "a.bin", content: "AAAA" }] });
    const inner = (await parse(mixed.octets)).text?.replaceAll("\r\n", "\n") ?? "";
    const isBase64 = /utf-8\r\nContent-Transfer-Encoding: base64/.test(mixed.text);
    expect(inner).toBe(isBase64 ? expected : `${expected}\n`);
  });

  test("white space at line ends is written so that no relay can drop it", async () => {
    expect((await wire({ text: "a  \nb\n" })).text).toMatch(/a =20\r\n/);
  });

  test("an empty html or text beside another is not given at all", async () => {
    const blank = await wire({ text: "seen", html: "" });
    expect(blank.text).not.toContain("multipart");
    expect((await parse(blank.octets)).text?.trim()).toBe("seen");
    const { text } = await wire({ text: "", html: "<p>x</p>" });
    expect(text).not.toContain("text/plain");
    const htmlToText = () => "made";
    const made = await wire({ text: "", html: "<p>x</p>" }, { htmlToText });
    expect((await parse(made.octets)).text?.trim()).toBe("made");
  });

  test("an attachment without name or type gets a name that any disk takes", async () => {
    const { octets } = await wire({
      attachments: [
        { content: "AAAA" },
        { content: "AAAA", contentType: "application/octet-stream" },
        { content: "AAAA", contentType: "image/png" },
      ],
    });
    expect((await parse(octets)).attachments.map(({ filename }) => filename)).toEqual([
      "attachment-1.bin",
      "attachment-2.bin",
      "attachment-3.png",
    ]);
  });

  test("an empty message has a body", async () => {
    const { octets, text } = await wire({ text: "" });
    expect(text.endsWith("\r\n\r\n")).toBe(true);
    expect((await parse(octets)).text?.trim() ?? "").toBe("");
  });

  test("NUL and lone surrogates are made visible", async () => {
    const { octets } = await wire({ text: "a\0b\ud800c", subject: "s" });
    expect((await parse(octets)).text?.trim()).toBe("a\ufffdb\ufffdc");
  });

  test("the same input gives the same octets; another Message-ID another boundary", async () => {
    const fields = { html: "<p>x</p>", attachments: [{ filename: "a.bin", content: "AAAA" }] };
    const first = await wire(fields);
    expect((await wire(fields)).octets.equals(first.octets)).toBe(true);
    const other = await wire(fields, { messageId: "<fixed.2@example.com>" });
    const boundary = (text: string) => /boundary="([^"]+)"/.exec(text)?.[1];
    expect(boundary(other.text)).not.toBe(boundary(first.text));
  });

  test("a text that quotes the message it stands in does not end its part", async () => {
    const inner = await wire({ html: "<p>x</p>" });
    const { octets } = await wire({ text: inner.text, html: "<p>x</p>" });
    expect((await parse(octets)).text?.trim()).toBe(inner.text.replaceAll("\r\n", "\n").trim());
  });
});
