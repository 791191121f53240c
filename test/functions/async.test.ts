/** `Prefer: respond-async`, on the built bundles: accepted now, sent by the queue, looked up later. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createPoller, type Poller } from "../../infra/local/poller.ts";
import { type LocalQueues, startQueues } from "../../infra/local/queue.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { type Dynamo, startDynamo } from "../support/dynamo.ts";
import { type Answer, type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";

const MESSAGE = { to: "a@example.com", subject: "later", text: "hello" };

let dynamo: Dynamo;
let secrets: Secrets;
let smtp: FakeSmtp;
let queues: LocalQueues;
let environment: Record<string, string>;
let api: LambdaFunction;
let sqs: LambdaFunction;
let poller: Poller;
let content: Answer;

beforeAll(async () => {
  [dynamo, queues] = await Promise.all([startDynamo(), startQueues({ buckets: ["payloads"] })]);
  smtp = await startFakeSmtp({ on: { content: () => content } });
  const mailbox = {
    host: "127.0.0.1",
    port: smtp.port,
    security: "none",
    from: "shop@example.com",
    maxMessageBytes: 8_000_000,
  };
  secrets = await startSecrets({
    box: JSON.stringify(mailbox),
    "boxes/billing": JSON.stringify(mailbox),
  });
  environment = {
    MAILBOX_SECRET_ID: "box",
    MAILBOX_SECRET_PREFIX: "boxes/",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    AWS_ENDPOINT_URL_DYNAMODB: dynamo.url,
    AWS_ENDPOINT_URL_SQS: queues.endpoint,
    AWS_ENDPOINT_URL_S3: queues.endpoint,
    LEDGER_TABLE: dynamo.table,
    QUEUE_URL: queues.url("requests"),
    FAILED_QUEUE_URL: queues.url("failed"),
    PAYLOAD_BUCKET: "payloads",
    ALLOWED_RECIPIENTS: "@example.com",
  };
  [api, sqs] = await Promise.all([
    startFunction("api", environment),
    startFunction("sqs", environment),
  ]);
  poller = createPoller({
    endpoint: queues.endpoint,
    url: queues.url("requests"),
    arn: queues.arn("requests"),
    invoke: sqs.invoke,
  });
});
beforeEach(() => {
  queues.clear();
  smtp.seen.length = 0;
  content = "250 2.0.0 Ok: queued as Q1";
});
afterAll(async () => {
  await Promise.all([api.stop(), sqs.stop(), poller.stop()]);
  await Promise.all([smtp.close(), secrets.close(), dynamo.close(), queues.close()]);
});

const PREFER = { prefer: "respond-async, wait=5" };
const http = (
  method: string,
  location: string,
  body?: unknown,
  headers: Record<string, string> = {},
  target = api,
) => {
  const { pathname, searchParams } = new URL(location, "http://api.test");
  return target.invoke({
    version: "2.0",
    rawPath: pathname,
    headers,
    requestContext: { http: { method } },
    queryStringParameters: Object.fromEntries(searchParams),
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
};
const state = async (location: string) => JSON.parse((await http("GET", location)).body);
let count = 0;
const key = () => {
  count += 1;
  return `async-${count}`;
};

describe("Prefer: respond-async", () => {
  it("202 and where to look; queued, then sent, then settled", async () => {
    const answer = await http("POST", "/messages", { ...MESSAGE, idempotencyKey: "a b/c" }, PREFER);
    expect(answer.statusCode).toBe(202);
    expect(answer.headers).toMatchObject({
      location: "/messages/a%20b%2Fc",
      "preference-applied": "respond-async",
    });
    expect(JSON.parse(answer.body)).toEqual({ id: "a b/c", state: "queued" });
    expect(smtp.seen).toEqual([]);
    expect(await state(answer.headers.location)).toMatchObject({ state: "queued", result: null });
    await poller.once();
    expect(await state(answer.headers.location)).toMatchObject({
      state: "settled",
      result: { outcome: "accepted", queueId: "Q1" },
    });
    expect(queues.messages("requests")).toEqual([]);
  });

  it("by a REST API, Location has the stage, as the caller's own address had", async () => {
    const event = {
      path: "/messages",
      httpMethod: "POST",
      headers: PREFER,
      requestContext: { path: "/prod/messages", stage: "prod" },
      body: JSON.stringify({ ...MESSAGE, idempotencyKey: "by-rest" }),
    };
    const answer = await api.invoke(event);
    expect(answer.statusCode).toBe(202);
    expect(answer.headers.location).toBe("/prod/messages/by-rest");
    const found = await api.invoke({ ...event, httpMethod: "GET", path: "/messages/by-rest" });
    expect(JSON.parse(found.body)).toMatchObject({ id: "by-rest", state: "queued" });
  });

  it("a message of a named mailbox is found where Location says", async () => {
    const request = { ...MESSAGE, mailbox: "billing" };
    const { headers } = await http("POST", "/messages", request, PREFER);
    expect(headers.location).toMatch(/^\/messages\/request-\d+\?mailbox=billing$/);
    expect((await state(headers.location)).state).toBe("queued");
    await poller.once();
    expect((await state(headers.location)).state).toBe("settled");
  });

  it("what is deferred stays on the queue, and its state says so", async () => {
    content = "451 4.3.0 later";
    const { headers } = await http("POST", "/messages", MESSAGE, PREFER);
    await poller.once();
    expect(await state(headers.location)).toMatchObject({
      state: "deferred",
      result: { outcome: "deferred", reply: { code: 451 } },
    });
    expect(queues.messages("requests")).toHaveLength(1);
  });

  it("the same key twice is sent once; with another body it is refused", async () => {
    const idempotencyKey = key();
    const request = { ...MESSAGE, idempotencyKey };
    expect((await http("POST", "/messages", request, PREFER)).statusCode).toBe(202);
    expect((await http("POST", "/messages", request, PREFER)).statusCode).toBe(202);
    const other = await http("POST", "/messages", { ...request, text: "other" }, PREFER);
    expect(other.statusCode).toBe(422);
    while ((await poller.once()) > 0);
    expect(smtp.seen.filter((line) => line === "content")).toHaveLength(1);
    const third = await http("POST", "/messages", request, PREFER);
    expect(third.statusCode).toBe(200);
    expect(third.headers["preference-applied"]).toBeUndefined();
    expect(JSON.parse(third.body).outcome).toBe("accepted");
  });

  it("what can be judged now is judged now", async () => {
    const bad = await http("POST", "/messages", { subject: 5, hello: 1 }, PREFER);
    expect(bad.statusCode).toBe(400);
    expect(JSON.parse(bad.body).issues.length).toBeGreaterThan(1);
    const stranger = { ...MESSAGE, to: "a@elsewhere.test" };
    expect((await http("POST", "/messages", stranger, PREFER)).statusCode).toBe(403);
    const forged = { ...MESSAGE, from: "boss@example.org" };
    expect((await http("POST", "/messages", forged, PREFER)).statusCode).toBe(403);
    const unknown = { ...MESSAGE, mailbox: "nobody" };
    expect((await http("POST", "/messages", unknown, PREFER)).statusCode).toBe(502);
    expect(queues.messages("requests")).toEqual([]);
  });

  it("the message is a person's: no Auto-Submitted, unlike an event's", async () => {
    await http("POST", "/messages", MESSAGE, PREFER);
    expect(queues.messages("requests")[0]?.attributes["posthaste-source"]).toBe("api");
  });
});

describe("a request larger than the queue takes", () => {
  const large = { ...MESSAGE, text: "0123456789 ".repeat(120_000) };

  it("goes by reference, and arrives", async () => {
    const { statusCode, headers } = await http("POST", "/messages", large, PREFER);
    expect(statusCode).toBe(202);
    expect(queues.messages("requests")[0]?.body.length).toBeLessThan(200);
    await poller.once();
    expect((await state(headers.location)).result.outcome).toBe("accepted");
  });

  it("without a bucket is refused with 413, which says so, and its key stays free", async () => {
    const { PAYLOAD_BUCKET: _, ...without } = environment;
    const small = await startFunction("api", without);
    const idempotencyKey = key();
    const answer = await http("POST", "/messages", { ...large, idempotencyKey }, PREFER, small);
    expect(answer.statusCode).toBe(413);
    expect(JSON.parse(answer.body).detail).toMatch(/1048576.*PAYLOAD_BUCKET/);
    const again = await http("POST", "/messages", { ...MESSAGE, idempotencyKey }, PREFER, small);
    expect(again.statusCode).toBe(202);
    await small.stop();
  });

  it("a pointer to anything but a request of ours reads nothing", async () => {
    queues.send("requests", { posthaste: "payload", key: "../secrets.json" });
    await poller.once();
    const [aside] = queues.messages("failed").map(({ body }) => JSON.parse(body));
    expect(aside.result.error.code).toBe("payload_unavailable");
  });
});

describe("without what it takes", () => {
  it("no queue: the preference is not honoured, and the answer is the result", async () => {
    const { QUEUE_URL: _, ...without } = environment;
    const direct = await startFunction("api", without);
    const answer = await http("POST", "/messages", MESSAGE, PREFER, direct);
    expect(answer.statusCode).toBe(200);
    expect(answer.headers["preference-applied"]).toBeUndefined();
    await direct.stop();
  });

  it("the queue refuses: 503 with Retry-After, and the key may be used again", async () => {
    const gone = { ...environment, QUEUE_URL: queues.url("nowhere") };
    const broken = await startFunction("api", gone);
    const request = { ...MESSAGE, idempotencyKey: key() };
    const answer = await http("POST", "/messages", request, PREFER, broken);
    expect(answer.statusCode).toBe(503);
    expect(answer.headers["retry-after"]).toBeDefined();
    expect((await http("POST", "/messages", request, PREFER)).statusCode).toBe(202);
    await broken.stop();
  });

  it("a queue without a ledger is a configuration error", async () => {
    const { LEDGER_TABLE: _, ...without } = environment;
    const broken = await startFunction("api", without);
    const answer = await http("POST", "/messages", MESSAGE, PREFER, broken);
    expect(answer.statusCode).toBe(502);
    expect(answer.body).toContain("LEDGER_TABLE");
    await broken.stop();
  });
});
