/** Sixty kills against a real mail server: nothing lost, nothing doubled. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mtaAvailable } from "../mta/available.ts";
import { type CrashLab, type Outcome, POINTS, render, startLab } from "./matrix.ts";

const KILLS = 60;

describe.skipIf(!mtaAvailable("postfix"))("crash matrix against Postfix", () => {
  let lab: CrashLab;
  const outcomes: Outcome[] = [];
  beforeAll(async () => {
    lab = await startLab();
  });
  afterAll(async () => {
    await lab.close();
    console.log(render(outcomes));
  });

  it.each(POINTS)("killed when: %s", { timeout: 60_000 }, async (point) => {
    const share = Math.ceil(KILLS / POINTS.length);
    for (let i = 0; i < share; i += 1) {
      const outcome = await lab.crash(point);
      outcomes.push(outcome);
      expect(outcome).toMatchObject({ killed: true });
      expect(["once", "uncertain"]).toContain(outcome.verdict);
    }
  });
});
