/**
 * TLS sessions of a warm instance. Node checks neither chain nor name when a session resumes and
 * announces sessions before it has verified anything, so one is kept only from a verified handshake,
 * and only for exactly the settings that verified it.
 */
import { createHash, type X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { TlsSessions, TlsSettings } from "./connection.ts";
import type { Endpoint } from "./dns.ts";

const MAX_SERVERS = 64;
/** OpenSSL's servers send two with a full handshake, and many send none with a resumed one. */
const MAX_TICKETS = 2;

interface Kept {
  readonly sessions: Buffer[];
  /** Of the handshake that was verified: a resumed one shows none, and SCRAM-PLUS binds to it. */
  readonly certificate: X509Certificate | undefined;
}

export class TlsSessionStore {
  readonly #kept = new Map<string, Kept>();

  for(endpoint: Endpoint, settings: TlsSettings): TlsSessions {
    const key = keyOf(endpoint, settings);
    let used: Kept | undefined;
    return {
      resume: () => {
        used = this.#kept.get(key);
        // RFC 8446 §C.4: a ticket is used once, or an observer can link the connections.
        const session = used?.sessions.pop();
        return session === undefined ? {} : { session };
      },
      keep: (socket: TLSSocket) => {
        if (!socket.authorized) return undefined;
        const resumed = socket.isSessionReused() ? used : undefined;
        const certificate = resumed?.certificate ?? socket.getPeerX509Certificate();
        const kept = resumed ?? { sessions: [], certificate };
        this.#put(key, kept);
        const add = (session: Buffer | undefined) => {
          if (session === undefined) return;
          kept.sessions.push(session);
          if (kept.sessions.length > MAX_TICKETS) kept.sessions.shift();
        };
        // TLS 1.2 has its session now, TLS 1.3 sends tickets later.
        if (socket.getProtocol() === "TLSv1.3") socket.on("session", add);
        else add(socket.getSession());
        return certificate;
      },
    };
  }

  #put(key: string, kept: Kept): void {
    this.#kept.delete(key);
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined && this.#kept.size >= MAX_SERVERS) this.#kept.delete(oldest);
    this.#kept.set(key, kept);
  }
}

function keyOf(endpoint: Endpoint, settings: TlsSettings): string {
  const parts = [
    endpoint.host,
    endpoint.port,
    settings.servername,
    settings.ca,
    settings.cert,
    settings.key,
    settings.minVersion,
  ];
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64");
}
