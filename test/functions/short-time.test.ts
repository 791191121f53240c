/**
 * AWS or a token endpoint takes the connection and then says nothing: a function with little time left
 * tells its caller before that time is up, instead of being ended by Lambda with nothing said. None of
 * these servers ever answers, so that each of the texts below is our own clock's.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { startDynamo } from "../support/dynamo.ts";
import { type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";
import { startFunction } from "../support/lambda.ts";

const MESSAGE = { to: "a@example.com", subject: "hurry", text: "hello" };
/** Less than any of the SDK's own timeouts, by far. */
const LEFT_MS = 1_500;

let silent: Server;
let silence: string;
const open = new Set<Socket>();
let smtp: FakeSmtp;
/** Called when a message was taken. */
let taken: () => void = () => {};
let secrets: Secrets;
let environment: Record<string, string>;

beforeAll(async () => {
  silent = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const address = silent.address();
  if (address === null || typeof address === "string") throw new Error("no port was given");
  silence = `http://127.0.0.1:${address.port}`;
  smtp = await startFakeSmtp({
    on: {
      content: () => {
        taken();
        return "250 2.0.0 Ok: queued as Q1";
      },
    },
  });
  const mailbox = {
    host: "127.0.0.1",
    port: smtp.port,
    security: "none",
    from: "shop@example.com",
  };
  const oauth2 = { tokenEndpoint: `${silence}/token`, clientId: "id", refreshToken: "fresh" };
  secrets = await startSecrets({
    box: JSON.stringify(mailbox),
    "boxes/oauth": JSON.stringify({
      ...mailbox,
      username: "shop@example.com",
      oauth2,
      allowPlaintextAuth: true,
    }),
  });
  environment = {
    MAILBOX_SECRET_ID: "box",
    MAILBOX_SECRET_PREFIX: "boxes/",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
  };
});
afterAll(async () => {
  for (const socket of open) socket.destroy();
  await Promise.all([
    new Promise((resolve) => silent.close(resolve)),
    smtp.close(),
    secrets.close(),
  ]);
});

async function invoked(changes: Record<string, string>, request: Record<string, unknown> = {}) {
  const built = await startFunction("invoke", { ...environment, ...changes });
  try {
    return await built.invoke({ ...MESSAGE, ...request }, LEFT_MS);
  } finally {
    await built.stop();
  }
}

