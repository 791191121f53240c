/** Lambda's Invoke API on loopback, in front of a built function: what the real SDK client talks to. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { LambdaFunction } from "./lambda.ts";

export interface LambdaEndpoint {
  readonly url: string;
  /** Requests so far, repeated ones included. */
  calls(): number;
  /** What to do instead of answering. */
  fault(mode: "lose answer" | "throttle" | "fail" | "nonsense" | undefined): void;
  close(): Promise<void>;
}

export async function startLambdaEndpoint(
  functions: Readonly<Record<string, LambdaFunction>>,
): Promise<LambdaEndpoint> {
  let calls = 0;
  let mode: Parameters<LambdaEndpoint["fault"]>[0];
  const server = createServer(async (request, response) => {
    calls += 1;
    const name = /\/functions\/([^/]+)\/invocations/.exec(request.url ?? "")?.[1] ?? "";
    const event: unknown = JSON.parse(await text(request));
    const known = functions[decodeURIComponent(name)];
    const fail = (status: number, type: string) => {
      response.writeHead(status, { "x-amzn-errortype": type, "content-type": "application/json" });
      response.end(JSON.stringify({ Type: "User", message: type }));
    };
    if (mode === "throttle") return fail(429, "TooManyRequestsException");
    if (known === undefined) return fail(404, "ResourceNotFoundException");
    const later = request.headers["x-amz-invocation-type"] === "Event";
    const running = known.invoke(event);
    if (later) {
      response.writeHead(202).end();
      // Lambda tells nobody how an asynchronous invocation ended.
      await running.catch(() => undefined);
      return undefined;
    }
    const result = await running;
    if (mode === "lose answer") return void request.socket.destroy();
    if (mode === "fail") {
      response.writeHead(200, { "x-amz-function-error": "Unhandled" });
      return void response.end(JSON.stringify({ errorMessage: "secret stack" }));
    }
    response.writeHead(200, { "content-type": "application/json" });
    response.end(mode === "nonsense" ? "null" : JSON.stringify(result));
    return undefined;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls: () => calls,
    fault: (next) => {
      mode = next;
    },
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
