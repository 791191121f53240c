import { Session } from "node:inspector";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  domainOf,
  needsSmtputf8,
  parseAddress,
  parseAddressList,
  parseMailbox,
} from "../../lib/message/address.ts";
import { path } from "../../lib/smtp/path.ts";

describe("one mailbox a string", () => {
  it.each([
    ["a@example.com", { address: "a@example.com" }],
    [" a@example.com ", { address: "a@example.com" }],
    ["<a@example.com>", { address: "a@example.com" }],
    ["Shop <a@Example.COM>", { address: "a@example.com", name: "Shop" }],
    ["Shop<a@b.co>", { address: "a@b.co", name: "Shop" }],
    ['"Shop, Inc." <A@b.co>', { address: "A@b.co", name: "Shop, Inc." }],
    ['"a \\"b\\" \\\\c" <a@b.co>', { address: "a@b.co", name: 'a "b" \\c' }],
    ["Dr. J. Müller <j@b.co>", { address: "j@b.co", name: "Dr. J. Müller" }],
    ["李雷 <b@例子.测试>", { address: "b@xn--fsqu00a.xn--0zwm56d", name: "李雷" }],
    ["李@例子.测试", { address: "李@xn--fsqu00a.xn--0zwm56d" }],
    ['"john doe"@b.co', { address: '"john doe"@b.co' }],
    ['"john.doe"@b.co', { address: "john.doe@b.co" }],
    ['"a@x y"@z.co', { address: '"a@x y"@z.co' }],
    ['"a\\"b"@z.co', { address: '"a\\"b"@z.co' }],
    ["a+b=c/d'e@b.co", { address: "a+b=c/d'e@b.co" }],
    ["a@localhost", { address: "a@localhost" }],
    ["a@[192.0.2.1]", { address: "a@[192.0.2.1]" }],
    ["a@[IPv6:2001:DB8::1]", { address: "a@[IPv6:2001:db8::1]" }],
    ["a@b。co", { address: "a@b.co" }],
    ["a@نامه\u200cای.com", { address: "a@xn--mgba3gch31f060k.com" }],
  ])("%s", (text, expected) => {
    expect(parseMailbox(text)).toEqual({ ok: true, value: expected });
  });

  it.each([
    ["", /empty/],
    ["  ", /empty/],
    ["<>", /empty/],
    ["nobody", /no @/],
    ["@b.co", /local part is missing/],
    ["a@", /domain is missing/],
    ["a@b.co, c@d.co", /one mailbox a string/],
    ["a@b.co; c@d.co", /one mailbox a string/],
    ["friends: a@b.co;", /one mailbox a string/],
    ["mailto:a@b.co", /one mailbox a string/],
    ["Shop, Inc <a@b.co>", /quoted/],
    ["a@b.co c@d.co", /text after/],
    ["a@b.co <c@d.co>", /text after/],
    ["<a@b.co> x", /text after/],
    ["<a@b.co", /closing >/],
    ["<a@b.co>>", /text after/],
    ["a@b.co>", /text after/],
    ["<a@b.co> SIZE=1", /text after/],
    ["a@b.co SIZE=1", /text after/],
    ["a b@c.co", /angle brackets/],
    ["a @b.co", /white space/],
    ["a@ b.co", /white space/],
    ["< a@b.co>", /white space|no @/],
    ["<a@b.co >", /white space/],
    ["<@x.co:a@b.co>", /source routes/],
    ["a@b@c.co", /text after/],
    ["a..b@c.co", /dot/],
    [".a@c.co", /dot/],
    ["a.@c.co", /dot/],
    ['""@c.co', /empty/],
    ['"a@c.co', /not closed/],
    ['"a"b@c.co', /angle brackets/],
    ["a(x)@c.co", /comments/],
    ["a@c.co (x)", /comments/],
    ["a@b..co", /empty label/],
    ["a@b.co.", /empty label/],
    ["a@-b.co", /malformed/],
    ["a@b_c.co", /cannot have/],
    ["a@ex%41mple.com", /cannot have/],
    ["a@so\u00adft.com", /cannot have/],
    ["a@192.0.2.1", /in brackets/],
    ["a@１92.0.2.1", /in brackets/],
    ["a@[192.0.2.300]", /literal/],
    ["a@[IPv6:fe80::1%eth0]", /literal/],
    ["a@[x-tag:b]", /literal/],
    ["a@[192.0.2.1", /not closed/],
    [`${"a".repeat(65)}@b.co`, /64 octets/],
    [`${"é".repeat(33)}@b.co`, /64 octets/],
    [`a@${"b".repeat(64)}.co`, /63 octets/],
    [`a@${"b.".repeat(130)}co`, /255 octets/],
    [`${"a".repeat(60)}@${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(63)}.co`, /254 octets/],
    ["a\r\nb@c.co", /control/],
    ["a@b.co\r\nRCPT TO:<x@y>", /control/],
    ["a\0@b.co", /control/],
    ['"a\tb"@c.co', /control/],
    ["a\u0085b@c.co", /control/],
    ["a\u2028b@c.co", /invisible/],
    ["a\u200bb@c.co", /invisible/],
    ["a\u202eb@c.co", /invisible/],
    ["a\u3000b@c.co", /invisible/],
    ["a\ud800@c.co", /invisible/],
  ])("refuses %j", (text, reason) => {
    const result = parseMailbox(text);
    expect(result.ok ? result.value : result.reason).toMatch(reason);
  });

  it("takes an addr-spec alone where a name has its own field", () => {
    expect(parseAddress(" a@B.co ")).toEqual({ ok: true, value: "a@b.co" });
    for (const text of ["<a@b.co>", "A <a@b.co>", "a@b.co x", "", "a@b.co>", " "]) {
      expect(parseAddress(text).ok, text).toBe(false);
    }
  });
});

