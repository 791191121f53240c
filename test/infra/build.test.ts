/** What is deployed stands by itself: built away from the repository, each bundle loads and works. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Build, build, sizeTable } from "../../infra/build.ts";
import { addCodeCache } from "../../infra/code-cache.ts";
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
    // shared is handed over when the script has run; what came later would be missed.
    const chunks = files.filter((path) => path.includes("chunks") && path.endsWith(".mjs"));
    const script = `for (const path of ${JSON.stringify(chunks.map((path) => pathToFileURL(path)))}) {
      const names = Object.entries(await import(path));
      const missed = names.filter(([, value]) => value === undefined).map(([name]) => name);
      if (/(start|parts)-\\w+\\.mjs$/.test(path) && missed.length > 0) console.log(path, missed);
    }`;
    const node = await run(process.execPath, ["--input-type=module", "--eval", script], {
      env: AWS_ENVIRONMENT,
    });
    expect(node.stdout).toBe("");
    expect(chunks.length).toBeGreaterThan(100);
  }, 120_000);

  it("hold each module once: a chunk that waits has the very classes of the script", async () => {
    const files = await modules();
    const start = files.find((path) => path.endsWith("start-invoke.mjs")) ?? "";
    const { handler, parts, ...shared } = await import(pathToFileURL(start).href);
    expect(typeof handler).toBe("function");
    expect(Object.keys(await parts()).length).toBeGreaterThan(0);
    expect(Object.keys(shared).length).toBeGreaterThan(10);
    const chunks = await Promise.all(
      files.filter((path) => path.endsWith("-invoke.mjs")).map((path) => readFile(path, "utf8")),
    );
    // The base of every AWS exception, and of our own errors, is told apart by identity.
    const bases = chunks.filter((text) => text.includes("extends Error"));
    const script = await readFile(files.find((path) => /start-invoke-\w+\.cjs$/.test(path)) ?? "");
    expect(script.includes("ServiceException")).toBe(true);
    expect(bases.filter((text) => text.includes('"ConfigError"'))).toEqual([]);
  });

  it("run without a code cache, with one that fits, and with one that does not", async () => {
    const own = join(outside, "cached");
    await build({ outdir: own, entries: [INVOKE] });
    const { invoke: cache = "" } = await addCodeCache(own);
    const packages = JSON.parse(await readFile(join(own, "packages.json"), "utf8"));
    expect(packages.invoke.at(-1)).toBe(cache);
    const path = fileURLToPath(new URL(`../../${cache}`, import.meta.url));
    expect((await stat(path)).size).toBeGreaterThan(100_000);
    const whole = await readFile(path);
    const rejected = async (flags = ["--expose-gc"]) => {
      const url = pathToFileURL(join(own, "invoke.mjs")).href;
      const script = `globalThis.posthasteScripts = new Map();
        const { handler } = await import(${JSON.stringify(url)});
        const [code] = globalThis.posthasteScripts.values();
        console.log(typeof handler, code.cachedDataRejected);`;
      const node = await run(process.execPath, [...flags, "--input-type=module", "--eval", script]);
      return node.stdout.trim();
    };
    expect(await rejected()).toBe("function false");
    // Without the flag V8 would refuse it: it is not even looked for.
    expect(await rejected([])).toBe("function undefined");
    // Another V8 writes another version into its first octets.
    await writeFile(path, Buffer.concat([Buffer.alloc(16), whole.subarray(16)]));
    expect(await rejected()).toBe("function true");
    await writeFile(path, whole.subarray(0, 1000));
    expect(await rejected()).toBe("function true");
    await rm(path);
    expect(await rejected()).toBe("function undefined");
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
      expect(file).toMatch(/^start-one[-.]/);
  });
});
