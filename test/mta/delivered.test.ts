/**
 * The whole corpus, all the way: request → built handler → Postfix → maildir → two parsers → what
 * was asked for. What differs from a message that was only composed, a relay would have done.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Case,
  CORPUS,
  differences,
  PARSERS,
  type ParserName,
  parse,
  wanted,
} from "../message/corpus.ts";
import { mtaAvailable } from "./available.ts";
import { type Functions, mailboxOf, startFunctions } from "./functions.ts";
import { type Mta, startPostfix } from "./servers.ts";

const SHOP = { address: "shop@example.com", name: "Shop" };
const CAROL = "carol@example.test";

/** What a parser reads otherwise than it stands in the message: see the table of the round trip. */
const MISREAD: Readonly<Record<string, Partial<Record<ParserName, string[]>>>> = {
  "Chinese file names with quotes, semicolons and percent": {
    mailparser: ["attachments"],
    "postal-mime": ["attachments"],
  },
  "file names of 200 characters": { mailparser: ["attachments"] },
};

let mta: Mta;
let functions: Functions;
let mailbox: string;

describe.skipIf(!mtaAvailable("postfix"))("delivered through Postfix", () => {
  beforeAll(async () => {
    [mta, functions] = await Promise.all([startPostfix(), startFunctions()]);
    // A function that does not answer is told here, once, and not by every message in turn.
    expect(await functions.invoke({})).toMatchObject({ outcome: "rejected" });
    mailbox = functions.mailbox(
      mailboxOf(mta, "implicit", {
        from: `${SHOP.name} <${SHOP.address}>`,
        allowedFrom: ["@example.com"],
        maxRecipients: 2000,
      }),
    );
  });
  afterAll(() => Promise.all([functions?.stop(), mta?.stop()]));

  it.each(CORPUS)("$name", async (one: Case) => {
    // A blind copy is for the maildir, and shows in no message; the others' mail goes nowhere.
    const bcc = ([] as unknown[]).concat(one.input.bcc ?? [], CAROL);
    const before = Math.floor(Date.now() / 1000) * 1000;
    const result = await functions.invoke({ ...one.input, bcc, mailbox });
    expect(result).toMatchObject({ outcome: "accepted" });
    const [message] = await mta.readMail(CAROL, { messageId: result.messageId });
    if (message === undefined) throw new Error("it was not delivered");
    // The header ends at the first empty line; a text may say what it likes.
    const header = message.toString("latin1").split("\n\n", 1)[0];
    expect(header).not.toMatch(/^(resent-)?bcc[ \t]*:/im);
    for (const parser of PARSERS) {
      const { headers, ...reading } = await parse(parser, message);
      // The invocation's own, which the request says nothing of.
      const { "x-correlation-id": correlation, ...others } = headers;
      if (one.input.raw === undefined) expect(correlation).toMatch(/^request-\d+$/);
      const given = { from: SHOP, date: reading.date, messageId: result.messageId };
      if (one.input.date === undefined && one.read?.date === undefined) {
        // It bears the time at which it was made.
        expect(Date.parse(reading.date)).toBeGreaterThanOrEqual(before);
        expect(Date.parse(reading.date)).toBeLessThanOrEqual(Date.now());
      }
      const found = differences({ ...reading, headers: others }, await wanted(one, given));
      const fields = found.map(({ field }) => field);
      const misread = MISREAD[one.name]?.[parser] ?? [];
      expect([parser, fields, found]).toEqual([parser, misread, misread.length > 0 ? found : []]);
    }
  });
});
