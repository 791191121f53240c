/**
 * API Gateway (HTTP API, REST) and function URLs: `POST /messages`, `GET /messages/{id}`,
 * `POST /messages/{id}/resend`. Closed by default: every route's authorizer is in serverless.yml.
 */
import { randomUUID } from "node:crypto";
import middy from "@middy/core";
import { ConfigError } from "../lib/config.ts";
import { misconfigured } from "../lib/submission/explain.ts";
import { ledgerKey, opaque } from "../lib/submission/identity.ts";
import { answered, LedgerError } from "../lib/submission/ledger.ts";
import { accept, QueueTooSmall } from "../lib/submission/queue.ts";
import { type Limits, type Order, submit } from "../lib/submission/submit.ts";
import { isRecord } from "./events.ts";
import {
  decodeHttp,
  encodeResult,
  type HttpAnswer,
  type HttpRequest,
  json,
  problem,
  RETRY_AFTER,
} from "./http.ts";
import { type InvocationContext, limitsOf, wiring } from "./wiring.ts";

/**
 * API Gateway gives up after 30 s, start of the instance included, while the function would send on;
 * whoever asked must hear from us before.
 */
const GATEWAY_MS = 27_000;
/** The longest that Lambda lets an instance take to start. */
const LONGEST_START_MS = 10_000;
let cold = true;

async function route(
  request: HttpRequest,
  context: InvocationContext | undefined,
): Promise<HttpAnswer> {
  const match = /\/messages(?:\/([^/]+))?(?:\/(resend))?\/?$/.exec(request.path);
  const [, id, resend] = match ?? [];
  if (match === null || (resend && !id)) return notFound(`There is nothing at ${request.path}.`);
  if (id === undefined) {
    return request.method === "POST" ? send(request, context) : notAllowed("POST");
  }
  if (request.method !== (resend ? "POST" : "GET")) return notAllowed(resend ? "POST" : "GET");
  const key = decoded(id);
  if (key === undefined) return notFound("The id is not properly percent-encoded.");
  return resend ? send(request, context, key) : look(request, context, key);
}

/** State and result of a message, as the ledger has them. */
async function look(
  request: HttpRequest,
  context: InvocationContext | undefined,
  id: string,
): Promise<HttpAnswer> {
  const ledger = await wiring().ports.ledger?.();
  if (ledger === undefined) return noLedger();
  const key = ledgerKey(request.query["mailbox"], id);
  const found = await answered(ledger.find(key), limitsOf(context, GATEWAY_MS).timeLeft());
  if (found === undefined) return unknownMessage();
  const state = found.state === "claimed" || found.state === "sending" ? "sending" : found.state;
  return json(200, { id, state, date: found.date, result: found.result ?? null });
}

function noLedger(): HttpAnswer {
  return problem({
    status: 501,
    code: "no_ledger",
    title: "No record of messages is kept",
    detail: "This deployment has no ledger (LEDGER_TABLE), so it cannot look a message up.",
  });
}

function decoded(id: string): string | undefined {
  try {
    return decodeURIComponent(id);
  } catch {
    return undefined;
  }
}

/** @param again the id of a message that a person wants sent once more */
async function send(
  request: HttpRequest,
  context: InvocationContext | undefined,
  again?: string,
): Promise<HttpAnswer> {
  const id = context?.awsRequestId ?? randomUUID();
  const start = cold ? Math.min(performance.now(), LONGEST_START_MS) : 0;
  cold = false;
  let input: unknown;
  try {
    input = JSON.parse(request.body);
  } catch {
    return malformed("", "The body is not JSON.");
  }
  const key = again ?? request.headers["idempotency-key"];
  if (key !== undefined && isRecord(input)) {
    if (input["idempotencyKey"] !== undefined && input["idempotencyKey"] !== key) {
      return malformed(
        "idempotencyKey",
        `differs from ${again === undefined ? "the Idempotency-Key header" : "the id in the path"}`,
      );
    }
    input = { ...input, idempotencyKey: key };
  }
  try {
    const { ports, queues, tell } = wiring();
    const limits = limitsOf(context, GATEWAY_MS - start);
    if (again !== undefined) {
      const ledger = await ports.ledger?.();
      if (ledger === undefined) return noLedger();
      // Once more is only what was there: a mistyped id must not become a new message.
      const { mailbox } = isRecord(input) ? input : {};
      const scope = typeof mailbox === "string" ? mailbox : undefined;
      const found = await answered(ledger.find(ledgerKey(scope, again)), limits.timeLeft());
      if (found === undefined) return unknownMessage();
    }
    const correlationId = correlationOf(request, id);
    const order: Order = { input, id, date: new Date(), correlationId };
    // Without a queue the preference is not honoured, and the answer does not say that it was.
    if (again === undefined && queues.config.queueUrl !== undefined && prefersAsync(request)) {
      return await later(request, order, limits);
    }
    const result = await submit(
      ports,
      again === undefined ? order : { ...order, again: true },
      limits,
    );
    tell({ source: "api", result, requestId: id, correlationId, input });
    return encodeResult(result);
  } catch (error) {
    if (error instanceof ConfigError) return encodeResult(misconfigured({ input, id }, error));
    throw error;
  }
}

