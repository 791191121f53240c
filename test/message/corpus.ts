/**
 * Requests of every structure, script and oddity, and how two parsers that share no code with the
 * composer read the messages made of them. A reading is compared with the request itself, never
 * with what the composer's own schema made of it.
 */
import { createHash } from "node:crypto";
import { domainToASCII } from "node:url";
// @ts-expect-error: the package has no types.
import * as mailparser from "mailparser";
import PostalMime, { type Address, decodeWords } from "postal-mime";
import { plainText } from "../../lib/message/plain-text.ts";

export interface Box {
  readonly name: string;
  /** The domain as A-labels: readers show either form, and it is one address (RFC 5890 §2.3.2.3). */
  readonly address: string;
}

export interface File {
  readonly filename: string;
  readonly type: string;
  readonly cid: string;
  /** Octets and the beginning of their SHA-256. */
  readonly content: string;
}

/** What a person, or a program, finds in a message. Line ends of texts are LF. */
export interface Reading {
  readonly from: readonly Box[];
  readonly sender: readonly Box[];
  readonly to: readonly Box[];
  readonly cc: readonly Box[];
  readonly replyTo: readonly Box[];
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  readonly attachments: readonly File[];
  /** Every field that is not read above, nor describes the structure, nor is a relay's. */
  readonly headers: Readonly<Record<string, string>>;
  readonly date: string;
  readonly messageId: string;
}

export type ParserName = "mailparser" | "postal-mime";
export const PARSERS: readonly ParserName[] = ["mailparser", "postal-mime"];

type MailboxInput = string | { readonly name?: string; readonly address: string };

/** The fields of a request that show in its message. */
export interface Input {
  readonly from?: MailboxInput;
  readonly to?: MailboxInput | readonly MailboxInput[];
  readonly cc?: MailboxInput | readonly MailboxInput[];
  readonly bcc?: MailboxInput | readonly MailboxInput[];
  readonly replyTo?: MailboxInput | readonly MailboxInput[];
  readonly subject?: string;
  readonly text?: string;
  readonly html?: string;
  readonly attachments?: readonly {
    readonly filename?: string;
    readonly contentType?: string;
    readonly contentId?: string;
    readonly content: string;
  }[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly inReplyTo?: string;
  readonly references?: readonly string[];
  readonly messageId?: string;
  readonly date?: string;
  readonly importance?: "high" | "normal" | "low";
  readonly listUnsubscribe?: {
    readonly url?: string;
    readonly mailto?: string;
    readonly oneClick?: boolean;
  };
  readonly calendar?: { readonly method: string; readonly content: string };
  readonly raw?: string;
}

export interface Case {
  readonly name: string;
  readonly input: Input;
  /** What is read instead of what the request says, where that cannot be sent or is not said. */
  readonly read?: Partial<Reading>;
}

export const base64 = (content: string | Uint8Array) => Buffer.from(content).toString("base64");

const lf = (text: string) => text.replace(/\r\n?/g, "\n");

/** A blob of binary that is the same in every run. */
function octets(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, index) => (index * 167 + (index >> 8)) & 255));
}

const PNG = Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), octets(300)]);
const ICS = [
  "BEGIN:VCALENDAR",
  "VERSION:2.0",
  "PRODID:-//Example//EN",
  "METHOD:REQUEST",
  "BEGIN:VEVENT",
  "UID:1@example.com",
  "DTSTAMP:20250701T100000Z",
  "DTSTART:20250702T100000Z",
  "SUMMARY:季度会议 — 🎉",
  "END:VEVENT",
  "END:VCALENDAR",
  "",
].join("\r\n");
const EML = [
  "From: Carol <c@example.net>",
  "To: d@example.net",
  "Subject: inner",
  "Date: Tue, 01 Jul 2025 09:00:00 +0000",
  "Message-ID: <inner@example.net>",
  "",
  "The inner text.",
  "",
].join("\r\n");

const raw = (...lines: string[]) => base64(lines.join("\r\n"));