describe("the address list of a header", () => {
  it.each([
    ["a@b.co", ["a@b.co"]],
    [" a@b.co,\r\n\tB <c@D.co> , ,", ["a@b.co", "c@d.co"]],
    ["=?UTF-8?B?5p2O6Zu3?=\r\n =?UTF-8?B?5p2O?= <a@b.co>", ["a@b.co"]],
    ["A (hidden <x@y.co>, \\) (deep)) <a@b.co> (after)", ["a@b.co"]],
    ["friends: a@b.co, C <c@d.co>;, e@f.co", ["a@b.co", "c@d.co", "e@f.co"]],
    ["undisclosed-recipients:;", []],
    ["", []],
    ['"x, y@z.co" <a@b.co>', ["a@b.co"]],
    ["< a (c) @ b.co (d) >", ["a@b.co"]],
    ["李 <李@例子.测试>", ["李@xn--fsqu00a.xn--0zwm56d"]],
  ])("%j", (text, expected) => {
    const result = parseAddressList(text);
    expect(result.ok ? result.value.map(({ address }) => address) : result.reason).toEqual(
      expected,
    );
  });

  it.each([
    "a@b.co c@d.co",
    "a@b.co; c@d.co",
    "g: a@b.co",
    "g: h: a@b.co;;",
    "(never closed a@b.co",
    "a@b.co\r\nBcc: x@y.co",
    "a@b.co <c@d.co>",
    `${"(".repeat(1000)}`,
    "A, B <a@b.co>",
  ])("refuses %j", (text) => {
    expect(parseAddressList(text).ok).toBe(false);
  });
});

const odd = fc.string({
  unit: fc.constantFrom(
    ...'ab@@<>"\\.,;:()[] ',
    "\r",
    "\n",
    "\0",
    "\t",
    "é",
    "\u2028",
    "\u00a0",
    "\ud83d",
    "李",
    "@b.co",
    "IPv6:",
  ),
  maxLength: 30,
});

