/**
 * How the tests run, and the one line that a machine reads: whatever the other reporters print, the
 * run ends with `N passed, N failed`, and `, N skipped` where any were, so that a skip cannot hide.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import type { Reporter, SerializedError, TestModule, Vitest } from "vitest/node";

class SummaryLine implements Reporter {
  #print: (line: string) => void = console.log;

  onInit(vitest: Vitest): void {
    // The runner's own logger, so that the line keeps its place behind what is already buffered.
    this.#print = (line) => vitest.logger.log(line);
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    // An error outside every test (a rejection nobody awaited) fails the run, so it is counted too.
    const total = { passed: 0, failed: unhandled.length, skipped: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        // A test that never finished (the run was cut short) has shown nothing.
        total[state === "pending" ? "failed" : state] += 1;
      }
      // A file that does not load, or a hook that throws, fails without a test that says so.
      const suites = [...module.children.allSuites()];
      total.failed += [module, ...suites].filter((each) => each.errors().length > 0).length;
    }
    const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
    this.#print(`${total.passed} passed, ${total.failed} failed${skipped}`);
  }
}

export default defineConfig({
  test: {
    root: fileURLToPath(new URL("..", import.meta.url)),
    include: ["test/**/*.test.ts"],
    // Real sockets, real mail servers and a packaging run: slow, but never slow without an end.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // A process each: environment variables and module caches must not leak between files.
    pool: "forks",
    maxWorkers: 2,
    reporters: ["default", new SummaryLine()],
  },
});
