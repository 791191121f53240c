/** What `npm start` runs once it has built: the whole local stack, as a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const START = fileURLToPath(new URL("../../infra/local/start.ts", import.meta.url));

export interface Started {
  readonly child: ChildProcess;
  /** Of page and API. */
  readonly origin: string;
  /** All that it has printed so far. */
  output(): string;
  /** Settles with its exit code, which is null where a signal ended it. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/**
 * Settles when the last of its lines is printed, and all of it answers.
 *
 * @param env added to this process's own; `PORT` is any that is free
 */
export async function npmStart(env: Readonly<Record<string, string>> = {}): Promise<Started> {
  const child = spawn(process.execPath, [START], {
    env: { ...process.env, PORT: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  await new Promise<void>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output += chunk;
      if (output.includes("# 504")) resolve();
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("exit", (code) => reject(new Error(`it ended with ${code}: ${output}`)));
  });
  return {
    child,
    origin: /HTTP API\s+(http:\S+)\/messages/.exec(output)?.[1] ?? "",
    output: () => output,
    stop: async (signal = "SIGTERM") => {
      if (child.exitCode !== null) return child.exitCode;
      const ended = once(child, "exit");
      child.kill(signal);
      const [code] = await ended;
      return code;
    },
  };
}
