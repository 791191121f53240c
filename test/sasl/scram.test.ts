// RFC 5802, RFC 7677, RFC 9266, RFC 5929
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { scramBare, scramPlus } from "../../lib/sasl/scram.ts";
import { answer, contextOf, REFUSAL, text } from "./context.ts";
import { vectors } from "./scram-vectors.ts";

function named(name: string) {
  const mechanism = [...scramPlus, ...scramBare].find((known) => known.name === name);
  if (mechanism === undefined) throw new Error(`no ${name}`);
  return mechanism;
}

const clientNonce = "fyko+d2lbbFgONRv9qkxdawL";
const exporter = { type: "tls-exporter", data: Uint8Array.from({ length: 32 }, (_, at) => at) };
const endPoint = { type: "tls-server-end-point", data: new Uint8Array(32) };

describe("SCRAM with the RFCs' examples", () => {
  it("SCRAM-SHA-1, RFC 5802 §5", () => {
    const exchange = named("SCRAM-SHA-1").begin(contextOf());
    expect(text(exchange.initial)).toBe("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    expect(
      answer(exchange, "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"),
    ).toBe("c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    expect(answer(exchange, "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")).toBe("");
    exchange.finish();
  });

  it("SCRAM-SHA-256, RFC 7677 §3", () => {
    const context = contextOf({ nonce: () => "rOprNGfwEbeRWgbNEkqO" });
    const exchange = named("SCRAM-SHA-256").begin(context);
    expect(text(exchange.initial)).toBe("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    expect(
      answer(
        exchange,
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
      ),
    ).toBe(
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    );
    expect(answer(exchange, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")).toBe("");
    exchange.finish();
  });
});

describe("SCRAM against an independent implementation", () => {
  it.each(vectors)("$name with $binding.type", (vector) => {
    const { name, binding } = vector;
    const context = contextOf({
      credentials: { username: "a=b,c@example.com", password: "pencil" },
      bindings:
        binding === undefined
          ? []
          : [{ type: binding.type, data: Buffer.from(binding.hex, "hex") }],
      advertised: [name],
    });
    const exchange = named(name).begin(context);
    expect(text(exchange.initial)).toBe(vector.clientFirst);
    expect(answer(exchange, vector.serverFirst)).toBe(vector.clientFinal);
    expect(() => exchange.finish()).toThrow(REFUSAL);
    expect(answer(exchange, vector.serverFinal)).toBe("");
    exchange.finish();
    expect(() => answer(exchange, vector.serverFinal)).toThrow(REFUSAL);
  });
});

describe("channel binding (RFC 5802 §6)", () => {
  const header = (name: string, parts: Parameters<typeof contextOf>[0]) =>
    text(named(name).begin(contextOf(parts)).initial)?.split(",")[0];

  it("says n where the channel has nothing to bind to", () => {
    expect(header("SCRAM-SHA-256", { advertised: ["SCRAM-SHA-256-PLUS"] })).toBe("n");
  });

  it("says y where we could and the server offers no -PLUS", () => {
    const bindings = [exporter];
    expect(header("SCRAM-SHA-256", { bindings, advertised: ["SCRAM-SHA-256"] })).toBe("y");
    // An invented -PLUS must not hide that the real one was taken out.
    expect(header("SCRAM-SHA-256", { bindings, advertised: ["SCRAM-SHA-9-PLUS"] })).toBe("y");
  });

  it("says n where a mailbox restricts itself though the server offers -PLUS", () => {
    const parts = { bindings: [exporter], advertised: ["scram-sha-1-plus", "SCRAM-SHA-256"] };
    expect(header("SCRAM-SHA-256", parts)).toBe("n");
  });

  it("takes the strongest binding", () => {
    expect(header("SCRAM-SHA-1-PLUS", { bindings: [exporter, endPoint] })).toBe("p=tls-exporter");
    expect(header("SCRAM-SHA-1-PLUS", { bindings: [endPoint] })).toBe("p=tls-server-end-point");
  });

  it("has no -PLUS without a binding", () => {
    for (const mechanism of scramPlus) {
      expect(mechanism.usable(contextOf())).toBe(false);
      expect(() => mechanism.begin(contextOf())).toThrow(REFUSAL);
    }
  });
});

describe("a hostile server", () => {
  const good = `r=${clientNonce}abc,s=QSXCR+Q6sek8bf92,i=4096`;

  it.each([
    ["nothing", ""],
    ["a nonce of its own", "r=other,s=QSXCR+Q6sek8bf92,i=4096"],
    ["our nonce unextended", `r=${clientNonce},s=QSXCR+Q6sek8bf92,i=4096`],
    ["our nonce shortened", `r=${clientNonce.slice(0, -1)},s=QSXCR+Q6sek8bf92,i=4096`],
    ["a nonce with controls", `r=${clientNonce}a\u0007,s=QSXCR+Q6sek8bf92,i=4096`],
    ["a nonce with controls in its middle", `r=${clientNonce}\u0007a,s=QSXCR+Q6sek8bf92,i=4096`],
    ["a byte order mark", `\ufeff${good}`],
    ["no salt", `r=${clientNonce}abc,i=4096`],
    ["an empty salt", `r=${clientNonce}abc,s=,i=4096`],
    ["a salt that is not base64", `r=${clientNonce}abc,s=****,i=4096`],
    ["a salt of loose base64", `r=${clientNonce}abc,s=QSXCR+Q6sek8bf9,i=4096`],
    ["a salt with stray bits", `r=${clientNonce}abc,s=QR==,i=4096`],
    ["a salt with a space", `r=${clientNonce}abc,s=QSXC R+Q6sek8bf92,i=4096`],
    ["no count", `r=${clientNonce}abc,s=QSXCR+Q6sek8bf92`],
    ["a count of 1", good.replace("4096", "1")],
    ["a count of 4095", good.replace("4096", "4095")],
    ["a count of 1000001", good.replace("4096", "1000001")],
    ["a count of 2^31", good.replace("4096", "2147483648")],
    ["a count of 2^32 + 4096", good.replace("4096", "4294971392")],
    ["a count of 100 digits", good.replace("4096", "9".repeat(100))],
    ["a negative count", good.replace("4096", "-4096")],
    ["a hexadecimal count", good.replace("4096", "0x1000")],
    ["a count in exponents", good.replace("4096", "4e3")],
    ["a count with a leading zero", good.replace("4096", "04096")],
    ["a count with spaces", good.replace("4096", " 4096")],
    ["another order", `s=QSXCR+Q6sek8bf92,r=${clientNonce}abc,i=4096`],
    ["a mandatory extension", `m=ext,${good}`],
    ["a mandatory extension at the end", `${good},m=ext`],
    ["an error", "e=unknown-user"],
  ])("is refused with %s", (_, first) => {
    const exchange = named("SCRAM-SHA-256").begin(contextOf());
    expect(() => answer(exchange, first)).toThrow(REFUSAL);
    expect(() => exchange.finish()).toThrow(REFUSAL);
  });

  it("may add extensions that are optional (RFC 5802 §5.1)", () => {
    expect(answer(named("SCRAM-SHA-256").begin(contextOf()), `${good},x=1`)).toMatch(/^c=biws,/);
  });

  it.each([
    ["success at once", undefined],
    ["an empty final message", ""],
    ["no signature", "x=1"],
    ["an empty signature", "v="],
    ["a short signature", "v=rmF9pqV8S7su"],
    ["another's signature", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="],
    ["loose base64", "v=rmF9pqV8S7suAoZWja4dJRkFsKR="],
    ["an error", "e=channel-bindings-dont-match"],
    ["its first message again", good],
  ])("is refused with %s in place of its proof", (_, last) => {
    const exchange = named("SCRAM-SHA-1").begin(contextOf());
    answer(exchange, good);
    if (last !== undefined) expect(() => answer(exchange, last)).toThrow(REFUSAL);
    expect(() => exchange.finish()).toThrow(REFUSAL);
  });

  it.each([
    ["under another name", "x=rmF9pqV8S7suAoZWja4dJRkFsKQ="],
    ["and a mandatory extension behind it", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=,m=ext"],
  ])("is refused with the right signature %s", (_, last) => {
    const exchange = named("SCRAM-SHA-1").begin(contextOf());
    answer(exchange, good.replace("abc", "3rfcNHYJY1ZVvWVs7j"));
    expect(() => answer(exchange, last)).toThrow(REFUSAL);
    expect(() => exchange.finish()).toThrow(REFUSAL);
  });

  it("is refused with octets that are no text", () => {
    const exchange = named("SCRAM-SHA-1").begin(contextOf());
    expect(() => exchange.next(Uint8Array.of(0x72, 0x3d, 0xff))).toThrow(/not UTF-8/);
  });

  it("may ask for the most that is allowed", () => {
    const exchange = named("SCRAM-SHA-1").begin(contextOf());
    expect(answer(exchange, good.replace("4096", "1000000"))).toMatch(/^c=biws,/);
  });

  // RFC 5802 §7, `server-error-value`.
  it.each([
    "invalid-encoding",
    "extensions-not-supported",
    "invalid-proof",
    "channel-bindings-dont-match",
    "server-does-support-channel-binding",
    "channel-binding-not-supported",
    "unsupported-channel-binding-type",
    "unknown-user",
    "invalid-username-encoding",
    "no-resources",
    "other-error",
  ])("has its error %s repeated", (value) => {
    const exchange = named("SCRAM-SHA-1").begin(contextOf());
    expect(() => answer(exchange, `e=${value}`)).toThrow(`reports ${value}`);
  });

  it("has its error named where the RFC knows it, and nothing else of it repeated", () => {
    const begin = () => named("SCRAM-SHA-1").begin(contextOf());
    expect(() => answer(begin(), "e=no-resources")).toThrow(/no-resources/);
    expect(() => answer(begin(), "e=<script>pencil")).toThrow(/other-error/);
    expect(() => answer(begin(), "e=<script>pencil")).not.toThrow(/pencil/);
  });
});

describe("what goes in", () => {
  it("escapes the username, and only there", () => {
    const credentials = { username: "=2C,=", password: "p,=" };
    const { initial } = named("SCRAM-SHA-1").begin(contextOf({ credentials }));
    expect(text(initial)).toBe(`n,,n==3D2C=2C=3D,r=${clientNonce}`);
  });

  it.each(["", "a,b", "a b", "é"])("refuses the client nonce %j", (nonce) => {
    const context = contextOf({ nonce: () => nonce });
    expect(() => named("SCRAM-SHA-1").begin(context)).toThrow(REFUSAL);
  });

  it("uses the prepared forms (RFC 5802 §5.1, §2.2)", () => {
    const credentials = {
      username: "I\u00adX",
      password: "\u2168",
      prepared: { username: "IX", password: "IX" },
    };
    const first = `r=${clientNonce}abc,s=QSXCR+Q6sek8bf92,i=4096`;
    const same = { username: "IX", password: "IX" };
    const [prepared, plain] = [credentials, same].map((given) => {
      const exchange = named("SCRAM-SHA-512").begin(contextOf({ credentials: given }));
      return [text(exchange.initial), answer(exchange, first)];
    });
    expect(prepared).toEqual(plain);
  });

  it("is not usable with what was not prepared", () => {
    const usable = (username: string, password: string) =>
      named("SCRAM-SHA-1").usable(contextOf({ credentials: { username, password } }));
    expect(usable("user", "pencil")).toBe(true);
    expect(usable("user", "péncil")).toBe(false);
    expect(usable("us\u0007er", "pencil")).toBe(false);
    expect(usable("", "pencil")).toBe(false);
    expect(usable("user", "")).toBe(false);
  });

  // The server's side of RFC 5802 §3, written out from its formulae.
  it.each(["SHA-1", "SHA-256", "SHA-512"])(
    "convinces a server that keeps only keys, %s",
    (hash) => {
      const digest = hash.replace("-", "").toLowerCase();
      const hmac = (key: Uint8Array, data: string) => createHmac(digest, key).update(data).digest();
      const size = createHash(digest).digest().length;
      const salt = Buffer.from("another salt");
      const salted = pbkdf2Sync("p,=\\", salt, 5000, size, digest);
      const storedKey = createHash(digest).update(hmac(salted, "Client Key")).digest();

      const credentials = { username: "u", password: "p,=\\" };
      const bindings = [exporter];
      const exchange = named(`SCRAM-${hash}-PLUS`).begin(contextOf({ credentials, bindings }));
      const bare = text(exchange.initial)?.replace("p=tls-exporter,,", "");
      const first = `r=${clientNonce}~!,s=${salt.toString("base64")},i=5000`;
      const [, without = "", proof = ""] =
        /^(.*),p=(.*)$/.exec(answer(exchange, first) ?? "") ?? [];
      const input = Buffer.concat([Buffer.from("p=tls-exporter,,"), exporter.data]);
      expect(without).toBe(`c=${input.toString("base64")},r=${clientNonce}~!`);

      const message = `${bare},${first},${without}`;
      const signature = hmac(storedKey, message);
      const clientKey = Buffer.from(proof, "base64").map(
        (octet, at) => octet ^ (signature[at] ?? 0),
      );
      expect(createHash(digest).update(clientKey).digest()).toEqual(storedKey);

      const verifier = hmac(hmac(salted, "Server Key"), message).toString("base64");
      expect(answer(exchange, `v=${verifier},x=optional`)).toBe("");
      exchange.finish();
    },
  );
});
