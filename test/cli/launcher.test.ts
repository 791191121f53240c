/** `npx posthaste`, on the machine's own Node and on others; help, version, what is mistyped. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ADVISED } from "../../lib/cli/advice.ts";
import { LAUNCHER, onTerminal, ownNode, posthaste, ROOT } from "./support.ts";

const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "posthaste-launcher-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** npm keeps a link to the repository in its cache; a cache of its own shows the first time, too. */
const npx = () => ({ npm_config_cache: join(folder, "npm"), npm_config_update_notifier: "false" });

it("npx posthaste works from the repository and from below, without the network", async () => {
  const env = { ...npx(), npm_config_registry: "http://127.0.0.1:9/", HOME: folder };
  for (const cwd of [ROOT, join(ROOT, "infra")]) {
    const ran = await posthaste(["--version"], { command: ["npx", "posthaste"], cwd, env });
    expect(ran).toMatchObject({ code: 0, stdout: `${version}\n` });
  }
  const usage = await posthaste(["send", "--tp"], { command: ["npx", "posthaste"], env });
  expect(usage.code).toBe(64);
  expect(usage.stderr).toContain("(Did you mean --to?)");
}, 60_000);

it("works with the machine's own Node, and on a terminal", async () => {
  const { file } = ownNode();
  expect(await posthaste(["--version"], { command: [file, LAUNCHER] })).toMatchObject({
    code: 0,
    stdout: `${version}\n`,
  });
  expect(await posthaste(["sned"], { command: [file, LAUNCHER] })).toMatchObject({ code: 64 });
  expect((await onTerminal(["--version"])).screen).toBe(`${version}\r\n`);
});

/** A clone with its packages, as far as the launcher looks at them. */
function clone(name: string, packages: readonly string[]): string {
  const root = join(folder, name);
  mkdirSync(join(root, "lib", "cli"), { recursive: true });
  mkdirSync(join(root, "node_modules"));
  cpSync(LAUNCHER, join(root, "lib", "cli", "posthaste.mjs"));
  for (const one of packages) {
    symlinkSync(join(ROOT, "node_modules", one), join(root, "node_modules", one));
  }
  return join(root, "lib", "cli", "posthaste.mjs");
}

it("says what to do where the packages are not installed", async () => {
  const ran = await posthaste(["--version"], { command: [ownNode().file, clone("bare", [])] });
  expect(ran).toMatchObject({ code: 69, stdout: "" });
  expect(ran.stderr).toBe(
    "posthaste: its packages are not installed. Run `npm ci` in the repository.\n",
  );
});

it("says so where the Node is too old and no newer one was brought along", async () => {
  const { file, major } = ownNode();
  const ran = await posthaste(["--version"], { command: [file, clone("old", ["commander"])] });
  // A machine with a new Node goes on to the command line itself, which this clone lacks.
  const says =
    major < 24
      ? /^posthaste: it needs Node 24, and this is \d+\.\d+\.\d+\. Run `npm ci`/
      : /main\.ts/;
  expect(ran.stderr).toMatch(says);
  expect(ran.code).not.toBe(0);
});

it("is plain JavaScript that an old Node can read", () => {
  const source = readFileSync(LAUNCHER, "utf8");
  expect(source).not.toMatch(/\?\.|\?\?|^await|^\s+const .* = await|#[a-z]|\bsatisfies\b/m);
  expect(existsSync(join(ROOT, "node_modules", "node", "bin", "node"))).toBe(true);
});

it("prints help for every command, with examples and the exit codes", async () => {
  const root = await posthaste(["--help"]);
  expect(root).toMatchObject({ code: 0, stderr: "" });
  const commands = [...root.stdout.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name as string);
  expect(commands).toEqual(["send", "check", "mailbox", "message", "replay", "help"]);
  expect(root.stdout).toContain("75 deferred: try again later");
  const bare = await posthaste([]);
  expect(bare).toMatchObject({ code: 64, stdout: "" });
  expect(bare.stderr).toBe(root.stdout);
});

it("advises on every error code that the README has, and on no other", () => {
  const reference = readFileSync(join(ROOT, "lib/REFERENCE.md"), "utf8");
  const table = reference.split("### Error codes")[1]?.split("\n## ")[0] ?? "";
  const codes = [...table.matchAll(/^\| `([a-z_]+)`/gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(40);
  expect([...ADVISED].sort()).toEqual(codes.sort());
});
