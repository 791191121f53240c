/**
 * The built functions in the hands of AWS's own runtime interface client, as they run inside Lambda:
 * loaded as `<name>.handler`, fed over the Runtime API, one event after another on a warm instance,
 * with the client's own context and Lambda's limits.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CreateBucketCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startWholeStack, type WholeStack } from "../../infra/local/stack.ts";
import { type Answer, type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";
import { type RicFunction, type RicOptions, ricAvailable, startRic } from "./ric.ts";
import { MOST_RESPONSE_BYTES } from "./runtime-api.ts";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
const MAIL_BUCKET = "posthaste-dev-mail";
const MESSAGE = { to: "a@example.com", subject: "by the runtime", text: "hello" };
const STATUS_OK = { statusCode: 200 };

/** What each function is asked, and what it answers; of a sample event file, or an event as it is. */
const ASKED: Readonly<Record<string, readonly (readonly [string | object, unknown, number])[]>> = {
  invoke: [["invoke", { outcome: "accepted" }, 1]],
  api: [
    ["api-http", STATUS_OK, 1],
    ["api-rest", STATUS_OK, 1],
    ["api-url", STATUS_OK, 1],
  ],
  check: [[{}, { ok: true, login: "accepted" }, 0]],
  sqs: [
    ["sqs", { batchItemFailures: [] }, 2],
    ["sqs-fifo", { batchItemFailures: [] }, 2],
    ["sqs-enveloped", { batchItemFailures: [] }, 3],
  ],
  sns: [["sns", null, 1]],
  eventbridge: [
    ["eventbridge", null, 1],
    ["scheduler", null, 1],
  ],
  s3: [
    ["s3", null, 1],
    ["s3-eml", null, 1],
  ],
};
/** All that is deployed: a function that comes to be is loaded here, too. */
const HANDLERS = readdirSync(DIST)
  .filter((file) => file.endsWith(".mjs"))
  .map((file) => file.replace(/\.mjs$/, ""));

const eventOf = (sample: string | object): unknown =>
  typeof sample === "object"
    ? sample
    : JSON.parse(
        readFileSync(new URL(`../../infra/local/events/${sample}.json`, import.meta.url), "utf8"),
      );

