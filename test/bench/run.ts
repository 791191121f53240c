/**
 * `npm run bench`: everything that is measured, side by side with nodemailer, in one run.
 *
 *     npm run bench -- [latency] [batch] [throughput] [memory] [size] [--runs=5]
 *
 * Sections not named are left out; with none named all run, and only then test/bench/results.json is
 * written, so that the figures kept are always those of one run on one machine.
 *
 * On loopback the kernel's delayed acknowledgements cost 40 ms wherever one side's Nagle waits for
 * the other, which no figure should hide or blame on the wrong one: what runs at distance 0 is
 * measured once more in a network namespace that acknowledges at once (Linux, root).
 */
import { execFile, execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { cpus, loadavg, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { cold, coldTable } from "./cold.ts";
import { batch, latency, latencyTable } from "./latency.ts";
import { measure, table as memoryTable } from "./memory.ts";
import { throughput, throughputTable } from "./throughput.ts";

interface Section<T> {
  readonly title: string;
  /** How often where nobody says. */
  readonly runs: number;
  /** What of it is of interest where acknowledgements come at once; absent: all. */
  readonly near?: (runs: number) => Promise<T>;
  readonly measure: (runs: number) => Promise<T>;
  readonly table: (measured: T) => string;
}

/** Keeps a section's own type between what it measures and what it prints. */
const section =
  <T>(of: Section<T>) =>
  async (runs: number | undefined, near: boolean): Promise<Outcome> => {
    const way = (near ? of.near : undefined) ?? of.measure;
    const measured = await way(runs ?? of.runs);
    return { title: of.title, measured, text: of.table(measured) };
  };

interface Outcome {
  readonly title: string;
  readonly measured: unknown;
  readonly text: string;
}

const SECTIONS = {
  latency: section({
    title: "One message through a distance",
    runs: 5,
    near: (runs) => latency(runs, [0]),
    measure: latency,
    table: latencyTable,
  }),
  batch: section({
    title: "Ten messages in one session; nodemailer: pool of one connection",
    runs: 5,
    near: (runs) => batch(runs, [0]),
    measure: batch,
    table: latencyTable,
  }),
  throughput: section({
    title: "One connection into smtp-sink, composition included",
    runs: 3,
    measure: throughput,
    table: throughputTable,
  }),
  memory: section({
    title: "An attachment streamed from S3: peak memory of the process",
    runs: 1,
    measure,
    table: memoryTable,
  }),
  size: section({
    title: "Bundles, and a fresh process to its first result",
    runs: 10,
    measure: cold,
    table: coldTable,
  }),
} as const;
type Name = keyof typeof SECTIONS;
const NAMES = Object.keys(SECTIONS) as Name[];
/** Where a stall of 40 ms would show. */
const NEAR: ReadonlySet<Name> = new Set(["latency", "batch", "throughput"]);

const ACKNOWLEDGE_AT_ONCE =
  "ip link set lo up && ip route replace local 127.0.0.0/8 dev lo table local src 127.0.0.1 " +
  "quickack 1 && ip route replace local 127.0.0.1 dev lo table local src 127.0.0.1 quickack 1 " +
  '&& exec "$@"';

/** The same section in a process whose loopback has no delayed acknowledgements. */
async function nearby(name: Name, runs: number | undefined): Promise<Outcome | string> {
  const self = fileURLToPath(import.meta.url);
  const more = runs === undefined ? [] : [`--runs=${runs}`];
  const args = [process.execPath, self, name, "--near", ...more];
  try {
    const run = promisify(execFile);
    const { stdout } = await run("unshare", [
      "--net",
      "sh",
      "-c",
      ACKNOWLEDGE_AT_ONCE,
      "sh",
      ...args,
    ]);
    const line = /^@(.*)$/m.exec(stdout)?.[1];
    return JSON.parse(line ?? "null") ?? `nothing came: ${stdout}`;
  } catch (error) {
    return `not measured with acknowledgements at once: ${(error as Error).message.split("\n")[0]}`;
  }
}

function git(...args: string[]): string {
  try {
    return execFileSync("git", args, { encoding: "utf8" }).trim();
  } catch {
    return "unknown";
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { runs: { type: "string" }, near: { type: "boolean", default: false } },
  });
  const unknown = positionals.filter((name) => !NAMES.includes(name as Name));
  const runs = values.runs === undefined ? undefined : Number(values.runs);
  if (unknown.length > 0 || (runs !== undefined && !(Number.isInteger(runs) && runs > 0))) {
    throw new TypeError(`usage: npm run bench -- [${NAMES.join("] [")}] [--runs=5]`);
  }
  const chosen = NAMES.filter((name) => positionals.length === 0 || positionals.includes(name));
  if (values.near) {
    for (const name of chosen) console.log(`@${JSON.stringify(await SECTIONS[name](runs, true))}`);
    return;
  }
  const machine = {
    commit: git("rev-parse", "HEAD"),
    changed: git("status", "--porcelain", "lib", "functions", "infra") !== "",
    node: process.version,
    cpu: `${cpus().length} × ${cpus()[0]?.model ?? "unknown"}`,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    /** Of the minute before: what else the machine was doing. */
    load: Math.round((loadavg()[0] ?? Number.NaN) * 100) / 100,
    date: new Date().toISOString(),
  };
  console.log(`${JSON.stringify(machine)}\n`);
  const results: Record<string, unknown> = {};
  for (const name of chosen) {
    const outcome = await SECTIONS[name](runs, false);
    console.log(`## ${outcome.title}\n\n${outcome.text}\n`);
    if (!NEAR.has(name)) {
      results[name] = outcome.measured;
      continue;
    }
    const near = await nearby(name, runs);
    const said = typeof near === "string" ? near : near.text;
    console.log(`### the same, every segment acknowledged at once\n\n${said}\n`);
    const acknowledgedAtOnce = typeof near === "string" ? undefined : near.measured;
    results[name] = { usual: outcome.measured, acknowledgedAtOnce };
  }
  if (chosen.length < NAMES.length) return;
  const file = new URL("results.json", import.meta.url);
  await writeFile(file, `${JSON.stringify({ ...machine, ...results }, null, 2)}\n`);
  console.log(`written to ${fileURLToPath(file)}`);
}

await main();