const structures: Case[] = [
  { name: "text", input: { subject: "Hello", text: "Hello,\nworld.\n" } },
  {
    name: "html alone",
    input: { subject: "Hello", html: '<p>Hello, <a href="https://example.com/">world</a>.</p>' },
  },
  { name: "text and html", input: { subject: "Hi", text: "Hi\n", html: "<p>Hi</p>\n" } },
  { name: "nothing but a recipient", input: {} },
  {
    name: "inline image",
    input: {
      subject: "Logo",
      text: "[logo]\n",
      html: '<img src="cid:logo@example.com"> <b>Hi</b>',
      attachments: [
        {
          filename: "logo.png",
          contentType: "image/png",
          contentId: "logo@example.com",
          content: base64(PNG),
        },
      ],
    },
  },
  {
    name: "html alone with two inline images",
    input: {
      html: '<img src="cid:a"><img src="cid:b">x',
      attachments: [
        {
          filename: "a.png",
          contentType: "image/png",
          contentId: "a",
          content: base64(PNG),
        },
        {
          filename: "b.gif",
          contentType: "image/gif",
          contentId: "b",
          content: base64(octets(43)),
        },
      ],
    },
  },
  {
    name: "inline image beside files",
    input: {
      text: "t\n",
      html: '<img src="cid:x">',
      attachments: [
        { filename: "a.pdf", contentType: "application/pdf", content: base64("%PDF-1.7") },
        { filename: "x.png", contentType: "image/png", contentId: "x", content: base64(PNG) },
        { filename: "b.zip", contentType: "application/zip", content: base64(octets(5000)) },
      ],
    },
  },
  {
    name: "content id without html",
    input: {
      text: "t\n",
      attachments: [
        { filename: "x.png", contentType: "image/png", contentId: "x", content: base64(PNG) },
      ],
    },
  },
  {
    name: "one file and no text",
    input: {
      attachments: [
        { filename: "a.pdf", contentType: "application/pdf", content: base64("%PDF-1.7") },
      ],
    },
  },
  {
    name: "several files",
    input: {
      text: "three\n",
      attachments: ["a.bin", "b.bin", "c.bin"].map((filename, index) => ({
        filename,
        contentType: "application/octet-stream",
        content: base64(octets(1000 * (index + 1) + index)),
      })),
    },
  },
  {
    name: "two files with one name",
    input: {
      text: "two\n",
      attachments: ["one", "two"].map((content) => ({
        filename: "same.csv",
        contentType: "text/csv",
        content: base64(content),
      })),
    },
  },
  {
    name: "text files are files",
    input: {
      text: "body\n",
      html: "<p>body</p>",
      attachments: [
        { filename: "a.txt", contentType: "text/plain", content: base64("attached\r\ntext") },
        { filename: "b.html", contentType: "text/html", content: base64("<p>attached</p>") },
        {
          filename: "c.txt",
          contentType: "text/plain; charset=utf-8",
          content: base64("附件\n"),
        },
      ],
    },
  },
  {
    name: "text files with content ids",
    input: {
      text: "body\n",
      html: '<p>body <a href="cid:a">a</a></p>',
      attachments: [
        { filename: "a.txt", contentType: "text/plain", contentId: "a", content: base64("one") },
        { filename: "b.html", contentType: "text/html", contentId: "b", content: base64("<i>") },
        { filename: "c.txt", contentId: "c@d,e(f)", content: base64("three") },
      ],
    },
    read: {
      attachments: [
        file("a.txt", "text/plain", "one", "a"),
        file("b.html", "text/html", "<i>", "b"),
        file("c.txt", "text/plain", "three", "c@d,e(f)"),
      ],
    },
  },
  {
    name: "files named like paths",
    input: {
      text: "t\n",
      attachments: ["../../etc/passwd", "C:\\x\\y.pdf", "..", "a/b.pdf", "con .pdf"].map(
        (filename) => ({ filename, contentType: "application/x-a", content: base64(filename) }),
      ),
    },
  },
  {
    name: "an empty file",
    input: {
      text: "t\n",
      attachments: [{ filename: "empty.bin", contentType: "application/x-empty", content: "" }],
    },
  },
  {
    name: "a file of every octet",
    input: {
      text: "t\n",
      attachments: [
        {
          filename: "all.bin",
          contentType: "application/x-all",
          content: base64(Uint8Array.from({ length: 256 }, (_, index) => index)),
        },
      ],
    },
  },
  {
    name: "a large file",
    input: {
      text: "t\n",
      attachments: [
        { filename: "l.iso", contentType: "application/x-iso", content: base64(octets(400_001)) },
      ],
    },
  },
  {
    name: "files without name or type",
    input: {
      text: "t\n",
      attachments: [
        { content: base64("one") },
        { contentType: "image/png", content: base64(PNG) },
        { filename: "a.pdf", content: base64("%PDF") },
        { filename: "unknown", content: base64("?") },
      ],
    },
    read: {
      attachments: [
        file("attachment-1.bin", "application/octet-stream", "one"),
        file("attachment-2.png", "image/png", PNG),
        file("a.pdf", "application/pdf", "%PDF"),
        file("unknown", "application/octet-stream", "?"),
      ],
    },
  },
  {
    name: "calendar",
    input: { subject: "会议", text: "Meet\n", calendar: { method: "REQUEST", content: ICS } },
  },
  {
    name: "calendar with html",
    input: {
      text: "Meet\n",
      html: "<p>Meet</p>",
      calendar: { method: "REQUEST", content: ICS },
    },
  },
  { name: "calendar alone", input: { calendar: { method: "REQUEST", content: ICS } } },
  {
    name: "an attached message",
    input: {
      text: "see below\n",
      attachments: [{ filename: "mail.eml", contentType: "message/rfc822", content: base64(EML) }],
    },
  },
  {
    name: "an attached message beyond ASCII",
    input: {
      text: "see below\n",
      attachments: [
        {
          filename: "inner.data",
          contentType: "message/rfc822",
          content: base64(EML.replace("inner", "内")),
        },
      ],
    },
    // RFC 2046 §5.2.1: it may be neither encoded nor, without 8BITMIME on every hop, sent as it is.
    read: {
      attachments: [file("inner.data", "application/octet-stream", EML.replace("inner", "内"))],
    },
  },
];

