/** Signatures, as a verifier that shares no code with the signer sees them. */
import { generateKeyPairSync } from "node:crypto";
import { dkimVerify } from "mailauth/lib/dkim/verify.js";
import { describe, expect, test } from "vitest";
import { compose } from "../../lib/message/compose.ts";
import { DkimError, type DkimKey, signContent } from "../../lib/message/dkim.ts";
import { parseRequest } from "../../lib/message/schema.ts";
import { type Content, contentOf } from "../../lib/smtp/data.ts";

const rsaPair = generateKeyPairSync("rsa", { modulusLength: 2048 });
const edPair = generateKeyPairSync("ed25519");
const pem = { type: "pkcs8", format: "pem" } as const;
const RSA = rsaPair.privateKey.export(pem).toString();
const ED = edPair.privateKey.export(pem).toString();
const rsa: DkimKey = { domain: "example.com", selector: "r1", privateKey: RSA };
const ed: DkimKey = { domain: "example.com", selector: "e1", privateKey: ED };

const spki = { type: "spki", format: "der" } as const;
const RECORDS: Record<string, string> = {
  r1: `v=DKIM1; k=rsa; p=${rsaPair.publicKey.export(spki).toString("base64")}`,
  // RFC 8463 §4: the bare key.
  e1: `v=DKIM1; k=ed25519; p=${edPair.publicKey.export(spki).subarray(-32).toString("base64")}`,
};

/** DNS as it would be; nothing is asked of any network. */
async function resolver(name: string): Promise<string[][]> {
  const record = RECORDS[name.split("._domainkey.")[0] ?? ""];
  if (record === undefined) throw Object.assign(new Error("no such name"), { code: "ENOTFOUND" });
  return [[record]];
}

async function octets(content: Content): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content.open()) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function verdicts(message: Buffer): Promise<string[]> {
  const { results } = await dkimVerify(message, { resolver, strict: true });
  return results.map(({ status }) => status.result);
}

/** Content in pieces of one size, however they fall. */
function pieces(text: string, length: number): Content {
  const whole = contentOf(Buffer.from(text));
  return {
    ...whole,
    async *open() {
      const [all] = [...(whole.open() as Uint8Array[])] as [Uint8Array];
      for (let at = 0; at < all.length; at += length) yield all.slice(at, at + length);
    },
  };
}

const HEADER = "From: Shop <shop@example.com>\r\nTo: a@example.net\r\nSubject: Hello\r\n";
const MESSAGE = `${HEADER}\r\nHello,\r\nworld.\r\n`;

const signed = async (text: string, keys: readonly DkimKey[] = [rsa, ed]): Promise<Buffer> =>
  octets(await signContent(contentOf(Buffer.from(text)), keys));

