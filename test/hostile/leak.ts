/**
 * Many sends of one warm instance under random faults, and what is left of them:
 *
 *     node test/hostile/leak.ts [sends] [seed]      default: 10000, and a seed that is printed
 *
 * Sockets, handles, listeners, file descriptors and memory must be at the end as they were once the
 * instance was warm; and what was reported must agree with what the servers took: all that was
 * accepted, and of the rest only what was called uncertain.
 */
import { getEventListeners } from "node:events";
import { readdirSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Relay } from "../../lib/smtp/io/relay.ts";
import { Mailboxes } from "../../lib/submission/mailboxes.ts";
import { type SubmitPorts, submit } from "../../lib/submission/submit.ts";
import { makeIdentities, PASSWORD, portsFor, USERNAME } from "./lab.ts";
import { type Act, pause, type Script, startHostile } from "./server.ts";

export interface Footprint {
  readonly sends: number;
  /** Active resources by kind: sockets, servers, timers. */
  readonly resources: string;
  readonly descriptors: number;
  readonly listeners: number;
  readonly heapMiB: number;
  readonly buffersMiB: number;
}

export interface LeakReport {
  readonly start: Footprint;
  readonly samples: readonly Footprint[];
  readonly end: Footprint;
  readonly outcomes: Readonly<Record<string, number>>;
  /** What came of it, by error code. */
  readonly errors: Readonly<Record<string, number>>;
  /** Messages that the servers took. */
  readonly taken: number;
}