const rawMessages: Case[] = [
  {
    name: "raw, whole",
    input: {
      raw: raw(
        "From: Shop <shop@example.com>",
        "To: =?utf-8?B?5p2O6Zu3?= <lilei@example.net>, plain@example.net",
        "Cc: c@example.net",
        "Reply-To: r@example.com",
        "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=",
        "Date: Tue, 01 Jul 2025 12:00:00 +0200",
        "Message-ID: <raw.1@example.com>",
        "X-Folded: one",
        " two",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "Gr=C3=BC=C3=9Fe",
        "",
      ),
    },
    read: {
      to: [box("lilei@example.net", "李雷"), box("plain@example.net")],
      cc: [box("c@example.net")],
      replyTo: [box("r@example.com")],
      subject: "Grüße",
      text: "Grüße\n",
      headers: { "x-folded": "one two" },
      date: "2025-07-01T10:00:00.000Z",
      messageId: "<raw.1@example.com>",
    },
  },
  {
    name: "raw that lacks almost all",
    input: { to: ["a@example.net"], raw: base64("Subject: bare\n\nA line.\n") },
    read: { subject: "bare", text: "A line.\n" },
  },
  {
    name: "raw with Bcc",
    input: {
      raw: raw(
        "From: shop@example.com",
        "To: a@example.net",
        "Bcc: hidden@example.net",
        "Subject: x",
        "Date: Tue, 01 Jul 2025 10:00:00 +0000",
        "Message-ID: <raw.2@example.com>",
        "",
        "x",
      ),
    },
    read: {
      from: [box("shop@example.com")],
      to: [box("a@example.net")],
      subject: "x",
      text: "x\n",
      date: "2025-07-01T10:00:00.000Z",
      messageId: "<raw.2@example.com>",
    },
  },
  {
    name: "raw, 8-bit and unlabelled",
    input: {
      raw: raw("From: shop@example.com", "To: a@example.net", "Subject: 8", "", "你好, Grüße", ""),
    },
    read: {
      from: [box("shop@example.com")],
      to: [box("a@example.net")],
      subject: "8",
      text: "你好, Grüße\n",
    },
  },
  {
    name: "raw multipart",
    input: {
      raw: raw(
        "From: shop@example.com",
        "To: a@example.net",
        "Subject: parts",
        "MIME-Version: 1.0",
        'Content-Type: multipart/mixed; boundary="b"',
        "",
        "A preamble.",
        "--b",
        "Content-Type: text/plain",
        "",
        "one",
        "--b",
        'Content-Type: application/pdf; name="a.pdf"',
        'Content-Disposition: attachment; filename="a.pdf"',
        "Content-Transfer-Encoding: base64",
        "",
        base64("%PDF"),
        "--b--",
        "",
      ),
    },
    read: {
      from: [box("shop@example.com")],
      to: [box("a@example.net")],
      subject: "parts",
      text: "one",
      attachments: [file("a.pdf", "application/pdf", "%PDF")],
    },
  },
  {
    name: "raw with bare line ends and dots",
    input: {
      raw: base64("From: shop@example.com\nTo: a@example.net\nSubject: d\n\n.\n..\nmid\rdle\n.end"),
    },
    read: {
      from: [box("shop@example.com")],
      to: [box("a@example.net")],
      subject: "d",
      text: ".\n..\nmid\ndle\n.end\n",
    },
  },
];

const LONG_CHINESE = "您的订单已经发货，请注意查收，感谢您的惠顾！".repeat(12);
const LONG_JAPANESE = "ご注文の商品を発送いたしました。ありがとうございます。".repeat(10);

