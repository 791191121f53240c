/**
 * The arrows between the rooms, tried one by one: each row is a file of imports, one a line,
 * linted by the repository's own configuration: a rule that no longer bites is a failed test.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Importer, what it may import, what it may not. */
const ARROWS: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  [
    "lib/smtp/session.ts",
    ["./reply.ts", "../sasl/mechanism.ts"],
    [
      "node:net",
      "node:crypto",
      "node:buffer",
      "net",
      "socks",
      "zod/mini",
      "./io/driver.ts",
      "../aws/s3.ts",
      "../message/schema.ts",
      "../submission/submit.ts",
      "../telemetry/log.ts",
      "../config.ts",
      "../../functions/api.ts",
      // The same rooms by a longer way.
      "./../aws/s3.ts",
      "../sasl/../aws/s3.ts",
      "..",
      "#aws",
    ],
  ],
  // The public face is no way round: what lib/submission imports must not open sockets.
  ["lib/smtp/index.ts", ["./session.ts"], ["./io/driver.ts"]],
  // A folder that does not exist yet is born with the rule of its room.
  ["lib/smtp/later/deep.ts", ["./other.ts"], ["node:net", "../io/driver.ts"]],
  [
    "lib/smtp/io/connection.ts",
    ["node:net", "node:tls", "node:dns/promises", "socks", "./deadline.ts", "../reply.ts"],
    [
      "zod/mini",
      "@aws-sdk/client-s3",
      "../../aws/s3.ts",
      "../../message/schema.ts",
      "../../submission/submit.ts",
      "../../config.ts",
      "../../../functions/wiring.ts",
    ],
  ],
  [
    "lib/sasl/scram.ts",
    ["node:crypto", "./mechanism.ts", "@mongodb-js/saslprep"],
    ["node:net", "node:util", "zod/mini", "../smtp/reply.ts", "../aws/s3.ts", "../config.ts"],
  ],
  [
    "lib/message/compose.ts",
    [
      "./schema.ts",
      "../smtp/data.ts",
      "../smtp/envelope.ts",
      "../smtp/error.ts",
      "../smtp/path.ts",
      "zod/mini",
      "nodemailer/lib/mail-composer",
      "node:crypto",
    ],
    [
      "../smtp/session.ts",
      "../smtp/io/driver.ts",
      "../sasl/plain.ts",
      "../submission/submit.ts",
      "../aws/s3.ts",
      "../telemetry/log.ts",
      "../../functions/wiring.ts",
      "@aws-sdk/client-s3",
      "node:tls",
      "node:https",
    ],
  ],
  [
    "lib/submission/submit.ts",
    [
      "./ports.ts",
      "../smtp/session.ts",
      "../message/envelope.ts",
      "../sasl/mechanism.ts",
      "../config.ts",
      "zod/mini",
      "oauth4webapi",
      "node:crypto",
    ],
    [
      "../smtp/io/driver.ts",
      "../smtp/io/connection.ts",
      "../smtp/../smtp/io/driver.ts",
      "../aws/secrets-manager.ts",
      "../telemetry/log.ts",
      "../../functions/wiring.ts",
      "@aws-sdk/client-secrets-manager",
      "@middy/core",
      "nodemailer",
      "socks",
      "node:tls",
      "node:http",
    ],
  ],
  [
    "lib/canary/canary.ts",
    ["./imap.ts", "../submission/submit.ts", "../message/schema.ts", "zod/mini", "imapflow"],
    [
      "../smtp/io/driver.ts",
      "../aws/secrets-manager.ts",
      "../telemetry/log.ts",
      "../../functions/wiring.ts",
      "@aws-sdk/client-sqs",
      "node:tls",
      "zod",
    ],
  ],
  [
    "lib/aws/secrets-manager.ts",
    ["../submission/ports.ts", "@aws-sdk/client-secrets-manager", "./client.ts"],
    ["../smtp/io/driver.ts", "../telemetry/log.ts", "../../functions/wiring.ts"],
  ],
  [
    "lib/telemetry/log.ts",
    ["../submission/outcome.ts", "node:os"],
    ["../smtp/io/driver.ts", "../aws/s3.ts", "../../functions/wiring.ts"],
  ],
  [
    "lib/client/send.ts",
    ["../message/schema.ts", "../submission/outcome.ts"],
    ["../aws/s3.ts", "../smtp/io/driver.ts", "../../functions/invoke.ts"],
  ],
  [
    "lib/cli/send.ts",
    [
      "./compose.ts",
      "../client/mailer.ts",
      "../smtp/io/relay.ts",
      "../submission/submit.ts",
      "../aws/secrets-manager.ts",
      "../../infra/local/certificate.ts",
      "commander",
      "node:net",
    ],
    [
      "../../functions/wiring.ts",
      "../../infra/local/stack.ts",
      "../../test/support/proxy.ts",
      "../telemetry/log.ts",
    ],
  ],
  ["lib/submission/check.ts", ["./deliver.ts"], ["../cli/send.ts"]],
  [
    "lib/config.ts",
    ["zod/mini", "./message/address.ts"],
    ["./aws/s3.ts", "./submission/submit.ts", "./smtp/io/driver.ts", "../functions/wiring.ts"],
  ],
  [
    "functions/api.ts",
    [
      "./wiring.ts",
      "./http.ts",
      "@middy/core",
      "../lib/config.ts",
      "../lib/message/schema.ts",
      "../lib/smtp/error.ts",
      "../lib/submission/submit.ts",
      "../lib/canary/canary.ts",
      "../lib/telemetry/log.ts",
    ],
    [
      "imapflow",
      "../lib/aws/secrets-manager.ts",
      "../lib/smtp/io/driver.ts",
      "../lib/smtp/../aws/s3.ts",
      "@aws-sdk/client-secrets-manager",
      "socks",
      "node:tls",
      "../infra/build.ts",
      "../test/support/proxy.ts",
    ],
  ],
  [
    "functions/wiring.ts",
    [
      "../lib/aws/secrets-manager.ts",
      "../lib/smtp/io/relay.ts",
      "../lib/submission/submit.ts",
      "../lib/config.ts",
      "@aws-sdk/client-secrets-manager",
    ],
    ["../test/support/proxy.ts", "../infra/build.ts", "../lib/cli/send.ts"],
  ],
  // The rims of the repository itself: they drive everything.
  ["test/smtp/driver.test.ts", ["../../lib/smtp/io/driver.ts", "../../lib/aws/s3.ts"], []],
  ["infra/local/demo.ts", ["../../functions/invoke.ts", "node:net"], []],
];

