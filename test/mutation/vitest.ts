/**
 * What `import … from "vitest"` means to a test under mutation: vitest's own expectations and spies,
 * and tests that are kept, so that they can be run a thousand times in one process. vitest starts a
 * worker for each run, which takes a hundred times as long as what these tests take themselves.
 */
import { format, getCallSites } from "node:util";
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
} from "@vitest/expect";
import { fn, restoreAllMocks, spyOn } from "@vitest/spy";

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);
const matchers = (globalThis as Record<symbol, unknown>)[ASYMMETRIC_MATCHERS_OBJECT];
export const expect = Object.assign(
  (value: unknown, message?: string) => chai.expect(value, message),
  chai.expect,
  matchers,
);

export type Act = () => unknown;
export type When = "beforeAll" | "afterAll" | "beforeEach" | "afterEach";

export class Suite {
  readonly name: string;
  readonly parent: Suite | undefined;
  readonly hooks: Readonly<Record<When, Act[]>> = {
    beforeAll: [],
    afterAll: [],
    beforeEach: [],
    afterEach: [],
  };
  /** Whether `beforeAll` has been done: what it makes serves every run. */
  begun = false;

  constructor(name: string, parent?: Suite) {
    this.name = name;
    this.parent = parent;
  }

  /** From the file down to this one. */
  get line(): readonly Suite[] {
    return [...(this.parent?.line ?? []), this];
  }
}

export interface Test {
  readonly id: string;
  readonly suite: Suite;
  readonly act: Act;
  /** Where `it` stands, so that Stryker can tell whether the test has changed since. */
  readonly line: number;
}

let current = new Suite("");
let kept = new Map<string, Test>();

/** All tests of a file, in order. @param load imports it */
export async function testsOf(
  file: string,
  load: () => Promise<unknown>,
): Promise<readonly Test[]> {
  current = new Suite(file);
  kept = new Map();
  await load();
  return [...kept.values()];
}

const hook = (when: When) => (act: Act) => {
  current.hooks[when].push(act);
};
export const beforeAll = hook("beforeAll");
export const afterAll = hook("afterAll");
export const beforeEach = hook("beforeEach");
export const afterEach = hook("afterEach");

type Case = readonly unknown[];
type Table = readonly unknown[];

/** `%s` takes a value of the row, `$name` a field of it. */
function titled(name: string, row: unknown): string {
  const values: Case = Array.isArray(row) ? row : [row];
  const holes = name.match(/%[sdjio]/g)?.length ?? 0;
  return format(name, ...values.slice(0, holes)).replace(/\$(\w+)/g, (whole, field: string) =>
    String((row as Record<string, unknown> | undefined)?.[field] ?? whole),
  );
}

const eachOf =
  <T extends (...row: never[]) => unknown>(one: (name: string, act: Act) => void) =>
  (table: Table) =>
  (name: string, act: T) => {
    for (const row of table) {
      const values = (Array.isArray(row) ? row : [row]) as never[];
      one(titled(name, row), () => act(...values));
    }
  };

const suite = (name: string, act: Act): void => {
  const outer = current;
  current = new Suite(name, outer);
  act();
  current = outer;
};
export const describe = Object.assign(suite, { each: eachOf(suite), concurrent: suite });

const test = (name: string, act: Act): void => {
  const whole = [...current.line.map((each) => each.name), name].join(" > ");
  let id = whole;
  for (let count = 2; kept.has(id); count += 1) id = `${whole} (${count})`;
  const file = current.line[0]?.name ?? "";
  const place = getCallSites().find(({ scriptName }) => scriptName.includes(`${file}?`));
  kept.set(id, { id, suite: current, act, line: place?.lineNumber ?? 1 });
};
export const it = Object.assign(test, { each: eachOf(test) });

async function waitFor<T>(
  act: () => T,
  { timeout, interval }: { timeout: number; interval: number },
): Promise<T> {
  for (const end = performance.now() + timeout; ; ) {
    try {
      return await act();
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, interval));
    }
  }
}
export const vi = { fn, spyOn, restoreAllMocks, waitFor, mocked: <T>(value: T): T => value };
