/**
 * Messages there and back: what two independent parsers find in a composed message is what the
 * request said, and what they find in the message that nodemailer makes of the same request, but
 * for the differences that are listed here, each with the reason why ours is right.
 */
import fc from "fast-check";
import { createTransport } from "nodemailer";
import type Mail from "nodemailer/lib/mailer";
import { afterAll, describe, expect, test } from "vitest";
import { type ComposeOptions, compose } from "../../lib/message/compose.ts";
import { plainText } from "../../lib/message/plain-text.ts";
import { type MailRequest, parseRequest } from "../../lib/message/schema.ts";
import {
  type Case,
  CORPUS,
  type Difference,
  differences,
  type Input,
  PARSERS,
  type ParserName,
  parse,
  REFUSED,
  type Reading,
  wanted,
} from "./corpus.ts";
import { octetsOf, unsound } from "./support.ts";

const SHOP = { address: "shop@example.com", name: "Shop" };
const OPTIONS = {
  from: SHOP,
  sender: SHOP,
  date: new Date("2025-07-01T10:00:00Z"),
  messageId: "<fixed@example.com>",
  htmlToText: plainText,
} satisfies ComposeOptions;
const GIVEN = { from: SHOP, date: OPTIONS.date.toISOString(), messageId: OPTIONS.messageId };

/** As the functions compose it. */
async function ours(input: object): Promise<Buffer> {
  const result = parseRequest(input);
  if (!result.ok) throw new Error(`refused: ${JSON.stringify(result.issues)}`);
  const { content } = await compose(result.request, OPTIONS);
  const message = await octetsOf(content);
  expect(unsound(message, content.size)).toEqual([]);
  return message;
}

type Several = Input["to"];
type Addresses = (string | Mail.Address)[];
const list = (mailboxes: Several): Addresses =>
  ([] as Addresses).concat((mailboxes ?? []) as Mail.Address);

/** The same request in nodemailer's words: wherever it has an option of its own, that one. */
function translated(input: Input): Mail.Options {
  const from = input.from ?? SHOP;
  const sender = (typeof from === "string" ? from : from.address).includes(SHOP.address);
  const { url, mailto, oneClick } = input.listUnsubscribe ?? {};
  const unsubscribe = [url, mailto && `mailto:${mailto}`].filter((uri) => uri !== undefined);
  if (input.raw !== undefined) {
    return { raw: Buffer.from(input.raw, "base64"), envelope: { from: "a@b.cd", to: "e@f.gh" } };
  }
  return {
    from,
    ...(!sender && { sender: SHOP }),
    to: list(input.to),
    cc: list(input.cc),
    bcc: list(input.bcc),
    replyTo: list(input.replyTo),
    subject: input.subject,
    text: input.text,
    html: input.html,
    attachments: (input.attachments ?? []).map(({ filename, contentType, contentId, content }) => ({
      filename,
      contentType,
      cid: contentId,
      content: Buffer.from(content, "base64"),
    })),
    headers: {
      ...input.headers,
      ...(oneClick && { "List-Unsubscribe-Post": "List-Unsubscribe=One-Click" }),
    },
    ...(unsubscribe.length > 0 && { list: { unsubscribe: [unsubscribe as Mail.ListHeader[]] } }),
    inReplyTo: input.inReplyTo,
    references: [...(input.references ?? [])],
    messageId: input.messageId ?? OPTIONS.messageId,
    date: input.date === undefined ? OPTIONS.date : new Date(input.date),
    priority: input.importance,
    icalEvent: input.calendar,
  };
}

/** A transport that keeps what MailComposer made, as a transport to a server would have sent it. */
const transport = createTransport<{ message: Buffer }>({
  name: "keeper",
  version: "1",
  send: (mail, done) => {
    mail.message.build((error, message) => {
      done(error, { message: Buffer.from(message ?? "") } as never);
    });
  },
});

async function theirs(input: Input): Promise<Buffer> {
  const { message } = await transport.sendMail({ ...translated(input), xMailer: false });
  return Buffer.from(message.toString("latin1").replace(/\r?\n/g, "\r\n"), "latin1");
}

