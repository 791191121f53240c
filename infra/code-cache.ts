/**
 * `npm run build -- --code-cache`: V8's code cache of what a cold start runs, made by running it. Each
 * function answers its sample event once, against a mail server and a secret store on loopback, so that
 * the cache holds what a message compiles and not only what an import does.
 *
 * It fits the Node that made it, by version and processor, and is looked for under their names; V8
 * refuses what does not fit all the same (other flags), and then compiles as ever. It does not notice
 * another source of the same length: so the script's name has the hash of what is in it.
 */
import { execFile } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import type { BuiltFunction } from "./build.ts";
import { startMailServer } from "./local/mailserver.ts";
import { startSecrets } from "./local/secrets.ts";

const run = promisify(execFile);
const TIMEOUT_MS = 60_000;
const USER = "shop@example.com";
const PASSWORD = "only on loopback";

/** Where the sample event is not named for the function. */
const EVENTS: Readonly<Record<string, string>> = { api: "api-http" };

/** Plain JavaScript, so that nothing else is compiled in that process. */
const RUNNER = `
const { writeFileSync } = await import("node:fs");
const [, bundle, event] = process.argv;
const scripts = (globalThis.posthasteScripts = new Map());
const { handler } = await import(bundle);
await Promise.resolve(handler(JSON.parse(event), {})).catch(() => {});
for (const [file, script] of scripts) {
  writeFileSync(file + "." + process.version + "-" + process.arch, script.createCachedData());
}
process.exit();
`;

/** Makes the caches, and lists each among what its function reads at start. */
export async function withCodeCache(
  outdir: string,
  functions: readonly BuiltFunction[],
): Promise<readonly BuiltFunction[]> {
  const mail = await startMailServer({ users: { [USER]: PASSWORD } });
  const secret = { host: "127.0.0.1", port: mail.ports.implicit, username: USER };
  const secrets = await startSecrets({
    box: JSON.stringify({
      ...secret,
      password: PASSWORD,
      security: "implicit",
      tls: { ca: mail.ca },
    }),
  });
  try {
    const made: BuiltFunction[] = [];
    for (const one of functions) made.push(await cached(outdir, one, secrets.url));
    return made;
  } finally {
    await Promise.all([mail.close(), secrets.close()]);
  }
}

async function cached(outdir: string, one: BuiltFunction, url: string): Promise<BuiltFunction> {
  const { name, startup } = one;
  const bundle = pathToFileURL(`${outdir}/${name}.mjs`).href;
  const args = ["--input-type=module", "-e", RUNNER, "--", bundle, await sample(name)];
  await run(process.execPath, args, {
    timeout: TIMEOUT_MS,
    env: {
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: "local",
      AWS_SECRET_ACCESS_KEY: "local",
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_CONFIG_FILE: "/dev/null",
      AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
      AWS_ENDPOINT_URL: url,
      MAILBOX_SECRET_ID: "box",
      LOG_LEVEL: "silent",
    },
  });
  const script = startup.find(({ file }) => file.endsWith(".cjs"))?.file;
  const file = `${script}.${process.version}-${process.arch}`;
  const { size: bytes } = await stat(`${outdir}/${file}`);
  return {
    ...one,
    startup: [...startup, { file, bytes }],
    startupBytes: one.startupBytes + bytes,
  };
}

/** `{}` for what has none, as `check`. */
async function sample(name: string): Promise<string> {
  const file = new URL(`local/events/${EVENTS[name] ?? name}.json`, import.meta.url);
  return readFile(file, "utf8").catch(() => "{}");
}
