/** The command line as a person has it: a process of its own, a folder, a terminal where one is needed. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const LAUNCHER = join(ROOT, "lib", "cli", "posthaste.mjs");

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What is piped in; nothing: standard input is closed at once. */
  readonly input?: string | Buffer;
  /** Of the command itself; the launcher by this Node unless given. */
  readonly command?: readonly [string, ...string[]];
  /** Handed the process, for who wants to signal it. */
  readonly started?: (child: ChildProcess) => void;
  /** Called with the process and all that it has printed so far, each time that it prints. */
  readonly onOutput?: (child: ChildProcess, output: string) => void;
}

/** Nothing of the shell's that may lead to the real AWS, or colour what is compared. */
const BARE = {
  PATH: process.env["PATH"] ?? "",
  HOME: "/nonexistent",
  AWS_EC2_METADATA_DISABLED: "true",
};

export function posthaste(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const [file, ...before] = options.command ?? [process.execPath, LAUNCHER];
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...before, ...args], {
      cwd: options.cwd ?? ROOT,
      env: { ...BARE, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    options.started?.(child);
    const printed = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        printed[name] += text;
        options.onOutput?.(child, printed.stdout + printed.stderr);
      });
    }
    child.stdin.on("error", () => {});
    child.stdin.end(options.input ?? "");
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, ...printed }));
  });
}

/** One answer to what a terminal shows. */
export interface Typed {
  readonly after: RegExp;
  readonly keys: string;
}

/**
 * In a real pseudo-terminal, by util-linux's `script`. What it returns is what the screen would show:
 * output and echo alike.
 */
export function onTerminal(
  args: readonly string[],
  typed: readonly Typed[] = [],
  options: Pick<RunOptions, "env" | "cwd"> = {},
): Promise<{ readonly code: number | null; readonly screen: string }> {
  return inTerminal([process.execPath, LAUNCHER, ...args].map(quoted).join(" "), typed, options);
}

/** The same for a line of shell. */
export function inTerminal(
  command: string,
  typed: readonly Typed[] = [],
  options: Pick<RunOptions, "env" | "cwd"> = {},
): Promise<{ readonly code: number | null; readonly screen: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn("script", ["-qec", command, "/dev/null"], {
      cwd: options.cwd ?? ROOT,
      env: { ...BARE, SHELL: "/bin/sh", TERM: "xterm", ...options.env },
      stdio: ["pipe", "pipe", "inherit"],
    });
    let screen = "";
    let read = 0;
    const left = [...typed];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      screen += text;
      const [next] = left;
      if (next === undefined || !next.after.test(screen.slice(read))) return;
      left.shift();
      read = screen.length;
      child.stdin.write(next.keys);
    });
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, screen }));
  });
}

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

export interface Folder {
  readonly path: string;
  /** @param mode who may read it; 0600 unless given */
  write(name: string, content: string | Buffer | object, mode?: number): string;
  remove(): void;
}

export function makeFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), "posthaste-cli-"));
  return {
    path,
    write: (name, content, mode = 0o600) => {
      const file = join(path, name);
      const plain = typeof content === "string" || Buffer.isBuffer(content);
      writeFileSync(file, plain ? content : JSON.stringify(content));
      chmodSync(file, mode);
      return file;
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** The machine's own Node, which npm scripts hide behind node_modules/.bin; and its major version. */
export function ownNode(): { readonly file: string; readonly major: number } {
  const path = (process.env["PATH"] ?? "")
    .split(":")
    .filter((folder) => !folder.includes("node_modules"))
    .join(":");
  const env = { ...BARE, PATH: path };
  const file = execFileSync("sh", ["-c", "command -v node"], { env, encoding: "utf8" }).trim();
  const version = execFileSync(file, ["--version"], { env, encoding: "utf8" });
  return { file, major: Number.parseInt(version.slice(1), 10) };
}
