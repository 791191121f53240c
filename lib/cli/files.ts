/** Files that arguments name; `-` is standard input, which can be read once. */
import { readFile, stat } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { EXIT, Stop } from "./exit.ts";
import { warn } from "./terminal.ts";

let standardInput: string | undefined;

/**
 * @param what the argument it is for, as errors name it
 * @throws Stop where it cannot be read
 */
export async function readInput(path: string, what: string): Promise<Buffer> {
  if (path !== "-") return readNamed(path, what);
  if (standardInput !== undefined) {
    throw new Stop(EXIT.usage, `Standard input cannot be both ${standardInput} and ${what}.`);
  }
  standardInput = what;
  return buffer(process.stdin);
}

/** The secret of a mailbox. Who else can read the file could send in its name. */
export async function readSecretFile(path: string): Promise<string> {
  const octets = await readInput(path, "the mailbox file");
  if (path !== "-" && process.platform !== "win32") {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      warn(`others can read ${path}, which holds a password: chmod 600 ${path}`);
    }
  }
  return octets.toString("utf8");
}

async function readNamed(path: string, what: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Stop(
      EXIT.noInput,
      `${what[0]?.toUpperCase()}${what.slice(1)} ${path} cannot be read (${code}).`,
    );
  }
}
