/** The figures shown are those measured: page, charts and README are what `results.json` makes them. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { costs } from "../bench/cost.ts";
import type { Cpu } from "../bench/cpu.ts";
import type { Latency } from "../bench/latency.ts";
import { type Results, report } from "../bench/report.ts";

const ROOT = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), "utf8");
const results = JSON.parse(read("test/bench/results.json")) as Results;

describe("the bench's pages", async () => {
  const files = await report(results);

  it.each([...files])("%s is what results.json says (node test/bench/report.ts)", (path, body) => {
    expect(read(path)).toBe(body);
  });

  it("have no chart that is left over", () => {
    const folder = new URL("test/bench/charts/", ROOT);
    const charts = existsSync(folder) ? readdirSync(folder).sort() : [];
    const made = [...files.keys()].filter((path) => path.endsWith(".svg"));
    expect(charts).toEqual(made.map((path) => basename(path)).sort());
  });

  it("draw well-formed SVG with each contender's name and figure", () => {
    for (const [path, body] of files) {
      if (!path.endsWith(".svg")) continue;
      expect(body.match(/<text/g)?.length).toBe(body.match(/<\/text>/g)?.length);
      expect(body).toContain("prefers-color-scheme:dark");
      expect(body).toContain(">nodemailer<");
      expect(body).not.toMatch(/NaN|undefined|Infinity/);
    }
  });

  it("say which Node and CPU measured, and nothing of a path", () => {
    const page = files.get("test/bench/README.md") ?? "";
    expect(page).toContain(results.node);
    expect(page).toContain(results.cpu);
    for (const body of files.values()) expect(body).not.toContain(fileURLToPath(ROOT));
  });
});

describe("the cost model", () => {
  const figure = (median: number) => ({ median, low: median, high: median, runs: 1 });
  const latency = (contender: string, median: number): Latency => ({
    ...{ server: "x", security: "implicit", mechanism: "PLAIN", rttMs: 20, messages: 1 },
    ...{ contender, milliseconds: figure(median), roundTrips: "6", ratio: 1 },
  });
  const cpu = (contender: string, median: number): Cpu => ({
    ...{ contender, messages: 1, cpuMs: figure(median), ratio: 1 },
  });

  it("stretches CPU by the memory, and leaves waiting as it is", () => {
    const list = [latency("posthaste, chunking off", 130), latency("nodemailer", 230)];
    const made = costs(list, [], [cpu("posthaste", 10), cpu("nodemailer", 10)]);
    const [small] = made.filter(
      ({ contender, memory }) => contender === "posthaste" && memory === 128,
    );
    // 120 ms of waiting, 10 ms of CPU at 128 of 1,769 MB.
    expect(small?.duration).toBeCloseTo(120 + (10 * 1769) / 128, 6);
    expect(small?.gigabyteSeconds).toBeCloseTo((1000 * 259 * 128) / 1024 / 1000, 6);
    expect(small?.dollars).toBeCloseTo(32.375 * 0.0000133334 + 1000 * 0.0000002, 9);
    expect(made.length).toBe(6);
  });

  it("says nothing of what was not measured", () => {
    expect(costs([], [], [])).toEqual([]);
  });
});
