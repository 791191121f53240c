/**
 * API Gateway on loopback: HTTP requests become events of an HTTP API (payload 2.0) for the function,
 * and its answers HTTP again.
 *
 * Rule guarded here: the stack is this machine's own. Whatever page a browser has open, it can
 * neither send through here nor read what was delivered.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from "aws-lambda";
import { deployedName, type Lambda, MOST_PAYLOAD_BYTES, Throttled } from "./invoke-endpoint.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

/** What comes under these paths goes to the function, its 404 and 405 included. */
export const isApiPath = (path: string): boolean => /^\/messages(\/|$)/.test(path);

/** Undefined where it is larger than AWS takes. */
export async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    // Read to the end all the same: a client that is still writing does not hear an answer.
    if (size <= MOST_PAYLOAD_BYTES) chunks.push(chunk);
  }
  return size <= MOST_PAYLOAD_BYTES ? Buffer.concat(chunks) : undefined;
}

/**
 * A page of another site would give its own origin away, and one whose name was made to point here
 * (DNS rebinding) its name.
 */
export function isForeign({ headers }: IncomingMessage): boolean {
  const { host = "", origin } = headers;
  const local = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/i.test(host);
  return !local || (origin !== undefined && origin !== `http://${host}`);
}

export const message = (status: number, text: string): Answer => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ message: text }),
});

export async function answerApi(
  lambda: Lambda,
  request: IncomingMessage,
  body: Buffer,
): Promise<Answer> {
  const event = eventOf(request, body);
  // Escaped, the body takes more room in the event than on the wire.
  if (Buffer.byteLength(JSON.stringify(event)) > MOST_PAYLOAD_BYTES) return tooLarge();
  try {
    const { payload, failed } = await lambda.invoke("api", event);
    // What went wrong is for the function's log, and not for its callers.
    return failed ? message(500, "Internal Server Error") : answerOf(payload);
  } catch (error) {
    if (error instanceof Throttled) return message(503, "Service Unavailable");
    throw error;
  }
}

export const tooLarge = (): Answer => message(413, "Request Entity Too Large");

function eventOf(request: IncomingMessage, body: Buffer): APIGatewayProxyEventV2 {
  const { pathname, search, searchParams } = new URL(request.url ?? "/", "http://127.0.0.1");
  const method = request.method ?? "GET";
  const headers = Object.fromEntries(
    Object.entries(request.headersDistinct).map(([name, values]) => [name, values?.join(",")]),
  );
  const names = [...new Set(searchParams.keys())];
  const query = Object.fromEntries(
    names.map((name) => [name, searchParams.getAll(name).join(",")]),
  );
  const now = new Date();
  const text = isText(headers["content-type"]);
  return {
    version: "2.0",
    routeKey: "$default",
    rawPath: pathname,
    rawQueryString: search.slice(1),
    headers,
    ...(names.length > 0 && { queryStringParameters: query }),
    requestContext: {
      accountId: "000000000000",
      apiId: deployedName("api"),
      domainName: headers["host"] ?? "",
      domainPrefix: "local",
      http: {
        method,
        path: pathname,
        protocol: `HTTP/${request.httpVersion}`,
        sourceIp: request.socket.remoteAddress ?? "127.0.0.1",
        userAgent: headers["user-agent"] ?? "",
      },
      requestId: randomUUID(),
      routeKey: "$default",
      stage: "$default",
      time: now.toISOString(),
      timeEpoch: now.getTime(),
    },
    ...(body.length > 0 && { body: body.toString(text ? "utf8" : "base64") }),
    isBase64Encoded: body.length > 0 && !text,
  };
}

/** The rest reaches the function as base64. */
function isText(type = ""): boolean {
  return /^(text\/|application\/(json|javascript|xml|[\w.-]+\+(json|xml))\b)/i.test(type);
}

function answerOf(payload: unknown): Answer {
  const {
    statusCode = 200,
    headers = {},
    body = "",
    isBase64Encoded,
  } = payload as APIGatewayProxyStructuredResultV2;
  const texts = Object.entries(headers).map(([name, value]) => [name, String(value)]);
  return {
    status: statusCode,
    headers: Object.fromEntries(texts),
    body: isBase64Encoded ? Buffer.from(body, "base64") : body,
  };
}
