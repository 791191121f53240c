/** The HTTP ways in, on the built bundle: each payload format, each status. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";

const MESSAGE = { to: "a@example.com", subject: "你好", text: "hello" };

let secrets: Secrets;
let smtp: FakeSmtp;
let api: LambdaFunction;

beforeAll(async () => {
  smtp = await startFakeSmtp({
    on: {
      RCPT: (line) => {
        if (line.includes("reject")) return "550 5.1.1 no such user";
        if (line.includes("defer")) return "450 4.2.0 greylisted";
        if (line.includes("login")) return "530 5.7.0 log in";
        return "250 2.1.5 ok";
      },
      MAIL: (line) => (line.includes("lost@") ? "250 lost" : "250 ok"),
      content: () => (smtp.seen.some((line) => line.includes("lost@")) ? "close" : "250 2.0.0 ok"),
    },
  });
  const mailbox = {
    host: "127.0.0.1",
    port: smtp.port,
    security: "none",
    from: "shop@example.com",
    maxMessageBytes: 5000,
  };
  secrets = await startSecrets({ box: JSON.stringify(mailbox) });
  api = await startFunction("api", {
    MAILBOX_SECRET_ID: "box",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
  });
});
afterAll(async () => {
  await api.stop();
  await Promise.all([smtp.close(), secrets.close()]);
});

function v2(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  return {
    version: "2.0",
    routeKey: `${method} ${path}`,
    rawPath: path,
    headers: { "content-type": "application/json", ...headers },
    requestContext: { http: { method, path }, stage: "$default" },
    isBase64Encoded: false,
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  };
}

const post = (body: unknown, headers?: Record<string, string>) =>
  api.invoke(v2("POST", "/messages", body, headers));

describe("payload formats", () => {
  it("HTTP API and function URL, 2.0", async () => {
    const answer = await post(MESSAGE);
    expect(answer.statusCode).toBe(200);
    expect(answer.headers["content-type"]).toMatch(/^application\/json/);
    expect(JSON.parse(answer.body)).toMatchObject({ outcome: "accepted", reply: { code: 250 } });
  });

  it("a body in base64", async () => {
    const event = v2("POST", "/messages", Buffer.from(JSON.stringify(MESSAGE)).toString("base64"));
    const answer = await api.invoke({ ...event, isBase64Encoded: true });
    expect(answer.statusCode).toBe(200);
  });

  it("REST API, 1.0, below a stage", async () => {
    const answer = await api.invoke({
      resource: "/messages",
      path: "/messages",
      httpMethod: "POST",
      headers: { "Idempotency-Key": "rest-1" },
      multiValueHeaders: { "Idempotency-Key": ["rest-1"] },
      requestContext: { stage: "prod" },
      body: JSON.stringify(MESSAGE),
      isBase64Encoded: false,
    });
    expect(answer.statusCode).toBe(200);
    expect(JSON.parse(answer.body).id).toBe("rest-1");
  });
});

describe("statuses", () => {
  it("200 partial", async () => {
    const answer = await post({ ...MESSAGE, to: ["a@example.com", "reject@example.com"] });
    expect(answer.statusCode).toBe(200);
    expect(JSON.parse(answer.body).outcome).toBe("partial");
  });

  it("400 with all problems at once", async () => {
    const answer = await post({ to: "nobody", colour: "red", text: 5 });
    const problem = JSON.parse(answer.body);
    expect(answer.statusCode).toBe(400);
    expect(answer.headers["content-type"]).toBe("application/problem+json");
    expect(problem).toMatchObject({ status: 400, code: "invalid_request" });
    expect(problem.issues.map((issue: { path: string }) => issue.path).sort()).toEqual([
      "colour",
      "text",
      "to",
    ]);
  });

  it.each(["{", "", "[1]", "null", '"x"'])("400 for the body %j", async (body) => {
    expect((await post(body)).statusCode).toBe(400);
  });

  it("403 for what policy forbids", async () => {
    const answer = await post({ ...MESSAGE, from: "boss@example.com" });
    expect(answer.statusCode).toBe(403);
    expect(JSON.parse(answer.body).code).toBe("sender_not_allowed");
  });

  it("413 for too large a message", async () => {
    expect((await post({ ...MESSAGE, text: "x".repeat(6000) })).statusCode).toBe(413);
  });

  it("422 for what the server rejects, with the result", async () => {
    const answer = await post({ ...MESSAGE, to: "reject@example.com" });
    const problem = JSON.parse(answer.body);
    expect(answer.statusCode).toBe(422);
    expect(problem.result).toMatchObject({ outcome: "rejected", reply: { code: 550 } });
    expect(problem.result.transcript.length).toBeGreaterThan(5);
  });

  it("502 where a person must act", async () => {
    const answer = await post({ ...MESSAGE, to: "login@example.com" });
    expect(answer.statusCode).toBe(502);
    expect(answer.headers["retry-after"]).toBeUndefined();
  });

  it("503 with Retry-After where trying again may succeed", async () => {
    const answer = await post({ ...MESSAGE, to: "defer@example.com" });
    expect(answer.statusCode).toBe(503);
    expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
  });

  it("504 where the reply was lost", async () => {
    const answer = await post({ ...MESSAGE, to: "lost@example.com" });
    expect(answer.statusCode).toBe(504);
    expect(JSON.parse(answer.body).result.outcome).toBe("uncertain");
  });
});

describe("the Idempotency-Key header", () => {
  it("becomes the id", async () => {
    const answer = await post({ ...MESSAGE, to: "b@example.com" }, { "idempotency-key": "k-1" });
    expect(JSON.parse(answer.body).id ?? JSON.parse(answer.body).result.id).toBe("k-1");
  });

  it("that differs from the body's key is refused", async () => {
    const answer = await post({ ...MESSAGE, idempotencyKey: "k-2" }, { "idempotency-key": "k-1" });
    expect(answer.statusCode).toBe(400);
  });
});

describe("routes", () => {
  it.each([
    ["GET", "/messages", 405, "POST"],
    ["DELETE", "/messages/1", 405, "GET"],
    ["GET", "/messages/1/resend", 405, "POST"],
    ["GET", "/", 404, undefined],
    ["POST", "/messages/1/2/3", 404, undefined],
  ])("%s %s is %d", async (method, path, status, allow) => {
    const answer = await api.invoke(v2(method, path));
    expect(answer.statusCode).toBe(status);
    expect(answer.headers.allow).toBe(allow);
  });

  it("an event that is no HTTP request", async () => {
    expect((await api.invoke({ Records: [] })).statusCode).toBe(404);
  });
});
