/** One cold start under Lambda's own runtime interface client, measured from outside of the process. */
import { readFileSync } from "node:fs";
import { startRic } from "../lambda/ric.ts";

export interface Start {
  /** From before the process was made to its answer, in milliseconds. */
  readonly total: number;
  /** Of that, to its coming for the first event. */
  readonly init: number;
  /** CPU of the whole process, in milliseconds. */
  readonly cpu: number;
  /** Resident at its highest, in MiB. */
  readonly peak: number;
  readonly response: unknown;
}

export interface StartOptions {
  /** Folder of a build, and the function in it. */
  readonly folder: string;
  readonly name: string;
  readonly event: unknown;
  readonly environment: Readonly<Record<string, string>>;
}

export async function coldStart({
  folder,
  name,
  event,
  environment,
}: StartOptions): Promise<Start> {
  const begun = performance.now();
  // As Lambda starts Node.
  const nodeArguments = ["--expose-gc"];
  const started = await startRic({ name, taskRoot: folder, environment, nodeArguments });
  try {
    const init = await started.initMs;
    const { response, error } = await started.invoke(event);
    const total = performance.now() - begun;
    const { outcome } = (response ?? {}) as { readonly outcome?: unknown };
    if (outcome !== "accepted") {
      throw new Error(`${name}: ${JSON.stringify(error ?? response)} ${started.log()}`);
    }
    return { total, init, response, ...usage(started.pid) };
  } finally {
    await started.stop();
  }
}

/** Clock ticks of /proc are 10 ms on every Linux; the scheduler's own account is in nanoseconds. */
function usage(pid: number | undefined): { cpu: number; peak: number } {
  const read = (path: string) => readFileSync(`/proc/${pid}/${path}`, "utf8");
  const ticks = read("stat").split(") ")[1]?.split(" ").slice(11, 13).map(Number) ?? [];
  const peak = Number(/VmHWM:\s+(\d+)/.exec(read("status"))?.[1]) / 1024;
  return { cpu: ticks.reduce((sum, one) => sum + one * 10, 0), peak };
}
