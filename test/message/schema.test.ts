import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { requestJsonSchema } from "../../lib/message/json-schema.ts";
import { parseRequest, requestSchema } from "../../lib/message/schema.ts";
import { base64, request, wrongPaths } from "./support.ts";

const LEAST = { to: "a@example.com" };

/** The reason given for one path; empty where there is none. */
function reason(input: unknown, path: string): string {
  const result = parseRequest(input);
  if (result.ok) return "";
  return result.issues.find((issue) => issue.path === path)?.message ?? "";
}

describe("a whole request", () => {
  it("comes out normalised, and parses to itself", () => {
    const full = {
      mailbox: "billing",
      from: "Shop <shop@Example.com>",
      to: ["a@example.com", { name: "李雷", address: "b@例子.测试" }],
      cc: { address: "c@example.com" },
      bcc: [],
      replyTo: "r@example.com",
      subject: "我是标题\ud800",
      text: "nul \0, lone \udc00",
      html: "<p>",
      attachments: [
        { filename: "a.pdf", contentType: "application/pdf", content: "QUJD\r\nREVG" },
        { filename: "b.zip", s3: { bucket: "b", key: "k", versionId: "v" } },
        { filename: "logo.png", content: "", contentId: "logo" },
      ],
      headers: { "X-Campaign": "42", constructor: "a header like any other" },
      inReplyTo: "<a@b>",
      references: ["<a@b>", "<weird>"],
      messageId: "<m@example.com>",
      date: "Tue, 1 Jul 2025 10:00:00 +0800",
      importance: "high",
      listUnsubscribe: { url: "https://example.com/u", mailto: "u@example.com", oneClick: true },
      calendar: { method: "request", content: "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR" },
      dsn: { notify: ["failure", "delay"], return: "headers", envelopeId: "order 1" },
      requireTls: false,
      priority: -9,
      deliverBy: { seconds: 3600, mode: "return" },
      holdFor: 0,
      partial: "refuse",
      idempotencyKey: "order-1234",
    };
    const result = request(full);
    expect(result).toMatchObject({
      from: { name: "Shop", address: "shop@example.com" },
      to: [{ address: "a@example.com" }, { name: "李雷", address: "b@xn--fsqu00a.xn--0zwm56d" }],
      cc: [{ address: "c@example.com" }],
      subject: "我是标题\ufffd",
      text: "nul \ufffd, lone \ufffd",
      date: "2025-07-01T02:00:00.000Z",
      calendar: { method: "REQUEST" },
    });
    expect(result.attachments?.[0]?.content).toBe("QUJDREVG");
    expect(parseRequest(JSON.parse(JSON.stringify(result)))).toEqual({ ok: true, request: result });
  });

  it("needs only a recipient", () => {
    expect(request({})).toEqual({ to: [{ address: "a@example.com" }], partial: "accept" });
    expect(wrongPaths({ bcc: "a@example.com" })).toEqual([]);
    expect(wrongPaths({})).toEqual(["to"]);
    expect(wrongPaths({ to: [], cc: [], bcc: [] })).toEqual(["to"]);
  });

  it.each([null, undefined, 7, "x", [], [LEAST], () => LEAST])("is an object, not %j", (input) => {
    expect(parseRequest(input).ok).toBe(false);
  });

  it("tells everything that is wrong at once", () => {
    expect(
      wrongPaths({
        to: ["x", "a@b.co, c@d.co", { address: "<a@b.co>" }, { name: "x" }, 7],
        surprise: 1,
        subject: "a\r\nBcc: x@y.co",
        attachments: [{ content: "!!", extra: 1 }, {}],
        headers: { Bcc: "x", "X-A": "a\nb" },
        date: "yesterday",
        priority: 10,
        deliverBy: { seconds: 0, mode: "x" },
        holdFor: 1.5,
        dsn: { notify: ["never", "delay"] },
        listUnsubscribe: { oneClick: true },
        idempotencyKey: "",
      }),
    ).toEqual(
      [
        ...["to.0", "to.1", "to.2.address", "to.3.address", "to.4"],
        ...["surprise", "subject", "attachments.0.content", "attachments.0.extra", "attachments.1"],
        ...[
          "headers.Bcc",
          "headers.X-A",
          "date",
          "priority",
          "deliverBy.seconds",
          "deliverBy.mode",
        ],
        ...["holdFor", "dsn.notify", "listUnsubscribe.url", "idempotencyKey"],
      ].sort(),
    );
  });

  it("refuses unknown fields by name, at every depth", () => {
    for (const [path, input] of [
      ["toString", { toString: 1 }],
      ["constructor", { constructor: 1 }],
      ["__proto__", JSON.parse('{"__proto__": {"to": "a@b.co"}}')],
      ["to.x", { to: { address: "a@b.co", x: 1 } }],
      ["attachments.0.path", { attachments: [{ path: "/etc/passwd", content: "" }] }],
      [
        "attachments.0.s3.region",
        { attachments: [{ s3: { bucket: "b", key: "k", region: "r" } }] },
      ],
      ["listUnsubscribe.x", { listUnsubscribe: { mailto: "a@b.co", x: 1 } }],
      ["calendar.x", { calendar: { method: "REQUEST", content: "BEGIN:VCALENDAR\n", x: 1 } }],
      ["dsn.x", { dsn: { x: 1 } }],
      ["deliverBy.x", { deliverBy: { seconds: 1, mode: "return", x: 1 } }],
    ] as const) {
      expect(wrongPaths({ ...LEAST, ...input, ...proto(input) }), path).toContain(path);
    }
    expect(reason({ ...LEAST, host: "evil.example" }, "host")).toMatch(/never by the caller/);
  });

  it("never repeats a value, however wrong", () => {
    const secret = "S3CR3T".repeat(1000);
    const wrong = {
      to: [secret, { address: secret }],
      subject: `${secret}\n`,
      attachments: [{ content: `${secret}!`, contentType: secret, filename: `${secret}\n` }],
      headers: { "X-A": `${secret}\n` },
      messageId: secret,
      inReplyTo: secret,
      references: [secret],
      date: secret,
      importance: secret,
      raw: `${secret}!`,
      mailbox: `${secret}!`,
      calendar: { method: secret, content: secret },
      dsn: { notify: [secret], envelopeId: secret },
    };
    const text = JSON.stringify(parseRequest(wrong));
    expect(text).not.toContain("S3CR3T");
    expect(text.length).toBeLessThan(6000);
  });

  it("bounds what it tells of a million mistakes, and of a name as long as a message", () => {
    const result = parseRequest({ to: Array.from({ length: 5000 }, () => "x") });
    expect(result.ok || result.issues.length).toBe(101);
    expect(JSON.stringify(parseRequest({ ...LEAST, ["n".repeat(1e6)]: 1 })).length).toBeLessThan(
      1000,
    );
  });
});

