/**
 * The HTTP API as OpenAPI 3.1, and request and result as JSON Schema, for callers in any language.
 *
 * Rule guarded here: nothing is described twice. The schemas are those that the functions check and
 * answer with; what is written here is only what zod does not know: routes, statuses, examples.
 */
import * as z from "zod/mini";
import { requestJsonSchema } from "../message/json-schema.ts";
import type { MailRequestInput } from "../message/schema.ts";
import { messageSchema, problemSchema, queuedSchema, resultSchema } from "./result-schema.ts";

type Json = Readonly<Record<string, unknown>>;

const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const SCHEMA = "https://json-schema.org/draft/2020-12/schema";

/** What a function of the invoke kind takes. */
export function requestDocument(): Json {
  return { ...requestJsonSchema(), $schema: SCHEMA, title: "A message to be sent" };
}

/** What it answers, for every outcome. */
export function resultDocument(): Json {
  return { $schema: SCHEMA, title: "What became of a message", ...answers()["Result"] };
}

/**
 * Answers may come to have more fields than they have today, so none is closed; and each that is part
 * of another is referred to, so that generators make one type of it.
 */
function answers(): Readonly<Record<string, Json>> {
  const registry = z.registry<{ id: string }>();
  registry.add(resultSchema, { id: "Result" });
  registry.add(problemSchema, { id: "Problem" });
  registry.add(queuedSchema, { id: "Queued" });
  registry.add(messageSchema, { id: "Message" });
  const { schemas } = z.toJSONSchema(registry, {
    uri: (id) => `#/components/schemas/${id}`,
    override: ({ jsonSchema }) => {
      delete jsonSchema.additionalProperties;
    },
  });
  return Object.fromEntries(
    Object.entries(schemas).map(([name, schema]) => {
      const { $schema: _, $id: __, ...own } = schema as Record<string, unknown>;
      return [name, own];
    }),
  );
}

/** Requests to begin with. */
export const EXAMPLES: Readonly<Record<string, MailRequestInput>> = {
  plain: { to: "li.lei@example.net", subject: "我是标题", text: "你好，李雷。\n" },
  full: {
    mailbox: "billing",
    from: "Shop <shop@example.com>",
    to: ["a@example.com", { name: "李雷", address: "b@例子.测试" }],
    cc: "orders@example.com",
    replyTo: "help@example.com",
    subject: "Your order is on its way",
    html: '<p>Hello <img src="cid:logo" alt="Shop"></p>',
    attachments: [
      { filename: "a.txt", contentType: "text/plain", content: "aGVsbG8=" },
      { filename: "b.zip", s3: { bucket: "invoices", key: "2026/b.zip" } },
      { filename: "logo.png", content: "iVBORw0KGgo=", contentId: "logo" },
    ],
    headers: { "X-Campaign": "42" },
    listUnsubscribe: { url: "https://example.com/unsubscribe/42", oneClick: true },
    partial: "refuse",
    idempotencyKey: "order-1234",
  },
  raw: { raw: "VG86IGFAZXhhbXBsZS5jb20NClN1YmplY3Q6IGhlbGxvDQoNCmhlbGxvDQo=" },
};

const PROBLEMS = {
  400: "The request is malformed; `issues` has every reason.",
  403: "The mailbox's or the deployment's policy. Without a `code` it is API Gateway's own: not authorised.",
  404: "There is nothing at this path.",
  409: "The same key is being sent now.",
  413: "The message is larger than the mailbox sends, or than the queue takes.",
  422: "The server rejected the message, or the key was used with another body.",
  500: "A fault of ours.",
  501: "This deployment keeps no record of messages (`LEDGER_TABLE`).",
  502: "Not taken, and a person must act first.",
  503: "Not taken; try again later.",
  504: "Handed over, and no answer came: it may have been delivered.",
} as const;
type ProblemStatus = keyof typeof PROBLEMS;

const RETRY_AFTER: Json = {
  "retry-after": { description: "Seconds.", required: true, schema: { type: "integer" } },
};

