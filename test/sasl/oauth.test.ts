// RFC 7628 (OAUTHBEARER), Google's XOAUTH2 protocol
import { describe, expect, it } from "vitest";
import { oauthbearer } from "../../lib/sasl/oauthbearer.ts";
import { xoauth2 } from "../../lib/sasl/xoauth2.ts";
import { answer, contextOf, octets, REFUSAL, text } from "./context.ts";

const failure = '{"status":"invalid_token","schemes":"bearer","scope":"https://mail.example.com/"}';

function base64(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString("base64");
}

describe("OAUTHBEARER", () => {
  const credentials = {
    username: "user@example.com",
    token: "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
  };

  it("sends the examples of RFC 7628 §4.1 and §4.3", () => {
    const at = (port: number) =>
      base64(
        oauthbearer.begin(contextOf({ credentials, host: "server.example.com", port })).initial,
      );
    expect(at(143)).toBe(
      "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI" +
        "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB",
    );
    expect(at(587)).toBe(
      "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyI" +
        "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB",
    );
  });

  it("escapes the username", () => {
    const odd = { ...credentials, username: "a=b,c" };
    expect(text(oauthbearer.begin(contextOf({ credentials: odd })).initial)).toContain(
      "n,a=a=3Db=2Cc,\x01host=",
    );
  });

  it("answers a failure with ^A once, so that the reply comes (§3.2.3)", () => {
    const exchange = oauthbearer.begin(contextOf({ credentials }));
    expect(base64(exchange.next(octets(failure)))).toBe("AQ==");
    expect(() => answer(exchange, failure)).toThrow(REFUSAL);
  });
});

describe("XOAUTH2", () => {
  const credentials = {
    username: "someuser@example.com",
    token: "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg",
  };

  it("sends Google's example", () => {
    expect(base64(xoauth2.begin(contextOf({ credentials })).initial)).toBe(
      "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkS" +
        "FJoZG1semRHRXVZMjl0Q2cBAQ==",
    );
  });

  it("answers a failure with nothing, once", () => {
    const exchange = xoauth2.begin(contextOf({ credentials }));
    expect(exchange.next(octets(failure))).toEqual(new Uint8Array(0));
    expect(() => answer(exchange, failure)).toThrow(REFUSAL);
  });
});

describe.each([oauthbearer, xoauth2])("$name", (mechanism) => {
  it.each([
    ["no token", { username: "u" }],
    ["an empty token", { username: "u", token: "" }],
    ["no username", { username: "", token: "t" }],
    ["^A in the username", { username: "u\x01auth=Bearer other", token: "t" }],
    ["^A in the token", { username: "u", token: "t\x01" }],
    ["a line end in the token", { username: "u", token: "t\r\n" }],
    ["a space in the token", { username: "u", token: "t t" }],
  ])("is not usable with %s", (_, credentials) => {
    expect(mechanism.usable(contextOf({ credentials }))).toBe(false);
    expect(() => mechanism.begin(contextOf({ credentials }))).toThrow(REFUSAL);
  });

  it("takes two steps to fail, so it is never grouped (RFC 4954 §4)", () => {
    expect(mechanism).toMatchObject({ plaintext: true, oneShot: false });
  });
});
