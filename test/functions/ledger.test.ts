/** What is promised across invocations, on the built bundle with the ledger in a real table. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { type Dynamo, startDynamo } from "../support/dynamo.ts";
import { type Answer, type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";

const MESSAGE = { to: "a@example.com", subject: "once", text: "hello" };

let dynamo: Dynamo;
let secrets: Secrets;
let smtp: FakeSmtp;
let invoke: LambdaFunction;
let api: LambdaFunction;
let environment: Record<string, string>;
let content: Answer;
let data: () => Answer | Promise<Answer>;
let rcpt: (line: string) => Answer;

beforeAll(async () => {
  dynamo = await startDynamo();
  smtp = await startFakeSmtp({
    on: { content: () => content, DATA: () => data(), RCPT: (line) => rcpt(line) },
  });
  secrets = await startSecrets({
    box: JSON.stringify({
      host: "127.0.0.1",
      port: smtp.port,
      security: "none",
      from: "shop@example.com",
    }),
  });
  environment = {
    MAILBOX_SECRET_ID: "box",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    AWS_ENDPOINT_URL_DYNAMODB: dynamo.url,
    LEDGER_TABLE: dynamo.table,
  };
  [invoke, api] = await Promise.all([
    startFunction("invoke", environment),
    startFunction("api", environment),
  ]);
});
beforeEach(() => {
  content = "250 2.0.0 Ok: queued as Q1";
  data = () => "354 go on";
  rcpt = () => "250 ok";
  smtp.seen.length = 0;
});
afterAll(async () => {
  await Promise.all([invoke.stop(), api.stop()]);
  await Promise.all([smtp.close(), secrets.close(), dynamo.close()]);
});

const sent = () => smtp.seen.filter((line) => line === "content").length;
const written = (start: string) => smtp.seen.filter((line) => line.startsWith(start));
let count = 0;
const key = () => {
  count += 1;
  return `key-${count}`;
};

function http(method: string, path: string, body?: unknown, query?: Record<string, string>) {
  return api.invoke({
    version: "2.0",
    rawPath: path,
    headers: {},
    requestContext: { http: { method } },
    ...(query && { queryStringParameters: query }),
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

describe("the same key", () => {
  it("and the same body: the first result, and nothing is sent", async () => {
    const request = { ...MESSAGE, idempotencyKey: key() };
    const first = await invoke.invoke(request);
    const second = await invoke.invoke(Object.fromEntries(Object.entries(request).reverse()));
    expect(second).toEqual(first);
    expect(sent()).toBe(1);
  });

  it("and another body: 422, and nothing is sent", async () => {
    const idempotencyKey = key();
    await invoke.invoke({ ...MESSAGE, idempotencyKey });
    const answer = await http("POST", "/messages", { ...MESSAGE, text: "other", idempotencyKey });
    expect(answer.statusCode).toBe(422);
    expect(JSON.parse(answer.body).code).toBe("key_reused");
    expect(sent()).toBe(1);
  });

  it("at the same time: one sends, the other is told 409", async () => {
    const request = { ...MESSAGE, idempotencyKey: key() };
    const answers = await Promise.all([
      http("POST", "/messages", request),
      http("POST", "/messages", request),
    ]);
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([200, 409]);
    expect(sent()).toBe(1);
  });

  it("in another mailbox is another message", async () => {
    const request = { ...MESSAGE, idempotencyKey: key() };
    await invoke.invoke(request);
    const other = await invoke.invoke({ ...request, mailbox: "billing" });
    expect(other.error.code).toBe("mailbox_refused");
  });
});

describe("what is deferred", () => {
  it("may be sent again, with the same Message-ID and Date", async () => {
    const request = { ...MESSAGE, idempotencyKey: key() };
    content = "451 4.3.0 later";
    const first = await invoke.invoke(request);
    content = "250 ok";
    const second = await invoke.invoke(request);
    expect([first.outcome, second.outcome]).toEqual(["deferred", "accepted"]);
    expect(second.messageId).toBe(first.messageId);
  });

  it("is sent again to the deferred recipients only", async () => {
    const to = ["a@example.com", "slow@example.com", "bad@example.com"];
    const request = { ...MESSAGE, to, idempotencyKey: key() };
    rcpt = (line) =>
      line.includes("slow") ? "450 4.2.0 later" : line.includes("bad") ? "550 5.1.1 no" : "250 ok";
    const first = await invoke.invoke(request);
    expect(first).toMatchObject({ outcome: "partial", retryable: true });
    smtp.seen.length = 0;
    rcpt = () => "250 ok";
    const second = await invoke.invoke(request);
    expect(written("RCPT")).toEqual(["RCPT TO:<slow@example.com>"]);
    expect(second.outcome).toBe("partial");
    expect(second.recipients.map(({ outcome }: { outcome: string }) => outcome)).toEqual([
      "accepted",
      "accepted",
      "rejected",
    ]);
    smtp.seen.length = 0;
    expect((await invoke.invoke(request)).recipients).toEqual(second.recipients);
    expect(smtp.seen).toEqual([]);
  });
});

describe("who has the message already", () => {
  const to = ["a@example.com", "slow@example.com"];
  const slowly = (line: string) => (line.includes("slow") ? "450 4.2.0 later" : "250 ok");

  it("is not forgotten by a try that comes to no session", async () => {
    const request = { ...MESSAGE, to, idempotencyKey: key() };
    rcpt = slowly;
    expect(await invoke.invoke(request)).toMatchObject({ outcome: "partial", retryable: true });
    smtp.seen.length = 0;
    rcpt = () => "250 ok";
    secrets.fail({ status: 400, type: "AccessDeniedException" });
    const cold = await startFunction("invoke", environment);
    try {
      const second = await cold.invoke(request);
      expect(second).toMatchObject({ outcome: "partial", error: { code: "mailbox_unavailable" } });
      expect(second.recipients).toEqual([
        { address: "a@example.com", outcome: "accepted", reply: expect.anything() },
        { address: "slow@example.com", outcome: "deferred", reply: null },
      ]);
    } finally {
      secrets.fail(undefined);
      await cold.stop();
    }
    expect(await invoke.invoke(request)).toMatchObject({ outcome: "accepted" });
    expect(written("RCPT")).toEqual(["RCPT TO:<slow@example.com>"]);
  });

  it("is not forgotten by a policy that has changed meanwhile", async () => {
    const request = { ...MESSAGE, to, idempotencyKey: key() };
    rcpt = slowly;
    await invoke.invoke(request);
    const stricter = await startFunction("invoke", {
      ...environment,
      ALLOWED_RECIPIENTS: "@example.net",
    });
    try {
      const second = await stricter.invoke(request);
      expect(second).toMatchObject({ outcome: "partial", retryable: false });
      expect(second.recipients).toMatchObject([{ outcome: "accepted" }, { outcome: "rejected" }]);
    } finally {
      await stricter.stop();
    }
  });
});

describe("what is uncertain", () => {
  it("is never sent again by itself, but by a person", async () => {
    const request = { ...MESSAGE, idempotencyKey: key() };
    content = "close";
    expect((await invoke.invoke(request)).outcome).toBe("uncertain");
    content = "250 ok";
    expect((await invoke.invoke(request)).outcome).toBe("uncertain");
    expect(sent()).toBe(1);
    const path = `/messages/${request.idempotencyKey}`;
    const changed = await http("POST", `${path}/resend`, { ...MESSAGE, subject: "other" });
    expect(changed.statusCode).toBe(422);
    const again = await http("POST", `${path}/resend`, MESSAGE);
    expect(again.statusCode).toBe(200);
    expect(sent()).toBe(2);
    await http("POST", `${path}/resend`, MESSAGE);
    expect(sent()).toBe(2);
  });

  it("what nobody ever sent is not sent by a resend: a mistyped id, another mailbox", async () => {
    expect((await http("POST", "/messages/mistyped/resend", MESSAGE)).statusCode).toBe(404);
    const request = { ...MESSAGE, idempotencyKey: key() };
    content = "close";
    await invoke.invoke(request);
    const path = `/messages/${request.idempotencyKey}/resend`;
    const elsewhere = await http("POST", path, { ...MESSAGE, mailbox: "billing" });
    expect(elsewhere.statusCode).toBe(404);
    expect(sent()).toBe(1);
  });

  it("an invocation that dies after the terminator leaves the message uncertain", async () => {
    content = "hang";
    const request = { ...MESSAGE, idempotencyKey: key() };
    const dying = await startFunction("invoke", {
      MAILBOX_SECRET_ID: "box",
      AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
      AWS_ENDPOINT_URL_DYNAMODB: dynamo.url,
      LEDGER_TABLE: dynamo.table,
    });
    dying.invoke(request).catch(() => {});
    while (sent() === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await dying.stop();
    content = "250 ok";
    const during = await http("POST", "/messages", request);
    expect(during.statusCode).toBe(409);
    expect(sent()).toBe(1);
    const state = await http("GET", `/messages/${request.idempotencyKey}`);
    expect(JSON.parse(state.body).state).toBe("sending");
    await dynamo.expireLease(request.idempotencyKey);
    const later = await http("GET", `/messages/${request.idempotencyKey}`);
    expect(JSON.parse(later.body)).toMatchObject({
      state: "settled",
      result: { outcome: "uncertain", error: { code: "invocation_lost" } },
    });
    expect((await invoke.invoke(request)).outcome).toBe("uncertain");
    expect(sent()).toBe(1);
  });

  it("an invocation that dies before the terminator leaves the message to be tried again", async () => {
    rcpt = () => "hang";
    const request = { ...MESSAGE, idempotencyKey: key() };
    const dying = await startFunction("invoke", environment);
    dying.invoke(request).catch(() => {});
    while (written("RCPT").length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await dying.kill();
    rcpt = () => "250 ok";
    await dynamo.expireLease(request.idempotencyKey);
    const state = await http("GET", `/messages/${request.idempotencyKey}`);
    expect(JSON.parse(state.body)).toMatchObject({ state: "deferred", result: null });
    expect((await invoke.invoke(request)).outcome).toBe("accepted");
    expect(sent()).toBe(1);
  });
});

describe("two live owners of one key", () => {
  it("the one whose claim was taken over writes no content", async () => {
    const request = { ...MESSAGE, idempotencyKey: key() };
    let goOn: (answer: Answer) => void = () => {};
    let asked = 0;
    data = () => {
      asked += 1;
      if (asked > 1) return "354 go on";
      return new Promise<Answer>((resolve) => {
        goOn = resolve;
      });
    };
    const slow = invoke.invoke(request);
    while (asked === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    // It is alive, but has outlived its lease: another instance takes over, and sends.
    await dynamo.expireLease(request.idempotencyKey);
    const other = await http("POST", "/messages", request);
    expect(other.statusCode).toBe(200);
    expect(sent()).toBe(1);
    goOn("354 go on");
    const late = await slow;
    expect(late).toMatchObject({ outcome: "deferred", error: { code: "commit_failed" } });
    expect(sent()).toBe(1);
    // Nor has it overwritten what the other recorded.
    expect(await invoke.invoke(request)).toEqual(JSON.parse(other.body));
    expect(sent()).toBe(1);
  });

  it("many at once: one sends", async () => {
    const request = { ...MESSAGE, idempotencyKey: key() };
    const others = await Promise.all([1, 2, 3].map(() => startFunction("invoke", environment)));
    const all = [invoke, ...others].flatMap((one) => [one.invoke(request), one.invoke(request)]);
    const results = await Promise.all(all);
    expect(sent()).toBe(1);
    for (const result of results) {
      if (result.outcome !== "accepted") expect(result.error.code).toBe("in_progress");
    }
    await Promise.all(others.map((one) => one.stop()));
  });
});

describe("a record that has expired", () => {
  it("counts for nothing, though DynamoDB has not deleted it yet", async () => {
    const request = { ...MESSAGE, idempotencyKey: key() };
    await invoke.invoke(request);
    const path = `/messages/${request.idempotencyKey}`;
    expect((await http("GET", path)).statusCode).toBe(200);
    await dynamo.expireRecord(request.idempotencyKey);
    expect((await http("GET", path)).statusCode).toBe(404);
    // Even another body: the key is free again.
    const other = await invoke.invoke({ ...request, text: "a month later" });
    expect(other.outcome).toBe("accepted");
    expect(sent()).toBe(2);
    expect(JSON.parse((await http("GET", path)).body).state).toBe("settled");
  });
});

describe("a ledger that cannot be asked", () => {
  it.each([
    ["of another name", { LEDGER_TABLE: "no-such-table" }, false, "ResourceNotFoundException"],
    ["out of reach", { AWS_ENDPOINT_URL_DYNAMODB: "http://127.0.0.1:1" }, true, "ECONNREFUSED"],
  ])("%s: nothing is sent", async (_, change, retryable, reason) => {
    const one = await startFunction("invoke", { ...environment, ...change });
    const result = await one.invoke(MESSAGE);
    await one.stop();
    expect(result).toMatchObject({
      outcome: "deferred",
      retryable,
      error: { code: "ledger_unavailable", phase: "ledger" },
    });
    expect(result.error.message).toContain(reason);
    expect(sent()).toBe(0);
  });
});

describe("GET /messages/{id}", () => {
  it("tells state and result", async () => {
    const request = { ...MESSAGE, idempotencyKey: `${key()}/with space` };
    await invoke.invoke(request);
    const answer = await http("GET", `/messages/${encodeURIComponent(request.idempotencyKey)}`);
    expect(answer.statusCode).toBe(200);
    expect(JSON.parse(answer.body)).toMatchObject({
      id: request.idempotencyKey,
      state: "settled",
      result: { outcome: "accepted", queueId: "Q1" },
    });
  });

  it("404 for an id nobody used", async () => {
    expect((await http("GET", "/messages/never")).statusCode).toBe(404);
  });
});

it("the result of a message to thousands fits into an item, and comes back whole", async () => {
  secrets.put(
    "many",
    JSON.stringify({
      host: "127.0.0.1",
      port: smtp.port,
      security: "none",
      from: "shop@example.com",
      maxRecipients: 5000,
    }),
  );
  const to = Array.from({ length: 3000 }, (_, index) => `recipient-number-${index}@example.com`);
  rcpt = (line) => `250 2.1.5 ${"a server of many words ".repeat(5)}${line.slice(8)}`;
  const request = { ...MESSAGE, to, idempotencyKey: key() };
  const many = await startFunction("invoke", { ...environment, MAILBOX_SECRET_ID: "many" });
  try {
    const first = await many.invoke(request);
    expect(first).toMatchObject({ outcome: "accepted" });
    expect(JSON.stringify(first).length).toBeGreaterThan(500_000);
    expect(await many.invoke(request)).toEqual(first);
    expect(sent()).toBe(1);
  } finally {
    await many.stop();
  }
});

it("the ledger holds no credentials and no content", async () => {
  const request = { ...MESSAGE, text: "very private words", idempotencyKey: key() };
  await invoke.invoke(request);
  const answer = await http("GET", `/messages/${request.idempotencyKey}`);
  expect(answer.body).not.toContain("very private words");
});

describe("across instances", () => {
  const environment = () => ({
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    AWS_ENDPOINT_URL_DYNAMODB: dynamo.url,
    LEDGER_TABLE: dynamo.table,
  });

  it("a refused password is not tried again by another instance", async () => {
    const server = await startFakeSmtp({ ehlo: ["AUTH PLAIN"], on: { AUTH: "535 5.7.8 no" } });
    secrets.put(
      "refused",
      JSON.stringify({
        host: "127.0.0.1",
        port: server.port,
        security: "none",
        allowPlaintextAuth: true,
        username: "shop@example.com",
        password: "wrong",
      }),
    );
    for (const expected of [1, 0]) {
      server.seen.length = 0;
      const one = await startFunction("invoke", { ...environment(), MAILBOX_SECRET_ID: "refused" });
      const result = await one.invoke(MESSAGE);
      await one.stop();
      expect(result).toMatchObject({ outcome: "deferred", error: { code: "auth_failed" } });
      expect(server.seen.filter((line) => line.startsWith("AUTH"))).toHaveLength(expected);
    }
    await server.close();
  });

  it("maxPerMinute holds for all of them together", async () => {
    const mailbox = {
      host: "127.0.0.1",
      port: smtp.port,
      security: "none",
      from: "shop@example.com",
      maxPerMinute: 3,
    };
    secrets.put("slow", JSON.stringify(mailbox));
    // All within one minute of the clock.
    const left = 60_000 - (Date.now() % 60_000);
    if (left < 10_000) await new Promise((resolve) => setTimeout(resolve, left));
    const two = await Promise.all(
      [1, 2].map(() => startFunction("invoke", { ...environment(), MAILBOX_SECRET_ID: "slow" })),
    );
    const results = await Promise.all(
      [0, 1, 0, 1, 0, 1].map((which) =>
        (two[which] as LambdaFunction).invoke({ ...MESSAGE, idempotencyKey: key() }),
      ),
    );
    await Promise.all(two.map((one) => one.stop()));
    const outcomes = results.map(({ outcome }) => outcome).sort();
    expect(outcomes).toEqual([...Array(3).fill("accepted"), ...Array(3).fill("deferred")]);
    const deferred = results.find(({ outcome }) => outcome === "deferred");
    expect(deferred).toMatchObject({ retryable: true, error: { code: "rate_limited" } });
    expect(sent()).toBe(3);
  });
});
