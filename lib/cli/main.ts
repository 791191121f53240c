/**
 * The command line: reads the arguments, runs one command, sets the exit code. Each command's own
 * code is loaded when it is asked for, so that `--help` answers at once.
 *
 * Rule guarded here: no secret is printed. Errors that were foreseen say what they say; of any other
 * only the kind is shown, since its text may hold anything.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { checkCommand } from "./check.ts";
import { EXIT, Stop } from "./exit.ts";
import { mailboxCommand } from "./mailbox.ts";
import { messageCommand } from "./message.ts";
import { replayCommand } from "./replay.ts";
import { sendCommand } from "./send.ts";
import { fault, note } from "./terminal.ts";

const HELP = `
Exit codes:
  0 accepted, or done     1 something to mend     2 partial     3 uncertain     4 rejected
  64 usage   65 malformed   66 no such file or message   69 nobody answered
  70 a fault of ours        75 deferred: try again later  78 deferred: a person must act first

Colour follows NO_COLOR and FORCE_COLOR. AWS is reached as the AWS SDK is told to: AWS_PROFILE, AWS_REGION …
Each command has its own --help, with examples.`;

/** @param args without the program's name */
export async function main(args: readonly string[]): Promise<void> {
  // A reader that has had enough (`| head`) is no fault.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit();
    throw error;
  });
  try {
    await program().parseAsync(args, { from: "user" });
  } catch (error) {
    process.exitCode = report(error);
  }
}

function program(): Command {
  const root = new Command("posthaste")
    .description("Send mail, and see the whole conversation with the server.")
    .version(version(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help for a command")
    .showHelpAfterError("(add --help for what there is)")
    .addHelpText("after", HELP)
    .exitOverride();
  for (const add of [sendCommand, checkCommand, mailboxCommand, messageCommand, replayCommand]) {
    add(root);
  }
  return root;
}

function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

function report(error: unknown): number {
  // Help and version were asked for; anything else of commander's is printed already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof Stop) {
    fault(error.message);
    return error.exit;
  }
  // By its name: its module is loaded only where it is needed. It names variables, never values.
  if (error instanceof Error && error.name === "ConfigError") {
    fault(error.message);
    return EXIT.act;
  }
  const { name, stack = "" } = error instanceof Error ? error : new Error("unknown");
  fault(`unexpected ${name}. The fault is ours; where it happened:`);
  for (const line of stack.split("\n")) if (/^ {4}at /.test(line)) note(line);
  return EXIT.internal;
}
