/**
 * How Stryker runs a room's tests: in its own worker process, loaded once, one after another until the
 * first one fails. A mutant that is made when a module loads gets modules of its own.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { join, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { INSTRUMENTER_CONSTANTS, type InstrumenterContext } from "@stryker-mutator/api/core";
import { declareClassPlugin, PluginKind } from "@stryker-mutator/api/plugin";
import {
  type DryRunResult,
  DryRunStatus,
  determineHitLimitReached,
  type MutantRunOptions,
  type MutantRunResult,
  MutantRunStatus,
  type TestResult,
  type TestRunner,
  type TestRunnerCapabilities,
  TestStatus,
  toMutantRunResult,
} from "@stryker-mutator/api/test-runner";
import fc from "fast-check";
import { filesOf, roomAtWork } from "./rooms.ts";
import { type Suite, type Test, testsOf, type When } from "./vitest.ts";

/** In the sandbox. */
const USUAL = "usual-test-times.json";

/** A test that took longer than this has waited for something. */
const UNHURRIED_MS = 100;

/** What instrumented code and Stryker tell each other. */
const state: InstrumenterContext = {};
(globalThis as Record<string, unknown>)[INSTRUMENTER_CONSTANTS.NAMESPACE] = state;

let generation = 0;

const ofGeneration = (url: string) => `${url.split("?")[0]}?generation=${generation}`;

/** Tests find the stand-in for vitest; what they load of the sandbox is of this generation only. */
function hookImports(root: string): void {
  const inside = pathToFileURL(root + sep).href;
  const outside = `${inside}node_modules/`;
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier === "vitest") {
        return { url: new URL("./vitest.ts", import.meta.url).href, shortCircuit: true };
      }
      const found = next(specifier, context);
      const ours = found.url.startsWith(inside) && !found.url.startsWith(outside);
      return ours ? { ...found, url: ofGeneration(found.url) } : found;
    },
  });
}

/** An error that no test awaits is the fault of the one that runs. */
let stray: ((error: unknown) => void) | undefined;
process.on("uncaughtException", (error) => stray?.(error));
process.on("unhandledRejection", (error) => stray?.(error));

class InProcessRunner implements TestRunner {
  /** The sandbox with the mutants. */
  #root = "";
  #tests: readonly Test[] = [];
  /** Milliseconds that each test took without a mutant; kept in the sandbox for the next worker. */
  #usual: Readonly<Record<string, number>> = {};
  /** A test that was given up goes on, nobody knows how long: this process is of no more use. */
  #spent = false;

  capabilities(): TestRunnerCapabilities {
    return { reloadEnvironment: true };
  }