/** Spreading an object drops an own `__proto__`; JSON does not. */
function proto(input: object): object {
  return Object.hasOwn(input, "__proto__") ? JSON.parse('{"__proto__": 1}') : {};
}

describe("single fields", () => {
  it.each([
    ["subject", "a\nb"],
    ["subject", "a\0b"],
    ["subject", 7],
    ["subject", null],
    ["text", 7],
    ["mailbox", "a.b"],
    ["mailbox", ""],
    ["mailbox", "a".repeat(65)],
    ["messageId", "id@example.com"],
    ["messageId", "<id>"],
    ["messageId", "<i d@example.com>"],
    ["messageId", "<id@example.com>\r\nBcc: x@y.co"],
    ["messageId", `<${"i".repeat(900)}@example.com>`],
    ["messageId", "<é@example.com>"],
    ["inReplyTo", "<a@b> <c@d>"],
    ["date", "2025-07-01T10:00:00"],
    ["date", "2025-02-30T10:00:00Z"],
    ["date", "2025-07-01T24:00:00Z"],
    ["date", "1 Foo 2025 10:00:00 +0000"],
    ["date", 1751364000],
    ["importance", "urgent"],
    ["priority", 1.5],
    ["priority", -10],
    ["holdFor", -1],
    ["holdFor", Number.NaN],
    ["requireTls", "yes"],
    ["partial", "all"],
    ["idempotencyKey", "a\nb"],
    ["idempotencyKey", "é"],
    ["idempotencyKey", "k".repeat(256)],
    ["raw", "%%%"],
    ["raw", ""],
    ["attachments", {}],
    ["headers", []],
  ])("%s: %j is refused", (path, value) => {
    expect(wrongPaths({ ...LEAST, [path]: value })).toContain(path);
  });

  it.each([
    ["idempotencyKey", "order 1234"],
    ["date", "2025-07-01T10:00:00.123+05:30"],
    ["date", "1 Jul 2025 10:00 GMT"],
    ["subject", ""],
    ["subject", "a\tb"],
    ["priority", 9],
    ["headers", { "X-A": "é\t1" }],
  ])("%s: %j is taken", (path, value) => {
    expect(wrongPaths({ ...LEAST, [path]: value })).toEqual([]);
  });

  it.each([
    ...["From", "sender", "TO", "Cc", "Bcc", "Reply-To", "Date", "Message-ID", "Subject"],
    ...["MIME-Version", "Content-Type", "Content-Anything", "Resent-To", "Return-Path", "Received"],
    ...["DKIM-Signature", "In-Reply-To", "References", "Importance", "List-Unsubscribe"],
    ...["List-Unsubscribe-Post", "ARC-Seal", "Authentication-Results", "Delivered-To", "__proto__"],
    ...["X A", "X:A", "X-É", "", "X\r\nBcc", "n".repeat(77)],
  ])("a header called %j is refused, with the reason", (name) => {
    const headers = JSON.parse(`{${JSON.stringify(name)}: "1"}`);
    const path = `headers.${name.replace(/\p{Cc}/gu, "?")}`;
    expect(reason({ ...LEAST, headers }, path)).not.toBe("");
  });

  it.each([
    ["content", "QQ="],
    ["content", "QQ"],
    ["content", "Q=QQ"],
    ["content", "QQ==="],
    ["content", "data:text/plain;base64,QQ=="],
    ["content", "Q-_Q"],
    ["content", "QQ==QUJD"],
    ["content", "QUJ\u0141"],
    ["content", "QUJé"],
    ["content", "QUJ\0"],
    ["contentType", "pdf"],
    ["contentType", "text/plain; charset=utf-8\r\nBcc: x"],
    ["contentType", "text/plain;;"],
    ["contentType", "multipart/mixed"],
    ["contentType", 'text/plain; name="a'],
    ["filename", "a\nb"],
    ["filename", " "],
    ["filename", "f".repeat(256)],
    ["contentId", "<logo>"],
    ["contentId", "lo go"],
  ])("an attachment's %s: %j is refused", (field, value) => {
    const attachments = [{ content: "QQ==", [field]: value }];
    expect(wrongPaths({ ...LEAST, attachments })).toEqual([`attachments.0.${field}`]);
  });

  it("an attachment is either here or in S3", () => {
    const s3 = { bucket: "b", key: "k" };
    expect(wrongPaths({ ...LEAST, attachments: [{ content: "", s3 }] })).toEqual(["attachments.0"]);
    expect(wrongPaths({ ...LEAST, attachments: [{ filename: "a" }] })).toEqual(["attachments.0"]);
  });

  it("takes base64 of many megabytes", () => {
    const content = Buffer.alloc(12_000_000, 7).toString("base64");
    expect(wrongPaths({ ...LEAST, attachments: [{ content }] })).toEqual([]);
    const spoilt = [`${content}!`, `!${content.slice(1)}`, `QQ==${content}`, `${content}QQ=`];
    for (const at of [65_532, 65_535, 65_536]) {
      for (const wrong of ["=", "-", "_", "\0", "\u0141", "é"]) {
        spoilt.push(`${content.slice(0, at)}${wrong}${content.slice(at + 1)}`);
      }
    }
    for (const wrong of spoilt) {
      const attachments = [{ content: wrong }];
      expect(wrongPaths({ ...LEAST, attachments })).toEqual(["attachments.0.content"]);
    }
  });

  it.each([
    [{ notify: [] }, "dsn.notify"],
    [{ notify: ["failure", "failure"] }, "dsn.notify"],
    [{ notify: ["sometimes"] }, "dsn.notify.0"],
    [{ return: "all" }, "dsn.return"],
    [{ envelopeId: "é" }, "dsn.envelopeId"],
    [{ envelopeId: "=".repeat(34) }, "dsn.envelopeId"],
  ])("dsn %j is refused", (dsn, path) => {
    expect(wrongPaths({ ...LEAST, dsn })).toEqual([path]);
  });

  it.each([
    [{}, "listUnsubscribe"],
    [{ url: "http://example.com" }, "listUnsubscribe.url"],
    [{ url: "javascript:alert(1)" }, "listUnsubscribe.url"],
    [{ mailto: "a@b.co>, <https://x" }, "listUnsubscribe.mailto"],
    [{ mailto: "a@b.co", oneClick: true }, "listUnsubscribe.url"],
  ])("listUnsubscribe %j is refused", (listUnsubscribe, path) => {
    expect(wrongPaths({ ...LEAST, listUnsubscribe })).toEqual([path]);
  });

  it("the calendar's method is that of its content", () => {
    const content = "BEGIN:VCALENDAR\r\nMETHOD:CANCEL\r\nEND:VCALENDAR";
    expect(wrongPaths({ ...LEAST, calendar: { method: "REQUEST", content } })).toEqual([
      "calendar.method",
    ]);
    expect(wrongPaths({ ...LEAST, calendar: { method: "cancel", content } })).toEqual([]);
    expect(wrongPaths({ ...LEAST, calendar: { method: "MEET", content: "x" } })).toEqual([
      "calendar.content",
      "calendar.method",
    ]);
  });
});