describe("properties", () => {
  it("whatever is accepted is its own SMTP form, and can be written as a path", () => {
    let accepted = 0;
    fc.assert(
      fc.property(
        fc.oneof(
          odd,
          odd.map((text) => `"${text}"@b.co`),
          odd.map((text) => `${text}<a@b.co>`),
        ),
        (text) => {
          const result = parseMailbox(text);
          if (!result.ok) return;
          accepted += 1;
          const { address } = result.value;
          expect(parseMailbox(address)).toEqual({ ok: true, value: { address } });
          expect(parseAddress(address)).toEqual({ ok: true, value: address });
          expect(path(address)).toBe(`<${address}>`);
          expect(parseAddressList(`x <${address}>, ${address}`)).toEqual({
            ok: true,
            value: [{ address, name: "x" }, { address }],
          });
        },
      ),
      { numRuns: 5000 },
    );
    expect(accepted).toBeGreaterThan(50);
  });

  it("answers whatever it is given", () => {
    fc.assert(
      fc.property(fc.oneof(odd, fc.string({ unit: "binary" })), (text) => {
        for (const parse of [parseMailbox, parseAddress, parseAddressList]) {
          const result = parse(text);
          expect(result.ok || result.reason.length > 0).toBe(true);
          expect(JSON.stringify(result.ok ? result.value : [])).not.toMatch(/\\u00[01]|\\[rnt]/);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("reads back a name and a local part that are written in quotes", () => {
    const quote = (text: string) => `"${text.replace(/["\\]/g, "\\$&")}"`;
    const name = fc
      .string({ unit: "grapheme", minLength: 1 })
      .filter((text) => !/\p{Cc}/u.test(text) && text.trim() === text);
    const local = fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(name, local, (shown, part) => {
        const address = parseAddress(`${quote(part)}@b.co`);
        expect(address.ok).toBe(true);
        expect(parseMailbox(`${quote(shown)} <${quote(part)}@b.co>`)).toEqual({
          ok: true,
          value: { address: address.ok && address.value, name: shown },
        });
      }),
    );
  });
});

describe("a megabyte of hostile input", () => {
  /** Steps, not seconds: how often V8 saw each block of the parser run. */
  function steps(run: () => void): number {
    const session = new Session();
    session.connect();
    session.post("Profiler.enable");
    session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
    run();
    let sum = 0;
    session.post("Profiler.takePreciseCoverage", (_error, { result }) => {
      for (const { url, functions } of result) {
        if (!url.includes("lib/message/address")) continue;
        for (const { ranges } of functions) for (const { count } of ranges) sum += count;
      }
    });
    session.disconnect();
    return sum;
  }

  it.each([
    ...'("<\\@,;:[ é',
    "a.",
    "a ",
    "a,",
    "a@b,",
    "a@[",
    "<@",
    "g:",
    "g:;",
    "()",
    "(\\",
    '"\\',
    '"" ',
    "((((a",
    "\r\n ",
  ])("of %j takes a bounded number of steps a character", (unit) => {
    const text = unit.repeat(Math.ceil(2 ** 20 / unit.length));
    const taken = steps(() => {
      parseMailbox(text);
      parseMailbox(`"${text}`);
      parseAddress(text);
      parseAddressList(text);
      parseAddressList(`a@b.co (${text}`);
    });
    // Zero would mean that nothing was counted.
    expect(taken).toBeGreaterThan(10);
    expect(taken).toBeLessThan(40 * text.length);
  });
});

describe("comparing", () => {
  it.each([
    ["a@Example.com", "a@example.COM", true],
    ["a@例子.测试", "a@xn--fsqu00a.xn--0zwm56d", true],
    ['"a"@b.co', "a@b.co", true],
    ["A@b.co", "a@b.co", false],
    ["a@b.co", "a@c.co", false],
  ])("%j and %j are read as one mailbox: %j", (a, b, same) => {
    const [one, other] = [parseAddress(a), parseAddress(b)];
    expect(one.ok && other.ok && one.value === other.value).toBe(same);
  });

  it.each([
    ["a@Example.COM", "example.com"],
    ['"a@x"@b.co', "b.co"],
    ["a@[IPv6:::1]", "[IPv6:::1]"],
    ["nobody", ""],
  ])("the domain of %j is %j", (address, domain) => {
    expect(domainOf(address)).toBe(domain);
  });

  it("SMTPUTF8 is for a local part beyond ASCII, not for a domain", () => {
    const idn = parseAddress("a@例子.测试");
    expect(needsSmtputf8(idn.ok ? idn.value : "é")).toBe(false);
    expect(needsSmtputf8("李@b.co")).toBe(true);
  });
});
