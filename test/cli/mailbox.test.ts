/** `mailbox`: secrets over HTTP to a store, logins at a real server, a password typed in a real pty. */
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { secretKeeper } from "../../lib/aws/secrets-manager.ts";
import { maskedSecret } from "../../lib/cli/masked.ts";
import { type Folder, makeFolder, onTerminal, posthaste, type RunOptions } from "./support.ts";

const USER = "shop@example.com";
const OLD = "p@ss:wörd/100%";
const NEW = "neues Wörd";
const ID = "posthaste/test/billing";
const users: Record<string, string> = { [USER]: OLD };
let mail: MailServer;
let secrets: Secrets;
let folder: Folder;
let env: Record<string, string>;
let mailbox: Record<string, unknown>;

beforeAll(async () => {
  mail = await startMailServer({ users });
  folder = makeFolder();
  const { host, ca, ports } = mail;
  mailbox = { host, port: ports.implicit, username: USER, from: `Shop <${USER}>`, tls: { ca } };
  mailbox["security"] = "implicit";
  folder.write("mailbox.json", mailbox);
  folder.write("whole.json", { ...mailbox, password: OLD });
});
beforeEach(async () => {
  await secrets?.close();
  secrets = await startSecrets();
  users[USER] = OLD;
  env = {
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: "local",
    AWS_SECRET_ACCESS_KEY: "local",
  };
});
afterAll(async () => {
  folder.remove();
  await Promise.all([mail.close(), secrets.close()]);
});

function run(args: readonly string[], options: RunOptions = {}) {
  return posthaste(["mailbox", ...args], { cwd: folder.path, ...options, env });
}

/** What the store holds, asked for as the functions ask. */
async function stored(id = ID): Promise<Record<string, unknown>> {
  Object.assign(process.env, env);
  return JSON.parse((await secretKeeper().read(id)).secret);
}

it("put asks for the password without echo, tries the login, and creates the secret", async () => {
  const { code, screen } = await onTerminal(
    ["mailbox", "put", "billing", "--prefix", "posthaste/test/", "--file", "mailbox.json"],
    [{ after: /Password: /, keys: `${OLD}\r` }],
    { cwd: folder.path, env },
  );
  expect(screen).toMatch(/Password: \r?\n/);
  expect(screen).toMatch(/took the login, by PLAIN/);
  expect(screen).toMatch(/created posthaste\/test\/billing, version [0-9a-f-]{36}/);
  for (const part of [OLD, "wörd", "100%"]) expect(screen).not.toContain(part);
  expect(code).toBe(0);
  expect(await stored()).toEqual({ ...mailbox, password: OLD });
});

it("put fills a secret that the template made empty, from options", async () => {
  await fetch(secrets.url, {
    method: "POST",
    headers: { "x-amz-target": "secretsmanager.CreateSecret" },
    body: JSON.stringify({ Name: ID }),
  });
  expect((await run(["get", ID])).code).toBe(66);
  const options = ["--host", `${mail.host}:${mail.ports.implicit}`, "--security", "implicit"];
  const who = ["--username", USER, "--from", USER, "--allowed-from", "@example.com"];
  const { code, stderr } = await run(
    ["put", ID, ...options, ...who, "--password-stdin", "--no-verify"],
    { input: `${OLD}\n` },
  );
  expect(stderr).toContain("the login was not tried");
  expect(code).toBe(0);
  expect(await stored()).toEqual({
    host: `${mail.host}:${mail.ports.implicit}`,
    security: "implicit",
    username: USER,
    from: USER,
    allowedFrom: ["@example.com"],
    password: OLD,
  });
});

it("put stores nothing where the login is refused", async () => {
  const { code, stdout, stderr } = await run(
    ["put", ID, "--file", "mailbox.json", "--password-stdin"],
    {
      input: "wrong horse\n",
    },
  );
  expect(code).toBe(78);
  expect(stderr).toMatch(/^error: Nothing was stored: 127\.0\.0\.1:\d+ did not take it\..* 535 /m);
  expect(stdout + stderr).not.toContain("wrong horse");
  expect((await run(["get", ID])).code).toBe(66);
});

it("put replaces a value only when told to", async () => {
  secrets.put(ID, JSON.stringify({ ...mailbox, password: "before" }));
  const refused = await run(["put", ID, "--file", "whole.json"]);
  expect(refused.code).toBe(64);
  expect(refused.stderr).toContain("--replace");
  expect((await stored())["password"]).toBe("before");
  expect((await run(["put", ID, "--file", "whole.json", "--replace"])).code).toBe(0);
  expect((await stored())["password"]).toBe(OLD);
});

it("put refuses what is no mailbox, by field and without a value", async () => {
  folder.write("bad.json", { ...mailbox, pasword: "hunter2", password: "hunter3" });
  const { code, stdout, stderr } = await run(["put", ID, "--file", "bad.json"]);
  expect(code).toBe(65);
  expect(stderr).toContain("pasword is not a known field");
  expect(stdout + stderr).not.toMatch(/hunter/);
});

