/**
 * `RELAY`, on the built bundle: the conversation is under way while the secret is not yet there. The
 * secret store answers only once the server has heard what it waits for, so that a function which
 * connects later would wait for ever: nothing here depends on a clock.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Certificate, makeCertificate } from "../../infra/local/certificate.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { type FakeOptions, type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";

const MESSAGE = { to: "a@example.net", subject: "x", text: "hello" };
const SECRET = { host: "127.0.0.1", username: "shop@example.com", password: "pencil" };

let identity: Certificate;
let folder: string;
let secrets: Secrets;
const running: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  identity = await makeCertificate();
  folder = await mkdtemp(join(tmpdir(), "posthaste-relay-"));
  await writeFile(join(folder, "ca.pem"), identity.ca);
  secrets = await startSecrets();
});
afterEach(async () => {
  secrets.hold(undefined);
  await Promise.all(running.splice(0).map((one) => one.stop()));
});
afterAll(async () => {
  await secrets.close();
  await rm(folder, { recursive: true, force: true });
});

interface Told {
  readonly line: string;
  readonly secure: boolean;
}

/** A server with STARTTLS, as ports other than 465 are taken to be; and who is told what it hears. */
async function relay(options: FakeOptions = {}) {
  const told: Told[] = [];
  let wake: () => void = () => {};
  const server = await startFakeSmtp({
    ehlo: ["PIPELINING", "STARTTLS", "AUTH PLAIN"],
    tls: identity,
    on: { AUTH: "235 welcome" },
    heard: (line, secure) => {
      told.push({ line, secure });
      wake();
    },
    ...options,
  });
  running.push({ stop: () => server.close() });
  /** Resolves once the server has heard such a line. */
  const heard = async (is: (told: Told) => boolean) => {
    while (!told.some(is)) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { server, told, heard };
}

const hello = ({ line, secure }: Told) => secure && line.startsWith("EHLO ");
const left = ({ line }: Told) => line === "close";

async function invoker(server: FakeSmtp, environment: Record<string, string> = {}) {
  const started: LambdaFunction = await startFunction("invoke", {
    MAILBOX_SECRET_ID: "box",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    NODE_EXTRA_CA_CERTS: join(folder, "ca.pem"),
    RELAY: `127.0.0.1:${server.port}`,
    ...environment,
  });
  running.push(started);
  return started;
}

const put = (port: number, changes: Record<string, unknown> = {}) =>
  secrets.put("box", JSON.stringify({ ...SECRET, port, ...changes }));

describe("a cold start with RELAY", () => {
  it.each([
    ["with PIPELINING", ["PIPELINING", "STARTTLS", "AUTH PLAIN"]],
    ["without, as Amazon SES", ["STARTTLS", "AUTH PLAIN LOGIN", "8BITMIME"]],
  ])("has said EHLO within TLS before the secret is there: %s", async (_, ehlo) => {
    const { server, heard, told } = await relay({ ehlo });
    put(server.port);
    secrets.hold(heard(hello));
    const started = await invoker(server);
    const result = await started.invoke(MESSAGE);
    expect(result.outcome).toBe("accepted");
    expect(server.connections()).toBe(1);
    expect(told.filter(({ line }) => line.startsWith("EHLO")).length).toBe(2);
    const texts: string[] = result.transcript.map(({ text }: { text: string }) => text);
    expect(texts[0]).toMatch(/^220 /);
    expect(texts).toContain("STARTTLS");
    expect(texts).toContain("AUTH PLAIN ***");
    expect(texts.join("\n")).not.toContain("pencil");
    const times: number[] = result.transcript.map(({ at }: { at: number }) => at);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(result.server.tls.protocol).toMatch(/^TLSv1/);
    // Warm, it connects as ever: once it knows to whom.
    secrets.hold(undefined);
    expect((await started.invoke(MESSAGE)).outcome).toBe("accepted");
    expect(server.connections()).toBe(2);
  });

  it("asks for the secret in init, before the first event", async () => {
    const { server } = await relay();
    put(server.port);
    const before = secrets.calls();
    const started = await invoker(server);
    while (secrets.calls() === before) await new Promise((resolve) => setImmediate(resolve));
    expect((await started.invoke(MESSAGE)).outcome).toBe("accepted");
    expect(secrets.calls()).toBe(before + 1);
  });

  it.each([
    ["another EHLO name", { ehloName: "mail.example.com" }],
    ["TLS settings of its own", { tls: { minVersion: "TLSv1.3" } }],
  ])("closes it before AUTH where the secret sets %s", async (_, changes) => {
    const { server, heard, told } = await relay();
    put(server.port, changes);
    secrets.hold(heard(hello));
    const started = await invoker(server);
    expect((await started.invoke(MESSAGE)).outcome).toBe("accepted");
    expect(server.connections()).toBe(2);
    const first = told.slice(0, told.findIndex(left));
    expect(first.map(({ line }) => line.split(" ")[0])).toEqual(["EHLO", "STARTTLS", "EHLO"]);
  });

  it("closes it before AUTH where the secret names another relay", async () => {
    const [ahead, own] = [await relay(), await relay()];
    put(own.server.port);
    secrets.hold(ahead.heard(hello));
    const started = await invoker(ahead.server);
    expect((await started.invoke(MESSAGE)).outcome).toBe("accepted");
    await ahead.heard(left);
    expect(ahead.server.seen.filter((line) => line.startsWith("AUTH"))).toEqual([]);
    expect([ahead.server.connections(), own.server.connections()]).toEqual([1, 1]);
  });

  it("goes by the first of several relays", async () => {
    const [first, second] = [await relay(), await relay()];
    put(first.server.port, {
      host: [first, second].map(({ server }) => `127.0.0.1:${server.port}`),
    });
    secrets.hold(first.heard(hello));
    const started = await invoker(first.server);
    expect((await started.invoke(MESSAGE)).outcome).toBe("accepted");
    expect([first.server.connections(), second.server.connections()]).toEqual([1, 0]);
  });

  it("tells of a bad certificate what the send itself met", async () => {
    const { server, heard } = await relay();
    put(server.port);
    secrets.hold(heard(({ line }) => line === "STARTTLS"));
    const started = await invoker(server, { NODE_EXTRA_CA_CERTS: "" });
    const result = await started.invoke(MESSAGE);
    expect([result.outcome, result.retryable]).toEqual(["deferred", false]);
    expect(result.error.code).toBe("certificate_invalid");
    expect(server.seen.filter((line) => line.startsWith("AUTH"))).toEqual([]);
  });

  it("holds no connection once an invocation that sent nothing is over", async () => {
    const { server, heard } = await relay();
    secrets.put("box", "not a mailbox");
    secrets.hold(heard(hello));
    const started = await invoker(server);
    const result = await started.invoke(MESSAGE);
    expect(result.error.code).toBe("mailbox_invalid");
    await heard(left);
    expect(server.connections()).toBe(1);
  });

  it.each(["relay.example.com", "relay.example.com:0", "relay.example.com:70000", "smtp://a:25"])(
    "refuses RELAY=%s by name",
    async (value) => {
      const started = await startFunction("invoke", { RELAY: value, MAILBOX_SECRET_ID: "box" });
      running.push(started);
      const result = await started.invoke(MESSAGE);
      expect(result.error.message).toContain('RELAY must be "host:port"');
    },
  );
});
