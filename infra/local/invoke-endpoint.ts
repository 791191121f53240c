/**
 * Lambda on loopback: the built functions, and the Invoke API that the real SDK client talks to.
 *
 * Rule guarded here: a function runs as Lambda runs it. An instance is a process whose environment
 * is its own; it deals with one event at a time, stays warm for the next, and is ended when its time
 * is up. So two requests at once meet in the ledger and nowhere else.
 */
import { type ChildProcess, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { lambdaContext } from "./context.ts";
import type { Answer } from "./gateway.ts";

/** The timeouts of serverless.yml, in seconds. */
const TIMEOUTS = { invoke: 60, api: 28, check: 60, sqs: 60, sns: 60, eventbridge: 60, s3: 60 };
export type FunctionName = keyof typeof TIMEOUTS;

/** No more processes than a laptop bears; Lambda has a limit, too, and answers the same beyond it. */
const MOST_INSTANCES = 10;
/** AWS's own, for a synchronous invocation. */
export const MOST_PAYLOAD_BYTES = 6 * 1024 * 1024;
const DIST = new URL("../../dist/", import.meta.url);

export interface Invocation {
  readonly requestId: string;
  /** What the handler returned, or Lambda's description of how it failed. */
  readonly payload: unknown;
  readonly failed: boolean;
}

/** The limit on instances is reached; nothing was run. */
export class Throttled extends Error {}

export interface Lambda {
  /** @throws Throttled */
  invoke(name: FunctionName, event: unknown): Promise<Invocation>;
  close(): void;
}

interface Task {
  readonly requestId: string;
  readonly name: FunctionName;
  readonly event: unknown;
}

interface Report {
  readonly result?: unknown;
  readonly error?: { readonly errorType: string; readonly errorMessage: string };
}

export const deployedName = (name: FunctionName): string => `posthaste-local-${name}`;

/** By name or ARN, with or without a qualifier; of whatever stage, as callers have it configured. */
function functionOf(given: string): FunctionName | undefined {
  const own = given.replace(/^.*:function:/, "").replace(/:[^:]*$/, "");
  const name = own.replace(/^posthaste-[A-Za-z0-9]+-/, "");
  return Object.hasOwn(TIMEOUTS, name) ? (name as FunctionName) : undefined;
}

export function startLambda(environment: Readonly<Record<string, string>>): Lambda {
  const idle = new Map<FunctionName, ChildProcess[]>();
  const alive = new Set<ChildProcess>();
  let closed = false;

  const start = (name: FunctionName): ChildProcess => {
    if (closed) throw new Throttled("The stack is being ended.");
    if (alive.size >= MOST_INSTANCES) {
      const unused = [...idle.values()].flat()[0];
      if (unused === undefined) throw new Throttled("All instances are busy.");
      end(unused);
    }
    const child = fork(fileURLToPath(import.meta.url), [name], {
      // Nothing of the shell's: it may hold the addresses and keys of the real AWS.
      env: { PATH: process.env["PATH"] ?? "", ...environment },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    alive.add(child);
    child.once("exit", () => forget(child));
    return child;
  };
  const forget = (child: ChildProcess): void => {
    alive.delete(child);
    for (const [name, children] of idle) {
      idle.set(
        name,
        children.filter((one) => one !== child),
      );
    }
  };
  const end = (child: ChildProcess): void => {
    forget(child);
    child.kill("SIGKILL");
  };

  return {
    invoke: async (name, event) => {
      const child = idle.get(name)?.pop() ?? start(name);
      const requestId = randomUUID();
      const report = await run(child, { requestId, name, event });
      if (report === "timeout") {
        end(child);
        const text = `RequestId: ${requestId} Error: Task timed out after ${TIMEOUTS[name]} seconds`;
        const payload = { errorType: "Sandbox.Timedout", errorMessage: text };
        return { requestId, payload, failed: true };
      }
      if (alive.has(child)) idle.set(name, [...(idle.get(name) ?? []), child]);
      const { result = null, error } = report;
      return { requestId, payload: error ?? result, failed: error !== undefined };
    },
    close: () => {
      closed = true;
      for (const child of alive) end(child);
    },
  };
}

export interface InvokeRequest {
  /** As the path has it: name or ARN. */
  readonly name: string;
  /** The header X-Amz-Invocation-Type. */
  readonly type: string;
  readonly body: string;
}

/**
 * POST /2015-03-31/functions/{name}/invocations
 * @param afterwards is handed Lambda's record of an invocation that nobody waited for
 */
export async function answerInvoke(
  lambda: Lambda,
  { name, type, body }: InvokeRequest,
  afterwards: (name: FunctionName, record: unknown) => void,
): Promise<Answer> {
  const known = functionOf(name);
  if (known === undefined) return refusal(404, "ResourceNotFoundException");
  let event: unknown;
  try {
    event = body === "" ? {} : JSON.parse(body);
  } catch {
    return refusal(400, "InvalidRequestContentException");
  }
  if (type === "DryRun") return { status: 204, headers: {}, body: "" };
  const running = lambda.invoke(known, event);
  if (type === "Event") {
    running.then(
      (done) => afterwards(known, recordOf(known, event, done)),
      (error) => process.stderr.write(`${deployedName(known)} was not run: ${error}\n`),
    );
    return { status: 202, headers: {}, body: "" };
  }
  try {
    const { requestId, payload, failed } = await running;
    const headers = {
      "content-type": "application/json",
      "x-amzn-requestid": requestId,
      "x-amz-executed-version": "$LATEST",
      ...(failed && { "x-amz-function-error": "Unhandled" }),
    };
    return { status: 200, headers, body: JSON.stringify(payload) };
  } catch (error) {
    if (error instanceof Throttled) return refusal(429, "TooManyRequestsException");
    throw error;
  }
}

export function refusal(status: number, type: string): Answer {
  const headers = { "content-type": "application/json", "x-amzn-errortype": type };
  return { status, headers, body: JSON.stringify({ Type: "User", Message: type }) };
}

/** What Lambda hands to the destinations of an asynchronous invocation. */
function recordOf(name: FunctionName, requestPayload: unknown, done: Invocation): unknown {
  return {
    version: "1.0",
    timestamp: new Date().toISOString(),
    requestContext: {
      requestId: done.requestId,
      functionArn: `arn:aws:lambda:us-east-1:000000000000:function:${deployedName(name)}:$LATEST`,
      condition: done.failed ? "RetriesExhausted" : "Success",
      approximateInvokeCount: 1,
    },
    requestPayload,
    responseContext: {
      statusCode: 200,
      executedVersion: "$LATEST",
      ...(done.failed && { functionError: "Unhandled" }),
    },
    responsePayload: done.payload,
  };
}

/** One event on one instance. A process that ends meanwhile has failed, as in Lambda. */
function run(child: ChildProcess, task: Task): Promise<Report | "timeout"> {
  return new Promise((resolve) => {
    const settle = (report: Report | "timeout") => {
      clearTimeout(timer);
      child.off("message", settle).off("exit", ended);
      resolve(report);
    };
    const ended = () => {
      const errorMessage = `RequestId: ${task.requestId} Error: Runtime exited`;
      settle({ error: { errorType: "Runtime.ExitError", errorMessage } });
    };
    const timer = setTimeout(() => settle("timeout"), TIMEOUTS[task.name] * 1000);
    child.once("message", settle).once("exit", ended);
    // Where the process is gone already, its end says so.
    child.send(task, () => {});
  });
}

/** The instance's side. */
async function serve(name: string): Promise<void> {
  // Ctrl-C reaches every process of the terminal, and the parent is the one to end this.
  process.on("SIGINT", () => {});
  process.on("disconnect", () => process.exit());
  const loaded = import(new URL(`${name}.mjs`, DIST).href) as Promise<{
    handler: (event: unknown, context: unknown) => Promise<unknown>;
  }>;
  // Reported with the first event, as Lambda does.
  loaded.catch(() => {});
  process.on("message", async ({ requestId, name: own, event }: Task) => {
    const context = { ...lambdaContext(deployedName(own), TIMEOUTS[own]), awsRequestId: requestId };
    try {
      const { handler } = await loaded;
      process.send?.({ result: await handler(event, context) });
    } catch (error) {
      const { name: errorType, message } = error instanceof Error ? error : new Error(`${error}`);
      process.send?.({ error: { errorType, errorMessage: message } });
    }
  });
}

const [, script, name] = process.argv;
if (script === fileURLToPath(import.meta.url) && name !== undefined) await serve(name);
