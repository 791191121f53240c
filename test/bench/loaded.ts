/**
 * What a send really loads: run with `--import`, it adds up the octets of every module that comes
 * from a file, and says so on file descriptor 3 when the process ends. Bundlers know what could be
 * loaded; only the runtime knows what was.
 */
import { statSync, writeSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

const loaded = new Map<string, number>();

registerHooks({
  load(url, context, next) {
    if (url.startsWith("file:") && url !== import.meta.url) {
      loaded.set(url, statSync(fileURLToPath(url)).size);
    }
    return next(url, context);
  },
});

process.on("exit", () => {
  writeSync(3, JSON.stringify(Object.fromEntries(loaded)));
});
