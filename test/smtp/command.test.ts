/** The one writer of command lines: no value becomes a second command, or a parameter. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { capabilities } from "../../lib/smtp/capabilities.ts";
import { auth, COMMAND_OCTETS, command, response, unbase64 } from "../../lib/smtp/command.ts";
import { contentOf } from "../../lib/smtp/data.ts";
import { mail, rcpt, type Submission } from "../../lib/smtp/envelope.ts";
import { CommandError } from "../../lib/smtp/error.ts";
import { domainOf, orcpt, path, xtext } from "../../lib/smtp/path.ts";
import { session } from "../../lib/smtp/session.ts";
import type { Line } from "../../lib/smtp/step.ts";
import { character } from "../support/characters.ts";

const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom("\r\n", "\r", "\n", "\0", "\u2028", "\x85", "\x7f", " ", "<", ">", '"', "\\"),
      fc.constantFrom("@", "a", "x.test", "RCPT TO:<evil@x.test>", "ü", "\ud800", ";", "\t"),
      fc.string({ unit: character, maxLength: 4 }),
    ),
    { maxLength: 10 },
  )
  .map((parts) => parts.join(""));

/** As UTF-8 can hold it: a lone surrogate becomes U+FFFD. */
const wellFormed = (text: string) => Buffer.from(text).toString("utf8");

/** The text of a line, which must be exactly one; `undefined` where the writer refused it. */
function written(write: () => Line | undefined): string | undefined {
  let line: Line | undefined;
  try {
    line = write();
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return undefined;
  }
  if (line === undefined) return undefined;
  const text = Buffer.from(line.bytes).toString("latin1");
  expect(text.endsWith("\r\n")).toBe(true);
  expect(text.slice(0, -2)).not.toMatch(/[\r\n\0]/);
  return Buffer.from(line.bytes).toString("utf8").slice(0, -2);
}

const everything = capabilities({
  code: 250,
  lines: ["x", "DSN", "SMTPUTF8", "8BITMIME", "SIZE", "MT-PRIORITY"],
});

function submission(parts: Partial<Submission>): Submission {
  return {
    from: "s@x.test",
    recipients: ["r@x.test"],
    content: contentOf(new Uint8Array(0)),
    partial: "accept",
    smtputf8: false,
    ...parts,
  };
}

describe("command lines", () => {
  it("are one line each, whatever a word holds", () => {
    let refused = 0;
    fc.assert(
      fc.property(hostile, (word) => {
        if (written(() => command("EHLO", word)) === undefined) refused += 1;
      }),
      { numRuns: 1000 },
    );
    expect(refused).toBeGreaterThan(100);
  });

  it("hold a path that nothing in an address can end", () => {
    fc.assert(
      fc.property(hostile, hostile, (local, domain) => {
        const address = `${local}@${domain}`;
        const message = submission({ from: address, recipients: [address], dsn: {} });
        const lines = [
          ["MAIL FROM:", written(() => mail(message, everything))],
          ["RCPT TO:", written(() => rcpt(address, message, everything))],
        ] as const;
        for (const [verb, line] of lines) {
          if (line === undefined) continue;
          // A reader that knows quoted strings finds the path's end where we meant it.
          const form = /^<(?:"(?:[^"\\]|\\.)*"@)?[^\s<>"]+>(?= |$)/u.exec(line.slice(verb.length));
          expect(form?.[0]).toBe(`<${wellFormed(address)}>`);
          const rest = line.slice(verb.length + (form?.[0].length ?? 0));
          expect(rest).toMatch(/^(?: [A-Z0-9-]+(?:=[\x21-\x7e]+)?)*$/);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    ...["a b@x.test", "a>@x.test", "<a@x.test", "a@x.test> SIZE=1", "a", '"a"@', '"a@x.test'],
    ...['"a"b@x.test', 'a"b"@x.test', "a,b@x.test", "a(c)@x.test", '"\\"@x.test', "a@x.test\0"],
    ...["a@x.test\r\nDATA", '"a\r\nDATA"@x.test', '"a\0"@x.test', "a\u00a0b@x.test"],
  ])("refuse %j as a path", (address) => {
    expect(() => command(path(address))).toThrow(CommandError);
  });

  it.each(["a@x.test", '"a b"@x.test', '"a>"@x.test', '"a\\""@x.test', "a@[192.0.2.1]", "ü@x"])(
    "take %j as a path",
    (address) => {
      expect(path(address)).toBe(`<${address}>`);
    },
  );

  it("write the null reverse-path", () => {
    expect(path("")).toBe("<>");
  });

  it("carry any SASL octets as base64, and show none of them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), (octets) => {
        const first = auth("PLAIN", octets);
        const text = written(() => first);
        if (text === undefined) {
          expect(octets.length).toBeGreaterThan(360);
        } else {
          expect(text.length + 2).toBeLessThanOrEqual(COMMAND_OCTETS);
          expect(text).toMatch(/^AUTH PLAIN (?:=|[A-Za-z0-9+/]+={0,2})$/);
          expect(first?.shown).toBe("AUTH PLAIN ***");
        }
        const later = response(octets);
        expect(later.shown).toBe("***");
        expect(unbase64(written(() => later) as string)).toEqual(octets);
      }),
    );
  });

  it("end the initial response at 512 octets exactly", () => {
    // "AUTH PLAIN " and CRLF take 13; 499 is no multiple of four, so 496 characters of base64 fit.
    expect(auth("PLAIN", new Uint8Array(372))?.bytes.length).toBe(509);
    expect(auth("PLAIN", new Uint8Array(373))).toBeUndefined();
    // A name one longer than fits four more characters exactly.
    expect(auth("PLAINABC", new Uint8Array(372))?.bytes.length).toBe(COMMAND_OCTETS);
    expect(auth("PLAINABCD", new Uint8Array(372))).toBeUndefined();
  });

  it("keep an empty response apart from none", () => {
    expect(written(() => auth("EXTERNAL", new Uint8Array(0)))).toBe("AUTH EXTERNAL =");
    expect(written(() => auth("EXTERNAL"))).toBe("AUTH EXTERNAL");
    expect(written(() => response(new Uint8Array(0)))).toBe("");
  });

  it("refuse a line that is too long", () => {
    expect(written(() => command("x".repeat(2046)))).toHaveLength(2046);
    expect(() => command("x".repeat(2047))).toThrow(CommandError);
  });

  it("refuse an EHLO name that holds a line end, before anything is sent", () => {
    const plan = {
      security: "none" as const,
      ehloName: "x\r\nMAIL FROM:<>",
      host: "h",
      port: 25,
      allowPlaintextAuth: false,
      chunking: "off" as const,
      nonce: () => "n",
    };
    const conversation = session(plan, []);
    conversation.next();
    const ended = conversation.next({ code: 220, lines: ["x"] });
    expect(ended.done).toBe(true);
    expect(ended.value).toMatchObject({ error: { code: "internal_error" } });
  });
});

