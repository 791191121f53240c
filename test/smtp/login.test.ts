/** What a session may log in with, and how it tells a person that it may not. */
import { describe, expect, it } from "vitest";
import { candidates } from "../../lib/smtp/login.ts";
import { contextOf } from "../sasl/context.ts";

const offered = (...advertised: readonly string[]) => contextOf({ advertised });

describe("candidates", () => {
  it("names what both sides can do, strongest first", () => {
    const found = candidates(offered("LOGIN", "PLAIN", "X"), { allowPlaintextAuth: false });
    expect(found.map(({ name }) => name)).toEqual(["PLAIN", "LOGIN"]);
  });

  it("says what the server offers where nothing is shared", () => {
    expect(() => candidates(offered("GSSAPI", "NTLM"), { allowPlaintextAuth: false })).toThrow(
      "No mechanism in common: the server offers GSSAPI, NTLM.",
    );
    expect(() => candidates(offered(), { allowPlaintextAuth: false })).toThrow(
      "No mechanism in common: the server offers none.",
    );
  });

  it("says what the mailbox allows where that is the reason", () => {
    const policy = { auth: ["XOAUTH2", "EXTERNAL"], allowPlaintextAuth: false };
    expect(() => candidates(offered("PLAIN"), policy)).toThrow(
      'the server offers PLAIN. The mailbox\'s "auth" allows XOAUTH2, EXTERNAL.',
    );
  });
});
