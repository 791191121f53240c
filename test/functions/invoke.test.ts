/** Direct invoke, on the built bundle: the real SDK over HTTP, real sockets, real TLS. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { type FakeOptions, type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";

const USER = "shop@example.com";
const PASSWORD = 's3cr:t/p@ss "wörd"';
const MESSAGE = { to: "a@example.com", subject: "你好", text: "Hello\n.dot" };

let mail: MailServer;
let secrets: Secrets;
let passwords: Record<string, string>;
let logins: string[];
const running: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  logins = [];
  passwords = { [USER]: PASSWORD };
  mail = await startMailServer({
    users: new Proxy(passwords, {}),
    judge: {
      login: (user) => {
        logins.push(user);
        return undefined;
      },
    },
  });
  secrets = await startSecrets({});
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()));
});
afterAll(async () => {
  await Promise.all([mail.close(), secrets.close()]);
});

function mailbox(changes: Record<string, unknown> = {}): string {
  return JSON.stringify({ ...mail.mailbox(USER, PASSWORD), ...changes });
}

let secretCount = 0;
async function invoker(
  secret: string | undefined,
  environment: Record<string, string> = {},
): Promise<LambdaFunction & { readonly id: string }> {
  secretCount += 1;
  const id = `mailbox-${secretCount}`;
  if (secret !== undefined) secrets.put(id, secret);
  const started = await startFunction("invoke", {
    MAILBOX_SECRET_ID: id,
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    ...environment,
  });
  running.push(started);
  return { ...started, id };
}

async function plainServer(options: FakeOptions): Promise<{ server: FakeSmtp; secret: string }> {
  const server = await startFakeSmtp(options);
  running.push({ stop: () => server.close() });
  const secret = JSON.stringify({
    host: "127.0.0.1",
    port: server.port,
    security: "none",
    from: USER,
  });
  return { server, secret };
}

describe("an accepted message", () => {
  it("returns the whole result, and the server holds the message", async () => {
    const { invoke } = await invoker(mailbox());
    const result = await invoke({ ...MESSAGE, idempotencyKey: "order-1234" });
    expect(result).toMatchObject({
      id: "order-1234",
      outcome: "accepted",
      retryable: false,
      reply: { code: 250 },
      envelope: { from: USER, to: ["a@example.com"] },
      recipients: [{ address: "a@example.com", outcome: "accepted", reply: { code: 250 } }],
      server: {
        host: "127.0.0.1",
        port: mail.ports.implicit,
        tls: { protocol: "TLSv1.3" },
        auth: "PLAIN",
      },
    });
    expect(result.error).toBeUndefined();
    expect(result.timing.roundTrips).toBeLessThanOrEqual(6);
    expect(result.queueId).toBe(mail.inbox.messages.at(-1)?.queueId);
    expect(result.server.extensions).toContain("PIPELINING");
    expect(result.transcript[0].text).toMatch(/^220 /);
    expect(result.transcript.at(-1).text).toMatch(/^221/);
    expect(mail.inbox.messages.at(-1)?.raw.toString()).toContain(`Message-ID: ${result.messageId}`);
  });

  it("never shows the password, in no form", async () => {
    const { invoke, log } = await invoker(mailbox());
    const result = JSON.stringify(await invoke(MESSAGE)) + log();
    for (const form of [
      PASSWORD,
      JSON.stringify(PASSWORD).slice(1, -1),
      Buffer.from(PASSWORD).toString("base64"),
      Buffer.from(`\0${USER}\0${PASSWORD}`).toString("base64"),
      encodeURIComponent(PASSWORD),
    ]) {
      expect(result).not.toContain(form);
    }
    expect(result).toContain("AUTH PLAIN ***");
  });

  it("STARTTLS takes at most 9 round trips", async () => {
    const { invoke } = await invoker(mailbox({ port: mail.ports.starttls, security: "starttls" }));
    const result = await invoke(MESSAGE);
    expect(result.outcome).toBe("accepted");
    expect(result.timing.roundTrips).toBeLessThanOrEqual(8);
  });

  it("the same id gives the same Message-ID", async () => {
    const { invoke } = await invoker(mailbox());
    const first = await invoke({ ...MESSAGE, idempotencyKey: "k" });
    const second = await invoke({ ...MESSAGE, idempotencyKey: "k" });
    expect(second.messageId).toBe(first.messageId);
  });
});

describe("refused before any socket", () => {
  it("a malformed request tells every problem at once, and no value", async () => {
    const { invoke } = await invoker(mailbox());
    const result = await invoke({ to: "not an address", subjekt: "x", priority: 99, host: "evil" });
    expect(result).toMatchObject({ outcome: "rejected", error: { code: "invalid_request" } });
    const paths = result.error.issues.map((issue: { path: string }) => issue.path);
    expect(paths).toEqual(expect.arrayContaining(["to", "subjekt", "priority", "host"]));
  });

  it("a sender that the mailbox does not allow", async () => {
    const { server, secret } = await plainServer({});
    const { invoke } = await invoker(secret, { ALLOWED_RECIPIENTS: "@example.com" });
    const result = await invoke({ ...MESSAGE, from: "boss@example.com", to: ["x@evil.test"] });
    expect(result).toMatchObject({ outcome: "rejected", error: { phase: "policy" } });
    const codes = result.error.issues.map((issue: { code: string }) => issue.code);
    expect(codes).toEqual(["sender_not_allowed", "recipient_not_allowed"]);
    expect(server.connections()).toBe(0);
  });

  it("too many recipients, and too large a message", async () => {
    const { server, secret } = await plainServer({});
    const strict = { ...JSON.parse(secret), maxRecipients: 1, maxMessageBytes: 1000 };
    const { invoke } = await invoker(JSON.stringify(strict));
    const many = await invoke({ ...MESSAGE, cc: "b@example.com" });
    expect(many.error.code).toBe("too_many_recipients");
    const large = await invoke({ ...MESSAGE, text: "x".repeat(2000) });
    expect(large).toMatchObject({ outcome: "rejected", error: { code: "message_too_large" } });
    expect(server.connections()).toBe(0);
  });
});

describe("the mailbox", () => {
  it("100 messages with a wrong password cause at most 2 AUTH commands", async () => {
    const { invoke } = await invoker(mailbox({ password: "wrong" }));
    logins = [];
    const results = await Promise.all(Array.from({ length: 100 }, () => invoke(MESSAGE)));
    expect(logins.length).toBeGreaterThanOrEqual(1);
    expect(logins.length).toBeLessThanOrEqual(2);
    for (const result of results) {
      expect(result).toMatchObject({
        outcome: "deferred",
        retryable: false,
        error: { code: "auth_failed", phase: "auth" },
      });
    }
    expect(JSON.stringify(results)).not.toContain("wrong");
  });

  it("a rotated secret is fetched once the server refuses the old one", async () => {
    const { invoke, id } = await invoker(mailbox());
    expect((await invoke(MESSAGE)).outcome).toBe("accepted");
    passwords[USER] = "rotated";
    secrets.put(id, mailbox({ password: "rotated" }));
    logins = [];
    const result = await invoke(MESSAGE);
    expect(result.outcome).toBe("accepted");
    expect(logins.length).toBe(2);
    // Both sessions are in the transcript, the refused one first.
    const said = result.transcript.map(({ text }: { text: string }) => text);
    expect(said.filter((text: string) => text === "AUTH PLAIN ***")).toHaveLength(2);
    expect(said.findIndex((text: string) => text.startsWith("535"))).toBeLessThan(
      said.findIndex((text: string) => text.startsWith("235")),
    );
    const times = result.transcript.map(({ at }: { at: number }) => at);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    passwords[USER] = PASSWORD;
  });

  it("is served stale while Secrets Manager fails", async () => {
    const { invoke } = await invoker(mailbox(), { MAILBOX_CACHE_SECONDS: "0" });
    expect((await invoke(MESSAGE)).outcome).toBe("accepted");
    secrets.fail({ status: 500, type: "InternalServiceError" });
    const result = await invoke(MESSAGE);
    secrets.fail(undefined);
    expect(result.outcome).toBe("accepted");
  });

  it("is read once for many invocations", async () => {
    const before = secrets.calls();
    const { invoke } = await invoker(mailbox());
    await Promise.all(Array.from({ length: 5 }, () => invoke(MESSAGE)));
    expect(secrets.calls() - before).toBe(1);
  });

  it.each([
    ["no such secret", undefined, {}, "mailbox_unknown"],
    ["not JSON", "host=x", {}, "mailbox_invalid"],
    ["no host", '{"port": 25}', {}, "mailbox_invalid"],
    ["an unknown field", '{"host": "h", "rejectUnauthorized": false}', {}, "mailbox_invalid"],
    ["no environment", undefined, { MAILBOX_SECRET_ID: "" }, "config_invalid"],
    ["bad environment", undefined, { MAILBOX_CACHE_SECONDS: "soon" }, "config_invalid"],
  ])("%s: deferred, and a person is asked", async (_, secret, environment, code) => {
    const { invoke } = await invoker(secret, environment as Record<string, string>);
    const request = {
      ...MESSAGE,
      to: ["a@example.com"],
      cc: "b@bücher.example",
      idempotencyKey: "k",
    };
    const result = await invoke(request);
    expect(result).toMatchObject({
      id: "k",
      outcome: "deferred",
      retryable: false,
      error: { code },
    });
    expect(result.recipients).toEqual([
      { address: "a@example.com", outcome: "deferred", reply: null },
      { address: "b@xn--bcher-kva.example", outcome: "deferred", reply: null },
    ]);
  });

  it("recipients of a whole message are named, too, where the secret cannot be read", async () => {
    const { invoke } = await invoker("host=x");
    const raw = Buffer.from("From: a@example.com\r\nTo: b@example.net\r\n\r\nhello\r\n");
    const { recipients } = await invoke({ raw: raw.toString("base64") });
    expect(recipients).toEqual([{ address: "b@example.net", outcome: "deferred", reply: null }]);
  });

  it("names the field at fault and never its value", async () => {
    const { invoke } = await invoker('{"host": "h", "password": 12345678, "port": 99999}');
    const { error } = await invoke(MESSAGE);
    expect(error.message).toContain("password");
    expect(error.message).toContain("port");
    expect(error.message).not.toMatch(/12345678|99999/);
  });

  it("a named mailbox is refused without a prefix, and read with one", async () => {
    const without = await invoker(mailbox());
    expect((await without.invoke({ ...MESSAGE, mailbox: "billing" })).error.code).toBe(
      "mailbox_refused",
    );
    secrets.put("team/billing", mailbox());
    const { invoke } = await invoker(undefined, { MAILBOX_SECRET_PREFIX: "team/" });
    expect((await invoke({ ...MESSAGE, mailbox: "billing" })).outcome).toBe("accepted");
  });
});

describe("what the server says", () => {
  it.each([
    ["550 to every RCPT", { RCPT: "550 5.1.1 no such user" }, "rejected", false, 550],
    ["450 to RCPT", { RCPT: "450 4.2.0 greylisted" }, "deferred", true, 450],
    ["552 to the content", { content: "552 5.3.4 too big" }, "rejected", false, 552],
    ["451 to the content", { content: "451 4.3.0 try later" }, "deferred", true, 451],
    ["554 to MAIL", { MAIL: "554 5.7.1 no" }, "rejected", false, 554],
    ["530 to MAIL", { MAIL: "530 5.7.0 log in" }, "deferred", false, 530],
    [
      "Gmail's daily quota",
      { content: "550 5.4.5 Daily user sending limit exceeded" },
      "deferred",
      true,
      550,
    ],
    ["closed after the dot", { content: "close" }, "uncertain", false, undefined],
    ["2zz to the content", { content: "2zz what" }, "uncertain", false, undefined],
    ["354 to the content", { content: "354 more" }, "uncertain", false, undefined],
    ["mixed codes to the content", { content: "250-ok\r\n550 no" }, "uncertain", false, undefined],
    ["closed at DATA", { DATA: "close" }, "deferred", true, undefined],
    ["421 greeting", { greeting: "421 busy" }, "deferred", true, 421],
    ["554 greeting", { greeting: "554 no" }, "deferred", true, 554],
  ] as const)("%s: %s", async (_, answers, outcome, retryable, code) => {
    const { greeting, ...on } = answers as Record<string, string>;
    const { server, secret } = await plainServer({ on, ...(greeting && { greeting }) });
    const { invoke } = await invoker(secret);
    const result = await invoke(MESSAGE);
    expect({
      outcome: result.outcome,
      retryable: result.retryable,
      code: result.reply?.code,
    }).toEqual({
      outcome,
      retryable,
      code,
    });
    expect(result.error.code).toMatch(/^[a-z_]+$/);
    expect(server.connections()).toBe(1);
  });

  it("some recipients accepted: partial, each with its own reply", async () => {
    const { secret } = await plainServer({
      on: { RCPT: (line) => (line.includes("bad") ? "550 5.1.1 no" : "250 2.1.5 ok") },
    });
    const { invoke } = await invoker(secret);
    const result = await invoke({ ...MESSAGE, to: ["a@example.com", "bad@example.com"] });
    expect(result).toMatchObject({
      outcome: "partial",
      reply: { code: 250, enhanced: "2.0.0" },
      queueId: "ABC123",
      recipients: [
        { address: "a@example.com", outcome: "accepted", reply: { code: 250, enhanced: "2.1.5" } },
        { address: "bad@example.com", outcome: "rejected", reply: { code: 550 } },
      ],
      error: { code: "recipient_refused", phase: "rcpt" },
    });
  });

  it('"partial": "refuse" sends to all or to none', async () => {
    const { server, secret } = await plainServer({
      on: { RCPT: (line) => (line.includes("bad") ? "550 5.1.1 no" : "250 2.1.5 ok") },
    });
    const { invoke } = await invoker(secret);
    const to = ["a@example.com", "bad@example.com"];
    const result = await invoke({ ...MESSAGE, to, partial: "refuse" });
    expect(result).toMatchObject({ outcome: "rejected", reply: { code: 550 } });
    expect(server.seen).not.toContain("DATA");
    expect(server.seen).toContain("RSET");
  });

  it("an echoed password is masked", async () => {
    const server = await startFakeSmtp({
      ehlo: ["AUTH PLAIN"],
      on: { AUTH: (line) => `535 5.7.8 ${line} / hunter2hunter2 refused` },
    });
    running.push({ stop: () => server.close() });
    const { invoke, log } = await invoker(
      JSON.stringify({
        host: "127.0.0.1",
        port: server.port,
        security: "none",
        allowPlaintextAuth: true,
        username: USER,
        password: "hunter2hunter2",
      }),
    );
    const shown = JSON.stringify(await invoke(MESSAGE)) + log();
    expect(shown).not.toContain("hunter2");
    expect(shown).not.toContain(Buffer.from(`\0${USER}\0hunter2hunter2`).toString("base64"));
    expect(shown).toContain("535");
  });

  it("no credential leaves without TLS", async () => {
    const server = await startFakeSmtp({ ehlo: ["AUTH PLAIN LOGIN"] });
    running.push({ stop: () => server.close() });
    const { invoke } = await invoker(
      JSON.stringify({
        host: "127.0.0.1",
        port: server.port,
        security: "none",
        username: USER,
        password: "x",
      }),
    );
    const result = await invoke(MESSAGE);
    expect(result).toMatchObject({ outcome: "deferred", error: { code: "auth_insecure" } });
    expect(server.seen.some((line) => line.startsWith("AUTH"))).toBe(false);
  });

  it("STARTTLS that is not offered is not done without", async () => {
    const server = await startFakeSmtp({});
    running.push({ stop: () => server.close() });
    const { invoke } = await invoker(
      JSON.stringify({ host: "127.0.0.1", port: server.port, from: USER }),
    );
    const result = await invoke(MESSAGE);
    expect(result).toMatchObject({
      outcome: "deferred",
      retryable: false,
      error: { code: "starttls_unavailable" },
    });
    expect(server.seen.some((line) => line.startsWith("MAIL"))).toBe(false);
  });
});

describe("time", () => {
  it.each([
    ["greeting", { greeting: "hang" }, "deferred"],
    ["MAIL", { MAIL: "hang" }, "deferred"],
    ["content", { content: "hang" }, "uncertain"],
  ] as const)(
    "a server silent at %s is left before the invocation ends",
    async (phase, answers, outcome) => {
      const { greeting, ...on } = answers as Record<string, string>;
      const { secret } = await plainServer({ on, ...(greeting && { greeting }) });
      const { invoke } = await invoker(secret);
      await invoke({}); // starts the instance, so that what is measured is the send
      const result = await invoke(MESSAGE, 2_000);
      expect(result.outcome).toBe(outcome);
      expect(result.timing.totalMs).toBeLessThan(2_000);
      expect(result.error.phase).toBe(phase.toLowerCase());
    },
  );

  it("a refused connection is deferred and retryable", async () => {
    const { server, secret } = await plainServer({});
    await server.close();
    const { invoke } = await invoker(secret);
    const result = await invoke(MESSAGE);
    expect(result).toMatchObject({
      outcome: "deferred",
      retryable: true,
      reply: null,
      error: { code: "connect_failed", phase: "connect" },
    });
  });

  it("the next relay is asked where the first does not answer", async () => {
    const { server, secret } = await plainServer({});
    const { server: dead } = await plainServer({});
    await dead.close();
    const both = {
      ...JSON.parse(secret),
      host: [`127.0.0.1:${dead.port}`, `127.0.0.1:${server.port}`],
    };
    const { invoke } = await invoker(JSON.stringify(both));
    const result = await invoke(MESSAGE);
    expect(result).toMatchObject({ outcome: "accepted", server: { port: server.port } });
  });
});
