/**
 * Signatures on messages that a real server took in, relayed and stored, as a verifier sees them
 * that shares no code with the signer. DNS is a table; nothing is asked of any network.
 */
import { generateKeyPairSync } from "node:crypto";
import { dkimVerify } from "mailauth/lib/dkim/verify.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mtaAvailable } from "./available.ts";
import { type Functions, mailboxOf, startFunctions } from "./functions.ts";
import { type Mta, startPostfix } from "./servers.ts";

const CAROL = "carol@example.test";
const DOMAIN = "example.com";

const pem = { type: "pkcs8", format: "pem" } as const;
const spki = { type: "spki", format: "der" } as const;
const rsaPair = generateKeyPairSync("rsa", { modulusLength: 2048 });
const edPair = generateKeyPairSync("ed25519");
const rsa = {
  domain: DOMAIN,
  selector: "r1",
  privateKey: rsaPair.privateKey.export(pem).toString(),
};
const ed = {
  domain: DOMAIN,
  selector: "e1",
  privateKey: edPair.privateKey.export(pem).toString(),
};

const RECORDS: Readonly<Record<string, string>> = {
  [`r1._domainkey.${DOMAIN}`]: `v=DKIM1; k=rsa; p=${rsaPair.publicKey.export(spki).toString("base64")}`,
  // RFC 8463 §4: the bare key.
  [`e1._domainkey.${DOMAIN}`]: `v=DKIM1; k=ed25519; p=${edPair.publicKey.export(spki).subarray(-32).toString("base64")}`,
};

async function resolver(name: string, type: string): Promise<string[][]> {
  const record = type === "TXT" ? RECORDS[name] : undefined;
  if (record === undefined) throw Object.assign(new Error("no such name"), { code: "ENOTFOUND" });
  return [[record]];
}

interface Verdict {
  readonly algorithm: string;
  readonly result: string;
  /** The fields that are there and signed, in lower case. */
  readonly covers: readonly string[];
}

async function verdicts(message: Buffer | string): Promise<Verdict[]> {
  const { results } = await dkimVerify(Buffer.from(message), { resolver, strict: true });
  return results.map(({ algo, status, signingHeaders }) => ({
    algorithm: algo ?? "",
    result: status.result,
    covers: (signingHeaders?.keys ?? "").toLowerCase().split(/\s*:\s*/),
  }));
}

const REQUEST = {
  from: { name: "示例商店", address: `shop@${DOMAIN}` },
  to: [{ name: "李雷", address: CAROL }, "bob@例子.测试"],
  bcc: ["hidden@example.net"],
  replyTo: `help@${DOMAIN}`,
  subject: `您的订单已发货 🚚 ${"很长的主题".repeat(30)}`,
  text: `李雷：\n\n.以点开头\n..\n.\ntrailing  \n${"长".repeat(1500)}\n\n\n`,
  html: '<p>李雷 <img src="cid:logo"></p>\n.\n',
  attachments: [
    { filename: "logo.png", contentId: "logo", content: Buffer.alloc(3000, 7).toString("base64") },
    { filename: "明细.zip", content: Buffer.alloc(70_000, 9).toString("base64") },
  ],
  inReplyTo: `<before@${DOMAIN}>`,
  listUnsubscribe: {
    url: `https://${DOMAIN}/u?id=1`,
    mailto: `unsubscribe@${DOMAIN}`,
    oneClick: true,
  },
};

let mta: Mta;
let functions: Functions;

async function delivered(dkim: unknown, changes: object = {}, secret: object = {}) {
  const mailbox = functions.mailbox(
    mailboxOf(mta, "implicit", {
      from: `Shop <shop@${DOMAIN}>`,
      allowedFrom: [`@${DOMAIN}`],
      dkim,
      ...secret,
    }),
  );
  const result = await functions.invoke({ mailbox, ...REQUEST, ...changes });
  expect(result).toMatchObject({ outcome: "accepted" });
  const [message] = await mta.readMail(CAROL, { messageId: result.messageId });
  if (message === undefined) throw new Error("it was not delivered");
  return message;
}

