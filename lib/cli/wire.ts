/**
 * The server's end of one connection, for conversations that are played: lines, counted octets and
 * dot-stuffed content in, octets out, TLS on the way. Nothing here shares code with the client: what
 * is compared is what crossed the wire.
 */
import type { Socket } from "node:net";
import { type SecureContext, TLSSocket } from "node:tls";

/** The client is gone, or has said what no client may. */
export class WireError extends Error {
  override readonly name = "WireError";
}

export class Wire {
  #socket: Socket;
  #heard: Buffer = Buffer.alloc(0);
  #over = false;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#listen();
  }

  /** What came and was not read. */
  get unread(): Buffer {
    return this.#heard;
  }

  /** A line without its end. Bare CR and bare LF are no line ends, and have no place at all. */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#heard.indexOf("\r\n");
      if (end >= 0) {
        const line = (await this.octets(end + 2)).subarray(0, end).toString("latin1");
        if (/[\r\n]/.test(line)) {
          throw new WireError(`a bare CR or LF in ${JSON.stringify(line)}`);
        }
        return line;
      }
      await this.#await();
    }
  }

  async octets(count: number): Promise<Buffer> {
    while (this.#heard.length < count) await this.#await();
    const octets = this.#heard.subarray(0, count);
    this.#heard = this.#heard.subarray(count);
    return octets;
  }

  /** Content up to the lone dot, which stays to be read. */
  async stuffed(): Promise<Buffer> {
    const lines: string[] = [];
    for (;;) {
      const line = await this.line();
      if (line === ".") {
        this.#heard = Buffer.concat([Buffer.from(".\r\n"), this.#heard]);
        return Buffer.from(lines.join(""), "latin1");
      }
      lines.push(`${line.startsWith(".") ? line.slice(1) : line}\r\n`);
    }
  }

  write(octets: Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(octets);
  }

  secure(context: SecureContext): void {
    const plain = this.#socket;
    plain.removeAllListeners("data");
    plain.removeAllListeners("end");
    plain.on("error", () => {});
    this.#socket = new TLSSocket(plain, { isServer: true, secureContext: context });
    this.#listen();
  }

  /** @param how `reset` sends RST where `close` sends FIN */
  end(how: "close" | "reset"): void {
    if (how === "reset") this.#socket.resetAndDestroy();
    else this.#socket.end();
  }

  /** Settles when the client has closed its side. */
  async over(): Promise<void> {
    while (!this.#over) await this.#more();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  async #await(): Promise<void> {
    if (this.#over) {
      const rest = JSON.stringify(this.#heard.toString("latin1"));
      throw new WireError(`the client left after saying ${rest}`);
    }
    await this.#more();
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
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
}