function problems(...statuses: readonly ProblemStatus[]): Json {
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      {
        description: PROBLEMS[status],
        ...(status === 503 && { headers: RETRY_AFTER }),
        content: { "application/problem+json": { schema: ref("Problem") } },
      },
    ]),
  );
}

const json = (description: string, schema: string, more: Json = {}): Json => ({
  description,
  ...more,
  content: { "application/json": { schema: ref(schema) } },
});

const ACCEPTED = json("Taken for all recipients, or for some (`partial`).", "Result");
const SENDING = [400, 403, 409, 413, 422, 500, 502, 503, 504] as const;

const message: Json = {
  required: true,
  content: {
    "application/json": {
      schema: ref("MailRequest"),
      examples: Object.fromEntries(
        Object.entries(EXAMPLES).map(([name, value]) => [name, { value }]),
      ),
    },
  },
};

const id: Json = {
  name: "id",
  in: "path",
  required: true,
  description: "The key of the message, percent-encoded.",
  schema: { type: "string" },
};

/** @param version of this package */
export function openApi(version: string): Json {
  return {
    openapi: "3.1.0",
    jsonSchemaDialect: SCHEMA,
    info: {
      title: "posthaste",
      version,
      license: { name: "MIT", identifier: "MIT" },
      description:
        "Sends mail: one message, one short-lived SMTP session, and the whole conversation back. Errors are problem details (RFC 9457), with the result where there is one.",
    },
    servers: [
      {
        url: "https://{api}.execute-api.{region}.amazonaws.com",
        description: "A deployment: the stack's output `HttpApiUrl`.",
        variables: { api: { default: "api-id" }, region: { default: "us-east-1" } },
      },
      { url: "http://127.0.0.1:3000", description: "The local stack: `npm start`." },
    ],
    security: [{ iam: [] }],
    paths: {
      "/messages": { post: post() },
      "/messages/{id}": { parameters: [id], get: look() },
      "/messages/{id}/resend": { parameters: [id], post: resend() },
    },
    components: {
      securitySchemes: {
        iam: {
          type: "apiKey",
          in: "header",
          name: "Authorization",
          description:
            "AWS Signature Version 4, service `execute-api`. The local stack asks for none.",
          "x-amazon-apigateway-authtype": "awsSigv4",
        },
      },
      schemas: { MailRequest: withoutDialect(requestJsonSchema()), ...answers() },
    },
  };
}

function withoutDialect({ $schema: _, ...schema }: Json & { readonly $schema?: unknown }): Json {
  return schema;
}

function post(): Json {
  const location: Json = { description: "Where to ask.", schema: { type: "string" } };
  const applied: Json = { description: "RFC 7240.", schema: { const: "respond-async" } };
  return {
    operationId: "sendMessage",
    summary: "Send a message, now or by the queue",
    parameters: [
      {
        name: "Idempotency-Key",
        in: "header",
        description: "The request's `idempotencyKey`: the same key and body are sent once.",
        schema: { type: "string", minLength: 1, maxLength: 255 },
      },
      {
        name: "Prefer",
        in: "header",
        description: "`respond-async`: queue the message, where the deployment has a queue.",
        schema: { type: "string" },
        example: "respond-async",
      },
    ],
    requestBody: message,
    responses: {
      200: ACCEPTED,
      202: json("Queued.", "Queued", { headers: { location, "preference-applied": applied } }),
      ...problems(...SENDING),
    },
  };
}

function look(): Json {
  return {
    operationId: "getMessage",
    summary: "State and result of a message",
    parameters: [mailbox],
    responses: {
      200: json("What is known of it.", "Message"),
      ...problems(404, 500, 501, 502, 503),
    },
  };
}

const mailbox: Json = {
  name: "mailbox",
  in: "query",
  description: "Where the request named one: keys are scoped by mailbox.",
  schema: { type: "string" },
};

function resend(): Json {
  return {
    operationId: "resendMessage",
    summary: "Send once more what is uncertain, rejected or deferred",
    description:
      "A person's decision. The body is the request again, unchanged. Who has the message does not get it again.",
    requestBody: message,
    responses: { 200: ACCEPTED, ...problems(...SENDING, 404, 501) },
  };
}
