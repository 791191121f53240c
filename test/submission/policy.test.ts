// What a mailbox and a deployment permit; RFC 5321 §2.4 for the case of local parts
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkPolicy, checkSize, type Proposal } from "../../lib/submission/policy.ts";

const mailbox = {
  allowedFrom: ["shop@example.com", "@news.example.com", "@例子.测试", "@[192.0.2.1]"],
  maxRecipients: 2,
  maxMessageBytes: 1000,
};

const proposal = (change: Partial<Proposal>): Proposal => ({
  envelopeFrom: "shop@example.com",
  authors: [{ address: "shop@example.com" }],
  recipients: [{ address: "a@example.net", path: "to.0" }],
  ...change,
});

const found = (change: Partial<Proposal>, environment = {}, box = mailbox) =>
  checkPolicy(proposal(change), box, environment).map(({ code, path }) => `${code} ${path}`);

describe("senders", () => {
  it.each([
    "shop@example.com",
    "SHOP@EXAMPLE.COM",
    '"shop"@example.com',
    "any.one@news.example.com",
    "a@xn--fsqu00a.xn--0zwm56d",
    "a@例子.测试",
    "a@[192.0.2.1]",
  ])("lets %j pass", (address) => {
    expect(found({ envelopeFrom: address, authors: [{ address }] })).toEqual([]);
  });

  it.each([
    "other@example.com",
    "shop@sub.example.com",
    "a@sub.news.example.com",
    "a@newsXexample.com",
    "a@example.com",
    "shop@example.com.evil.net",
    '"x@news.example.com"@evil.net',
    "a@[192.0.2.2]",
    // U+212A and U+017F fold to k and s elsewhere.
    "\u017fhop@example.com",
    "",
    "nonsense",
    "@news.example.com",
  ])("refuses %j, as reverse-path and as author", (address) => {
    expect(found({ envelopeFrom: address })).toEqual(["sender_not_allowed from"]);
    expect(found({ authors: [{ address: "shop@example.com" }, { address }] })).toEqual([
      "sender_not_allowed from",
    ]);
  });

  it("does not fold case beyond ASCII, where look-alikes become letters", () => {
    const box = { ...mailbox, allowedFrom: ["kim@example.com"] };
    const kelvin = "\u212aim@example.com";
    expect(found({ envelopeFrom: kelvin, authors: [] }, {}, box)).toHaveLength(1);
    expect(found({ envelopeFrom: "Kim@example.com", authors: [] }, {}, box)).toEqual([]);
  });

  it("blames the raw message for its own authors", () => {
    const change = { authors: [{ address: "x@evil.net" }], authorsPath: "raw" };
    expect(found(change)).toEqual(["sender_not_allowed raw"]);
  });

  it("allows nothing for an empty list, nor for entries that are neither address nor domain", () => {
    const none = (allowedFrom: string[]) => found({}, {}, { ...mailbox, allowedFrom });
    expect(none([])).toEqual(["sender_not_allowed from"]);
    for (const entry of ["", "@", "*", "@*", "example.com", "*@example.com", "shop@"]) {
      expect(none([entry]), entry).toEqual(["sender_not_allowed from"]);
    }
    expect(none([" shop@example.com "])).toEqual([]);
  });
});

describe("recipients", () => {
  const recipients = ["a@example.net", "b@test.example", "c@other.example"].map(
    (address, index) => ({ address, path: `to.${index}` }),
  );

  it("may be anyone where nothing is configured, nobody where the list is empty", () => {
    const two = { recipients: recipients.slice(0, 2) };
    expect(found(two)).toEqual([]);
    expect(found(two, { allowedRecipients: undefined })).toEqual([]);
    expect(found(two, { allowedRecipients: [] })).toHaveLength(2);
  });

  it("are judged one by one, each with its path", () => {
    const change = { recipients: recipients.slice(1) };
    expect(found(change, { allowedRecipients: ["@TEST.example", "a@example.net"] })).toEqual([
      "recipient_not_allowed to.2",
    ]);
  });

  it("may be as many as the mailbox says, and not one more", () => {
    expect(found({ recipients: recipients.slice(0, 2) })).toEqual([]);
    expect(found({ recipients })).toEqual(["too_many_recipients to"]);
  });
});

describe("size", () => {
  it.each([
    [0, []],
    [1000, []],
    [1001, [{ code: "message_too_large", path: "" }]],
  ])("%j octets: %j", (size, expected) => {
    expect(checkSize(size, mailbox)).toMatchObject(expected);
  });
});

describe("buckets", () => {
  const buckets = [
    { bucket: "files", path: "attachments.0.s3.bucket" },
    { bucket: "secret", path: "attachments.1.s3.bucket" },
  ];

  it("are all refused where none is configured", () => {
    for (const environment of [{}, { attachmentBuckets: undefined }, { attachmentBuckets: [] }]) {
      expect(found({ buckets }, environment)).toEqual([
        "bucket_not_allowed attachments.0.s3.bucket",
        "bucket_not_allowed attachments.1.s3.bucket",
      ]);
    }
  });

  it("are compared to the letter", () => {
    expect(found({ buckets }, { attachmentBuckets: ["files", "Secret", "secre"] })).toEqual([
      "bucket_not_allowed attachments.1.s3.bucket",
    ]);
    expect(found({ buckets }, { attachmentBuckets: ["files", "secret"] })).toEqual([]);
  });
});

it("tells every reason at once", () => {
  const change = {
    envelopeFrom: "x@evil.net",
    authors: [{ address: "y@evil.net" }],
    recipients: ["a", "b", "c"].map((name) => ({ address: `${name}@example.net`, path: name })),
    buckets: [{ bucket: "b", path: "attachments.0.s3.bucket" }],
  };
  expect(found(change, { allowedRecipients: ["@allowed.example"] }).sort()).toEqual([
    "bucket_not_allowed attachments.0.s3.bucket",
    "recipient_not_allowed a",
    "recipient_not_allowed b",
    "recipient_not_allowed c",
    "sender_not_allowed from",
    "sender_not_allowed from",
    "too_many_recipients to",
  ]);
});

it("whatever the local part, only the allowed domain passes", () => {
  const label = fc.stringMatching(/^[a-z0-9]{1,8}$/);
  fc.assert(
    fc.property(fc.stringMatching(/^[a-zA-Z0-9+]{1,12}$/), label, label, (local, left, right) => {
      const box = { ...mailbox, allowedFrom: [`@${left}.example`] };
      const from = (domain: string) =>
        found({ envelopeFrom: `${local}@${domain}`, authors: [] }, {}, box).length;
      expect(from(`${left.toUpperCase()}.example`)).toBe(0);
      expect(from(`${right}.${left}.example`)).toBe(1);
      expect(from(`${right}${left}.example`)).toBe(1);
      expect(from(`${left}.example.${right}x`)).toBe(1);
    }),
  );
});
