/**
 * TLS sessions of a warm instance. Node checks neither chain nor name when a session resumes and
 * announces sessions before it has verified anything, so one is kept only from a verified handshake,
 * and only for exactly the settings that verified it.
 */
import { createHash } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { TlsSessions, TlsSettings } from "./connection.ts";
import type { Endpoint } from "./dns.ts";

const MAX_KEPT = 64;

export class TlsSessionStore {
  readonly #kept = new Map<string, Buffer>();

  for(endpoint: Endpoint, settings: TlsSettings): TlsSessions {
    const key = keyOf(endpoint, settings);
    return {
      resume: () => {
        const session = this.#kept.get(key);
        // RFC 8446 §C.4: a ticket is used once, or an observer can link the connections.
        this.#kept.delete(key);
        return session === undefined ? {} : { session };
      },
      keep: (socket: TLSSocket) => {
        const keep = (session: Buffer | undefined) => {
          if (session === undefined || !socket.authorized) return;
          // The newest is the likeliest to be of use; the oldest goes.
          this.#kept.delete(key);
          const [oldest] = this.#kept.keys();
          if (oldest !== undefined && this.#kept.size >= MAX_KEPT) this.#kept.delete(oldest);
          this.#kept.set(key, session);
        };
        // TLS 1.2 has its session now, TLS 1.3 sends tickets later.
        if (socket.getProtocol() !== "TLSv1.3") keep(socket.getSession());
        socket.on("session", keep);
      },
    };
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