describe("a signature", () => {
  test.each([
    ["rsa-sha256", rsa],
    ["ed25519-sha256", ed],
  ])("with %s passes", async (algorithm, key) => {
    const message = await signed(MESSAGE, [key]);
    expect(message.toString()).toMatch(
      new RegExp(`^DKIM-Signature: v=1; a=${algorithm}; c=relaxed/relaxed;`),
    );
    expect(await verdicts(message)).toEqual(["pass"]);
  });

  test("with each of several keys passes, in their order", async () => {
    const message = await signed(MESSAGE, [ed, rsa]);
    expect(message.toString().match(/ s=\w+/g)).toEqual([" s=e1", " s=r1"]);
    expect(await verdicts(message)).toEqual(["pass", "pass"]);
  });

  test("stands before the message, which stays as it is", async () => {
    const content = contentOf(Buffer.from(MESSAGE));
    const result = await signContent(content, [rsa, ed]);
    const message = await octets(result);
    expect(message.toString().endsWith(`\r\n${MESSAGE}`)).toBe(true);
    expect(message).toHaveLength(result.size);
    expect(result).toMatchObject({ eightBit: false, utf8Header: false });
    expect(await octets(result)).toEqual(message);
  });

  test("says when, if it is told, and is the same each time", async () => {
    const date = new Date("2026-11-21T09:00:00.900Z");
    const once = await octets(await signContent(contentOf(Buffer.from(MESSAGE)), [rsa], { date }));
    const again = await octets(await signContent(contentOf(Buffer.from(MESSAGE)), [rsa], { date }));
    expect(once.toString()).toContain(" t=1795251600;");
    expect(again).toEqual(once);
    expect(await verdicts(once)).toEqual(["pass"]);
  });

  test("has no line over 78 octets", async () => {
    const header = (await signed(MESSAGE)).toString().split("\r\nFrom:")[0] ?? "";
    for (const line of header.split("\r\n")) expect(line.length).toBeLessThanOrEqual(78);
  });

  test("may be in the older form of RSA keys (PKCS #1)", async () => {
    const old = rsaPair.privateKey.export({ type: "pkcs1", format: "pem" }).toString();
    expect(await verdicts(await signed(MESSAGE, [{ ...rsa, privateKey: old }]))).toEqual(["pass"]);
  });

  test("of no key is none", async () => {
    const content = contentOf(Buffer.from(MESSAGE));
    expect(await signContent(content, [])).toBe(content);
  });

  test("is for an internationalised domain, by its A-labels", async () => {
    const message = await signed(MESSAGE, [{ ...rsa, domain: "bücher.example" }]);
    expect(message.toString()).toContain("d=xn--bcher-kva.example;");
    expect(await verdicts(message)).toEqual(["pass"]);
  });
});

describe("the canonical form", () => {
  const long = "x".repeat(998);
  test.each<[string, string]>([
    ["an empty body", `${HEADER}\r\n`],
    ["no body and no empty line", HEADER],
    ["a body of empty lines", `${HEADER}\r\n\r\n\r\n\r\n`],
    ["empty lines at the end", `${MESSAGE}\r\n\r\n\r\n`],
    ["empty lines within", `${HEADER}\r\nOne\r\n\r\n\r\n\r\nTwo\r\n`],
    ["no line end at the end", `${HEADER}\r\nHello`],
    ["white space at line ends", `${HEADER}\r\nHello \t\r\n \t \r\nworld  \r\n`],
    ["runs of white space", `${HEADER}\r\na  b\t\tc \t d\r\n  e\r\n`],
    ["the longest lines", `${HEADER}\r\n${long}\r\n${long}\r\n`],
    ["dots at line starts", `${HEADER}\r\n.\r\n..\r\n.a\r\n`],
    ["bare line feeds", `${HEADER}\r\na\nb\n\nc\n`],
    ["octets over 127", `${HEADER}\r\nGrüße, 李雷\r\n`],
    ["raw UTF-8 in the header", "From: 李雷 <l@example.com>\r\nSubject: 我是标题\r\n\r\nx\r\n"],
    [
      "folded fields",
      "From: Shop\r\n <shop@example.com>\r\nSubject:  folded \r\n\t twice \r\n  over\r\nReferences: <a@b>\r\n <c@d>\r\n\r\nx\r\n",
    ],
    ["names in any case", "fROM: a@example.com\r\nSUBJECT: x\r\n\r\nx\r\n"],
    ["fields that come twice", "From: a@example.com\r\nTo: b@c\r\nTo: d@e\r\nTo: f@g\r\n\r\nx\r\n"],
    ["an empty field", "From: a@example.com\r\nSubject:\r\nCc: \r\n\r\nx\r\n"],
  ])("of %s", async (_name, text) => {
    expect(await verdicts(await signed(text))).toEqual(["pass", "pass"]);
  });

  test("does not depend on how the content is cut", async () => {
    const text = `${HEADER}\r\nOne  two \r\n\r\n\r\nthree\t\r\n\r\n`;
    const expected = await octets(await signContent(contentOf(Buffer.from(text)), [rsa]));
    for (let length = 1; length < 40; length += 1) {
      const message = await octets(await signContent(pieces(text, length), [rsa]));
      expect(message.equals(expected)).toBe(true);
    }
    expect(await verdicts(expected)).toEqual(["pass"]);
  });

  test("of long bodies is that of short ones, whatever is between the lines", async () => {
    const line = "QUJD".repeat(19);
    for (const odd of ["", " ", "a b", "\t", "x ", "\r\n", " \r\n\t\r\nx", "."]) {
      const body = `${`${line}\r\n`.repeat(5)}${odd}\r\n${`${line}\r\n`.repeat(5)}${odd}\r\n`;
      for (const length of [1, 2, 3, 77, 78, 79, 80, 155, 156, 157, 400, 5000]) {
        const message = await octets(
          await signContent(pieces(`${HEADER}\r\n${body}`, length), [ed]),
        );
        expect(await verdicts(message), `${JSON.stringify(odd)} by ${length}`).toEqual(["pass"]);
      }
    }
  });
});