describe("other ways to say it", () => {
  it("references may be the value of a References field", () => {
    expect(request({ references: " <a@b>\t<c@d>  <e@f> " }).references).toEqual([
      ...["<a@b>", "<c@d>", "<e@f>"],
    ]);
    expect(wrongPaths({ ...LEAST, references: "<a@b> c@d" })).toEqual(["references.1"]);
    expect(reason({ ...LEAST, references: 7 }, "references")).toMatch(/list of message-ids/);
  });

  it("deliverBy returns what is late, unless it says otherwise", () => {
    expect(request({ deliverBy: { seconds: 60 } }).deliverBy).toEqual({
      seconds: 60,
      mode: "return",
    });
  });

  it("JSON Schema names the same fields, none required, and no others allowed", () => {
    const schema = requestJsonSchema();
    expect(Object.keys(schema.properties ?? {})).toEqual(Object.keys(requestSchema().shape));
    expect(schema).toMatchObject({
      additionalProperties: false,
      properties: {
        references: { anyOf: [{ type: "array", items: { type: "string" } }, { type: "string" }] },
        deliverBy: { required: ["seconds"] },
      },
    });
    expect(schema.required ?? []).toEqual([]);
  });
});

describe("raw", () => {
  const raw = base64("To: a@example.com\r\n\r\nhi\r\n");

  it("stands alone, but for the envelope", () => {
    expect(wrongPaths({ raw })).toEqual([]);
    expect(wrongPaths({ raw, to: "b@example.com", from: "c@example.com", dsn: {} })).toEqual([]);
    const parts = {
      subject: "",
      text: "",
      html: "",
      attachments: [],
      headers: {},
      inReplyTo: "<a@b>",
      references: [],
      messageId: "<a@b>",
      date: "2025-07-01T10:00:00Z",
      importance: "low",
      listUnsubscribe: { mailto: "a@b.co" },
      calendar: { method: "PUBLISH", content: "BEGIN:VCALENDAR\n" },
    };
    expect(wrongPaths({ raw, ...parts })).toEqual(Object.keys(parts).sort());
  });

  it("names the recipients where the request does not", () => {
    expect(wrongPaths({ raw: base64("Subject: x\r\n\r\n") })).toEqual(["raw"]);
    expect(wrongPaths({ raw: base64("To: nobody\r\n\r\n") })).toEqual(["raw"]);
    expect(wrongPaths({ raw: base64("To: nobody\r\n\r\n"), to: "a@b.co" })).toEqual([]);
    expect(wrongPaths({ raw: base64("Bcc: a@b.co\r\n\r\n") })).toEqual([]);
  });
});

