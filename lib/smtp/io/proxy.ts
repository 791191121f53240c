/**
 * A way out for functions without a route of their own: a tunnel through an HTTP CONNECT proxy
 * (RFC 9110 §9.3.6) or a SOCKS5 proxy (RFC 1928). TLS and the login happen inside, end to end.
 */
import { request } from "node:http";
import type { Socket } from "node:net";
import type { Endpoint } from "./connection.ts";

/** @param proxy `http://[user:password@]host:port` or `socks5://…` */
export function tunnelThrough(
  proxy: string,
  endpoint: Endpoint,
  timeout: number,
): () => Promise<Socket> {
  const url = new URL(proxy);
  return url.protocol === "http:"
    ? () => connectMethod(url, endpoint, timeout)
    : () => socks5(url, endpoint, timeout);
}

function connectMethod(url: URL, { host, port }: Endpoint, timeout: number): Promise<Socket> {
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const login = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return new Promise((resolve, reject) => {
    const asked = request({
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: url.port || 80,
      method: "CONNECT",
      path: authority,
      agent: false,
      timeout,
      headers: {
        host: authority,
        ...(url.username && {
          "proxy-authorization": `Basic ${Buffer.from(login).toString("base64")}`,
        }),
      },
    });
    asked.once("connect", (response, socket, head) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        reject(new Error(`HTTP ${response.statusCode} to CONNECT`));
        return;
      }
      socket.setTimeout(0);
      // The greeting may have come with the proxy's answer.
      if (head.length > 0) socket.unshift(head);
      resolve(socket as Socket);
    });
    asked.once("response", (response) => {
      response.destroy();
      reject(new Error(`HTTP ${response.statusCode} to CONNECT`));
    });
    asked.once("timeout", () => asked.destroy(new Error("no answer to CONNECT")));
    asked.once("error", (error) => reject(error));
    asked.end();
  });
}

async function socks5(url: URL, { host, port }: Endpoint, timeout: number): Promise<Socket> {
  const { SocksClient } = await import("socks");
  const { socket } = await SocksClient.createConnection({
    command: "connect",
    timeout,
    proxy: {
      type: 5,
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: Number(url.port || 1080),
      ...(url.username && {
        userId: decodeURIComponent(url.username),
        password: decodeURIComponent(url.password),
      }),
    },
    // A name is resolved by the proxy: a function without a route often has no resolver either.
    destination: { host, port },
  });
  return socket;
}
