/**
 * Mutation testing of lib/smtp and lib/sasl: `npm run mutation [-- room …] [--force]`. What was tried
 * before is not tried again unless the code or its tests changed (coverage/mutation). The score is
 * written to score.json; a survivor that survivors.ts does not account for fails the run.
 */
import { existsSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Stryker } from "@stryker-mutator/core";
import { mutatedIn, ROOMS, type Room } from "./rooms.ts";
import { type Measured, type Report, summarise } from "./score.ts";

const FOLDER = "coverage/mutation";
const reportOf = ({ name }: Room) => `${FOLDER}/${name}.report.json`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { force: { type: "boolean", default: false } },
});

for (const room of ROOMS) {
  if (positionals.length > 0 && !positionals.includes(room.name)) continue;
  // Workers inherit it: their tests are this room's.
  process.env["MUTATION_ROOM"] = room.name;
  await new Stryker({
    mutate: [...room.mutate],
    plugins: [new URL("runner.ts", import.meta.url).href],
    testRunner: "in-process",
    coverageAnalysis: "perTest",
    concurrency: 1,
    incremental: true,
    force: values.force,
    incrementalFile: `${FOLDER}/${room.name}.json`,
    tempDirName: `${FOLDER}/tmp`,
    ignorePatterns: ["dist", ".serverless", "coverage"],
    // Stryker would rewrite it with an interface that TypeScript 7 no longer has; nothing needs it.
    tsconfigFile: "none",
    reporters: ["json", "progress-append-only"],
    jsonReporter: { fileName: reportOf(room) },
    // Only a mutant that loops without end needs it, and a busy machine must not look like one.
    timeoutMS: 60_000,
  }).runMutationTest();
}

const measured = new Map<string, Measured>();
for (const room of ROOMS) {
  if (!existsSync(reportOf(room))) continue;
  const { files } = JSON.parse(readFileSync(reportOf(room), "utf8")) as Report;
  // A report remembers files that have since moved to another room, or away.
  for (const file of mutatedIn(room)) if (files[file]) measured.set(file, files[file]);
}
const unaccounted = summarise(ROOMS.flatMap(mutatedIn).sort(), measured);
if (unaccounted > 0) process.exitCode = 1;
