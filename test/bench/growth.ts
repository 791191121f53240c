/**
 * How cost grows with recipients, size and batch, on loopback into Postfix's smtp-sink: CPU and wall
 * time of each step, medians, and two fits over them. A straight line `fixed + each · x`, whose R² says
 * how straight it is; and the exponent that the steps have where the fixed cost no longer hides it, in
 * the last decade: 1 is linear, less is better.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Job, type Sample, SENDERS, type SenderName, timed } from "./senders.ts";
import { startSink } from "./server.ts";
import { alternate, type Figure, figure, round, shown, table } from "./stats.ts";

interface Dimension {
  readonly unit: string;
  readonly steps: readonly number[];
  readonly job: (step: number) => Omit<Job, "port" | "connections">;
}

const DIMENSIONS = {
  recipients: {
    unit: "recipients",
    steps: [1, 10, 100, 300, 1000],
    job: (recipients) => ({ messages: 1, recipients, attached: 0 }),
  },
  size: {
    unit: "KB attached",
    steps: [1, 10, 100, 1000, 10_000, 100_000],
    job: (kilobytes) => ({ messages: 1, recipients: 1, attached: kilobytes * 1000 }),
  },
  batch: {
    unit: "messages in a session",
    steps: [1, 3, 10, 30, 100],
    job: (messages) => ({ messages, recipients: 1, attached: 0 }),
  },
} as const satisfies Readonly<Record<string, Dimension>>;
type DimensionName = keyof typeof DIMENSIONS;
const NAMES = Object.keys(DIMENSIONS) as DimensionName[];
const CONTENDERS: readonly SenderName[] = ["posthaste", "nodemailer"];
/** Rounds before any counts, so that what is measured is the compiled code. */
const WARM_UPS = 20;
const ROUNDS = 12;
/** Of what takes long by itself. */
const LARGE_ROUNDS = 3;
const LARGE_OCTETS = 1_000_000;

export interface Fit {
  /** Milliseconds: what it costs whatever the number, and for each one more. */
  readonly fixed: number;
  readonly each: number;
  readonly rSquared: number;
  /** Of the last decade: cost grows as its power. */
  readonly exponent: number;
}

export interface Growth {
  readonly dimension: DimensionName;
  readonly contender: string;
  readonly steps: readonly {
    readonly step: number;
    readonly cpuMs: Figure;
    readonly wallMs: Figure;
  }[];
  readonly cpu: Fit;
  readonly wall: Fit;
}

type Steps = readonly Required<Sample>[];

export async function growth(runs: number): Promise<readonly Growth[]> {
  const sink = await startSink();
  if (sink === undefined) return [];
  try {
    const found: Growth[] = [];
    for (const dimension of NAMES) {
      const contenders = CONTENDERS.map((name) => [name, () => child(name, dimension, sink.port)]);
      const samples = await alternate<Steps>(Object.fromEntries(contenders), runs);
      for (const [contender, list] of samples) found.push(grown(dimension, contender, list));
    }
    return found;
  } finally {
    await sink.stop();
  }
}

function grown(dimension: DimensionName, contender: string, runs: readonly Steps[]): Growth {
  const steps = DIMENSIONS[dimension].steps.map((step, index) => ({
    step,
    cpuMs: figure(runs.map((run) => run[index]?.cpu ?? Number.NaN)),
    wallMs: figure(runs.map((run) => run[index]?.milliseconds ?? Number.NaN)),
  }));
  const cpu = fitted(steps.map(({ step, cpuMs }) => [step, cpuMs.median]));
  const wall = fitted(steps.map(({ step, wallMs }) => [step, wallMs.median]));
  return { dimension, contender, steps, cpu, wall };
}

/**
 * Least squares, each point weighed by the inverse of its square: an error is as bad as its share of
 * what it errs about, or the largest step alone would decide.
 */
