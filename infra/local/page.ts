/**
 * The page's files: HTML and CSS as they are, TypeScript with its types taken out, nothing bundled.
 *
 * Rule guarded here: the page gets what stands in its own folder and nothing else. A policy forbids it
 * everything that it has not brought along, so mail that it shows can call nobody.
 */
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { transform } from "esbuild";
import type { Answer } from "./gateway.ts";

const FOLDER = new URL("page/", import.meta.url);
const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  ts: "text/javascript; charset=utf-8",
};
const FILES = new Set(
  readdirSync(FOLDER).filter((name) => /^[a-z-]+\.(html|css|svg|ts)$/.test(name)),
);

export const SAFETY = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};
const POLICY = [
  ...["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"],
  ...["img-src 'self' data:", "frame-src 'self'", "form-action 'none'", "base-uri 'none'"],
  ...["frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"],
].join("; ");

/** Undefined where there is nothing at this path. */
export async function answerPage(path: string): Promise<Answer | undefined> {
  const name = path === "/" ? "index.html" : path.replace(/^\/page\//, "");
  if (!FILES.has(name)) return undefined;
  const kind = name.replace(/^.*\./, "");
  const headers = {
    ...SAFETY,
    "content-security-policy": POLICY,
    "content-type": TYPES[kind] ?? "text/plain",
  };
  const source = await readFile(new URL(name, FOLDER), "utf8");
  const body = kind === "ts" ? await script(source) : source;
  return { status: 200, headers, body };
}

const scripts = new Map<string, Promise<string>>();

/** Once a text: whoever works on the page sees the change when it is loaded again. */
function script(source: string): Promise<string> {
  const known = scripts.get(source) ?? transform(source, { loader: "ts" }).then(({ code }) => code);
  scripts.set(source, known);
  return known;
}