/** The ways of naming another module; each has to be seen. */
const FORMS: readonly string[] = [
  'import "node:net";',
  'import net from "node:net";',
  'import * as net from "node:net";',
  'import { Socket } from "node:net";',
  'import type { Socket } from "node:net";',
  'export { Socket } from "node:net";',
  'export type { Socket } from "node:net";',
  'export * from "node:net";',
  'await import("node:net");',
  'import net = require("node:net");',
];

/** Of node:net, what opens nothing is free; whatever else comes with it is not. */
const NAMES: readonly (readonly [string, boolean])[] = [
  ['import { isIP } from "node:net";', true],
  ['import { isIPv4, isIPv6 as six } from "node:net";', true],
  ['import { isIP, Socket } from "node:net";', false],
  ['import net from "node:net";', false],
  ['import * as net from "node:net";', false],
  ['await import("node:net");', false],
];

/** What a pure room must not reach for either, though no import gives it away. */
const GLOBALS = ["process", "Buffer", "Date", "performance", "setTimeout", "fetch", "console"];

const FORMS_IN = "lib/smtp/forms.ts";
const NAMES_IN = "lib/message/names.ts";
const GLOBALS_IN = "lib/smtp/globals.ts";

const tree = mkdtempSync(join(tmpdir(), "posthaste-layers-"));
/** `file:line` of all that the layer rules complain of. */
let refused: ReadonlySet<string>;

