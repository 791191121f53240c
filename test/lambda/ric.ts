/**
 * A built function under AWS's own runtime interface client, as it runs inside Lambda: its process,
 * its environment, its deadline. `test/lambda/install.sh` builds the client.
 *
 * Rule guarded here: what is tested is the module of `dist/` in the hands of the program that will
 * load it, and nothing of ours stands between the two.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { lambdaAws } from "../../infra/local/aws.ts";
import { type Completed, type RuntimeFault, startRuntimeApi } from "./runtime-api.ts";

const ricRoot = process.env["POSTHASTE_RIC_ROOT"] ?? "/var/cache/posthaste-ric";
const CLIENT = join(ricRoot, "aws-lambda-ric", "index.mjs");
const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));

let told = false;

/**
 * Can the client be run here? When not, the reason is printed once, so that a test skipped by name
 * says why; with POSTHASTE_REQUIRE_MTA=1 it is an error instead.
 */
export function ricAvailable(): boolean {
  if (existsSync(join(ricRoot, "stamp")) && existsSync(CLIENT)) return true;
  const reason = `aws-lambda-ric not found in ${ricRoot}: run test/lambda/install.sh`;
  if (process.env["POSTHASTE_REQUIRE_MTA"] === "1") throw new Error(reason);
  if (!told) console.warn(`skipping tests under Lambda's runtime: ${reason}`);
  told = true;
  return false;
}

export interface RicOptions {
  /** A function of ours (`invoke`), loaded as `<name>.handler`. */
  readonly name: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Seconds; the context's deadline, after which the process is ended. Default: 30. */
  readonly timeout?: number;
  /** Where `<name>.mjs` lies. Default: `dist/`. */
  readonly taskRoot?: string;
  /** Arguments of Node itself. */
  readonly nodeArguments?: readonly string[];
}

export interface RicFunction {
  readonly pid: number | undefined;
  /** From the making of the process to its coming for the first event, in milliseconds. */
  readonly initMs: Promise<number>;
  readonly initError: Promise<RuntimeFault>;
  /** How the process ended, once it has. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  /** A process that ends meanwhile, or is ended at its deadline, is an error, as Lambda words it. */
  invoke(event: unknown, about?: InvokeOptions): Promise<Completed>;
  /** Everything that went to the log. */
  log(): string;
  stop(): Promise<void>;
}

export interface InvokeOptions {
  /** Milliseconds until the deadline. Default: the function's timeout. */
  readonly timeLeft?: number;
  readonly requestId?: string;
  readonly traceId?: string;
}

export async function startRic(options: RicOptions): Promise<RicFunction> {
  const { name, environment, timeout = 30, taskRoot = DIST, nodeArguments = [] } = options;
  const deployed = `posthaste-test-${name}`;
  const api = await startRuntimeApi(`arn:aws:lambda:us-east-1:000000000000:function:${deployed}`);
  const begun = performance.now();
  const child = spawn(process.execPath, [...nodeArguments, CLIENT], {
    cwd: taskRoot,
    env: {
      ...lambdaAws(deployed),
      PATH: process.env["PATH"] ?? "",
      AWS_LAMBDA_RUNTIME_API: api.address,
      AWS_LAMBDA_FUNCTION_VERSION: "$LATEST",
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "256",
      AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${deployed}`,
      AWS_LAMBDA_LOG_STREAM_NAME: "local",
      AWS_EXECUTION_ENV: "AWS_Lambda_nodejs24.x",
      LAMBDA_TASK_ROOT: taskRoot,
      _HANDLER: `${name}.handler`,
      ...environment,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      log += chunk;
    });
  }
  const ended = once(child, "exit").then(([code, signal]) => ({ code, signal }));
  return {
    pid: child.pid,
    initMs: api.ready.then(() => performance.now() - begun),
    initError: api.initError,
    ended,
    invoke: (event, { timeLeft = timeout * 1000, ...about } = {}) =>
      new Promise((resolve) => {
        const started = performance.now();
        const settle = (completed: Completed) => {
          clearTimeout(timer);
          resolve(completed);
        };
        const failed = (errorType: string, errorMessage: string) => {
          const durationMs = performance.now() - started;
          const error = { errorType, errorMessage };
          settle({ requestId: about.requestId ?? "", error, durationMs });
        };
        const timer = setTimeout(() => {
          child.kill("SIGKILL");
          failed(
            "Sandbox.Timedout",
            `Task timed out after ${(timeLeft / 1000).toFixed(2)} seconds`,
          );
        }, timeLeft);
        void ended.then(({ code, signal }) =>
          failed("Runtime.ExitError", `Runtime exited with error: exit status ${code ?? signal}`),
        );
        void api.invoke({ event, deadline: Date.now() + timeLeft, ...about }).then(settle);
      }),
    log: () => log,
    stop: async () => {
      child.kill("SIGKILL");
      await ended;
      await api.close();
    },
  };
}
