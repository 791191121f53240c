/** Batches from a queue, on the built bundle: what is sent, what comes back, and when. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createPoller, type Poller } from "../../infra/local/poller.ts";
import { type LocalQueues, startQueues } from "../../infra/local/queue.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { type Dynamo, startDynamo } from "../support/dynamo.ts";
import { type Answer, type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";

let dynamo: Dynamo;
let secrets: Secrets;
let smtp: FakeSmtp;
let queues: LocalQueues;
let environment: Record<string, string>;
let sqs: LambdaFunction;
let poller: Poller;
let rcpt: (line: string) => Answer;
let content: Answer;

const QUEUES = ["requests", "failed", "plain", "order.fifo"];

beforeAll(async () => {
  [dynamo, queues] = await Promise.all([startDynamo(), startQueues({ queues: QUEUES })]);
  smtp = await startFakeSmtp({
    on: {
      content: () => content,
      RCPT: (line) => rcpt(line),
      // As honest servers do: no content where nobody is to have it.
      DATA: () => {
        const since = smtp.seen.slice(smtp.seen.findLastIndex((line) => line.startsWith("MAIL")));
        const taken = since.some((line) => line.startsWith("RCPT") && rcpt(line).startsWith("250"));
        return taken ? "354 go on" : "554 5.5.1 no valid recipients";
      },
    },
  });
  secrets = await startSecrets({ box: secret(smtp.port) });
  environment = {
    MAILBOX_SECRET_ID: "box",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    AWS_ENDPOINT_URL_DYNAMODB: dynamo.url,
    AWS_ENDPOINT_URL_SQS: queues.endpoint,
    LEDGER_TABLE: dynamo.table,
    QUEUE_URL: queues.url("requests"),
    FAILED_QUEUE_URL: queues.url("failed"),
  };
  sqs = await startFunction("sqs", environment);
  poller = pollerOf("requests", sqs);
});
beforeEach(() => {
  queues.clear();
  smtp.seen.length = 0;
  content = "250 2.0.0 Ok: queued as Q1";
  rcpt = () => "250 ok";
});
afterAll(async () => {
  await Promise.all([sqs.stop(), poller.stop()]);
  await Promise.all([smtp.close(), secrets.close(), dynamo.close(), queues.close()]);
});

function secret(port: number, more: Record<string, unknown> = {}): string {
  return JSON.stringify({
    host: "127.0.0.1",
    port,
    security: "none",
    from: "shop@example.com",
    ...more,
  });
}

function pollerOf(name: string, { invoke }: LambdaFunction): Poller {
  const { endpoint } = queues;
  return createPoller({ endpoint, url: queues.url(name), arn: queues.arn(name), invoke });
}

let count = 0;
const fresh = (to: string | readonly string[] = "a@example.com") => {
  count += 1;
  return { to, subject: `number ${count}`, text: "hello", idempotencyKey: `key-${count}` };
};
const written = (start: string) => smtp.seen.filter((line) => line.startsWith(start));
const failed = () => queues.messages("failed").map(({ body }) => JSON.parse(body));

/** What the event source mapping would hand over next; it stays in flight. */
async function receive(name: string) {
  let event: { Records: ReturnType<typeof record>[] } = { Records: [] };
  const { endpoint } = queues;
  const invoke = (given: unknown) => {
    event = given as typeof event;
    return Promise.reject(new Error("held"));
  };
  const once = createPoller({ endpoint, url: queues.url(name), arn: queues.arn(name), invoke });
  await once.once().catch(() => {});
  return event.Records as [ReturnType<typeof record>];
}

