/**
 * Golden conversations. A `.smtp` file is a transcript with a few directives, so what a failed send
 * printed is nearly a test already:
 *
 *     # RFC 2920 §3.1: what this conversation shows
 *     @ security implicit              none (default) · starttls · implicit
 *     @ login alice secret             username and password; absent: no AUTH
 *     @ token alice ya29.x             username and OAuth token
 *     @ auth PLAIN LOGIN               the mailbox's own order
 *     @ learnt {"refused": ["PLAIN"], "alone": false}   what an earlier session found out
 *     @ teaches {"refused": ["PLAIN"], "alone": false}  another session is to go on, and heed this
 *     @ set chunking auto              chunking, allowPlaintextAuth, nonce
 *     @ binding tls-exporter 00ff      a channel binding that the handshake gives
 *     @ message {"to": ["a@x.test"]}   one message each; from, partial, dsn …, content (text)
 *     @ expect taken refused:rcpt:550  fates of the message before it, in order
 *     @ error auth_failed auth 535     what ended the session, its phase, and the reply that said so
 *     @ mechanism PLAIN                which mechanism logged in
 *     @ note DSN                       a note of the message before it; without: it has none
 *     @ only whole                     how to cut the octets on a socket; `pure`: no socket at all
 *     S: 220 hello
 *     C: EHLO client.test              compared octet for octet; `***` stands for anything
 *     C: [12 octets of message content]
 *     X: TLS                           the handshake
 *     X: close                         the server closes
 *     X: reset                         the server resets the connection
 *
 * Client lines before a server line are one group: they must leave in one write. A server's line
 * ends with CRLF; one that ends with `\x0A` has its own end, one that ends with `\z` has none.
 */
import { readdirSync, readFileSync } from "node:fs";
import { expect } from "vitest";
import { contentOf } from "../../lib/smtp/data.ts";
import { type DialogueLine, dialogueLine } from "../../lib/smtp/dialogue.ts";
import type { Submission } from "../../lib/smtp/envelope.ts";
import type { Learnt } from "../../lib/smtp/login.ts";
import type { SessionReport } from "../../lib/smtp/report.ts";
import type { SessionPlan } from "../../lib/smtp/session.ts";
import type { ChannelBinding } from "../../lib/smtp/step.ts";

/** How a dialogue may be played over a socket, where its meaning hangs on what arrives together. */
export type Way = "pure" | "whole" | "line" | "octet";

export interface Dialogue {
  readonly file: string;
  readonly title: string;
  readonly plan: SessionPlan;
  readonly submissions: readonly Submission[];
  readonly lines: readonly DialogueLine[];
  /** One list of fates for each message. */
  readonly expected: readonly (readonly string[])[];
  readonly error:
    | { readonly code: string; readonly phase: string | undefined; readonly reply?: number }
    | undefined;
  readonly mechanism: string | undefined;
  readonly teaches: Learnt | undefined;
  /** One list of words for each message: its notes, in order, must hold them. */
  readonly notes: readonly (readonly string[])[];
  /** Empty: every way. */
  readonly only: readonly Way[];
  readonly bindings: readonly ChannelBinding[];
}

const folder = new URL("../smtp/dialogues/", import.meta.url);

export function dialogues(): readonly Dialogue[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".smtp"))
    .sort()
    .map((name) => parseDialogue(name, readFileSync(new URL(name, folder), "utf8")));
}

export function parseDialogue(file: string, text: string): Dialogue {
  const lines: DialogueLine[] = [];
  const submissions: Submission[] = [];
  const expected: string[][] = [];
  const notes: string[][] = [];
  const only: Way[] = [];
  const bindings: ChannelBinding[] = [];
  const plan: Record<string, unknown> = {
    security: "none",
    ehloName: "client.test",
    host: "server.test",
    port: 587,
    allowPlaintextAuth: false,
    chunking: "off",
    nonce: () => "nonce",
  };
  let title = "";
  let error: Dialogue["error"];
  let mechanism: string | undefined;
  let teaches: Learnt | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    const at = `${file}:${index + 1}`;
    if (line.trim() === "") continue;
    if (line.startsWith("#")) {
      title ||= line.slice(1).trim();
      continue;
    }
    const spoken = dialogueLine(line, index + 1);
    if (spoken) {
      lines.push(spoken);
      continue;
    }
    const directive = /^@ (\S+) ?(.*)$/.exec(line);
    if (!directive) throw new Error(`${at}: neither a line nor a directive`);
    const [, name, rest = ""] = directive;
    const words = rest.split(" ").filter((word) => word !== "");
    if (name === "security") plan["security"] = rest;
    else if (name === "login") plan["credentials"] = { username: words[0], password: words[1] };
    else if (name === "token") plan["credentials"] = { username: words[0], token: words[1] };
    else if (name === "certificate")
      plan["credentials"] = { username: words[0] ?? "", certificate: true };
    else if (name === "auth") plan["auth"] = words;
    else if (name === "learnt") plan["learnt"] = JSON.parse(rest);
    else if (name === "teaches") teaches = JSON.parse(rest);
    else if (name === "set")
      plan[words[0] as string] = setting(words[0] as string, words[1] as string);
    else if (name === "message") notes[submissions.push(message(JSON.parse(rest))) - 1] = [];
    else if (name === "note") notes.at(-1)?.push(rest);
    else if (name === "only") only.push(...(words as Way[]));
    else if (name === "binding") bindings.push(binding(words));
    else if (name === "expect") expected.push(words);
    else if (name === "error") error = errorOf(words);
    else if (name === "mechanism") mechanism = words[0];
    else throw new Error(`${at}: unknown directive ${name}`);
  }
  if (!/RFC \d+|draft-/.test(title))
    throw new Error(`${file}: line 1 must cite an RFC and section`);
  if (expected.length !== submissions.length) throw new Error(`${file}: one @ expect a message`);
  return {
    file,
    title,
    plan: plan as unknown as SessionPlan,
    submissions,
    lines,
    expected,
    error,
    mechanism,
    teaches,
    notes,
    only,
    bindings,
  };
}

