/**
 * What a cold start runs, as one script. esbuild cuts a handler into an ES module and a dozen chunks,
 * and Node resolves, reads, links and compiles each. Here the chunks that are loaded at start become one
 * file again, and those that wait for their errand import from it what they share with it, so that
 * every module still exists once.
 *
 * A script, not a module, for two reasons: V8 takes a code cache for it (code-cache.ts), and it asks for
 * Node's own modules by `require`, which evaluates none of the getters (`fs.ReadStream`,
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
 * @param soon sources whose chunks every ordinary event needs: they belong to the script, and are
 *   evaluated when they are asked for
 */
export async function join(
  name: string,
  outputs: ReadonlyMap<string, Output>,
  soon: readonly string[],
): Promise<Joined> {
  const entry = `${name}.mjs`;
  const reached = closure(outputs, [entry], true);
  const start = closure(outputs, [entry]);
  const wanted = [...reached].filter((path) => soon.includes(outputs.get(path)?.source ?? ""));
  const script = closure(outputs, [entry, ...wanted]);
  const parts = [...script].filter((path) => !start.has(path));
  const later = [...reached].filter((path) => !script.has(path));
  const plan: Plan = {
    outputs,
    later: new Map(later.map((path) => [posix.basename(path), named(path, name)])),
    names: sharedNames(outputs, later),
    start: { file: `start-${name}.mjs`, chunks: [...start] },
    parts: { file: `parts-${name}.mjs`, chunks: parts },
  };
  const code = await scriptOf(plan);
  const hash = createHash("sha256").update(code).digest("hex").slice(0, 8).toUpperCase();
  const file = `start-${name}-${hash}.cjs`;
  const doors = namesOf(plan, parts);
  return {
    startup: [
      { path: entry, text: `export{handler}from"./chunks/${plan.start.file}";\n` },
      {
        path: `chunks/${plan.start.file}`,
        text: starter(file, ["handler", ...namesOf(plan, [...start])]),
      },
      { path: `chunks/${file}`, text: code },
    ],
    lazy: [
      ...later.map((path) => chunkOf(plan, outputs.get(path) as Output, named(path, name))),
      ...(doors.length === 0
        ? []
        : [{ path: `chunks/${plan.parts.file}`, text: door(plan.start.file, doors) }]),
    ],
  };
}

interface Room {
  readonly file: string;
  readonly chunks: readonly string[];
}

interface Plan {
  readonly outputs: ReadonlyMap<string, Output>;
  /** The chunks that wait: a name in esbuild's output, and its name in ours. */
  readonly later: ReadonlyMap<string, string>;
  /** For each chunk in the script, what those that wait import of it, and a name of its own for each. */
  readonly names: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly start: Room;
  readonly parts: Room;
}

/** A chunk that waits belongs to one function, since it imports from that function's script. */
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

function sharedNames(outputs: ReadonlyMap<string, Output>, later: readonly string[]) {
  const asked = new Set(
    later.flatMap((path) => outputs.get(path)?.imports.map((one) => one.path) ?? []),
  );
  return new Map(
    [...asked]
      .filter((path) => outputs.has(path) && !later.includes(path))
      .map((path, index) => {
        const exports = outputs.get(path)?.exports ?? [];
        return [path, new Map(exports.map((name) => [name, `s${index}_${name}`]))] as const;
      }),
  );
}

function namesOf({ names }: Plan, chunks: readonly string[]): readonly string[] {
  return chunks.flatMap((path) => [...(names.get(path)?.values() ?? [])]);
}

/** The script: a function's body that fills `exports`. */
async function scriptOf(plan: Plan): Promise<string> {
  const { outputs, names, start, parts } = plan;
  const reexports = (chunks: readonly string[]) =>
    chunks.flatMap((path) => {
      const list = [...(names.get(path) ?? [])].map(([name, as]) => `${name} as ${as}`);
      return list.length > 0 ? [`export {${list.join(",")}} from "/${path}";`] : [];
    });
  const files = new Map([
    [
      "start",
      [
        `export {handler} from "/${start.chunks[0]}";`,
        ...reexports(start.chunks),
        'export const parts = () => import("/parts");',
      ].join("\n"),
    ],
    ["parts", reexports(parts.chunks).join("\n")],
  ]);
  const memory: Plugin = {
    name: "memory",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^[./]/ }, ({ path, importer }) => ({
        path: path.startsWith("/") ? path.slice(1) : posix.join(posix.dirname(importer), path),
        namespace: "memory",
      }));
      onLoad({ filter: /./, namespace: "memory" }, ({ path }) => ({
        contents: files.get(path) ?? deferred(plan, outputs.get(path)?.text ?? ""),
      }));
    },
  };
  const { outputFiles } = await build({
    entryPoints: ["/start"],
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
    plugins: [memory],
  });
  return outputFiles[0]?.text ?? "";
}

/** In the script, `import()` of what waits goes through the module that runs it; see {@link starter}. */
function deferred({ later }: Plan, text: string): string {
  return text.replaceAll(DYNAMIC, (whole, file) =>
    later.has(file) ? `load("./${later.get(file)}")` : whole,
  );
}

/** How esbuild writes what a chunk imports of another. */
const DYNAMIC = /\bimport\("\.\/(?:chunks\/)?([^"/]+)"\)/g;
const STATIC = /\bimport(?:\{([^}]*)\}from)?"\.\/([^"/]+)";/g;

/** A chunk that waits, importing what it shares with the script from where that was evaluated. */
function chunkOf(plan: Plan, { path, text, source }: Output, own: string): Made {
  const { later, names, start } = plan;
  const imports = (whole: string, list: string | undefined, file: string) => {
    const other = later.get(file);
    if (other !== undefined) return whole.replace(`./${file}`, `./${other}`);
    const chunk = posix.join(posix.dirname(path), file);
    const room = start.chunks.includes(chunk) ? start : plan.parts;
    const renamed = list?.split(",").map((one) => {
      const [name = "", as = name] = one.trim().split(" as ");
      return `${names.get(chunk)?.get(name)} as ${as}`;
    });
    return `import{${renamed?.join(",") ?? ""}}from"./${room.file}";`;
  };
  const rewritten = text
    .replaceAll(STATIC, imports)
    .replaceAll(DYNAMIC, (whole, file) => whole.replace(file, later.get(file) ?? file));
  return { path: `chunks/${own}`, text: BANNER + rewritten, source };
}

/**
 * The module that runs the script. The code cache beside it is taken by the Node that made it: another
 * version or processor, or one without `--expose-gc`, looks for another name, and V8 refuses what does
 * not fit.
 */
function starter(script: string, names: readonly string[]): string {
  return (
    'const own=process.getBuiltinModule,{readFileSync:read}=own("node:fs"),{Script}=own("node:vm");' +
    `const filename=import.meta.dirname+"/${script}";let cachedData;` +
    'try{cachedData=read(filename+"."+process.version+"-"+process.arch+(globalThis.gc?"-gc":""))}catch{}' +
    'const code=new Script("(function(exports,require,module,load){"+read(filename,"utf8")+"\\n})",' +
    "{filename,cachedData});" +
    "globalThis.posthasteScripts?.set(filename,code);const module={exports:{}};" +
    'code.runInThisContext()(module.exports,own("node:module").createRequire(filename),module,' +
    "(path)=>import(path));" +
    `export const{${names.join(",")},parts}=module.exports;\n`
  );
}

/** Where later chunks find what is evaluated only when asked for. */
function door(start: string, names: readonly string[]): string {
  return `import{parts}from"./${start}";export const{${names.join(",")}}=await parts();\n`;
}
