/**
 * An SMTP server without manners, over real sockets and real TLS. It plays an honest session until a
 * script says otherwise, and writes down every octet that it was sent. Nothing here shares code with
 * the client: what the table counts is what a server would have seen, and would have delivered.
 */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { createSecureContext, type SecureContextOptions, TLSSocket } from "node:tls";

/** What is done instead of an honest answer: a reply without its CRLF, or anything at all. */
export type Act = string | ((wire: Wire, line: string) => void | Promise<void>);

export interface Script {
  readonly security: "implicit" | "starttls" | "none";
  /** Without it, TLS on this port is the certificate that the client trusts. */
  readonly identity?: SecureContextOptions;
  readonly greeting?: Act;
  /** What EHLO offers, without STARTTLS. */
  readonly offers?: readonly string[];
  /** The same before TLS, where it differs. */
  readonly offersInClear?: readonly string[];
  /** In place of the handshake on an implicit TLS port. */
  readonly handshake?: Act;
  /** By verb; `content` is what answers the terminator, `nothing` a lone dot. By count: an array. */
  readonly on?: Readonly<Record<string, Act | readonly Act[]>>;
  /** At each piece of content, before its end is known. */
  readonly onContent?: (wire: Wire) => void;
}

/** One message that the server took responsibility for. */
export interface Delivery {
  readonly from: string;
  readonly to: readonly string[];
  readonly content: Buffer;
}

/** Content that was ended by a terminator, taken or not. */
export interface Ended extends Delivery {
  readonly framing: "data" | "bdat";
  /** As it came: dots still doubled. */
  readonly octets: Buffer;
}

const OFFERS = ["PIPELINING", "8BITMIME", "SIZE 50000000", "AUTH PLAIN LOGIN"];

const DEFAULTS: Readonly<Record<string, string>> = {
  HELO: "250 hostile.test",
  AUTH: "235 2.7.0 welcome",
  MAIL: "250 2.1.0 sender ok",
  RCPT: "250 2.1.5 recipient ok",
  DATA: "354 go on",
  BDAT: "250 2.0.0 Ok: queued as B1",
  content: "250 2.0.0 Ok: queued as A1",
  nothing: "554 5.5.1 no valid recipients",
  RSET: "250 reset",
  QUIT: "221 bye",
};

/** One connection, as a script acts on it and as it was recorded. */
export class Wire {
  readonly script: Script;
  readonly number: number;
  /** Every octet of the client's before TLS, and those inside it. */
  readonly clear: Buffer[] = [];
  readonly secured: Buffer[] = [];
  readonly commands: string[] = [];
  readonly ended: Ended[] = [];
  readonly deliveries: Delivery[] = [];
  /** Whether TLS is up, and whether content has been asked for. */
  tls = false;
  invited = false;
  from = "";
  to: string[] = [];
  readonly #raw: Socket;
  #socket: Socket;
  #heard: Buffer = Buffer.alloc(0);
  #over = false;
  #mute = false;
  #deaf = false;
  #wake: () => void = () => {};
  #unlisten: () => void = () => {};
  readonly #counts = new Map<string, number>();

  constructor(raw: Socket, script: Script, number: number) {
    this.#raw = raw;
    this.#socket = raw;
    this.script = script;
    this.number = number;
    this.#listen(this.clear);
    raw.on("error", () => {});
  }

  get over(): boolean {
    return this.#over;
  }

  say(text: string): void {
    this.write(`${text}\r\n`);
  }

