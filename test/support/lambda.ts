/**
 * A built function in a process of its own, as Lambda runs it: configured by environment variables
 * alone, invoked with an event and a context. The handler is the bundle in `dist`, never the source.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { LOCAL_AWS, lambdaAws } from "../../infra/local/aws.ts";

export interface LambdaFunction {
  /** @param milliseconds what the context says is left */
  // biome-ignore lint/suspicious/noExplicitAny: results are inspected by the tests, field by field
  invoke(event: unknown, milliseconds?: number): Promise<any>;
  /** Everything the function wrote to its log. */
  log(): string;
  /** Of that, what went to standard output. */
  output(): string;
  stop(): Promise<void>;
  /** SIGKILL: nothing of its own runs any more. */
  kill(): Promise<void>;
}

export { LOCAL_AWS as AWS_ENVIRONMENT };

const runner = fileURLToPath(new URL("./lambda-runner.mjs", import.meta.url));

export async function startFunction(
  name: string,
  environment: Readonly<Record<string, string>>,
): Promise<LambdaFunction> {
  const child: ChildProcess = fork(runner, [name], {
    env: { ...lambdaAws(name), PATH: process.env["PATH"] ?? "", ...environment },
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    serialization: "json",
  });
  let log = "";
  let output = "";
  child.stdout?.on("data", (chunk) => {
    log += chunk;
    output += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    log += chunk;
  });
  const waiting = new Map<number, (answer: Answer) => void>();
  child.on("message", (answer: Answer) => {
    waiting.get(answer.number)?.(answer);
    waiting.delete(answer.number);
  });
  child.on("exit", (code) => {
    for (const settle of waiting.values()) {
      settle({ number: 0, error: `the function's process ended (${code}): ${log}` });
    }
  });
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  };
  let count = 0;
  return {
    invoke: (event, milliseconds = 20_000) =>
      new Promise((resolve, reject) => {
        if (child.exitCode !== null || child.signalCode !== null) {
          reject(new Error(`the function's process has ended: ${log}`));
          return;
        }
        count += 1;
        waiting.set(count, ({ error, result }) => {
          if (error === undefined) resolve(result);
          else reject(new Error(error));
        });
        child.send({ number: count, event, milliseconds });
      }),
    log: () => log,
    output: () => output,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
  };
}

interface Answer {
  readonly number: number;
  readonly result?: unknown;
  readonly error?: string;
}
