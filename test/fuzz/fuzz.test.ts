/** A short run of `node test/fuzz/run.ts`, with the corpus as it is and a little around it. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { jsonSeeds, seeds } from "./mutate.ts";
import {
  checkChallenges,
  checkEvent,
  checkGateway,
  checkRaw,
  checkReplies,
  checkRequest,
  checkSession,
  TARGETS,
} from "./targets.ts";

it("the corpus itself is accepted, or refused with a typed error", async () => {
  for (const seed of seeds("reply-")) {
    expect(checkReplies(seed, [0, 6]).length).toBeGreaterThan(0);
    for (let plan = 0; plan < 30; plan += 1) checkSession(seed, plan);
  }
  for (const seed of seeds("challenge-")) {
    for (let which = 0; which < 14; which += 1) checkChallenges(which, [seed, seed]);
  }
  for (const seed of seeds("message-")) checkRaw(seed);
  for (const seed of jsonSeeds("request-")) await checkRequest(seed);
  for (const seed of jsonSeeds("event-")) {
    checkEvent(seed);
    checkGateway(seed);
  }
});

it.each(TARGETS.map((target) => [target.name, target]))("%s", async (_, target) => {
  // A seed of its own each run: what is found prints the seed that brings it back.
  await fc.assert(target.property(), { numRuns: target.kind === "replies" ? 1_000 : 300 });
});
