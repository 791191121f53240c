/**
 * What a cold start runs, as two scripts. esbuild cuts a handler into an ES module and a dozen chunks,
 * and Node resolves, reads, links and compiles each. Here the chunks that are loaded at start become two
 * files again: what asks for the secret (lib/aws/early.ts), and the rest, which is compiled while the
 * connection for it is made. Chunks that wait for their errand import from these what they share with them, so
 * that every module still exists once.
 *
 * Scripts, not modules, for two reasons: V8 takes a code cache for them (code-cache.ts), and they ask
 * for Node's own modules by `require`, which evaluates none of the getters (`fs.ReadStream`,
 * `http.WebSocket`) that an import has to.
 */
import { createHash } from "node:crypto";
import { posix } from "node:path";
import { build, type Metafile, type Plugin } from "esbuild";

/** One file that esbuild made: its path below the output folder, and what is in it. */
export interface Output {
  readonly path: string;
  readonly text: string;
  readonly imports: Metafile["outputs"][string]["imports"];
  readonly exports: readonly string[];
  /** Of a chunk made by a dynamic import: the module imported. */
  readonly source?: string | undefined;
}

export interface Joined {
  /** Files in the order in which a start reads them. */
  readonly startup: readonly Made[];
  readonly lazy: readonly Made[];
}

export interface Made {
  readonly path: string;
  readonly text: string;
  readonly source?: string | undefined;
}

/** The chunks hold CommonJS that calls `require` for Node's modules; an ES module has none. */
export const BANNER =
  'import { createRequire as posthasteCreateRequire } from "node:module";' +
  "const require = posthasteCreateRequire(import.meta.url);";

/**
 * @param outputs of one build with `splitting`, by path
 * @param first the entry whose chunks are run before all others
 */
export async function join(
  name: string,
  outputs: ReadonlyMap<string, Output>,
  first: string,
): Promise<Joined> {
  const entry = `${name}.mjs`;
  const start = closure(outputs, [entry]);
  const ahead = closure(outputs, outputs.has(first) ? [first] : []);
  const later = [...closure(outputs, [entry], true)].filter((path) => !start.has(path));
  const early = [...start].filter((path) => ahead.has(path));
  const rest = [...start].filter((path) => !ahead.has(path));
  const plan: Plan = {
    outputs,
    door: `start-${name}.mjs`,
    later: new Map(later.map((path) => [posix.basename(path), named(path, name)])),
    early: names(outputs, early, [...rest, ...later], "e"),
    rest: names(outputs, rest, later, "s"),
  };
  const scripts = [
    script(`early-${name}`, await joined(plan, plan.early, [])),
    script(`start-${name}`, await joined(plan, plan.rest, [`export {handler} from "/${entry}";`])),
  ];
  return {
    startup: [
      { path: entry, text: `export{handler}from"./chunks/${plan.door}";\n` },
      { path: `chunks/${plan.door}`, text: starter(plan, scripts) },
      ...scripts,
    ],
    lazy: later.map((path) => chunkOf(plan, outputs.get(path) as Output, named(path, name))),
  };
}

/** For each chunk of a script, what is imported of it from outside, and a name of its own for each. */
type Names = ReadonlyMap<string, ReadonlyMap<string, string>>;

interface Plan {
  readonly outputs: ReadonlyMap<string, Output>;
  /** The module that runs the scripts, and hands out what they share. */
  readonly door: string;
  /** The chunks that wait: a name in esbuild's output, and its name in ours. */
  readonly later: ReadonlyMap<string, string>;
  readonly early: Names;
  readonly rest: Names;
}

/** A chunk that waits belongs to one function, since it imports from that function's scripts. */
const named = (path: string, name: string): string =>
  posix.basename(path).replace(/\.mjs$/, `-${name}.mjs`);

function closure(
  outputs: ReadonlyMap<string, Output>,
  from: readonly string[],
  lazily = false,
): Set<string> {
  const seen = new Set(from);
  // A set is walked in the order of insertion, what is added on the way included.
  for (const path of seen) {
    for (const { path: next, kind, external } of outputs.get(path)?.imports ?? []) {
      if (external !== true && (lazily || kind === "import-statement")) seen.add(next);
    }
  }
  return seen;
}

function names(
  outputs: ReadonlyMap<string, Output>,
  chunks: readonly string[],
  importers: readonly string[],
  prefix: string,
): Names {
  const asked = new Set(
    importers.flatMap((path) => outputs.get(path)?.imports.map((one) => one.path) ?? []),
  );
  return new Map(
    chunks.map((path, index) => {
      const exports = asked.has(path) ? (outputs.get(path)?.exports ?? []) : [];
      return [path, new Map(exports.map((name) => [name, `${prefix}${index}_${name}`]))] as const;
    }),
  );
}

const EARLY = "posthaste:early";

