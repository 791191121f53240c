/**
 * The AWS SDK imports by way of barrels: index files that name a hundred modules. esbuild gives a chunk
 * to whoever imports a module's file, whichever of its names; so a client that is loaded on some errand
 * drags whatever it needs of a barrel into what every start loads, where the default client imports
 * from that barrel, too. Here each name is imported from the module that makes it.
 *
 * Only files that do nothing but export what others make are gone around, and only in packages that say
 * of themselves that loading a module has no side effects. What is not understood stays as it is.
 */
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Plugin, PluginBuild } from "esbuild";

const MODULES = /[\\/]node_modules[\\/]@(?:aws-sdk|smithy)[\\/].*\.js$/;
const OURS = /[\\/]lib[\\/]aws[\\/].*\.ts$/;
const NAMED = /^(import|export)\s*\{([^}]*)\}\s*from\s*["']([^"']+)["'];?/gm;
const STAR = /^export\s*\*\s*from\s*["']([^"']+)["'];?/gm;
const MADE =
  /^export\s+(?:const|let|var|class|(?:async\s+)?function\*?)\s+([\w$]+)|^export\s*\{([^}]*)\};?$/gm;

/** A name as its module exports it, and the file of that module. */
interface Origin {
  readonly file: string;
  readonly name: string;
}

export const barrels: Plugin = {
  name: "barrels",
  setup(build) {
    const origin = originsOf(build);
    build.onLoad({ filter: /\.[jt]s$/ }, async ({ path }) => {
      if (!MODULES.test(path) && !OURS.test(path)) return undefined;
      const text = await readFile(path, "utf8");
      const statements = await Promise.all(
        [...text.matchAll(NAMED)].map(async ([whole, kind = "", list = "", from = ""]) => {
          const parts = pairs(list).map(async ([name, as]) => {
            const found = await origin(path, from, name);
            return found && `${kind}{${found.name} as ${as}}from${JSON.stringify(found.file)};`;
          });
          const direct = await Promise.all(parts);
          return direct.includes(undefined) ? whole : direct.join("");
        }),
      );
      const contents = text.replaceAll(NAMED, () => statements.shift() ?? "");
      return { contents, loader: path.endsWith(".ts") ? "ts" : "js", resolveDir: dirname(path) };
    });
  },
};

/** `a, b as c`: what each is called there, and here. */
function pairs(list: string): readonly (readonly [string, string])[] {
  const words = list.split(",").map((one) => one.trim());
  return words
    .filter((one) => one !== "")
    .map((one) => {
      const [name = "", as = name] = one.split(/\s+as\s+/);
      return [name, as];
    });
}

type Find = (importer: string, from: string, name: string) => Promise<Origin | undefined>;

/** Nothing for what no barrel of these packages exports. */
function originsOf(build: PluginBuild): Find {
  const barrel = remembered(async (file) => {
    const text = await readFile(file, "utf8");
    const rest = text.replaceAll(NAMED, "").replaceAll(STAR, "");
    if (rest.trim() !== "" || text.includes("import")) return undefined;
    const named = new Map(
      [...text.matchAll(NAMED)].flatMap(([, , list = "", from = ""]) =>
        pairs(list).map(([name, as]) => [as, { from, name }] as const),
      ),
    );
    return { named, stars: [...text.matchAll(STAR)].map(([, from = ""]) => from) };
  });
  const made = remembered(async (file) => {
    const found = [...(await readFile(file, "utf8")).matchAll(MADE)];
    return new Set(
      found.flatMap(([, name, list]) => name ?? pairs(list ?? "").map(([, as]) => as)),
    );
  });
  const find: Find = async (importer, from, name) => {
    if (name.startsWith("type ")) return undefined;
    const where = { resolveDir: dirname(importer), kind: "import-statement" } as const;
    const { path: file, sideEffects, errors } = await build.resolve(from, where);
    if (errors.length > 0 || sideEffects || !MODULES.test(file)) return undefined;
    const inside = await barrel(file);
    if (inside === undefined) return (await made(file)).has(name) ? { file, name } : undefined;
    const next = inside.named.get(name);
    if (next !== undefined) return find(file, next.from, next.name);
    const starred = await Promise.all(inside.stars.map((star) => find(file, star, name)));
    return starred.find((one) => one !== undefined);
  };
  return find;
}

function remembered<T>(look: (file: string) => Promise<T>): (file: string) => Promise<T> {
  const known = new Map<string, Promise<T>>();
  return (file) => {
    const found = known.get(file) ?? look(file);
    known.set(file, found);
    return found;
  };
}