/** A record as Lambda hands it over, for what a loopback queue does not show on demand. */
function record(body: unknown, attributes: Record<string, string> = {}, name = "requests") {
  count += 1;
  return {
    messageId: `message-${count}`,
    receiptHandle: `receipt-${count}`,
    body: typeof body === "string" ? body : JSON.stringify(body),
    attributes: {
      ApproximateReceiveCount: "1",
      SentTimestamp: String(Date.now()),
      SenderId: "AIDA",
      ApproximateFirstReceiveTimestamp: String(Date.now()),
      ...attributes,
    },
    messageAttributes: {},
    md5OfBody: "",
    eventSource: "aws:sqs",
    eventSourceARN: queues.arn(name),
    awsRegion: "us-east-1",
  };
}
const returned = (answer: { batchItemFailures: { itemIdentifier: string }[] }) =>
  answer.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier);

describe("a batch", () => {
  it("of ten of one mailbox is one session", async () => {
    for (let index = 0; index < 10; index += 1) queues.send("requests", fresh());
    const before = smtp.connections();
    expect(await poller.once()).toBe(10);
    expect(smtp.connections() - before).toBe(1);
    expect(written("content")).toHaveLength(10);
    expect(queues.messages("requests")).toEqual([]);
    expect(queues.messages("failed")).toEqual([]);
  });

  it("settles each message by itself", async () => {
    rcpt = (line) =>
      line.includes("slow") ? "450 4.2.0 later" : line.includes("bad") ? "550 5.1.1 no" : "250 ok";
    queues.send("requests", fresh("a@example.com"));
    queues.send("requests", fresh("slow@example.com"));
    queues.send("requests", fresh("bad@example.com"));
    queues.send("requests", "no JSON at all");
    queues.send("requests", { to: "a@example.com", hello: "world" });
    expect(await poller.once()).toBe(5);
    const left = queues.messages("requests");
    expect(left).toHaveLength(1);
    expect(left[0]?.body).toContain("slow@example.com");
    expect(left[0]?.waits).toBeGreaterThanOrEqual(58);
    expect(left[0]?.waits).toBeLessThanOrEqual(73);
    const aside = failed();
    expect(aside.map(({ result }) => result.error.code).sort()).toEqual([
      "invalid_request",
      "invalid_request",
      "recipient_refused",
    ]);
    expect(aside.find(({ request }) => request === "no JSON at all")).toBeDefined();
  });
});

