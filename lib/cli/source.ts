/** Which way a command goes: through AWS, over HTTP, or straight from this machine. */
import type { Command } from "commander";
import type { MailboxSource } from "./direct.ts";
import { EXIT, Stop } from "./exit.ts";

export interface WayOptions {
  readonly function?: string;
  readonly url?: string;
  readonly mailboxFile?: string;
  readonly secret?: string;
}

export type Way =
  | { readonly by: "function"; readonly name: string }
  | { readonly by: "http"; readonly url: string }
  | { readonly by: "direct"; readonly source: MailboxSource };

const FLAGS = {
  function: ["--function <name>", "invoke this function in AWS (default: $POSTHASTE_FUNCTION)"],
  url: ["--url <url>", "the HTTP API, deployed or local (default: $POSTHASTE_URL)"],
  mailboxFile: [
    "--mailbox-file <file>",
    "straight from this machine; the file is a mailbox's secret, - standard input",
  ],
  secret: ["--secret <id>", "straight from this machine; the mailbox is this secret in AWS"],
} as const;

export function addWays(command: Command, ways: readonly (keyof WayOptions)[]): Command {
  for (const way of ways) {
    const [flags, description] = FLAGS[way];
    command.option(flags, description);
  }
  return command;
}

/** @throws Stop where there is none, or more than one */
export function wayOf(options: WayOptions, ways: readonly (keyof WayOptions)[]): Way {
  const given = ways.filter((way) => options[way] !== undefined);
  const flags = ways.map((way) => FLAGS[way][0]);
  if (given.length > 1) {
    throw new Stop(EXIT.usage, `Only one of ${flags.join(", ")} can be given.`);
  }
  const { POSTHASTE_FUNCTION: name, POSTHASTE_URL: url } = process.env;
  const [way = url && ways.includes("url") ? "url" : name ? "function" : undefined] = given;
  switch (way) {
    case "url":
      return { by: "http", url: options.url ?? (url as string) };
    case "mailboxFile":
      return { by: "direct", source: { is: "file", path: options.mailboxFile as string } };
    case "secret":
      return { by: "direct", source: { is: "secret", id: options.secret as string } };
    case "function":
      return { by: "function", name: options.function ?? (name as string) };
    default:
      throw new Stop(EXIT.usage, `Which way? Give one of ${flags.join(", ")}.`);
  }
}

/** For options that may be given several times. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** @throws Stop */
export function wholeNumber(option: string, least: number, most: number) {
  return (value: string): number => {
    const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= least && number <= most) return number;
    throw new Stop(EXIT.usage, `${option} must be a whole number from ${least} to ${most}.`);
  };
}

/** Commander prints examples as they stand; tests run each of them. */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ npx posthaste ${line}`).join("\n")}`;
}
