/**
 * The long run:
 *
 *     node test/fuzz/run.ts [--replies 1000000] [--requests 100000] [--seed n] [--target part-of-name]
 *
 * Works in a thread, so that an input without an end is found too: a batch that takes a minute of the
 * processor's time (not of a busy machine's) is one, and the seed that brings it back is printed. Afterwards the work is measured on inputs eight times
 * as long: linear work takes about eight times as long.
 */
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import fc from "fast-check";
import { parseAddressList, parseMailbox } from "../../lib/message/address.ts";
import { parseRaw } from "../../lib/message/raw.ts";
import { parseRequest } from "../../lib/message/schema.ts";
import { Redactor } from "../../lib/smtp/redact.ts";
import { ReplyDecoder } from "../../lib/smtp/reply.ts";
import { TOKENS } from "./mutate.ts";
import { TARGETS } from "./targets.ts";

const BATCH = 5_000;
const HANG_SECONDS = 60;

interface Options {
  readonly replies: number;
  readonly requests: number;
  readonly seed: number;
  readonly target: string;
}

interface Progress {
  readonly target: string;
  /** Of the batch that begins, or has ended. */
  readonly seed: number;
  readonly done: number;
  readonly heapMiB: number;
  readonly failure?: string;
}

function main(): void {
  const { values } = parseArgs({
    options: {
      replies: { type: "string", default: "1000000" },
      requests: { type: "string", default: "100000" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      target: { type: "string", default: "" },
    },
  });
  const options: Options = {
    replies: Number(values.replies),
    requests: Number(values.requests),
    seed: Number(values.seed),
    target: values.target,
  };
  console.log(`seed ${options.seed}`);
  const worker = new Worker(new URL(import.meta.url), { workerData: options });
  const heaps = new Map<string, number[]>();
  const counts = new Map<string, number>();
  const begun = performance.now();
  let last: Progress | undefined;
  let failures = 0;
  let used = process.cpuUsage();
  const watchdog = setInterval(() => {
    // This thread does nothing, so all of it is the worker's.
    const { user, system } = process.cpuUsage(used);
    if (user + system < HANG_SECONDS * 1e6) return;
    console.log(`HANG: ${last?.target}, the batch of seed ${last?.seed}`);
    process.exit(1);
  }, 1000);
  worker.on("message", (progress: Progress) => {
    used = process.cpuUsage();
    last = progress;
    const { target, done, heapMiB, failure } = progress;
    counts.set(target, (counts.get(target) ?? 0) + done);
    if (done > 0) heaps.set(target, [...(heaps.get(target) ?? []), heapMiB]);
    if (failure !== undefined) {
      failures += 1;
      console.log(`FAULT: ${target}\n${failure}`);
    }
  });
  worker.on("error", (error) => {
    console.log(error);
    process.exit(1);
  });
  worker.on("exit", () => {
    clearInterval(watchdog);
    for (const [target, count] of counts) {
      const heap = heaps.get(target) ?? [];
      const [first = 0, final = 0] = [heap[0], heap.at(-1)];
      const most = Math.max(0, ...heap);
      console.log(
        `${String(count).padStart(8)} ${target}: heap ${first} MiB at first, ${final} at the end, ${most} at most`,
      );
      if (final > first + 16) {
        failures += 1;
        console.log(`FAULT: ${target}: memory has grown`);
      }
    }
    failures += measured();
    const peak = Math.round(process.resourceUsage().maxRSS / 1024);
    const seconds = ((performance.now() - begun) / 1000).toFixed(0);
    console.log(`${failures} faults, peak ${peak} MiB resident, ${seconds} s`);
    if (failures > 0) process.exitCode = 1;
  });
}

async function work({ replies, requests, seed, target: part }: Options): Promise<void> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const tell = (progress: Progress) => parentPort?.postMessage(progress);
  const heap = () => {
    collect();
    return Math.round((process.memoryUsage().heapUsed / 2 ** 20) * 10) / 10;
  };
  for (const target of TARGETS.filter(({ name }) => name.includes(part))) {
    const { name, kind, share } = target;
    const total = Math.round((kind === "replies" ? replies : requests) * share);
    const property = target.property();
    for (let done = 0; done < total; done += BATCH) {
      const numRuns = Math.min(BATCH, total - done);
      const own = seed + done;
      tell({ target: name, seed: own, done: 0, heapMiB: 0 });
      const details = await fc.check(property, { numRuns, seed: own });
      const failure = details.failed ? fc.defaultReportMessage(details) : undefined;
      tell({
        target: name,
        seed: own,
        done: details.numRuns,
        heapMiB: heap(),
        ...(failure !== undefined && { failure }),
      });
      if (failure !== undefined) break;
    }
  }
}