const languages: Case[] = [
  {
    name: "Chinese throughout",
    input: {
      from: { name: "示例商店", address: "shop@example.com" },
      to: [{ name: "李雷", address: "lilei@example.net" }],
      cc: [{ name: "韩梅梅", address: "han@example.net" }],
      replyTo: [{ name: "客服", address: "help@example.com" }],
      subject: "我是标题",
      text: "李雷：\n\n您的订单已发货。\n",
      html: "<p>李雷：<b>您的订单</b>已发货。</p>",
      headers: { "X-Note": "备注：请勿回复" },
    },
  },
  { name: "long Chinese subject", input: { subject: LONG_CHINESE, text: "x\n" } },
  { name: "long Japanese subject", input: { subject: LONG_JAPANESE, text: `${LONG_JAPANESE}\n` } },
  {
    name: "Korean and Thai",
    input: { subject: "안녕하세요 สวัสดีครับ", text: "안녕하세요\nสวัสดีครับ\n" },
  },
  {
    name: "emoji",
    input: {
      to: [{ name: "👩‍👩‍👧‍👦 Family", address: "f@example.net" }],
      subject: `🚚 ${"👨‍👩‍👧‍👦🏳️‍🌈👍🏽".repeat(20)}`,
      text: "🎉🎉\n",
      html: "<p>🎉</p>",
    },
  },
  {
    name: "right to left",
    input: {
      from: { name: "דואר", address: "shop@example.com" },
      subject: "مرحبا بالعالم — שלום עולם \u200f(123)\u200e",
      text: "שלום\nمرحبا\n",
    },
  },
  {
    name: "combining marks, not recomposed",
    input: {
      to: [{ name: "Ame\u0301lie Nguye\u0302\u0303n", address: "an@example.net" }],
      subject: "e\u0301 \u00e9 a\u0308 \u00e4 क्षि Z\u0351\u036b\u0343a\u0300",
      text: "e\u0301 is not \u00e9\n",
    },
  },
  {
    name: "one accent in much ASCII",
    input: {
      subject: "A rather long subject that is written in English, but for a café at the very end",
      text: "Plain text, with one café in it and a dash — so.\n",
    },
  },
  {
    name: "beyond the BMP",
    input: { subject: "𠮷野家 𝒜𝒷𝒸 𐍈", text: "𠮷野家 ".repeat(400) },
  },
  {
    name: "internationalised domain",
    input: {
      to: [{ name: "李雷", address: "lilei@例え.テスト" }],
      replyTo: ["info@bücher.example"],
      text: "x\n",
    },
    read: {
      to: [box("lilei@xn--r8jz45g.xn--zckzah", "李雷")],
      replyTo: [box("info@xn--bcher-kva.example")],
    },
  },
  {
    name: "UTF-8 local parts",
    input: {
      to: [{ name: "用户", address: "用户@example.net" }, "δοκιμή@例え.テスト"],
      cc: ["müller@example.net"],
      subject: "给用户",
      text: "你好\n",
    },
    read: {
      to: [box("用户@example.net", "用户"), box("δοκιμή@xn--r8jz45g.xn--zckzah")],
    },
  },
];

