/** The tests of one room (rooms.ts), as Stryker runs them for each mutant. */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { ROOMS } from "./rooms.ts";

const tests = ROOMS.find(({ name }) => name === process.env["MUTATION_ROOM"])?.tests ?? [];
const root = fileURLToPath(new URL("../..", import.meta.url));

/** In the room's own order: the first test to fail ends a mutant's run. */
class Nearest extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) =>
      tests.findIndex((test) => moduleId.endsWith(`/${test}`));
    return files.sort((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  test: {
    root,
    include: [...tests],
    setupFiles: [fileURLToPath(new URL("setup.ts", import.meta.url))],
    sequence: { sequencer: Nearest },
    // One worker for all files of a run, since most of a mutant's time is theirs to start.
    isolate: false,
    env: { SOCKET_SPLITS: "whole" },
    // What a mutant has hung, fails its test by this: long for a test, short for a thousand mutants.
    testTimeout: 10_000,
    hookTimeout: 60_000,
  },
});
