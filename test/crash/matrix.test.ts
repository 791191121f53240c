/** More than sixty kills against a real mail server: nothing lost, nothing doubled. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mtaAvailable } from "../mta/available.ts";
import { POINTS } from "./gates.ts";
import { type CrashLab, MODES, type Outcome, startLab } from "./lab.ts";
import { randomFrom, render } from "./matrix.ts";

const KILLS = 60;
/** In each way of sending. */
const INSTANTS = 4;

describe.skipIf(!mtaAvailable("postfix"))("crash matrix against Postfix", () => {
  let lab: CrashLab;
  const outcomes: Outcome[] = [];
  beforeAll(async () => {
    lab = await startLab();
  });
  afterAll(async () => {
    const counted = lab.recount(outcomes);
    await lab.close();
    console.log(render(counted));
    expect(counted.filter(({ deliveries }) => deliveries > 1)).toEqual([]);
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

  it.each(MODES)("killed at a random instant: %s", { timeout: 60_000 }, async (mode) => {
    const random = randomFrom(MODES.indexOf(mode) + 1);
    for (let i = 0; i < INSTANTS; i += 1) {
      const hit = await lab.crashWithin(mode, random());
      outcomes.push(...hit);
      for (const { verdict } of hit) expect(["once", "uncertain"]).toContain(verdict);
    }
  });
});
