// RFC 4422 §3.3, RFC 5802 §6
import { describe, expect, it } from "vitest";
import type { SaslContext } from "../../lib/sasl/mechanism.ts";
import { knownMechanisms, selectMechanisms } from "../../lib/sasl/select.ts";
import { contextOf } from "./context.ts";

function names(parts: Partial<SaslContext>, restrict?: readonly string[]): string[] {
  const context = contextOf({ advertised: knownMechanisms, ...parts });
  return selectMechanisms(context, restrict).map(({ name }) => name);
}

const bindings = [{ type: "tls-exporter", data: new Uint8Array(32) }];
const scram = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"];
const scramPlus = scram.map((name) => `${name}-PLUS`);

describe("selectMechanisms", () => {
  it("tries the strongest first within TLS", () => {
    expect(names({ bindings })).toEqual([
      ...scramPlus,
      ...scram,
      "PLAIN",
      "LOGIN",
      "CRAM-MD5",
      "DIGEST-MD5",
    ]);
  });

  it("without TLS puts last what a listener could read", () => {
    expect(names({ secure: false })).toEqual([
      ...scram,
      "CRAM-MD5",
      "DIGEST-MD5",
      "PLAIN",
      "LOGIN",
    ]);
  });

  it("puts a token first", () => {
    const token = { username: "u", token: "t" };
    expect(names({ credentials: token })).toEqual(["OAUTHBEARER", "XOAUTH2"]);
    expect(names({ credentials: { ...token, password: "p" } }).slice(0, 3)).toEqual([
      "OAUTHBEARER",
      "XOAUTH2",
      "SCRAM-SHA-512",
    ]);
  });

  it("takes a certificate for the proof where there is no password, or where it is asked for", () => {
    const certificate = { username: "u", certificate: true };
    expect(names({ credentials: certificate })).toEqual(["EXTERNAL"]);
    expect(names({ credentials: { username: "", certificate: true } })).toEqual(["EXTERNAL"]);
    const both = { ...certificate, password: "p" };
    expect(names({ credentials: both })).not.toContain("EXTERNAL");
    expect(names({ credentials: both }, ["EXTERNAL", "PLAIN"])).toEqual(["EXTERNAL", "PLAIN"]);
  });

  it("offers only what the server does, in any case", () => {
    expect(names({ advertised: ["login", "Plain", "GSSAPI", "NTLM", "SCRAM-SHA-1-PLUS"] })).toEqual(
      ["PLAIN", "LOGIN"],
    );
    expect(names({ advertised: [] })).toEqual([]);
  });

  it("lets the mailbox restrict and order, in any case, each once", () => {
    expect(names({}, ["login", "scram-sha-1", "LOGIN", "X-UNKNOWN"])).toEqual([
      "LOGIN",
      "SCRAM-SHA-1",
    ]);
    expect(names({ secure: false }, ["PLAIN", "CRAM-MD5"])).toEqual(["PLAIN", "CRAM-MD5"]);
    expect(names({}, [])).toEqual([]);
    expect(names({ advertised: ["LOGIN"] }, ["PLAIN"])).toEqual([]);
  });

  it("finds nothing where there is nothing to prove", () => {
    expect(names({ credentials: { username: "u" } })).toEqual([]);
    expect(names({ credentials: { username: "", password: "p" } })).toEqual([]);
  });
});

it("knows of each what a listener could read, and which is one message", () => {
  const context = contextOf({
    credentials: { username: "u", password: "p", token: "t", certificate: true },
    bindings,
    advertised: knownMechanisms,
  });
  const found = selectMechanisms(context, knownMechanisms);
  const those = (which: "plaintext" | "oneShot") =>
    found.filter((mechanism) => mechanism[which]).map(({ name }) => name);
  expect(those("plaintext")).toEqual(["OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"]);
  expect(those("oneShot")).toEqual(["EXTERNAL", "PLAIN"]);
});

it("knows every mechanism by its IANA name, once", () => {
  expect(new Set(knownMechanisms)).toEqual(
    new Set([
      ...["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "EXTERNAL", "XOAUTH2", "OAUTHBEARER"],
      ...scram,
      ...scramPlus,
    ]),
  );
  expect(knownMechanisms).toHaveLength(13);
});
