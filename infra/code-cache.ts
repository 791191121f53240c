/**
 * `node infra/code-cache.ts`: V8's code cache of what a cold start runs, beside each function of `dist/`,
 * made by running it: each answers its sample event once, against a mail server and a secret store on
 * loopback, so that the cache holds what a message compiles and not only what an import does.
 *
 * It fits the Node that made it, by version and processor, and is looked for under their names; V8
 * refuses what does not fit all the same (other flags), and then compiles as ever. Lambda starts Node
 * with `--expose-gc`, which is one that counts, and so does this. V8 does not notice another source of the
 * same length: so the script's name has the hash of what is in it.
 *
 * Apart from the build, and without esbuild, so that it runs in the image of Lambda's own runtime.
 */
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { lambdaAws } from "./local/aws.ts";
import { startMailServer } from "./local/mailserver.ts";
import { startSecrets } from "./local/secrets.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const run = promisify(execFile);
const TIMEOUT_MS = 60_000;
const USER = "shop@example.com";
const PASSWORD = "only on loopback";

/** Where the sample event is not named for the function. */
const EVENTS: Readonly<Record<string, string>> = { api: "api-http" };

const SUFFIX = `.${process.version}-${process.arch}-gc`;

/** Plain JavaScript, so that nothing else is compiled in that process. */
const RUNNER = `
const { writeFileSync } = await import("node:fs");
const [, bundle, event] = process.argv;
const scripts = (globalThis.posthasteScripts = new Map());
const { handler } = await import(bundle);
await Promise.resolve(handler(JSON.parse(event), {})).catch(() => {});
for (const [file, script] of scripts) {
  writeFileSync(file + "${SUFFIX}", script.createCachedData());
}
process.exit();
`;

/**
 * Makes the caches, and adds each to its function's package.
 * @param outdir of a build
 * @returns for each function its caches' paths, relative to the repository
 */
export async function addCodeCache(
  outdir = `${ROOT}dist`,
): Promise<Readonly<Record<string, readonly string[]>>> {
  const list = `${outdir}/packages.json`;
  const packages: Record<string, string[]> = JSON.parse(await readFile(list, "utf8"));
  const mail = await startMailServer({ users: { [USER]: PASSWORD } });
  const box = mail.mailbox(USER, PASSWORD);
  const secrets = await startSecrets({ box: JSON.stringify(box) });
  const made: Record<string, readonly string[]> = {};
  try {
    for (const [name, files] of Object.entries(packages)) {
      const scripts = files.filter((file) => file.endsWith(".cjs"));
      if (scripts.length === 0) throw new Error(`${name} was not built by infra/build.ts`);
      await warm(resolve(ROOT, outdir, `${name}.mjs`), await sample(name), secrets.url);
      const caches = scripts.map((script) => `${script}${SUFFIX}`);
      packages[name] = [...new Set([...files, ...caches])];
      made[name] = caches;
    }
  } finally {
    await Promise.all([mail.close(), secrets.close()]);
  }
  await writeFile(list, `${JSON.stringify(packages, null, 2)}\n`);
  return made;
}

async function warm(bundle: string, event: string, url: string): Promise<void> {
  const args = [
    "--expose-gc",
    "--input-type=module",
    "-e",
    RUNNER,
    "--",
    pathToFileURL(bundle).href,
    event,
  ];
  await run(process.execPath, args, {
    timeout: TIMEOUT_MS,
    env: {
      ...lambdaAws("code-cache"),
      AWS_ENDPOINT_URL: url,
      MAILBOX_SECRET_ID: "box",
      LOG_LEVEL: "silent",
    },
  });
}

/** `{}` for what has none, as `check`. */
async function sample(name: string): Promise<string> {
  const file = new URL(`local/events/${EVENTS[name] ?? name}.json`, import.meta.url);
  return readFile(file, "utf8").catch(() => "{}");
}

if (import.meta.main) {
  for (const file of Object.values(await addCodeCache()).flat()) console.log(file);
}
