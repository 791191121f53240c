/**
 * HTTP as API Gateway (HTTP API 2.0, REST 1.0) and function URLs hand it over, and results as HTTP
 * answers; errors are problem details (RFC 9457) with the result as an extension member.
 */
import type { Issue, Result } from "../lib/submission/outcome.ts";

export interface HttpRequest {
  readonly method: string;
  /** Path below the stage, decoded as the gateway left it. */
  readonly path: string;
  /** The same as the caller wrote it: a REST API's stage is part of its addresses. */
  readonly publicPath: string;
  /** Names in lower case; repeated fields joined by a comma (RFC 9110 §5.3). */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly body: string;
  /** The gateway's own id of the request. */
  readonly requestId: unknown;
}

export interface HttpAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * Either payload format; `undefined` where the event is no HTTP request at all. What no gateway sends
 * is left out, field by field: an event may come from anyone who may invoke the function.
 */
export function decodeHttp(event: unknown): HttpRequest | undefined {
  const gateway = record(event);
  const context = record(gateway["requestContext"]);
  // 2.0 has the method in its context, 1.0 at the top.
  const method = record(context["http"])["method"] ?? gateway["httpMethod"];
  const path = gateway["rawPath"] ?? gateway["path"];
  if (typeof method !== "string" || typeof path !== "string") return undefined;
  const headers: Record<string, string> = {};
  for (const [name, values] of Object.entries(record(gateway["multiValueHeaders"]))) {
    if (Array.isArray(values)) headers[name.toLowerCase()] = values.filter(isString).join(", ");
  }
  for (const [name, value] of Object.entries(record(gateway["headers"]))) {
    if (isString(value)) headers[name.toLowerCase()] ??= value;
  }
  const query = Object.entries(record(gateway["queryStringParameters"]));
  const body = isString(gateway["body"]) ? gateway["body"] : "";
  return {
    method: method.toUpperCase(),
    path,
    publicPath: isString(context["path"]) ? context["path"] : path,
    headers,
    query: Object.fromEntries(query.filter((pair): pair is [string, string] => isString(pair[1]))),
    requestId: context["requestId"],
    body: gateway["isBase64Encoded"] === true ? Buffer.from(body, "base64").toString("utf8") : body,
  };
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  const plain = typeof value === "object" && value !== null && !Array.isArray(value);
  return plain ? (value as Record<string, unknown>) : {};
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}

export function json(
  statusCode: number,
  value: unknown,
  headers: Record<string, string> = {},
): HttpAnswer {
  return {
    statusCode,
    headers: { "content-type": "application/json; charset=utf-8", ...headers },
    body: JSON.stringify(value),
  };
}

export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly issues?: readonly Issue[] | undefined;
  readonly result?: Result;
  readonly headers?: Record<string, string>;
}

export function problem({ status, code, headers, ...rest }: Problem): HttpAnswer {
  const { title, detail, issues, result } = rest;
  return {
    statusCode: status,
    headers: { "content-type": "application/problem+json", ...headers },
    body: JSON.stringify({
      type: `urn:posthaste:problem:${code}`,
      title,
      status,
      detail,
      code,
      ...(issues && { issues }),
      ...(result && { result }),
    }),
  };
}

/** Seconds after which a deferred message is worth another try: greylisting's usual least. */
export const RETRY_AFTER = "60";

/** What a result is in HTTP. */
export function encodeResult(result: Result): HttpAnswer {
  if (result.outcome === "accepted" || result.outcome === "partial") return json(200, result);
  const code = result.error?.code ?? "unknown";
  const [status, title] = statusOf(result, code);
  return problem({
    status,
    code,
    title,
    detail: result.error?.message ?? title,
    issues: result.error?.issues,
    result,
    ...(status === 503 && { headers: { "retry-after": RETRY_AFTER } }),
  });
}

function statusOf(result: Result, code: string): readonly [number, string] {
  switch (result.outcome) {
    case "uncertain":
      return [504, "The message was handed over, and no answer came"];
    case "deferred":
      if (code === "in_progress") return [409, "The same message is being sent now"];
      return result.retryable
        ? [503, "The message was not taken; try again later"]
        : [502, "The message was not taken; a person must act first"];
    default:
      if (code === "invalid_request") return [400, "The request is malformed"];
      if (code === "message_too_large") return [413, "The message is too large"];
      if (result.error?.phase === "policy")
        return [403, "The mailbox's policy does not allow this"];
      return [422, "The server rejected the message"];
  }
}
