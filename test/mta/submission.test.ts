/** The built handler against Postfix: what was asked for, what arrived, and what was told of it. */
import { createHash, randomBytes } from "node:crypto";
import PostalMime, { type Address, type Email } from "postal-mime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mtaAvailable } from "./available.ts";
import { type Functions, mailboxOf, startFunctions } from "./functions.ts";
import { alice, bob, type Mta, startPostfix, type User } from "./servers.ts";

/** Outside ASCII, but not outside what Unicode 3.2 knew, to which SASLprep holds SCRAM. */
const dora: User = { username: "dora@example.test", password: "Pässwörd 密码" };
const CAROL = "carol@example.test";
const securities = ["implicit", "starttls"] as const;
const mechanisms = ["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"];

let mta: Mta;
let functions: Functions;

async function delivered(address: string, messageId: string): Promise<Buffer> {
  const messages = await mta.readMail(address, { messageId });
  expect(messages).toHaveLength(1);
  return messages[0] as Buffer;
}

/** What Postfix logged of the sessions that `during` opens; it writes its log behind its answers. */
async function logged(during: () => Promise<unknown>): Promise<string> {
  const lines = () =>
    mta
      .log()
      .split("\n")
      .filter((line) => line.includes("/smtpd["));
  const count = (what: string) => lines().filter((line) => line.includes(what)).length;
  const settled = () =>
    expect.poll(() => count("]: connect from") - count("]: disconnect from")).toBe(0);
  await settled();
  const from = lines().length;
  await during();
  await expect.poll(() => lines().length).toBeGreaterThan(from);
  await settled();
  return lines().slice(from).join("\n");
}

const addressOf = (entry: Address | undefined) =>
  entry && { name: entry.name, address: entry.address };
const sha256 = (bytes: Uint8Array | ArrayBuffer | string) =>
  createHash("sha256")
    .update(bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : bytes)
    .digest("hex");
/** The parser gives decoded text as it was on the wire, and 8-bit text as it lies in the maildir. */
const lf = (text = "") => text.replaceAll("\r\n", "\n");
/** RFC 2047, as far as it is needed here: UTF-8 in base64 or Q. */
function decodeWords(text: string): string {
  const decode = (_: string, encoding: string, data: string) =>
    encoding.toUpperCase() === "B"
      ? Buffer.from(data, "base64").toString()
      : decodeURIComponent(data.replaceAll("_", " ").replaceAll("=", "%"));
  return text.replace(/\?=\s+=\?/g, "?==?").replace(/=\?utf-8\?([bq])\?([^?]*)\?=/gi, decode);
}
/** Of one field: what stands in the message, unfolded, each time that it stands there. */
function fields(email: Email, name: string): string[] {
  return email.headers.filter(({ key }) => key === name).map(({ value }) => value);
}

