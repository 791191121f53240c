/**
 * An SMTP server that says what it is told to, for behaviour that no honest server shows on demand.
 * On loopback; counts what it saw. Plain text, or TLS where it is given a certificate.
 */

import type { AddressInfo } from "node:net";
import { createServer, type Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";

/** A reply (without CRLF), or what to do instead of one. */
export type Answer = string | "close" | "hang";

export interface FakeOptions {
  readonly greeting?: Answer;
  /** TLS at once, or by STARTTLS (which `ehlo` must offer). */
  readonly tls?: { readonly cert: string; readonly key: string; readonly implicit?: boolean };
  /** Called with each line as it comes, and whether it came within TLS; `close` when the client leaves. */
  readonly heard?: (line: string, secure: boolean) => void;
  readonly ehlo?: readonly string[];
  /**
   * By verb: `MAIL`, `RCPT`, `DATA`, `content`, `AUTH`, … A function sees the line; what it promises
   * holds up everything behind it.
   */
  readonly on?: Readonly<
    Record<string, Answer | ((line: string, count: number) => Answer | Promise<Answer>)>
  >;
}

export interface FakeSmtp {
  readonly port: number;
  connections(): number;
  /** Of those, how many are over. */
  closed(): number;
  /** Every command line seen, in order; content as one `content` entry. */
  readonly seen: string[];
  close(): Promise<void>;
}

export async function startFakeSmtp(options: FakeOptions = {}): Promise<FakeSmtp> {
  const seen: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  let closed = 0;
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    socket.on("close", () => {
      closed += 1;
      options.heard?.("close", false);
    });
    converse(options.tls?.implicit ? secured(socket, options.tls) : socket, options, seen);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    closed: () => closed,
    seen,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

function secured(socket: Socket, identity: NonNullable<FakeOptions["tls"]>): TLSSocket {
  const { cert, key } = identity;
  const secureContext = createSecureContext({ cert, key });
  const over = new TLSSocket(socket, { isServer: true, secureContext });
  over.on("error", () => socket.destroy());
  return over;
}

const DEFAULTS: Readonly<Record<string, string>> = {
  MAIL: "250 2.1.0 sender ok",
  RCPT: "250 2.1.5 recipient ok",
  DATA: "354 go on",
  content: "250 2.0.0 Ok: queued as ABC123",
  RSET: "250 reset",
  QUIT: "221 bye",
};

function converse(
  socket: Socket,
  options: FakeOptions,
  seen: string[],
  greeting: Answer | "" = options.greeting ?? "220 fake.test ESMTP",
): void {
  const { ehlo, on = {} } = options;
  const counts = new Map<string, number>();
  let buffer = "";
  let content = false;
  let hung = false;
  let waiting = false;
  const say = (answer: Answer) => {
    if (answer === "close") socket.destroy();
    else if (answer === "hang") hung = true;
    else socket.write(`${answer}\r\n`);
  };
  const answered = (verb: string, answer: Answer) => {
    if (verb === "DATA" && answer.startsWith("354")) content = true;
    say(answer);
  };
  const respond = (verb: string, line: string) => {
    seen.push(line);
    const count = counts.get(verb) ?? 0;
    counts.set(verb, count + 1);
    const told = on[verb] ?? DEFAULTS[verb] ?? "502 not implemented";
    const answer = typeof told === "function" ? told(line, count) : told;
    if (typeof answer === "string") return answered(verb, answer);
    waiting = true;
    void answer.then((late) => {
      waiting = false;
      answered(verb, late);
      read();
    });
  };
  if (greeting !== "") say(greeting);
  socket.on("data", (chunk) => {
    buffer += chunk.toString("latin1");
    read();
  });
  const read = () => {
    while (!hung && !waiting) {
      if (content) {
        const end = buffer.startsWith(".\r\n") ? 0 : buffer.indexOf("\r\n.\r\n") + 2;
        if (end === 1) return;
        buffer = buffer.slice(end + 3);
        content = false;
        respond("content", "content");
        continue;
      }
      const end = buffer.indexOf("\r\n");
      if (end === -1) return;
      const line = buffer.slice(0, end);
      buffer = buffer.slice(end + 2);
      const verb = line.split(" ")[0]?.toUpperCase() ?? "";
      options.heard?.(line, socket instanceof TLSSocket);
      if (verb === "STARTTLS" && options.tls !== undefined) {
        seen.push(line);
        say("220 go ahead");
        socket.removeAllListeners("data");
        converse(secured(socket, options.tls), options, seen, "");
        return;
      }
      if (verb === "EHLO" && on["EHLO"] === undefined) {
        seen.push(line);
        const lines = ["fake.test", ...(ehlo ?? ["PIPELINING", "8BITMIME"])];
        const last = lines.length - 1;
        say(lines.map((text, index) => `250${index === last ? " " : "-"}${text}`).join("\r\n"));
      } else {
        respond(verb, line);
      }
    }
  };
}
