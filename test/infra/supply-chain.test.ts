/** What others' code is let in, by which door, and that each piece of it is named and accounted for. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { beforeAll, describe, expect, it } from "vitest";
import { handlerSources } from "../../infra/build.ts";

interface Locked {
  readonly version: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly hasInstallScript?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}
interface Component {
  readonly name: string;
  readonly version: string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const text = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const manifest = JSON.parse(text("package.json")) as {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly allowScripts: Readonly<Record<string, boolean>>;
};
const locked = (
  JSON.parse(text("package-lock.json")) as { readonly packages: Readonly<Record<string, Locked>> }
).packages;
const installed = Object.entries(locked).filter(([path]) => path !== "");
const nameOf = (path: string) => path.split("node_modules/").at(-1) as string;

/** Where Node finds `name` from a package's own folder: there, or ever further up. */
function found(name: string, from: string): string | undefined {
  for (let folder = from; ; folder = folder.slice(0, folder.lastIndexOf("node_modules/"))) {
    const base = folder === "" || folder.endsWith("/") ? folder : `${folder}/`;
    if (`${base}node_modules/${name}` in locked) return `${base}node_modules/${name}`;
    if (base === "") return undefined;
  }
}

/** All that the given packages need at run time, they themselves included. */
function closure(names: readonly string[]): ReadonlySet<string> {
  const paths = new Set(names.map((name) => `node_modules/${name}`));
  // A set is walked in the order of insertion, what is added on the way included.
  for (const path of paths) {
    const { dependencies, optionalDependencies } = locked[path] as Locked;
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const next = found(name, path);
      if (next !== undefined) paths.add(next);
    }
  }
  return paths;
}

describe("the lockfile", () => {
  it("names each package by the hash of what it holds, and no place to get it from", () => {
    for (const [path, { integrity, resolved }] of installed) {
      expect(integrity, path).toMatch(/^sha512-[A-Za-z0-9+/]{86}==$/);
      expect(resolved, path).toBeUndefined();
    }
  });

  it("lets only the packages named in allowScripts run scripts at installation", () => {
    const scripted = installed.filter(([, { hasInstallScript }]) => hasInstallScript);
    const undecided = scripted.map(([path]) => nameOf(path));
    expect(undecided.filter((name) => !(name in manifest.allowScripts))).toEqual([]);
  });
});

describe("package.json", () => {
  const all = { ...manifest.dependencies, ...manifest.devDependencies };

  it.each(Object.entries(all))("has %s at one exact version: %s", (_, version) => {
    expect(version).toMatch(/^(?:npm:[a-z]+@)?\d+\.\d+\.\d+(?:-[\w.]+)?$/);
  });

  it.each(Object.keys(all).filter((name) => !name.startsWith("@types/")))(
    "has %s for a reason that is written down",
    (name) => {
      expect(text("lib/DECISIONS.md").includes(`\`${name}\``)).toBe(true);
    },
  );
});

describe("the bill of materials", () => {
  let components: readonly Component[];
  beforeAll(() => {
    const printed = execFileSync("npm", ["run", "--silent", "sbom"], {
      cwd: ROOT,
      encoding: "utf8",
    });
    const bill = JSON.parse(printed) as {
      readonly bomFormat: string;
      readonly components: readonly Component[];
    };
    expect(bill.bomFormat).toBe("CycloneDX");
    components = bill.components;
  });

  it("lists the runtime dependencies and all that they need, with versions, and nothing else", () => {
    const needed = [...closure(Object.keys(manifest.dependencies))].map(
      (path) => `${nameOf(path)}@${locked[path]?.version}`,
    );
    expect(components.map(({ name, version }) => `${name}@${version}`).sort()).toEqual(
      [...new Set(needed)].sort(),
    );
  });

  it("has the hash of each, as the lockfile has it", () => {
    const hashes = new Set(installed.map(([, { integrity }]) => integrity?.slice(7)));
    for (const { name, hashes: [hash] = [] } of components) {
      expect(hash?.alg, name).toBe("SHA-512");
      expect(hashes, name).toContain(Buffer.from(hash?.content ?? "", "hex").toString("base64"));
    }
  });

  it("lists every package of which the functions hold a line", async () => {
    const { metafile } = await build({
      absWorkingDir: ROOT,
      entryPoints: [...handlerSources()],
      outdir: "nowhere",
      write: false,
      bundle: true,
      splitting: true,
      format: "esm",
      platform: "node",
      mainFields: ["module", "main"],
      metafile: true,
    });
    const bundled = Object.values(metafile.outputs)
      .flatMap(({ inputs }) => Object.entries(inputs))
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .map(([path]) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]);
    const names = new Set(bundled.filter((name) => name !== undefined));
    expect(names.size).toBeGreaterThan(10);
    const listed = new Set(components.map(({ name }) => name));
    expect([...names].filter((name) => !listed.has(name))).toEqual([]);
  });
});
