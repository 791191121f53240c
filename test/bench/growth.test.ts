/** The fits of growth.ts, over figures of which the answer is known. */
import { expect, it } from "vitest";
import { fitted } from "./growth.ts";

const steps = [1, 10, 100, 1000];

it("finds the line, and what grows faster than one", () => {
  const line = fitted(steps.map((x) => [x, 2 + 3 * x]));
  expect(line).toMatchObject({ fixed: 2, each: 3, rSquared: 1 });
  expect(line.exponent).toBeCloseTo(1, 1);
  expect(fitted(steps.map((x) => [x, x ** 2])).exponent).toBe(2);
  expect(fitted(steps.map((x) => [x, 5])).exponent).toBe(0);
});