/** Case, parser, field, what is read of ours, what stands against it, and why ours is right. */
type Row = readonly [string, ParserName | "both", string, string, string, string];

const READERS = "a reader that shows no html needs a text (RFC 2046 §5.1.4)";
const NAME = "no disk of Windows takes an asterisk (RFC 2183 §2.3)";
const ATTACHED = "attached means apart from the text (RFC 2183 §2.2)";
const EIGHT_BIT = `${ATTACHED}; nor may it be sent as it is (RFC 2046 §5.2.1)`;
const DATED = "every message has From and Date (RFC 5322 §3.6)";
const IDENTIFIED = "every message should have one (RFC 5322 §3.6.4)";
const ADDRESSED = "the receiver sees to whom it was (RFC 5322 §3.6.3)";
const BLIND = "what was blind stays blind (RFC 5322 §3.6.3)";
const NUL = "a text holds no NUL, readers stop at it (RFC 2045 §2.7)";
const NOBODY = "a group that says nothing (RFC 5322 A.1.3), to nobody looks like spam";
const LITERAL = "text that was given is shown as given (RFC 2047 §5, §6.2)";
const BLANK = "no folded line is white space alone (RFC 5322 §3.2.2)";
const THREAD = "the parent is part of the thread (RFC 5322 §3.6.4)";
const IMPORTANCE = "in lower case, as registered (RFC 2156 §5.3.4)";
const PRIORITY = "the number is what is read; a comment is not needed (no RFC)";
const PRIVATE = "one vendor's former field (no RFC)";
const ASKED = "it was asked for, and is a value of its own (RFC 2156 §5.3.4)";