describe.skipIf(!mtaAvailable("postfix"))("DKIM of a message delivered by Postfix", () => {
  beforeAll(async () => {
    [mta, functions] = await Promise.all([startPostfix(), startFunctions()]);
    // A function that does not answer is told here, once, and not by every test in turn.
    expect(await functions.invoke({})).toMatchObject({ outcome: "rejected" });
  });
  afterAll(() => Promise.all([functions?.stop(), mta?.stop()]));

  describe.each([
    { name: "rsa-sha256", dkim: rsa, algorithms: ["rsa-sha256"] },
    { name: "ed25519-sha256", dkim: ed, algorithms: ["ed25519-sha256"] },
    { name: "both at once", dkim: [rsa, ed], algorithms: ["rsa-sha256", "ed25519-sha256"] },
  ])("$name", ({ dkim, algorithms }) => {
    const passed = algorithms.map((algorithm) => ({ algorithm, result: "pass" }));

    it.each(["off", "auto"])("passes, chunking %s", async (chunking) => {
      const message = await delivered(dkim, {}, { chunking });
      const found = await verdicts(message);
      expect(found).toMatchObject(passed);
      for (const { covers } of found) {
        // RFC 8058 §4: one click is only believed where both are signed.
        expect(covers).toEqual(
          expect.arrayContaining(["list-unsubscribe", "list-unsubscribe-post", "in-reply-to"]),
        );
      }
      // From is named once more than it occurs, so that nobody can add another.
      const lists = message.toString("latin1").match(/\bh=[^;]*;/g) ?? [];
      expect(lists.map((list) => list.match(/\bFrom\b/g)?.length)).toEqual(passed.map(() => 2));
    });

    it("passes for a raw message, 8-bit and with odd line ends", async () => {
      const raw = Buffer.from(
        `From: shop@${DOMAIN}\nTo: ${CAROL}\nBcc: x@example.net\nSubject: raw\n` +
          "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n" +
          "Content-Transfer-Encoding: 8bit\n\nGrüße  \n.\n..\n 你好\t\n\n\n",
      ).toString("base64");
      const mailbox = functions.mailbox(
        mailboxOf(mta, "starttls", { from: `shop@${DOMAIN}`, dkim }),
      );
      const result = await functions.invoke({ mailbox, raw });
      expect(result).toMatchObject({ outcome: "accepted" });
      const [message] = await mta.readMail(CAROL, { messageId: result.messageId });
      expect(await verdicts(message ?? "")).toMatchObject(passed);
    });

    it("passes for a text of its own making: html alone", async () => {
      expect(await verdicts(await delivered(dkim, { text: undefined }))).toMatchObject(passed);
    });

    it("passes for an address that is UTF-8 in the header", async () => {
      const cc = [`用户@${DOMAIN}`];
      expect(await verdicts(await delivered(dkim, { cc }))).toMatchObject(passed);
    });

    describe("fails where the copy was tampered with", () => {
      let copy = "";
      beforeAll(async () => {
        copy = (await delivered(dkim, { attachments: [], html: undefined })).toString("latin1");
        expect(await verdicts(Buffer.from(copy, "latin1"))).toMatchObject(passed);
      });

      it.each<[string, RegExp, string]>([
        ["Subject", /^Subject: /m, "Subject: x "],
        ["From", /(?<=^From: [^\n]*)<shop@/m, "<boss@"],
        ["another From", /^From: /m, "From: evil@example.org\nFrom: "],
        ["To", /carol@example\.test>/, "dave@example.test>"],
        ["Date", /^Date: .*$/m, "Date: Tue, 01 Jul 2025 10:00:00 +0000"],
        ["the address to unsubscribe at", /https:\/\/example\.com/, "https://example.org"],
        ["one click", /One-Click/, "Two-Click"],
        ["one click taken away", /^List-Unsubscribe-Post: .*\n/m, ""],
        ["the type", /^Content-Type: text\/plain/m, "Content-Type: text/html"],
        ["the body", /\n\n([A-Za-z0-9+/])/, "\n\nA$1"],
        ["more body", /$/, "QQ==\n"],
        ["the signature", /\bbh=./, "bh="],
      ])("%s", async (_what, what, by) => {
        const tampered = copy.replace(what, by);
        expect(tampered).not.toBe(copy);
        const found = await verdicts(Buffer.from(tampered, "latin1"));
        expect(found).toHaveLength(algorithms.length);
        // Every signature covers these; of the signature's own fields only one was touched.
        const failed = found.filter(({ result }) => result !== "pass");
        expect(failed.length).toBe(what.source.includes("bh=") ? 1 : algorithms.length);
      });
    });
  });

  it("signs nothing where the mailbox has no key", async () => {
    const message = (await delivered(undefined)).toString("latin1");
    expect(message).not.toMatch(/^DKIM-Signature:/im);
    expect((await verdicts(message)).map(({ result }) => result)).toEqual(["none"]);
  });

  it("keeps the key out of the message and the log", async () => {
    const message = (await delivered([rsa, ed])).toString("latin1");
    for (const { privateKey } of [rsa, ed]) {
      const secret = privateKey.split("\n")[1] ?? "";
      expect(secret.length).toBeGreaterThan(40);
      expect(message + functions.log()).not.toContain(secret);
    }
  });
});
