/**
 * `npm start`: the whole local stack until Ctrl-C. One address serves the API, the Lambda invoke
 * endpoint and the page.
 *
 * Rule guarded here: it runs what is deployed, and leaves nothing behind. The functions are those
 * of `dist`; everything listens on 127.0.0.1, keeps what it knows in memory, and ends together.
 */
import { existsSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { examples } from "./examples.ts";
import { type FaultMailboxes, startFaultMailboxes } from "./fault-mailboxes.ts";
import { FAULTS, faulty, WRONG_PASSWORD } from "./faults.ts";
import {
  type Answer,
  answerApi,
  isApiPath,
  isForeign,
  message,
  readBody,
  tooLarge,
} from "./gateway.ts";
import { answerInbox, streamInbox } from "./inbox-api.ts";
import {
  answerInvoke,
  deployedName,
  type Lambda,
  refusal,
  startLambda,
} from "./invoke-endpoint.ts";
import { answerPage, SAFETY } from "./page.ts";
import { createPoller } from "./poller.ts";
import { answerReference } from "./reference.ts";
import { ATTACHMENTS, enter, startWholeStack, type WholeStack } from "./stack.ts";

const HOST = "127.0.0.1";
const PORT = 3000;
/** How many ports above a taken one are tried. */
const MOST_PORTS = 50;
/** For what does not end by itself. */
const LAST_RESORT_MS = 5_000;
const INVOKE = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/;

async function main(): Promise<void> {
  const wanted = portFrom(process.env["PORT"]);
  if (!existsSync(new URL("../../dist/api.mjs", import.meta.url))) {
    throw new Error("the functions are not built: run `npm run build` first");
  }
  const stack: WholeStack = await startWholeStack(faulty(() => stack.mail.inbox));
  enter(stack);
  const faults = await startFaultMailboxes(stack);
  const lambda = startLambda(stack.environment);
  const poller = createPoller({
    endpoint: stack.queues.endpoint,
    url: stack.queues.url("requests"),
    arn: stack.queues.arn("requests"),
    invoke: async (event) => {
      const { payload, failed } = await lambda.invoke("sqs", event);
      if (failed) throw new Error(JSON.stringify(payload));
      return payload;
    },
  });
  const server = createServer((request, response) => {
    const begun = performance.now();
    if (pathOf(request) === "/inbox/events" && request.method === "GET" && !isForeign(request)) {
      return streamInbox(stack.mail.inbox, request, response);
    }
    respond({ stack, lambda, faults }, request)
      .then(({ status, headers, body }) => {
        const own = { "content-length": String(Buffer.byteLength(body)) };
        response.writeHead(status, status === 204 ? headers : { ...headers, ...own });
        response.end(request.method === "HEAD" ? "" : body);
        log(request, status, begun);
      })
      .catch((error: unknown) => {
        // A caller that hung up in the middle of its request has no need of an answer.
        if (request.complete) process.stderr.write(`${error}\n`);
        if (!response.headersSent) response.writeHead(500);
        response.end();
      });
  });
  const port = await listen(server, wanted);
  poller.start();

  let ending = false;
  const end = async (): Promise<void> => {
    // Whoever asks twice does not want to wait.
    if (ending) process.exit(1);
    ending = true;
    setTimeout(() => process.exit(1), LAST_RESORT_MS).unref();
    server.close();
    server.closeAllConnections();
    lambda.close();
    await poller.stop();
    await Promise.all([faults.close(), stack.close()]);
  };
  process.on("SIGINT", () => void end());
  process.on("SIGTERM", () => void end());
  print(stack, `http://${HOST}:${port}`);
}

function portFrom(text: string | undefined): number {
  if (text === undefined || text === "") return PORT;
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new Error("PORT must be a number from 0 to 65535; 0: any port that is free");
}

async function listen(server: Server, wanted: number): Promise<number> {
  for (let port = wanted; ; port += 1) {
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject).listen(port, HOST, () => {
          server.off("error", reject);
          resolve();
        });
      });
      return (server.address() as AddressInfo).port;
    } catch (error) {
      const taken = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
      if (!taken || port >= Math.min(65_535, wanted + MOST_PORTS)) throw error;
    }
  }
}