describe("properties", () => {
  it("whatever comes in, the answer is a request or a list of reasons", () => {
    const keys = ["to", "cc", "from", "subject", "attachments", "headers", "raw", "dsn", "date"];
    const json = fc.dictionary(
      fc.oneof(fc.constantFrom(...keys), fc.string()),
      fc.oneof(fc.jsonValue(), fc.constant("a@b.co"), fc.array(fc.jsonValue())),
    );
    fc.assert(
      fc.property(fc.oneof(json, fc.jsonValue(), fc.anything()), (input) => {
        const result = parseRequest(input);
        if (result.ok) expect(parseRequest(result.request)).toEqual(result);
        else {
          expect(result.issues.length).toBeGreaterThan(0);
          for (const { message } of result.issues) expect(message).not.toBe("");
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("no name, subject, file name or header value that is taken holds a control", () => {
    const odd = fc.string({
      unit: fc.constantFrom(..."aé \t\r\n\0\u001b\u007f\u0085", "\ud800", "\r\n "),
      maxLength: 6,
    });
    let taken = 0;
    fc.assert(
      fc.property(odd, (value) => {
        for (const [part, control] of [
          [{ subject: value }, /[^\P{Cc}\t]|\p{Cs}/u],
          [{ headers: { "X-A": value } }, /[^\P{Cc}\t]|\p{Cs}/u],
          [{ to: { name: value, address: "a@b.co" } }, /\p{Cc}|\p{Cs}/u],
          [{ attachments: [{ filename: value, content: "" }] }, /\p{Cc}|\p{Cs}/u],
        ] as const) {
          const result = parseRequest({ ...LEAST, ...part });
          if (!result.ok) continue;
          taken += 1;
          const { subject, headers, to, attachments } = result.request;
          const texts = [subject, headers?.["X-A"], to?.[0]?.name, attachments?.[0]?.filename];
          expect(texts.join("")).not.toMatch(control);
        }
      }),
      { numRuns: 1000 },
    );
    // Else nothing was looked at.
    expect(taken).toBeGreaterThan(100);
  });
});