describe("what is signed", () => {
  const FULL = `${[
    "From: a@example.com",
    "Sender: s@example.com",
    "Reply-To: r@example.com",
    "To: b@example.net",
    "Cc: c@example.net",
    "Subject: Hello",
    "Date: Sat, 21 Nov 2026 09:00:00 +0000",
    "Message-ID: <1@example.com>",
    "In-Reply-To: <0@example.com>",
    "References: <0@example.com>",
    "List-Unsubscribe: <https://example.com/u>",
    "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
    "X-Campaign: 42",
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=us-ascii",
    "Content-Transfer-Encoding: 7bit",
  ].join("\r\n")}\r\n\r\nHello\r\n`;

  test("is named, and From once more than it occurs", async () => {
    const message = (await signed(FULL, [rsa])).toString();
    const list = /\bh=([^;]*);/.exec(message)?.[1]?.replace(/\s/g, "");
    expect(list).toBe(
      "From:Sender:Reply-To:To:Cc:Subject:Date:Message-ID:In-Reply-To:References:MIME-Version:" +
        "Content-Type:Content-Transfer-Encoding:List-Unsubscribe:List-Unsubscribe-Post:From",
    );
  });

  test.each<[string, string | RegExp, string]>([
    ["the body", "\r\nHello\r\n", "\r\nHallo\r\n"],
    ["more body", /$/, "More\r\n"],
    ["From", "From: a@", "From: b@"],
    ["Sender", "Sender: s@", "Sender: t@"],
    ["Reply-To", "Reply-To: r@", "Reply-To: q@"],
    ["To", "To: b@", "To: d@"],
    ["Subject", "Subject: Hello", "Subject: Hallo"],
    ["Date", "Date: Sat, 21", "Date: Sat, 28"],
    ["Message-ID", "<1@", "<2@"],
    ["Content-Type", "text/plain", "text/html"],
    ["List-Unsubscribe", "example.com/u", "example.org/u"],
    ["List-Unsubscribe-Post", "One-Click", "Two-Click"],
    ["a field that is taken away", /Cc: .*\r\n/, ""],
    ["a second From", /^Subject:/m, "From: b@evil.example\r\nSubject:"],
    ["a second From on top", /^/, "From: b@evil.example\r\n"],
  ])("breaks by tampering with: %s", async (_name, what, by) => {
    const message = (await signed(FULL)).toString();
    const tampered = message.replace(what, by);
    expect(tampered).not.toBe(message);
    expect(await verdicts(Buffer.from(tampered))).not.toContain("pass");
  });

  test("survives what relays do to white space and folding", async () => {
    const message = (await signed(FULL)).toString();
    const relayed = message
      .replace("Subject: Hello", "SUBJECT:\r\n\t Hello  ")
      .replace("\r\nHello\r\n", "\r\nHello  \r\n\r\n\r\n")
      .replace("X-Campaign: 42", "X-Campaign: 43");
    expect(await verdicts(Buffer.from(relayed))).toEqual(["pass", "pass"]);
  });
});