/** One is what is read of our message, the other of nodemailer's. */
const BESIDE_NODEMAILER: readonly Row[] = [
  ["html alone", "both", "text", "Hello, world <https://example.com/>.", "", READERS],
  ["html alone with two inline images", "both", "text", "x", "", READERS],
  [
    "files without name or type",
    "both",
    "attachments",
    "attachment-1.bin|application/octet-strea…",
    "attachment-1.*|application/octet-stream|…",
    NAME,
  ],
  [
    "an attached message",
    "mailparser",
    "text",
    "see below",
    'see below\\n\\n\\nFrom: \\"Carol\\" <c@exampl…',
    ATTACHED,
  ],
  [
    "an attached message",
    "both",
    "attachments",
    "mail.eml|message/rfc822||147:b9d008b0aa2c",
    "",
    ATTACHED,
  ],
  [
    "an attached message",
    "postal-mime",
    "text",
    "see below",
    "see below\\n\\n\\n\\n-----------------------…",
    ATTACHED,
  ],
  [
    "an attached message beyond ASCII",
    "mailparser",
    "text",
    "see below",
    'see below\\n\\n\\nFrom: \\"Carol\\" <c@exampl…',
    EIGHT_BIT,
  ],
  [
    "an attached message beyond ASCII",
    "both",
    "attachments",
    "inner.data|application/octet-stream||153…",
    "",
    EIGHT_BIT,
  ],
  [
    "an attached message beyond ASCII",
    "postal-mime",
    "text",
    "see below",
    "see below\\n\\n\\n\\n-----------------------…",
    EIGHT_BIT,
  ],
  ["raw that lacks almost all", "both", "date", "2025-07-01T10:00:00.000Z", "", DATED],
  ["raw that lacks almost all", "both", "messageId", "<fixed@example.com>", "", IDENTIFIED],
  ["raw that lacks almost all", "both", "from", "Shop<shop@example.com>", "", DATED],
  ["raw that lacks almost all", "both", "to", "<a@example.net>", "", ADDRESSED],
  ["raw with Bcc", "both", "headers.bcc", "—", "hidden@example.net", BLIND],
  ["raw, 8-bit and unlabelled", "both", "date", "2025-07-01T10:00:00.000Z", "", DATED],
  ["raw, 8-bit and unlabelled", "both", "messageId", "<fixed@example.com>", "", IDENTIFIED],
  ["raw multipart", "both", "date", "2025-07-01T10:00:00.000Z", "", DATED],
  ["raw multipart", "both", "messageId", "<fixed@example.com>", "", IDENTIFIED],
  ["raw with bare line ends and dots", "both", "date", "2025-07-01T10:00:00.000Z", "", DATED],
  ["raw with bare line ends and dots", "both", "messageId", "<fixed@example.com>", "", IDENTIFIED],
  ["NUL in bodies", "both", "text", "a\ufffdb", "a\\u0000b", NUL],
  ["NUL in bodies", "both", "html", "<p>a\ufffdb</p>", "<p>a\\u0000b</p>", NUL],
  ["recipients that are all hidden", "both", "to", "undisclosed-recipients<>", "", NOBODY],
  ["an empty text beside html", "both", "text", "x", "", READERS],
  [
    "an attached message with a line of 1,200 octets",
    "mailparser",
    "text",
    "t",
    't\\n\\n\\nFrom: \\"Carol\\" <c@example.net>\\n…',
    EIGHT_BIT,
  ],
  [
    "an attached message with a line of 1,200 octets",
    "both",
    "attachments",
    "long.data|application/octet-stream||1357…",
    "",
    EIGHT_BIT,
  ],
  [
    "an attached message with a line of 1,200 octets",
    "postal-mime",
    "text",
    "t",
    "t\\n\\n\\n\\n------------------------------\\…",
    EIGHT_BIT,
  ],
  [
    "text like encoded-words",
    "both",
    "headers.x-word",
    "=?UTF-8?Q?=0D=0ABcc=3A_x?=",
    "\\r\\nBcc: x",
    LITERAL,
  ],
  [
    "text like encoded-words",
    "both",
    "subject",
    "=?UTF-8?Q?Your_bank?= =?utf-8?B?aGk=?=",
    "Your bankhi",
    LITERAL,
  ],
  [
    "text like encoded-words",
    "both",
    "from",
    "=?UTF-8?Q?CEO?=<shop@example.com>",
    "CEO<shop@example.com>",
    LITERAL,
  ],
  [
    "text like encoded-words",
    "both",
    "to",
    "=?utf-8?B?aGk=?= x<a@example.net>",
    "hi x<a@example.net>",
    LITERAL,
  ],
  [
    "subject of 2,000 spaces between two words",
    "mailparser",
    "subject",
    "a                                       …",
    "a                           b",
    BLANK,
  ],
  ["a reply to a message alone", "both", "headers.references", "<b@example.com>", "—", THREAD],
  ["high importance", "both", "headers.importance", "high", "High", IMPORTANCE],
  ["high importance", "both", "headers.x-priority", "1", "1 (Highest)", PRIORITY],
  ["high importance", "both", "headers.x-msmail-priority", "—", "High", PRIVATE],
  ["low importance", "both", "headers.importance", "low", "Low", IMPORTANCE],
  ["low importance", "both", "headers.x-priority", "5", "5 (Lowest)", PRIORITY],
  ["low importance", "both", "headers.x-msmail-priority", "—", "Low", PRIVATE],
  ["normal importance", "both", "headers.importance", "normal", "—", ASKED],
];

const DECODED = "in the message it is plain; no parameter holds encoded-words (RFC 2047 §5 rule 3)";
const TRIMMED = "it loses the space at the end of a section of the name (RFC 2231 §3)";

/** One is what is read of our message, the other what the request says: the parser is at fault. */
const BESIDE_REQUEST: readonly Row[] = [
  [
    "Chinese file names with quotes, semicolons and percent",
    "both",
    "attachments",
    "a.exe.pdf|application/pdf||6:51035ea33919",
    "=?UTF-8?Q?a.exe?=.pdf|application/pdf||6…",
    DECODED,
  ],
  [
    "file names of 200 characters",
    "mailparser",
    "attachments",
    "a ba ba ba ba ba ba ba ba ba ba ba ba ba…",
    "a ba ba ba ba ba ba ba ba ba ba ba ba ba…",
    TRIMMED,
  ],
];

