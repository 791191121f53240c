/** The embedded stack: the real SDK, a real TLS handshake and a real SMTP client take it for true. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Server } from "node:tls";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  CreateSecretCommand,
  DescribeSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";
import { createTransport } from "nodemailer";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Certificate, makeAuthority, makeCertificate } from "../../infra/local/certificate.ts";
import { parseMessage } from "../../infra/local/inbox.ts";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";

describe("the secret store, asked by the AWS SDK", () => {
  let secrets: Secrets;
  let client: SecretsManagerClient;

  beforeEach(async () => {
    secrets = await startSecrets({ "mail/default": '{"host":"first"}' });
    client = new SecretsManagerClient({
      endpoint: secrets.url,
      region: "us-east-1",
      credentials: { accessKeyId: "local", secretAccessKey: "local" },
      maxAttempts: 1,
    });
  });
  afterEach(async () => {
    client.destroy();
    await secrets.close();
  });
  const read = (id: string, more: { VersionStage?: string; VersionId?: string } = {}) =>
    client.send(new GetSecretValueCommand({ SecretId: id, ...more }));

  it("gives a value with its ARN, version, stages and date", async () => {
    const value = await read("mail/default");
    expect(value.SecretString).toBe('{"host":"first"}');
    expect(value.Name).toBe("mail/default");
    expect(value.ARN).toMatch(
      /^arn:aws:secretsmanager:[a-z0-9-]+:\d{12}:secret:mail\/default-\w{6}$/,
    );
    expect(value.VersionStages).toEqual(["AWSCURRENT"]);
    expect(Math.abs(Date.now() - Number(value.CreatedDate))).toBeLessThan(60_000);
    expect((await read(String(value.ARN))).VersionId).toBe(value.VersionId);
    expect(secrets.calls()).toBe(2);
  });

  it("changes the version when the secret is rotated, and keeps the one before", async () => {
    const first = await read("mail/default");
    secrets.put("mail/default", '{"host":"second"}');
    const second = await read("mail/default");
    expect(second.SecretString).toBe('{"host":"second"}');
    expect(second.VersionId).not.toBe(first.VersionId);
    const previous = await read("mail/default", { VersionStage: "AWSPREVIOUS" });
    expect(previous.VersionId).toBe(first.VersionId);
    expect(previous.SecretString).toBe('{"host":"first"}');
  });

  it("takes secrets and values through the SDK, too", async () => {
    const made = await client.send(new CreateSecretCommand({ Name: "new", SecretString: "a" }));
    await expect(
      client.send(new CreateSecretCommand({ Name: "new", SecretString: "b" })),
    ).rejects.toMatchObject({ name: "ResourceExistsException" });
    const put = await client.send(
      new PutSecretValueCommand({ SecretId: "new", SecretString: "c" }),
    );
    expect((await read("new")).SecretString).toBe("c");
    const described = await client.send(new DescribeSecretCommand({ SecretId: "new" }));
    expect(described.VersionIdsToStages).toEqual({
      [String(made.VersionId)]: ["AWSPREVIOUS"],
      [String(put.VersionId)]: ["AWSCURRENT"],
    });
  });

  it("answers for a secret that is not there as the service does", async () => {
    await expect(read("nobody")).rejects.toMatchObject({
      name: "ResourceNotFoundException",
      $metadata: { httpStatusCode: 400 },
    });
  });

  it("fails as it is told to, until it is mended", async () => {
    secrets.fail({ status: 400, type: "DecryptionFailure" });
    await expect(read("mail/default")).rejects.toMatchObject({ name: "DecryptionFailure" });
    secrets.fail({ status: 503, type: "InternalServiceError" });
    await expect(read("mail/default")).rejects.toMatchObject({
      name: "InternalServiceError",
      $metadata: { httpStatusCode: 503 },
    });
    secrets.fail(undefined);
    expect((await read("mail/default")).SecretString).toBe('{"host":"first"}');
  });

  it("can leave a request without an answer, and closes all the same", async () => {
    secrets.fail("hang");
    const asked = client.send(new GetSecretValueCommand({ SecretId: "mail/default" }), {
      abortSignal: AbortSignal.timeout(200),
    });
    await expect(asked).rejects.toMatchObject({ name: "AbortError" });
    const unanswered = read("mail/default");
    unanswered.catch(() => {});
    await expect.poll(() => secrets.calls()).toBe(2);
    await secrets.close();
    await expect(unanswered).rejects.toThrow();
  });
});

describe("certificates", () => {
  /** What a client that trusts `ca` says of the server's certificate; "" when all is well. */
  async function verdict(served: Certificate, ca: string, servername: string): Promise<string> {
    const server: Server = createServer({ cert: served.cert, key: served.key }, (s) => s.end());
    server.on("tlsClientError", () => {});
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const name = /^[\d.]+$/.test(servername) ? {} : { servername };
    const host = "servername" in name ? "127.0.0.1" : servername;
    const socket = connect({ host, port, ca, ...name });
    const said = await new Promise<string>((resolve) => {
      socket.once("secureConnect", () => resolve(""));
      socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
    socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    return said;
  }

  it("verify in a handshake for the name and the address they were made for", async () => {
    const made = await makeCertificate();
    expect(await verdict(made, made.ca, "localhost")).toBe("");
    expect(await verdict(made, made.ca, "127.0.0.1")).toBe("");
  });

  it("fail for another name, another authority and after their time", async () => {
    const made = await makeCertificate();
    const other = await makeCertificate();
    expect(await verdict(made, made.ca, "smtp.example.com")).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
    expect(await verdict(made, other.ca, "localhost")).not.toBe("");
    const expired = await makeCertificate({ expired: true });
    expect(await verdict(expired, expired.ca, "localhost")).toBe("CERT_HAS_EXPIRED");
    const selfSigned = await makeCertificate({ selfSigned: true });
    expect(await verdict(selfSigned, made.ca, "localhost")).toBe("DEPTH_ZERO_SELF_SIGNED_CERT");
  });

  it("share an authority when they are given one", async () => {
    const ca = await makeAuthority();
    const made = await makeCertificate({ ca, names: ["smtp.example.com"], ips: [], days: 2 });
    expect(made.ca).toBe(ca.cert);
    expect(await verdict(made, ca.cert, "smtp.example.com")).toBe("");
    expect(await verdict(made, ca.cert, "localhost")).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
  });
});