describe("a composed message", () => {
  const parsed = parseRequest({
    to: [{ name: "李雷", address: "b@例子.测试" }],
    subject: "我是标题，".repeat(40),
    text: "Hello \n.\n..dots\n",
    html: "<p>Hello</p>",
    listUnsubscribe: { url: "https://example.com/u", oneClick: true },
    attachments: [{ filename: "b.bin", s3: { bucket: "files", key: "b.bin" } }],
  });
  if (!parsed.ok) throw new Error("a request that should be well-formed");

  test("with a streamed attachment is read once to be signed, and passes", async () => {
    let opened = 0;
    const { content } = await compose(parsed.request, {
      from: { address: "shop@example.com" },
      date: new Date("2026-11-21T09:00:00Z"),
      messageId: "<1@example.com>",
      resolveAttachment: async () => ({
        size: 300_000,
        async *open() {
          opened += 1;
          for (let left = 300_000; left > 0; left -= 60_000)
            yield new Uint8Array(60_000).fill(left);
        },
      }),
    });
    const result = await signContent(content, [rsa, ed]);
    expect(opened).toBe(1);
    const message = await octets(result);
    expect(opened).toBe(2);
    expect(message).toHaveLength(result.size);
    expect(await verdicts(message)).toEqual(["pass", "pass"]);
    expect(message.toString()).toMatch(/List-Unsubscribe-Post:\s*From;/);
  });

  test("whose source fails is not signed; the source is let go of", async () => {
    let released = false;
    const failing: Content = {
      size: 1000,
      eightBit: false,
      utf8Header: false,
      async *open() {
        try {
          yield Buffer.from(MESSAGE);
          throw new Error("the source broke");
        } finally {
          released = true;
        }
      },
    };
    await expect(signContent(failing, [rsa])).rejects.toThrow("the source broke");
    expect(released).toBe(true);
  });
});

describe("a key that cannot sign", () => {
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export(pem).toString();
  const short = generateKeyPairSync("rsa", { modulusLength: 512 }).privateKey.export(pem);
  const locked = rsaPair.privateKey.export({ ...pem, cipher: "aes-256-cbc", passphrase: "p" });
  const publicKey = rsaPair.publicKey.export({ type: "spki", format: "pem" }).toString();
  test.each<[string, DkimKey, string]>([
    [
      "garbage",
      { ...rsa, privateKey: "-----BEGIN PRIVATE KEY-----\nQUJD\n" },
      "privateKey is no pr",
    ],
    ["a public key", { ...rsa, privateKey: publicKey }, "privateKey is no private key"],
    ["an EC key", { ...rsa, privateKey: ec }, "privateKey is of type ec"],
    ["a short key", { ...rsa, privateKey: short.toString() }, "privateKey has 512 bits"],
    ["an encrypted key", { ...rsa, privateKey: locked.toString() }, "privateKey is encrypted"],
    ["a selector with a semicolon", { ...rsa, selector: "s1; x=1" }, "selector must be DNS labels"],
    ["an empty selector label", { ...rsa, selector: "a..b" }, "selector must be DNS labels"],
    ["a domain that is none", { ...rsa, domain: "example.com\r\nX: y" }, "domain is no domain"],
  ])("is named, before anything is read: %s", async (_name, key, reason) => {
    const unread: Content = {
      ...contentOf(Buffer.from(MESSAGE)),
      open: () => {
        throw new Error("it was read");
      },
    };
    const error = await signContent(unread, [ed, key]).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DkimError);
    const { message, cause, stack } = error as DkimError;
    expect(message).toContain(`dkim[1].${reason}`);
    expect(cause).toBeUndefined();
    const body = key.privateKey.split("\n")[1] ?? "";
    expect(`${message}${stack}`).not.toContain(body);
  });

  test("is not the only obstacle: a message without From may not be signed", async () => {
    await expect(signed("Subject: x\r\n\r\nx\r\n")).rejects.toThrow("has no From field");
  });
});