describe("xtext", () => {
  it("is undone by RFC 3461 §4's own rule, and is printable without + and =", () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const coded = xtext(text);
        expect(coded).toMatch(/^(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*$/);
        const octets = coded.replace(/\+([0-9A-F]{2})/g, (_, hex: string) =>
          String.fromCharCode(Number.parseInt(hex, 16)),
        );
        expect(Buffer.from(octets, "latin1").toString("utf8")).toBe(wellFormed(text));
      }),
    );
  });

  it("writes ORCPT as RFC 3461 §4.2 and RFC 6533 §3 do", () => {
    expect(orcpt("Bob@Example.COM")).toBe("rfc822;Bob@Example.COM");
    expect(orcpt("a+b=c@x.test")).toBe("rfc822;a+2Bb+3Dc@x.test");
    expect(orcpt("例+@x.test")).toBe("utf-8;\\x{4F8B}\\x{2B}@x.test");
    fc.assert(
      fc.property(hostile, (text) => {
        expect(orcpt(text)).toMatch(/^(?:rfc822|utf-8);[\x21-\x7e]*$/);
      }),
    );
  });
});

describe("refusals", () => {
  it("are CommandErrors, which say what is wrong with the line", () => {
    const refused = (message: RegExp) =>
      expect.objectContaining({ name: "CommandError", message: expect.stringMatching(message) });
    expect(() => command("EHLO", "a\tb")).toThrow(refused(/control character/));
    expect(() => command("EHLO", "a".repeat(3000))).toThrow(refused(/exceeds 2048 octets/));
    expect(() => response(new Uint8Array(9999))).toThrow(refused(/exceeds 12288 octets/));
    expect(() => path("a b@x.test")).toThrow(refused(/SMTP path/));
  });
});

describe("domainOf", () => {
  it("is what follows the last @, in lower case", () => {
    expect(domainOf('"a@b"@EXAMPLE.Test')).toBe("example.test");
  });
});

describe("unbase64", () => {
  it("is total, and takes only what base64 writes", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), hostile), (text) => {
        const octets = unbase64(text);
        if (octets === undefined) return;
        const again = Buffer.from(octets).toString("base64");
        expect(again.length).toBe(text.length);
      }),
      { numRuns: 1000 },
    );
  });
  it.each(["=", "A===", "AA=A", "AAA", "AA A", "QQ==\n", "-_==", "Ä"])("refuses %j", (text) => {
    expect(unbase64(text)).toBeUndefined();
  });
});
