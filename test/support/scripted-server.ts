/**
 * The server's side of a dialogue over a real socket: it reads the client's groups octet for octet,
 * un-stuffs content and compares it, and answers whole, by line or by octet. Nothing here shares code
 * with the client: what is compared is what crossed the wire.
 */
import { createServer, type Server, type Socket } from "node:net";
import { createSecureContext, type SecureContext } from "node:tls";
import { Wire, WireError } from "../../lib/cli/wire.ts";
import { type DialogueLine, matches } from "../../lib/smtp/dialogue.ts";
import type { Dialogue } from "./dialogue.ts";
import type { Split } from "./player.ts";

export interface ScriptedServer {
  readonly port: number;
  /** Settles once the one conversation is over and every socket is closed. */
  readonly done: Promise<void>;
}

export async function serve(
  dialogue: Dialogue,
  split: Split,
  identity: { readonly cert: string; readonly key: string },
): Promise<ScriptedServer> {
  const context = createSecureContext(identity);
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  const played = new Promise<void>((resolve, reject) => {
    server.once("connection", (socket) => {
      server.close();
      const actor = new Actor(dialogue, split, context, socket);
      actor.play().then(resolve, reject);
    });
  });
  played.catch(() => {});
  const closed = new Promise<void>((resolve) => server.once("close", resolve));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const done = closed.then(() => played);
  // Heard by whoever awaits it; until then, or where nobody does, a failure is no unhandled one.
  done.catch(() => {});
  return { port: portOf(server), done };
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

class Actor {
  readonly #dialogue: Dialogue;
  readonly #split: Split;
  readonly #context: SecureContext;
  readonly #wire: Wire;
  #position = 0;

  constructor(dialogue: Dialogue, split: Split, context: SecureContext, socket: Socket) {
    this.#dialogue = dialogue;
    this.#split = split;
    this.#context = context;
    this.#wire = new Wire(socket);
  }

  async play(): Promise<void> {
    try {
      for (let next = this.#peek(); next !== undefined; next = this.#peek()) {
        if (next.from === "S") await this.#say();
        else if (next.from === "C") await this.#hear();
        else if (next.text === "TLS") {
          this.#position += 1;
          this.#wire.secure(this.#context);
        } else break;
      }
      this.#wire.end(this.#peek()?.text === "reset" ? "reset" : "close");
      await this.#wire.over();
      const { unread } = this.#wire;
      if (unread.length > 0) this.#fail(`said after the end: ${show(unread)}`);
    } catch (error) {
      if (error instanceof WireError) this.#fail(error.message);
      throw error;
    } finally {
      this.#wire.destroy();
    }
  }

  #peek(): DialogueLine | undefined {
    return this.#dialogue.lines[this.#position];
  }

  /** All that the server says before the client's next line. */
  async #say(): Promise<void> {
    const lines: Uint8Array[] = [];
    for (let next = this.#peek(); next?.from === "S"; next = this.#peek()) {
      lines.push(next.octets);
      this.#position += 1;
    }
    const whole = Buffer.concat(lines);
    const pieces =
      this.#split === "line" ? lines : this.#split === "whole" ? [whole] : [...whole].map(octet);
    for (const piece of pieces) {
      this.#wire.write(piece);
      // Its own turn of the loop, so that the pieces seldom meet again on the way.
      if (pieces.length > 1) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** One group, to its last octet, and nothing beyond it. */
  async #hear(): Promise<void> {
    let bdat = false;
    for (let next = this.#peek(); next?.from === "C"; next = this.#peek()) {
      const size = /^\[(\d+) octets of message content\]$/.exec(next.text)?.[1];
      if (size !== undefined) await this.#content(Number(size), bdat);
      else {
        const line = await this.#wire.line();
        const wanted = Buffer.from(next.text, "utf8").toString("latin1");
        if (!matches(wanted, line)) this.#fail(`expected ${wanted}, came ${line}`);
      }
      bdat = next.text.startsWith("BDAT ");
      this.#position += 1;
    }
    const { unread } = this.#wire;
    if (unread.length > 0) this.#fail(`said ahead of its turn: ${show(unread)}`);
  }

  async #content(size: number, bdat: boolean): Promise<void> {
    const came = bdat ? await this.#wire.octets(size) : await this.#wire.stuffed();
    if (came.length !== size) this.#fail(`content of ${came.length} octets instead of ${size}`);
    for (const { content } of this.#dialogue.submissions) {
      const pieces = [...(content.open() as Iterable<Uint8Array>)];
      if (Buffer.concat(pieces).equals(came)) return;
    }
    this.#fail(`content of no message: ${show(came)}`);
  }

  #fail(what: string): never {
    throw new Error(`${this.#dialogue.file}:${this.#peek()?.number ?? "end"}: ${what}`);
  }
}

function octet(value: number): Uint8Array {
  return Uint8Array.of(value);
}

function show(octets: Uint8Array): string {
  return JSON.stringify(Buffer.from(octets).toString("latin1"));
}