describe("what is deferred", () => {
  it("comes back after a time that grows to three hours, and is given up after 16 receives", async () => {
    rcpt = () => "450 4.2.0 later";
    const waits: number[] = [];
    for (const receives of [1, 2, 3, 8, 15]) {
      queues.send("requests", fresh());
      const [message] = await receive("requests");
      message.attributes.ApproximateReceiveCount = String(receives);
      const answer = await sqs.invoke({ Records: [message] });
      expect(returned(answer)).toEqual([message.messageId]);
      waits.push(queues.messages("requests")[0]?.waits ?? 0);
      queues.clear();
    }
    for (const [index, least] of [60, 120, 240, 7680, 10_800].entries()) {
      expect(waits[index]).toBeGreaterThanOrEqual(least - 2);
      expect(waits[index]).toBeLessThanOrEqual(Math.min(least * 1.2, 10_800) + 1);
    }
    const last = record(fresh(), { ApproximateReceiveCount: "16" });
    expect(returned(await sqs.invoke({ Records: [last] }))).toEqual([]);
    expect(failed()).toMatchObject([{ why: "given up", result: { outcome: "deferred" } }]);
  });

  it("is given up before its queue forgets it", async () => {
    rcpt = () => "450 4.2.0 later";
    const old = { SentTimestamp: String(Date.now() - 4 * 24 * 3600_000) };
    expect(returned(await sqs.invoke({ Records: [record(fresh(), old)] }))).toEqual([]);
    expect(failed()).toHaveLength(1);
  });

  it("is sent again to the deferred recipients alone", async () => {
    rcpt = (line) => (line.includes("slow") ? "450 4.2.0 later" : "250 ok");
    const message = record(fresh(["a@example.com", "slow@example.com"]));
    expect(returned(await sqs.invoke({ Records: [message] }))).toEqual([message.messageId]);
    rcpt = () => "250 ok";
    smtp.seen.length = 0;
    expect(returned(await sqs.invoke({ Records: [message] }))).toEqual([]);
    expect(written("RCPT")).toEqual(["RCPT TO:<slow@example.com>"]);
    expect(failed()).toEqual([]);
  });

  it("is so without a ledger, too: another message takes over, with the header unchanged", async () => {
    const { LEDGER_TABLE: _, QUEUE_URL: __, ...without } = environment;
    const plain = await startFunction("sqs", without);
    try {
      rcpt = (line) => (line.includes("slow") ? "450 4.2.0 later" : "250 ok");
      const { idempotencyKey: ___, ...request } = fresh(["a@example.com", "slow@example.com"]);
      queues.send("plain", request);
      const [message] = await receive("plain");
      expect(returned(await plain.invoke({ Records: [message] }))).toEqual([]);
      const next = queues
        .messages("plain")
        .filter(({ attributes }) => attributes["posthaste-carried"]);
      expect(next).toHaveLength(1);
      expect(next[0]?.waits).toBeGreaterThan(50);
      expect(JSON.parse(next[0]?.body ?? "")).toMatchObject({
        to: request.to,
        idempotencyKey: message.messageId,
      });
      smtp.seen.length = 0;
      rcpt = () => "250 ok";
      const taken = record(next[0]?.body, {}, "plain");
      const value = next[0]?.attributes["posthaste-carried"];
      const messageAttributes = { "posthaste-carried": { dataType: "String", stringValue: value } };
      expect(returned(await plain.invoke({ Records: [{ ...taken, messageAttributes }] }))).toEqual(
        [],
      );
      expect(written("RCPT")).toEqual(["RCPT TO:<slow@example.com>"]);
      expect(failed()).toEqual([]);
    } finally {
      await plain.stop();
    }
  });
});

describe("what is uncertain", () => {
  it("is laid aside with its request, and not sent again", async () => {
    content = "close";
    const request = fresh();
    expect(returned(await sqs.invoke({ Records: [record(request)] }))).toEqual([]);
    expect(failed()).toMatchObject([{ request, result: { outcome: "uncertain" } }]);
    content = "250 ok";
    await sqs.invoke({ Records: [record(request)] });
    expect(written("content")).toHaveLength(1);
  });

  it("what was laid aside is understood when a person sends it back", async () => {
    rcpt = () => "450 4.2.0 later";
    const last = record(fresh(), { ApproximateReceiveCount: "16" });
    await sqs.invoke({ Records: [last] });
    const [aside] = failed();
    rcpt = () => "250 ok";
    expect(returned(await sqs.invoke({ Records: [record(aside)] }))).toEqual([]);
    expect(written("content")).toHaveLength(1);
  });

  it("without a queue for failures it is acknowledged all the same", async () => {
    const { FAILED_QUEUE_URL: _, ...without } = environment;
    const plain = await startFunction("sqs", without);
    rcpt = () => "550 5.1.1 no";
    expect(returned(await plain.invoke({ Records: [record(fresh())] }))).toEqual([]);
    expect(plain.log()).toContain("a message was not delivered");
    await plain.stop();
  });

  it("a failure that cannot be laid aside is not acknowledged", async () => {
    const gone = { ...environment, FAILED_QUEUE_URL: queues.url("nowhere") };
    const plain = await startFunction("sqs", gone);
    rcpt = () => "550 5.1.1 no";
    const message = record(fresh());
    expect(returned(await plain.invoke({ Records: [message] }))).toEqual([message.messageId]);
    await plain.stop();
  });
});