const AT_ONCE = 16;
/** For a send whose server falls silent. */
const SHORT = 250;
const STAGES = ["greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "content", "QUIT"];

/** Numbers that a seed brings back (xorshift32). */
function randomOf(seed: number): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

const FAULTS: readonly Act[] = [
  (wire) => wire.reset(),
  (wire) => wire.end(),
  (wire) => wire.cut(),
  (wire) => wire.mute(),
  (wire) => wire.trickle("250-one\r\n250 two\r\n", 20),
  async (wire) => {
    wire.write("250-half");
    await pause(1);
    wire.cut();
  },
  (wire) => wire.flood(Buffer.alloc(16 * 1024, "x"), 8),
  "421 4.3.2 closing",
  "450 4.2.0 later",
  "554 5.0.0 no",
  "250-one\r\n550 two",
  "2zz what",
  "250 ok\r\n250 ok",
  "334 !!!",
  "354 go on",
  "220 \u0000\u001b[2J",
];

/** One connection's script: as often as not honest, else one fault at one stage. */
function scriptOf(security: Script["security"], random: () => number, took: () => void): Script {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const honest: Act = (wire) => {
    took();
    wire.say("250 2.0.0 Ok: queued as A1");
  };
  const offers = pick([
    ["PIPELINING", "8BITMIME", "AUTH PLAIN"],
    ["AUTH LOGIN"],
    ["PIPELINING", "CHUNKING", "AUTH PLAIN LOGIN"],
  ]);
  const base: Script = { security, offers, on: { content: honest, BDAT: honest } };
  if (random() < 0.4) return base;
  const stage = pick(STAGES);
  const fault = pick(FAULTS);
  if (stage === "greeting") return { ...base, greeting: fault };
  if (stage !== "content") return { ...base, on: { ...base.on, [stage]: fault } };
  // Half of the servers that fail at the end have taken the message all the same.
  const taken = random() < 0.5;
  const act: Act = async (wire, line) => {
    if (typeof fault === "string") {
      if (/^2\d\d /.test(fault)) took();
      wire.say(fault);
      return;
    }
    if (taken) took();
    await fault(wire, line);
  };
  return { ...base, on: { ...base.on, content: act, BDAT: act } };
}

export async function leak(sends: number, seed: number): Promise<LeakReport> {
  const random = randomOf(seed);
  const identities = await makeIdentities();
  let taken = 0;
  const took = () => {
    taken += 1;
  };
  const kinds = ["implicit", "starttls"] as const;
  const servers = await Promise.all(
    kinds.map((security) =>
      startHostile(() => scriptOf(security, random, took), identities.good, true),
    ),
  );
  const ports = warmPorts(
    Object.fromEntries(
      kinds.flatMap((security, index) =>
        (["auto", "off"] as const).map((chunking) => [
          `${security}-${chunking}`,
          JSON.stringify({
            host: "127.0.0.1",
            port: servers[index]?.port,
            security,
            chunking,
            username: USERNAME,
            password: PASSWORD,
            tls: { ca: identities.ca },
          }),
        ]),
      ),
    ),
  );
  // One signal for a whole instance's life, as a shutdown's would be.
  const shutdown = new AbortController();
  const outcomes: Record<string, number> = {};
  const errors: Record<string, number> = {};
  const send = async () => {
    const box = kinds[Math.floor(random() * 2)] as string;
    const impatient = random() < 0.02 ? new AbortController() : undefined;
    const begun = performance.now();
    const order = {
      input: {
        mailbox: `${box}-${random() < 0.5 ? "auto" : "off"}`,
        to: random() < 0.3 ? ["a@example.net", "b@example.net"] : "a@example.net",
        subject: "leak",
        text: random() < 0.02 ? "long line of text\n".repeat(20_000) : "short",
      },
      id: "leak",
      date: new Date(),
    };
    const patience = random() < 0.5 ? SHORT : 3 * SHORT;
    const limits = {
      timeLeft: () => Math.max(0, patience - (performance.now() - begun)),
      signal: impatient?.signal ?? shutdown.signal,
    };
    const sent = submit(ports, order, limits);
    if (impatient) void pause(random() * 20).then(() => impatient.abort());
    const { outcome, error } = await sent;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    if (error) errors[error.code] = (errors[error.code] ?? 0) + 1;
  };
  const footprint = async (count: number): Promise<Footprint> => {
    // Those that were cut a moment ago, and server replies still being trickled to nobody.
    await standing(4 * SHORT);
    const others = servers.reduce((sum, server) => sum + server.open(), 0);
    return measure(count, getEventListeners(shutdown.signal, "abort").length, others);
  };

  const samples: Footprint[] = [];
  const round = Math.max(1, Math.ceil(sends / 10));
  for (let done = 0; done < sends; ) {
    const many = Math.min(round, sends - done);
    let left = many;
    const worker = async () => {
      while (left > 0) {
        left -= 1;
        await send();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    done += many;
    samples.push(await footprint(done));
  }
  await Promise.all(servers.map((server) => server.close()));
  const [start, end] = [samples[0] as Footprint, samples.at(-1) as Footprint];
  return { start, samples, end, outcomes, errors, taken };
}

/** As a warm instance has them: made once, for all its mailboxes. */
function warmPorts(secrets: Readonly<Record<string, string>>): SubmitPorts {
  const ports = portsFor({ json: "{}" }, []);
  return {
    ...ports,
    // The other one keeps every report, to be looked at.
    relay: new Relay(),
    config: { ...ports.config, secretPrefix: "" },
    mailboxes: new Mailboxes({
      secrets: { read: async (id) => ({ secret: secrets[id] ?? "", version: "1" }) },
      cacheSeconds: 300,
      // A clock that runs: what rests for minutes after a refused login must not rest all run long.
      now: () => performance.now() * 100_000,
    }),
  };
}

/** @param others the servers' own ends of connections, which are theirs to close */
function measure(sends: number, listeners: number, others: number): Footprint {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  // Twice: what finalisers let go of is garbage only then.
  collect();
  collect();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  const kinds: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) kinds[kind] = (kinds[kind] ?? 0) + 1;
  kinds["TCPSocketWrap"] = (kinds["TCPSocketWrap"] ?? 0) - others;
  const mebibytes = (octets: number) => Math.round((octets / 2 ** 20) * 10) / 10;
  return {
    sends,
    resources: Object.entries(kinds)
      .filter(([kind]) => /TCP|TLS|Timeout|GetAddr/i.test(kind))
      .map(([kind, count]) => `${kind} ${count}`)
      .sort()
      .join(", "),
    descriptors: process.platform === "linux" ? readdirSync("/proc/self/fd").length - others : 0,
    listeners:
      listeners + process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0),
    heapMiB: mebibytes(heapUsed),
    buffersMiB: mebibytes(external + arrayBuffers),
  };
}

/** A pause that keeps the process alive, since nothing else may. */
function standing(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** What a report must show; returns what it does not. */
export function leaks({ start, end, outcomes, taken }: LeakReport): readonly string[] {
  const { accepted = 0, uncertain = 0 } = outcomes;
  return [
    ...(end.resources === start.resources
      ? []
      : [`resources: ${start.resources}; ${end.resources}`]),
    ...(end.descriptors > start.descriptors ? ["file descriptors are left"] : []),
    ...(end.listeners > start.listeners ? ["listeners are left"] : []),
    // The collector is not exact, and code that ran for the first time stays compiled.
    ...(end.heapMiB > start.heapMiB + 8 ? ["the heap has grown"] : []),
    ...(end.buffersMiB > start.buffersMiB + 8 ? ["buffers have grown"] : []),
    ...(taken < accepted ? ["accepted, and no server took it"] : []),
    ...(taken > accepted + uncertain ? ["a server took it, and it was called not taken"] : []),
  ];
}

async function main(sends = 10_000, seed = Date.now() % 1_000_000): Promise<void> {
  console.log(`${sends} sends, ${AT_ONCE} at once, seed ${seed}`);
  const begun = performance.now();
  const report = await leak(sends, seed);
  for (const { sends: count, resources, descriptors, listeners, ...memory } of report.samples) {
    const { heapMiB, buffersMiB } = memory;
    console.log(
      `${String(count).padStart(6)} sends: heap ${heapMiB} MiB, buffers ${buffersMiB} MiB, ${descriptors} descriptors, ${listeners} listeners, ${resources}`,
    );
  }
  console.log("outcomes", report.outcomes, "taken by the servers", report.taken);
  console.log("errors", report.errors);
  const found = leaks(report);
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  console.log(found.length === 0 ? `nothing is left, in ${seconds} s` : found.join("\n"));
  if (found.length > 0) process.exitCode = 1;
}

if (import.meta.main) {
  const [sends, seed] = process.argv.slice(2).map(Number);
  await main(sends || 10_000, seed);
}
