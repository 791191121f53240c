/** Which proxy an address names, and which of an HTTP proxy's answers open a tunnel. */
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { tunnelThrough } from "../../lib/smtp/io/proxy.ts";

const target = { host: "mx.test", port: 25 };

describe("a proxy's address", () => {
  it.each([
    ["http://proxy.test", "proxy.test", 80],
    ["http://proxy.test:8080", "proxy.test", 8080],
    ["socks5://proxy.test", "proxy.test", 1080],
    ["socks5://proxy.test:1", "proxy.test", 1],
    ["http://u:p@[2001:db8::1]:3128", "2001:db8::1", 3128],
    ["socks5://[2001:db8::1]", "2001:db8::1", 1080],
  ])("%s", (url, host, port) => {
    expect(tunnelThrough(url, target).via).toEqual({ host, port });
  });
});

let server: Server | undefined;
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server?.close();
});

interface Asked {
  readonly url: string | undefined;
  readonly login: string | undefined;
  readonly connection: string | undefined;
}

/** Asks a proxy that answers so. */
async function ask(status: number, url = "http://HOST", to = target) {
  const asked: Asked[] = [];
  server = createServer();
  server.on("connect", ({ url, headers }, socket) => {
    sockets.push(socket as Socket);
    const { connection } = headers;
    asked.push({ url, login: headers["proxy-authorization"], connection });
    socket.end(`HTTP/1.1 ${status} because\r\n\r\n`);
  });
  const proxy = server;
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  socket.on("error", () => {});
  const opened = tunnelThrough(url.replace("HOST", `127.0.0.1:${port}`), to).open(socket);
  const outcome = await opened.then(
    () => "open",
    (error: Error) => error.message,
  );
  return { outcome, asked };
}

describe("CONNECT", () => {
  it.each([
    [200, "open"],
    [299, "open"],
    [300, "HTTP 300 to CONNECT"],
    [403, "HTTP 403 to CONNECT"],
    [407, "HTTP 407 to CONNECT; it demands a login, or refuses the one it was given"],
  ])("answered %i", async (status, outcome) => {
    const told = await ask(status);
    expect(told.outcome).toBe(outcome);
    expect(told.asked).toEqual([{ url: "mx.test:25", login: undefined, connection: "keep-alive" }]);
  });

  it("names an IPv6 address in brackets, and takes a stray % as it stands", async () => {
    const six = { host: "2001:db8::1", port: 465 };
    const { asked } = await ask(200, "http://us%41er:100%@HOST", six);
    const login = `Basic ${Buffer.from("usAer:100%").toString("base64")}`;
    expect(asked).toEqual([{ url: "[2001:db8::1]:465", login, connection: "keep-alive" }]);
  });
});