const odd: Case[] = [
  {
    name: "lone surrogates",
    input: {
      to: [{ name: "x\ud800y", address: "x@example.net" }],
      subject: "a\ud83cb\udf89c",
      text: "\udc00 text\n",
      html: "<p>\ud800</p>",
      headers: { "X-Lone": "\ud800" },
      attachments: [{ filename: "l\ud800.pdf", contentType: "application/pdf", content: "JQ==" }],
    },
    read: {
      to: [box("x@example.net", "x\ufffdy")],
      subject: "a\ufffdb\ufffdc",
      text: "\ufffd text\n",
      html: "<p>\ufffd</p>",
      headers: { "x-lone": "\ufffd" },
      attachments: [file("l\ufffd.pdf", "application/pdf", "%")],
    },
  },
  {
    name: "NUL in bodies",
    input: { text: "a\0b\n", html: "<p>a\0b</p>" },
    read: { text: "a\ufffdb\n", html: "<p>a\ufffdb</p>" },
  },
  {
    name: "10,000 characters of subject in one word",
    input: { subject: "x".repeat(10_000), text: "x\n" },
  },
  {
    name: "10,000 characters of subject in words",
    input: { subject: "ten chars ".repeat(1000).trim(), text: "x\n" },
  },
  {
    name: "10,000 characters of Chinese subject",
    input: { subject: "标题".repeat(5000), text: "x\n" },
  },
  {
    name: "1,000 recipients",
    input: {
      to: Array.from({ length: 500 }, (_, index) => ({
        name: `用户 ${index}`,
        address: `user${index}@example.net`,
      })),
      cc: Array.from({ length: 500 }, (_, index) => `cc${index}@example.net`),
      text: "x\n",
    },
  },
  { name: "recipients that are all hidden", input: { bcc: ["hidden@example.net"], text: "x\n" } },
  {
    name: "copies to some",
    input: { to: ["a@example.net"], bcc: ["hidden@example.net"], text: "x\n" },
  },
  {
    name: "dots at line starts",
    input: { text: ".\n..\n.x\n...\n\n.\n", html: "<p>\n.\n..\n</p>" },
  },
  {
    name: "bare CR and LF",
    input: { text: "a\rb\nc\r\nd\r\re\n\nf", html: "<p>a\rb\nc\r\nd</p>" },
  },
  {
    name: "white space at line ends",
    input: { text: "a  \nb\t\n-- \nc \t \n   \nd\n", html: "<p>a  \nb\t\n</p>" },
  },
  {
    name: "controls that are text",
    input: { text: "a\fb\vc\u0085d\u2028e\u001b[31m\u007f\n", html: "<p>\u001b</p>" },
  },
  { name: "an empty text", input: { subject: "empty", text: "" } },
  { name: "an empty text beside html", input: { text: "", html: "<p>x</p>" } },
  { name: "an empty html beside text", input: { text: "x\n", html: "" } },
  { name: "line ends alone", input: { subject: "blank", text: "\n\n\n" } },
  { name: "no final line end", input: { text: "the end", html: "<p>the end</p>" } },
  {
    name: "many final line ends beside a file",
    input: {
      text: "the end\n\n\n",
      attachments: [{ filename: "a.bin", contentType: "application/x-a", content: "AAAA" }],
    },
  },
  {
    name: "a line of 998 octets, and of 999",
    input: { text: `${"a".repeat(998)}\n${"b".repeat(999)}\n` },
  },
  {
    name: "lines of 20,000 characters",
    input: {
      text: `${"y".repeat(20_000)}\n${"长".repeat(20_000)}\n`,
      html: `<p>${"word ".repeat(4000)}</p>`,
    },
  },
  {
    name: "an attached message with a line of 1,200 octets",
    input: {
      text: "t\n",
      attachments: [
        {
          filename: "long.data",
          contentType: "message/rfc822",
          content: base64(`${EML}${"z".repeat(1200)}\r\n`),
        },
      ],
    },
    read: {
      attachments: [file("long.data", "application/octet-stream", `${EML}${"z".repeat(1200)}\r\n`)],
    },
  },
  {
    name: "text like a boundary",
    input: {
      text: "--=_\n----_NmP-1\n--=_0123--\n\n--\nContent-Type: text/html\n\n<b>no</b>\n",
      html: "<p>\n--=_\n--boundary--\n</p>",
    },
  },
  {
    name: "text like a header",
    input: { text: "From: evil@example.org\nBcc: b@example.org\n\nFrom here\n>From there\n" },
  },
  {
    name: "text like transfer encodings",
    input: { text: "=3D =20=\n=C3=A9 aGVsbG8= a=b\nbegin 644 x\n", html: "<p>=3D</p>" },
  },
  {
    name: "text like encoded-words",
    input: {
      from: { name: "=?UTF-8?Q?CEO?=", address: "shop@example.com" },
      to: [{ name: "=?utf-8?B?aGk=?= x", address: "a@example.net" }],
      subject: "=?UTF-8?Q?Your_bank?= =?utf-8?B?aGk=?=",
      headers: { "X-Word": "=?UTF-8?Q?=0D=0ABcc=3A_x?=" },
      text: "=?UTF-8?Q?x?=\n",
    },
  },
  {
    name: "half an encoded-word",
    input: { subject: "=?UTF-8?Q? and ?= and =?x", text: "x\n" },
  },
  {
    name: "names with quotes, commas and backslashes",
    input: {
      to: [
        { name: 'Quote "and", comma', address: "a@example.net" },
        { name: "Back\\slash \\", address: "b@example.net" },
        { name: "Last, First", address: "c@example.net" },
        { name: "O'Neil; (Bob) [x] : y", address: "d@example.net" },
        { name: "e@example.org", address: "e@example.net" },
        { name: "A <f@example.org>", address: "f@example.net" },
        { name: "Dr. J. Doe Jr.", address: "g@example.net" },
      ],
      text: "x\n",
    },
  },
  {
    name: "a Chinese name with ASCII specials",
    input: { to: [{ name: '李 "雷", <l@example.org>', address: "a@example.net" }], text: "x\n" },
  },
  {
    name: "a name of 600 characters",
    input: {
      to: [
        { name: "Long Name ".repeat(60).trim(), address: "a@example.net" },
        { name: "长名字".repeat(200), address: "b@example.net" },
      ],
      text: "x\n",
    },
  },
  {
    name: "addresses in one string",
    input: {
      from: "Sales <sales@example.com>",
      to: '"Doe, J." <j@example.net>',
      cc: "plain@example.net",
      text: "x\n",
    },
    read: { to: [box("j@example.net", "Doe, J.")] },
  },
  {
    name: "odd local parts",
    input: {
      to: [
        "o'neil+tag/x=y@example.net",
        { name: "Q", address: '"a b"@example.net' },
        "A@EXAMPLE.NET",
      ],
      text: "x\n",
    },
    read: {
      to: [box("o'neil+tag/x=y@example.net"), box('"a b"@example.net', "Q"), box("A@example.net")],
    },
  },
  {
    name: "subject with runs of spaces",
    input: { subject: "a  b   c    d", headers: { "X-Spaces": "1  2   3" }, text: "x\n" },
  },
  {
    name: "subject of 2,000 spaces between two words",
    input: { subject: `a${" ".repeat(2000)}b`, text: "x\n" },
  },
  {
    name: "subject with special spaces",
    input: { subject: "a\u00a0b\u3000c\u2028d\u200be\ufefff", text: "x\n" },
  },
  {
    name: "Chinese file names with quotes, semicolons and percent",
    input: {
      text: "x\n",
      attachments: [
        "报告 “终”; 100%.pdf",
        '报告 "终"; filename=a.exe.pdf',
        "100%25 %E4%BD%A0.pdf",
        "it's; a 'test'.pdf",
        'q"uote\\back.pdf',
        "=?UTF-8?Q?a.exe?=.pdf",
        "a, b (c) [d] <e>.pdf",
        "emoji 🎉.pdf",
      ].map((filename, index) => ({
        filename,
        contentType: "application/pdf",
        content: base64(`%PDF ${index}`),
      })),
    },
  },
  {
    name: "file names of 200 characters",
    input: {
      text: "x\n",
      attachments: [
        `${"长".repeat(200)}.pdf`,
        `${"x".repeat(200)}.pdf`,
        `${"a b".repeat(60)}.pdf`,
      ].map((filename) => ({
        filename,
        contentType: "application/pdf",
        content: base64(filename),
      })),
    },
  },
];

