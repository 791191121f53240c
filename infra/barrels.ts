/**
 * The AWS SDK imports by way of barrels: index files that name a hundred modules. esbuild gives a chunk
 * to whoever imports a module's file, whichever of its names; so a client that is loaded on some errand
 * drags whatever it needs of a barrel into what every start loads, where the default client imports
 * from that barrel, too. Here each name is imported from the module that makes it. A barrel that makes
 * some itself becomes two modules: what it makes, and what it passes on.
 *
 * Only packages are touched that say of themselves that loading a module has no side effects. What is
 * not understood stays as it is.
 */
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Plugin, PluginBuild } from "esbuild";

const MODULES = /[\\/]node_modules[\\/]@(?:aws-sdk|smithy)[\\/].*\.js$/;
const NAMED = /^(import|export)\s*\{([^}]*)\}\s*from\s*["']([^"']+)["'];?/gm;
const STAR = /^export\s*\*\s*from\s*["']([^"']+)["'];?/gm;
const MADE =
  /^export\s+(?:const|let|var|class|(?:async\s+)?function\*?)\s+([\w$]+)|^export\s*\{([^}]*)\};?$/gm;

/** A name as its module exports it, and the file of that module. */
interface Origin {
  readonly file: string;
  readonly name: string;
}

/** Of a barrel, what it makes itself. */
const OWN = "?own";

export const barrels: Plugin = {
  name: "barrels",
  setup(build) {
    const origin = originsOf(build);
    const direct = async (importer: string, whole: string, list: string, from: string) => {
      const origins = pairs(list).map(async ([name, as]) => {
        const found = await origin(importer, from, name);
        return found && `import{${found.name} as ${as}}from${JSON.stringify(found.file)};`;
      });
      const statements = await Promise.all(origins);
      return statements.includes(undefined) ? whole : statements.join("");
    };
    build.onResolve({ filter: /\?own$/ }, ({ path }) => ({
      path: path.slice(0, -OWN.length),
      suffix: OWN,
      sideEffects: false,
    }));
    build.onLoad({ filter: /\.[jt]s$/ }, async ({ path, suffix }) => {
      const theirs = MODULES.test(path);
      if (path.includes("node_modules") && !theirs) return undefined;
      const text = await readFile(path, "utf8");
      const loader = path.endsWith(".ts") ? "ts" : "js";
      const resolveDir = dirname(path);
      if (theirs && suffix !== OWN && isMixed(text)) {
        const own = `export * from ${JSON.stringify(path + OWN)};`;
        return { contents: `${passedOn(text).join("\n")}\n${own}`, loader, resolveDir };
      }
      const statements = await Promise.all(
        [...text.matchAll(NAMED)].map(([whole, kind, list = "", from = ""]) => {
          if (kind === "import") return direct(path, whole, list, from);
          return suffix === OWN ? "" : whole;
        }),
      );
      const contents = text.replaceAll(NAMED, () => statements.shift() ?? "");
      return { contents, loader, resolveDir };
    });
  },
};

const passedOn = (text: string): readonly string[] =>
  [...text.matchAll(NAMED)].filter(([, kind]) => kind === "export").map(([whole]) => whole);

const isMixed = (text: string): boolean =>
  passedOn(text).length > 0 && text.matchAll(MADE).next().done === false;

/** `a, b as c`: what each is called there, and here. Types are nothing at run time. */
function pairs(list: string): readonly (readonly [string, string])[] {
  const words = list.split(",").map((one) => one.trim());
  return words
    .filter((one) => one !== "" && !one.startsWith("type "))
    .map((one) => {
      const [name = "", as = name] = one.split(/\s+as\s+/);
      return [name, as];
    });
}

type Find = (importer: string, from: string, name: string) => Promise<Origin | undefined>;

/** Nothing for what is not found in these packages. */
function originsOf(build: PluginBuild): Find {
  const exportsOf = remembered(async (file) => {
    const text = await readFile(file, "utf8");
    const passed = [...text.matchAll(NAMED)].filter(([, kind]) => kind === "export");
    const named = passed.flatMap(([, , list = "", from = ""]) =>
      pairs(list).map(([name, as]) => [as, { from, name }] as const),
    );
    const made = [...text.matchAll(MADE)].flatMap(
      ([, name, list = ""]) => name ?? pairs(list).map(([, as]) => as),
    );
    const stars = [...text.matchAll(STAR)].map(([, from = ""]) => from);
    const own = isMixed(text) ? file + OWN : file;
    return { named: new Map(named), made: new Set(made), stars, own };
  });
  // Asked for each name of a list, from the same folder.
  const resolved = remembered(async (place) => {
    const [resolveDir = "", from = ""] = place.split("\0");
    const { path, sideEffects, errors } = await build.resolve(from, {
      resolveDir,
      kind: "import-statement",
    });
    return errors.length > 0 || sideEffects || !MODULES.test(path) ? undefined : path;
  });
  const find: Find = async (importer, from, name) => {
    const file = await resolved(`${dirname(importer)}\0${from}`);
    if (file === undefined) return undefined;
    const { named, made, stars, own } = await exportsOf(file);
    if (made.has(name)) return { file: own, name };
    const next = named.get(name);
    if (next !== undefined) return find(file, next.from, next.name);
    const starred = await Promise.all(stars.map((star) => find(file, star, name)));
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
