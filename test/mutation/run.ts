import { parseArgs } from "node:util";
import { Stryker } from "@stryker-mutator/core";
import { ROOMS } from "./rooms.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    force: { type: "boolean", default: false },
    concurrency: { type: "string", default: "1" },
  },
});
for (const room of ROOMS.filter(
  ({ name }) => positionals.length === 0 || positionals.includes(name),
)) {
  process.env["MUTATION_ROOM"] = room.name;
  const mutate = process.env["MUTATE"]?.split(",") ?? [...room.mutate];
  const stryker = new Stryker({
    mutate,
    testRunner: "vitest",
    vitest: { configFile: "test/mutation/vitest.config.ts", related: false },
    plugins: ["@stryker-mutator/vitest-runner"],
    coverageAnalysis: "perTest",
    incremental: true,
    force: values.force,
    incrementalFile: `coverage/mutation/${room.name}.json`,
    tempDirName: "coverage/mutation/tmp",
    ignorePatterns: ["dist", ".serverless", "coverage"],
    reporters: ["json", "progress-append-only"],
    jsonReporter: { fileName: `coverage/mutation/${room.name}.report.json` },
    // TypeScript 7 has no such API, and nothing here is compiled by it.
    dryRunOnly: process.env["DRY"] === "1",
    tsconfigFile: "none",
    concurrency: Number(values.concurrency),
    timeoutMS: 8000,
  } as never);
  const results = await stryker.runMutationTest();
  console.log(results.length);
}
