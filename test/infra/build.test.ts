/** What is deployed stands by itself: built away from the repository, each bundle loads and works. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Build, build, sizeTable } from "../../infra/build.ts";
import { addCodeCache } from "../../infra/code-cache.ts";
import { lambdaAws } from "../../infra/local/aws.ts";
import { startSecrets } from "../../infra/local/secrets.ts";
import { AWS_ENVIRONMENT } from "../support/lambda.ts";

const run = promisify(execFile);

const INVOKE = fileURLToPath(new URL("../../functions/invoke.ts", import.meta.url));

let outside: string;
let built: Build;

beforeAll(async () => {
  // No node_modules lies above it, so that a package left out of a bundle cannot be found.
  outside = await mkdtemp(join(tmpdir(), "posthaste-build-"));
  const outdir = join(outside, "dist");
  built = await build({ outdir });
});
afterAll(() => rm(outside, { recursive: true, force: true }));

async function modules(): Promise<readonly string[]> {
  const entries = await readdir(built.outdir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name !== "packages.json")
    .map(({ parentPath, name }) => join(parentPath, name));
}

describe("the bundles", () => {
  it("are one for each handler", () => {
    const names = built.functions.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["invoke", "api", "check"]));
    expect(names).not.toContain("wiring");
  });

  it("export a handler, loaded by Node with nothing else around", async () => {
    for (const { name } of built.functions) {
      const url = pathToFileURL(join(built.outdir, `${name}.mjs`)).href;
      const script = `const { handler } = await import(${JSON.stringify(url)});
        console.log(typeof handler);`;
      const node = await run(process.execPath, ["--input-type=module", "--eval", script], {
        cwd: outside,
        // The secret is asked for at once, of a port where nobody answers.
        env: {
          ...AWS_ENVIRONMENT,
          AWS_ENDPOINT_URL: "http://127.0.0.1:1",
          MAILBOX_SECRET_ID: "mail",
        },
      });
      expect(`${name}: ${node.stdout.trim()}`).toBe(`${name}: function`);
      expect(node.stderr).toBe("");
    }
  });

  it("leave nothing to the runtime but Node's own modules", () => {
    expect(built.externals.filter((name) => !isBuiltin(name))).toEqual([]);
    expect(built.externals).toContain("node:tls");
  });

  it("load every chunk they name, and none is a hidden file", async () => {
    const files = await modules();
    for (const path of files) expect(path).toMatch(/[\\/][^.\\/][^\\/]*\.[mc]js$/);
    // A chunk that is only loaded on some errand must load then: by itself, from where it is. What is
    // shared is handed over when the scripts have run; what came later would be missed.
    const chunks = files.filter((path) => path.includes("chunks") && path.endsWith(".mjs"));
    // What is imported on an errand gives what was asked for, which no bundler checks.
    const asked = new Set(
      built.functions.flatMap(({ lazy }) =>
        lazy.flatMap(({ file, source }) =>
          source === undefined ? [] : [pathToFileURL(join(built.outdir, file)).href],
        ),
      ),
    );
    expect(asked.size).toBeGreaterThan(100);
    const script = `for (const path of ${JSON.stringify(chunks.map((path) => pathToFileURL(path)))}) {
      const names = Object.entries(await import(path));
      const missed = names.filter(([, value]) => value === undefined).map(([name]) => name);
      if (/start-\\w+\\.mjs$/.test(path) && missed.length > 0) console.log(path, missed);
      if (${JSON.stringify([...asked])}.includes(path) && names.length === 0) console.log(path, "nothing");
    }`;
    const node = await run(process.execPath, ["--input-type=module", "--eval", script], {
      env: AWS_ENVIRONMENT,
    });
    expect(node.stdout).toBe("");
    expect(chunks.length).toBeGreaterThan(100);
  }, 120_000);

  it("hold each module once: a chunk that waits has the very classes of the scripts", async () => {
    const files = await modules();
    const start = files.find((path) => path.endsWith("start-invoke.mjs")) ?? "";
    const { handler, ...shared } = await import(pathToFileURL(start).href);
    expect(typeof handler).toBe("function");
    expect(Object.keys(shared).length).toBeGreaterThan(10);
    const chunks = await Promise.all(
      files.filter((path) => path.endsWith("-invoke.mjs")).map((path) => readFile(path, "utf8")),
    );
    // The base of every AWS exception, and of our own errors, is told apart by identity.
    const bases = chunks.filter((text) => text.includes("extends Error"));
    const script = await readFile(files.find((path) => /early-invoke-\w+\.cjs$/.test(path)) ?? "");
    expect(script.includes("ServiceException")).toBe(true);
    expect(bases.filter((text) => text.includes('"ConfigError"'))).toEqual([]);
  });

  it("ask for the secret before anything else is loaded, and once", async () => {
    const own = join(outside, "early");
    await cp(built.outdir, own, { recursive: true });
    const names = await readdir(join(own, "chunks"));
    const rest = names.find((name) => /^start-invoke-\w+\.cjs$/.test(name)) ?? "";
    const box = { host: "127.0.0.1:1", security: "none", from: "shop@example.com" };
    const secrets = await startSecrets({ box: JSON.stringify(box) });
    const load = async (more: Readonly<Record<string, string>> = {}) => {
      const url = pathToFileURL(join(own, "invoke.mjs")).href;
      const script = `const { handler } = await import(${JSON.stringify(url)});
        console.log((await handler({ to: "a@example.net", text: "x" }, {})).error?.code);`;
      const node = await run(process.execPath, ["--input-type=module", "--eval", script], {
        env: {
          ...lambdaAws("invoke"),
          AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
          MAILBOX_SECRET_ID: "box",
          LOG_LEVEL: "silent",
          ...more,
        },
      });
      return node.stdout.trim();
    };
    try {
      expect(await load()).toBe("connect_failed");
      expect(secrets.calls()).toBe(1);
      // Nothing of the rest is there, and it is asked for all the same.
      const idle = "exports.handler = () => new Promise((done) => setTimeout(done, 300, {}));";
      await writeFile(join(own, "chunks", rest), idle);
      expect(await load()).toBe("undefined");
      expect(secrets.calls()).toBe(2);
      // What may not be kept is not asked for ahead of an event.
      expect(await load({ MAILBOX_CACHE_SECONDS: "0" })).toBe("undefined");
      expect(secrets.calls()).toBe(2);
    } finally {
      await secrets.close();
    }
  }, 60_000);

  it("run without a code cache, with one that fits, and with one that does not", async () => {
    const own = join(outside, "cached");
    await build({ outdir: own, entries: [INVOKE] });
    const { invoke: caches = [] } = await addCodeCache(own);
    const packages = JSON.parse(await readFile(join(own, "packages.json"), "utf8"));
    expect(packages.invoke.slice(-2)).toEqual(caches);
    const paths = caches.map((cache) => fileURLToPath(new URL(`../../${cache}`, import.meta.url)));
    for (const path of paths) expect((await stat(path)).size).toBeGreaterThan(100_000);
    const [path = ""] = paths;
    const whole = await readFile(path);
    const rejected = async (flags = ["--expose-gc"]) => {
      const url = pathToFileURL(join(own, "invoke.mjs")).href;
      const script = `globalThis.posthasteScripts = new Map();
        const { handler } = await import(${JSON.stringify(url)});
        const scripts = [...globalThis.posthasteScripts.values()];
        console.log(typeof handler, ...scripts.map((one) => one.cachedDataRejected));`;
      const node = await run(process.execPath, [...flags, "--input-type=module", "--eval", script]);
      return node.stdout.trim();
    };
    expect(await rejected()).toBe("function false false");
    // Without the flag V8 would refuse it: it is not even looked for.
    expect(await rejected([])).toBe("function undefined undefined");
    // Another V8 writes another version into its first octets.
    await writeFile(path, Buffer.concat([Buffer.alloc(16), whole.subarray(16)]));
    expect(await rejected()).toBe("function true false");
    await writeFile(path, whole.subarray(0, 1000));
    expect(await rejected()).toBe("function true false");
    await rm(path);
    expect(await rejected()).toBe("function undefined false");
  }, 120_000);
});

describe("the report", () => {
  it("counts what a start loads apart from what may be loaded later, and all of it", async () => {
    const sizes = new Map<string, number>();
    for (const path of await modules()) sizes.set(path, (await readFile(path)).length);
    for (const { name, startup, startupBytes, lazy, lazyBytes } of built.functions) {
      expect(startup[0]?.file).toBe(`${name}.mjs`);
      for (const { file, bytes } of [...startup, ...lazy]) {
        expect(sizes.get(join(built.outdir, file))).toBe(bytes);
      }
      const total = (part: typeof lazy) => part.reduce((sum, { bytes }) => sum + bytes, 0);
      expect([startupBytes, lazyBytes]).toEqual([total(startup), total(lazy)]);
      const both = startup.filter(({ file }) => lazy.some((other) => other.file === file));
      expect(both).toEqual([]);
    }
    const packages: unknown = JSON.parse(
      await readFile(join(built.outdir, "packages.json"), "utf8"),
    );
    expect(Object.keys(packages ?? {})).toEqual(built.functions.map(({ name }) => name));
    expect(sizeTable(built)).toContain("invoke.mjs");
  });
});

describe("the build", () => {
  it("refuses to deploy a module that exports no handler, or nothing at all", async () => {
    const source = join(outside, "shared.ts");
    await writeFile(source, "export const nothing = 1;\n");
    const outdir = join(outside, "other");
    await expect(build({ entries: [source], outdir })).rejects.toThrow(/shared\.ts/);
    await expect(build({ entries: [], outdir })).rejects.toThrow(/no handler/);
  });

  it("removes what an earlier build left", async () => {
    const source = join(outside, "one.ts");
    await writeFile(source, "export const handler = async () => 1;\n");
    const outdir = join(outside, "again");
    await build({ entries: [source], outdir });
    await writeFile(join(outdir, "stale.mjs"), "");
    await build({ entries: [source], outdir });
    expect(await readdir(outdir)).toEqual(["chunks", "one.mjs", "packages.json"]);
    for (const file of await readdir(join(outdir, "chunks")))
      expect(file).toMatch(/^(early|start)-one[-.]/);
  });
});