function errorOf([code = "", phase, reply]: readonly string[]): Dialogue["error"] {
  return { code, phase, ...(reply !== undefined && { reply: Number(reply) }) };
}

function binding([type, hex]: readonly string[]): ChannelBinding {
  return { type: type as ChannelBinding["type"], data: Buffer.from(hex as string, "hex") };
}

function setting(name: string, value: string): unknown {
  if (name === "nonce") return () => value;
  if (value === "true" || value === "false") return value === "true";
  return /^\d+$/.test(value) ? Number(value) : value;
}

function message(given: Record<string, unknown>): Submission {
  const { to, content, utf8Header, ...rest } = given;
  return {
    from: "sender@client.test",
    recipients: to as string[],
    content: contentOf(
      Buffer.from((content as string | undefined) ?? "Subject: x\r\n\r\nhello\r\n"),
      {
        utf8Header: utf8Header === true,
      },
    ),
    partial: "accept",
    smtputf8: false,
    ...rest,
  };
}

/** Fates as a dialogue writes them: `taken`, `refused:rcpt:550`, `lost`, `unsent:timeout` … */
export function fates(report: SessionReport): readonly (readonly string[])[] {
  return report.messages.map(({ recipients }) =>
    recipients.map(({ fate }) => {
      switch (fate.is) {
        case "refused":
          return `refused:${fate.by}:${fate.reply.code}`;
        case "unsent":
          return fate.error ? `unsent:${fate.error.code}` : "unsent";
        case "impossible":
          return `impossible:${fate.obstacle.code}`;
        default:
          return fate.is;
      }
    }),
  );
}

/** What a report says in words, a person must be able to act on: whole sentences, nothing left blank. */
function sentences({ error, messages }: SessionReport): readonly string[] {
  const told = messages.flatMap(({ recipients, notes }) => [
    ...notes,
    ...recipients.map(({ fate }) =>
      fate.is === "impossible" ? fate.obstacle.message : "error" in fate && fate.error?.message,
    ),
  ]);
  return [error?.message, ...told].filter((text) => typeof text === "string");
}

/** The reply to a recipient's own RCPT is there where it decided, and where nothing was asked none is. */
function expectRcpt({ messages }: SessionReport): void {
  for (const { fate, rcpt } of messages.flatMap(({ recipients }) => recipients)) {
    if (fate.is === "taken" || fate.is === "withheld") expect(rcpt?.code).toBeLessThan(300);
    if (fate.is === "refused" && fate.by === "rcpt") expect(rcpt).toBe(fate.reply);
    if (fate.is === "impossible") expect(rcpt).toBeUndefined();
  }
}

/** What is lost says so, and why the session ended. */
function expectLost({ error, messages }: SessionReport): void {
  for (const { fate } of messages.flatMap(({ recipients }) => recipients)) {
    if (fate.is !== "lost") continue;
    expect([fate.error.code, fate.error.phase]).toEqual(["reply_lost", "content"]);
    expect(fate.error.message).toContain(error?.message);
    expect(fate.error.reply).toBe(error?.reply);
  }
}

/** What every way of playing a dialogue must come to. */
export function expectReport(report: SessionReport, dialogue: Dialogue): void {
  const { error, mechanism, learnt, messages } = report;
  for (const text of sentences(report)) expect(text).toMatch(/^["A-Z].{20,}[^\s:]\.$/);
  expectRcpt(report);
  expectLost(report);
  if (error) expect(String(error)).toMatch(/^SmtpError: /);
  expect(fates(report)).toEqual(dialogue.expected);
  expect([error?.code, error?.phase]).toEqual([dialogue.error?.code, dialogue.error?.phase]);
  if (dialogue.error?.reply) expect(error?.reply?.code).toBe(dialogue.error.reply);
  expect(mechanism).toBe(dialogue.mechanism);
  expect(learnt).toEqual(dialogue.teaches);
  expect(messages.map(({ notes }) => notes.length)).toEqual(
    dialogue.notes.map((words) => words.length),
  );
  for (const [index, words] of dialogue.notes.entries()) {
    for (const [at, word] of words.entries()) {
      expect(messages[index]?.notes[at]).toContain(word);
    }
  }
}