const fields: Case[] = [
  {
    name: "custom headers",
    input: {
      headers: {
        "X-Campaign": "42",
        "X-Words": "café und mehr",
        "X-Chinese": "自定义".repeat(60),
        "X-Long-Ascii": "word ".repeat(300).trim(),
        "X-One-Word": "w".repeat(2000),
        "X-Json": '{"a":"b, c","d":[1,2]}',
        "Auto-Submitted": "auto-generated",
        Precedence: "bulk",
      },
      text: "x\n",
    },
  },
  {
    name: "a thread",
    input: {
      subject: "Re: x",
      inReplyTo: "<b@example.com>",
      references: ["<a@example.com>", "<b@example.com>"],
      text: "x\n",
    },
  },
  {
    name: "a long thread",
    input: {
      inReplyTo: "<m79@example.com>",
      references: Array.from({ length: 80 }, (_, index) => `<m${index}@example.com>`),
      text: "x\n",
    },
  },
  {
    name: "a reply to a message alone",
    input: { inReplyTo: "<b@example.com>", text: "x\n" },
    read: { headers: { "in-reply-to": "<b@example.com>", references: "<b@example.com>" } },
  },
  { name: "high importance", input: { importance: "high", text: "x\n" } },
  { name: "low importance", input: { importance: "low", text: "x\n" } },
  { name: "normal importance", input: { importance: "normal", text: "x\n" } },
  {
    name: "one-click unsubscribing",
    input: {
      text: "x\n",
      listUnsubscribe: {
        url: "https://example.com/u?id=1&t=2",
        mailto: "unsubscribe@example.com",
        oneClick: true,
      },
    },
  },
  {
    name: "a long address to unsubscribe at",
    input: {
      text: "x\n",
      listUnsubscribe: { url: `https://example.com/${"u".repeat(600)}`, oneClick: true },
    },
  },
  {
    name: "unsubscribing by mail",
    input: { text: "x\n", listUnsubscribe: { mailto: "u@example.com?subject=stop" } },
  },
  {
    name: "a date and id of its own",
    input: { text: "x\n", date: "2020-02-29T23:30:00+08:00", messageId: "<own.1@example.com>" },
  },
  {
    name: "from another than the mailbox",
    input: { from: { name: "Sales", address: "sales@example.com" }, text: "x\n" },
  },
];

export const CORPUS: readonly Case[] = [
  ...structures,
  ...rawMessages,
  ...languages,
  ...odd,
  ...fields,
].map((one) => ({ ...one, input: addressed(one.input) }));

/** A message goes to somebody; most of these do not care to whom. */
function addressed(input: Input): Input {
  const named = [input.to, input.cc, input.bcc, input.raw].some((field) => field !== undefined);
  return named ? input : { to: "someone@example.net", ...input };
}

/** Requests that stand for no message, whoever is asked: each is refused before anything is made. */
export const REFUSED: Readonly<Record<string, Record<string, unknown>>> = {
  "NUL in the subject": { subject: "a\0b" },
  "a line end in the subject": { subject: "a\r\nBcc: x@example.org" },
  "a bare line feed in the subject": { subject: "a\nBcc: x@example.org" },
  "a line end in a name": { to: { name: "a\r\nBcc: x@example.org", address: "a@example.net" } },
  "a line end in an address": { to: "a@example.net\r\nBcc: x@example.org" },
  "two addresses in one string": { to: "a@example.net, b@example.net" },
  "a line end in a header's value": { headers: { "X-A": "1\r\nBcc: x@example.org" } },
  "a line end in a header's name": { headers: { "X-A: 1\r\nBcc": "x@example.org" } },
  "a header that the request has a field for": { headers: { Bcc: "x@example.org" } },
  "a line end in a file name": { attachments: [{ filename: "a\r\nX: y", content: "AAAA" }] },
  "a line end in a type": { attachments: [{ contentType: "a/b\r\nX: y", content: "AAAA" }] },
  "a line end in a content id": { attachments: [{ contentId: "a>\r\nX: y", content: "AAAA" }] },
  "a line end in a message-id": { messageId: "<a@b>\r\nBcc: x@example.org" },
  "a line end in the address to unsubscribe at": {
    listUnsubscribe: { mailto: "u@example.com>\r\nBcc: x@example.org" },
  },
};

function box(address: string, name = ""): Box {
  return { name, address: ascii(address) };
}

function ascii(address: string): string {
  const at = address.lastIndexOf("@");
  return at === -1 ? address : `${address.slice(0, at)}@${domainToASCII(address.slice(at + 1))}`;
}

function file(filename: string, type: string, content: string | Uint8Array, cid = ""): File {
  return { filename, type, cid, content: fingerprint(type, Buffer.from(content)) };
}

