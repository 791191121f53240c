/** `posthaste message`: what is known of a message, by its id. */
import type { Command } from "commander";
import type { LedgerState } from "../submission/ledger.ts";
import type { Result } from "../submission/outcome.ts";
import { EXIT, exitOf, Stop } from "./exit.ts";
import { examples } from "./source.ts";
import { paint, say, sayJson, visible } from "./terminal.ts";

interface Options {
  readonly url?: string;
  readonly table?: string;
  readonly mailbox?: string;
  readonly json?: true;
  readonly verbose?: true;
}

interface Known {
  readonly id: string;
  readonly state: LedgerState;
  /** When it was first asked for. */
  readonly date: string;
  readonly result: Result | null;
}

const MEANING: Readonly<Record<LedgerState, string>> = {
  queued: "waits in the queue",
  claimed: "is being sent now",
  sending: "is being sent now",
  deferred: "was not taken yet; the queue tries again, if it came by the queue",
  settled: "is settled, and will not be sent again by itself",
};

export function messageCommand(root: Command): void {
  root
    .command("message")
    .summary("print state and conversation of a message")
    .description("Print what is known of a message: its state, the conversation, the outcome.")
    .argument("<id>", "the result's id, or the idempotency key")
    .option("--url <url>", "ask the HTTP API, deployed or local (default: $POSTHASTE_URL)")
    .option("--table <name>", "ask the ledger's table in DynamoDB instead")
    .option("-m, --mailbox <name>", "the named mailbox that it was sent from")
    .option("-v, --verbose", "also where the time went, and what the server offers")
    .option("--json", "print state and result as JSON, and nothing else")
    .addHelpText(
      "after",
      examples(
        "message order-1234 --url http://127.0.0.1:3000",
        "message order-1234 --table ledger --json",
      ),
    )
    .action(async (id: string, options: Options) => {
      process.exitCode = await message(id, options);
    });
}

async function message(id: string, options: Options): Promise<number> {
  const { url = process.env["POSTHASTE_URL"], table } = options;
  if (options.url !== undefined && table !== undefined) {
    throw new Stop(EXIT.usage, "Only one of --url, --table can be given.");
  }
  if (table === undefined && !url) throw new Stop(EXIT.usage, "Where? Give --url or --table.");
  const known =
    table === undefined
      ? await overHttp(url as string, id, options)
      : await inTable(table, id, options);
  if (options.json) sayJson(known);
  else await print(known, options.verbose);
  if (known.state === "settled" && known.result) return exitOf(known.result);
  return EXIT.later;
}

async function print({ id, state, date, result }: Known, verbose?: true): Promise<void> {
  const since = paint("dim", `asked for ${visible(date)}`);
  say(`${paint("bold", visible(id))} ${MEANING[state]}  ${since}`);
  if (result === null) return;
  say();
  (await import("./conversation.ts")).printResult(result, verbose);
}

async function overHttp(url: string, id: string, { mailbox }: Options): Promise<Known> {
  const { AnswerLost, callApi, explainStatus, problemOf } = await import("./http.ts");
  const path = `/messages/${encodeURIComponent(id)}`;
  const query = mailbox === undefined ? {} : { mailbox };
  try {
    const answer = await callApi(url, { method: "GET", path, query });
    if (answer.status === 200) return answer.body as Known;
    const { code, detail } = problemOf(answer);
    if (code === "not_found") throw missing(id, mailbox);
    if (code !== undefined) throw new Stop(EXIT.unavailable, `${detail ?? code} (${code})`);
    throw new Stop(EXIT.unavailable, explainStatus(answer.status, url));
  } catch (error) {
    if (error instanceof AnswerLost) throw new Stop(EXIT.unavailable, error.message);
    throw error;
  }
}

async function inTable(table: string, id: string, { mailbox }: Options): Promise<Known> {
  const { dynamoTable } = await import("../aws/dynamodb.ts");
  const { Ledger } = await import("../submission/ledger.ts");
  const { ledgerKey } = await import("../submission/identity.ts");
  const store = dynamoTable(table).ledger;
  const ledger = new Ledger({ store, now: Date.now, token: () => "" });
  const found = await ledger.find(ledgerKey(mailbox, id)).catch((error: Error) => {
    throw new Stop(EXIT.unavailable, `The table ${table} was not read (${error.name}).`);
  });
  if (found === undefined) throw missing(id, mailbox);
  return { id, state: found.state, date: found.date, result: found.result ?? null };
}

function missing(id: string, mailbox: string | undefined): Stop {
  const scope = mailbox === undefined ? "If a named mailbox sent it, give --mailbox. " : "";
  return new Stop(
    EXIT.noInput,
    `There is no message ${visible(id)}. ${scope}Records are kept for 30 days, and begin with LEDGER_TABLE.`,
  );
}
