/** A short run of `node test/hostile/leak.ts`, which does the same ten thousand times. */
import { expect, it } from "vitest";
import { leak, leaks } from "./leak.ts";

it("500 sends under random faults leave nothing behind, and tell the truth", async () => {
  const report = await leak(500, 20_260_101);
  expect(leaks(report)).toEqual([]);
  // Faults enough that each outcome was met, and honest servers enough that mail went through.
  expect(Object.keys(report.outcomes)).toEqual(
    expect.arrayContaining(["accepted", "deferred", "rejected", "uncertain"]),
  );
}, 120_000);
