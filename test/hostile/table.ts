/**
 * Every hostile scenario, and what the client showed:
 *
 *     node test/hostile/table.ts [part of a name]
 *
 * Exits with 1 where anything differs from what was expected, or where what must hold of every send
 * did not: no credential in clear or on show, one terminator at most, nothing left behind.
 */
import { type Identities, makeIdentities, play } from "./lab.ts";
import { LARGE, SCENARIOS, type Scenario } from "./scenarios.ts";

export interface Row {
  readonly scenario: Scenario;
  readonly seen: string;
  readonly faults: readonly string[];
}

/**
 * Those that wait for silence go together and first; those that move megabytes go alone and last, or
 * they would eat the time of the others.
 */
const STAGES: readonly { readonly atOnce: number; readonly fits: (s: Scenario) => boolean }[] = [
  { atOnce: 12, fits: ({ timeLeft, request }) => timeLeft !== undefined && request !== LARGE },
  { atOnce: 6, fits: ({ timeLeft, request }) => timeLeft === undefined && request !== LARGE },
  { atOnce: 1, fits: ({ request }) => request === LARGE },
];

export async function playAll(scenarios: readonly Scenario[] = SCENARIOS): Promise<readonly Row[]> {
  const identities = await makeIdentities();
  const rows: Row[] = [];
  for (const { atOnce, fits } of STAGES) {
    const queue = [...scenarios.entries()].filter(([, scenario]) => fits(scenario));
    const worker = async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const [index, scenario] = next;
        rows[index] = await row(scenario, identities);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
  }
  // A machine that was busy elsewhere may have spent a send's time before its server fell silent.
  for (const [index, { scenario, seen }] of rows.entries()) {
    if (scenario.timeLeft === undefined || seen === scenario.expected) continue;
    rows[index] = await row({ ...scenario, timeLeft: 4 * scenario.timeLeft }, identities);
  }
  return rows;
}

async function row(scenario: Scenario, identities: Identities): Promise<Row> {
  try {
    const { row: seen, faults } = await play(scenario, identities);
    return { scenario, seen, faults };
  } catch (error) {
    return { scenario, seen: `threw ${(error as Error).stack}`, faults: [] };
  }
}

function asExpected({ scenario, seen, faults }: Row): boolean {
  return seen === scenario.expected && faults.length === 0;
}

async function main(part = ""): Promise<void> {
  const begun = performance.now();
  const rows = await playAll(SCENARIOS.filter(({ name }) => name.includes(part)));
  const widths = [
    Math.max(...rows.map(({ scenario }) => scenario.name.length)),
    Math.max(...rows.map(({ scenario }) => scenario.expected.length)),
  ] as const;
  for (const each of rows) {
    const { name, expected } = each.scenario;
    const seen = each.seen === expected ? "as expected" : each.seen;
    const mark = asExpected(each) ? "  " : "! ";
    console.log(`${mark}${name.padEnd(widths[0])} | ${expected.padEnd(widths[1])} | ${seen}`);
    for (const fault of each.faults) console.log(`! ${" ".repeat(widths[0])} | FAULT: ${fault}`);
  }
  const good = rows.filter(asExpected).length;
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  console.log(`${rows.length} scenarios, ${good} as expected, in ${seconds} s`);
  if (good < rows.length) process.exitCode = 1;
}

if (import.meta.main) await main(process.argv[2]);
