import { globSync } from "node:fs";

/**
 * What is mutated, and which tests must notice. Each room has the tests that exercise it nearest, the
 * fastest first: what one of them kills, the others are not asked.
 */
export interface Room {
  readonly name: string;
  readonly mutate: readonly string[];
  readonly tests: readonly string[];
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

/** Every dialogue again, over sockets; what waits for time to pass is not asked. */
const driver: Room = {
  name: "driver",
  mutate: ["lib/smtp/io/driver.ts", "lib/smtp/remainder.ts"],
  tests: [
    "test/smtp/driver.test.ts",
    "test/smtp/another-session.test.ts",
    "test/smtp/socket.test.ts",
  ],
};

/** A person's transcript, read as one. */
const dialogue: Room = {
  name: "dialogue",
  mutate: ["lib/smtp/dialogue.ts"],
  tests: ["test/smtp/dialogue.test.ts", "test/cli/replay.test.ts"],
};

const io: Room = {
  name: "io",
  mutate: ["lib/smtp/io/*.ts", "!lib/smtp/io/driver.ts"],
  tests: [
    "test/smtp/tls-sessions.test.ts",
    "test/smtp/proxy.test.ts",
    "test/smtp/connecting.test.ts",
  ],
};

export const ROOMS: readonly Room[] = [sasl, smtp, dialogue, driver, io];

/** The files of a room's code. */
export function mutatedIn({ mutate }: Room): readonly string[] {
  const not = mutate.filter((pattern) => pattern.startsWith("!")).map((file) => file.slice(1));
  return globSync(mutate.filter((pattern) => !pattern.startsWith("!")))
    .filter((file) => !not.includes(file))
    .sort();
}

/** The test files of the room at work, in its order. */
export function filesOf(root: string): readonly string[] {
  const room = ROOMS.find(({ name }) => name === process.env["MUTATION_ROOM"]);
  return room?.tests.flatMap((pattern) => globSync(pattern, { cwd: root }).sort()) ?? [];
}
