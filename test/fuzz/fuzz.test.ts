/** A short run of `node test/fuzz/run.ts`, with the corpus as it is and a little around it. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Phase } from "../../lib/smtp/step.ts";
import { eventSeeds, jsonSeeds, seeds } from "./mutate.ts";
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
  for (const seed of eventSeeds()) {
    checkEvent(seed);
    checkGateway(seed);
  }
});

it("the corpus leads into every phase of a conversation, so that mutations of it do", () => {
  const answered = new Set<Phase>();
  for (const seed of seeds("reply-")) {
    for (let plan = 0; plan < 30; plan += 1) {
      for (const phase of checkSession(seed, plan)) answered.add(phase);
    }
  }
  // Sorted: all there are but "connect", which a pure conversation never sees.
  const phases = "auth content data ehlo farewell greeting mail quit rcpt rset starttls tls";
  expect([...answered].sort().join(" ")).toBe(phases);
});

it("no file of the corpus is empty, or of a kind that nothing reads", () => {
  const kinds = ["reply-", "challenge-", "message-", "request-", "event-", "addresses", "README"];
  expect(seeds("").every(({ length }) => length > 0)).toBe(true);
  expect(seeds("")).toHaveLength(kinds.flatMap((kind) => seeds(kind)).length);
});

it.each(TARGETS.map((target) => [target.name, target]))("%s", async (_, target) => {
  // A seed of its own each run: what is found prints the seed that brings it back.
  await fc.assert(target.property(), { numRuns: target.kind === "replies" ? 1_000 : 300 });
});