  write(octets: string | Uint8Array): void {
    if (this.#mute || this.#socket.destroyed || this.#socket.writableEnded) return;
    this.#socket.write(typeof octets === "string" ? Buffer.from(octets, "utf8") : octets);
  }

  /** As fast as the other side reads, until it has gone. */
  async flood(octets: Uint8Array, times: number): Promise<void> {
    for (let count = 0; count < times && !this.#over && !this.#socket.destroyed; count += 1) {
      if (this.#socket.write(octets)) continue;
      await new Promise<void>((resolve) => {
        this.#socket.once("drain", resolve);
        this.#socket.once("close", resolve);
      });
    }
  }

  /** One octet at a time, so many milliseconds apart. */
  async trickle(text: string, milliseconds: number): Promise<void> {
    for (const octet of Buffer.from(text)) {
      if (this.#over) return;
      this.write(Uint8Array.of(octet));
      await pause(milliseconds);
    }
  }

  /** Nothing more is ever said, though all is heard. */
  mute(): void {
    this.#mute = true;
  }

  /** No more lines are looked for: a ClientHello is octets, and now and then has a CRLF among them. */
  deafen(): void {
    this.#deaf = true;
  }

  /** FIN in good order: TLS says goodbye first. */
  end(): void {
    this.#socket.end();
  }

  /** The connection ends below TLS: no close_notify. */
  cut(): void {
    this.#raw.destroy();
  }

  reset(): void {
    this.#raw.resetAndDestroy();
  }

  /** Stop reading: what the client sends piles up. */
  stall(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Ask for content, in whatever words. */
  invite(text = "354 go on"): void {
    this.say(text);
    this.invited = true;
  }

  /** Takes responsibility for the message that has just ended. */
  keep(): void {
    const last = this.ended.at(-1);
    if (last !== undefined && last.to.length > 0) this.deliveries.push(last);
  }

  /** Begin TLS on what was a plain socket. */
  secure(identity: SecureContextOptions): void {
    this.#unlisten();
    this.#heard = Buffer.alloc(0);
    this.tls = true;
    this.#socket = new TLSSocket(this.#raw, {
      isServer: true,
      secureContext: createSecureContext(identity),
    });
    this.#listen(this.secured);
  }

  /** Once the handshake is over: what is done to the connection then is done inside TLS. */
  shaken(): Promise<void> {
    return new Promise((resolve) => {
      this.#socket.once("secure", resolve);
      this.#socket.once("close", resolve);
      this.#socket.once("_tlsError", () => resolve());
    });
  }

  /** The next line without its CRLF; `undefined` once the client has gone. */
  async line(): Promise<string | undefined> {
    for (let from = 0; ; ) {
      const end = this.#deaf ? -1 : this.#heard.indexOf("\r\n", from);
      if (end >= 0) {
        const line = this.#heard.subarray(0, end).toString("latin1");
        this.#heard = this.#heard.subarray(end + 2);
        return line;
      }
      from = Math.max(0, this.#heard.length - 1);
      if (this.#over) return undefined;
      await this.more();
    }
  }

  async octets(count: number): Promise<Buffer | undefined> {
    while (this.#heard.length < count) {
      if (this.#over) return undefined;
      await this.more();
    }
    const octets = this.#heard.subarray(0, count);
    this.#heard = this.#heard.subarray(count);
    return octets;
  }

  /** Content up to its terminator; `undefined` where the client went away before. */
  async stuffed(): Promise<Buffer | undefined> {
    const pieces: Buffer[] = [];
    let tail: Buffer = Buffer.from("\r\n");
    for (;;) {
      const window = Buffer.concat([tail, this.#heard]);
      const at = window.indexOf("\r\n.\r\n");
      if (at >= 0) {
        // Of this window, the tail is counted already.
        const used = at + 5 - tail.length;
        pieces.push(this.#heard.subarray(0, Math.max(0, used)));
        this.#heard = this.#heard.subarray(Math.max(0, used));
        const whole = Buffer.concat(pieces);
        return whole.subarray(0, whole.length - 3);
      }
      const silent = this.#heard.length === 0;
      pieces.push(this.#heard);
      tail = Buffer.from(window.subarray(Math.max(0, window.length - 4)));
      this.#heard = Buffer.alloc(0);
      if (this.#over) return undefined;
      if (!silent) this.script.onContent?.(this);
      await this.more();
    }
  }

  more(): Promise<void> {
    if (this.#over) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** How often this verb has been answered before. */
  count(verb: string): number {
    const count = this.#counts.get(verb) ?? 0;
    this.#counts.set(verb, count + 1);
    return count;
  }

  close(): void {
    this.#raw.destroy();
  }

  #listen(record: Buffer[]): void {
    const socket = this.#socket;
    const over = () => {
      this.#over = true;
      this.#wake();
    };
    const data = (octets: Buffer) => {
      record.push(octets);
      this.#heard = this.#heard.length === 0 ? octets : Buffer.concat([this.#heard, octets]);
      this.#wake();
    };
    socket.on("data", data);
    // A handshake that fails is told by no other event on a socket that no server of TLS's made.
    for (const event of ["end", "close", "error", "_tlsError"]) socket.on(event, over);
    this.#unlisten = () => {
      socket.off("data", data);
      for (const event of ["end", "close"]) socket.off(event, over);
    };
  }
}

export interface HostileServer {
  readonly port: number;
  readonly wires: readonly Wire[];
  /** Its own ends of connections that are still open. */
  open(): number;
  close(): Promise<void>;
}

/**
 * @param scripts one for each connection in turn; the last serves all that follow
 * @param identity what TLS shows where a script has none of its own
 */
export async function startHostile(
  scripts: readonly Script[] | (() => Script),
  identity: SecureContextOptions,
  forget = false,
): Promise<HostileServer> {
  const wires: Wire[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    const script =
      typeof scripts === "function"
        ? scripts()
        : (scripts[Math.min(connections, scripts.length - 1)] as Script);
    const wire = new Wire(socket, script, connections);
    connections += 1;
    if (!forget) wires.push(wire);
    const leave = async () => {
      await converse(wire, script, identity);
      wire.end();
      while (!wire.over) await wire.more();
    };
    leave().then(
      () => wire.close(),
      () => wire.close(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    wires,
    open: () => sockets.size,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

async function converse(wire: Wire, script: Script, trusted: SecureContextOptions): Promise<void> {
  const identity = script.identity ?? trusted;
  const begin = () => {
    wire.say("220 go ahead");
    wire.secure(identity);
  };
  if (script.security === "implicit") {
    if (script.handshake !== undefined) {
      await perform(wire, script.handshake, "");
      while (!wire.over) await wire.more();
      return;
    }
    wire.secure(identity);
    await wire.shaken();
  }
  await perform(wire, script.greeting ?? "220 hostile.test ESMTP", "");
  for (let line = await wire.line(); line !== undefined; line = await wire.line()) {
    wire.commands.push(line);
    const verb = /^[A-Za-z]+/.exec(line)?.[0].toUpperCase() ?? "";
    if (verb === "STARTTLS") {
      // A script of its own begins TLS itself, or does not.
      await perform(
        wire,
        script.on?.["STARTTLS"] === undefined ? begin : choose(wire, script, verb),
        line,
      );
      continue;
    }
    if (verb === "EHLO" && script.on?.["EHLO"] === undefined) {
      wire.say(hello(script, wire.tls));
      continue;
    }
    if (verb === "MAIL") {
      wire.from = addressIn(line);
      wire.to = [];
    }
    if (verb === "BDAT") {
      if (!(await chunk(wire, script, line))) return;
      continue;
    }
    const said = await perform(wire, choose(wire, script, verb), line);
    if (verb === "RCPT" && said?.startsWith("2")) wire.to.push(addressIn(line));
    if (verb === "DATA" && (wire.invited || said?.startsWith("354"))) {
      wire.invited = false;
      if (!(await message(wire, script))) return;
    }
    if (verb === "QUIT" && script.on?.["QUIT"] === undefined) return;
  }
}

async function message(wire: Wire, script: Script): Promise<boolean> {
  const octets = await wire.stuffed();
  if (octets === undefined) return false;
  const content = Buffer.from(octets.toString("latin1").replace(/(^|\r\n)\./g, "$1"), "latin1");
  const { from, to } = wire;
  if (octets.length === 0) {
    await perform(wire, choose(wire, script, "nothing"), "");
    return true;
  }
  wire.ended.push({ from, to: [...to], content, octets, framing: "data" });
  const said = await perform(wire, choose(wire, script, "content"), "");
  if (said?.startsWith("2")) wire.keep();
  return true;
}

async function chunk(wire: Wire, script: Script, line: string): Promise<boolean> {
  const [, size = "0", last] = line.split(" ");
  const octets = await wire.octets(Number(size));
  if (octets === undefined) return false;
  const { from, to } = wire;
  if (last === "LAST") {
    wire.ended.push({ from, to: [...to], content: octets, octets, framing: "bdat" });
  }
  const said = await perform(wire, choose(wire, script, "BDAT"), line);
  if (said?.startsWith("2")) wire.keep();
  return true;
}

function choose(wire: Wire, script: Script, verb: string): Act {
  const told = script.on?.[verb];
  const count = wire.count(verb);
  if (Array.isArray(told)) return (told as readonly Act[])[Math.min(count, told.length - 1)] as Act;
  return (told as Act | undefined) ?? DEFAULTS[verb] ?? "502 5.5.1 not implemented";
}

/** Returns the reply, where it was a plain one. */
async function perform(wire: Wire, act: Act, line: string): Promise<string | undefined> {
  if (typeof act !== "string") {
    await act(wire, line);
    return undefined;
  }
  wire.say(act);
  return act;
}

function hello(script: Script, tls: boolean): string {
  const offers = script.offers ?? OFFERS;
  const lines =
    script.security === "starttls" && !tls
      ? (script.offersInClear ?? ["STARTTLS", ...offers])
      : offers;
  return multi(250, ["hostile.test", ...lines]);
}

/** A reply of several lines, the last CRLF left out. */
function multi(code: number, lines: readonly string[]): string {
  const last = lines.length - 1;
  return lines.map((text, at) => `${code}${at === last ? " " : "-"}${text}`).join("\r\n");
}

function addressIn(line: string): string {
  return /<(.*?)>/.exec(line)?.[1] ?? "";
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}
