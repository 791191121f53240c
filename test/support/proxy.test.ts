import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type DelayProxy, startDelayProxy } from "./proxy.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function target(onConnection: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => server.close());
  const address = server.address();
  return typeof address === "object" && address ? address.port : 0;
}

async function proxied(port: number, rttMs: number): Promise<[DelayProxy, Socket]> {
  const proxy = await startDelayProxy({ target: { host: "127.0.0.1", port }, rttMs });
  cleanups.push(() => proxy.close());
  return [proxy, connect({ port: proxy.port, host: proxy.host, noDelay: true })];
}

const next = async (socket: Socket) => String((await once(socket, "data"))[0]);

describe("the delaying proxy", () => {
  it("makes a server that speaks first heard after two round trips, and counts two", async () => {
    const port = await target((socket) => socket.write("220 hello\r\n"));
    const started = performance.now();
    const [proxy, client] = await proxied(port, 40);
    expect(await next(client)).toBe("220 hello\r\n");
    expect(performance.now() - started).toBeGreaterThanOrEqual(79);
    expect(proxy.stats()).toEqual({
      connections: 1,
      bytesUp: 0,
      bytesDown: 11,
      roundTrips: 2,
      trips: [
        { connection: 0, up: 0, down: 0 },
        { connection: 0, up: 0, down: 11 },
      ],
    });
    client.destroy();
  });

  it("makes a client that speaks first wait two round trips, and counts two", async () => {
    const port = await target((socket) => socket.on("data", (chunk) => socket.write(chunk)));
    const started = performance.now();
    const [proxy, client] = await proxied(port, 40);
    client.write("ping");
    expect(await next(client)).toBe("ping");
    expect(performance.now() - started).toBeGreaterThanOrEqual(79);
    expect(proxy.stats().roundTrips).toBe(2);
    client.destroy();
  });

  it("counts one for each question and answer, however many pieces they come in", async () => {
    const port = await target((socket) => {
      let text = "";
      socket.on("data", (chunk) => {
        text += String(chunk);
        if (!text.endsWith("\n")) return;
        text = "";
        socket.write("one ");
        setTimeout(() => socket.write("two\n"), 5);
      });
    });
    const [proxy, client] = await proxied(port, 10);
    for (let turn = 1; turn <= 3; turn++) {
      const started = performance.now();
      client.write("first, ");
      setTimeout(() => client.write("second\n"), 2);
      let answer = "";
      while (!answer.endsWith("\n")) answer += await next(client);
      expect(answer).toBe("one two\n");
      expect(performance.now() - started).toBeGreaterThanOrEqual(9);
      expect(proxy.stats().roundTrips).toBe(1 + turn);
    }
    client.write("never answered\n".slice(0, 3));
    client.destroy();
    expect(proxy.stats().roundTrips).toBe(4);
  });

  it("keeps order and every byte at no distance at all, and passes both ends on", async () => {
    const port = await target((socket) => {
      const chunks: Buffer[] = [];
      socket.on("data", (chunk: Buffer) => chunks.push(chunk));
      socket.on("end", () => socket.end(Buffer.concat(chunks)));
    });
    for (const rttMs of [0, 6]) {
      const [proxy, client] = await proxied(port, rttMs);
      const sent = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 31) % 251));
      for (let at = 0; at < sent.length; at += 100_000)
        client.write(sent.subarray(at, at + 100_000));
      client.end();
      const back: Buffer[] = [];
      for await (const chunk of client) back.push(chunk);
      expect(Buffer.concat(back).equals(sent)).toBe(true);
      expect(proxy.stats()).toMatchObject({ bytesUp: sent.length, bytesDown: sent.length });
      expect(proxy.stats().roundTrips).toBe(2);
    }
  });

  it("passes on a reset and a refused connection", async () => {
    const port = await target((socket) => socket.resetAndDestroy());
    const [, reset] = await proxied(port, 6);
    await expect(once(reset, "data")).rejects.toMatchObject({ code: "ECONNRESET" });
    const closed = createServer().listen(0, "127.0.0.1");
    await once(closed, "listening");
    const address = closed.address();
    closed.close();
    const [, refused] = await proxied(typeof address === "object" && address ? address.port : 0, 6);
    await expect(once(refused, "data")).rejects.toMatchObject({ code: "ECONNRESET" });
  });
});
