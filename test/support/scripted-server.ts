/**
 * The server's side of a dialogue over a real socket: it reads the client's groups octet for octet,
 * un-stuffs content and compares it, and answers whole, by line or by octet. Nothing here shares code
 * with the client: what is compared is what crossed the wire.
 */
import { createServer, type Server, type Socket } from "node:net";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import { type Dialogue, type DialogueLine, matches } from "./dialogue.ts";
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
  // Heard by whoever awaits `done`; until then a failure must not count as nobody's.
  played.catch(() => {});
  const closed = new Promise<void>((resolve) => server.once("close", resolve));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: portOf(server), done: closed.then(() => played) };
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
  #socket: Socket;
  #heard: Buffer = Buffer.alloc(0);
  #over = false;
  #wake: () => void = () => {};
  #position = 0;

  constructor(dialogue: Dialogue, split: Split, context: SecureContext, socket: Socket) {
    this.#dialogue = dialogue;
    this.#split = split;
    this.#context = context;
    this.#socket = socket;
    this.#listen();
  }

  async play(): Promise<void> {
    try {
      for (let next = this.#peek(); next !== undefined; next = this.#peek()) {
        if (next.from === "S") await this.#say();
        else if (next.from === "C") await this.#hear();
        else if (next.text === "TLS") this.#secure();
        else break;
      }
      const last = this.#peek();
      if (last?.text === "reset") this.#socket.resetAndDestroy();
      else this.#socket.end();
      while (!this.#over) await this.#more();
      if (this.#heard.length > 0) this.#fail(`said after the end: ${show(this.#heard)}`);
    } finally {
      this.#socket.destroy();
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
      if (this.#socket.destroyed) return;
      this.#socket.write(piece);
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
        const line = await this.#line();
        const wanted = Buffer.from(next.text, "utf8").toString("latin1");
        if (!matches(wanted, line)) this.#fail(`expected ${wanted}, came ${line}`);
      }
      bdat = next.text.startsWith("BDAT ");
      this.#position += 1;
    }
    if (this.#heard.length > 0) this.#fail(`said ahead of its turn: ${show(this.#heard)}`);
  }

  async #content(size: number, bdat: boolean): Promise<void> {
    const came = bdat ? await this.#octets(size) : await this.#stuffed();
    if (came.length !== size) this.#fail(`content of ${came.length} octets instead of ${size}`);
    for (const { content } of this.#dialogue.submissions) {
      const pieces = [...(content.open() as Iterable<Uint8Array>)];
      if (Buffer.concat(pieces).equals(came)) return;
    }
    this.#fail(`content of no message: ${show(came)}`);
  }

  /** Lines up to the lone dot, which stays to be heard. */
  async #stuffed(): Promise<Buffer> {
    const lines: string[] = [];
    for (;;) {
      const line = await this.#line();
      if (line === ".") {
        this.#heard = Buffer.concat([Buffer.from(".\r\n"), this.#heard]);
        return Buffer.from(lines.join(""), "latin1");
      }
      lines.push(`${line.startsWith(".") ? line.slice(1) : line}\r\n`);
    }
  }

  /** A line without its end. Bare CR and bare LF are no line ends, and have no place at all. */
  async #line(): Promise<string> {
    for (;;) {
      const end = this.#heard.indexOf("\r\n");
      if (end >= 0) {
        const line = (await this.#octets(end + 2)).subarray(0, end).toString("latin1");
        if (/[\r\n]/.test(line)) this.#fail(`a bare CR or LF in ${JSON.stringify(line)}`);
        return line;
      }
      await this.#await();
    }
  }

  async #octets(count: number): Promise<Buffer> {
    while (this.#heard.length < count) await this.#await();
    const octets = this.#heard.subarray(0, count);
    this.#heard = this.#heard.subarray(count);
    return octets;
  }

  async #await(): Promise<void> {
    if (this.#over) this.#fail(`the client left after saying ${show(this.#heard)}`);
    await this.#more();
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #secure(): void {
    this.#position += 1;
    const plain = this.#socket;
    plain.removeAllListeners("data");
    plain.removeAllListeners("end");
    plain.on("error", () => {});
    this.#socket = new TLSSocket(plain, {
      isServer: true,
      secureContext: this.#context,
    });
    this.#listen();
  }

  #listen(): void {
    const ended = () => {
      this.#over = true;
      this.#wake();
    };
    this.#socket.on("data", (octets: Buffer) => {
      this.#heard = Buffer.concat([this.#heard, octets]);
      this.#wake();
    });
    this.#socket.on("end", ended);
    this.#socket.on("close", ended);
    this.#socket.on("error", ended);
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
