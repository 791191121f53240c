/** The mutation score that the documents tell is the one that was measured, and its floor holds. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import score from "../mutation/score.json" with { type: "json" };

/** The least that each file of lib/smtp and lib/sasl may have, in percent. */
const FLOOR = 85;

const read = (file: string) =>
  readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), "utf8");

test.each(["README.md", "SECURITY.md", "lib/DECISIONS.md"])("%s tells the score", (file) => {
  const line = read(file)
    .split("\n")
    .find((text) => text.includes("mutants noticed"));
  expect(line).toContain(`${score.total.score} %`);
});

test("no file that was measured is below the floor", () => {
  const below = Object.entries(score.files).filter(([, file]) => file && file.score < FLOOR);
  expect(below).toEqual([]);
  expect(score.total.score).toBeGreaterThanOrEqual(FLOOR);
});
