/**
 * The ways in, on the built bundles: each sample event, as AWS's own schemas know it, becomes a
 * message; and whatever else an event may hold is judged record by record.
 */
import { readFileSync } from "node:fs";
import {
  APIGatewayProxyEventSchema,
  APIGatewayProxyEventV2Schema,
  EventBridgeSchema,
  LambdaFunctionUrlSchema,
  S3Schema,
  SnsSchema,
  SnsSqsNotificationSchema,
  SqsSchema,
} from "@aws-lambda-powertools/parser/schemas";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { DeliveredMessage } from "../../infra/local/inbox.ts";
import { type MailServer, startMailServer, type Verdict } from "../../infra/local/mailserver.ts";
import { type LocalQueues, startQueues } from "../../infra/local/queue.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { type Dynamo, startDynamo } from "../support/dynamo.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";

const BUCKET = "posthaste-dev-mail";
const SENDER = "shop@example.com";

let dynamo: Dynamo;
let secrets: Secrets;
let mail: MailServer;
let queues: LocalQueues;
let bucket: S3Client;
let environment: Record<string, string>;
/** What the server says to a recipient; undefined: it takes them. */
let verdict: Verdict | undefined;
/** Whom it refuses for good. */
let refuse: string | undefined;
const REFUSED: Verdict = { code: 550, text: "5.1.1 no such user" };
const running = new Map<string, Promise<LambdaFunction>>();

beforeAll(async () => {
  [dynamo, queues] = await Promise.all([
    startDynamo(),
    startQueues({ buckets: [BUCKET, "payloads"] }),
  ]);
  mail = await startMailServer({
    users: { [SENDER]: "secret" },
    judge: { recipient: (address) => (address === refuse ? REFUSED : verdict) },
  });
  const mailbox = mail.mailbox(SENDER, "secret");
  secrets = await startSecrets({ box: JSON.stringify(mailbox) });
  environment = {
    MAILBOX_SECRET_ID: "box",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    AWS_ENDPOINT_URL_DYNAMODB: dynamo.url,
    AWS_ENDPOINT_URL_SQS: queues.endpoint,
    AWS_ENDPOINT_URL_S3: queues.endpoint,
    LEDGER_TABLE: dynamo.table,
    QUEUE_URL: queues.url("requests"),
    FAILED_QUEUE_URL: queues.url("failed"),
    PAYLOAD_BUCKET: "payloads",
  };
  bucket = new S3Client({
    endpoint: queues.endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "local", secretAccessKey: "local" },
  });
});
beforeEach(() => {
  queues.clear();
  verdict = undefined;
  mail.inbox.clear();
});
afterAll(async () => {
  const all = await Promise.all(running.values());
  await Promise.all(all.map((one) => one.stop()));
  bucket.destroy();
  await Promise.all([mail.close(), secrets.close(), dynamo.close(), queues.close()]);
});

/** One instance for each function and environment. */
function start(name: string, without: readonly string[] = []): Promise<LambdaFunction> {
  const key = [name, ...without].join();
  const entries = Object.entries(environment).filter(([variable]) => !without.includes(variable));
  const started = running.get(key) ?? startFunction(name, Object.fromEntries(entries));
  running.set(key, started);
  return started;
}

const sample = (name: string) =>
  JSON.parse(
    readFileSync(new URL(`../../infra/local/events/${name}.json`, import.meta.url), "utf8"),
  );
const put = (key: string, body: string) =>
  bucket.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: body }));
const subjects = () => mail.inbox.messages.map(({ raw }) => header(raw, "Subject")).sort();
const header = (raw: Buffer, name: string) =>
  new RegExp(`^${name}: (.*)$`, "m").exec(raw.toString())?.[1]?.trim();
const failed = () => queues.messages("failed").map(({ body }) => JSON.parse(body));
const waiting = () => queues.messages("requests").map(({ body }) => JSON.parse(body));

