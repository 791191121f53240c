/**
 * The build: each handler becomes one ES module with its lazily loaded chunks beside it.
 *
 * Rule guarded here: what is deployed is what esbuild made of this source and nothing else. Nothing
 * stays external but Node's own modules, so a bundle runs without any `node_modules`; and a cold
 * start pays for static imports alone, so what is loaded later is counted apart.
 */
import { readdirSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { basename, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build as bundle, type Metafile, type OutputFile } from "esbuild";
import { barrels } from "./barrels.ts";
import { BANNER, type Joined, join, type Made, type Output } from "./starter.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** What handlers share: the composition root, and what HTTP and other events have in common. */
const NOT_HANDLERS: ReadonlySet<string> = new Set(["wiring.ts", "http.ts", "events.ts"]);

/** Run before the rest of any function is loaded; see starter.ts. */
const EARLY = `${ROOT}lib/aws/early.ts`;

/** What esbuild is told of every function, and of what is measured beside them. */
export const ESBUILD = {
  absWorkingDir: ROOT,
  entryNames: "[name]",
  // Never `[name]`, which comes from a package's file or folder: one that begins with a dot would
  // make a hidden file, and those are left out of a package.
  chunkNames: "chunks/chunk-[hash]",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  // The `main` of the AWS clients is CommonJS, of which no bundler can drop the unused parts.
  mainFields: ["module", "main"] as string[],
  minify: true,
  legalComments: "none",
  banner: { js: BANNER },
  metafile: true,
  logLevel: "warning",
} as const;

export interface BuildOptions {
  /** Sources of the handlers; by default all of `functions/`. */
  readonly entries?: readonly string[];
  /** By default `dist/`, emptied first. */
  readonly outdir?: string;
}

export interface BuiltFile {
  /** Relative to the output folder, with `/`. */
  readonly file: string;
  readonly bytes: number;
  /** Of a chunk made by a dynamic import: the module imported, relative to the repository. */
  readonly source?: string;
}

export interface BuiltFunction {
  readonly name: string;
  /** The entry, then every chunk that it imports statically: read and compiled at each cold start. */
  readonly startup: readonly BuiltFile[];
  readonly startupBytes: number;
  /** Loaded only when a dynamic import asks for them. */
  readonly lazy: readonly BuiltFile[];
  readonly lazyBytes: number;
}

export interface Build {
  readonly outdir: string;
  readonly functions: readonly BuiltFunction[];
  /** What was left to the runtime: modules of Node's own, or the build is wrong. */
  readonly externals: readonly string[];
}

export function handlerSources(): readonly string[] {
  const folder = `${ROOT}functions`;
  return readdirSync(folder)
    .filter((file) => file.endsWith(".ts") && !NOT_HANDLERS.has(file))
    .sort()
    .map((file) => `${folder}/${file}`);
}

/**
 * Empties the output folder, bundles, and reports what came out. Rejects with esbuild's own error
 * (the folder stays empty then, so that nothing stale is deployed), when there is nothing to build,
 * and when a module to be deployed exports no `handler`.
 */
export async function build(options: BuildOptions = {}): Promise<Build> {
  const entries = options.entries ?? handlerSources();
  const outdir = resolve(options.outdir ?? `${ROOT}dist`);
  // A chunk's name is a hash of its content: without this, those of old builds would pile up.
  await rm(outdir, { recursive: true, force: true });
  if (entries.length === 0) throw new Error("functions/ holds no handler to build");
  const { outputFiles, metafile, warnings } = await bundle({
    ...ESBUILD,
    banner: {},
    plugins: [barrels],
    // An entry of its own, so that what it needs comes in chunks apart from what the rest needs.
    entryPoints: [...entries, EARLY],
    outdir,
    write: false,
  });
  if (warnings.length > 0) throw new Error(`${warnings.length} warnings; nothing was built`);
  const outputs = outputsOf(outdir, metafile, outputFiles);
  const names = entries.map((entry) => basename(entry, ".ts"));
  for (const name of names) assertHandler(outputs, name);
  const joined = await Promise.all(names.map((name) => join(name, outputs, "early.mjs")));
  await mkdir(`${outdir}/chunks`, { recursive: true });
  for (const { path, text } of joined.flatMap(({ startup, lazy }) => [...startup, ...lazy])) {
    await writeFile(`${outdir}/${path}`, text);
  }
  const functions = names.map((name, index) => measure(name, joined[index] as Joined));
  await writeFile(`${outdir}/packages.json`, packagesOf(outdir, functions));
  return { outdir, functions, externals: externalsOf(metafile) };
}

function measure(name: string, joined: Joined): BuiltFunction {
  const bytes = ({ path: file, text, source }: Made): BuiltFile => {
    const size = Buffer.byteLength(text);
    return source === undefined ? { file, bytes: size } : { file, bytes: size, source };
  };
  const startup = joined.startup.map(bytes);
  const lazy = joined.lazy.map(bytes);
  return { name, startup, startupBytes: sum(startup), lazy, lazyBytes: sum(lazy) };
}

/** What esbuild made, by the path below the output folder. */
function outputsOf(
  outdir: string,
  metafile: Metafile,
  files: readonly OutputFile[],
): ReadonlyMap<string, Output> {
  const below = (path: string) => slashed(relative(outdir, resolve(ROOT, path)));
  const texts = new Map(files.map(({ path, text }) => [below(path), text]));
  return new Map(
    Object.entries(metafile.outputs).map(([path, { imports, exports, entryPoint }]) => {
      const own = below(path);
      const inside = imports.map((one) =>
        one.external === true ? one : { ...one, path: below(one.path) },
      );
      const text = texts.get(own) ?? "";
      return [own, { path: own, text, imports: inside, exports, source: entryPoint }];
    }),
  );
}

/** For `serverless.yml`, which puts only a function's own chunks into its package. */
function packagesOf(outdir: string, functions: readonly BuiltFunction[]): string {
  const packages = functions.map(({ name, startup, lazy }) => [
    name,
    [...startup, ...lazy].map(({ file }) => slashed(relative(ROOT, `${outdir}/${file}`))),
  ]);
  return `${JSON.stringify(Object.fromEntries(packages), null, 2)}\n`;
}

/** A module that handlers merely share must not be deployed as a function that fails when called. */
function assertHandler(outputs: ReadonlyMap<string, Output>, name: string): void {
  if (outputs.get(`${name}.mjs`)?.exports.includes("handler")) return;
  throw new Error(`${name}.ts exports no handler; if it is none, say so in infra/build.ts`);
}

function externalsOf({ outputs }: Metafile): readonly string[] {
  const imports = Object.values(outputs).flatMap((output) => output.imports);
  return [...new Set(imports.filter((one) => one.external === true).map((one) => one.path))].sort();
}

const sum = (files: readonly BuiltFile[]): number =>
  files.reduce((octets, { bytes }) => octets + bytes, 0);

const slashed = (path: string): string => path.split(sep).join("/");

/** A line for each function, then one for each chunk that some of them load later. Octets. */
export function sizeTable({ functions }: Build): string {
  const line = (startup: string, lazy: string, what: string): string =>
    `${startup.padStart(10)} ${lazy.padStart(10)}  ${what}`;
  const figure = (octets: number): string => octets.toLocaleString("en-US");
  const chunks = new Map<string, string>();
  for (const { file, bytes, source } of functions.flatMap(({ lazy }) => lazy)) {
    const origin = source?.split("node_modules/").at(-1) ?? "shared by some of these";
    chunks.set(file, line("", figure(bytes), `${file}  ${origin}`));
  }
  return [
    line("at start", "later", "octets"),
    ...functions.map(({ name, startup, startupBytes, lazy, lazyBytes }) => {
      const count = `+ ${startup.length - 1} chunks, ${lazy.length} later`;
      return line(figure(startupBytes), figure(lazyBytes), `${name}.mjs ${count}`);
    }),
    ...chunks.values(),
  ].join("\n");
}

if (import.meta.main) {
  const built = await build();
  if (!process.argv.includes("--quiet")) console.log(sizeTable(built));
}
