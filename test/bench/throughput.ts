/**
 * How much goes through one connection on loopback into Postfix's smtp-sink, composition included:
 * small messages, and attachments of 5 MB. Each run is a process of its own, warmed by a part of what
 * it then measures. Postfix's smtp-source is the yardstick in C; it composes nothing. With
 * BENCH_PROFILE=<folder> each leaves a CPU profile of what is measured there.
 */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createTransport } from "nodemailer";
import { viaPosthaste } from "./ours.ts";
import { type Sink, startSink } from "./server.ts";
import { alternate, type Contenders, type Figure, figure, ratio, shown, table } from "./stats.ts";

const MEGABYTE = 1_000_000;
const ATTACHMENT = 5 * MEGABYTE;
const KINDS = {
  small: { count: 1500, warmUp: 500, unit: "messages/s" },
  "5 MB": { count: 8, warmUp: 3, unit: "MB/s" },
} as const;
type Kind = keyof typeof KINDS;
const FROM = "shop@example.com";
const TO = "a@example.net";

export interface Throughput {
  readonly kind: Kind;
  readonly contender: string;
  /** Messages, or MB of attachment, in a second. */
  readonly speed: Figure;
  readonly unit: string;
  /** Of the sender alone, for each message; absent for smtp-source. */
  readonly cpuMs?: Figure;
  /** Of nodemailer's median. */
  readonly ratio: number;
}

interface Sample {
  readonly milliseconds: number;
  readonly cpu?: number;
}

export async function throughput(runs: number): Promise<readonly Throughput[]> {
  const sink = await startSink();
  if (sink === undefined) return [];
  try {
    const measures: Throughput[] = [];
    for (const kind of Object.keys(KINDS) as Kind[]) measures.push(...(await of(sink, kind, runs)));
    return measures;
  } finally {
    await sink.stop();
  }
}

async function of(sink: Sink, kind: Kind, runs: number): Promise<readonly Throughput[]> {
  const { count, unit } = KINDS[kind];
  const contenders: Contenders<Sample> = {
    posthaste: () => child(sink, "posthaste", kind),
    nodemailer: () => child(sink, "nodemailer", kind),
    "smtp-source": () => source(sink, kind),
  };
  const samples = await alternate(contenders, runs);
  const amount = kind === "small" ? count : (count * ATTACHMENT) / MEGABYTE;
  const speeds = new Map(
    [...samples].map(([name, list]) => [
      name,
      figure(list.map(({ milliseconds }) => amount / (milliseconds / 1000))),
    ]),
  );
  return [...samples].map(([contender, list]) => {
    const speed = speeds.get(contender) as Figure;
    const cpu = list.flatMap((sample) => (sample.cpu === undefined ? [] : [sample.cpu / count]));
    return {
      ...{ kind, contender, speed, unit },
      ...(cpu.length > 0 && { cpuMs: figure(cpu) }),
      ratio: ratio(speed, speeds.get("nodemailer")),
    };
  });
}

const run = promisify(execFile);

async function child({ port }: Sink, sender: string, kind: Kind): Promise<Sample> {
  const { NODE_OPTIONS: _unset, ...env } = process.env;
  const self = fileURLToPath(import.meta.url);
  const { stdout } = await run(process.execPath, [self, sender, kind, String(port)], { env });
  return JSON.parse(stdout);
}

async function source({ source: program, port, environment }: Sink, kind: Kind): Promise<Sample> {
  const { count } = KINDS[kind];
  // What the others send: base64 is a third more, and 500 octets are a short letter.
  const length = kind === "small" ? 500 : Math.round((ATTACHMENT * 4) / 3);
  const args = ["-4", "-d", "-s", "1", "-m", String(count), "-l", String(length), "-f", FROM];
  const begun = performance.now();
  await run(program, [...args, "-t", TO, `inet:127.0.0.1:${port}`], { env: { ...environment } });
  return { milliseconds: performance.now() - begun };
}

function mailsOf(kind: Kind, count: number, content: string | Buffer): readonly object[] {
  const text = "Grüße aus dem Takt.\n".repeat(20);
  return Array.from({ length: count }, (_, index) => ({
    from: FROM,
    to: TO,
    subject: `订单 ${index}`,
    text,
    ...(kind !== "small" && { attachments: [{ filename: "a.bin", content }] }),
  }));
}

async function send(sender: string, kind: Kind, port: number): Promise<Sample> {
  const octets = Buffer.alloc(ATTACHMENT, "posthaste!");
  // Each gets the attachment as its callers have it: ours in JSON, nodemailer's in a Buffer.
  const content = sender === "posthaste" ? octets.toString("base64") : octets;
  const way = sender === "posthaste" ? sendOurs : sendTheirs;
  const { count, warmUp } = KINDS[kind];
  await way(port, mailsOf(kind, warmUp, content));
  const mails = mailsOf(kind, count, content);
  const finish = await profile(process.env["BENCH_PROFILE"], `${sender} ${kind}`);
  const before = process.cpuUsage();
  const begun = performance.now();
  await way(port, mails);
  const milliseconds = performance.now() - begun;
  const { user, system } = process.cpuUsage(before);
  await finish?.();
  return { milliseconds, cpu: (user + system) / 1000 };
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

async function sendOurs(port: number, mails: readonly object[]): Promise<void> {
  await viaPosthaste({ host: "127.0.0.1", port, security: "none", from: FROM }, mails);
}

async function sendTheirs(port: number, mails: readonly object[]): Promise<void> {
  const maxMessages = Number.POSITIVE_INFINITY;
  const pool = createTransport({
    ...{ host: "127.0.0.1", port, ignoreTLS: true, pool: true, maxConnections: 1, maxMessages },
  });
  await Promise.all(mails.map((mail) => pool.sendMail(mail)));
  pool.close();
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
  const [sender = "", kind = "", port] = process.argv.slice(2);
  const sample = await send(sender, kind as Kind, Number(port));
  process.stdout.write(JSON.stringify(sample));
}