let count = 0;
const fresh = (more: Record<string, unknown> = {}) => {
  count += 1;
  return { to: "a@example.com", subject: `fresh ${count}`, text: "hello", ...more };
};
const notification = (message: unknown, id = `sns-${count}`) => ({
  Records: [
    {
      ...sample("sns").Records[0],
      Sns: {
        ...sample("sns").Records[0].Sns,
        MessageId: id,
        Message: typeof message === "string" ? message : JSON.stringify(message),
      },
    },
  ],
});
const created = (key: string, sequencer = `s-${count}`) => {
  const [record] = sample("s3").Records;
  const object = { ...record.s3.object, key: encodeURIComponent(key), sequencer };
  return { Records: [{ ...record, s3: { ...record.s3, object } }] };
};
/** The ways to every field of an event, those within a body's JSON included. */
function waysIn(value: unknown): string[][] {
  if (typeof value === "string" && /^[[{]/.test(value)) {
    return waysIn(JSON.parse(value)).map((way) => ["", ...way]);
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [
    [key],
    ...waysIn(inner).map((way) => [key, ...way]),
  ]);
}
/** The event with one field replaced; an empty step goes into a text's JSON. */
// biome-ignore lint/suspicious/noExplicitAny: an event is any JSON
function replaced(value: any, [step = "", ...further]: readonly string[], by: unknown): any {
  if (typeof value === "string") return JSON.stringify(replaced(JSON.parse(value), further, by));
  const inner = further.length === 0 ? by : replaced(value[step], further, by);
  return Array.isArray(value)
    ? value.map((one, index) => (String(index) === step ? inner : one))
    : { ...value, [step]: inner };
}
const LETTER = [
  "From: Shop <shop@example.com>",
  "To: a@example.com,",
  " b@example.com",
  "Bcc: hidden@example.com,",
  "\thidden2@example.com",
  "Cc: c@example.com",
  "Subject: By a bucket, whole",
  "",
  "Bcc: this is the body",
  "",
].join("\n");

describe("each sample event", () => {
  const SCHEMAS = [
    ["api-http", APIGatewayProxyEventV2Schema],
    ["api-rest", APIGatewayProxyEventSchema],
    ["api-url", LambdaFunctionUrlSchema],
    ["sqs", SqsSchema],
    ["sqs-fifo", SqsSchema],
    ["sqs-enveloped", SqsSchema],
    ["sns", SnsSchema],
    ["eventbridge", EventBridgeSchema],
    ["s3", S3Schema],
    ["s3-eml", S3Schema],
  ] as const;

  it.each(SCHEMAS)("%s is what AWS sends", (name, schema) => {
    expect(schema.safeParse(sample(name)).error).toBeUndefined();
  });

  it("envelopes in the queue's are what AWS sends, too", () => {
    const [first, second] = sample("sqs-enveloped").Records;
    expect(SnsSqsNotificationSchema.safeParse(JSON.parse(first.body)).error).toBeUndefined();
    expect(EventBridgeSchema.safeParse(JSON.parse(second.body)).error).toBeUndefined();
  });

  it.each([
    ["api", "api-http", ["By the HTTP API"]],
    ["api", "api-rest", ["By the REST API"]],
    ["api", "api-url", ["By the function's URL"]],
    ["sqs", "sqs", ["By the queue, first", "By the queue, second"]],
    ["sqs", "sqs-fifo", ["In order, first", "In order, second"]],
    [
      "sqs",
      "sqs-enveloped",
      ["An invocation that died", "By a topic and the queue", "By an event and the queue"],
    ],
    ["sns", "sns", ["By a topic"]],
    ["eventbridge", "eventbridge", ["By an event"]],
    ["eventbridge", "scheduler", ["By a schedule"]],
    ["s3", "s3", ["By a bucket"]],
    ["s3", "s3-eml", ["By a bucket, whole"]],
  ] as const)("%s takes %s, and a second delivery sends nothing", async (name, file, expected) => {
    await put("outbox/订单 1234.json", JSON.stringify(fresh({ subject: "By a bucket" })));
    await put("outbox/letter.eml", LETTER);
    const { invoke } = await start(name);
    await invoke(sample(file));
    expect(subjects()).toEqual(expected);
    // A schedule has no id of its own: its key is the invocation's, which only Lambda repeats.
    if (file !== "scheduler") await invoke(sample(file));
    expect(subjects()).toEqual(expected);
    expect([...failed(), ...waiting()]).toEqual([]);
  });
});

describe("a message of an event", () => {
  it("says that a program made it, and bears the event's date", async () => {
    const { invoke } = await start("sns");
    await invoke(notification(fresh()));
    const [{ raw }] = mail.inbox.messages as readonly [DeliveredMessage];
    expect(header(raw, "Auto-Submitted")).toBe("auto-generated");
    expect(header(raw, "Date")).toBe("Fri, 02 Jan 2026 03:04:05 +0000");
  });

  it("from an .eml goes to its To and Cc, and nobody sees its Bcc", async () => {
    await put("letter.eml", LETTER);
    const { invoke } = await start("s3");
    await invoke(created("letter.eml"));
    const [{ raw, to }] = mail.inbox.messages as readonly [DeliveredMessage];
    expect([...to].sort()).toEqual(["a@example.com", "b@example.com", "c@example.com"]);
    expect(raw.toString()).not.toContain("hidden");
    expect(raw.toString()).toContain("Bcc: this is the body");
  });
});

describe("what is deferred", () => {
  const later = { code: 450, text: "4.2.0 later" };

  it.each(["sns", "eventbridge", "s3"])("%s puts it on the queue, with its key", async (name) => {
    verdict = later;
    const request = fresh();
    await put("later.json", JSON.stringify(request));
    const events: Record<string, unknown> = {
      sns: notification(request, "sns-later"),
      eventbridge: { ...sample("eventbridge"), id: "eventbridge-later", detail: request },
      s3: created("later.json", "s3-later"),
    };
    const { invoke } = await start(name);
    await invoke(events[name]);
    const key = { s3: `${BUCKET}/later.json##s3-later` }[name] ?? `${name}-later`;
    expect(waiting()).toEqual([{ ...request, idempotencyKey: key }]);
    expect(queues.messages("requests")[0]?.waits).toBeGreaterThan(50);
    // The queue's function goes on with the same message.
    verdict = undefined;
    const [record] = sample("sqs").Records;
    const sqs = await start("sqs");
    await sqs.invoke({ Records: [{ ...record, body: JSON.stringify(waiting()[0]) }] });
    expect(subjects()).toEqual([request.subject]);
    await invoke(events[name]);
    expect(subjects()).toEqual([request.subject]);
  });

  it.each(["sns", "eventbridge", "s3"])("%s throws where there is no queue", async (name) => {
    verdict = later;
    const request = fresh();
    await put("later.json", JSON.stringify(request));
    const events: Record<string, unknown> = {
      sns: notification(request),
      eventbridge: { ...sample("eventbridge"), id: `eventbridge-${count}`, detail: request },
      s3: created("later.json"),
    };
    const { invoke } = await start(name, ["QUEUE_URL"]);
    await expect(invoke(events[name])).rejects.toThrow(/Neither sent nor on a queue/);
    verdict = undefined;
    await invoke(events[name]);
    expect(subjects()).toEqual([request.subject]);
  });

  it("without queue and ledger nothing is thrown once somebody has the message", async () => {
    const { invoke } = await start("sns", ["QUEUE_URL", "LEDGER_TABLE"]);
    const [good] = notification(fresh(), "good").Records;
    const [bad] = notification("{}", "bad").Records;
    const [slow] = notification(fresh({ to: [] }), "slow").Records;
    await invoke({ Records: [good, bad, slow] });
    expect(mail.inbox.messages).toHaveLength(1);
    expect(failed()).toHaveLength(2);
  });
});

describe("what fails, where the failed queue refuses it", () => {
  it.each(["sns", "eventbridge", "s3"])(
    "%s is not acknowledged, and is sent no second time",
    async (name) => {
      const to = ["a@example.com", "bad@example.com"];
      const request = fresh({ to });
      verdict = undefined;
      const gone = { ...environment, FAILED_QUEUE_URL: queues.url("nowhere") };
      const broken = await startFunction(name, gone);
      await put("rejected.json", JSON.stringify(request));
      const events: Record<string, unknown> = {
        sns: notification(request),
        eventbridge: { ...sample("eventbridge"), id: `refused-${count}`, detail: request },
        s3: created("rejected.json"),
      };
      refuse = "bad@example.com";
      for (let tries = 0; tries < 2; tries += 1) {
        await expect(broken.invoke(events[name])).rejects.toThrow(/Neither sent nor on a queue/);
      }
      expect(subjects()).toEqual([request.subject]);
      refuse = undefined;
      await broken.stop();
      // Lambda's next try, once the queue is there again.
      const { invoke } = await start(name);
      await invoke(events[name]);
      expect(failed()).toMatchObject([{ result: { outcome: "partial" } }]);
      expect(subjects()).toEqual([request.subject]);
    },
  );
});

describe("an object", () => {
  it("that is gone, or of another kind, is laid aside", async () => {
    const { invoke } = await start("s3");
    await invoke(created("nowhere.json"));
    await put("picture.png", "PNG");
    await invoke(created("picture.png"));
    expect(failed().map(({ result }) => result.error.code)).toEqual([
      "object_missing",
      "invalid_request",
    ]);
  });

  it("that was removed is nothing to send", async () => {
    const { invoke } = await start("s3");
    const [record] = created("gone.json").Records;
    await invoke({ Records: [{ ...record, eventName: "ObjectRemoved:Delete" }] });
    expect(failed()).toEqual([]);
  });
});

describe("whatever an event holds", () => {
  const junk = fc.oneof(fc.jsonValue(), fc.string(), fc.constantFrom("{", "[]", "null", '""'));
  const body = fc.oneof(
    junk.map((value) => (typeof value === "string" ? value : JSON.stringify(value))),
    fc.record({ to: junk, subject: junk }).map((value) => JSON.stringify(value)),
    fc
      .record({ Type: fc.constant("Notification"), TopicArn: junk, Message: junk, MessageId: junk })
      .map((value) => JSON.stringify(value)),
    fc
      .record({ "detail-type": fc.string(), detail: junk, id: junk, time: junk })
      .map((value) => JSON.stringify(value)),
    fc
      .record({ requestContext: fc.record({ condition: junk }), requestPayload: junk })
      .map((value) => JSON.stringify(value)),
    fc
      .record({ posthaste: fc.constantFrom("failed", "payload"), key: junk, result: junk })
      .map((value) => JSON.stringify(value)),
  );

  it.each(["sqs", "sns", "eventbridge", "s3"])(
    "%s: a field that cannot be made text of, wherever it stands, throws nothing",
    async (name) => {
      const { invoke } = await start(name);
      const no = { toString: 1, valueOf: 1, toJSON: 1 };
      for (const way of waysIn(sample(name))) {
        const answer = await invoke(replaced(sample(name), way, no));
        if (name === "sqs") expect([way, answer]).toEqual([way, { batchItemFailures: [] }]);
      }
    },
  );

  it("SQS: malformed records are laid aside alone; the good one among them is sent once", async () => {
    const { invoke } = await start("sqs");
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(body, { maxLength: 5 }), junk, async (bodies, attributes) => {
        run += 1;
        queues.clear();
        mail.inbox.clear();
        const [base] = sample("sqs").Records;
        const records = bodies.map((text, index) => ({
          ...base,
          messageId: `fuzz-${run}-${index}`,
          body: text,
          ...(index % 2 === 0 && { attributes, messageAttributes: attributes }),
        }));
        const good = { ...base, messageId: `good-${run}`, body: JSON.stringify(fresh()) };
        const answer = await invoke({ Records: [...records, good] });
        expect(answer).toEqual({ batchItemFailures: [] });
        expect(mail.inbox.messages).toHaveLength(1);
        expect(failed()).toHaveLength(bodies.length);
      }),
      { numRuns: 60 },
    );
  });

  it.each(["sqs", "sns", "eventbridge", "s3"])("%s: no event at all throws", async (name) => {
    const { invoke } = await start(name);
    const hurt = fc.oneof(
      junk,
      fc.record({ Records: fc.oneof(junk, fc.array(junk, { maxLength: 3 })) }),
      fc.record({ Records: fc.tuple(fc.record({ Sns: junk, s3: junk, body: junk })) }),
      fc.record({ "detail-type": fc.string(), detail: junk, id: junk, time: junk }),
    );
    await fc.assert(
      fc.asyncProperty(hurt, async (event) => {
        const answer = await invoke(event);
        if (name === "sqs") expect(answer).toEqual({ batchItemFailures: [] });
      }),
      { numRuns: 60 },
    );
    expect(mail.inbox.messages).toEqual([]);
  });
});