interface Parts {
  readonly stack: WholeStack;
  readonly lambda: Lambda;
  readonly faults: FaultMailboxes;
}

async function respond(
  { stack, lambda, faults }: Parts,
  request: IncomingMessage,
): Promise<Answer> {
  if (isForeign(request)) return message(403, "Forbidden");
  const pathname = pathOf(request);
  const [, name] = INVOKE.exec(pathname) ?? [];
  if (name !== undefined) {
    if (request.method !== "POST") return message(405, "Method Not Allowed");
    const body = await readBody(request);
    if (body === undefined) return refusal(413, "RequestTooLargeException");
    const type = String(request.headers["x-amz-invocation-type"] ?? "RequestResponse");
    const call = {
      name: decoded(name),
      type,
      body: body.toString("utf8"),
    };
    return answerInvoke(lambda, call, (known, record) => {
      // The destination of serverless.yml: what was deferred is tried again from there.
      if (known === "invoke") stack.queues.send("requests", record);
    });
  }
  if (isApiPath(pathname)) {
    const body = await readBody(request);
    return body === undefined ? tooLarge() : answerApi(lambda, request, body);
  }
  const method = request.method ?? "GET";
  if (pathname === `/faults/${WRONG_PASSWORD}` && method === "POST") {
    faults.mend((await readBody(request))?.toString("utf8") === "mended");
    return { status: 204, headers: SAFETY, body: "" };
  }
  if (/^\/inbox(\/|$)/.test(pathname)) {
    return (await answerInbox(stack.mail.inbox, method, pathname)) ?? message(404, "Not Found");
  }
  if (method !== "GET" && method !== "HEAD") return message(404, "Not Found");
  // What the page is made of beside its own files.
  if (pathname === "/page/facts") {
    const lines = examples(`http://${request.headers.host}`);
    const facts = { faults: FAULTS, examples: lines, addresses: addressesOf(stack) };
    const headers = { ...SAFETY, "content-type": "application/json" };
    return { status: 200, headers, body: JSON.stringify(facts) };
  }
  return answerPage(pathname) ?? (await answerReference(pathname)) ?? message(404, "Not Found");
}

/** Names are the page's to translate. */
const addressesOf = ({ mail, queues }: WholeStack) => ({
  tls: `${mail.host}:${mail.ports.implicit}`,
  starttls: `${mail.host}:${mail.ports.starttls}`,
  requests: queues.url("requests"),
  failed: queues.url("failed"),
  s3: queues.endpoint,
});

const pathOf = ({ url = "/" }: IncomingMessage): string => url.split("?", 1)[0] ?? "/";

/** The SDK percent-encodes an ARN; what is badly encoded is no function's name. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return "";
  }
}

/** No address, no subject: those are in the inbox. */
function log(request: IncomingMessage, status: number, begun: number): void {
  const pathname = pathOf(request);
  if (!isApiPath(pathname) && !INVOKE.test(pathname)) return;
  const time = new Date().toISOString().slice(11, 19);
  const took = Math.round(performance.now() - begun);
  console.log(`${time} ${request.method} ${pathname} ${status} ${took} ms`);
}

function print({ mail, queues }: WholeStack, origin: string): void {
  const [first, ...others] = examples(origin);
  const lines = others.map(({ status, why, line }) => `# ${status}: ${why}\n${line}`);
  console.log(`posthaste runs on this machine alone. Ctrl-C ends it.

  page, inbox    ${origin}/
  HTTP API       ${origin}/messages
  reference      ${origin}/reference
  Lambda invoke  AWS_ENDPOINT_URL_LAMBDA=${origin}
                 ${deployedName("invoke")}, ${deployedName("check")}
  SQS            ${queues.url("requests")} and ${queues.url("failed")}
  S3             ${queues.endpoint}, attachments in "${ATTACHMENTS}"
  SMTP           ${mail.host}, port ${mail.ports.implicit} (TLS) or ${mail.ports.starttls} (STARTTLS)

# ${first?.status}: ${first?.why}
${first?.line}

${lines.join("\n")}
`);
}

try {
  await main();
} catch (error) {
  console.error(`The local stack did not start: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