export function fitted(points: readonly (readonly [x: number, y: number])[]): Fit {
  const weighed = points.map(([x, y]) => ({ x, y, w: 1 / y ** 2 }));
  const sum = (of: (point: { x: number; y: number; w: number }) => number): number =>
    weighed.reduce((total, point) => total + of(point), 0);
  const all = sum(({ w }) => w);
  const meanX = sum(({ x, w }) => w * x) / all;
  const meanY = sum(({ y, w }) => w * y) / all;
  const each =
    sum(({ x, y, w }) => w * (x - meanX) * (y - meanY)) / sum(({ x, w }) => w * (x - meanX) ** 2);
  const fixed = meanY - each * meanX;
  const left = sum(({ x, y, w }) => w * (y - fixed - each * x) ** 2);
  const rSquared = 1 - left / sum(({ y, w }) => w * (y - meanY) ** 2);
  return {
    ...{ fixed: round(fixed), each: Number(each.toPrecision(3)), rSquared: round(rSquared) },
    exponent: round(exponent(points)),
  };
}

function exponent(points: readonly (readonly [x: number, y: number])[]): number {
  const [lastX, lastY] = points.at(-1) ?? [Number.NaN, Number.NaN];
  const [x, y] = points.findLast((point) => point[0] * 10 <= lastX) ?? [Number.NaN, Number.NaN];
  return Math.log(lastY / y) / Math.log(lastX / x);
}

async function child(sender: SenderName, dimension: string, port: number): Promise<Steps> {
  const { NODE_OPTIONS: _unset, ...env } = process.env;
  const self = fileURLToPath(import.meta.url);
  const args = [self, sender, dimension, String(port)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  return JSON.parse(stdout);
}

/** The median of each step's rounds, in one process; in turns, so that what else happens hits all. */
async function measured(sender: SenderName, dimension: DimensionName, port: number) {
  const { steps, job } = DIMENSIONS[dimension];
  const taken = steps.map((step) => ({
    send: SENDERS[sender]({ ...job(step), port, connections: 1 }),
    large: job(step).attached > LARGE_OCTETS,
    samples: [] as Required<Sample>[],
  }));
  for (let round = -WARM_UPS; round < ROUNDS; round += 1) {
    for (const { send, large, samples } of taken) {
      if (large && (round < 0 || round >= LARGE_ROUNDS)) continue;
      const sample = await timed(send);
      if (round >= 0) samples.push(sample);
    }
  }
  return taken.map(({ samples }) => ({
    milliseconds: figure(samples.map(({ milliseconds }) => milliseconds)).median,
    cpu: figure(samples.map(({ cpu }) => cpu)).median,
  }));
}

export function growthTable(measures: readonly Growth[]): string {
  const steps = table(
    ["step", "contender", "CPU ms", "wall ms"],
    measures.flatMap(({ dimension, contender, steps: taken }) =>
      taken.map(({ step, cpuMs, wallMs }) => [
        `${step} ${DIMENSIONS[dimension].unit}`,
        ...[contender, shown(cpuMs), shown(wallMs)],
      ]),
    ),
  );
  return `${steps}\n\n${table(FIT_COLUMNS, fitRows(measures))}`;
}

export const FIT_COLUMNS: readonly string[] = [
  ...["grows", "contender", "of"],
  ...["fixed ms", "ms for each", "R²", "exponent at the end"],
];

/** One for the CPU of the sender, one for the wall. */
export function fitRows(measures: readonly Growth[]): readonly (readonly string[])[] {
  return measures.flatMap(({ dimension, contender, cpu, wall }) =>
    (["cpu", "wall"] as const).map((of) => {
      const { fixed, each, rSquared, exponent: power } = of === "cpu" ? cpu : wall;
      return [dimension, contender, of, ...[fixed, each, rSquared, power].map(String)];
    }),
  );
}

if (import.meta.main) {
  const [sender, dimension, port] = process.argv.slice(2);
  const results = await measured(sender as SenderName, dimension as DimensionName, Number(port));
  process.stdout.write(JSON.stringify(results), () => process.exit());
}
