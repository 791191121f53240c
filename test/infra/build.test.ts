/** What is deployed stands by itself: built away from the repository, each bundle loads and works. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Build, build, sizeTable } from "../../infra/build.ts";

const run = promisify(execFile);

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
        env: { AWS_REGION: "us-east-1", MAILBOX_SECRET_ID: "mail" },
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
    for (const path of await modules()) {
      expect(path).toMatch(/[\\/][^.\\/][^\\/]*\.mjs$/);
      // A chunk that is only loaded on some errand must load then: by itself, from where it is.
      if (path.includes("chunk-")) await import(/* @vite-ignore */ pathToFileURL(path).href);
    }
  });
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
    expect(await readdir(outdir)).toEqual(["one.mjs", "packages.json"]);
  });
});
