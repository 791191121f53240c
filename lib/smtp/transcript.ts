/**
 * The conversation as it happened: every line both ways, with its time. Client lines arrive already
 * redacted (command.ts); server lines are scrubbed of what they echo. Bounded, and cut in the middle,
 * since a conversation's beginning and end are what explains it.
 */
import { unbase64 } from "./command.ts";
import type { Redactor } from "./redact.ts";
import type { Reply } from "./reply.ts";

export interface Entry {
  /** Milliseconds since the session began, to a tenth. */
  readonly at: number;
  readonly from: "S" | "C";
  readonly text: string;
}

export const TRANSCRIPT_LIMITS = { entries: 256, octets: 64 * 1024, lineLength: 2000 } as const;

/** What an entry costs beside its text once it is JSON. */
const OVERHEAD = 48;

export class Transcript {
  readonly #redactor: Redactor;
  readonly #head: Entry[] = [];
  readonly #tail: Entry[] = [];
  #headOctets = 0;
  #tailOctets = 0;
  #dropped = 0;

  /** @param before the entries of an earlier session, where this one goes on from it */
  constructor(redactor: Redactor, before: readonly Entry[] = []) {
    this.#redactor = redactor;
    for (const entry of before) this.#add(entry);
  }

  client(at: number, text: string): void {
    this.#add({ at: tenth(at), from: "C", text: short(text) });
  }

  server(at: number, reply: Reply): void {
    const last = reply.lines.length - 1;
    for (const [index, line] of reply.lines.entries()) {
      const shown = reply.code === 334 ? challenge(line) : line;
      const text = `${reply.code}${index === last ? " " : "-"}${shown}`.trimEnd();
      this.#add({ at: tenth(at), from: "S", text: short(this.#redactor.scrub(text)) });
    }
  }

  /** The entries in order; a marker stands where the middle was cut. */
  entries(): readonly Entry[] {
    if (this.#dropped === 0) return [...this.#head, ...this.#tail];
    const marker: Entry = {
      at: this.#tail[0]?.at ?? 0,
      from: "C",
      text: `[${this.#dropped} lines cut here]`,
    };
    return [...this.#head, marker, ...this.#tail];
  }

  #add(entry: Entry): void {
    const cost = octets(entry);
    const half = TRANSCRIPT_LIMITS.octets / 2;
    const roomy =
      this.#head.length < TRANSCRIPT_LIMITS.entries / 2 && this.#headOctets + cost <= half;
    if (roomy && this.#tail.length === 0) {
      this.#head.push(entry);
      this.#headOctets += cost;
      return;
    }
    this.#tail.push(entry);
    this.#tailOctets += cost;
    while (
      this.#tail.length > TRANSCRIPT_LIMITS.entries / 2 - 1 ||
      this.#tailOctets > half - 2 * OVERHEAD
    ) {
      this.#tailOctets -= octets(this.#tail.shift() as Entry);
      this.#dropped += 1;
    }
  }
}

/**
 * A challenge may be as good as a hash of the password: with SCRAM's salt and server signature, or
 * DIGEST-MD5's rspauth, it can be guessed at leisure. Prompts and errors stay readable.
 */
function challenge(line: string): string {
  const decoded = new TextDecoder().decode(unbase64(line.trim()) ?? new Uint8Array(0));
  return /^[rv]=|nonce=|rspauth=/.test(decoded) ? "***" : line;
}

const encoder = new TextEncoder();

function octets({ text }: Entry): number {
  // Nearly every line stands in JSON as it is, between its quotation marks.
  if (/^[ !#-[\]-~]*$/.test(text)) return text.length + 2 + OVERHEAD;
  return encoder.encode(JSON.stringify(text)).length + OVERHEAD;
}

function short(text: string): string {
  const limit = TRANSCRIPT_LIMITS.lineLength;
  return text.length <= limit ? text : `${text.slice(0, limit)}[${text.length - limit} more]`;
}

export function tenth(milliseconds: number): number {
  return Math.round(milliseconds * 10) / 10;
}