  async init(): Promise<void> {
    this.#root = process.cwd();
    const usual = join(this.#root, USUAL);
    if (existsSync(usual)) this.#usual = JSON.parse(readFileSync(usual, "utf8"));
    hookImports(this.#root);
    process.env["SOCKET_SPLITS"] = "whole";
    // Every mutant meets the same cases, and what fails once has failed: no shrinking.
    fc.configureGlobal({ seed: 1, endOnFailure: true });
  }

  async dryRun(): Promise<DryRunResult> {
    await this.#load();
    const tests = await this.#run(this.#tests, (id) => {
      if (id === undefined) delete state.currentTestId;
      else state.currentTestId = id;
    });
    this.#usual = Object.fromEntries(tests.map(({ id, timeSpentMs }) => [id, timeSpentMs]));
    writeFileSync(join(this.#root, USUAL), JSON.stringify(this.#usual));
    return {
      status: DryRunStatus.Complete,
      tests,
      ...(state.mutantCoverage && { mutantCoverage: state.mutantCoverage }),
    };
  }

  async mutantRun(options: MutantRunOptions): Promise<MutantRunResult> {
    // Stryker starts another one and asks it again.
    if (this.#spent) process.exit(1);
    const { activeMutant, hitLimit, mutantActivation, reloadEnvironment, testFilter } = options;
    delete state.activeMutant;
    if (mutantActivation === "static") state.activeMutant = activeMutant.id;
    try {
      if (reloadEnvironment || this.#tests.length === 0) await this.#load();
    } catch (error) {
      // A file that does not load is a file whose tests all fail.
      this.#tests = [];
      const [first = ""] = testFilter ?? Object.keys(this.#usual);
      const failureMessage = `not even loaded: ${error}`;
      return { status: MutantRunStatus.Killed, killedBy: [first], failureMessage, nrOfTests: 1 };
    }
    const wanted = testFilter && new Set(testFilter);
    const usual = ({ id }: Test) => this.#usual[id] ?? 0;
    const patience = roomAtWork()?.patience ?? Number.POSITIVE_INFINITY;
    const chosen = this.#tests
      .filter((test) => (wanted?.has(test.id) ?? true) && usual(test) <= patience)
      // What kills a mutant soon, spares it the tests that wait for something.
      .sort((a, b) => usual(a) - usual(b));
    for (const { suite } of chosen) await begin(suite);
    state.hitCount = 0;
    if (hitLimit === undefined) delete state.hitLimit;
    else state.hitLimit = hitLimit;
    state.activeMutant = activeMutant.id;
    const tests = await this.#run(chosen);
    delete state.activeMutant;
    if (mutantActivation === "static") this.#tests = [];
    const limit = determineHitLimitReached(state.hitCount, hitLimit);
    return toMutantRunResult(limit ?? { status: DryRunStatus.Complete, tests });
  }

  async #load(): Promise<void> {
    generation += 1;
    const tests: Test[] = [];
    for (const file of filesOf(this.#root)) {
      // Said here too: what is imported under the same name again is not resolved again.
      const url = ofGeneration(pathToFileURL(join(this.#root, file)).href);
      tests.push(...(await testsOf(file, () => import(url))));
    }
    this.#tests = tests;
  }

  /** @param tell which test runs now; where it is left out, the first failure ends the run */
  async #run(
    tests: readonly Test[],
    tell?: (id: string | undefined) => void,
  ): Promise<TestResult[]> {
    const results: TestResult[] = [];
    for (const test of tests) {
      await begin(test.suite);
      tell?.(test.id);
      const usual = this.#usual[test.id];
      const limit = usual === undefined ? 60_000 : 3_000 + 5 * usual;
      let result: TestResult;
      let tries = 0;
      do {
        tries += 1;
        result = await outcome(test, limit, () => {
          this.#spent = true;
        });
        // What waits for something may be late on a busy machine: that alone proves nothing.
      } while (
        result.status === TestStatus.Failed &&
        result.timeSpentMs > UNHURRIED_MS &&
        tries < 3 &&
        !this.#spent
      );
      tell?.(undefined);
      results.push(result);
      if (tell === undefined && result.status === TestStatus.Failed) break;
    }
    return results;
  }
}

async function begin(suite: Suite): Promise<void> {
  for (const each of suite.line) {
    if (each.begun) continue;
    each.begun = true;
    for (const act of each.hooks.beforeAll) await act();
  }
}

async function outcome(
  { id, suite, act, line }: Test,
  limit: number,
  givenUp: () => void,
): Promise<TestResult> {
  const begun = performance.now();
  const result = (failure?: unknown): TestResult => {
    const [fileName = ""] = id.split(" > ");
    const timeSpentMs = performance.now() - begun;
    const about = { id, name: id, fileName, startPosition: { line, column: 1 }, timeSpentMs };
    return failure === undefined
      ? { ...about, status: TestStatus.Success }
      : { ...about, status: TestStatus.Failed, failureMessage: String(failure) };
  };
  const hooks = async (when: When) => {
    for (const each of suite.line) for (const hook of each.hooks[when]) await hook();
  };
  let timer: NodeJS.Timeout | undefined;
  const broken = new Promise<never>((_, reject) => {
    stray = reject;
    timer = setTimeout(() => {
      givenUp();
      reject(new Error(`Given up after ${Math.round(limit)} ms`));
    }, limit);
  });
  broken.catch(() => {});
  const whole = async () => {
    try {
      await hooks("beforeEach");
      await act();
    } finally {
      await hooks("afterEach");
    }
  };
  try {
    await Promise.race([whole(), broken]);
    return result();
  } catch (error) {
    return result(error ?? "failed");
  } finally {
    stray = undefined;
    clearTimeout(timer);
  }
}

export const strykerPlugins = [
  declareClassPlugin(PluginKind.TestRunner, "in-process", InProcessRunner),
];
