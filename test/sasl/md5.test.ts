// RFC 2195 (CRAM-MD5), RFC 2831 (DIGEST-MD5)
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { cramMd5 } from "../../lib/sasl/cram-md5.ts";
import { beginDigestMd5, digestMd5 } from "../../lib/sasl/digest-md5.ts";
import { answer, contextOf, octets, REFUSAL } from "./context.ts";

describe("CRAM-MD5", () => {
  it("answers the example of RFC 2195 §2", () => {
    const credentials = { username: "tim", password: "tanstaaftanstaaf" };
    const exchange = cramMd5.begin(contextOf({ credentials }));
    expect(exchange.initial).toBeUndefined();
    expect(answer(exchange, "<1896.697170952@postoffice.reston.mci.net>")).toBe(
      "tim b913a602c7eda7a495b4e6e7334d3890",
    );
    expect(() => answer(exchange, "<again@example.com>")).toThrow(REFUSAL);
  });

  it("refuses an empty challenge, whose answer would be good for ever", () => {
    expect(() => answer(cramMd5.begin(contextOf()), "")).toThrow(REFUSAL);
  });
});

const challenge =
  'realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8';

function chris(service = "imap", nonce = "OA6MHXh6VqTrRk") {
  return beginDigestMd5(
    contextOf({
      credentials: { username: "chris", password: "secret" },
      host: "elwood.innosoft.com",
      nonce: () => nonce,
    }),
    service,
  );
}

