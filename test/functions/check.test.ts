/** The check function, on the built bundle: what a server supports, and whether the login works. */
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";

const USER = "shop@example.com";
let mail: MailServer;
let secrets: Secrets;
let check: LambdaFunction | undefined;

beforeAll(async () => {
  mail = await startMailServer({ users: { [USER]: "right horse" } });
  secrets = await startSecrets({});
});
afterEach(() => check?.stop());
afterAll(() => Promise.all([mail.close(), secrets.close()]));

async function ask(changes: Record<string, unknown>, event: unknown = {}) {
  const mailbox = {
    host: "127.0.0.1",
    port: mail.ports.starttls,
    security: "starttls",
    username: USER,
    password: "right horse",
    tls: { ca: mail.ca },
    ...changes,
  };
  secrets.put("box", JSON.stringify(mailbox));
  check = await startFunction("check", {
    MAILBOX_SECRET_ID: "box",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
  });
  return check.invoke(event);
}

it("tells what the server supports, and sends nothing", async () => {
  const result = await ask({});
  expect(result).toMatchObject({
    ok: true,
    login: "accepted",
    mechanisms: ["PLAIN", "LOGIN", "CRAM-MD5"],
    server: { tls: { protocol: "TLSv1.3" }, auth: "PLAIN" },
    maxSize: 26214400,
    certificate: { subject: "CN=localhost", names: ["localhost", "127.0.0.1", expect.any(String)] },
  });
  const { validFrom, validTo } = result.certificate;
  expect(Date.parse(validFrom)).toBeLessThan(Date.now());
  expect(Date.parse(validTo)).toBeGreaterThan(Date.now());
  expect(result.capabilities.PIPELINING).toEqual([]);
  const said = result.transcript.map((entry: { text: string }) => entry.text);
  expect(said).toContain("STARTTLS");
  expect(said.some((text: string) => text.startsWith("MAIL"))).toBe(false);
  expect(mail.inbox.messages).toHaveLength(0);
});

it("tells of a refused login", async () => {
  const result = await ask({ password: "wrong battery" });
  expect(result).toMatchObject({ ok: false, login: "refused", error: { code: "auth_failed" } });
  expect(result.mechanisms).toContain("PLAIN");
  expect(JSON.stringify(result)).not.toContain("wrong battery");
});

it("tells of a certificate that does not fit, and how to mend it", async () => {
  const result = await ask({ tls: {} });
  expect(result).toMatchObject({ ok: false, error: { code: "certificate_invalid", phase: "tls" } });
  expect(result.error.message).toContain("tls.ca");
});

it("has no certificate to tell of without TLS", async () => {
  const result = await ask({ security: "none", username: undefined, password: undefined });
  expect(result).toMatchObject({ ok: true, certificate: null, server: { tls: null } });
});

it("tells of a name that does not fit", async () => {
  const result = await ask({ tls: { ca: mail.ca, servername: "other.test" } });
  expect(result).toMatchObject({ ok: false, error: { code: "certificate_invalid" } });
});

it.each([{ host: "evil.test" }, { mailbox: "../other" }, "x", [1]])(
  "refuses the event %j",
  async (event) => {
    expect(await ask({}, event)).toMatchObject({ ok: false, error: { code: "invalid_request" } });
  },
);
