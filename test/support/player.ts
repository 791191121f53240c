/**
 * Plays a dialogue against the conversation, without a socket: effects in, dialogue lines out. The
 * server's octets pass through the real decoder, whole, line by line or octet by octet. What stands
 * before the client's next line is taken to have arrived before it speaks, as the driver would see
 * it at the latest.
 */
import type { Content } from "../../lib/smtp/data.ts";
import { ContentEncoder } from "../../lib/smtp/data.ts";
import { type DialogueLine, matches } from "../../lib/smtp/dialogue.ts";
import { SmtpError } from "../../lib/smtp/error.ts";
import { classOf, ReplyDecoder } from "../../lib/smtp/reply.ts";
import type { SessionReport } from "../../lib/smtp/report.ts";
import { session } from "../../lib/smtp/session.ts";
import type { Answer, Effect, Phase } from "../../lib/smtp/step.ts";
import type { Dialogue } from "./dialogue.ts";

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
  #decoder = new ReplyDecoder();
  #position = 0;
  #ended = false;
  #committed = false;
  /** Whether content has been queued whose end has not. */
  #pumped = false;
  /** What the client has said and not yet sent. */
  #group: string[] = [];

  constructor(dialogue: Dialogue, split: Split) {
    this.#dialogue = dialogue;
    this.#split = split;
  }

  perform(effect: Effect): Answer {
    switch (effect.do) {
      case "write":
        this.#demandCommit(effect.line.shown);
        this.#group.push(Buffer.from(effect.line.bytes).toString("latin1").replace(/\r\n$/, ""));
        return undefined;
      case "pump":
        this.#pumped = effect.framing === "data";
        this.#group.push(`[${measure(effect.content, effect.framing)} octets of message content]`);
        return undefined;
      case "commit":
        this.#committed = true;
        return undefined;
      case "secure":
        return this.#secure();
      case "read":
        this.#flush(effect.phase);
        return this.#read(effect.phase);
    }
  }

  /** No message's terminator, nor BDAT LAST, before its ledger's word; a lone dot ends no message. */
  #demandCommit(line: string): void {
    const ends = line.endsWith(" LAST") || (line === "." && this.#pumped);
    if (ends && !this.#committed) this.#fail(`${line} before it was committed`);
    if (!ends) return;
    this.#committed = false;
    this.#pumped = false;
  }

  finish(): void {
    if (this.#group.length > 0) this.#fail(`never sent: ${this.#group.join(" / ")}`);
    // A client that hung up need not have heard the server out.
    while (this.#peek()?.from === "S" || hangsUp(this.#peek())) this.#position += 1;
    const next = this.#peek();
    if (next === undefined) return;
    this.#fail(`the session ended before: ${next.from}: ${next.text}`);
  }

  /** Hear all that stands before the client's next line. */
  #hear(): void {
    for (let next = this.#peek(); next !== undefined; next = this.#peek()) {
      if (next.from === "S") this.#feed();
      else if (hangsUp(next)) {
        this.#ended = true;
        this.#position += 1;
      } else return;
    }
  }

  #flush(phase: Phase): void {
    const group = this.#group;
    if (group.length === 0) return;
    this.#group = [];
    this.#hear();
    this.#refuseUnsolicited(phase);
    if (this.#ended) throw unsent(closed(phase));
    for (const line of group) this.#client(line);
  }

  #refuseUnsolicited(phase: Phase): void {
    if (!this.#decoder.pending) return;
    const reply = this.#take(phase);
    const at = { phase, ...(reply && classOf(reply) !== "success" && { reply }) };
    if (reply?.code === 421)
      throw unsent(
        new SmtpError("connection_lost", "The server closed the session unasked (421).", at),
      );
    throw unsent(new SmtpError("protocol_error", "A reply that answers nothing.", at));
  }

  #secure(): Answer {
    this.#hear();
    if (this.#decoder.pending) {
      throw new SmtpError("protocol_error", "Data ahead of the handshake.", { phase: "tls" });
    }
    const next = this.#peek();
    if (next?.from !== "X" || next.text !== "TLS") {
      this.#fail(`expected ${next?.from}: ${next?.text}, the client began the handshake`);
    }
    this.#position += 1;
    this.#decoder = new ReplyDecoder();
    const { bindings } = this.#dialogue;
    return { protocol: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384", bindings };
  }

  #read(phase: Phase) {
    for (;;) {
      const reply = this.#take(phase);
      if (reply !== undefined) return reply;
      const next = this.#peek();
      if (next?.from === "C") this.#fail(`the client waits, instead of saying: ${next.text}`);
      if (next?.from === "X" && !hangsUp(next)) this.#fail(`the client waits before ${next.text}`);
      if (this.#ended || next === undefined || hangsUp(next)) {
        if (hangsUp(next)) this.#position += 1;
        this.#ended = true;
        throw closed(phase);
      }
      this.#feed();
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

  /** One line of the server's, or, whole, every one before the client's next, in one piece. */
  #feed(): void {
    const pieces: Uint8Array[] = [];
    do {
      pieces.push(this.#peek()?.octets as Uint8Array);
      this.#position += 1;
    } while (this.#split === "whole" && this.#peek()?.from === "S");
    const octets = Buffer.concat(pieces);
    if (this.#split !== "octet") this.#decoder.push(octets);
    else for (const octet of octets) this.#decoder.push(Uint8Array.of(octet));
  }

  #client(actual: string): void {
    const next = this.#peek();
    const fits =
      next?.from === "C" && matches(Buffer.from(next.text, "utf8").toString("latin1"), actual);
    if (!fits) this.#fail(`expected ${next?.from}: ${next?.text}, the client wrote: ${actual}`);
    this.#position += 1;
  }

  #peek() {
    return this.#dialogue.lines[this.#position];
  }

  #fail(what: string): never {
    throw new Error(`${this.#dialogue.file}:${this.#peek()?.number ?? "end"}: ${what}`);
  }
}

function hangsUp(line: DialogueLine | undefined): boolean {
  return line?.from === "X" && (line.text === "close" || line.text === "reset");
}

function closed(phase: Phase): SmtpError {
  return new SmtpError("connection_lost", "The server closed the connection.", { phase });
}

/** Nothing of the group has left: the driver says so too. */
function unsent(error: SmtpError): SmtpError {
  error.unsent = true;
  return error;
}

function measure(content: Content, framing: "data" | "bdat"): number {
  const encoder = new ContentEncoder(framing);
  for (const piece of content.open() as Iterable<Uint8Array>) encoder.encode(piece);
  encoder.end();
  return encoder.size;
}