/** The client's own id, else the gateway's: what an access log and a trace know the request by. */
function correlationOf({ headers, requestId }: HttpRequest, otherwise: string): string | undefined {
  return opaque(headers["x-correlation-id"]) ?? opaque(requestId) ?? opaque(otherwise);
}

/** RFC 7240 §4.1. */
function prefersAsync({ headers }: HttpRequest): boolean {
  return /(^|,)\s*respond-async\s*($|[,;])/i.test(headers["prefer"] ?? "");
}

/** Into the queue: 202 says that the message will be dealt with, and where to look. */
async function later(request: HttpRequest, order: Order, limits: Limits): Promise<HttpAnswer> {
  const { ports, queues, tell } = wiring();
  try {
    const accepted = await accept(ports, queues, order, limits);
    if ("result" in accepted) {
      const { result } = accepted;
      tell({ source: "api", result, requestId: order.id, ...order });
      return encodeResult(result);
    }
    const { id, mailbox } = accepted;
    // Keys are scoped by mailbox, so the mailbox is part of the address.
    const query = mailbox === undefined ? "" : `?mailbox=${mailbox}`;
    const location = `${request.publicPath.replace(/\/$/, "")}/${encodeURIComponent(id)}${query}`;
    const headers = { location, "preference-applied": "respond-async" };
    return json(202, { id, state: "queued" }, headers);
  } catch (error) {
    if (!(error instanceof QueueTooSmall)) throw error;
    const title = "The message is too large for the queue";
    return problem({ status: 413, code: "request_too_large", title, detail: error.message });
  }
}

function malformed(path: string, message: string): HttpAnswer {
  return problem({
    status: 400,
    code: "invalid_request",
    title: "The request is malformed",
    detail: path === "" ? message : `${path} ${message}`,
    issues: [{ path, message }],
  });
}

function unreachable({ message, retryable }: LedgerError): HttpAnswer {
  return problem({
    status: retryable ? 503 : 502,
    code: "ledger_unavailable",
    title: "The record of messages cannot be asked",
    detail: message,
    ...(retryable && { headers: { "retry-after": RETRY_AFTER } }),
  });
}

const unknownMessage = (): HttpAnswer => notFound("There is no message with this id.");

function notFound(detail: string): HttpAnswer {
  return problem({ status: 404, code: "not_found", title: "Not found", detail });
}

function notAllowed(allow: string): HttpAnswer {
  return problem({
    status: 405,
    code: "method_not_allowed",
    title: "Method not allowed",
    detail: `This resource takes ${allow}.`,
    headers: { allow },
  });
}

/** Both payload formats become one request on the way in; whatever is thrown, an answer on the way out. */
const gateway: middy.MiddlewareObj<unknown, HttpAnswer> = {
  before: (call) => {
    const request = decodeHttp(call.event);
    if (request === undefined) return notFound("The event is no HTTP request.");
    call.event = request;
    return undefined;
  },
  onError: (call) => {
    if (call.error instanceof LedgerError) {
      call.response = unreachable(call.error);
      return;
    }
    const name = call.error?.name ?? "Error";
    process.stderr.write(
      `${JSON.stringify({ level: "error", message: "unexpected error", name })}\n`,
    );
    call.response = problem({
      status: 500,
      code: "internal_error",
      title: "Unexpected error",
      detail: "The function failed; its log has the particulars under this invocation.",
    });
  },
};

export const handler = middy<unknown, HttpAnswer>()
  .use(gateway)
  .handler((event, context) => route(event as HttpRequest, context));