const LENGTH = 32 * 1024;
const FACTOR = 8;
/** Below this nobody could tell, above it and beyond four times linear nobody could deny it. */
const NOTICEABLE_MS = 60;

const LINEAR: Readonly<Record<string, (text: string) => unknown>> = {
  decoder: (text) => {
    const decoder = new ReplyDecoder();
    const octets = Buffer.from(text);
    for (let at = 0; at < octets.length; at += 7) decoder.push(octets.subarray(at, at + 7));
    return decoder.ready;
  },
  redactor: (text) => {
    const redactor = new Redactor();
    redactor.learn("pencil (.*)+$");
    redactor.learnWire("AHVzZXIAcGVuY2ls");
    return redactor.scrub(text);
  },
  "one mailbox": parseMailbox,
  "an address list": parseAddressList,
  "a raw message, header": (text) =>
    parseRaw(Buffer.from(`From: ${text}\r\n\r\n`).toString("base64")),
  "a raw message, whole": (text) => parseRaw(Buffer.from(text).toString("base64")),
  "a request, subject": (text) => parseRequest({ to: "a@b.example", subject: text }),
  "a request, recipient": (text) => parseRequest({ to: text, text: "x" }),
  "a request, raw": (text) => parseRequest({ to: "a@b.example", raw: text }),
  "a request, header": (text) =>
    parseRequest({ to: "a@b.example", text: "x", headers: { "X-A": text }, references: [text] }),
};

/** How many kinds of input take more than linear work. */
function measured(): number {
  let worst = { ratio: 0, what: "", milliseconds: 0 };
  let faults = 0;
  const fillers = [
    ...TOKENS,
    "a",
    "a@",
    '"a',
    "(a",
    "<a",
    "a,",
    "a@b,",
    "=?a?q?",
    "\r\n a",
    "a: b\r\n",
  ];
  for (const [name, parse] of Object.entries(LINEAR)) {
    for (const token of fillers) {
      const text = (length: number) => token.repeat(Math.ceil(length / token.length));
      const [short, long] = [text(LENGTH), text(FACTOR * LENGTH)];
      const once = time(parse, short);
      const more = time(parse, long);
      const ratio = more / Math.max(once, NOTICEABLE_MS / FACTOR / 4);
      const what = `${name}, ${JSON.stringify(token.slice(0, 12))}`;
      if (more > worst.milliseconds) worst = { ratio, what, milliseconds: more };
      if (more > NOTICEABLE_MS && ratio > 4 * FACTOR) {
        faults += 1;
        console.log(`FAULT: more than linear: ${what}: ${more.toFixed(0)} ms`);
      }
    }
  }
  const { what, ratio, milliseconds } = worst;
  console.log(
    `slowest of ${(FACTOR * LENGTH) / 1024} KiB: ${milliseconds.toFixed(0)} ms (${what}), ${ratio.toFixed(1)} times an eighth of it`,
  );
  return faults;
}

/** Milliseconds of the processor's time, the least of three: a busy machine is no fault of a parser's. */
function time(parse: (text: string) => unknown, text: string): number {
  const runs = [0, 1, 2].map(() => {
    const begun = process.cpuUsage();
    parse(text);
    return process.cpuUsage(begun).user / 1000;
  });
  return Math.min(...runs);
}

if (!isMainThread) await work(workerData as Options);
else if (import.meta.main) main();
