/**
 * From a transcript to what can be drawn: which lines travelled together, which reply answers which
 * command, and to which phase every moment belongs. Pure: no document, no clock.
 *
 * Rule guarded here: nothing is drawn that the result does not say. Times are the transcript's; only
 * what came before the first line is divided by the result's own `timing`.
 */
import type { Entry, Result } from "./types.ts";

export const PHASES = [
  ...(["connect", "tls", "greeting", "ehlo", "starttls"] as const),
  ...(["auth", "envelope", "content", "quit"] as const),
] as const;
export type Phase = (typeof PHASES)[number];

export interface Line extends Entry {
  readonly phase: Phase;
  /** Milliseconds since the line before, or since the start. */
  readonly after: number;
}

/** Lines of one side with none of the other's between: of the client's, one write. */
export interface Flight {
  readonly from: "S" | "C";
  readonly lines: readonly Line[];
  readonly begins: number;
  readonly ends: number;
}

export interface Band {
  readonly phase: Phase;
  readonly from: number;
  readonly to: number;
}

export interface Conversation {
  readonly flights: readonly Flight[];
  /** Without gaps from 0 to `endsAt`. */
  readonly bands: readonly Band[];
  readonly endsAt: number;
  /** The last command has no reply. */
  readonly unanswered: boolean;
}

export function conversationOf({
  transcript,
  timing,
}: Pick<Result, "transcript" | "timing">): Conversation {
  const { lines, awaited } = attributed(transcript);
  const endsAt = Math.max(timing.totalMs, lines.at(-1)?.at ?? 0);
  const bands = bandsOf(lines, timing, endsAt, awaited);
  // Nobody waits for the answer to QUIT.
  const unanswered = awaited !== undefined && awaited !== "quit" && lines.at(-1)?.from === "C";
  return { flights: flightsOf(lines), bands, endsAt, unanswered };
}

function flightsOf(lines: readonly Line[]): readonly Flight[] {
  const groups: Line[][] = [];
  for (const line of lines) {
    const last = groups.at(-1);
    if (last?.[0]?.from === line.from) last.push(line);
    else groups.push([line]);
  }
  return groups.map((group) => ({
    from: group[0]?.from ?? "S",
    lines: group,
    begins: group[0]?.at ?? 0,
    ends: group.at(-1)?.at ?? 0,
  }));
}

/** Replies come in the order of the commands they answer (RFC 2920 §3.1). */
function attributed(transcript: readonly Entry[]): {
  readonly lines: readonly Line[];
  readonly awaited: Phase | undefined;
} {
  const awaited: Phase[] = ["greeting"];
  let current: Phase = "greeting";
  let before = 0;
  let asked = false;
  const lines = transcript.map((entry) => {
    if (entry.from === "C") {
      // An answer to 334 is no command.
      current = asked ? "auth" : (phaseOf(entry.text) ?? current);
      if (isAnswered(entry.text)) awaited.push(current);
      asked = false;
    } else {
      // A second session of the same send begins with a greeting of its own.
      if (awaited.length === 0 && /^220/.test(entry.text)) awaited.push("greeting");
      current = awaited[0] ?? current;
      if (/^\d{3}( |$)/.test(entry.text)) awaited.shift();
      asked = entry.text.startsWith("334");
    }
    const line = { ...entry, phase: current, after: Math.max(0, entry.at - before) };
    before = entry.at;
    return line;
  });
  return { lines, awaited: awaited[0] };
}

function phaseOf(text: string): Phase | undefined {
  if (text === "." || text.startsWith("[")) return "content";
  switch (/^[A-Z]+/.exec(text)?.[0]) {
    case "EHLO":
    case "HELO":
      return "ehlo";
    case "STARTTLS":
      return "starttls";
    case "AUTH":
      return "auth";
    case "MAIL":
    case "RCPT":
    case "DATA":
    case "RSET":
      return "envelope";
    case "BDAT":
      return "content";
    case "QUIT":
      return "quit";
    default:
      return undefined;
  }
}

/** The content's own line is answered with what ends it. */
const isAnswered = (text: string): boolean => !text.startsWith("[");

function bandsOf(
  lines: readonly Line[],
  timing: Result["timing"],
  endsAt: number,
  awaited: Phase | undefined,
): readonly Band[] {
  const bands: { phase: Phase; from: number; to: number }[] = [];
  let reached = 0;
  const until = (to: number, phase: Phase): void => {
    const end = Math.min(Math.max(to, reached), endsAt);
    const last = bands.at(-1);
    if (last?.phase === phase) last.to = end;
    else if (end > reached) bands.push({ phase, from: reached, to: end });
    reached = end;
  };
  const upgrades = lines.some(({ text, from }) => from === "C" && text === "STARTTLS");
  const first = lines[0]?.at ?? endsAt;
  until(Math.min(timing.connectMs, first), "connect");
  if (!upgrades) until(Math.min(reached + timing.tlsMs, first), "tls");
  // Whoever never heard a line was still connecting, or in the handshake.
  if (lines.length === 0) until(endsAt, timing.connectMs > 0 ? "tls" : "connect");
  for (const [index, line] of lines.entries()) {
    const before = lines[index - 1];
    if (before?.phase === "starttls" && before.from === "S" && line.from === "C") {
      until(Math.min(reached + timing.tlsMs, line.at), "tls");
    }
    until(line.at, line.phase);
  }
  const last = lines.at(-1);
  if (last !== undefined) until(endsAt, awaited ?? last.phase);
  return bands;
}

/** The transcript as a dialogue can be pasted: client lines before a server line are one write. */
export function dialogueOf(transcript: readonly Entry[]): string {
  return transcript.map(({ from, text }) => `${from}: ${text}\n`).join("");
}

/** A round step for a ruler that has about so many ticks. */
export function stepOf(length: number, ticks: number): number {
  const rough = Math.max(length / ticks, 0.001);
  const power = 10 ** Math.floor(Math.log10(rough));
  return ([1, 2, 5].find((each) => each * power >= rough) ?? 10) * power;
}
