/**
 * One message from a fresh process, as a cold start has it: node starts, the bundle is imported, the
 * first event is handled. Where the bundle lies and what it is asked comes by argument; what it
 * answered, and when, goes out as JSON.
 */
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath, pathToFileURL } from "node:url";
import { lambdaAws } from "../../infra/local/aws.ts";

export interface Fresh {
  /** From before the process was made to its result, in milliseconds. */
  readonly total: number;
  /** Of that, from the bundle's import to its result. */
  readonly inside: number;
  readonly importing: number;
  /** CPU of the whole process, in milliseconds. */
  readonly cpu: number;
  /** Resident at its highest, in MiB. */
  readonly peak: number;
  readonly outcome: unknown;
  /** Names of Node's own modules that it has loaded, `internal/` included. */
  readonly builtins: readonly string[];
  /** Octets of each module loaded from a file, where they were to be counted. */
  readonly loaded: Readonly<Record<string, number>>;
}

export interface FreshOptions {
  readonly bundle: string;
  readonly event: unknown;
  readonly environment: Readonly<Record<string, string>>;
  /** Counting makes loading slower: its times mean nothing. */
  readonly count?: boolean;
}

/** Kept as plain JavaScript, so that no type stripping is on the clock; `performance` would load all of perf_hooks. */
const RUNNER = `
const [, bundle, event] = process.argv;
const now = () => Number(process.hrtime.bigint()) / 1e6;
const begun = now();
const { handler } = await import(bundle);
const imported = now();
const { outcome, error } = await handler(JSON.parse(event), { awsRequestId: "bench" });
const done = now();
const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
const report = {
  importing: imported - begun, inside: done - begun, outcome, error,
  cpu: (userCPUTime + systemCPUTime) / 1000, peak: maxRSS / 1024,
  builtins: process.moduleLoadList.map((name) => name.replace("NativeModule ", "")),
};
process.stdout.write("\\n@" + JSON.stringify(report), () => process.exit());
`;

export async function fresh(options: FreshOptions): Promise<Fresh> {
  const { bundle, event, environment, count = false } = options;
  const counter = ["--import", new URL("./loaded.ts", import.meta.url).href];
  const args = [...(count ? counter : []), "--input-type=module", "-e", RUNNER];
  const begun = performance.now();
  const child = spawn(
    process.execPath,
    [...args, "--", pathToFileURL(bundle).href, JSON.stringify(event)],
    {
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
      env: { ...lambdaAws("bench"), PATH: process.env["PATH"] ?? "", ...environment },
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    },
  );
  const [, out, errors, extra] = child.stdio;
  if (out === null || errors === null) throw new Error("no pipes");
  let total = 0;
  out.on("data", (chunk: Buffer) => {
    if (chunk.includes("\n@")) total = performance.now() - begun;
  });
  const counted = text(extra as NodeJS.ReadableStream);
  const [printed, failures, modules] = await Promise.all([text(out), text(errors), counted]);
  const report = /^@(.*)$/m.exec(printed)?.[1];
  if (report === undefined) throw new Error(`${bundle} gave no result: ${printed}${failures}`);
  const result = JSON.parse(report);
  if (result.error !== undefined) throw new Error(`${bundle}: ${JSON.stringify(result.error)}`);
  return { ...result, total, loaded: modules === "" ? {} : JSON.parse(modules) };
}