/**
 * Files to the octet; but calendars and messages are lines of text, whose ends the parsers and the
 * maildir write in their own way.
 */
function fingerprint(type: string, content: Buffer): string {
  const lines = /^(text\/calendar|application\/ics|message\/)/.test(type);
  const octets = lines ? Buffer.from(lf(content.toString()).replace(/\n+$/, "")) : content;
  return `${octets.length}:${createHash("sha256").update(octets).digest("hex").slice(0, 12)}`;
}

function sorted(files: readonly File[]): File[] {
  const key = (one: File) => `${one.filename}\0${one.type}\0${one.content}`;
  return [...files].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** What is not the request's to say. */
export interface Given {
  readonly from: Box;
  readonly date: string;
  readonly messageId: string;
}

/** The request, as a reader of its message should find it. */
export async function wanted({ input, read = {} }: Case, given: Given): Promise<Reading> {
  const from = input.from === undefined ? given.from : boxOf(input.from);
  const hidden = input.raw === undefined && input.to === undefined && input.cc === undefined;
  const reading: Reading = {
    from: [from],
    sender: from.address === given.from.address ? [] : [given.from],
    // RFC 5322 A.1.3: a group without members.
    to: hidden ? [{ name: "undisclosed-recipients", address: "" }] : boxes(input.to),
    cc: boxes(input.cc),
    replyTo: boxes(input.replyTo),
    subject: input.subject ?? "",
    // The function makes the text that is not given.
    text: lf(input.text || (input.html ? await plainText(input.html) : "")),
    html: lf(input.html ?? ""),
    attachments: [
      ...(input.attachments ?? []).map(({ filename = "", contentType = "", content, contentId }) =>
        file(filename, contentType.replace(/;.*/, ""), Buffer.from(content, "base64"), contentId),
      ),
      ...(input.calendar === undefined
        ? []
        : [
            file("", "text/calendar", input.calendar.content),
            file("invite.ics", "application/ics", input.calendar.content),
          ]),
    ],
    headers: headersOf(input),
    date: input.date === undefined ? given.date : new Date(input.date).toISOString(),
    messageId: input.messageId ?? given.messageId,
    ...read,
  };
  return { ...reading, attachments: sorted(reading.attachments) };
}

function boxOf(mailbox: MailboxInput): Box {
  if (typeof mailbox !== "string") return box(mailbox.address, mailbox.name);
  const [, name, address = mailbox] = /^(.*) <(.*)>$/.exec(mailbox) ?? [];
  return box(address, name);
}

function boxes(list: MailboxInput | readonly MailboxInput[] = []): Box[] {
  return ([] as MailboxInput[]).concat(list).map(boxOf);
}

function headersOf(input: Input): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(input.headers ?? {})) {
    headers[name.toLowerCase()] = value;
  }
  if (input.inReplyTo !== undefined) headers["in-reply-to"] = input.inReplyTo;
  if (input.references !== undefined) headers["references"] = input.references.join(" ");
  if (input.importance !== undefined) headers["importance"] = input.importance;
  if (input.importance === "high") headers["x-priority"] = "1";
  if (input.importance === "low") headers["x-priority"] = "5";
  const { url, mailto, oneClick } = input.listUnsubscribe ?? {};
  const uris = [url && `<${url}>`, mailto && `<mailto:${mailto}>`].filter(Boolean).join(", ");
  if (uris !== "") headers["list-unsubscribe"] = uris;
  if (oneClick) headers["list-unsubscribe-post"] = "List-Unsubscribe=One-Click";
  return headers;
}

/** Fields that are read by other means, or are no part of what was asked for. */
const ELSEWHERE =
  /^(from|sender|to|cc|reply-to|subject|date|message-id|mime-version|content-.*|return-path|received|delivered-to|x-original-to)$/;

export function parse(parser: ParserName, message: Buffer): Promise<Reading> {
  return parser === "mailparser" ? byMailparser(message) : byPostalMime(message);
}

interface MailparserAddress {
  readonly name?: string;
  readonly address?: string;
  readonly group?: readonly MailparserAddress[];
}
type MailparserList = { readonly value: readonly MailparserAddress[] };
interface MailparserMail {
  readonly headers: ReadonlyMap<string, unknown>;
  readonly headerLines: readonly { readonly key: string; readonly line: string }[];
  readonly from?: MailparserList;
  readonly to?: MailparserList;
  readonly cc?: MailparserList;
  readonly replyTo?: MailparserList;
  readonly subject?: string;
  readonly text?: string;
  readonly html?: string | false;
  readonly date?: Date;
  readonly messageId?: string;
  readonly attachments: readonly {
    readonly filename?: string;
    readonly contentType: string;
    readonly cid?: string;
    readonly content: Buffer;
  }[];
}
interface Mailparser {
  simpleParser(message: Buffer, options: object): Promise<MailparserMail>;
  readonly MailParser: new () => {
    readonly libmime: {
      decodeHeader(line: string): { readonly value: string };
      decodeWords(text: string): string;
    };
  };
}
const { simpleParser, MailParser } = mailparser as Mailparser;
const { libmime } = new MailParser();

