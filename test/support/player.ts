/**
 * Plays a dialogue against the conversation, without a socket: effects in, dialogue lines out. The
 * server's octets pass through the real decoder, whole, line by line or octet by octet.
 */
import type { Content } from "../../lib/smtp/data.ts";
import { ContentEncoder } from "../../lib/smtp/data.ts";
import { SmtpError } from "../../lib/smtp/error.ts";
import { ReplyDecoder } from "../../lib/smtp/reply.ts";
import type { SessionReport } from "../../lib/smtp/report.ts";
import { session } from "../../lib/smtp/session.ts";
import type { Answer, Effect, Phase } from "../../lib/smtp/step.ts";
import { type Dialogue, matches } from "./dialogue.ts";

export type Split = "whole" | "line" | "octet";

export function playPure(dialogue: Dialogue, split: Split): SessionReport {
  const player = new Player(dialogue, split);
  const conversation = session(dialogue.plan, dialogue.submissions);
  let result = conversation.next();
  while (!result.done) {
    let answer: Answer;
    try {
      answer = player.perform(result.value);
    } catch (error) {
      if (!(error instanceof SmtpError)) throw error;
      result = conversation.throw(error);
      continue;
    }
    result = conversation.next(answer);
  }
  player.finish();
  return result.value;
}

class Player {
  readonly #dialogue: Dialogue;
  readonly #split: Split;
  readonly #decoder = new ReplyDecoder();
  #position = 0;

  constructor(dialogue: Dialogue, split: Split) {
    this.#dialogue = dialogue;
    this.#split = split;
  }

  perform(effect: Effect): Answer {
    switch (effect.do) {
      case "write":
        this.#client(Buffer.from(effect.line.bytes).toString("latin1").replace(/\r\n$/, ""));
        return undefined;
      case "pump":
        this.#client(`[${measure(effect.content, effect.framing)} octets of message content]`);
        return undefined;
      case "commit":
        return undefined;
      case "secure":
        this.#expect("X", "TLS");
        return { protocol: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384", bindings: [] };
      case "read":
        return this.#read(effect.phase);
    }
  }

  finish(): void {
    const next = this.#peek();
    if (next && next.from !== "X")
      this.#fail(`the session ended before: ${next.from}: ${next.text}`);
  }

  #read(phase: Phase) {
    for (;;) {
      const reply = this.#take(phase);
      if (reply !== undefined) return reply;
      const next = this.#peek();
      if (next?.from === "C") this.#fail(`the client waits, instead of saying: ${next.text}`);
      if (next === undefined) {
        throw new SmtpError("connection_lost", "The dialogue is over.", { phase });
      }
      this.#position += 1;
      if (next.from === "X") {
        throw new SmtpError("connection_lost", "The server closed the connection.", { phase });
      }
      this.#feed(Buffer.from(`${next.text}\r\n`, "latin1"));
    }
  }

  #take(phase: Phase) {
    try {
      return this.#decoder.take();
    } catch (error) {
      if (error instanceof SmtpError) error.phase ??= phase;
      throw error;
    }
  }

  #feed(octets: Uint8Array): void {
    if (this.#split !== "octet") {
      // Whole: every line the server says before the client's next one, in one piece.
      let piece = octets;
      while (this.#split === "whole" && this.#peek()?.from === "S") {
        const more = Buffer.from(`${this.#peek()?.text}\r\n`, "latin1");
        this.#position += 1;
        piece = Buffer.concat([piece, more]);
      }
      this.#decoder.push(piece);
      return;
    }
    for (const octet of octets) this.#decoder.push(Uint8Array.of(octet));
  }

  #client(actual: string): void {
    const next = this.#peek();
    const fits =
      next?.from === "C" && matches(Buffer.from(next.text, "utf8").toString("latin1"), actual);
    if (!fits) this.#fail(`expected ${next?.from}: ${next?.text}, the client wrote: ${actual}`);
    this.#position += 1;
  }

  #expect(from: string, text: string): void {
    const next = this.#peek();
    if (next?.from !== from || next.text !== text) {
      this.#fail(`expected ${next?.from}: ${next?.text}, came ${from}: ${text}`);
    }
    this.#position += 1;
  }

  #peek() {
    return this.#dialogue.lines[this.#position];
  }

  #fail(what: string): never {
    throw new Error(`${this.#dialogue.file}:${this.#peek()?.number ?? "end"}: ${what}`);
  }
}

function measure(content: Content, framing: "data" | "bdat"): number {
  const encoder = new ContentEncoder(framing);
  for (const piece of content.open() as Iterable<Uint8Array>) encoder.encode(piece);
  encoder.end();
  return encoder.size;
}