describe("a FIFO queue", () => {
  const grouped = (group: string, to: string) =>
    record(fresh(to), { MessageGroupId: group, SequenceNumber: "1" }, "order.fifo");

  it("after a failure, the rest of its group is returned unsent, in any number of groups", async () => {
    rcpt = (line) => (line.includes("slow") ? "450 4.2.0 later" : "250 ok");
    const records = [
      grouped("one", "1@example.com"),
      grouped("two", "slow@example.com"),
      grouped("one", "slow@example.com"),
      grouped("two", "2@example.com"),
      grouped("one", "3@example.com"),
      grouped("three", "4@example.com"),
    ];
    const answer = await sqs.invoke({ Records: records });
    const ids = records.map(({ messageId }) => messageId);
    expect(returned(answer)).toEqual([ids[1], ids[2], ids[3], ids[4]]);
    expect(written("RCPT").join()).not.toMatch(/[23]@example/);
    expect(written("content")).toHaveLength(2);
  });

  it("what is rejected or malformed is laid aside, and holds up nobody", async () => {
    rcpt = (line) => (line.includes("bad") ? "550 5.1.1 no" : "250 ok");
    const nonsense = { ...grouped("one", "a@example.com"), body: "{" };
    const records = [grouped("one", "bad@example.com"), nonsense, grouped("one", "a@example.com")];
    expect(returned(await sqs.invoke({ Records: records }))).toEqual([]);
    expect(written("content")).toHaveLength(1);
    expect(failed()).toHaveLength(2);
  });

  it("what its turn finds no time for is returned unsent, and so is what stands behind it", async () => {
    content = "hang";
    const records = ["1", "2", "3"].map((name) => grouped("one", `${name}@example.com`));
    const answer = await sqs.invoke({ Records: records }, 4_000);
    const [, second, third] = records.map(({ messageId }) => messageId);
    expect(returned(answer)).toEqual([second, third]);
    expect(written("RCPT").join()).not.toMatch(/[23]@example/);
    expect(failed()).toMatchObject([{ result: { outcome: "uncertain" } }]);
  });

  it("groups of a standard queue are no order", async () => {
    rcpt = (line) => (line.includes("slow") ? "450 4.2.0 later" : "250 ok");
    const group = { MessageGroupId: "tenant" };
    const records = [record(fresh("slow@example.com"), group), record(fresh(), group)];
    expect(returned(await sqs.invoke({ Records: records }))).toEqual([records[0]?.messageId]);
  });
});

describe("limits", () => {
  it("inside the time reserve nothing is started, and all is returned", async () => {
    const records = [record(fresh()), record(fresh())];
    const before = smtp.connections();
    const answer = await sqs.invoke({ Records: records }, 900);
    expect(returned(answer)).toEqual(records.map(({ messageId }) => messageId));
    expect(smtp.connections()).toBe(before);
    expect(returned(await sqs.invoke({ Records: records }))).toEqual([]);
  });

  it("a hundred messages and a wrong password: two logins at most", async () => {
    const server = await startFakeSmtp({
      ehlo: ["PIPELINING", "AUTH PLAIN"],
      on: { AUTH: "535 5.7.8 no" },
    });
    const login = { username: "shop@example.com", password: "wrong", allowPlaintextAuth: true };
    secrets.put("wrong", secret(server.port, login));
    const own = await startFunction("sqs", { ...environment, MAILBOX_SECRET_ID: "wrong" });
    const polling = pollerOf("requests", own);
    for (let index = 0; index < 100; index += 1) queues.send("requests", fresh());
    let received = 0;
    while (received < 100) received += await polling.once();
    const logins = server.seen.filter((line) => line.startsWith("AUTH"));
    expect(logins.length).toBeGreaterThanOrEqual(1);
    expect(logins.length).toBeLessThanOrEqual(2);
    const left = queues.messages("requests");
    expect(left).toHaveLength(100);
    // Slowly, since a person has to mend it.
    for (const { waits } of left) expect(waits).toBeGreaterThan(800);
    expect(failed()).toEqual([]);
    await Promise.all([own.stop(), polling.stop(), server.close()]);
  });

  it("with an environment that is not usable every record is returned", async () => {
    const broken = await startFunction("sqs", { ...environment, LOG_LEVEL: "loud" });
    const message = record(fresh());
    expect(returned(await broken.invoke({ Records: [message] }))).toEqual([message.messageId]);
    await broken.stop();
  });
});

