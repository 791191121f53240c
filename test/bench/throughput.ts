/**
 * How much goes on loopback into Postfix's smtp-sink, composition included: small messages on one
 * connection and on ten, attachments of 5 and of 25 MB. Each run is a process of its own, warmed by a part of what
 * it then measures. Postfix's smtp-source is the yardstick in C; it composes nothing. With
 * BENCH_PROFILE=<folder> each leaves a CPU profile of what is measured there.
 */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { FROM, type Job, type Sample, SENDERS, type SenderName, timed } from "./senders.ts";
import { type Sink, startSink } from "./server.ts";
import { alternate, type Contenders, type Figure, figure, ratio, shown, table } from "./stats.ts";

const MEGABYTE = 1_000_000;
interface Kind {
  readonly count: number;
  /** Messages before, so that what is measured is the compiled code. */
  readonly warmUp: number;
  readonly connections: number;
  /** MB of the attachment. */
  readonly attached: number;
}
const KINDS = {
  small: { count: 1500, warmUp: 500, connections: 1, attached: 0 },
  "small, ten connections": { count: 3000, warmUp: 1000, connections: 10, attached: 0 },
  "5 MB": { count: 8, warmUp: 3, connections: 1, attached: 5 },
  "25 MB": { count: 3, warmUp: 1, connections: 1, attached: 25 },
} as const satisfies Readonly<Record<string, Kind>>;
type KindName = keyof typeof KINDS;
/**
 * emailjs leaves Nagle's algorithm on and ends content with a small write of its own, so most of its
 * messages wait 40 ms for a delayed acknowledgement: of small ones it sends fewer.
 */
const STALLED: ReadonlySet<string> = new Set<SenderName>(["emailjs"]);

function countOf(contender: string, kind: KindName): number {
  const { count, attached } = KINDS[kind];
  return attached === 0 && STALLED.has(contender) ? count / 10 : count;
}

export interface Throughput {
  readonly kind: KindName;
  readonly contender: string;
  /** Messages, or MB of attachment, in a second. */
  readonly speed: Figure;
  readonly unit: string;
  /** Of the sender alone, for each message; absent for smtp-source. */
  readonly cpuMs?: Figure;
  /** Of nodemailer's median. */
  readonly ratio: number;
}

export async function throughput(runs: number): Promise<readonly Throughput[]> {
  const sink = await startSink();
  if (sink === undefined) return [];
  try {
    const measures: Throughput[] = [];
    for (const kind of Object.keys(KINDS) as KindName[])
      measures.push(...(await of(sink, kind, runs)));
    return measures;
  } finally {
    await sink.stop();
  }
}

async function of(sink: Sink, kind: KindName, runs: number): Promise<readonly Throughput[]> {
  const names = Object.keys(SENDERS) as SenderName[];
  const contenders: Contenders<Sample> = {
    ...Object.fromEntries(names.map((name) => [name, () => child(sink, name, kind)])),
    "smtp-source": () => source(sink, kind),
  };
  const samples = await alternate(contenders, runs);
  const { attached } = KINDS[kind];
  const amount = (name: string) => countOf(name, kind) * (attached || 1);
  const speeds = new Map(
    [...samples].map(([name, list]) => [
      name,
      figure(list.map(({ milliseconds }) => amount(name) / (milliseconds / 1000))),
    ]),
  );
  return [...samples].map(([contender, list]) => {
    const speed = speeds.get(contender) as Figure;
    const cpu = list.flatMap(({ cpu: all }) =>
      all === undefined ? [] : [all / countOf(contender, kind)],
    );
    return {
      ...{ kind, contender, speed, unit: attached === 0 ? "messages/s" : "MB/s" },
      ...(cpu.length > 0 && { cpuMs: figure(cpu) }),
      ratio: ratio(speed, speeds.get("nodemailer")),
    };
  });
}

const run = promisify(execFile);

async function child({ port }: Sink, sender: SenderName, kind: KindName): Promise<Sample> {
  const { NODE_OPTIONS: _unset, ...env } = process.env;
  const self = fileURLToPath(import.meta.url);
  const { stdout } = await run(process.execPath, [self, sender, kind, String(port)], { env });
  return JSON.parse(stdout);
}

async function source(
  { source: program, port, environment }: Sink,
  kind: KindName,
): Promise<Sample> {
  const { count, connections, attached } = KINDS[kind];
  // What the others send: base64 is a third more, and 500 octets are a short letter.
  const length = attached === 0 ? 500 : Math.round((attached * MEGABYTE * 4) / 3);
  const args = ["-4", "-d", "-s", connections, "-m", count, "-l", length, "-f", FROM].map(String);
  const begun = performance.now();
  await run(program, [...args, "-t", "a@example.net", `inet:127.0.0.1:${port}`], {
    env: { ...environment },
  });
  return { milliseconds: performance.now() - begun };
}

async function measured(sender: SenderName, kind: KindName, port: number): Promise<Sample> {
  const { warmUp, connections, attached } = KINDS[kind];
  const count = countOf(sender, kind);
  const job: Job = {
    ...{ port, connections, messages: count },
    ...{ recipients: 1, attached: attached * MEGABYTE },
  };
  await SENDERS[sender]({ ...job, messages: warmUp })();
  const send = SENDERS[sender](job);
  const finish = await profile(process.env["BENCH_PROFILE"], `${sender} ${kind}`);
  const sample = await timed(send);
  await finish?.();
  return sample;
}

/** Of what is measured and no more: `--cpu-prof` would show mostly how modules are loaded. */
async function profile(folder: string | undefined, name: string) {
  if (folder === undefined) return undefined;
  const { Session } = await import("node:inspector/promises");
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.start");
  return async () => {
    const { profile: taken } = await session.post("Profiler.stop");
    await writeFile(join(folder, `${name}.cpuprofile`), JSON.stringify(taken));
  };
}

export function throughputTable(measures: readonly Throughput[]): string {
  return table(
    ["message", "contender", "speed (quartiles)", "unit", "CPU ms each", "of nodemailer"],
    measures.map(({ kind, contender, speed, unit, cpuMs, ratio: part }) => [
      ...[kind, contender, shown(speed), unit, cpuMs ? shown(cpuMs) : "", part.toFixed(2)],
    ]),
  );
}

if (import.meta.main) {
  const [sender, kind, port] = process.argv.slice(2);
  const sample = await measured(sender as SenderName, kind as KindName, Number(port));
  // What a contender keeps open after it is asked to close is not waited for.
  process.stdout.write(JSON.stringify(sample), () => process.exit());
}
