/** A result as a person reads it: who said what and when, what became of each recipient, what to do. */

import type { Entry } from "../smtp/transcript.ts";
import type { Outcome, Result } from "../submission/outcome.ts";
import { adviceFor } from "./advice.ts";
import { paint, say, visible } from "./terminal.ts";

const COLOURS = {
  accepted: "green",
  partial: "yellow",
  deferred: "yellow",
  uncertain: "magenta",
  rejected: "red",
} as const satisfies Record<Outcome, string>;

export function printConversation(transcript: readonly Entry[]): void {
  for (const { at, from, text } of transcript) {
    const time = paint("dim", `${at.toFixed(1).padStart(9)} ms`);
    say(`${time}  ${spoken(from, visible(text))}`);
  }
}

function spoken(from: "S" | "C", text: string): string {
  if (from === "C") return paint("cyan", `C: ${text}`);
  const [first] = text;
  const style = first === "5" ? "red" : first === "4" ? "yellow" : "green";
  return `${paint(style, "S:")} ${first === "5" || first === "4" ? paint(style, text) : text}`;
}

/** @param verbose says also where the time went, and what the server can do */
export function printResult(result: Result, verbose = false): void {
  printConversation(result.transcript);
  if (result.transcript.length > 0) say();
  const { outcome, server, queueId, error, notes = [], timing } = result;
  const where = server === null ? "" : ` by ${visible(server.host)}:${server.port}`;
  const queued = queueId === undefined ? "" : `, queued as ${visible(queueId)}`;
  say(`${paint(["bold", COLOURS[outcome]], outcome)}${where}${queued}`);
  for (const { address, outcome: own, reply } of result.recipients) {
    const answer = reply === null ? "no reply" : `${reply.code} ${visible(reply.text)}`;
    say(`  ${paint(COLOURS[own], own.padEnd(9))} ${visible(address)}  ${paint("dim", answer)}`);
  }
  if (error !== undefined) {
    say(`${error.code}: ${visible(error.message)}`);
    for (const { path, message } of error.issues ?? []) {
      say(`  ${visible(path === "" ? "request" : path)}: ${visible(message)}`);
    }
  }
  for (const text of notes) say(`note: ${visible(text)}`);
  const next = advice(result);
  if (next !== undefined) say(`next: ${next}`);
  say(paint("dim", `id ${visible(result.id)}${seconds(timing.totalMs, timing.roundTrips)}`));
  if (verbose) printDetails(result);
}

/** What to do next, or nothing: the message is taken. */
export function advice({ outcome, retryable, error, recipients }: Result): string | undefined {
  if (outcome === "accepted") return undefined;
  const known = error && adviceFor(error.code);
  if (outcome === "uncertain") return known ?? adviceFor("reply_lost");
  if (outcome === "partial") {
    const open = recipients.filter((one) => one.outcome !== "accepted").length;
    return `${open} of ${recipients.length} did not get it; do not send to the others again. ${known ?? ""}`.trim();
  }
  if (retryable) return "Nothing was taken. The same again later may succeed.";
  return known ?? "Read the server's reply.";
}

function seconds(totalMs: number, roundTrips: number): string {
  return totalMs === 0 ? "" : `, ${totalMs.toFixed(1)} ms, ${roundTrips} round trips`;
}

function printDetails({ server, timing, messageId }: Result): void {
  const { connectMs, tlsMs, authMs, transactionMs } = timing;
  say(
    paint(
      "dim",
      `connect ${connectMs} ms, TLS ${tlsMs} ms, login ${authMs} ms, message ${transactionMs} ms`,
    ),
  );
  if (messageId !== null) say(paint("dim", `Message-ID ${visible(messageId)}`));
  if (server === null) return;
  const tls = server.tls === null ? "no TLS" : `${server.tls.protocol}, ${server.tls.cipher}`;
  const login = server.auth === null ? "no login" : `login by ${visible(server.auth)}`;
  say(paint("dim", `${tls}, ${login}, offers ${visible(server.extensions.join(" "))}`));
}
