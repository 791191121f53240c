/**
 * What the built functions tell of a submission: one line in the log, one of metrics, and one id that
 * leads from the event through queues and tries to the message itself.
 */
import { readFileSync } from "node:fs";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type MailServer, startMailServer, type Verdict } from "../../infra/local/mailserver.ts";
import { createPoller } from "../../infra/local/poller.ts";
import { type LocalQueues, startQueues } from "../../infra/local/queue.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { type Dynamo, startDynamo } from "../support/dynamo.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";
import { metricsIn } from "../telemetry/emf.ts";

const SENDER = "shop@example.com";
const BUCKET = "posthaste-dev-mail";
const TRACE = "1-5759e988-bd862e3fe1be46a994272793";

let dynamo: Dynamo;
let secrets: Secrets;
let mail: MailServer;
let queues: LocalQueues;
let bucket: S3Client;
let verdict: Verdict | undefined;
const running = new Map<string, LambdaFunction>();

beforeAll(async () => {
  [dynamo, queues] = await Promise.all([startDynamo(), startQueues({ buckets: [BUCKET] })]);
  mail = await startMailServer({
    users: { [SENDER]: "secret" },
    judge: { recipient: () => verdict },
  });
  const mailbox = (password: string) => JSON.stringify(mail.mailbox(SENDER, password));
  secrets = await startSecrets({ box: mailbox("secret"), "boxes/wrong": mailbox("wrong") });
  bucket = new S3Client({
    endpoint: queues.endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "local", secretAccessKey: "local" },
  });
});
beforeEach(() => {
  queues.clear();
  mail.inbox.clear();
  verdict = undefined;
});
afterAll(async () => {
  await Promise.all([...running.values()].map((one) => one.stop()));
  bucket.destroy();
  await Promise.all([mail.close(), secrets.close(), dynamo.close(), queues.close()]);
});

async function start(
  name: string,
  more: Readonly<Record<string, string>> = {},
): Promise<LambdaFunction> {
  const key = JSON.stringify([name, more]);
  const found = running.get(key);
  if (found !== undefined) return found;
  const started = await startFunction(name, {
    MAILBOX_SECRET_ID: "box",
    MAILBOX_SECRET_PREFIX: "boxes/",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    AWS_ENDPOINT_URL_DYNAMODB: dynamo.url,
    AWS_ENDPOINT_URL_SQS: queues.endpoint,
    AWS_ENDPOINT_URL_S3: queues.endpoint,
    LEDGER_TABLE: dynamo.table,
    QUEUE_URL: queues.url("requests"),
    FAILED_QUEUE_URL: queues.url("failed"),
    METRICS_SERVICE: "shop mail",
    _X_AMZN_TRACE_ID: `Root=${TRACE};Parent=5759e988bd862e3f;Sampled=0`,
    ...more,
  });
  running.set(key, started);
  return started;
}

let count = 0;
const fresh = (more: Record<string, unknown> = {}) => {
  count += 1;
  return {
    to: "a@example.com",
    subject: `n ${count}`,
    text: "…",
    idempotencyKey: `k-${count}`,
    ...more,
  };
};
const sample = (name: string) =>
  JSON.parse(
    readFileSync(new URL(`../../infra/local/events/${name}.json`, import.meta.url), "utf8"),
  );
function post(body: unknown, headers: Record<string, string> = {}) {
  return { ...sample("api-http"), headers, body: JSON.stringify(body), isBase64Encoded: false };
}
function record(body: unknown, receives = 1, more: Record<string, unknown> = {}) {
  return {
    messageId: `sqs-message-${count}`,
    receiptHandle: "receipt",
    body: JSON.stringify(body),
    attributes: { ApproximateReceiveCount: String(receives), SentTimestamp: String(Date.now()) },
    messageAttributes: {},
    eventSourceARN: queues.arn("requests"),
    ...more,
  };
}
const borne = () =>
  mail.inbox.messages.map(({ raw }) => /^X-Correlation-Id: (.*)\r$/im.exec(raw.toString())?.[1]);
/** The newest lines that a function logged, of one kind. */
function lines({ log }: LambdaFunction): readonly Record<string, unknown>[] {
  return log()
    .split("\n")
    .filter((line) => line.includes('"message":"submission"'))
    .map((line) => JSON.parse(line));
}

