/** What one session leaves to the next, and two reports as one. */
import { describe, expect, it } from "vitest";
import { capabilities } from "../../lib/smtp/capabilities.ts";
import { contentOf } from "../../lib/smtp/data.ts";
import { SmtpError } from "../../lib/smtp/error.ts";
import { Redactor } from "../../lib/smtp/redact.ts";
import { count, masked, merge, remainder, rest, unreached } from "../../lib/smtp/remainder.ts";
import type { Fate, SessionReport } from "../../lib/smtp/report.ts";

const ok = { code: 250, lines: ["ok"] };
const taken: Fate = { is: "taken", reply: ok };
const refused: Fate = { is: "refused", by: "rcpt", reply: { code: 550, lines: ["no"] } };
const left: Fate = { is: "unsent" };
const lost = new SmtpError("connection_lost", "The server closed the connection.");
const failed: Fate = { is: "unsent", error: lost };

/** A message each, with recipients a, b, c … of these fates. */
function report(
  messages: readonly (readonly Fate[])[],
  more: Partial<SessionReport> = {},
): SessionReport {
  return {
    capabilities: undefined,
    channel: undefined,
    mechanism: undefined,
    error: undefined,
    messages: messages.map((fates, index) => ({
      notes: [`note ${index}`],
      recipients: fates.map((fate, at) => ({ address: "abc"[at] as string, fate })),
    })),
    ...more,
  };
}

const submission = (recipients: readonly string[]) => ({
  from: "s@x.test",
  recipients,
  content: contentOf(Buffer.from("x")),
  partial: "accept" as const,
  smtputf8: false,
});

describe("what is left to another session", () => {
  const mixed = report([[taken], [taken, left], [refused, failed], [left, left]]);

  it("is recipients that nothing was asked or told about", () => {
    expect(rest(mixed)).toEqual([1, 3]);
  });

  it("is nothing after a session that failed", () => {
    expect(rest(report([[left]], { error: lost }))).toEqual([]);
  });

  it("is counted by recipient, over the messages named", () => {
    expect(count(mixed, [0, 1, 2, 3])).toBe(3);
    expect(count(mixed, [3])).toBe(2);
    expect(count(mixed, [0, 9])).toBe(0);
  });

  it("is the same message, to those alone", () => {
    const submissions = [["a"], ["a", "b"], ["a", "b"], ["a", "b"]].map(submission);
    expect(remainder(submissions, mixed, 1)).toEqual({ ...submissions[1], recipients: ["b"] });
    expect(remainder(submissions, mixed, 0).recipients).toEqual([]);
    expect(remainder(submissions, mixed, 9).recipients).toEqual([]);
  });
});

describe("two reports as one", () => {
  it("keep what was settled, and have of the later what was left", () => {
    const before = report([[taken], [taken, left, left]]);
    // Of the message with its number 1 the later session knows as its first, and lacks c.
    const after = report([[refused, taken]], { mechanism: "PLAIN", error: lost });
    const merged = merge(before, after, [1]);
    expect(merged.messages.map(({ recipients }) => recipients.map(({ fate }) => fate))).toEqual([
      [taken],
      [taken, taken, left],
    ]);
    expect(merged.messages.map(({ notes }) => notes)).toEqual([["note 0"], ["note 1"]]);
    expect(merged).toMatchObject({ mechanism: "PLAIN", error: lost });
  });

  it("keep what the first said of a message that the second had not", () => {
    const before = report([[left]]);
    expect(merge(before, report([]), [0]).messages).toEqual(before.messages);
  });
});

it("a server that was not reached has taken nothing, and says why of each recipient", () => {
  const told = unreached(lost, [submission(["a", "b"]), submission(["c"])]);
  expect(told).toEqual({
    capabilities: undefined,
    channel: undefined,
    mechanism: undefined,
    error: lost,
    messages: [
      {
        notes: [],
        recipients: [
          { address: "a", fate: failed },
          { address: "b", fate: failed },
        ],
      },
      { notes: [], recipients: [{ address: "c", fate: failed }] },
    ],
  });
});

it("what EHLO offered is masked like any reply", () => {
  const redactor = new Redactor();
  redactor.learn("pencil-case");
  expect(masked(undefined, redactor)).toBeUndefined();
  const offered = capabilities({
    code: 250,
    lines: ["pencil-case.test hi", "SIZE 100", "AUTH PLAIN pencil-case", "XSAID pencil-case"],
  });
  const shown = masked(offered, redactor);
  expect(shown).toMatchObject({ size: 100, limits: {} });
  expect(shown?.host).toMatch(/^\*+.*\.test/);
  expect(shown?.auth[0]).toBe("PLAIN");
  expect([...(shown?.keywords.keys() ?? [])]).toEqual(["SIZE", "AUTH", "XSAID"]);
  expect(shown?.keywords.get("SIZE")).toEqual(["100"]);
  const all = JSON.stringify([shown, [...(shown?.keywords ?? [])]]);
  expect(all.toLowerCase()).not.toContain("pencil-case");
});
