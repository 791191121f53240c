/**
 * The ways to AWS credentials that no ordinary function takes, on the built bundle: their code is loaded
 * when it is needed. With SnapStart, Lambda hands them out over HTTP and has none in the environment.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { startFunction } from "../support/lambda.ts";

const USER = "shop@example.com";
const PASSWORD = "p@ss:w0rd";
const TOKEN = "Bearer of it";
const NONE = { AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" };

let mail: MailServer;
let secrets: Secrets;
let folder: string;
let container: Server;
let tokens: (string | undefined)[];

beforeAll(async () => {
  mail = await startMailServer({ users: { [USER]: PASSWORD } });
  const box = mail.mailbox(USER, PASSWORD);
  secrets = await startSecrets({ box: JSON.stringify(box) });
  folder = await mkdtemp(join(tmpdir(), "posthaste-credentials-"));
  tokens = [];
  container = createServer(({ headers }, response) => {
    tokens.push(headers.authorization);
    const Expiration = new Date(Date.now() + 3_600_000).toISOString();
    const found = { AccessKeyId: "ASIA", SecretAccessKey: "key", Token: "session", Expiration };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(found));
  });
  await new Promise<void>((resolve) => container.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  container.closeAllConnections();
  await new Promise((resolve) => container.close(resolve));
  await Promise.all([mail.close(), secrets.close()]);
  await rm(folder, { recursive: true });
});

async function sent(environment: Readonly<Record<string, string>>): Promise<unknown> {
  const started = await startFunction("invoke", {
    MAILBOX_SECRET_ID: "box",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    ...NONE,
    ...environment,
  });
  try {
    const { outcome, error } = await started.invoke({ to: "a@example.net", text: "hello" });
    return error?.code ?? outcome;
  } finally {
    await started.stop();
  }
}

describe("credentials", () => {
  it("from the environment's own address, as SnapStart has it", async () => {
    const { port } = container.address() as AddressInfo;
    const environment = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://127.0.0.1:${port}/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: TOKEN,
    };
    expect(await sent(environment)).toBe("accepted");
    expect(tokens).toContain(TOKEN);
  });

  it("from a profile in a file", async () => {
    const file = join(folder, "credentials");
    await writeFile(file, "[work]\naws_access_key_id = AKIA\naws_secret_access_key = key\n");
    const environment = { AWS_PROFILE: "work", AWS_SHARED_CREDENTIALS_FILE: file };
    expect(await sent(environment)).toBe("accepted");
  });

  it("from a program that a profile names", async () => {
    const file = join(folder, "config");
    const answer = { Version: 1, AccessKeyId: "AKIA", SecretAccessKey: "key" };
    const program = join(folder, "program.mjs");
    await writeFile(program, `console.log(${JSON.stringify(JSON.stringify(answer))})`);
    const line = `credential_process = ${process.execPath} ${program}`;
    await writeFile(file, `[profile made]\n${line}\n`);
    expect(await sent({ AWS_PROFILE: "made", AWS_CONFIG_FILE: file })).toBe("accepted");
  });

  it("that are nowhere: the result says so, and is no crash", async () => {
    expect(await sent({})).toBe("mailbox_unavailable");
  });
});
