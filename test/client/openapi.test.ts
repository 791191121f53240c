/**
 * What other languages are generated from: valid OpenAPI 3.1, the same as would be written now, its
 * examples and what the built function really answers as it says.
 */
import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { faulty } from "../../infra/local/faults.ts";
import { startWholeStack, type WholeStack } from "../../infra/local/stack.ts";
import { documents } from "../../infra/openapi.ts";
import { EXAMPLES } from "../../lib/client/openapi.ts";
import { messageSchema, problemSchema, resultSchema } from "../../lib/client/result-schema.ts";
import { parseRequest } from "../../lib/message/schema.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";

const read = (name: string) =>
  readFileSync(new URL(`../../lib/client/${name}`, import.meta.url), "utf8");
const document = JSON.parse(read("openapi.json"));
const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
// Not JSON Schema's, but what the references point into.
ajv.addVocabulary(["components"]);
ajv.addSchema({ $id: "openapi.json", components: document.components }, "openapi.json");
const schemaOf = (name: string): ValidateFunction =>
  ajv.compile({ $ref: `openapi.json#/components/schemas/${name}` });

describe("the documents", () => {
  it.each(Object.entries(documents()))("%s is what `npm run openapi` writes", (name, text) => {
    expect(read(name)).toBe(text);
  });

  it("openapi.json is OpenAPI 3.1, by its own schema", async () => {
    const validator = new Validator();
    expect(await validator.validate(structuredClone(document))).toEqual({ valid: true });
    expect(validator.version).toBe("3.1");
    const broken = { ...structuredClone(document), paths: { "/messages": { post: {}, mail: 1 } } };
    expect((await new Validator().validate(broken)).valid).toBe(false);
  });

  it.each(Object.entries(EXAMPLES))("the example %s is a request", (_, value) => {
    expect(parseRequest(value)).toMatchObject({ ok: true });
    const request = schemaOf("MailRequest");
    expect(request(value), JSON.stringify(request.errors)).toBe(true);
    const alone = ajv.compile(JSON.parse(read("request.schema.json")));
    expect(alone(value), JSON.stringify(alone.errors)).toBe(true);
  });

  it("a request that is none is refused by the schema, too", () => {
    const request = schemaOf("MailRequest");
    expect(request({ to: "a@example.com", colour: "red" })).toBe(false);
    expect(request({ to: 1 })).toBe(false);
  });
});

