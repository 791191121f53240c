/** The score by file, and each survivor held against what survivors.ts says of it. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { SURVIVORS } from "./survivors.ts";

/** What of Stryker's report is read (mutation-testing-report-schema). */
export interface Report {
  readonly files: Readonly<Record<string, Measured>>;
}
export interface Measured {
  readonly source: string;
  readonly mutants: readonly Mutant[];
}
interface Mutant {
  readonly status: string;
  readonly replacement?: string;
  readonly location: { readonly start: Place; readonly end: Place };
}
interface Place {
  readonly line: number;
  readonly column: number;
}

interface Counts {
  score: number;
  killed: number;
  timeout: number;
  survived: number;
  noCoverage: number;
}

/** Of all mutants, how many are noticed, in percent. */
function counted(mutants: readonly Mutant[]): Counts {
  const of = (status: string) => mutants.filter((mutant) => mutant.status === status).length;
  const [killed, timeout] = [of("Killed"), of("Timeout")];
  const [survived, noCoverage] = [of("Survived"), of("NoCoverage")];
  const all = killed + timeout + survived + noCoverage;
  const score = Math.round(((killed + timeout) / Math.max(1, all)) * 10_000) / 100;
  return { score, killed, timeout, survived, noCoverage };
}

const squeezed = (text: string) => text.replace(/\s+/g, " ").trim();

function cut(source: string, { start, end }: Mutant["location"]): string {
  const lines = source.split("\n").slice(start.line - 1, end.line);
  lines[lines.length - 1] = (lines.at(-1) ?? "").slice(0, end.column - 1);
  lines[0] = (lines[0] ?? "").slice(start.column - 1);
  return squeezed(lines.join("\n"));
}

/**
 * Prints the table and writes score.json.
 * @param all every file of the rooms; `null` in the score for one that was not measured here
 * @returns how many survivors nobody has accounted for
 */
export function summarise(all: readonly string[], measured: ReadonlyMap<string, Measured>): number {
  const files = all.flatMap((file) => {
    const found = measured.get(file);
    return found === undefined ? [] : ([[file, found]] as const);
  });
  const byFile = Object.fromEntries(
    all.map((file) => [
      file,
      measured.has(file) ? counted(measured.get(file)?.mutants ?? []) : null,
    ]),
  );
  const total = counted(files.flatMap(([, { mutants }]) => mutants));
  const version = (name: string) =>
    (
      JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")) as {
        readonly version: string;
      }
    ).version;
  const head = execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" }).trim();
  const score = {
    commit: head,
    date: new Date().toISOString().slice(0, 10),
    stryker: version("@stryker-mutator/core"),
    node: process.version.slice(1),
    total,
    files: byFile,
  };
  writeFileSync(new URL("score.json", import.meta.url), `${JSON.stringify(score, null, 2)}\n`);
  for (const [name, counts] of [...Object.entries(byFile), ["all", total] as const]) {
    if (counts === null) {
      console.log(`${name.padEnd(32)} not measured`);
      continue;
    }
    const { killed, timeout, survived, noCoverage } = counts;
    console.log(
      `${name.padEnd(32)} ${counts.score.toFixed(2).padStart(6)} %  ${killed} killed, ${timeout} timed out, ${survived} survived, ${noCoverage} not covered`,
    );
  }
  return unaccounted(files);
}

function unaccounted(files: readonly (readonly [string, Measured])[]): number {
  const left = SURVIVORS.flatMap(({ file, mutants }) =>
    mutants.map((mutant) => `${file}: ${squeezed(mutant)}`),
  );
  let open = 0;
  for (const [file, { source, mutants }] of files) {
    for (const mutant of mutants) {
      if (mutant.status !== "Survived" && mutant.status !== "NoCoverage") continue;
      const text = `${cut(source, mutant.location)} → ${squeezed(mutant.replacement ?? "")}`;
      const known = left.indexOf(`${file}: ${text}`);
      if (known >= 0) left.splice(known, 1);
      else {
        open += 1;
        console.log(`UNACCOUNTED ${file}:${mutant.location.start.line} ${text}`);
      }
    }
  }
  for (const stale of left) console.log(`KILLED BY NOW ${stale}`);
  return open;
}