describe("DIGEST-MD5", () => {
  it("answers the IMAP example of RFC 2831 §4, and takes its rspauth", () => {
    const exchange = chris();
    expect(answer(exchange, challenge)).toBe(
      'charset=utf-8,username="chris",realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",' +
        'nc=00000001,cnonce="OA6MHXh6VqTrRk",digest-uri="imap/elwood.innosoft.com",' +
        "response=d388dad90d4bbd760a152321f2143af7,qop=auth",
    );
    expect(() => exchange.finish()).toThrow(REFUSAL);
    expect(answer(exchange, "rspauth=ea40f60335c427b5527b84dbabcdfffd")).toBe("");
    exchange.finish();
    expect(() => answer(exchange, "")).toThrow(REFUSAL);
  });

  it("answers the ACAP example of RFC 2831 §4", () => {
    const exchange = chris("acap", "OA9BSuZWMSpW8m");
    expect(answer(exchange, challenge.replace("OA6MG9tEQGm2hh", "OA9BSXrbuRhWay"))).toContain(
      "response=6084c6db3fede7352c551284490fd0fc",
    );
    expect(answer(exchange, "rspauth=2f0b3d7c3c2e486600ef710726aa2eae")).toBe("");
  });

  it("names smtp and the host in what it signs", () => {
    const exchange = digestMd5.begin(contextOf());
    expect(answer(exchange, challenge)).toContain('digest-uri="smtp/mail.example.com"');
  });

  it.each([
    "rspauth=ea40f60335c427b5527b84dbabcdfffe",
    "rspauth=",
    "rspauth=ea40",
    "",
    "e=other-error",
  ])("refuses a server that answers %j", (last) => {
    const exchange = chris();
    answer(exchange, challenge);
    expect(() => answer(exchange, last)).toThrow(REFUSAL);
    expect(() => exchange.finish()).toThrow(REFUSAL);
  });

  it.each([
    ["no nonce", 'realm="r",qop="auth",algorithm=md5-sess'],
    ["an empty nonce", 'nonce="",algorithm=md5-sess'],
    ["two nonces", 'nonce="a",nonce="b",algorithm=md5-sess'],
    ["no algorithm", 'nonce="a"'],
    ["another algorithm", 'nonce="a",algorithm=md5'],
    ["only security layers", 'nonce="a",qop="auth-int,auth-conf",algorithm=md5-sess'],
    ["another charset", 'nonce="a",algorithm=md5-sess,charset=latin-9'],
    ["an open quote", 'nonce="a,algorithm=md5-sess'],
    ["text after a quote", 'nonce="a"b,algorithm=md5-sess'],
    ["no list at all", "Username:"],
    ["too much", `nonce="${"a".repeat(2048)}",algorithm=md5-sess`],
  ])("refuses a challenge with %s", (_, bad) => {
    expect(() => answer(chris(), bad)).toThrow(REFUSAL);
  });

  it("hears of a challenge that it is too long, or no list, and not what else it may lack", () => {
    const filled = (length: number) => {
      const short = 'nonce="",algorithm=md5-sess';
      return short.replace('""', `"${"a".repeat(length - short.length)}"`);
    };
    expect(answer(chris(), filled(2047))).toContain("nonce=");
    expect(() => answer(chris(), filled(2048))).toThrow(/too long/);
    expect(() => answer(chris(), "Username:")).toThrow(/malformed/);
    expect(() => answer(chris(), `${challenge},=`)).toThrow(/malformed/);
  });

  it("is not asked for UTF-8 that is none", () => {
    const broken = Uint8Array.from([...octets(challenge), 0x2c, 0x61, 0x3d, 0x22, 0xff, 0x22]);
    expect(() => chris().next(broken)).toThrow(/not UTF-8/);
  });

  it.each(["auth", "auth-int,auth", "auth\t, \tauth-int", "AUTH,auth-conf"])(
    "takes the qop %j for one without a layer",
    (qop) => {
      expect(answer(chris(), challenge.replace('"auth"', `"${qop}"`))).toContain("qop=auth");
    },
  );

  it("reads quoted pairs, empty elements, several realms and any case", () => {
    const odd =
      ', REALM="a\\"b\\\\c" ,,realm="other", Nonce = "x,y=z",ALGORITHM=MD5-sess,qop="auth-int, auth",';
    const sent = answer(chris(), odd);
    expect(sent).toContain('realm="a\\"b\\\\c",nonce="x,y=z"');
    expect(sent).not.toContain("charset");
  });

  it("escapes the username", () => {
    const credentials = { username: 'a"b\\c', password: "p" };
    expect(answer(digestMd5.begin(contextOf({ credentials })), challenge)).toContain(
      'username="a\\"b\\\\c"',
    );
  });

  // §2.1.2.1, with the hash spelled out here once more.
  it("hashes in ISO 8859-1 what fits it, each part by itself, and in UTF-8 what does not", () => {
    const md5 = (...parts: (string | Uint8Array)[]) => {
      const hash = createHash("md5");
      for (const part of parts) hash.update(part);
      return hash;
    };
    const credentials = { username: "Jos\u00e9", password: "密码" };
    const secret = md5(Buffer.from("Jos\u00e9:r:", "latin1"), Buffer.from("密码")).digest();
    const a1 = md5(secret, ":N:C").digest("hex");
    const a2 = md5("AUTHENTICATE:smtp/mail.example.com").digest("hex");
    const response = md5(`${a1}:N:00000001:C:auth:${a2}`).digest("hex");
    const context = contextOf({ credentials, nonce: () => "C" });
    const sent = answer(
      digestMd5.begin(context),
      'realm="r",nonce="N",algorithm=md5-sess,charset=utf-8',
    );
    expect(sent).toContain(`response=${response}`);
    expect(sent).toContain('username="Jos\u00e9"');
  });

  it("names no realm where the server names none, and hashes an empty one", () => {
    const hash = (text: string | Uint8Array) => createHash("md5").update(text);
    const secret = hash("user::pencil").digest();
    const a1 = createHash("md5").update(secret).update(":N:C").digest("hex");
    const a2 = hash("AUTHENTICATE:smtp/mail.example.com").digest("hex");
    const response = hash(`${a1}:N:00000001:C:auth:${a2}`).digest("hex");
    const exchange = digestMd5.begin(contextOf({ nonce: () => "C" }));
    expect(answer(exchange, 'nonce="N",algorithm=md5-sess')).toBe(
      'username="user",nonce="N",nc=00000001,cnonce="C",digest-uri="smtp/mail.example.com",' +
        `response=${response},qop=auth`,
    );
  });

  it("without charset speaks ISO 8859-1, and refuses what exceeds it", () => {
    const plain = 'realm="r",nonce="N",algorithm=md5-sess';
    const jose = { username: "Jos\u00e9", password: "p" };
    const sent = digestMd5.begin(contextOf({ credentials: jose })).next(octets(plain));
    expect(Buffer.from(sent).toString("latin1")).toContain('username="Jos\u00e9"');
    // The last character that fits, and one that does not beside one that does.
    const last = digestMd5.begin(contextOf({ credentials: { username: "\u00ff", password: "p" } }));
    expect(Buffer.from(last.next(octets(plain))).toString("latin1")).toContain('"\u00ff"');
    for (const username of ["李雷", "Jos\u00e9 李", "\u0100"]) {
      const exchange = digestMd5.begin(contextOf({ credentials: { username, password: "p" } }));
      expect(() => answer(exchange, plain)).toThrow(/ISO 8859-1/);
    }
  });
});