/** A script: a function's body that fills `exports`. */
async function joined(plan: Plan, chunks: Names, exports: readonly string[]): Promise<string> {
  const listed = (path: string, from: string, turn: (pair: [string, string]) => string) => {
    const list = [...(chunks.get(path) ?? plan.early.get(path) ?? [])].map(turn);
    return list.length > 0 ? `export {${list.join(",")}} from "${from}";` : "";
  };
  const all = [...chunks.keys()].map((path) =>
    listed(path, `/${path}`, ([name, as]) => `${name} as ${as}`),
  );
  const memory: Plugin = {
    name: "memory",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^[./]/ }, ({ path, importer }) => ({
        path: path.startsWith("/") ? path.slice(1) : posix.join(posix.dirname(importer), path),
        namespace: "memory",
      }));
      onResolve({ filter: new RegExp(`^${EARLY}$`) }, () => ({ path: EARLY, external: true }));
      onLoad({ filter: /./, namespace: "memory" }, ({ path }) => {
        if (path === "all") return { contents: [...exports, ...all].join("\n") };
        if (chunks.has(path)) return { contents: deferred(plan, textOf(plan, path)) };
        return { contents: listed(path, EARLY, ([name, as]) => `${as} as ${name}`) };
      });
    },
  };
  const { outputFiles } = await build({
    entryPoints: ["/all"],
    bundle: true,
    write: false,
    minify: true,
    legalComments: "none",
    platform: "node",
    target: "node20",
    logLevel: "warning",
    format: "cjs",
    // A script has no `import()`: what is left of it becomes `require`.
    supported: { "dynamic-import": false },
    // The SDK asks of every body whether it is a web stream, for which Node would load all of those;
    // `node:https` gives none.
    define: { ReadableStream: "undefined" },
    plugins: [memory],
  });
  return outputFiles[0]?.text ?? "";
}

const textOf = ({ outputs }: Plan, path: string): string => outputs.get(path)?.text ?? "";

/** V8 does not compare a source with that of its cache: the name has to tell one from another. */
function script(name: string, text: string): Made {
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 8).toUpperCase();
  return { path: `chunks/${name}-${hash}.cjs`, text };
}

/** In a script, `import()` of what waits goes through the module that runs it; see {@link starter}. */
function deferred({ later }: Plan, text: string): string {
  return text.replaceAll(DYNAMIC, (whole, file) =>
    later.has(file) ? `load("./${later.get(file)}")` : whole,
  );
}

/** How esbuild writes what a chunk imports of another. */
const DYNAMIC = /\bimport\("\.\/(?:chunks\/)?([^"/]+)"\)/g;
const STATIC = /\bimport(?:\{([^}]*)\}from)?"\.\/([^"/]+)";/g;

/** A chunk that waits, importing what it shares with the scripts from where they were run. */
function chunkOf(plan: Plan, { path, text, source }: Output, own: string): Made {
  const { later, door } = plan;
  const imports = (whole: string, list: string | undefined, file: string) => {
    const other = later.get(file);
    if (other !== undefined) return whole.replace(`./${file}`, `./${other}`);
    const chunk = posix.join(posix.dirname(path), file);
    const shared = plan.early.get(chunk) ?? plan.rest.get(chunk);
    const renamed = list?.split(",").map((one) => {
      const [name = "", as = name] = one.trim().split(" as ");
      return `${shared?.get(name)} as ${as}`;
    });
    return `import{${renamed?.join(",") ?? ""}}from"./${door}";`;
  };
  const rewritten = text
    .replaceAll(STATIC, imports)
    .replaceAll(DYNAMIC, (whole, file) => whole.replace(file, later.get(file) ?? file));
  return { path: `chunks/${own}`, text: BANNER + rewritten, source };
}

/**
 * The module that runs the scripts, and between them lets the event loop turn, so that the connection
 * to the secret's store is on its way. The code cache beside a script is taken by the Node that made it: another
 * version or processor, or one without `--expose-gc`, looks for another name, and V8 refuses what does
 * not fit.
 *
 * Two of Node's modules are large and little is asked of them: `fs/promises` is loaded by the first
 * call (of the SDK, where it looks for files), and `performance` without its observers.
 */
function starter({ early, rest }: Plan, scripts: readonly Made[]): string {
  const [ahead, start] = scripts.map(({ path }) => JSON.stringify(posix.basename(path)));
  const shared = (names: Names) => [...names.values()].flatMap((one) => [...one.values()]).join();
  return `const own = process.getBuiltinModule;
const { readFileSync } = own("node:fs");
const { Script } = own("node:vm");
const require = own("node:module").createRequire(import.meta.url);
const whenCalled = (id) =>
  new Proxy({}, { get: (_, name) => (...given) => require(id)[name](...given) });
const performance = { now: () => process.uptime() * 1e3 };
const turn = () => new Promise(setImmediate);
function compile(name) {
  const filename = import.meta.dirname + "/" + name;
  let cachedData;
  try {
    const flags = globalThis.gc ? "-gc" : "";
    cachedData = readFileSync(filename + "." + process.version + "-" + process.arch + flags);
  } catch {}
  const body = readFileSync(filename, "utf8");
  const code = "(function(exports,require,module,load,performance){" + body + "\\n})";
  const script = new Script(code, { filename, cachedData });
  globalThis.posthasteScripts?.set(filename, script);
  return (early) => {
    const resolved = { "${EARLY}": early, "node:fs/promises": whenCalled("node:fs/promises") };
    const module = { exports: {} };
    const load = (path) => import(path);
    const run = script.runInThisContext();
    run(module.exports, (id) => resolved[id] ?? require(id), module, load, performance);
    return module.exports;
  };
}
const early = compile(${ahead})();
await turn();
const start = compile(${start});
await turn();
export const { ${shared(early)} } = early;
export const { handler, ${shared(rest)} } = start(early);
`;
}