describe("what the built function answers", () => {
  let stack: WholeStack;
  let api: LambdaFunction;
  let simple: LambdaFunction;
  let broken: LambdaFunction;
  const seen = new Set<string>();

  beforeAll(async () => {
    stack = await startWholeStack(faulty(() => stack.mail.inbox));
    const { LEDGER_TABLE: _, QUEUE_URL: __, ...without } = stack.environment;
    const unreachable = { AWS_ENDPOINT_URL_DYNAMODB: "http://127.0.0.1:1" };
    [api, simple, broken] = await Promise.all([
      startFunction("api", stack.environment),
      startFunction("api", without),
      startFunction("api", { ...stack.environment, ...unreachable }),
    ]);
  });
  afterAll(async () => {
    await Promise.all([api, simple, broken].map((one) => one?.stop()));
    await stack?.close();
  });

  /** Asks, and holds the answer against what the document says of this route and status. */
  async function ask(route: string, path: string, body?: unknown, about: About = {}) {
    const [method = "", template = ""] = route.split(" ");
    const {
      statusCode,
      headers,
      body: text,
    } = await (about.to ?? api).invoke({
      version: "2.0",
      rawPath: path,
      requestContext: { http: { method } },
      headers: { "content-type": "application/json", ...about.headers },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const operation = document.paths[template][method.toLowerCase()];
    const documented = operation.responses[statusCode];
    expect(documented, `${route} ${statusCode} is not in the document`).toBeDefined();
    const type = headers["content-type"].split(";")[0];
    const schema = documented.content[type]?.schema.$ref;
    expect(schema, `${route} ${statusCode} as ${type} is not in the document`).toBeDefined();
    const name = schema.split("/").at(-1);
    const answer = JSON.parse(text);
    const validate = schemaOf(name);
    expect(validate(answer), JSON.stringify(validate.errors)).toBe(true);
    // Nor is there any field that the document is silent about.
    const strict = { Result: resultSchema, Problem: problemSchema, Message: messageSchema }[
      name as "Result"
    ];
    if (strict) expect(strict.safeParse(answer).error).toBeUndefined();
    for (const [header, { required }] of Object.entries<{ required?: boolean }>(
      documented.headers ?? {},
    )) {
      if (required) expect(headers[header]).toBeDefined();
    }
    seen.add(`${route} ${statusCode}`);
    return { status: statusCode, headers, answer };
  }
  interface About {
    readonly headers?: Record<string, string>;
    readonly to?: LambdaFunction;
  }
  const POST = "POST /messages";
  const GET = "GET /messages/{id}";
  const RESEND = "POST /messages/{id}/resend";
  const to = (name: string, more: object = {}) => ({
    to: `${name}@example.com`,
    subject: "asked",
    text: "hello",
    ...more,
  });

  it.each([
    [200, to("a")],
    [400, { to: "nobody", colour: "red" }],
    [400, "no JSON"],
    [403, to("a", { from: "ceo@example.org" })],
    [413, to("a", { mailbox: "small", text: "x".repeat(20_000) })],
    [422, to("reject")],
    [502, to("login")],
    [503, to("defer")],
    [504, to("lost")],
  ])("POST: %i", async (status, body) => {
    expect((await ask(POST, "/messages", body)).status).toBe(status);
  });

  it("POST: 202, then GET: 200; unknown: 404", async () => {
    const headers = { prefer: "respond-async", "idempotency-key": "openapi-1" };
    const queued = await ask(POST, "/messages", to("a"), { headers });
    expect(queued.status).toBe(202);
    expect((await ask(GET, queued.headers.location)).answer.state).toBe("queued");
    expect((await ask(GET, "/messages/never")).status).toBe(404);
  });

  it("POST: 409 and 422 for a key", async () => {
    const slow = to("slow", { idempotencyKey: "openapi-2" });
    const both = await Promise.all([ask(POST, "/messages", slow), ask(POST, "/messages", slow)]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
    const other = { ...slow, text: "other" };
    expect((await ask(POST, "/messages", other)).answer.code).toBe("key_reused");
  });

  it("resend: 200, 422; 501 without a ledger", async () => {
    const lost = to("lost", { idempotencyKey: "openapi-3" });
    expect((await ask(POST, "/messages", lost)).status).toBe(504);
    expect((await ask(GET, "/messages/openapi-3")).answer.result.outcome).toBe("uncertain");
    const path = "/messages/openapi-3/resend";
    expect((await ask(RESEND, path, { ...lost, text: "other" })).status).toBe(422);
    expect((await ask(RESEND, path, lost)).status).toBe(504);
    expect((await ask(RESEND, "/messages/never/resend", to("lost"))).status).toBe(404);
    expect((await ask(RESEND, path, lost, { to: simple })).status).toBe(501);
    expect((await ask(GET, "/messages/openapi-3", undefined, { to: simple })).status).toBe(501);
    await ask(POST, "/messages", to("a", { idempotencyKey: "openapi-4" }));
    expect((await ask(RESEND, "/messages/openapi-4/resend", to("a"))).status).toBe(200);
  });

  it("503 where the ledger cannot be reached", async () => {
    expect((await ask(GET, "/messages/any", undefined, { to: broken })).status).toBe(503);
  });

  it("every status that the document gives for sending was seen", () => {
    const given = Object.keys(document.paths["/messages"].post.responses);
    // A fault of ours is none that could be asked for.
    const missing = given.filter((status) => status !== "500" && !seen.has(`${POST} ${status}`));
    expect(missing).toEqual([]);
  });
});
