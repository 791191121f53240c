/** `posthaste send`: one message, the conversation, and what to do next. */
import type { Command } from "commander";
import type { MessageOptions } from "./compose.ts";
import { exitOf } from "./exit.ts";
import { addWays, collect, examples, type WayOptions, wayOf, wholeNumber } from "./source.ts";
import { sayJson } from "./terminal.ts";

const WAYS = ["mailboxFile", "secret", "function", "url"] as const;
const TIMEOUT_SECONDS = 300;

type Options = MessageOptions &
  WayOptions & { readonly json?: true; readonly verbose?: true; readonly timeout: number };

export function sendCommand(root: Command): void {
  const command = root
    .command("send")
    .summary("send one message and print the conversation")
    .description(
      "Send one message and print the conversation with the server.\n\n" +
        "The message comes from the options, from a request's JSON, or is a whole message (.eml). " +
        "Options add to a JSON request, or replace its fields. Without --text, --html, an attachment " +
        "or a file, the text is read from standard input.",
    )
    .argument("[file]", "a request (JSON) or a whole message (.eml); - is standard input");
  addWays(command, WAYS)
    .option("-t, --to <address>", 'recipient: a@b or "Name <a@b>"; may be repeated', collect)
    .option("--cc <address>", "as --to", collect)
    .option("--bcc <address>", "as --to; in no header", collect)
    .option("--from <address>", "sender; must be allowed by the mailbox")
    .option("--reply-to <address>", "where answers go", collect)
    .option("-s, --subject <text>", "subject")
    .option("--text <text>", "plain text")
    .option("--text-file <file>", "plain text from a file; - is standard input")
    .option("--html <html>", "HTML")
    .option("--html-file <file>", "HTML from a file; - is standard input")
    .option("-a, --attach <file>", "attachment; may be repeated", collect)
    .option("--header <field>", '"Name: value"; may be repeated', collect)
    .option("-m, --mailbox <name>", "named mailbox of the deployment")
    .option("-k, --key <key>", "idempotency key: the message's id")
    .option(
      "--timeout <seconds>",
      "the longest that a send from this machine may take",
      wholeNumber("--timeout", 1, 3600),
      TIMEOUT_SECONDS,
    )
    .option("-v, --verbose", "also where the time went, and what the server offers")
    .option("--json", "print the result, and nothing else")
    .addHelpText(
      "after",
      examples(
        "send --mailbox-file mailbox.json --to li.lei@example.net --subject 我是标题 --text 你好",
        "send --mailbox-file mailbox.json --to li.lei@example.net --attach invoice.pdf < letter.txt",
        "send --mailbox-file mailbox.json message.eml",
        "send --url http://127.0.0.1:3000 message.json --json",
        "send --function posthaste-dev-invoke message.json --key order-1234",
      ),
    )
    .action(async (file: string | undefined, options: Options) => {
      process.exitCode = await send(file, options);
    });
}

async function send(file: string | undefined, options: Options): Promise<number> {
  const way = wayOf(options, WAYS);
  const { composeRequest } = await import("./compose.ts");
  const request = await composeRequest(file, options);
  const { deliverBy } = await import("./deliver.ts");
  const result = await deliverBy(way, request, options.timeout);
  if (options.json) sayJson(result);
  else (await import("./conversation.ts")).printResult(result, options.verbose);
  return exitOf(result);
}
