/**
 * What a send really loads: run with `--import`, it adds up the octets of every module and script that
 * comes from a file, and says so on file descriptor 3 when the process ends. Bundlers know what could
 * be loaded; only the runtime knows what was.
 */
import fs from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

const loaded = new Map<string, number>();

registerHooks({
  load(url, context, next) {
    if (url.startsWith("file:") && url !== import.meta.url) {
      loaded.set(url, fs.statSync(fileURLToPath(url)).size);
    }
    return next(url, context);
  },
});

// The script of a start is read, not imported (infra/starter.ts).
const read = fs.readFileSync;
fs.readFileSync = ((...args: Parameters<typeof read>) => {
  const [path] = args;
  const found = read(...args);
  if (typeof path === "string" && path.includes(".cjs")) {
    loaded.set(pathToFileURL(path).href, found.length);
  }
  return found;
}) as typeof read;

process.on("exit", () => {
  fs.writeSync(3, JSON.stringify(Object.fromEntries(loaded)));
});
