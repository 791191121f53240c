import { globSync } from "node:fs";

/**
 * What is mutated, and which tests must notice. Each room has the tests that exercise it nearest, the
 * fastest first: what one of them kills, the others are not asked.
 */
export interface Room {
  readonly name: string;
  readonly mutate: readonly string[];
  readonly tests: readonly string[];
  /** Milliseconds; a test that takes longer without a mutant waits for time to pass, and is not asked. */
  readonly patience?: number;
}

const sasl: Room = {
  name: "sasl",
  mutate: ["lib/sasl/*.ts"],
  tests: [
    "test/sasl/select.test.ts",
    "test/sasl/oauth.test.ts",
    "test/sasl/plain-login-external.test.ts",
    "test/sasl/md5.test.ts",
    "test/sasl/scram.test.ts",
    "test/sasl/prepare.test.ts",
    "test/sasl/hostile.test.ts",
    "test/smtp/dialogue.test.ts",
  ],
};

/** Pure, so tried without a socket: a mutant costs a second and not a minute. */
const smtp: Room = {
  name: "smtp",
  mutate: ["lib/smtp/*.ts", "!lib/smtp/remainder.ts", "!lib/smtp/dialogue.ts"],
  tests: [
    "test/smtp/dialogue.test.ts",
    "test/smtp/login.test.ts",
    "test/smtp/early-verdict.test.ts",
    "test/smtp/command.test.ts",
    "test/smtp/reply.test.ts",
    "test/smtp/transcript.test.ts",
    "test/smtp/content.test.ts",
  ],
};

/** What one session leaves to the next. */
const remainder: Room = {
  name: "remainder",
  mutate: ["lib/smtp/remainder.ts"],
  tests: ["test/smtp/remainder.test.ts"],
};

/** In memory first; then every dialogue again, over sockets. What waits for time to pass is not asked. */
const driver: Room = {
  name: "driver",
  mutate: ["lib/smtp/io/driver.ts"],
  tests: ["test/smtp/effects.test.ts", "test/smtp/driver.test.ts", "test/smtp/socket.test.ts"],
};

/** A person's transcript, read as one. */
const dialogue: Room = {
  name: "dialogue",
  mutate: ["lib/smtp/dialogue.ts"],
  tests: ["test/smtp/conversation.test.ts", "test/smtp/dialogue.test.ts"],
};

/** What a send waits for, without a socket. */
const clock: Room = {
  name: "clock",
  mutate: ["deadline", "in-time", "stopwatch", "tls-error", "own-name"].map(
    (name) => `lib/smtp/io/${name}.ts`,
  ),
  tests: ["test/smtp/clock.test.ts"],
};

const io = (name: string, tests: readonly string[], patience?: number): Room => ({
  name,
  mutate: [`lib/smtp/io/${name}.ts`],
  tests: tests.map((test) => `test/smtp/${test}.test.ts`),
  ...(patience !== undefined && { patience }),
});

/** Over real sockets, each mutant a second and more. */
const sockets: readonly Room[] = [
  io("tls-sessions", ["session-store", "tls-sessions"]),
  io("ahead", ["ahead"]),
  io("proxy", ["tunnel", "proxy"]),
  io("binding", ["binding"]),
  io("connection", ["connection", "tls-sessions", "connecting"], 300),
  io("relay", ["relay", "another-session", "ahead", "tls-sessions"], 800),
  io("dns", ["addresses"]),
];

export const ROOMS: readonly Room[] = [sasl, smtp, remainder, dialogue, driver, clock, ...sockets];

/** The files of a room's code. */
export function mutatedIn({ mutate }: Room): readonly string[] {
  const not = mutate.filter((pattern) => pattern.startsWith("!")).map((file) => file.slice(1));
  return globSync(mutate.filter((pattern) => !pattern.startsWith("!")))
    .filter((file) => !not.includes(file))
    .sort();
}

/** The room at work. */
export function roomAtWork(): Room | undefined {
  return ROOMS.find(({ name }) => name === process.env["MUTATION_ROOM"]);
}

/** Its test files, in its order. */
export function filesOf(root: string): readonly string[] {
  return roomAtWork()?.tests.flatMap((pattern) => globSync(pattern, { cwd: root }).sort()) ?? [];
}
