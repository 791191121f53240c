/**
 * `npm run bench`: everything that is measured, side by side with nodemailer, in one run.
 *
 *     npm run bench -- [latency] [batch] [stalls] [throughput] [growth] [memory] [size] [early] [session] [--runs=5] [--quick]
 *
 * Sections not named are left out; with none named all run, and only then test/bench/results.json is
 * written, with the pages and charts that show it (report.ts), so that the figures kept are always
 * those of one run on one machine. `--quick` tries everything once, near, and writes nothing.
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
import { cpu, cpuTable } from "./cpu.ts";
import { early, earlyTable } from "./early.ts";
import { growth, growthTable } from "./growth.ts";
import { batch, latency, latencyTable } from "./latency.ts";
import { measure, table as memoryTable } from "./memory.ts";
import { type Results, write } from "./report.ts";
import { stalls, stallsTable } from "./stalls.ts";
import { throughput, throughputTable } from "./throughput.ts";

interface Section<T> {
  readonly title: string;
  /** How often where nobody says. */
  readonly runs: number;
  /** What of it is of interest where acknowledgements come at once, and for a try; absent: all. */
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
    near: (runs) => batch(runs, 0),
    measure: batch,
    table: latencyTable,
  }),
  stalls: section({
    title: "Delayed acknowledgements for one message, counted by the kernel",
    runs: 7,
    measure: stalls,
    table: stallsTable,
  }),
  throughput: section({
    title: "One connection into smtp-sink, composition included",
    runs: 3,
    measure: throughput,
    table: throughputTable,
  }),
  growth: section({
    title: "How cost grows with recipients, size and batch",
    runs: 3,
    measure: growth,
    table: growthTable,
  }),
  memory: section({
    title: "An attachment streamed from S3: peak memory of the process",
    runs: 1,
    measure,
    table: memoryTable,
  }),
  size: section({
    title: "Bundles, and a fresh process to its first result",
    runs: 15,
    measure: cold,
    table: coldTable,
  }),
  early: section({
    title: "RELAY: a cold start at a distance, the secret after 30 ms",
    runs: 7,
    near: (runs) => early(runs, [20]),
    measure: early,
    table: earlyTable,
  }),
  session: section({
    title: "CPU of a warm session, implicit TLS and PLAIN",
    runs: 7,
    measure: cpu,
    table: cpuTable,
  }),
} as const;
type Name = keyof typeof SECTIONS;
const NAMES = Object.keys(SECTIONS) as Name[];
/** Where a stall of 40 ms would show. */
const NEAR: ReadonlySet<Name> = new Set(["latency", "batch", "throughput"]);

/** Measured in a namespace of its own, where the kernel counts nobody else. */
const ALONE: ReadonlySet<Name> = new Set(["stalls"]);

const UP = 'ip link set lo up && exec "$@"';
const ACKNOWLEDGE_AT_ONCE =
  "ip link set lo up && ip route replace local 127.0.0.0/8 dev lo table local src 127.0.0.1 " +
  "quickack 1 && ip route replace local 127.0.0.1 dev lo table local src 127.0.0.1 quickack 1 " +
  '&& exec "$@"';

/** The same section in a process whose loopback is another, prepared by these commands. */
async function apart(
  name: Name,
  runs: number | undefined,
  prepare: string,
): Promise<Outcome | string> {
  const self = fileURLToPath(import.meta.url);
  const more = runs === undefined ? [] : [`--runs=${runs}`];
  const args = [process.execPath, self, name, "--near", ...more];
  try {
    const run = promisify(execFile);
    const { stdout } = await run("unshare", ["--net", "sh", "-c", prepare, "sh", ...args], {
      maxBuffer: 64 * 1024 * 1024,
    });
    const line = /^@(.*)$/m.exec(stdout)?.[1];
    return JSON.parse(line ?? "null") ?? `nothing came: ${stdout}`;
  } catch (error) {
    return `not measured in a network namespace: ${(error as Error).message.split("\n")[0]}`;
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
    options: {
      runs: { type: "string" },
      near: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
    },
  });
  const unknown = positionals.filter((name) => !NAMES.includes(name as Name));
  const { quick } = values;
  const asked = values.runs === undefined ? undefined : Number(values.runs);
  const runs = asked ?? (quick ? 1 : undefined);
  if (unknown.length > 0 || (runs !== undefined && !(Number.isInteger(runs) && runs > 0))) {
    throw new TypeError(`usage: npm run bench -- [${NAMES.join("] [")}] [--runs=5] [--quick]`);
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
    const said = (one: Outcome | string) => (typeof one === "string" ? one : one.text);
    const kept = (one: Outcome | string) => (typeof one === "string" ? undefined : one.measured);
    const outcome = ALONE.has(name)
      ? await apart(name, runs, UP)
      : await SECTIONS[name](runs, quick);
    const title = typeof outcome === "string" ? name : outcome.title;
    console.log(`## ${title}\n\n${said(outcome)}\n`);
    results[name] = kept(outcome);
    if (!NEAR.has(name)) continue;
    const near = await apart(name, runs, ACKNOWLEDGE_AT_ONCE);
    console.log(`### the same, every segment acknowledged at once\n\n${said(near)}\n`);
    results[name] = { usual: kept(outcome), acknowledgedAtOnce: kept(near) };
  }
  if (quick || chosen.length < NAMES.length) return;
  const file = new URL("results.json", import.meta.url);
  await writeFile(file, `${JSON.stringify({ ...machine, ...results }, null, 2)}\n`);
  const pages = await write({ ...machine, ...results } as Results);
  console.log(["written: test/bench/results.json", ...pages].join("\n"));
}

await main();
