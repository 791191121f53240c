// RFC 4616 (PLAIN), draft-murchison-sasl-login (LOGIN), RFC 4422 appendix A (EXTERNAL)
import { describe, expect, it } from "vitest";
import { external } from "../../lib/sasl/external.ts";
import { login } from "../../lib/sasl/login.ts";
import { plain } from "../../lib/sasl/plain.ts";
import { answer, contextOf, octets, REFUSAL, text } from "./context.ts";

describe("PLAIN", () => {
  it("sends the example of RFC 4616 §4", () => {
    const context = contextOf({ credentials: { username: "tim", password: "tanstaaftanstaaf" } });
    expect(text(plain.begin(context).initial)).toBe("\0tim\0tanstaaftanstaaf");
    expect(plain).toMatchObject({ plaintext: true, oneShot: true });
  });

  it("sends UTF-8 as it is, prepared or not (RFC 4616 §2)", () => {
    const credentials = {
      username: "李雷",
      password: "pass\u00adwort é",
      prepared: { username: "x", password: "y" },
    };
    expect(plain.begin(contextOf({ credentials })).initial).toEqual(
      octets("\0李雷\0pass\u00adwort é"),
    );
  });

  it.each([
    ["a NUL in the username", { username: "a\0b", password: "p" }],
    ["a NUL in the password", { username: "a", password: "p\0q" }],
    ["no password", { username: "a" }],
    ["an empty password", { username: "a", password: "" }],
    ["an empty username", { username: "", password: "p" }],
  ])("refuses %s", (_, credentials) => {
    expect(plain.usable(contextOf({ credentials }))).toBe(false);
    expect(() => plain.begin(contextOf({ credentials }))).toThrow(REFUSAL);
  });

  it("answers no challenge", () => {
    expect(() => plain.begin(contextOf()).next(octets(""))).toThrow(REFUSAL);
  });
});

describe("LOGIN", () => {
  it("sends the username with the command, and the password to whatever prompt follows", () => {
    for (const prompt of [
      "Password:",
      "",
      "口令:",
      "\xff",
      "Welcome",
      "Username:",
      "User Name\0",
    ]) {
      const exchange = login.begin(contextOf());
      expect(text(exchange.initial)).toBe("user");
      expect(answer(exchange, prompt)).toBe("pencil");
      expect(() => answer(exchange, "Password:")).toThrow(REFUSAL);
    }
  });

  it("answers by position where the server speaks first, even with the prompts swapped", () => {
    for (const prompts of [
      ["Username:", "Password:"],
      ["Password:", "Username:"],
      ["Username:", "Username:"],
      ["", ""],
      ["用户名:", "密码:"],
    ]) {
      const exchange = login.begin(contextOf(), { initialResponse: false });
      expect(exchange.initial).toBeUndefined();
      expect(prompts.map((prompt) => answer(exchange, prompt))).toEqual(["user", "pencil"]);
      expect(() => answer(exchange, "")).toThrow(REFUSAL);
    }
  });

  it("is not for grouping", () => {
    expect(login).toMatchObject({ plaintext: true, oneShot: false });
  });
});

describe("EXTERNAL", () => {
  it("sends an empty message, which is not none, where no username is given", () => {
    const credentials = { username: "", certificate: true };
    expect(external.begin(contextOf({ credentials })).initial).toEqual(new Uint8Array(0));
    expect(external.oneShot).toBe(true);
  });

  it("names whom to act as where a username is given", () => {
    const credentials = { username: "fred@example.com", certificate: true };
    expect(text(external.begin(contextOf({ credentials })).initial)).toBe("fred@example.com");
  });

  it("needs a certificate, and TLS that presented it", () => {
    const credentials = { username: "u", certificate: true };
    expect(external.usable(contextOf({ credentials }))).toBe(true);
    expect(external.usable(contextOf({ credentials, secure: false }))).toBe(false);
    expect(external.usable(contextOf())).toBe(false);
    expect(() => external.begin(contextOf())).toThrow(REFUSAL);
    expect(() => external.begin(contextOf({ credentials })).next(octets(""))).toThrow(REFUSAL);
  });
});
