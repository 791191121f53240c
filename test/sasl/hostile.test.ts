// Whatever a server sends, a mechanism answers or throws SaslError; and it never shows a secret.
import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Mechanism, SaslError } from "../../lib/sasl/mechanism.ts";
import { knownMechanisms, selectMechanisms } from "../../lib/sasl/select.ts";
import { character } from "../support/characters.ts";
import { contextOf, octets } from "./context.ts";

const secret = "S3cr3t-passw0rd";
const token = "ya29.t0ken-t0ken";
const context = contextOf({
  credentials: { username: "user", password: secret, token, certificate: true },
  bindings: [{ type: "tls-exporter", data: new Uint8Array(32) }],
  advertised: knownMechanisms,
});
const mechanisms = selectMechanisms(context, knownMechanisms);

const plausible = fc.constantFrom(
  "",
  "Username:",
  "Password:",
  "r=fyko+d2lbbFgONRv9qkxdawLx,s=QSXCR+Q6sek8bf92,i=4096",
  "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
  "e=other-error",
  'nonce="n",realm="r",algorithm=md5-sess,charset=utf-8,qop="auth"',
  "rspauth=ea40f60335c427b5527b84dbabcdfffd",
  '{"status":"400"}',
);
const challenge = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.string({ unit: character, maxLength: 100 }).map(octets),
  plausible.map(octets),
  fc.tuple(plausible, fc.string({ maxLength: 4 })).map(([text, tail]) => octets(text + tail)),
);

/** Runs the challenges and returns every error. */
function play(mechanism: Mechanism, challenges: readonly Uint8Array[]): unknown[] {
  const exchange = mechanism.begin(context);
  const errors: unknown[] = [];
  const attempt = (step: () => unknown) => {
    try {
      step();
    } catch (error) {
      errors.push(error);
    }
  };
  for (const octets of challenges) attempt(() => exchange.next(octets));
  attempt(() => exchange.finish());
  for (const error of errors) {
    if (!(error instanceof SaslError)) throw error;
    expect(String(error)).toMatch(new RegExp(`^SaslError: ${mechanism.name}: \\S.{10,}`));
  }
  return errors;
}

/** The secret in every shape an inspection could give it. */
function shapes(text: string): string[] {
  const bytes = Buffer.from(text);
  return [
    text,
    bytes.toString("hex"),
    [...bytes].join(", "),
    [...bytes].map((octet) => octet.toString(16).padStart(2, "0")).join(" "),
    bytes.toString("base64").slice(0, -4),
  ];
}

it("has all mechanisms to try", () => {
  expect(mechanisms).toHaveLength(knownMechanisms.length);
});

describe.each(mechanisms)("$name", (mechanism) => {
  it("throws nothing but SaslError, and no secret in it", () => {
    fc.assert(
      fc.property(fc.array(challenge, { maxLength: 5 }), (challenges) => {
        for (const error of play(mechanism, challenges)) {
          const shown = inspect(error, { depth: 9, showHidden: true });
          for (const shape of [...shapes(secret), ...shapes(token)]) {
            expect(shown).not.toContain(shape);
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  it("does not begin where there is nothing to prove", () => {
    for (const credentials of [
      { username: "" },
      { username: "", password: secret, token },
      { username: "user" },
      { username: "user", password: "", token: "" },
    ]) {
      const nobody = contextOf({ credentials, bindings: context.bindings });
      expect(mechanism.usable(nobody)).toBe(false);
      expect(() => mechanism.begin(nobody)).toThrow(`${mechanism.name}: `);
    }
  });

  it("shows no secret when it is looked at, before and after a challenge", () => {
    const exchange = mechanism.begin(context);
    const look = () => {
      const views = [
        inspect(exchange, { depth: 9, showHidden: true, getters: true }),
        JSON.stringify(exchange),
        JSON.stringify({ ...exchange }),
      ].join("\n");
      for (const shape of [...shapes(secret), ...shapes(token)]) {
        expect(views).not.toContain(shape);
      }
    };
    look();
    try {
      exchange.next(octets("Username:"));
    } catch {
      // Only the look afterwards matters.
    }
    look();
  });

  it("ends every exchange: the fourth challenge is refused", () => {
    fc.assert(
      fc.property(fc.array(challenge, { minLength: 4, maxLength: 4 }), (challenges) => {
        expect(play(mechanism, challenges)).not.toHaveLength(0);
      }),
      { numRuns: 30 },
    );
  });

  it("is not mended by anything once it refused a challenge", () => {
    fc.assert(
      fc.property(challenge, fc.constantFrom("v=", "rspauth=", ""), (first, last) => {
        const exchange = mechanism.begin(context);
        expect(() => {
          exchange.next(first);
          exchange.next(first);
          exchange.next(first);
        }).toThrow(SaslError);
        expect(() => exchange.next(octets(last))).toThrow(SaslError);
        if (/^SCRAM|^DIGEST/.test(mechanism.name)) {
          expect(() => exchange.finish()).toThrow(SaslError);
        }
      }),
      { numRuns: 50 },
    );
  });
});