describe("the correlation id", () => {
  it.each([
    ["the client's", { "X-Correlation-Id": "order/4711:a" }, "order/4711:a"],
    ["the gateway's", {}, "JKJaXmPLvHcESHA="],
    [
      "the gateway's, where the client's could be an address",
      { "x-correlation-id": "a@b.test" },
      "JKJaXmPLvHcESHA=",
    ],
  ])("over HTTP is %s", async (_, headers, expected) => {
    const api = await start("api");
    const event = post(fresh(), headers);
    const requestContext = { ...event.requestContext, requestId: "JKJaXmPLvHcESHA=" };
    expect(await api.invoke({ ...event, requestContext })).toMatchObject({ statusCode: 200 });
    expect(borne()).toEqual([expected]);
    expect(lines(api).at(-1)).toMatchObject({
      correlationId: expected,
      traceId: TRACE,
      source: "api",
    });
  });

  it("of an invocation is its request id", async () => {
    const invoke = await start("invoke");
    await invoke.invoke(fresh());
    const line = lines(invoke).at(-1);
    expect(borne()).toEqual([line?.["requestId"]]);
    expect(line?.["correlationId"]).toBe(line?.["requestId"]);
  });

  it("is the caller's own header where the request has one", async () => {
    const invoke = await start("invoke");
    await invoke.invoke(fresh({ headers: { "x-correlation-id": "mine-1" } }));
    expect(borne()).toEqual(["mine-1"]);
    expect(lines(invoke).at(-1)).toMatchObject({ correlationId: "mine-1" });
    // What may not be logged is the caller's affair in the message alone.
    await invoke.invoke(fresh({ headers: { "X-Correlation-Id": "li lei <a@b.test>" } }));
    expect(borne().at(-1)).toBe("li lei <a@b.test>");
    expect(lines(invoke).at(-1)?.["correlationId"]).toMatch(/^request-/);
  });

  it.each([
    ["sqs", () => ({ Records: [record(fresh())] }), () => `sqs-message-${count}`],
    ["sns", () => sample("sns"), () => sample("sns").Records[0].Sns.MessageId],
    ["eventbridge", () => sample("eventbridge"), () => sample("eventbridge").id],
  ])("of %s is the event's", async (name, make, expected) => {
    const started = await start(name);
    await started.invoke(make());
    expect(borne()).toEqual([expected()]);
    expect(lines(started).at(-1)).toMatchObject({ correlationId: expected(), source: name });
  });

  it("of an S3 object tells nothing of the object", async () => {
    const event = sample("s3");
    const [
      {
        s3: { object },
        responseElements,
      },
    ] = event.Records;
    const Key = decodeURIComponent(object.key.replaceAll("+", " "));
    await bucket.send(
      new PutObjectCommand({
        Bucket: BUCKET,
        Key,
        Body: JSON.stringify({ to: "a@example.com", text: "…" }),
      }),
    );
    delete object.versionId;
    const s3 = await start("s3");
    await s3.invoke(event);
    expect(borne()).toEqual([responseElements["x-amz-request-id"]]);
  });

  it("goes along by the queue, from the request that asked for it", async () => {
    const api = await start("api");
    const sqs = await start("sqs");
    const event = post(fresh(), { Prefer: "respond-async", "X-Correlation-Id": "asked-1" });
    expect(await api.invoke(event)).toMatchObject({ statusCode: 202 });
    const { endpoint } = queues;
    const poller = createPoller({
      endpoint,
      url: queues.url("requests"),
      arn: queues.arn("requests"),
      invoke: sqs.invoke,
    });
    expect(await poller.once()).toBe(1);
    await poller.stop();
    expect(borne()).toEqual(["asked-1"]);
    expect(lines(sqs).at(-1)).toMatchObject({ correlationId: "asked-1" });
  });

  it("stays that of the first try, and the message's octets with it", async () => {
    const [invoke, api] = [await start("invoke"), await start("api")];
    const request = fresh();
    verdict = { code: 450, text: "4.2.0 later" };
    expect(await invoke.invoke(request)).toMatchObject({ outcome: "deferred" });
    const first = lines(invoke).at(-1)?.["correlationId"];
    verdict = undefined;
    expect(await api.invoke(post(request, { "X-Correlation-Id": "second" }))).toMatchObject({
      statusCode: 200,
    });
    expect(borne()).toEqual([first]);
    expect(lines(api).at(-1)).toMatchObject({ correlationId: "second", outcome: "accepted" });
  });

  it("is the same at each redelivery without a ledger, octet for octet", async () => {
    const sqs = await start("sqs", { LEDGER_TABLE: "", QUEUE_URL: "" });
    const request = fresh({ to: ["a@example.com"] });
    const event = { Records: [record(request)] };
    await sqs.invoke(event);
    await sqs.invoke({
      Records: [
        {
          ...event.Records[0],
          attributes: { ...event.Records[0]?.attributes, ApproximateReceiveCount: "2" },
        },
      ],
    });
    const [one, two] = mail.inbox.messages.map(({ raw }) => raw.toString("latin1"));
    expect(two).toBe(one);
    expect(one).toMatch(/^X-Correlation-Id: sqs-message-/m);
  });

  it("is not put into a message that came whole", async () => {
    const invoke = await start("invoke");
    const raw = Buffer.from("Subject: whole\r\nTo: a@example.com\r\n\r\nbody\r\n").toString(
      "base64",
    );
    await invoke.invoke({ raw });
    expect(borne()).toEqual([undefined]);
  });
});

