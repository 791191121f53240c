/** The client for other functions: the real SDK over HTTP, in front of the built handler. */
import { LambdaClient } from "@aws-sdk/client-lambda";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { createMailer } from "../../lib/client/mailer.ts";
import { type Dynamo, startDynamo } from "../support/dynamo.ts";
import { type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";
import { type LambdaEndpoint, startLambdaEndpoint } from "../support/lambda-endpoint.ts";

const MESSAGE = { to: "a@example.com", subject: "x", text: "hello" };
let dynamo: Dynamo;
let secrets: Secrets;
let smtp: FakeSmtp;
let invoke: LambdaFunction;
let lambda: LambdaEndpoint;

beforeAll(async () => {
  dynamo = await startDynamo();
  smtp = await startFakeSmtp();
  const mailbox = {
    host: "127.0.0.1",
    port: smtp.port,
    security: "none",
    from: "shop@example.com",
  };
  secrets = await startSecrets({ box: JSON.stringify(mailbox) });
  invoke = await startFunction("invoke", {
    MAILBOX_SECRET_ID: "box",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    AWS_ENDPOINT_URL_DYNAMODB: dynamo.url,
    LEDGER_TABLE: dynamo.table,
  });
  lambda = await startLambdaEndpoint({ invoke });
});
afterEach(() => lambda.fault(undefined));
afterAll(async () => {
  await invoke.stop();
  await Promise.all([lambda.close(), smtp.close(), secrets.close(), dynamo.close()]);
});

function mailer(ledger: boolean, functionName = "invoke", maxAttempts = ledger ? 3 : 1) {
  const client = new LambdaClient({
    endpoint: lambda.url,
    region: "us-east-1",
    credentials: { accessKeyId: "local", secretAccessKey: "local" },
    maxAttempts,
  });
  return createMailer({ functionName, ledger, client });
}

const sent = () => smtp.seen.filter((line) => line === "content").length;

it("resolves to the result, for every outcome", async () => {
  expect(await mailer(false).sendMail(MESSAGE)).toMatchObject({ outcome: "accepted" });
  const wrong = await mailer(false).sendMail({ ...MESSAGE, to: "nobody" });
  expect(wrong).toMatchObject({ outcome: "rejected", error: { code: "invalid_request" } });
});

it("gives every call a key of its own", async () => {
  const [a, b] = await Promise.all([
    mailer(false).sendMail(MESSAGE),
    mailer(false).sendMail(MESSAGE),
  ]);
  expect(a?.id).not.toBe(b?.id);
});

it("with a ledger a lost answer is asked for again, and the message sent once", async () => {
  const before = sent();
  lambda.fault("lose answer");
  setTimeout(() => lambda.fault(undefined), 60);
  const result = await mailer(true).sendMail(MESSAGE);
  expect(result.outcome).toBe("accepted");
  expect(sent() - before).toBe(1);
});

it.each([1, 3])(
  "without a ledger a lost answer is not repeated, whatever the client is set to (%i)",
  async (attempts) => {
    const before = { calls: lambda.calls(), sent: sent() };
    lambda.fault("lose answer");
    const error = await mailer(false, "invoke", attempts)
      .sendMail(MESSAGE)
      .catch((thrown) => thrown);
    expect(error).toMatchObject({ name: "MailerError", code: "answer_lost", uncertain: true });
    expect(lambda.calls() - before.calls).toBe(1);
    expect(sent() - before.sent).toBe(1);
  },
);

it("a function that is not there, or throttled, sent nothing", async () => {
  const missing = await mailer(false, "nothing")
    .sendMail(MESSAGE)
    .catch((thrown) => thrown);
  expect(missing).toMatchObject({ code: "not_invoked", uncertain: false });
  lambda.fault("throttle");
  const throttled = await mailer(false)
    .sendMail(MESSAGE)
    .catch((thrown) => thrown);
  expect(throttled).toMatchObject({ code: "not_invoked", uncertain: false });
});

it("a function that fails is told of without its stack", async () => {
  lambda.fault("fail");
  const error = await mailer(false)
    .sendMail(MESSAGE)
    .catch((thrown) => thrown);
  expect(error).toMatchObject({ code: "function_failed", uncertain: true });
  expect(error.message).not.toContain("stack");
});

it("what is no result is an error, not a result", async () => {
  lambda.fault("nonsense");
  const error = await mailer(false)
    .sendMail(MESSAGE)
    .catch((thrown) => thrown);
  expect(error).toMatchObject({ name: "MailerError", code: "function_failed", uncertain: true });
});

it("sendMailLater hands over and returns the id; the message is sent", async () => {
  const before = sent();
  const { id } = await mailer(false).sendMailLater({ ...MESSAGE, idempotencyKey: "later-1" });
  expect(id).toBe("later-1");
  await expect.poll(() => sent() - before, { timeout: 5_000 }).toBe(1);
});
