/**
 * A conversation as a server plays it: what the client is to say, and what it is answered. Replies
 * belong to commands in their order (RFC 2920 §3.1), so that a client that groups less, or more, than
 * the one that was written down is answered all the same.
 */
import type { DialogueLine } from "../smtp/dialogue.ts";

export interface Turn {
  /** Absent: the server speaks first. */
  readonly expected?: DialogueLine;
  /** Octets of content, where that is what comes; those of BDAT are counted. */
  readonly content?: { readonly size: number; readonly counted: boolean };
  /** In order: a server's line, or what happens to the connection. */
  readonly answers: DialogueLine[];
}

/** One list of turns for each session: a transcript may hold several, of relays tried or logins. */
export function sessionsOf(lines: readonly DialogueLine[]): readonly (readonly Turn[])[] {
  const sessions: Turn[][] = [];
  let turns: Turn[] = [];
  let waiting: Turn[] = [];
  const begin = () => {
    turns = [{ answers: [] }];
    waiting = [...turns];
    sessions.push(turns);
  };
  begin();
  let elsewhere = false;
  for (const [index, line] of lines.entries()) {
    if (line.from === "C") {
      const before = lines[index - 1]?.from === "C" ? lines[index - 1]?.text : undefined;
      const turn = turnOf(line, before);
      if (turn === undefined) {
        elsewhere = true;
        continue;
      }
      turns.push(turn);
      if (answered(line, lines[index + 1])) waiting.push(turn);
      continue;
    }
    // A greeting that answers nothing: another session.
    const greets = line.from === "S" && /^220([ -]|$)/.test(line.text);
    if (elsewhere || (greets && waiting.length === 0 && turns.length > 1)) begin();
    elsewhere = false;
    const turn = waiting[0] ?? (turns.at(-1) as Turn);
    turn.answers.push(line);
    // The greeting waits behind the handshake of implicit TLS.
    if (line.from === "S" && !/^\d{3}-/.test(line.text)) waiting.shift();
  }
  return sessions;
}

const CONTENT = /^\[(\d+) octets of message content\]$/;

/** @param before the client's line before it, in the same group */
function turnOf(line: DialogueLine, before: string | undefined): Turn | undefined {
  const size = CONTENT.exec(line.text)?.[1];
  if (size !== undefined) {
    const counted = before?.startsWith("BDAT ") ?? false;
    return { expected: line, content: { size: Number(size), counted }, answers: [] };
  }
  // Remarks of the transcript: `[smtp.example.com:465: … Next relay.]`
  return /^\[.*\]$/.test(line.text) ? undefined : { expected: line, answers: [] };
}

/** DATA's content ends with the dot, which is what is answered; BDAT's content is answered itself. */
function answered({ text }: DialogueLine, next: DialogueLine | undefined): boolean {
  if (text.startsWith("BDAT ") && next?.from === "C" && CONTENT.test(next.text)) return false;
  return !(CONTENT.test(text) && next?.from === "C" && next.text === ".");
}
