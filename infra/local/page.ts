/**
 * The page's files: HTML and CSS as they are, TypeScript with its types taken out, nothing bundled.
 *
 * Rule guarded here: the page gets what stands in its own folder and nothing else. A policy forbids it
 * everything that it has not brought along, so mail that it shows can call nobody.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { build, stop } from "esbuild";
import type { Answer } from "./gateway.ts";

const FOLDER = fileURLToPath(new URL("page/", import.meta.url));
const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  ts: "text/javascript; charset=utf-8",
};

export const SAFETY = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};
const POLICY = [
  ...["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"],
  ...["img-src 'self'", "frame-src 'self'", "form-action 'none'", "base-uri 'none'"],
  ...["frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"],
].join("; ");

/** By name; read once. */
const FILES = await files();

/** Undefined where there is nothing at this path. */
export function answerPage(path: string): Answer | undefined {
  const name = path === "/" ? "index.html" : path.replace(/^\/page\//, "");
  const body = FILES.get(name);
  if (body === undefined) return undefined;
  const type = TYPES[name.replace(/^.*\./, "")] ?? "text/plain";
  const headers = { ...SAFETY, "content-security-policy": POLICY, "content-type": type };
  return { status: 200, headers, body };
}

async function files(): Promise<ReadonlyMap<string, string>> {
  const names = readdirSync(FOLDER);
  const plain = names.filter((name) => /^[a-z-]+\.(html|css|svg)$/.test(name));
  const typed = names.filter((name) => /^[a-z-]+\.ts$/.test(name));
  const { outputFiles } = await build({
    entryPoints: typed.map((name) => `${FOLDER}${name}`),
    outdir: FOLDER,
    write: false,
    bundle: false,
    format: "esm",
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
  });
  // Its process would stay beside this one.
  await stop();
  return new Map([
    ...plain.map((name) => [name, readFileSync(`${FOLDER}${name}`, "utf8")] as const),
    ...outputFiles.map(({ path, text }) => [basename(path).replace(/js$/, "ts"), text] as const),
  ]);
}
