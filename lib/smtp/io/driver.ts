/**
 * Interprets the conversation over one {@link Connection}: groups become single writes, replies come
 * back in order, time and round trips are counted. Whatever fails is thrown into the conversation,
 * which alone knows what it means.
 */
import type { Content } from "../data.ts";
import { ContentEncoder } from "../data.ts";
import { SmtpError } from "../error.ts";
import type { Redactor } from "../redact.ts";
import { classOf, type Reply } from "../reply.ts";
import type { Answer, Effect, Phase, Step } from "../step.ts";
import type { Transcript } from "../transcript.ts";
import type { Connection, TlsSessions, TlsSettings } from "./connection.ts";
import { FAREWELL } from "./deadline.ts";
import type { Stopwatch } from "./stopwatch.ts";

export interface DriverOptions {
  readonly tls: TlsSettings;
  readonly sessions?: TlsSessions | undefined;
  readonly transcript: Transcript;
  readonly redactor: Redactor;
  readonly watch: Stopwatch;
  /** Makes the send of this message durable; its terminator is written once this resolves. */
  readonly commit?: ((message: number) => Promise<void>) | undefined;
  /** How the conversation's first effects were answered, where they were performed before. */
  readonly said?: readonly Answer[] | undefined;
}

/** Content beyond this many octets is sent while it is still being read. */
const HIGH_WATER = 64 * 1024;

/** Run the conversation to its end and release the connection. */
export async function drive<T>(
  conversation: Step<T>,
  connection: Connection,
  options: DriverOptions,
): Promise<T> {
  const driver = new Driver(connection, options);
  let clean = true;
  try {
    let result = conversation.next();
    // A conversation is pure: given the same answers it asks the same again.
    for (const answer of options.said ?? []) result = conversation.next(answer);
    while (!result.done) {
      let answer: Answer;
      try {
        answer = await driver.perform(result.value);
      } catch (error) {
        if (!(error instanceof SmtpError)) throw error;
        clean &&= FAREWELL.has(error.phase);
        result = conversation.throw(error);
        continue;
      }
      result = conversation.next(answer);
    }
    return result.value;
  } catch (error) {
    clean = false;
    throw error;
  } finally {
    connection.close(clean);
  }
}

/**
 * Performs a conversation's beginning and leaves the connection open, for {@link drive} to go on with.
 * @throws SmtpError; the connection is the caller's to close
 */
export async function begin<T>(
  conversation: Step<T>,
  connection: Connection,
  options: DriverOptions,
): Promise<readonly Answer[]> {
  const driver = new Driver(connection, options);
  const said: Answer[] = [];
  let result = conversation.next();
  while (!result.done) {
    const answer = await driver.perform(result.value);
    said.push(answer);
    result = conversation.next(answer);
  }
  return said;
}

class Driver {
  readonly #connection: Connection;
  readonly #options: DriverOptions;
  #group: Uint8Array[] = [];
  #octets = 0;
  #phase: Phase = "greeting";
  /** Whether part of the current group has left, so that replies to it may be there already. */
  #partSent = false;
  /** Whether a terminator is queued, and since then nothing has left: it cannot be lost. */
  #withheld = false;
  /** Whether the group holds a terminator, sent or not. */
  #terminator = false;
  /** Whether the group holds an envelope (then a login in it takes no time of its own). */
  #envelope = false;

