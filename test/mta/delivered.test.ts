/**
 * The whole corpus, all the way: request → built handler → Postfix → maildir → two parsers → what
 * was asked for. What differs from a message that was only composed, a relay would have done.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Case, CORPUS, differences, PARSERS, parse, wanted } from "../message/corpus.ts";
import { mtaAvailable } from "./available.ts";
import { type Functions, mailboxOf, startFunctions } from "./functions.ts";
import { type Mta, startPostfix } from "./servers.ts";

const SHOP = { address: "shop@example.com", name: "Shop" };
const CAROL = "carol@example.test";

/** What a parser reads otherwise than it stands in the message: see the table of the round trip. */
const MISREAD: Readonly<Record<string, string[]>> = {
  "Chinese file names with quotes, semicolons and percent": ["attachments"],
  "file names of 200 characters": ["attachments"],
};

let mta: Mta;
let functions: Functions;
let mailbox: string;

describe.skipIf(!mtaAvailable("postfix"))("delivered through Postfix", () => {
  beforeAll(async () => {
    [mta, functions] = await Promise.all([startPostfix(), startFunctions()]);
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
    expect(message.toString("latin1")).not.toMatch(/^(resent-)?bcc[ \t]*:/im);
    for (const parser of PARSERS) {
      const reading = await parse(parser, message);
      const own = new Date(reading.date).getTime();
      const given = { from: SHOP, date: reading.date, messageId: result.messageId };
      const want = await wanted(one, given);
      // A message that was given no date bears the time at which it was made.
      if (want.date === reading.date && one.input.date === undefined && !one.read?.date) {
        expect(own).toBeGreaterThanOrEqual(before);
        expect(own).toBeLessThanOrEqual(Date.now());
      }
      const found = differences(reading, want);
      const listed = MISREAD[one.name] ?? [];
      if (listed.length === 0) expect([parser, found]).toEqual([parser, []]);
      else expect(listed).toEqual(expect.arrayContaining(found.map(({ field }) => field)));
    }
  });
});
