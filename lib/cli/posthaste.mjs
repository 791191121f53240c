#!/usr/bin/env node
// What `npx posthaste` runs. The command line is the TypeScript of this folder, which Node reads as it
// is from version 24 on. An older Node hands over to the one that `npm ci` brought along; so this file
// is plain JavaScript, without what only newer ones can read.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { isatty } from "node:tty";
import { fileURLToPath } from "node:url";

const NEEDED = 24;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const brought = here("../../node_modules/node/bin/node");
const args = process.argv.slice(2);

if (!existsSync(here("../../node_modules/commander"))) {
  stop("its packages are not installed. Run `npm ci` in the repository.");
} else if (Number.parseInt(process.versions.node, 10) >= NEEDED) {
  import("./main.ts").then(({ main }) => main(args));
} else if (existsSync(brought)) {
  handOver();
} else {
  stop(
    `it needs Node ${NEEDED}, and this is ${process.versions.node}. ` +
      "Run `npm ci` in the repository, which brings one along, or install a newer Node.",
  );
}

function handOver() {
  const child = spawn(brought, [here(import.meta.url), ...args], { stdio: "inherit" });
  // On a terminal Ctrl-C reaches both by itself, and twice means "at once": it is not passed on there.
  const terminal = [0, 1, 2].some((fd) => isatty(fd));
  process.on("SIGINT", () => terminal || child.kill("SIGINT"));
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  process.on("SIGHUP", () => child.kill("SIGHUP"));
  child.on("error", (error) => stop(`Node ${NEEDED} did not start (${error.code}).`));
  child.on("exit", (code, signal) => {
    process.exitCode = code === null ? 128 + constants.signals[signal] : code;
  });
}

function stop(why) {
  console.error(`posthaste: ${why}`);
  process.exitCode = 69;
}