function short(field: string, value: unknown): string {
  const text = Array.isArray(value) ? value.join(", ") : `${value ?? "—"}`;
  // Parsers differ in the line ends that they see at the very end.
  const shown = JSON.stringify(field === "text" || field === "html" ? text.trimEnd() : text).slice(
    1,
    -1,
  );
  const characters = [...shown];
  return characters.length <= 48 ? shown : `${characters.slice(0, 40).join("")}…`;
}

/** What was found, without the reasons; differences that both parsers see alike are one. */
function rows(name: string, found: ReadonlyMap<ParserName, readonly Difference[]>): string[] {
  const seen = new Map<string, ParserName[]>();
  for (const [parser, list] of found) {
    for (const { field, one, other } of list) {
      const row = [field, short(field, one), short(field, other)].join(" │ ");
      seen.set(row, [...(seen.get(row) ?? []), parser]);
    }
  }
  return [...seen].map(([row, parsers]) =>
    [name, parsers.length > 1 ? "both" : parsers[0], row].join(" │ "),
  );
}

const listed = (table: readonly Row[], name: string) =>
  table.filter((row) => row[0] === name).map((row) => row.slice(0, 5).join(" │ "));

afterAll(() => {
  for (const [title, table] of [
    ["Ours and nodemailer's, where they differ", BESIDE_NODEMAILER],
    ["Ours and the request, where a parser is at fault", BESIDE_REQUEST],
  ] as const) {
    const lines = table.map((row) => `  ${row.join(" │ ")}`);
    console.log([`${title} (${table.length}, of ${CORPUS.length} requests):`, ...lines].join("\n"));
  }
});

describe.each(CORPUS)("$name", (one: Case) => {
  test("is read as it was asked for", async () => {
    const [message, want] = [await ours(one.input), await wanted(one, GIVEN)];
    const found = new Map<ParserName, readonly Difference[]>();
    for (const parser of PARSERS) {
      found.set(parser, differences(await parse(parser, message), want));
    }
    expect(rows(one.name, found)).toEqual(listed(BESIDE_REQUEST, one.name));
  });

  test("is read as nodemailer's is, or better", async () => {
    const [message, other] = [await ours(one.input), await theirs(one.input)];
    const found = new Map<ParserName, readonly Difference[]>();
    for (const parser of PARSERS) {
      const [a, b] = await Promise.all([parse(parser, message), parse(parser, other)]);
      found.set(parser, differences(a, b));
    }
    expect(rows(one.name, found)).toEqual(listed(BESIDE_NODEMAILER, one.name));
  });
});

test("the corpus is large, its names are unique, and every listed difference is one of it", () => {
  const names = CORPUS.map(({ name }) => name);
  expect(names.length).toBeGreaterThanOrEqual(60);
  expect(new Set(names).size).toBe(names.length);
  for (const [name] of [...BESIDE_NODEMAILER, ...BESIDE_REQUEST]) expect(names).toContain(name);
});

describe("a request that would say two things is refused", () => {
  test.each(Object.entries(REFUSED))("%s", (_what, fields) => {
    expect(parseRequest({ to: "a@example.net", ...fields })).toMatchObject({ ok: false });
  });
});

/** By way of octets, where a lone surrogate has no place: each becomes U+FFFD. */
const wellFormed = (text: string) => Buffer.from(text).toString();

/**
 * Any Unicode of one line, but for U+FEFF, which a parser takes for a mark of byte order wherever
 * an encoded-word begins with it; and what has a meaning to somebody on the way.
 */
const line = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        "我是标题，",
        "日本語の件名",
        "🎉👨‍👩‍👧‍👦",
        "שלום",
        "مرحبا",
        "e\u0301",
        "\u2028",
        "\ud83c",
        "word ",
        "=?UTF-8?Q?x?=",
        "=?utf-8?B?aGk=?= ",
        "?=",
        '"',
        "\\",
        ", ",
        " <evil@example.org>",
        "; ",
        "'",
        "%0D%0A",
        "%",
        "=",
        "(",
        ")",
        "x".repeat(300),
      ),
      fc.string({ unit: "grapheme", maxLength: 12 }),
      fc.string({ unit: "binary", maxLength: 12 }),
    ),
    { minLength: 1, maxLength: 10 },
  )
  .map((pieces) => pieces.join("").replace(/[\p{Cc}\ufeff]/gu, ""))
  .filter((text) => text.trim() !== "");

