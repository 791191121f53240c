/**
 * Lambda's Runtime API (2018-06-01) on loopback, for one instance of a function: what the service
 * says to a runtime, and the limits that it sets.
 *
 * Rule guarded here: the runtime is asked for nothing that Lambda would not ask. One event at a time,
 * the next only when the runtime comes for it; an answer too large is refused as Lambda refuses it.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** AWS's own bound for a synchronous answer, in octets: 6 MB and some room for its envelope. */
export const MOST_RESPONSE_BYTES = 6_291_556;

export interface Invocation {
  readonly event: unknown;
  /** Milliseconds since the epoch at which Lambda would end the instance. */
  readonly deadline: number;
  readonly requestId?: string;
  readonly traceId?: string;
}

export interface Completed {
  readonly requestId: string;
  /** What the handler returned. */
  readonly response?: unknown;
  /** What the runtime said in its place: `errorType`, `errorMessage`, `trace`. */
  readonly error?: RuntimeFault;
  /** From handing the event over to the answer, in milliseconds. */
  readonly durationMs: number;
}

export interface RuntimeFault {
  readonly errorType: string;
  readonly errorMessage: string;
  readonly trace?: readonly string[];
}

export interface RuntimeApi {
  /** For AWS_LAMBDA_RUNTIME_API: `host:port`, without a scheme. */
  readonly address: string;
  /** Resolves once the runtime has come for its first event: the end of Lambda's init phase. */
  readonly ready: Promise<void>;
  /** Resolves where the runtime reports that the function could not be loaded. */
  readonly initError: Promise<RuntimeFault>;
  /** Hands the event to the runtime when it comes for one; events wait in line. */
  invoke(invocation: Invocation): Promise<Completed>;
  close(): Promise<void>;
}

interface Pending extends Invocation {
  readonly requestId: string;
  readonly settle: (completed: Completed) => void;
  handedOver: number;
}

const PATH = "/2018-06-01/runtime";
const ANSWER = new RegExp(`^${PATH}/invocation/([^/]+)/(response|error)$`);

/** @param functionArn what the context's `invokedFunctionArn` will be */
export async function startRuntimeApi(functionArn: string): Promise<RuntimeApi> {
  const queue: Pending[] = [];
  const running = new Map<string, Pending>();
  let waiting: ServerResponse | undefined;
  let cameForFirst: () => void = () => {};
  let failedToLoad: (fault: RuntimeFault) => void = () => {};
  const ready = new Promise<void>((resolve) => {
    cameForFirst = resolve;
  });
  const initError = new Promise<RuntimeFault>((resolve) => {
    failedToLoad = resolve;
  });

  /** An event and a runtime that has come for one. */
  const match = (): void => {
    const next = waiting === undefined ? undefined : queue.shift();
    if (next === undefined || waiting === undefined) return;
    const body = JSON.stringify(next.event);
    waiting.writeHead(200, {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      "lambda-runtime-aws-request-id": next.requestId,
      "lambda-runtime-deadline-ms": String(Math.floor(next.deadline)),
      "lambda-runtime-invoked-function-arn": functionArn,
      "lambda-runtime-trace-id": next.traceId ?? "Root=1-5759e988-bd862e3fe1be46a994272793",
    });
    running.set(next.requestId, next);
    next.handedOver = performance.now();
    waiting.end(body);
    waiting = undefined;
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method, url = "" } = request;
    if (method === "GET" && url === `${PATH}/invocation/next`) {
      waiting = response;
      cameForFirst();
      return match();
    }
    const octets = await read(request);
    if (method === "POST" && url === `${PATH}/init/error`) {
      failedToLoad(JSON.parse(octets.toString("utf8")) as RuntimeFault);
      return reply(response, 202, { status: "OK" });
    }
    const [, id = "", kind] = (method === "POST" && ANSWER.exec(url)) || [];
    const pending = running.get(decodeURIComponent(id));
    if (pending === undefined) return reply(response, 400, refusal("InvalidRequestID"));
    running.delete(pending.requestId);
    const { requestId, handedOver, settle } = pending;
    const common = { requestId, durationMs: performance.now() - handedOver };
    if (kind === "response" && octets.length > MOST_RESPONSE_BYTES) {
      const errorMessage = `Response payload size exceeded maximum allowed payload size (${MOST_RESPONSE_BYTES} bytes).`;
      reply(response, 413, refusal("RequestEntityTooLarge"));
      const error = { errorType: "Function.ResponseSizeTooLarge", errorMessage };
      return settle({ ...common, error });
    }
    const value: unknown = JSON.parse(octets.toString("utf8"));
    reply(response, 202, { status: "OK" });
    settle(
      kind === "error"
        ? { ...common, error: value as RuntimeFault }
        : { ...common, response: value },
    );
  };

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    ready,
    initError,
    invoke: (invocation) =>
      new Promise((settle) => {
        const requestId = invocation.requestId ?? randomUUID();
        queue.push({ ...invocation, requestId, settle, handedOver: 0 });
        match();
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

const refusal = (errorType: string) => ({ errorType, errorMessage: errorType });