describe("the log", () => {
  it("has no address and no subject, unless they are asked for", async () => {
    const request = {
      to: "li.lei@example.net",
      bcc: "hidden@example.org",
      subject: "您的订单",
      text: "…",
    };
    const silent = await start("invoke");
    await silent.invoke(request);
    expect(silent.log()).not.toMatch(/li\.lei|hidden|您的订单/);
    const open = await start("invoke", { LOG_ADDRESSES: "on", METRICS_SERVICE: "" });
    await open.invoke(request);
    expect(lines(open).at(-1)).toMatchObject({
      from: SENDER,
      to: ["li.lei@example.net", "hidden@example.org"],
      subject: "您的订单",
    });
    const wrong = await start("invoke", { LOG_ADDRESSES: "yes" });
    expect(await wrong.invoke(request)).toMatchObject({ error: { code: "config_invalid" } });
  });
});

describe("the metrics of the built functions", () => {
  it("go to standard output alone, the log to standard error", async () => {
    const invoke = await start("invoke", { METRICS_SERVICE: "one" });
    await invoke.invoke(fresh());
    const [line, ...more] = metricsIn(invoke.output());
    expect(more).toEqual([]);
    expect(line).toMatchObject({
      namespace: "posthaste",
      service: "one",
      source: "invoke",
      values: { Submissions: 1, Accepted: 1, Recipients: 1, Reply2xx: 1 },
    });
    expect(line?.values["TotalMs"]).toBeGreaterThan(0);
    expect(invoke.output()).not.toContain('"submission"');
    expect(lines(invoke)).toHaveLength(1);
  });

  it("are not written without METRICS_SERVICE, whatever the log's level", async () => {
    const none = await start("invoke", { METRICS_SERVICE: "" });
    await none.invoke(fresh());
    expect(none.output()).toBe("");
    const quiet = await start("invoke", { METRICS_SERVICE: "quiet", LOG_LEVEL: "silent" });
    await quiet.invoke(fresh());
    expect(metricsIn(quiet.log())).toHaveLength(1);
    expect(lines(quiet)).toEqual([]);
  });

  it("count a retry, and nothing twice that is only told again", async () => {
    const sqs = await start("sqs", { METRICS_SERVICE: "retries" });
    const request = fresh();
    verdict = { code: 450, text: "4.2.0 later" };
    await sqs.invoke({ Records: [record(request)] });
    verdict = undefined;
    await sqs.invoke({ Records: [record(request, 2)] });
    await sqs.invoke({ Records: [record(request, 3)] });
    expect(metricsIn(sqs.output()).map(({ values }) => values)).toMatchObject([
      { Deferred: 1, Accepted: 0, Retries: 0, Reply4xx: 1 },
      { Deferred: 0, Accepted: 1, Retries: 1, Reply2xx: 1 },
    ]);
    expect(
      lines(sqs).map(({ outcome, retold, receives }) => ({ outcome, retold, receives })),
    ).toEqual([
      { outcome: "deferred", retold: undefined, receives: 1 },
      { outcome: "accepted", retold: undefined, receives: 2 },
      { outcome: "accepted", retold: true, receives: 3 },
    ]);
  });

  it("do not count again what an invocation that nobody waited for has sent", async () => {
    const sqs = await start("sqs", { METRICS_SERVICE: "answered" });
    const invoke = await start("invoke");
    const request = fresh();
    const responsePayload = await invoke.invoke(request);
    const requestContext = { requestId: "lambda-request-1", condition: "Success" };
    await sqs.invoke({
      Records: [record({ requestContext, requestPayload: request, responsePayload })],
    });
    expect(sqs.output()).toBe("");
    expect(lines(sqs).at(-1)).toMatchObject({ retold: true, correlationId: "lambda-request-1" });
  });

  it("tell of a refused login, of a submission and of a check", async () => {
    const check = await start("check", { METRICS_SERVICE: "logins" });
    expect(await check.invoke({ mailbox: "wrong" })).toMatchObject({ login: "refused" });
    expect(await check.invoke({})).toMatchObject({ login: "accepted" });
    const invoke = await start("invoke", { METRICS_SERVICE: "logins" });
    expect(await invoke.invoke(fresh({ mailbox: "wrong" }))).toMatchObject({ outcome: "deferred" });
    expect(metricsIn(check.output())).toMatchObject([
      { source: "check", values: { LoginRefused: 1 } },
      { source: "check", values: { LoginRefused: 0 } },
    ]);
    expect(metricsIn(check.output())[0]?.values).not.toHaveProperty("Submissions");
    expect(metricsIn(invoke.output())).toMatchObject([
      { values: { LoginRefused: 1, Deferred: 1 } },
    ]);
  });
});
