/**
 * A way out for functions without a route of their own: a tunnel through an HTTP CONNECT proxy
 * (RFC 9110 §9.3.6) or a SOCKS5 proxy (RFC 1928). TLS and the login happen inside, end to end.
 * Destroying the socket ends the asking.
 */
import { request } from "node:http";
import type { Socket } from "node:net";
import { SmtpError } from "../error.ts";
import { type Limits, PHASE_TIMEOUTS, within } from "./deadline.ts";
import { type AddressBook, dial, type Endpoint } from "./dns.ts";

export interface Tunnel {
  /** The proxy. */
  readonly via: Endpoint;
  /** Have the proxy connect this socket through; rejects where it does not. */
  open(socket: Socket): Promise<void>;
}

/** SocksClient wants a limit of its own; ours (deadline.ts) is always the shorter one. */
const SOCKS_TIMEOUT_MS = 15_000;

/** @param proxy `http://[user:password@]host:port` or `socks5://…` */
export function tunnelThrough(proxy: string, endpoint: Endpoint): Tunnel {
  const url = new URL(proxy);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return url.protocol === "http:"
    ? {
        via: { host, port: Number(url.port || 80) },
        open: (socket) => connectMethod(socket, loginOf(url), endpoint),
      }
    : {
        via: { host, port: Number(url.port || 1080) },
        open: (socket) => socks5(socket, host, loginOf(url), endpoint),
      };
}

/** @throws SmtpError as dialling does, and `connect_failed` where the proxy opens no tunnel. */
export async function dialThrough(
  tunnel: Tunnel,
  limits: Limits,
  addresses: AddressBook,
): Promise<Socket> {
  const begun = performance.now();
  const socket = await dial(tunnel.via, limits, addresses).catch((error: unknown) => {
    if (!(error instanceof SmtpError)) throw error;
    throw new SmtpError(error.code, `The proxy is not reached. ${error.message}`, {
      phase: "connect",
    });
  });
  // One limit for both: a proxy that is slow to answer has no more time than a server.
  const left = PHASE_TIMEOUTS.connect - (performance.now() - begun);
  try {
    await within<void>(
      limits,
      "connect",
      left,
      ({ resolve, reject }) => {
        tunnel.open(socket).then(resolve, (error: Error) => {
          const text = `The proxy did not open a tunnel: ${error.message}.`;
          reject(new SmtpError("connect_failed", text, { phase: "connect" }));
        });
        return () => {};
      },
      "The proxy did not open a tunnel",
    );
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

interface Login {
  readonly user: string;
  readonly password: string;
}

function loginOf(url: URL): Login | undefined {
  if (url.username === "") return undefined;
  return { user: decoded(url.username), password: decoded(url.password) };
}

/** A stray `%` is meant as it stands, and no reason to throw a password about in an error. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function connectMethod(
  socket: Socket,
  login: Login | undefined,
  { host, port }: Endpoint,
): Promise<void> {
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  return new Promise((resolve, reject) => {
    const asked = request({
      createConnection: () => socket,
      method: "CONNECT",
      path: authority,
      headers: {
        host: authority,
        // Node's own default, "close", has made proxies drop the tunnel.
        connection: "keep-alive",
        ...(login && {
          "proxy-authorization": `Basic ${Buffer.from(`${login.user}:${login.password}`).toString("base64")}`,
        }),
      },
    });
    asked.once("connect", ({ statusCode = 0 }, _socket, head) => {
      // RFC 9110 §9.3.6: any 2xx opens the tunnel.
      if (statusCode < 200 || statusCode > 299) {
        reject(new Error(explain(statusCode)));
        return;
      }
      // The greeting may have come with the proxy's answer.
      if (head.length > 0) socket.unshift(head);
      resolve();
    });
    asked.on("error", reject);
    asked.end();
  });
}

/** The status code alone: a reason phrase or a body may echo what was sent. */
function explain(status: number): string {
  const hint = status === 407 ? "; it demands a login, or refuses the one it was given" : "";
  return `HTTP ${status} to CONNECT${hint}`;
}

async function socks5(
  socket: Socket,
  proxyHost: string,
  login: Login | undefined,
  { host, port }: Endpoint,
): Promise<void> {
  const { SocksClient } = await import("socks");
  await SocksClient.createConnection({
    command: "connect",
    timeout: SOCKS_TIMEOUT_MS,
    existing_socket: socket,
    proxy: {
      type: 5,
      // Connected already; the library only checks that they are there.
      host: proxyHost,
      port: 1,
      ...(login && { userId: login.user, password: login.password }),
    },
    // A name is resolved by the proxy: a function without a route often has no resolver either.
    destination: { host, port },
  });
  // The library hands over what came behind the proxy's answer one turn later, and resumes then;
  // until it does, nothing newer may overtake it.
  socket.pause();
}
