/**
 * Every hostile scenario as `node test/hostile/table.ts` shows it, and what the process as a whole
 * must show after all of them: nothing secret on its standard error, nothing left open.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formsOf, PASSWORD, TOKEN } from "./lab.ts";
import { SCENARIOS } from "./scenarios.ts";
import { playAll, type Row } from "./table.ts";

const rows = new Map<string, Row>();
const written: string[] = [];
const events = ["uncaughtException", "unhandledRejection", "exit", "beforeExit", "warning"];
const listeners = () => events.map((event) => process.listenerCount(event));
const sockets = () =>
  process.getActiveResourcesInfo().filter((name) => /^TCP|^TLS|GetAddrInfo/i.test(name)).length;
let before: { readonly listeners: readonly number[]; readonly sockets: number };

beforeAll(async () => {
  before = { listeners: listeners(), sockets: sockets() };
  const write = process.stderr.write;
  process.stderr.write = (text: string | Uint8Array) => {
    written.push(String(text));
    return true;
  };
  try {
    for (const row of await playAll()) rows.set(row.scenario.name, row);
  } finally {
    process.stderr.write = write;
  }
}, 300_000);

describe("a hostile server", () => {
  it.each(SCENARIOS.map(({ name, expected }) => [name, expected]))("%s", (name, expected) => {
    const row = rows.get(name);
    expect(row?.seen).toBe(expected);
    expect(row?.faults).toEqual([]);
  });
});

describe("after all scenarios", () => {
  it("every name is its own", () => {
    expect(new Set(SCENARIOS.map(({ name }) => name)).size).toBe(SCENARIOS.length);
    expect(SCENARIOS.length).toBeGreaterThanOrEqual(80);
  });

  it("nothing was written to standard error, least of all a credential", () => {
    const text = written.join("").toLowerCase();
    for (const form of [PASSWORD, TOKEN].flatMap(formsOf)) {
      expect(text).not.toContain(form.toLowerCase());
    }
    // Node's own warnings (a deprecated option, too many listeners) would be a fault of ours too.
    expect(written).toEqual([]);
  });

  it("no listener of the process is left", () => {
    expect(listeners()).toEqual(before.listeners);
  });
});

afterAll(async () => {
  // What was destroyed a moment ago is closed by the loop's next turns.
  for (let turn = 0; turn < 100 && sockets() > before.sockets; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(sockets()).toBe(before.sockets);
});