describe("envelopes", () => {
  it("of SNS and EventBridge are opened, and their ids are the keys", async () => {
    const { idempotencyKey: _, ...request } = fresh();
    const bus = {
      version: "0",
      id: "bus-1",
      "detail-type": "SendMail",
      source: "shop",
      time: "2026-01-02T03:04:05Z",
      detail: request,
    };
    const topic = {
      Type: "Notification",
      MessageId: "topic-1",
      TopicArn: "arn:aws:sns:us-east-1:000000000000:mail",
      Timestamp: "2026-01-02T03:04:05.000Z",
      Message: JSON.stringify(request),
    };
    const both = {
      ...topic,
      MessageId: "topic-2",
      Message: JSON.stringify({ ...bus, id: "bus-2" }),
    };
    for (const body of [bus, topic, both, bus, topic, both]) {
      expect(returned(await sqs.invoke({ Records: [record(body)] }))).toEqual([]);
    }
    expect(written("content")).toHaveLength(3);
    expect(failed()).toEqual([]);
    expect(sqs.log()).toMatch(/"id":"topic-1".*"outcome":"accepted"/);
    expect(sqs.log()).toMatch(/"id":"bus-2".*"outcome":"accepted"/);
  });
});

describe("records of asynchronous invocations", () => {
  const invocation = (request: unknown, result: unknown) => ({
    version: "1.0",
    timestamp: "2026-01-02T03:04:05.000Z",
    requestContext: {
      requestId: `invocation-${count}`,
      functionArn: "arn:aws:lambda:us-east-1:000000000000:function:invoke:$LATEST",
      condition: "Success",
      approximateInvokeCount: 1,
    },
    requestPayload: request,
    responseContext: { statusCode: 200, executedVersion: "$LATEST" },
    responsePayload: result,
  });

  it("what was sent is acknowledged, what was deferred waits, and is then sent under its key", async () => {
    const invoke = await startFunction("invoke", environment);
    const accepted = fresh();
    const done = invocation(accepted, await invoke.invoke(accepted));
    expect(returned(await sqs.invoke({ Records: [record(done)] }))).toEqual([]);
    expect(written("content")).toHaveLength(1);
    content = "451 4.3.0 later";
    const deferred = fresh();
    const waiting = record(invocation(deferred, await invoke.invoke(deferred)));
    const connections = smtp.connections();
    expect(returned(await sqs.invoke({ Records: [waiting] }))).toEqual([waiting.messageId]);
    expect(smtp.connections()).toBe(connections);
    content = "250 ok";
    const second = { ...waiting.attributes, ApproximateReceiveCount: "2" };
    const answer = await sqs.invoke({ Records: [{ ...waiting, attributes: second }] });
    expect(returned(answer)).toEqual([]);
    expect(written("content")).toHaveLength(3);
    await invoke.stop();
  });

  it("what was rejected is laid aside; what crashed is sent", async () => {
    rcpt = () => "550 5.1.1 no";
    const invoke = await startFunction("invoke", environment);
    const bad = fresh();
    await sqs.invoke({ Records: [record(invocation(bad, await invoke.invoke(bad)))] });
    expect(failed()).toMatchObject([{ request: bad, result: { outcome: "rejected" } }]);
    rcpt = () => "250 ok";
    const { idempotencyKey: _, ...crashed } = fresh();
    const record1 = invocation(crashed, { errorType: "Runtime.ExitError", errorMessage: "died" });
    expect(returned(await sqs.invoke({ Records: [record(record1)] }))).toEqual([]);
    expect(written("content")).toHaveLength(1);
    await invoke.stop();
  });
});
