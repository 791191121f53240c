// RFC 4013 (SASLprep) as RFC 5802 §5.1 and §2.2 ask for it
import { describe, expect, it } from "vitest";
import { prepareCredentials, preparedForms } from "../../lib/sasl/prepare.ts";

async function prepared(username: string, password: string) {
  return preparedForms(await prepareCredentials({ username, password }));
}

describe("prepareCredentials", () => {
  it("gives back what is printable ASCII, untouched", async () => {
    const credentials = { username: "user", password: ' ~!"\\' };
    expect(await prepareCredentials(credentials)).toBe(credentials);
    expect(preparedForms(credentials)).toEqual(credentials);
  });

  // The examples of RFC 4013 §3.
  it.each([
    ["I\u00adX", "IX"],
    ["user", "user"],
    ["USER", "USER"],
    ["\u00aa", "a"],
    ["\u2168", "IX"],
  ])("prepares %j as %j", async (raw, form) => {
    expect(await prepared(raw, raw)).toEqual({ username: form, password: form });
  });

  it.each(["\u0007", "\u0627\u0031", "a\u0000", "\ud800", "\u00ad"])(
    "has no form for %j, and says so by having none",
    async (raw) => {
      const credentials = { username: "user", password: raw };
      expect(await prepareCredentials(credentials)).toBe(credentials);
      expect(preparedForms(credentials)).toBeUndefined();
    },
  );

  it("lets unassigned code points pass in a username (query), not in a password (stored)", async () => {
    expect(await prepared("u\u{1f600}", "p")).toEqual({ username: "u\u{1f600}", password: "p" });
    expect(await prepared("u", "p\u{1f600}")).toBeUndefined();
  });

  it("does without a password", async () => {
    const credentials = { username: "李雷", token: "t" };
    expect(preparedForms(await prepareCredentials(credentials))).toBeUndefined();
    expect(await prepareCredentials(credentials)).toMatchObject(credentials);
  });
});
