/**
 * The crash matrix, as a table:
 *
 *     npm run crash                                   every point six times
 *     npm run crash -- --random 1000 [--seed N]       so many kills, at random points and instants
 */
import { parseArgs } from "node:util";
import { POINTS, type Point } from "./gates.ts";
import { type CrashLab, MODES, type Mode, type Outcome, startLab } from "./lab.ts";

const EACH = 6;

/** The table that the command prints: a row for each moment, as many messages as it hit. */
export function render(outcomes: readonly Outcome[]): string {
  const when = [...new Set(outcomes.map((outcome) => outcome.when))].sort(
    (a, b) => rank(a) - rank(b) || (a < b ? -1 : 1),
  );
  const rows = when.map((moment) => {
    const at = outcomes.filter((outcome) => outcome.when === moment);
    const tally = (verdict: string) => at.filter((outcome) => outcome.verdict === verdict).length;
    const bad = tally("LOST") + tally("WRONG");
    return [moment, at.length, tally("once"), tally("uncertain"), bad, tally("DOUBLED")];
  });
  const head = ["killed when", "messages", "once", "uncertain", "lost", "doubled"];
  const total = rows.reduce<number[]>(
    (sum, row) => row.slice(1).map((n, i) => (sum[i] ?? 0) + Number(n)),
    [],
  );
  return [head, ...rows, ["total", ...total]]
    .map(
      ([name, ...cells]) =>
        `${String(name).padEnd(38)}${cells.map((c) => String(c).padStart(10)).join("")}`,
    )
    .join("\n");
}

/** Points in the order of a send; the random instants behind them. */
function rank(moment: string): number {
  const index = POINTS.indexOf(moment as Point);
  return index === -1 ? POINTS.length : index;
}

/** Repeatable: the same seed chooses the same moments (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Half of the kills at a point, half at an instant that no point names. */
async function randomKill(lab: CrashLab, random: () => number): Promise<readonly Outcome[]> {
  const instant = random() < 0.5;
  const [which, fraction] = [random(), random()];
  if (!instant) return [await lab.crash(POINTS[Math.floor(which * POINTS.length)] as Point)];
  return lab.crashWithin(MODES[Math.floor(which * MODES.length)] as Mode, fraction);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { random: { type: "string" }, seed: { type: "string" } },
  });
  const [kills, seed] = [numberOf(values.random, 0), numberOf(values.seed, Date.now() % 2 ** 31)];
  const lab = await startLab();
  let outcomes: readonly Outcome[] = [];
  let missed = 0;
  try {
    const random = randomFrom(seed);
    if (kills > 0) console.log(`${kills} kills at random, --seed ${seed}`);
    for (let kill = 0; kill < (kills || POINTS.length * EACH); kill += 1) {
      const point = POINTS[kill % POINTS.length] as Point;
      const hit = kills > 0 ? await randomKill(lab, random) : [await lab.crash(point)];
      // What had ended before its instant came was not killed, and does not count as a kill.
      if (hit[0]?.killed === false && kills > 0 && missed < kills) {
        missed += 1;
        kill -= 1;
      }
      outcomes = [...outcomes, ...hit];
      if (process.stderr.isTTY) process.stderr.write(`\r${kill + 1}`);
    }
    outcomes = lab.recount(outcomes);
  } finally {
    await lab.close();
  }
  console.log(render(outcomes));
  if (missed > 0)
    console.log(
      `${missed} sends had ended before their instant came: no kills, and one more each instead`,
    );
  for (const { verdict, when, key, killed } of outcomes) {
    if (!killed && kills === 0) console.log(`not killed: ${when}`);
    if (verdict === "once" || verdict === "uncertain") continue;
    console.log(`${verdict}: ${when} (${key})`);
    process.exitCode = 1;
  }
}

function numberOf(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new Error("--random and --seed take a whole number");
}

if (process.argv[1] === import.meta.filename) await main();
