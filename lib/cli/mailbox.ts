/**
 * `posthaste mailbox`: keeps the secrets of mailboxes. Rule guarded here: a login is tried before its
 * password is stored, and the password is neither taken as an argument nor ever printed.
 */
import type { Command } from "commander";
import { EXIT, Stop } from "./exit.ts";
import { collect, examples, wholeNumber } from "./source.ts";

export interface KeepOptions {
  readonly prefix?: string;
  readonly passwordStdin?: true;
  /** False with --no-verify. */
  readonly verify: boolean;
}

export interface PutOptions extends KeepOptions {
  readonly file?: string;
  readonly host?: readonly string[];
  readonly port?: number;
  readonly security?: string;
  readonly username?: string;
  readonly from?: string;
  readonly allowedFrom?: readonly string[];
  readonly replace?: true;
}

export interface GetOptions {
  readonly prefix?: string;
}

const NAME = "name of the mailbox, or the secret's name or ARN";
const PREFIX = "put before a name of letters, digits, - and _ (default: $MAILBOX_SECRET_PREFIX)";

export function mailboxCommand(root: Command): void {
  const group = root
    .command("mailbox")
    .summary("keep the secrets of mailboxes in AWS Secrets Manager")
    .description("Keep the secrets of mailboxes in AWS Secrets Manager.");

  group
    .command("put")
    .summary("store a mailbox; asks for its password and tries the login first")
    .description(
      "Store a mailbox. Its fields come from a file, from options, or from both; the password is asked " +
        "for without echo unless the file has it. The login is tried before anything is stored.",
    )
    .argument("<name>", NAME)
    .option(
      "--file <file>",
      "the mailbox as JSON, with or without the password; - is standard input",
    )
    .option("--host <host>", "relay, host or host:port; may be repeated", collect)
    .option("--port <port>", "port of the relays", wholeNumber("--port", 1, 65535))
    .option("--security <how>", "implicit, starttls or none")
    .option("--username <name>", "who logs in")
    .option("--from <mailbox>", '"Name <a@b>" or a@b; default: the username')
    .option("--allowed-from <address>", "a@b or @domain; may be repeated", collect)
    .option("--prefix <prefix>", PREFIX)
    .option("--password-stdin", "read the password from standard input")
    .option("--replace", "even if the secret has a value already")
    .option("--no-verify", "store it without trying the login")
    .addHelpText(
      "after",
      examples(
        "mailbox put posthaste/dev/default --host smtp.example.com --port 465 --username shop@example.com",
        "mailbox put billing --prefix posthaste/dev/mailbox/ --file mailbox.json",
        "mailbox put billing --prefix posthaste/dev/mailbox/ --file mailbox.json --replace --password-stdin < password.txt",
      ),
    )
    .action(async (name: string, options: PutOptions) => {
      const { put } = await import("./keep.ts");
      process.exitCode = await put(secretName(name, options.prefix), options);
    });

  group
    .command("get")
    .summary("print a mailbox, with every secret masked")
    .description("Print a mailbox as JSON, with every secret masked.")
    .argument("<name>", NAME)
    .option("--prefix <prefix>", PREFIX)
    .addHelpText("after", examples("mailbox get posthaste/dev/default"))
    .action(async (name: string, options: GetOptions) => {
      const { get } = await import("./keep.ts");
      process.exitCode = await get(secretName(name, options.prefix));
    });

  group
    .command("rotate")
    .summary("replace the password, once the new one has logged in")
    .description(
      "Replace a mailbox's password. The new one is asked for without echo, and stored once it has " +
        "logged in; everything else stays. Functions use it when the old one is refused, or their copy " +
        "is old (MAILBOX_CACHE_SECONDS).",
    )
    .argument("<name>", NAME)
    .option("--prefix <prefix>", PREFIX)
    .option("--password-stdin", "read the password from standard input")
    .option("--no-verify", "store it without trying the login")
    .addHelpText(
      "after",
      examples(
        "mailbox rotate posthaste/dev/default",
        "mailbox rotate billing --prefix posthaste/dev/mailbox/ --password-stdin < password.txt",
      ),
    )
    .action(async (name: string, options: KeepOptions) => {
      const { rotate } = await import("./keep.ts");
      process.exitCode = await rotate(secretName(name, options.prefix), options);
    });
}

/** As a request's `mailbox` is read; whatever is no mailbox's name is the secret's own. */
function secretName(name: string, prefix = process.env["MAILBOX_SECRET_PREFIX"] ?? ""): string {
  if (name === "") throw new Stop(EXIT.usage, "The name is empty.");
  return /^[A-Za-z0-9_-]{1,64}$/.test(name) ? `${prefix}${name}` : name;
}
