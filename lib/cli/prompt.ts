/**
 * A password, typed without an echo: the terminal is in raw mode before the question shows, and what
 * the line editor would show goes nowhere. Nothing of it is kept in a history.
 */
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { EXIT, Stop } from "./exit.ts";

/** @throws Stop where there is no terminal, or Ctrl-C or Ctrl-D is typed */
export function askPassword(question: string): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new Stop(
      EXIT.usage,
      "A password is asked for on a terminal only; a script gives it by --password-stdin.",
    );
  }
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const line = createInterface({
    input: process.stdin,
    output: nowhere,
    terminal: true,
    historySize: 0,
  });
  process.stderr.write(`${question}: `);
  return new Promise<string>((resolve, reject) => {
    line.once("line", resolve);
    line.once("SIGINT", () =>
      reject(new Stop(EXIT.interrupted, "Interrupted; nothing was changed.")),
    );
    line.once("close", () => reject(new Stop(EXIT.usage, "No password was given.")));
  }).finally(() => {
    line.close();
    process.stderr.write("\n");
  });
}

/** A password from a pipe: all of it, less the line end that `echo` adds. */
export async function readPassword(): Promise<string> {
  return (await text(process.stdin)).replace(/\r?\n$/, "");
}
