/** `posthaste replay`: a pasted conversation becomes a server that one can point a client at. */
import type { Command } from "commander";
import { EXIT, Stop } from "./exit.ts";
import { examples, wholeNumber } from "./source.ts";
import { mark, paint, say, visible } from "./terminal.ts";

interface Options {
  readonly port: number;
  readonly tls?: true;
  readonly cert?: string;
  readonly key?: string;
}

export function replayCommand(root: Command): void {
  root
    .command("replay")
    .summary("play a pasted conversation as a server on loopback")
    .description(
      "Play a conversation as a server on this machine, and print where the client deviates from it. " +
        "The file may be a result's JSON, the lines that send or the demo printed, or a dialogue of " +
        "test/smtp/dialogues. It ends when the conversation does.",
    )
    .argument("<file>", "the conversation; - is standard input")
    .option("-p, --port <port>", "port; 0 is any that is free", wholeNumber("--port", 0, 65535), 0)
    .option("--tls", "begin with TLS: printed lines do not tell whether they did")
    .option("--cert <file>", "certificate, PEM (default: one made for localhost)")
    .option("--key <file>", "its key, PEM")
    .addHelpText(
      "after",
      examples(
        "replay result.json",
        "replay conversation.txt --tls --port 2465",
        "replay test/smtp/dialogues/rcpt-partial-acceptance.smtp",
      ),
    )
    .action(async (file: string, options: Options) => {
      process.exitCode = await replay(file, options);
    });
}

async function replay(file: string, { port, tls, cert, key }: Options): Promise<number> {
  if ((cert === undefined) !== (key === undefined)) {
    throw new Stop(EXIT.usage, "--cert and --key go together.");
  }
  const { readInput } = await import("./files.ts");
  const { readConversation } = await import("../smtp/dialogue.ts");
  const { sessionsOf } = await import("./turns.ts");
  const { playSessions } = await import("./play.ts");
  const text = (await readInput(file, "the conversation")).toString("utf8");
  const lines = readable(() => readConversation(text, tls));
  const secured = lines.some((line) => line.from === "X" && line.text === "TLS");
  const identity = secured ? await identityOf(cert, key) : undefined;
  const deviations = await playSessions(sessionsOf(lines), {
    port,
    identity,
    listening: (address) => {
      const what = file === "-" ? "the conversation" : visible(file);
      const ca = identity?.ca && `\nits authority, for the client's tls.ca: ${identity.ca}`;
      say(`${paint("bold", address)} plays ${what}; Ctrl-C ends it${ca ?? ""}`);
    },
    deviated: ({ where, expected, came }) => {
      say(`${paint("red", "differs")} ${where}: expected ${visible(expected)}`);
      say(`${" ".repeat(where.length + 9)} came     ${visible(came)}`);
    },
  });
  if (deviations === 0) say(`${mark("ok")} the client said what the conversation says`);
  return deviations === 0 ? EXIT.ok : EXIT.differs;
}

function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    const why =
      error instanceof SyntaxError ? "It begins like JSON and is none." : (error as Error).message;
    throw new Stop(EXIT.malformed, why);
  }
}

async function identityOf(cert: string | undefined, key: string | undefined) {
  const { readInput } = await import("./files.ts");
  if (cert !== undefined && key !== undefined) {
    const [certificate, own] = await Promise.all([
      readInput(cert, "the certificate"),
      readInput(key, "the key"),
    ]);
    return { cert: certificate.toString("utf8"), key: own.toString("utf8") };
  }
  const { makeCertificate } = await import("../../infra/local/certificate.ts");
  const { mkdtempSync, rmSync, writeFileSync } = await import("node:fs");
  const { tmpdir } = await import("node:os");
  const { join } = await import("node:path");
  const made = await makeCertificate();
  const folder = mkdtempSync(join(tmpdir(), "posthaste-replay-"));
  const ca = join(folder, "ca.pem");
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  // Without a handler of its own the signal would leave the folder behind.
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => process.exit(EXIT.interrupted));
  }
  writeFileSync(ca, made.ca);
  return { cert: made.cert, key: made.key, ca };
}