/**
 * File names without what both parsers get wrong: they look for encoded-words where none may be
 * (RFC 2047 §5), and one of them takes the spaces off each section of a name (RFC 2231 §3).
 */
const filename = line
  .map((text) => `${text.replace(/=\?|\s/gu, "").slice(0, 100)}.pdf`)
  .filter((text) => text !== ".pdf");

test("any Unicode in subjects, names, file names and header values comes back from both", async () => {
  await fc.assert(
    fc.asyncProperty(line, line, filename, line, async (subject, name, file, value) => {
      const input = (text: (given: string) => string): Input => ({
        to: [{ name: text(name).trim(), address: "a@example.net" }, "b@example.net"],
        subject: text(subject),
        text: "t\n",
        headers: { "X-Custom": text(value) },
        attachments: [
          { filename: text(file), contentType: "application/pdf", content: "JVBERg==" },
        ],
      });
      const message = await ours(input((given) => given));
      const want = await wanted({ name: "", input: input(wellFormed) }, GIVEN);
      for (const parser of PARSERS) {
        expect([parser, differences(await parse(parser, message), want)]).toEqual([parser, []]);
      }
    }),
    { numRuns: 500 },
  );
});

/** The same with line ends and controls, and fields that would begin behind them. */
const hostile = fc
  .array(
    fc.oneof(
      line,
      fc.constantFrom(
        "\r\nBcc: evil@example.org",
        "\nX-Injected: 1",
        "\rCc: evil@example.org\r",
        "\r\n\r\n<b>body</b>",
        "\r\n X-Injected: 1",
        "\u0085X-Injected: 1",
        "\v\f\0",
        "\t",
      ),
    ),
    { minLength: 1, maxLength: 4 },
  )
  .map((pieces) => pieces.join(""));

const names = (message: Buffer) =>
  new Set(
    message
      .toString("latin1")
      .split("\r\n\r\n")[0]
      ?.match(/^[^\s:]+(?=:)/gm),
  );

test("a header that a value could have injected never appears, with the schema or without", async () => {
  const plain = names(
    await ours({
      to: "a@example.net",
      headers: { "X-Custom": "1" },
      attachments: [{ content: "" }],
    }),
  );
  let [refused, made] = [0, 0];
  await fc.assert(
    fc.asyncProperty(hostile, hostile, hostile, hostile, async (subject, name, file, value) => {
      const fields = {
        to: [{ name, address: "a@example.net" }],
        subject,
        text: "t",
        headers: { "X-Custom": value },
        attachments: [{ filename: file.slice(0, 255), contentType: "a/b", content: "AAAA" }],
      };
      if (!parseRequest(fields).ok) refused += 1;
      // Behind the schema's back: what composes has no more trust in values than it.
      const request: MailRequest = { ...fields, partial: "accept" };
      const composed = await compose(request, OPTIONS).catch((error: unknown) => error);
      if (composed instanceof TypeError) return;
      made += 1;
      if (composed instanceof Error) throw composed;
      const { content } = composed as Awaited<ReturnType<typeof compose>>;
      const message = await octetsOf(content);
      expect(names(message)).toEqual(plain);
      for (const parser of PARSERS) expectNothingMore(await parse(parser, message));
    }),
    { numRuns: 300 },
  );
  // Both ways are taken.
  expect(refused).toBeGreaterThan(100);
  expect(made).toBeGreaterThan(100);
});

function expectNothingMore(reading: Reading): void {
  expect(Object.keys(reading.headers)).toEqual(["x-custom"]);
  expect(reading).toMatchObject({ from: [SHOP], sender: [], cc: [], replyTo: [] });
  expect(reading.text.trimEnd()).toBe("t");
  expect(reading.to.map(({ address }) => address)).toEqual(["a@example.net"]);
  expect(reading.attachments.map(({ type }) => type)).toEqual(["a/b"]);
  expect([reading.date, reading.messageId]).toEqual([GIVEN.date, GIVEN.messageId]);
}
