/**
 * The server that plays a conversation: it answers what was answered, whatever the client says, and
 * tells where that differs. Rule guarded here: a client that is pointed at it brings its own password,
 * so nothing of AUTH is shown.
 */
import { createServer, type Socket } from "node:net";
import { createSecureContext, type SecureContext } from "node:tls";
import { matches } from "../smtp/dialogue.ts";
import { EXIT, Stop } from "./exit.ts";
import type { Turn } from "./turns.ts";
import { Wire, WireError } from "./wire.ts";

export interface Deviation {
  /** `line 12`, or `the end`. */
  readonly where: string;
  readonly expected: string;
  readonly came: string;
}

export interface PlayOptions {
  /** 0: any that is free. */
  readonly port: number;
  readonly identity?: { readonly cert: string; readonly key: string } | undefined;
  readonly listening: (address: string) => void;
  readonly deviated: (deviation: Deviation) => void;
}

/** One connection for each session, on loopback; settles with the number of deviations. */
export async function playSessions(
  sessions: readonly (readonly Turn[])[],
  options: PlayOptions,
): Promise<number> {
  const context = options.identity && contextOf(options.identity);
  let deviations = 0;
  const deviated = (deviation: Deviation) => {
    deviations += 1;
    options.deviated(deviation);
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  await new Promise<void>((resolve, reject) => {
    const taken = ({ code }: NodeJS.ErrnoException) =>
      reject(new Stop(EXIT.unavailable, `Port ${options.port} cannot be listened on (${code}).`));
    server.once("error", taken).listen(options.port, "127.0.0.1", resolve);
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : options.port;
  // Connections that come while one is being played wait for their turn.
  const waiting: Socket[] = [];
  let wake = () => {};
  server.on("connection", (socket) => {
    waiting.push(socket);
    wake();
  });
  options.listening(`127.0.0.1:${port}`);
  for (const turns of sessions) {
    while (waiting.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    await new Player(waiting.shift() as Socket, context, deviated).play(turns);
  }
  for (const socket of waiting) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  return deviations;
}

function contextOf(identity: NonNullable<PlayOptions["identity"]>): SecureContext {
  try {
    return createSecureContext(identity);
  } catch {
    // Its text may quote what it could not read.
    throw new Stop(EXIT.malformed, "--cert and --key must be PEM, and belong together.");
  }
}

class Player {
  readonly #wire: Wire;
  readonly #context: SecureContext | undefined;
  readonly #deviated: (deviation: Deviation) => void;
  #where = "the beginning";
  /** Set while the client answers challenges: each line of its is a secret. */
  #secret = false;

  constructor(
    socket: Socket,
    context: SecureContext | undefined,
    deviated: (deviation: Deviation) => void,
  ) {
    this.#wire = new Wire(socket);
    this.#context = context;
    this.#deviated = deviated;
  }

  async play(turns: readonly Turn[]): Promise<void> {
    try {
      for (const turn of turns) {
        if (turn.expected) this.#where = `line ${turn.expected.number}`;
        await this.#hear(turn);
        for (const answer of turn.answers) this.#answer(answer.text, answer.octets, answer.from);
      }
      this.#where = "the end";
      this.#wire.end("close");
      await this.#wire.over();
      const { unread } = this.#wire;
      if (unread.length > 0) this.#tell("nothing more", this.#shown(firstLine(unread)));
    } catch (error) {
      if (error instanceof Broken) return;
      if (!(error instanceof WireError)) throw error;
      const left = turns.find(({ expected }) => `line ${expected?.number}` === this.#where);
      this.#tell(
        this.#shown(left?.expected?.text ?? "an end"),
        "[the client left, or broke a line]",
      );
    } finally {
      this.#wire.destroy();
    }
  }

  async #hear({ expected, content }: Turn): Promise<void> {
    if (expected === undefined) return;
    if (content !== undefined) {
      const came = content.counted
        ? await this.#wire.octets(content.size)
        : await this.#wire.stuffed();
      if (came.length === content.size) return;
      return this.#tell(`content of ${content.size} octets`, `content of ${came.length} octets`);
    }
    const line = Buffer.from(await this.#wire.line(), "latin1").toString("utf8");
    if (!matches(expected.text, line)) this.#tell(this.#shown(expected.text), this.#shown(line));
  }

  #answer(text: string, octets: Uint8Array, from: "S" | "C" | "X"): void {
    if (from === "S") {
      this.#secret = text.startsWith("334");
      this.#wire.write(octets);
      return;
    }
    if (text === "TLS" && this.#context) {
      this.#wire.secure(this.#context);
      return;
    }
    this.#wire.end(text === "reset" ? "reset" : "close");
    throw new Broken();
  }

  #tell(expected: string, came: string): void {
    this.#deviated({ where: this.#where, expected, came });
  }

  #shown(line: string): string {
    const command = /^AUTH +\S+/i.exec(line)?.[0];
    if (command !== undefined) return command === line.trimEnd() ? command : `${command} ***`;
    return this.#secret ? "***" : line;
  }
}

/** The script has the server hang up here. */
class Broken extends Error {}

function firstLine(octets: Buffer): string {
  return octets.toString("utf8").split("\r\n", 1)[0] ?? "";
}