  constructor(connection: Connection, options: DriverOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  async perform(effect: Effect): Promise<Answer> {
    switch (effect.do) {
      case "write":
        this.#options.redactor.learnWire(effect.line.secret);
        this.#queue(effect.line.bytes);
        this.#envelope ||= effect.line.shown.startsWith("MAIL ");
        this.#options.transcript.client(this.#options.watch.elapsed(), effect.line.shown);
        return undefined;
      case "read":
        return this.#read(effect.phase);
      case "pump":
        return this.#pump(effect.content, effect.framing);
      case "commit":
        return this.#commit(effect.message);
      case "secure":
        return this.#secure();
    }
  }

  async #read(phase: Phase) {
    const { watch, transcript } = this.#options;
    this.#phase = phase;
    await this.#flush();
    watch.awaiting(phase);
    const reply = await this.#connection.read(phase);
    watch.answered(phase, this.#envelope);
    if (phase === "content") this.#envelope = false;
    transcript.server(watch.elapsed(), reply);
    return this.#masked(reply, phase);
  }

  /**
   * Errors carry replies, and errors are inspected: what a server echoes is masked before any is
   * made. Challenges and what EHLO offers are for the conversation, and stay as they are.
   */
  #masked(reply: Reply, phase: Phase = this.#phase): Reply {
    const needed = phase === "auth" ? "intermediate" : phase === "ehlo" ? "success" : undefined;
    if (classOf(reply) === needed) return reply;
    return { ...reply, lines: reply.lines.map((line) => this.#options.redactor.scrub(line)) };
  }

  async #secure() {
    await this.#flush();
    const { tls, sessions, watch } = this.#options;
    const begun = performance.now();
    const channel = await this.#connection.secure(tls, sessions);
    watch.secured(performance.now() - begun, this.#connection.tls);
    return channel;
  }

  async #commit(message: number): Promise<undefined> {
    try {
      await this.#options.commit?.(message);
    } catch (error) {
      if (error instanceof SmtpError) throw error;
      throw new SmtpError(
        "commit_failed",
        `The ledger did not record the send, so it was not made: ${(error as Error).message}`,
        { phase: "content" },
      );
    }
    // One flight may hold several terminators: after the first has left, nothing is sure.
    if (!this.#partSent || !this.#terminator) this.#withheld = true;
    this.#terminator = true;
    return undefined;
  }

  /**
   * Canonicalise and stuff in one pass. The last piece stays in the group, so that the terminator
   * leaves in the same write, and so that content which proves wrong at its end was never complete.
   */
  async #pump(content: Content, framing: "data" | "bdat"): Promise<undefined> {
    const encoder = new ContentEncoder(framing);
    this.#phase = "content";
    let held: Uint8Array = new Uint8Array(0);
    try {
      for await (const piece of content.open()) {
        if (piece.length === 0) continue;
        const encoded = encoder.encode(piece);
        if (encoder.size > content.size) break;
        // A large piece leaves bit by bit too: what the server says meanwhile is heard, and a server
        // that stops reading never has the terminator on its way.
        for (let start = 0; start < encoded.length; start += HIGH_WATER) {
          this.#queue(held);
          held = encoded.subarray(start, start + HIGH_WATER);
          if (this.#octets >= HIGH_WATER) await this.#drain(framing);
        }
      }
    } catch (error) {
      if (error instanceof SmtpError) throw error;
      const { name, message } = error as Error;
      const code = name === "ContentChanged" ? "content_changed" : "content_failed";
      throw new SmtpError(code, `The content could not be read: ${message}`, { phase: "content" });
    }
    const tail = encoder.end();
    if (encoder.size !== content.size) {
      throw new SmtpError(
        "content_changed",
        `The content was announced with ${content.size} octets and has ${encoder.size > content.size ? "more" : encoder.size}.`,
        { phase: "content" },
      );
    }
    this.#queue(held);
    this.#queue(tail);
    const { transcript, watch } = this.#options;
    transcript.client(watch.elapsed(), `[${content.size} octets of message content]`);
    return undefined;
  }

  #queue(octets: Uint8Array): void {
    if (octets.length === 0) return;
    this.#group.push(octets);
    this.#octets += octets.length;
  }

  /**
   * Send what is queued of large content. A server that has had enough says so before the end: its
   * verdict counts, and the rest need not be sent.
   */
  async #drain(framing: "data" | "bdat"): Promise<void> {
    const found =
      this.#partSent && framing === "data" ? this.#connection.unsolicited(this.#phase) : undefined;
    if (found !== undefined && found !== "partial") throw this.#early(found);
    try {
      await this.#send();
    } catch (error) {
      const last = framing === "data" ? this.#connection.unsolicited(this.#phase) : undefined;
      throw last === undefined || last === "partial" ? error : this.#early(last);
    }
  }

  #early(reply: Reply): SmtpError {
    this.#options.transcript.server(this.#options.watch.elapsed(), reply);
    if (reply.code < 400) {
      return new SmtpError(
        "protocol_error",
        `The server answered ${reply.code} before the content's end.`,
        {
          phase: "content",
        },
      );
    }
    return new SmtpError("content_refused", "The server refused the content before its end.", {
      phase: "content",
      reply: this.#masked(reply),
    });
  }

  async #flush(): Promise<void> {
    if (this.#octets > 0) await this.#send();
    this.#partSent = false;
    this.#terminator = false;
    this.#withheld = false;
  }

  async #send(): Promise<void> {
    try {
      if (!this.#partSent) await this.#refuseUnsolicited();
      this.#connection.demandOpen(this.#phase);
    } catch (error) {
      if (error instanceof SmtpError && this.#withheld) error.unsent = true;
      throw error;
    }
    this.#partSent = true;
    this.#withheld = false;
    const whole =
      this.#group.length === 1 ? (this.#group[0] as Uint8Array) : Buffer.concat(this.#group);
    this.#group = [];
    this.#octets = 0;
    this.#options.watch.sending();
    await this.#connection.write(whole, this.#phase);
  }

  /**
   * Before a group leaves, every reply to the one before it has been read: what lies there now
   * answers nothing. Only 421 may come unasked (RFC 5321 §3.8).
   */
  async #refuseUnsolicited(): Promise<void> {
    const found = this.#connection.unsolicited(this.#phase);
    if (found === undefined) return;
    if (found !== "partial") {
      this.#options.transcript.server(this.#options.watch.elapsed(), found);
      if (found.code === 421) {
        throw new SmtpError("connection_lost", "The server closed the session (421).", {
          phase: this.#phase,
          reply: this.#masked(found),
        });
      }
    }
    const what = found === "partial" ? "part of a reply" : `a reply (${found.code})`;
    throw new SmtpError("protocol_error", `The server sent ${what} that answers no command.`, {
      phase: this.#phase,
      ...(found !== "partial" && classOf(found) !== "success" && { reply: this.#masked(found) }),
    });
  }
}