describe.skipIf(!mtaAvailable("postfix"))("the built handler and Postfix", () => {
  beforeAll(async () => {
    [mta, functions] = await Promise.all([
      startPostfix({ users: [alice, bob, dora] }),
      startFunctions(),
    ]);
  });
  afterAll(() => Promise.all([functions?.stop(), mta?.stop()]));

  const all = securities.flatMap((security) => mechanisms.map((auth) => ({ security, auth })));
  describe.each([
    { ...alice, ways: all },
    { ...dora, ways: all },
    // An emoji newer than SASLprep's tables: SCRAM cannot be done with it, all else can.
    { ...bob, ways: all.filter(({ auth }) => !auth.startsWith("SCRAM")) },
  ])("logging in as $username", ({ username, password, ways }) => {
    it.each(ways)("$security, $auth", async ({ security, auth }) => {
      const credentials = { username, password, auth: [auth] };
      const result = await functions.invoke({
        mailbox: functions.mailbox(mailboxOf(mta, security, credentials)),
        to: CAROL,
        subject: `${security} ${auth}`,
        text: "Hello\n.\n..two dots\n",
      });
      expect(result).toMatchObject({
        outcome: "accepted",
        retryable: false,
        reply: { code: 250, enhanced: "2.0.0" },
        server: { host: mta.host, auth, tls: { protocol: "TLSv1.3" } },
        envelope: { from: username, to: [CAROL] },
      });
      expect(result.error).toBeUndefined();
      const raw = (await delivered(CAROL, result.messageId)).toString();
      expect(raw).toContain(`Return-Path: <${username}>`);
      // Postfix's own witness that it was TLS, and who it was.
      expect(raw).toMatch(/using TLSv1\.3 with cipher/);
      expect(raw).toContain(`(Authenticated sender: ${username})`);
      expect(lf((await PostalMime.parse(raw)).text)).toBe("Hello\n.\n..two dots\n");
      expect(mta.log()).toContain(`sasl_method=${auth}, sasl_username=${username}`);
      expect(mta.log()).toContain(`${result.queueId}: client=`);
      const shown = JSON.stringify(result) + functions.log();
      expect(shown).not.toContain(password);
      expect(shown).not.toContain(JSON.stringify(password).slice(1, -1));
      expect(shown).not.toContain(Buffer.from(password).toString("base64"));
    });
  });

  it("a password that SCRAM cannot carry goes by PLAIN, unless the mailbox forbids", async () => {
    const send = (changes: object) =>
      functions.invoke({
        mailbox: functions.mailbox(mailboxOf(mta, "implicit", { ...bob, ...changes })),
        to: CAROL,
        text: "x",
      });
    expect(await send({})).toMatchObject({ outcome: "accepted", server: { auth: "PLAIN" } });
    expect(await send({ auth: ["SCRAM-SHA-256"] })).toMatchObject({
      outcome: "deferred",
      retryable: false,
      error: { code: "auth_unavailable", phase: "auth" },
    });
  });

  it("delivers every field as it was asked for", async () => {
    const zip = randomBytes(70_000);
    const logo = Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), randomBytes(500)]);
    const request = {
      mailbox: functions.mailbox(
        mailboxOf(mta, "implicit", { from: `示例商店 <${alice.username}>`, chunking: "auto" }),
      ),
      to: [
        { name: "李雷", address: CAROL },
        "Han Meimei <hanmeimei@elsewhere.test>",
        { name: 'Quote "and", comma', address: "q@elsewhere.test" },
      ],
      cc: [{ name: "Jürgen Müller", address: "j@elsewhere.test" }],
      bcc: [bob.username, "secret@elsewhere.test"],
      replyTo: [{ name: "客服", address: "help@example.test" }],
      subject: `您的订单 1234 已发货 🚚 ${"很长的主题".repeat(20)} · and an end`,
      text: `李雷：\n\n.以点开头\n..\n.\n您的订单已发货。\n${"长".repeat(1200)}\n`,
      html: '<p>李雷：<b>您的订单</b>已发货。<img src="cid:logo"></p>\n<p>.</p>',
      attachments: [
        {
          filename: "订单明细（十一月）.zip",
          contentType: "application/zip",
          content: zip.toString("base64"),
        },
        {
          filename: "标志.png",
          contentType: "image/png",
          content: logo.toString("base64"),
          contentId: "logo",
        },
      ],
      headers: { "X-Campaign": "42", "X-Words": "café und mehr" },
      inReplyTo: "<before@example.test>",
      references: ["<first@example.test>", "<before@example.test>"],
      importance: "high",
      date: "2026-11-20T08:30:00+08:00",
    };
    const result = await functions.invoke(request);
    expect(result).toMatchObject({ outcome: "accepted" });
    expect(result.envelope).toEqual({
      from: alice.username,
      to: [
        CAROL,
        "hanmeimei@elsewhere.test",
        "q@elsewhere.test",
        "j@elsewhere.test",
        bob.username,
        "secret@elsewhere.test",
      ],
    });
    const raw = await delivered(CAROL, result.messageId);
    const email = await PostalMime.parse(raw);

    expect(addressOf(email.from)).toEqual({ name: "示例商店", address: alice.username });
    expect(email.to?.map(addressOf)).toEqual([
      { name: "李雷", address: CAROL },
      { name: "Han Meimei", address: "hanmeimei@elsewhere.test" },
      { name: 'Quote "and", comma', address: "q@elsewhere.test" },
    ]);
    expect(email.cc?.map(addressOf)).toEqual([
      { name: "Jürgen Müller", address: "j@elsewhere.test" },
    ]);
    expect(email.replyTo?.map(addressOf)).toEqual([{ name: "客服", address: "help@example.test" }]);
    expect(email.subject).toBe(request.subject);
    expect(lf(email.text)).toBe(request.text);
    expect(lf(email.html).trimEnd()).toBe(request.html);
    expect(email.messageId).toBe(result.messageId);
    expect(email.inReplyTo).toBe(request.inReplyTo);
    expect(email.references).toBe(request.references.join(" "));
    expect(new Date(email.date ?? "").getTime()).toBe(Date.parse(request.date));
    expect(fields(email, "x-campaign")).toEqual(["42"]);
    expect(fields(email, "x-words").map(decodeWords)).toEqual(["café und mehr"]);
    for (const once of ["date", "message-id", "mime-version", "from", "to", "cc", "subject"]) {
      expect([once, fields(email, once).length]).toEqual([once, 1]);
    }
    expect(fields(email, "mime-version")).toEqual(["1.0"]);
    expect(fields(email, "importance")[0]?.toLowerCase()).toBe("high");

    expect(
      email.attachments.map(({ filename, mimeType, disposition, contentId, content }) => ({
        filename,
        mimeType,
        disposition,
        contentId: contentId ?? "",
        sha256: sha256(content),
      })),
    ).toEqual(
      expect.arrayContaining([
        {
          filename: "订单明细（十一月）.zip",
          mimeType: "application/zip",
          disposition: "attachment",
          contentId: "",
          sha256: sha256(zip),
        },
        {
          filename: "标志.png",
          mimeType: "image/png",
          disposition: "inline",
          contentId: "<logo>",
          sha256: sha256(logo),
        },
      ]),
    );
    expect(email.attachments).toHaveLength(2);

    // A blind copy is delivered, and stands nowhere: not in the copy of the others, nor in its own.
    const blind = await delivered(bob.username, result.messageId);
    for (const copy of [raw, blind]) {
      const text = copy.toString("latin1");
      expect(text).not.toMatch(/^(resent-)?bcc:/im);
      const own = text.slice(text.search(/^From: /m));
      expect(own).not.toContain(bob.username);
      expect(own).not.toContain("secret@");
      // RFC 5322 §2.1.1.
      expect(Math.max(...own.split("\n").map((line) => line.length))).toBeLessThanOrEqual(998);
      expect(own).toMatch(/^[\t\n -~]*$/);
    }
  });

  it("an unknown recipient beside a known one: partial, each with its own reply", async () => {
    const result = await functions.invoke({
      mailbox: functions.mailbox(mailboxOf(mta, "implicit")),
      to: ["nobody@example.test", CAROL],
      subject: "one of two",
      text: "x",
    });
    expect(result).toMatchObject({
      outcome: "partial",
      retryable: false,
      reply: { code: 250 },
      recipients: [
        {
          address: "nobody@example.test",
          outcome: "rejected",
          reply: { code: 550, enhanced: "5.1.1", text: expect.stringContaining("unknown") },
        },
        { address: CAROL, outcome: "accepted", reply: { code: 250, enhanced: "2.1.5" } },
      ],
      error: { code: "recipient_refused", phase: "rcpt" },
    });
    await delivered(CAROL, result.messageId);
  });

  it('"partial": "refuse": nobody gets it, and the session ends in good order', async () => {
    let result: Awaited<ReturnType<typeof functions.invoke>>;
    const said = await logged(async () => {
      result = await functions.invoke({
        mailbox: functions.mailbox(mailboxOf(mta, "implicit")),
        to: [CAROL, "nobody@example.test"],
        text: "to both or to none",
        partial: "refuse",
      });
    });
    expect(result).toMatchObject({
      outcome: "rejected",
      reply: { code: 550, enhanced: "5.1.1" },
      error: { phase: "rcpt" },
    });
    expect(result.queueId).toBeUndefined();
    expect(mta.log()).not.toContain(result.messageId);
    expect(said).toMatch(/ ehlo=1 auth=1 mail=1 rcpt=1\/2 rset=1 quit=1 commands=6\/7/);
  });

  it("only unknown recipients: rejected, and no content is left behind", async () => {
    const result = await functions.invoke({
      mailbox: functions.mailbox(mailboxOf(mta, "starttls")),
      to: ["nobody@example.test", "noone@example.test"],
      text: "x",
    });
    expect(result).toMatchObject({
      outcome: "rejected",
      retryable: false,
      reply: { code: 550, enhanced: "5.1.1" },
    });
    expect(mta.log()).not.toContain(result.messageId);
  });

  it.each(["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "whatever is strongest"])(
    "a wrong password by %s: deferred, a person is asked, and AUTH was said once",
    async (auth) => {
      const password = `wrong-${auth}-password`;
      const changes = { password, ...(mechanisms.includes(auth) && { auth: [auth] }) };
      const mailbox = functions.mailbox(mailboxOf(mta, "implicit", changes));
      const refused = {
        outcome: "deferred",
        retryable: false,
        error: { code: "auth_failed", phase: "auth" },
      };
      const said = await logged(async () => {
        const result = await functions.invoke({ mailbox, to: CAROL, text: "x" });
        expect(result).toMatchObject({ ...refused, reply: { code: 535, enhanced: "5.7.8" } });
        expect(JSON.stringify(result)).not.toContain(password);
        // Refused once, it is not tried again for now: no connection is opened.
        const again = await functions.invoke({ mailbox, to: CAROL, text: "x" });
        expect(again).toMatchObject({ ...refused, reply: null });
      });
      // "auth=0/1": none of one AUTH command succeeded. Postfix counts them itself.
      expect(said.match(/ auth=\S+/g)).toEqual([" auth=0/1"]);
      expect(said.match(/SASL \S+ authentication failed/g)).toHaveLength(1);
    },
  );

  it("a password rotated behind a warm instance costs one more AUTH", async () => {
    const mailbox = functions.mailbox(mailboxOf(mta, "implicit", { password: "the old one" }));
    const message = { mailbox, to: CAROL, text: "x" };
    const said = await logged(async () => {
      // The warm instance has read the secret, and not yet used it.
      const forbidden = await functions.invoke({ ...message, from: "boss@example.test" });
      expect(forbidden).toMatchObject({ outcome: "rejected", error: { phase: "policy" } });
      functions.rotate(mailbox, mailboxOf(mta, "implicit"));
      const result = await functions.invoke(message);
      expect(result).toMatchObject({ outcome: "accepted" });
    });
    expect(said.match(/ auth=\S+/g)).toEqual([" auth=0/1", " auth=1"]);
  });

  it("check reports what Postfix offers, and sends nothing", async () => {
    const said = await logged(async () => {
      const mailbox = functions.mailbox(mailboxOf(mta, "starttls"));
      const result = await functions.check({ mailbox });
      expect(result).toMatchObject({
        ok: true,
        login: "accepted",
        server: { tls: { protocol: "TLSv1.3" } },
        maxSize: 200 * 1024 * 1024,
      });
      expect([...result.mechanisms].sort()).toEqual([...mta.mechanisms].sort());
      expect(Object.keys(result.capabilities)).toEqual(
        expect.arrayContaining(["PIPELINING", "SMTPUTF8", "CHUNKING", "8BITMIME", "DSN"]),
      );
      expect(result.error).toBeUndefined();
    });
    expect(said).toMatch(/ ehlo=2 starttls=1 auth=1 quit=1 commands=5/);
  });

  it("check tells a wrong password", async () => {
    const wrong = mailboxOf(mta, "implicit", { password: "wr0ng" });
    const result = await functions.check({ mailbox: functions.mailbox(wrong) });
    expect(result).toMatchObject({ ok: false, login: "refused", error: { code: "auth_failed" } });
    expect([...result.mechanisms].sort()).toEqual([...mta.mechanisms].sort());
  });

  it("a recipient outside ASCII goes by SMTPUTF8", async () => {
    const to = "用户@example.test";
    const result = await functions.invoke({
      mailbox: functions.mailbox(mailboxOf(mta, "implicit")),
      to: { name: "用户", address: to },
      cc: "bob@例子.测试",
      subject: "给用户",
      text: "你好\n",
    });
    expect(result).toMatchObject({ outcome: "accepted" });
    expect(result.transcript).toContainEqual(
      expect.objectContaining({ from: "C", text: expect.stringMatching(/^MAIL .* SMTPUTF8$/) }),
    );
    expect(result.envelope.to[0]).toBe(to);
    const email = await PostalMime.parse(await delivered(to, result.messageId));
    expect(email.to?.map(addressOf)).toEqual([{ name: "用户", address: to }]);
    expect(email.subject).toBe("给用户");
    await delivered("bob@xn--fsqu00a.xn--0zwm56d", result.messageId);
  });

  it("an internationalised domain alone needs no SMTPUTF8", async () => {
    const result = await functions.invoke({
      mailbox: functions.mailbox(mailboxOf(mta, "implicit")),
      to: "bob@例子.测试",
      text: "x",
    });
    expect(result).toMatchObject({ outcome: "accepted" });
    const said = result.transcript.map(({ text }: { text: string }) => text).join("\n");
    expect(said).toContain("RCPT TO:<bob@xn--fsqu00a.xn--0zwm56d>");
    expect(said).not.toMatch(/^MAIL .*SMTPUTF8/m);
    await delivered("bob@xn--fsqu00a.xn--0zwm56d", result.messageId);
  });

  it("a raw message arrives octet for octet, but for what was missing and its Bcc", async () => {
    const body = "Zeile eins: Grüße, 你好\r\n.\r\n..\r\n \r\nlast line without an end";
    const raw = [
      `From: Alice <${alice.username}>`,
      `To: Carol <${CAROL}>`,
      `Bcc: ${bob.username}`,
      "Subject: =?utf-8?B?5L2g5aW9?= raw",
      "MIME-Version: 1.0",
      "Content-Type: text/plain; charset=utf-8",
      "Content-Transfer-Encoding: 8bit",
      "X-Folded: one",
      "\ttwo",
      "",
      body,
    ].join("\r\n");
    const result = await functions.invoke({
      mailbox: functions.mailbox(mailboxOf(mta, "implicit")),
      raw: Buffer.from(raw).toString("base64"),
    });
    expect(result).toMatchObject({ outcome: "accepted" });
    expect(result.envelope.to).toEqual([CAROL, bob.username]);
    const text = (await delivered(CAROL, result.messageId)).toString();
    expect(text).not.toMatch(/^bcc:/im);
    expect(text).toContain("X-Folded: one\n\ttwo\n");
    expect(text).toContain("Subject: =?utf-8?B?5L2g5aW9?= raw\n");
    expect(text).toContain(`Message-ID: ${result.messageId}\n`);
    expect(text).toMatch(/^Date: /m);
    expect(text.slice(text.indexOf("\n\n") + 2)).toBe(`${body.replaceAll("\r\n", "\n")}\n`);
    await delivered(bob.username, result.messageId);
  });

  it("a raw message keeps the Message-ID and Date that it has", async () => {
    const messageId = `<${crypto.randomUUID()}@example.test>`;
    const raw = `From: ${alice.username}\nTo: ${CAROL}\nMessage-ID: ${messageId}\nDate: Thu, 01 Jan 2026 00:00:00 +0000\n\nbare LF\n`;
    const result = await functions.invoke({
      mailbox: functions.mailbox(mailboxOf(mta, "starttls", { chunking: "auto" })),
      raw: Buffer.from(raw).toString("base64"),
    });
    expect(result).toMatchObject({ outcome: "accepted", messageId });
    const text = (await delivered(CAROL, messageId)).toString();
    expect(text.match(/^(date|message-id): .*/gim)).toEqual([
      `Message-ID: ${messageId}`,
      "Date: Thu, 01 Jan 2026 00:00:00 +0000",
    ]);
  });

  it("a large attachment survives both DATA and BDAT", async () => {
    const content = randomBytes(3_000_000);
    for (const chunking of ["off", "auto"]) {
      const result = await functions.invoke({
        mailbox: functions.mailbox(mailboxOf(mta, "implicit", { chunking })),
        to: CAROL,
        text: "x",
        attachments: [{ filename: "big.bin", content: content.toString("base64") }],
      });
      expect(result).toMatchObject({ outcome: "accepted" });
      const email = await PostalMime.parse(await delivered(CAROL, result.messageId));
      expect(sha256(email.attachments[0]?.content as ArrayBuffer)).toBe(sha256(content));
    }
  });
});