async function byMailparser(message: Buffer): Promise<Reading> {
  // Nothing is to be made of what is there: no text from html, no links, no data: images.
  const mail = await simpleParser(message, {
    skipHtmlToText: true,
    skipTextToHtml: true,
    skipImageLinks: true,
    keepCidLinks: true,
  });
  const list = (found: MailparserList | undefined) =>
    (found?.value ?? []).flatMap(({ name = "", address = "", group }) => [
      box(address, name),
      ...(group ?? []).map((member) => box(member.address ?? "", member.name)),
    ]);
  const headers: Record<string, string> = {};
  for (const { key, line } of mail.headerLines) {
    if (ELSEWHERE.test(key)) continue;
    const { value } = libmime.decodeHeader(line);
    const text = libmime.decodeWords(Buffer.from(value.trim(), "binary").toString());
    headers[key] = key in headers ? `${headers[key]}\n${text}` : text;
  }
  return {
    from: list(mail.from),
    sender: list(mail.headers.get("sender") as MailparserList | undefined),
    to: list(mail.to),
    cc: list(mail.cc),
    replyTo: list(mail.replyTo),
    subject: mail.subject ?? "",
    text: lf(mail.text ?? ""),
    html: lf(mail.html || ""),
    attachments: sorted(
      mail.attachments.map(({ filename, contentType, content, cid }) =>
        file(filename ?? "", contentType, content, cid),
      ),
    ),
    headers,
    date: mail.date?.toISOString() ?? "",
    messageId: mail.messageId ?? "",
  };
}

async function byPostalMime(message: Buffer): Promise<Reading> {
  const mail = await PostalMime.parse(message, { attachmentEncoding: "arraybuffer" });
  const list = (found: Address | readonly Address[] | undefined) =>
    ([] as Address[])
      .concat(found ?? [])
      .flatMap((one) => [
        box(one.address ?? "", one.name),
        ...(one.group ?? []).map((member) => box(member.address, member.name)),
      ]);
  const headers: Record<string, string> = {};
  for (const { key, value } of mail.headers) {
    if (ELSEWHERE.test(key)) continue;
    const text = decodeWords(value);
    headers[key] = key in headers ? `${headers[key]}\n${text}` : text;
  }
  return {
    from: list(mail.from),
    sender: list(mail.sender),
    to: list(mail.to),
    cc: list(mail.cc),
    replyTo: list(mail.replyTo),
    subject: mail.subject ?? "",
    text: lf(mail.text ?? ""),
    html: lf(mail.html ?? ""),
    attachments: sorted(
      mail.attachments.map(({ filename, mimeType, content, contentId = "" }) =>
        file(
          filename ?? "",
          mimeType,
          typeof content === "string" ? content : new Uint8Array(content),
          contentId.replace(/^<|>$/g, ""),
        ),
      ),
    ),
    headers,
    date: mail.date ?? "",
    messageId: mail.messageId ?? "",
  };
}

export interface Difference {
  readonly field: string;
  readonly one: unknown;
  readonly other: unknown;
}

/** Where two readings differ; of lists and headers only the entries that do. */
export function differences(one: Reading, other: Reading): Difference[] {
  const found: Difference[] = [];
  const names = new Set([...Object.keys(one.headers), ...Object.keys(other.headers)]);
  for (const name of names) {
    const [a, b] = [one.headers[name], other.headers[name]];
    if (a !== b) found.push({ field: `headers.${name}`, one: a, other: b });
  }
  for (const field of ["subject", "date", "messageId"] as const) {
    if (one[field] !== other[field]) found.push({ field, one: one[field], other: other[field] });
  }
  for (const field of ["text", "html"] as const) {
    if (!sameText(one[field], other[field])) {
      found.push({ field, one: one[field], other: other[field] });
    }
  }
  for (const field of ["from", "sender", "to", "cc", "replyTo", "attachments"] as const) {
    const [a, b]: (readonly (Box | File)[])[] = [one[field], other[field]];
    const [left, right] = [(a ?? []).map(asText), (b ?? []).map(asText)];
    if (left.join("\n") === right.join("\n")) continue;
    const [mine, yours] = [
      left.filter((x) => !right.includes(x)),
      right.filter((x) => !left.includes(x)),
    ];
    // The same entries in another order are a difference of the whole.
    const order = mine.length === 0 && yours.length === 0;
    found.push({ field, one: order ? left : mine, other: order ? right : yours });
  }
  return found;
}

const asText = (entry: Box | File) =>
  "filename" in entry
    ? `${entry.filename}|${entry.type}|${entry.cid}|${entry.content}`
    : `${entry.name}<${entry.address}>`;

/**
 * Every message ends in a line end (RFC 5321 §4.1.1.4), and a parser may count the one that belongs
 * to a boundary (RFC 2046 §5.1.1): a text with one more at its very end is the same text.
 */
function sameText(one: string, other: string): boolean {
  return one === other || `${one}\n` === other || one === `${other}\n`;
}
