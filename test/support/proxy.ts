/**
 * A loopback TCP proxy with a distance: everything arrives half a round trip later on the other
 * side, in the order and the pieces it was sent in. It also counts how often the client had to wait.
 *
 * **Time.** With a round trip of R: a connection reaches the target 1.5 R after the client opened it
 * (SYN, SYN-ACK, ACK), and each byte takes R/2 from then on, so a server that speaks first is heard
 * after 2 R. The kernel tells the client at once that it is connected, for no proxy can hold back a
 * SYN-ACK; what the client sends before it has heard anything is therefore R late, and whatever it
 * measures from its *first* answer on is right, the time of its `connect` event is not. Bandwidth is
 * not limited and there is no slow start.
 *
 * **Count.** Bytes are looked at where the client sees them: its own when it sends them, the server's
 * when they are delivered. A round trip is a flight of the client's (whatever it sends without
 * hearing anything in between) followed by a flight of the server's:
 *
 * - the TCP handshake is one;
 * - the first bytes from the server end one in any case, whether they answer the client's first
 *   flight (ClientHello) or only its ACK (the 220 of a server that speaks first);
 * - after that, one for every first byte from the server after bytes from the client.
 *
 * So implicit TLS 1.3 to the greeting is 3: handshake; ClientHello → ServerHello…Finished;
 * Finished → session tickets and 220. Tickets make no round trip of their own when they cross what
 * the client says next: with a distance of a few milliseconds that is certain, at 0 it is a matter of
 * luck, so count with a distance. A flight never answered (QUIT and goodbye) is not counted; a QUIT
 * that is answered is, and is the last of `trips`.
 */
import { connect, createServer, type Socket } from "node:net";

export type RoundTrip = {
  /** 0 for the first connection. */
  readonly connection: number;
  /** Octets of the client's flight and of the server's; both 0 for the TCP handshake. */
  readonly up: number;
  readonly down: number;
};

export type ProxyStats = {
  readonly connections: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly roundTrips: number;
  /** Each of them, in the order they were finished. */
  readonly trips: readonly RoundTrip[];
};

export type DelayProxy = {
  readonly host: "127.0.0.1";
  readonly port: number;
  stats(): ProxyStats;
  /** Ends every connection and stops listening. */
  close(): Promise<void>;
};

export type DelayProxyOptions = {
  readonly target: { readonly host: string; readonly port: number };
  readonly rttMs: number;
};

/** Does things later, each no sooner than those asked for before it. */
class DelayLine {
  readonly #queue: { readonly due: number; readonly run: () => void }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Immediate | undefined;
  #stopped = false;

  after(ms: number, run: () => void): void {
    if (this.#stopped) return;
    if (ms <= 0 && this.#queue.length === 0) {
      run();
      return;
    }
    const due = Math.max(performance.now() + ms, this.#queue.at(-1)?.due ?? 0);
    this.#queue.push({ due, run });
    if (this.#queue.length === 1) this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    this.#queue.length = 0;
    clearTimeout(this.#timer);
    clearImmediate(this.#soon);
  }

  readonly #tick = (): void => {
    for (let next = this.#queue[0]; next && next.due <= performance.now(); next = this.#queue[0]) {
      // It leaves the queue only when it is done, so that what it asks for queues up behind it.
      next.run();
      this.#queue.shift();
    }
    this.#arm();
  };

  /** A timer counts whole milliseconds; the rest is waited for turn by turn of the event loop. */
  #arm(): void {
    const next = this.#queue[0];
    if (next === undefined || this.#stopped) return;
    const whole = Math.floor(next.due - performance.now()) - 1;
    if (whole >= 1) this.#timer = setTimeout(this.#tick, whole);
    else this.#soon = setImmediate(this.#tick);
  }
}

export async function startDelayProxy({ target, rttMs }: DelayProxyOptions): Promise<DelayProxy> {
  const half = rttMs / 2;
  const sockets = new Set<Socket>();
  const lines = new Set<DelayLine>();
  const trips: RoundTrip[] = [];
  let connections = 0;
  let bytesUp = 0;
  let bytesDown = 0;

  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  };

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const connection = connections++;
    const up = new DelayLine();
    const down = new DelayLine();
    let upstream: Socket | undefined;
    let heard = false;
    keep(client);
    lines.add(up).add(down);

    trips.push({ connection, up: 0, down: 0 });
    // The client's ACK is a flight too: it lets the server speak.
    let flight: { connection: number; up: number; down: number } = { connection, up: 0, down: 0 };
    let serverSpoke = false;

    const sent = (bytes: number) => {
      if (serverSpoke) flight = { connection, up: 0, down: 0 };
      serverSpoke = false;
      flight.up += bytes;
      bytesUp += bytes;
    };
    const delivered = (bytes: number) => {
      if (!serverSpoke) trips.push(flight);
      serverSpoke = true;
      flight.down += bytes;
      bytesDown += bytes;
    };

    const toServer = (run: (socket: Socket) => void) =>
      up.after(heard ? half : rttMs + half, () => upstream && run(upstream));
    const toClient = (run: (socket: Socket) => void) =>
      down.after(half, () => {
        heard = true;
        run(client);
      });

    client.on("data", (chunk: Buffer) => {
      sent(chunk.length);
      toServer((socket) => socket.write(chunk));
    });
    client.on("end", () => toServer((socket) => socket.end()));
    client.on("error", () => toServer((socket) => socket.resetAndDestroy()));
    client.on("close", () => toServer((socket) => socket.destroySoon()));

    // First on this line, so all the client's bytes come after it.
    up.after(rttMs + half, () => {
      upstream = connect({ ...target, allowHalfOpen: true, noDelay: true });
      keep(upstream);
      upstream.on("data", (chunk: Buffer) =>
        toClient((socket) => {
          delivered(chunk.length);
          socket.write(chunk);
        }),
      );
      upstream.on("end", () => toClient((socket) => socket.end()));
      upstream.on("error", () => toClient((socket) => socket.resetAndDestroy()));
      upstream.on("close", () => toClient((socket) => socket.destroySoon()));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");

  return {
    host: "127.0.0.1",
    port: address.port,
    stats: () => ({
      connections,
      bytesUp,
      bytesDown,
      roundTrips: trips.length,
      trips: trips.map((trip) => ({ ...trip })),
    }),
    close: () =>
      new Promise((resolve) => {
        for (const line of lines) line.stop();
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
