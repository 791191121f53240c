// RFC 5321 §3.3: who a message is from and to, for SMTP
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { envelopeOf } from "../../lib/message/envelope.ts";
import { parseRaw } from "../../lib/message/raw.ts";
import { parseRequest } from "../../lib/message/schema.ts";

const own = { address: "shop@example.com", name: "Shop" };

function request(input: Record<string, unknown>) {
  const result = parseRequest(input);
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return result.request;
}

const envelope = (input: Record<string, unknown>) => envelopeOf(request(input), own);

function rawEnvelope(lines: readonly string[], input: Record<string, unknown> = {}) {
  const raw = Buffer.from([...lines, "", "Hi"].join("\r\n")).toString("base64");
  const parsed = parseRaw(raw);
  if (!parsed.ok) throw new Error(parsed.reasons.join());
  const { from, recipients } = envelopeOf(request({ raw, ...input }), own, parsed.value);
  return { from, to: recipients.map(({ address }) => address) };
}

describe("recipients", () => {
  it("are to, cc and bcc in their order, each with the field that names it first", () => {
    const input = { bcc: "d@x.co", cc: ["C <c@x.co>"], to: ["a@x.co", { address: "b@x.co" }] };
    expect(envelope(input).recipients).toEqual([
      { address: "a@x.co", path: "to.0" },
      { address: "b@x.co", path: "to.1" },
      { address: "c@x.co", path: "cc.0" },
      { address: "d@x.co", path: "bcc.0" },
    ]);
  });

  it("are one where only the domain's case, its IDN form, the name or needless quotes differ", () => {
    const input = {
      to: ["a@例子.测试", "A <a@XN--FSQU00A.xn--0zwm56d>"],
      cc: '"a"@例子.测试',
      bcc: { address: "a@例子.测试", name: "B" },
    };
    expect(envelope(input).recipients).toEqual([
      { address: "a@xn--fsqu00a.xn--0zwm56d", path: "to.0" },
    ]);
  });

  it("are two where the case of the local part differs (RFC 5321 §2.4)", () => {
    expect(envelope({ to: ["a@x.co", "A@x.co"] }).recipients).toHaveLength(2);
  });

  it("are each of the given ones, once, whatever is repeated", () => {
    const address = fc.stringMatching(/^[ab]{1,2}@[xX]{1,2}\.co$/);
    const list = fc.array(address, { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(list, list, list, (to, cc, bcc) => {
        const given = [...to, ...cc, ...bcc].map((one) => one.replace(/X/g, "x"));
        const found = envelope({ to, cc, bcc }).recipients.map((one) => one.address);
        expect(found).toEqual([...new Set(given)]);
      }),
    );
  });
});

describe("the reverse-path", () => {
  it("is the request's From, without its name, else the mailbox's own", () => {
    expect(envelope({ to: "a@x.co", from: "News <news@Example.com>" }).from).toBe(
      "news@example.com",
    );
    expect(envelope({ to: "a@x.co" }).from).toBe("shop@example.com");
  });
});

describe("SMTPUTF8", () => {
  it.each([
    [{ to: "a@例子.测试" }, false],
    [{ to: "李雷 <a@x.co>" }, false],
    [{ to: "李@x.co" }, true],
    [{ to: "a@x.co", bcc: "李@x.co" }, true],
    [{ to: "a@x.co", from: "李@x.co" }, true],
    // Reply-To is no path: it goes into the header alone.
    [{ to: "a@x.co", replyTo: "李@x.co" }, false],
  ])("for %j: %j", (input, needed) => {
    expect(envelope(input).smtputf8).toBe(needed);
  });
});

describe("a raw message", () => {
  const header = [
    "From: A <a@x.co>",
    "To: b@x.co, B <B@x.co>",
    "Cc: c@x.co",
    "Bcc: b@X.co, d@x.co",
  ];

  it("has the recipients of its header, hidden ones too, each once", () => {
    expect(rawEnvelope(header).to).toEqual(["b@x.co", "B@x.co", "c@x.co", "d@x.co"]);
  });

  it("goes to those of the request alone, where it names any", () => {
    expect(rawEnvelope(header, { bcc: "z@x.co" }).to).toEqual(["z@x.co"]);
  });

  it("is from the request's From, else its Sender, else its only From, else the mailbox", () => {
    expect(rawEnvelope(header).from).toBe("a@x.co");
    expect(rawEnvelope([...header, "Sender: s@x.co"]).from).toBe("s@x.co");
    expect(rawEnvelope([...header, "Sender: s@x.co"], { from: "r@x.co" }).from).toBe("r@x.co");
    expect(rawEnvelope(["From: a@x.co, b@x.co", "To: c@x.co"]).from).toBe("shop@example.com");
    expect(rawEnvelope(["To: c@x.co"]).from).toBe("shop@example.com");
  });
});