describe.skipIf(!ricAvailable())("under Lambda's runtime interface client", () => {
  let stack: WholeStack;
  let smtp: FakeSmtp;
  let content: Answer;
  let rcpt: Answer;
  const running: RicFunction[] = [];
  const start = async (options: Partial<RicOptions> & { name: string }): Promise<RicFunction> => {
    const started = await startRic({ environment: stack.environment, ...options });
    running.push(started);
    return started;
  };
  /** A mailbox at the server that says what it is told to. */
  const scripted = () => ({ ...stack.environment, MAILBOX_SECRET_ID: "scripted" });

  beforeAll(async () => {
    stack = await startWholeStack();
    smtp = await startFakeSmtp({ on: { content: () => content, RCPT: () => rcpt } });
    const from = "shop@example.com";
    const mailbox = { host: "127.0.0.1", port: smtp.port, security: "none", from };
    stack.secrets.put("scripted", JSON.stringify({ ...mailbox, maxRecipients: 100_000 }));
    const s3 = new S3Client({
      endpoint: stack.queues.endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: { accessKeyId: "local", secretAccessKey: "local" },
    });
    await s3.send(new CreateBucketCommand({ Bucket: MAIL_BUCKET }));
    const letter = `From: ${from}\nTo: a@example.com\nSubject: by a letter\n\nhello\n`;
    const objects = {
      "outbox/订单 1234.json": JSON.stringify(MESSAGE),
      "outbox/letter.eml": letter,
    };
    for (const [Key, Body] of Object.entries(objects)) {
      await s3.send(new PutObjectCommand({ Bucket: MAIL_BUCKET, Key, Body }));
    }
    s3.destroy();
  });
  beforeEach(() => {
    content = "250 2.0.0 Ok: queued as Q1";
    rcpt = "250 2.1.5 ok";
    stack.mail.inbox.clear();
  });
  afterAll(async () => {
    await Promise.all(running.map((one) => one.stop()));
    await Promise.all([stack?.close(), smtp?.close()]);
  });

  it.each(HANDLERS)("%s: a cold start, and further events on the warm instance", async (name) => {
    const instance = await start({ name });
    await Promise.race([
      instance.initMs,
      instance.initError.then((fault) => expect.fail(JSON.stringify(fault))),
    ]);
    if (ASKED[name] === undefined) {
      // Whatever it asks for first: it is the function that answers, and not the runtime for it.
      const { error } = await instance.invoke({});
      expect(error?.errorType ?? "").not.toMatch(/^(Runtime|Sandbox|Function)\./);
    }
    for (const [sample, answer, mails] of ASKED[name] ?? []) {
      const before = stack.mail.inbox.messages.length;
      const { response, error } = await instance.invoke(eventOf(sample));
      expect(error).toBeUndefined();
      if (answer === null) expect(response).toBeNull();
      else expect(response).toMatchObject(answer as object);
      expect(stack.mail.inbox.messages.length - before).toBe(mails);
      // At least once: the ledger has it, and the warm instance still answers.
      if (sample === "scheduler") continue;
      const again = await instance.invoke(eventOf(sample));
      expect(again.error).toBeUndefined();
      expect(stack.mail.inbox.messages.length - before).toBe(mails);
    }
    const { code } = await Promise.race([instance.ended, { code: "alive" }]);
    expect(code).toBe("alive");
  });

  it("the id of the invocation is the message's key where it brings none", async () => {
    const instance = await start({ name: "invoke" });
    const { response } = await instance.invoke(MESSAGE, { requestId: "invocation-1" });
    expect(response).toMatchObject({ id: "invocation-1", outcome: "accepted" });
    // Lambda's own repetition of an asynchronous invocation has the same id.
    const { response: repeated } = await instance.invoke(MESSAGE, { requestId: "invocation-1" });
    expect(repeated).toEqual(response);
    expect(stack.mail.inbox.messages).toHaveLength(1);
  });

  it("answers before a deadline that is near, and goes on", async () => {
    const instance = await start({ name: "invoke", environment: scripted() });
    expect((await instance.invoke(MESSAGE)).response).toMatchObject({ outcome: "accepted" });
    content = "hang";
    const { response, error } = await instance.invoke(MESSAGE, { timeLeft: 3_000 });
    expect(error).toBeUndefined();
    expect(response).toMatchObject({ outcome: "uncertain", error: { phase: "content" } });
    content = "250 2.0.0 Ok: queued as Q2";
    expect((await instance.invoke(MESSAGE)).response).toMatchObject({ outcome: "accepted" });
  });

  it.each([
    ["invoke", MESSAGE, { response: { outcome: "deferred", error: { code: "config_invalid" } } }],
    ["api", eventOf("api-http") as object, { response: { statusCode: 502 } }],
    ["check", {}, { response: { ok: false, error: { code: "config_invalid" } } }],
    ["sqs", eventOf("sqs") as object, { response: { batchItemFailures: [{}, {}] } }],
    ["sns", eventOf("sns") as object, { error: { errorType: "ConfigError" } }],
    ["eventbridge", eventOf("eventbridge") as object, { error: { errorType: "ConfigError" } }],
    ["s3", eventOf("s3") as object, { error: { errorType: "ConfigError" } }],
  ])("%s: a bad environment is told by name, without its value", async (name, event, expected) => {
    const environment = { ...stack.environment, LOG_LEVEL: "p@ssword", QUEUE_URL: "s3cret" };
    const instance = await start({ name, environment });
    const completed = await instance.invoke(event);
    expect(completed).toMatchObject(expected);
    const shown = JSON.stringify(completed) + instance.log();
    for (const variable of ["LOG_LEVEL", "QUEUE_URL"]) expect(shown).toContain(variable);
    expect(shown).not.toMatch(/p@ssword|s3cret/);
  });

  it("a module that cannot be loaded is an init error, as Lambda words it", async () => {
    const taskRoot = mkdtempSync(join(tmpdir(), "posthaste-ric-"));
    try {
      // The entry without its chunks: what a wrong packaging pattern would deploy.
      cpSync(join(DIST, "invoke.mjs"), join(taskRoot, "invoke.mjs"));
      const instance = await start({ name: "invoke", taskRoot });
      const fault = await instance.initError;
      expect(fault.errorMessage).toContain("Cannot find module");
      expect((await instance.ended).code).not.toBe(0);
    } finally {
      rmSync(taskRoot, { recursive: true, force: true });
    }
  });

  it("a result of thousands of recipients fits into Lambda's answer, and into the ledger", async () => {
    const instance = await start({ name: "invoke", environment: scripted() });
    rcpt = `250 2.1.5 ${"x".repeat(480)}`;
    const to = Array.from({ length: 8_000 }, (_, i) => `${i}-${"y".repeat(50)}@example.com`);
    const request = { ...MESSAGE, to, idempotencyKey: "to-thousands" };
    const { error, response } = await instance.invoke(request);
    expect(error).toBeUndefined();
    expect(response).toMatchObject({ outcome: "accepted" });
    expect((response as { recipients: unknown[] }).recipients).toHaveLength(8_000);
    const before = smtp.seen.filter((line) => line === "content").length;
    expect(before).toBeGreaterThan(0);
    const other = await start({ name: "invoke", environment: scripted() });
    expect((await other.invoke(request)).response).toEqual(response);
    expect(smtp.seen.filter((line) => line === "content")).toHaveLength(before);
  });

  it("an answer larger than Lambda's is refused", async () => {
    const taskRoot = mkdtempSync(join(tmpdir(), "posthaste-ric-"));
    try {
      const source = 'export const handler = async () => "x".repeat(7_000_000);';
      writeFileSync(join(taskRoot, "large.mjs"), source);
      const { error } = await (await start({ name: "large", taskRoot })).invoke({});
      expect(error?.errorType).toBe("Function.ResponseSizeTooLarge");
      expect(error?.errorMessage).toContain(String(MOST_RESPONSE_BYTES));
    } finally {
      rmSync(taskRoot, { recursive: true, force: true });
    }
  });
});