it("without a terminal the password must be piped, and is not taken as an argument", async () => {
  const asked = await run(["put", ID, "--file", "mailbox.json"]);
  expect(asked).toMatchObject({ code: 64, stderr: expect.stringContaining("--password-stdin") });
  const argument = await run(["put", ID, "--file", "mailbox.json", "--password", "hunter2"]);
  expect(argument.code).toBe(64);
  expect(argument.stderr).toContain("unknown option '--password'");
  expect(argument.stderr).not.toContain("hunter2");
});

it("Ctrl-C at the question changes nothing", async () => {
  const { code, screen } = await onTerminal(
    ["mailbox", "put", ID, "--file", "mailbox.json"],
    [{ after: /Password: /, keys: "half\u0003" }],
    { cwd: folder.path, env },
  );
  expect(screen).toContain("Interrupted; nothing was changed.");
  expect(screen).not.toContain("half");
  expect(code).toBe(130);
});

it("get shows everything but secrets", async () => {
  secrets.put(ID, JSON.stringify({ ...mailbox, password: OLD, typo: "hunter2" }));
  const { code, stdout, stderr } = await run(["get", ID]);
  expect(JSON.parse(stdout)).toEqual({ ...mailbox, password: "***", typo: "***" });
  expect(stderr).toContain("typo is not a known field");
  expect(code).toBe(65);
});

it("masks what may be secret, wherever it is", () => {
  const pem = "-----BEGIN PRIVATE KEY-----";
  const mask = "***";
  const shown = maskedSecret(
    JSON.stringify({
      host: ["a", "b:465"],
      password: "p",
      oauth2: { clientId: "id", clientSecret: "s", refreshToken: "r", scope: "x" },
      tls: { ca: "CA", cert: "CERT", key: pem },
      dkim: [{ domain: "d", selector: "s", privateKey: pem }],
      proxy: "http://user:pass@proxy:3128",
      engine: "x",
    }),
  );
  expect(shown).toEqual({
    host: ["a", "b:465"],
    password: mask,
    oauth2: { clientId: "id", clientSecret: mask, refreshToken: mask, scope: "x" },
    tls: { ca: "CA", cert: "CERT", key: mask },
    dkim: [{ domain: "d", selector: "s", privateKey: mask }],
    proxy: "http://***@proxy:3128",
    engine: mask,
  });
  expect(maskedSecret(JSON.stringify({ proxy: "http://proxy:3128" }))).toEqual({
    proxy: "http://proxy:3128",
  });
  for (const odd of [
    "hunter2",
    '"hunter2"',
    '["hunter2"]',
    '{"dkim":"hunter2","tls":["hunter2"],"proxy":"u:hunter2@p"}',
  ]) {
    expect(JSON.stringify(maskedSecret(odd))).not.toContain("hunter2");
  }
});

it("rotate stores the new password once it has logged in, and leaves all else", async () => {
  secrets.put(ID, JSON.stringify({ ...mailbox, password: OLD, maxPerMinute: 5 }));
  users[USER] = NEW;
  const { code, screen } = await onTerminal(
    ["mailbox", "rotate", ID],
    [{ after: /Password: /, keys: `${NEW}\r` }],
    { cwd: folder.path, env },
  );
  expect(screen).toContain("stored posthaste/test/billing");
  expect(screen).not.toContain(NEW);
  expect(code).toBe(0);
  expect(await stored()).toEqual({ ...mailbox, maxPerMinute: 5, password: NEW });
});

it("rotate keeps the old password where the new one is refused, or is the same", async () => {
  secrets.put(ID, JSON.stringify({ ...mailbox, password: OLD }));
  const wrong = await run(["rotate", ID, "--password-stdin"], { input: "wrong horse" });
  expect(wrong.code).toBe(78);
  expect(wrong.stdout + wrong.stderr).not.toContain("wrong horse");
  const same = await run(["rotate", ID, "--password-stdin"], { input: OLD });
  expect(same).toMatchObject({ code: 64, stderr: "error: That is the password it has already.\n" });
  expect((await stored())["password"]).toBe(OLD);
});

it("rotate stores nothing over what somebody else stored meanwhile", async () => {
  secrets.put(ID, JSON.stringify({ ...mailbox, password: OLD }));
  users[USER] = NEW;
  const { code, screen } = await onTerminal(
    ["mailbox", "rotate", ID],
    [
      {
        after: /Password: /,
        get keys() {
          secrets.put(ID, JSON.stringify({ ...mailbox, password: "theirs" }));
          return `${NEW}\r`;
        },
      },
    ],
    { cwd: folder.path, env },
  );
  expect(screen).toContain("was changed meanwhile");
  expect(code).toBe(75);
  expect((await stored())["password"]).toBe("theirs");
});

it.each([
  ["AccessDeniedException", 400, 78, /may not be read \(AccessDeniedException\)/],
  ["InternalServiceError", 500, 69, /could not be read now/],
])("tells of %s", async (type, status, exit, says) => {
  secrets.fail({ type, status });
  const { code, stderr } = await run(["get", ID]);
  expect(stderr).toMatch(says);
  expect(code).toBe(exit);
});