/** One statement a line, so that a complaint's line says which it is about. */
function write(file: string, statements: readonly string[]): void {
  mkdirSync(dirname(join(tree, file)), { recursive: true });
  writeFileSync(join(tree, file), statements.map((statement) => `${statement}\n`).join(""));
}

beforeAll(() => {
  cpSync(join(ROOT, "biome.json"), join(tree, "biome.json"));
  for (const [file, allowed, denied] of ARROWS) {
    write(
      file,
      [...allowed, ...denied].map((module) => `import "${module}";`),
    );
  }
  write(FORMS_IN, FORMS);
  write(
    NAMES_IN,
    NAMES.map(([statement]) => statement),
  );
  write(
    GLOBALS_IN,
    GLOBALS.map((name) => `export const ${name}_ = ${name};`),
  );
  for (const room of rooms())
    write(`lib/${room}/outward.ts`, ['import "../../test/support/a.ts";']);
  refused = lint();
});

afterAll(() => rmSync(tree, { recursive: true, force: true }));

function rooms(): readonly string[] {
  const entries = readdirSync(join(ROOT, "lib"), { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

function lint(): ReadonlySet<string> {
  const biome = join(ROOT, "node_modules", "@biomejs", "biome", "bin", "biome");
  const rules = ["noRestrictedImports", "noRestrictedGlobals"];
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [
      biome,
      "lint",
      "--reporter=json",
      "--max-diagnostics=none",
      ...rules.map((rule) => `--only=style/${rule}`),
      ".",
    ],
    { cwd: tree, encoding: "utf8" },
  );
  if (!stdout.startsWith("{")) throw new Error(`Biome said: ${stderr}${stdout}`);
  const { diagnostics } = JSON.parse(stdout) as {
    readonly diagnostics: readonly {
      readonly category: string;
      readonly location: { readonly path: string; readonly start: { readonly line: number } };
    }[];
  };
  const strange = diagnostics.filter(
    ({ category }) => !rules.some((one) => category.endsWith(one)),
  );
  // A file that does not parse would pass for one that nobody complains of.
  if (strange.length > 0) throw new Error(`Biome said: ${JSON.stringify(strange)}`);
  return new Set(diagnostics.map(({ location: { path, start } }) => `${path}:${start.line}`));
}

describe.each(ARROWS)("%s", (file, allowed, denied) => {
  if (allowed.length > 0) {
    test.each(allowed.map((module, index) => [module, index + 1] as const))(
      "may import %s",
      (_, line) => expect(refused).not.toContain(`${file}:${line}`),
    );
  }
  if (denied.length > 0) {
    test.each(denied.map((module, index) => [module, allowed.length + index + 1] as const))(
      "may not import %s",
      (_, line) => expect(refused).toContain(`${file}:${line}`),
    );
  }
});

test.each(FORMS.map((form, index) => [form, index + 1] as const))("sees %s", (_, line) => {
  expect(refused).toContain(`${FORMS_IN}:${line}`);
});

test.each(NAMES.map(([form, allowed], index) => [form, allowed, index + 1] as const))(
  "lib/message: %s, allowed: %s",
  (_, allowed, line) => expect(refused.has(`${NAMES_IN}:${line}`)).toBe(!allowed),
);

test.each(GLOBALS.map((name, index) => [name, index + 1] as const))(
  "lib/smtp may not use %s",
  (_, line) => expect(refused).toContain(`${GLOBALS_IN}:${line}`),
);

test.each(rooms())("lib/%s has a rule: no room of lib reaches out of it", (room) => {
  expect(refused).toContain(`lib/${room}/outward.ts:1`);
});