describe("with little time left", () => {
  it("Secrets Manager is silent: deferred, and retryable", async () => {
    const result = await invoked({ AWS_ENDPOINT_URL_SECRETS_MANAGER: silence });
    expect(result).toMatchObject({
      outcome: "deferred",
      retryable: true,
      error: { code: "mailbox_unavailable", message: expect.stringContaining("had left") },
    });
  });

  it("check says so, too", async () => {
    const check = await startFunction("check", {
      ...environment,
      AWS_ENDPOINT_URL_SECRETS_MANAGER: silence,
    });
    const result = await check.invoke({}, LEFT_MS);
    await check.stop();
    expect(result).toMatchObject({ ok: false, error: { code: "mailbox_unavailable" } });
    expect(result.error.message).toContain("had left");
  });

  it("the ledger is silent: nothing is sent, deferred, and retryable", async () => {
    const before = smtp.connections();
    const result = await invoked({ LEDGER_TABLE: "ledger", AWS_ENDPOINT_URL_DYNAMODB: silence });
    expect(result).toMatchObject({
      outcome: "deferred",
      retryable: true,
      error: { code: "ledger_unavailable", message: expect.stringContaining("TimeoutError") },
    });
    expect(smtp.connections()).toBe(before);
  });

  it("the ledger falls silent once the message was taken: accepted all the same", async () => {
    const dynamo = await startDynamo();
    const table = new URL(dynamo.url);
    const wires = new Set<Socket>();
    const between = createServer((near) => {
      const far = connect(Number(table.port), table.hostname);
      for (const socket of [near, far]) wires.add(socket.on("error", () => {}));
      near.pipe(far).pipe(near);
    });
    await new Promise<void>((resolve) => between.listen(0, "127.0.0.1", resolve));
    const { port } = between.address() as { port: number };
    taken = () => {
      for (const socket of wires) socket.unpipe();
    };
    const ledger = { LEDGER_TABLE: dynamo.table };
    const result = await invoked(
      { ...ledger, AWS_ENDPOINT_URL_DYNAMODB: `http://127.0.0.1:${port}` },
      { idempotencyKey: "taken" },
    );
    expect(result).toMatchObject({ outcome: "accepted", queueId: "Q1" });
    // What was not recorded is uncertain, once its invocation is gone: never sent a second time.
    await dynamo.expireLease("taken");
    const again = await invoked(
      { ...ledger, AWS_ENDPOINT_URL_DYNAMODB: dynamo.url },
      { idempotencyKey: "taken" },
    );
    expect(again).toMatchObject({ outcome: "uncertain", error: { code: "invocation_lost" } });
    for (const socket of wires) socket.destroy();
    await Promise.all([new Promise((resolve) => between.close(resolve)), dynamo.close()]);
  });

  it("S3 is silent: deferred, and retryable", async () => {
    const result = await invoked(
      { ATTACHMENT_BUCKETS: "files", AWS_ENDPOINT_URL_S3: silence },
      { attachments: [{ filename: "a.pdf", s3: { bucket: "files", key: "a.pdf" } }] },
    );
    expect(result).toMatchObject({
      outcome: "deferred",
      retryable: true,
      error: { code: "attachment_unavailable", message: expect.stringContaining("was left") },
    });
  });

  it("the ledger is silent to who looks a message up, or wants it sent again: 503", async () => {
    const api = await startFunction("api", {
      ...environment,
      LEDGER_TABLE: "ledger",
      AWS_ENDPOINT_URL_DYNAMODB: silence,
    });
    for (const [method, rawPath] of [
      ["GET", "/messages/one"],
      ["POST", "/messages/one/resend"],
    ]) {
      const event = {
        rawPath,
        requestContext: { http: { method } },
        body: JSON.stringify(MESSAGE),
      };
      const answer = await api.invoke(event, LEFT_MS);
      expect(answer.statusCode).toBe(503);
      expect(answer.headers).toMatchObject({ "retry-after": "60" });
      expect(JSON.parse(answer.body).code).toBe("ledger_unavailable");
    }
    await api.stop();
  });

  it("SQS is silent: the batch is answered for, and what was sent is not sent again", async () => {
    const sqs = await startFunction("sqs", {
      ...environment,
      FAILED_QUEUE_URL: `${silence}/0/failed`,
      AWS_ENDPOINT_URL_SQS: silence,
      ALLOWED_RECIPIENTS: "@example.com",
    });
    const record = (messageId: string, to: string) => ({
      messageId,
      receiptHandle: messageId,
      eventSourceARN: "arn:aws:sqs:us-east-1:0:requests",
      body: JSON.stringify({ ...MESSAGE, to }),
    });
    const Records = [record("sent", "a@example.com"), record("refused", "a@elsewhere.test")];
    const answer = await sqs.invoke({ Records }, LEFT_MS);
    await sqs.stop();
    expect(answer).toEqual({ batchItemFailures: [{ itemIdentifier: "refused" }] });
  });

  it("S3 is silent about an object that came as an event: the function says that it failed", async () => {
    const s3 = await startFunction("s3", { ...environment, AWS_ENDPOINT_URL_S3: silence });
    const object = { bucket: { name: "mail" }, object: { key: "a.json", sequencer: "1" } };
    const event = { Records: [{ eventName: "ObjectCreated:Put", s3: object }] };
    await expect(s3.invoke(event, LEFT_MS)).rejects.toThrow("object_unavailable");
    await s3.stop();
  });

  it("the token endpoint is silent: deferred, and retryable", async () => {
    const result = await invoked({}, { mailbox: "oauth" });
    expect(result).toMatchObject({
      outcome: "deferred",
      retryable: true,
      error: { code: "token_failed", message: expect.stringContaining("in time (timeout)") },
    });
  });
});