describe("the mail server, reached by nodemailer", () => {
  const users = { "shop@example.com": "p@ss:wörd/100%" };
  let server: MailServer;

  beforeAll(async () => {
    server = await startMailServer({ users, domains: ["example.com"] });
  });
  afterAll(() => server.close());

  function transport(port: "implicit" | "starttls", pass: string, authMethod?: string) {
    return createTransport({
      host: server.host,
      port: server.ports[port],
      secure: port === "implicit",
      requireTLS: true,
      auth: { user: "shop@example.com", pass },
      ...(authMethod === undefined ? {} : { authMethod }),
      tls: { ca: server.ca },
    });
  }
  const message = {
    from: "shop@example.com",
    subject: "标题 Subject",
    text: "一\r\n.dot\r\n",
  };

  it.each([
    ["implicit", "PLAIN"],
    ["implicit", "CRAM-MD5"],
    ["starttls", "LOGIN"],
    ["starttls", "PLAIN"],
  ] as const)("takes a message over %s TLS after AUTH %s", async (port, mechanism) => {
    server.inbox.clear();
    const client = transport(port, users["shop@example.com"], mechanism);
    const sent = await client.sendMail({ ...message, to: "a@example.com" });
    const [kept] = server.inbox.messages;
    expect(kept).toMatchObject({
      from: "shop@example.com",
      to: ["a@example.com"],
      user: "shop@example.com",
    });
    expect(sent.response).toBe(`250 2.6.0 Ok: queued as ${kept?.queueId}`);
    if (kept === undefined) return;
    const parsed = await parseMessage(kept);
    expect(parsed.subject).toBe("标题 Subject");
    expect(parsed.text?.replaceAll("\r\n", "\n")).toBe("一\n.dot\n");
  });

  it("refuses a wrong password with 535, whatever the mechanism", async () => {
    for (const mechanism of ["PLAIN", "LOGIN", "CRAM-MD5"]) {
      const sending = transport("implicit", "wrong", mechanism).sendMail({
        ...message,
        to: "a@example.com",
      });
      await expect(sending).rejects.toMatchObject({ responseCode: 535 });
    }
  });

  it("refuses an unknown recipient and keeps the known one beside it", async () => {
    server.inbox.clear();
    const to = ["a@example.com", "unknown@example.com", "b@elsewhere.example"];
    const client = transport("starttls", users["shop@example.com"]);
    const sent = await client.sendMail({ ...message, to });
    expect(sent.accepted).toEqual(["a@example.com"]);
    expect(sent.rejected).toEqual(["unknown@example.com", "b@elsewhere.example"]);
    expect(server.inbox.messages.map((kept) => kept.to)).toEqual([["a@example.com"]]);
  });
});

describe("the demo", () => {
  it("prints the conversation, what was delivered and the result, and ends by itself", async () => {
    const demo = fileURLToPath(new URL("../../infra/local/demo.ts", import.meta.url));
    // Left over from work with the real AWS, it would lead a careless stack out of the machine.
    const env = { ...process.env, AWS_PROFILE: "production", LEDGER_TABLE: "real" };
    const { stdout } = await promisify(execFile)(process.execPath, [demo], {
      env,
      timeout: 20_000,
    });
    const [conversation = "", delivered = "", ...rest] = stdout.split("\n\n");
    const lines = conversation.split("\n");
    for (const line of lines) expect(line).toMatch(/^ *\d+\.\d ms {2}[SC]: ./);
    expect(lines[0]).toMatch(/S: 220 /);
    expect(lines.at(-1)).toMatch(/S: 221 /);
    expect(delivered).toMatch(/^delivered: "您的订单已发货 .* 订单明细\.csv, \d+ octets$/);
    expect(JSON.parse(rest.join("\n\n"))).toMatchObject({
      outcome: "accepted",
      reply: { code: 250 },
      recipients: [{ outcome: "accepted" }, { outcome: "accepted" }, { outcome: "accepted" }],
    });
    // Built to show a leak: the password has characters that every encoding changes.
    expect(stdout).not.toContain("p@ss");
  });
});
