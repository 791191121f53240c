/** What is kept of TLS sessions, and for whom, without a handshake: the sockets are in memory. */
import { EventEmitter } from "node:events";
import type { TLSSocket } from "node:tls";
import { describe, expect, it } from "vitest";
import { TlsSessionStore } from "../../lib/smtp/io/tls-sessions.ts";

const endpoint = (host: string) => ({ host, port: 465 });

interface Shape {
  readonly authorized?: boolean;
  readonly reused?: boolean;
  readonly protocol?: string;
  readonly session?: Buffer | undefined;
  readonly certificate?: object;
}

function socket({ authorized = true, reused = false, ...more }: Shape = {}): TLSSocket {
  return Object.assign(new EventEmitter(), {
    authorized,
    isSessionReused: () => reused,
    getProtocol: () => more.protocol ?? "TLSv1.3",
    getSession: () => more.session,
    getPeerX509Certificate: () => more.certificate,
  }) as unknown as TLSSocket;
}

const ticket = (name: string) => Buffer.from(name);
const given = (store: TlsSessionStore, host = "mx.test") => {
  const found = store.for(endpoint(host), {}).resume();
  return "session" in found ? found.session?.toString() : "none";
};

describe("a session", () => {
  it("is given once, the newest first, and no more than two are kept", () => {
    const store = new TlsSessionStore();
    expect(given(store)).toBe("none");
    const one = socket();
    store.for(endpoint("mx.test"), {}).keep(one);
    for (const name of ["a", "b", "c"]) one.emit("session", ticket(name));
    expect([given(store), given(store), given(store)]).toEqual(["c", "b", "none"]);
  });

  it("of TLS 1.2 is there at once, or not at all", () => {
    const store = new TlsSessionStore();
    store.for(endpoint("mx.test"), {}).keep(socket({ protocol: "TLSv1.2" }));
    expect(given(store)).toBe("none");
    const told = socket({ protocol: "TLSv1.2", session: ticket("a") });
    store.for(endpoint("mx.test"), {}).keep(told);
    told.emit("session", ticket("b"));
    expect([given(store), given(store)]).toEqual(["a", "none"]);
  });

  it("is kept of no handshake that was not verified", () => {
    const store = new TlsSessionStore();
    const forged = socket({ authorized: false, certificate: {} });
    expect(store.for(endpoint("mx.test"), {}).keep(forged)).toBeUndefined();
    forged.emit("session", ticket("a"));
    expect(given(store)).toBe("none");
  });

  it("that goes on rests on the certificate of its first handshake", () => {
    const store = new TlsSessionStore();
    const certificate = { of: "the first" };
    const first = socket({ certificate });
    expect(store.for(endpoint("mx.test"), {}).keep(first)).toBe(certificate);
    first.emit("session", ticket("a"));
    const again = store.for(endpoint("mx.test"), {});
    again.resume();
    const other = { of: "no handshake" };
    expect(again.keep(socket({ reused: true, certificate: other }))).toBe(certificate);
    const anew = store.for(endpoint("mx.test"), {});
    anew.resume();
    expect(anew.keep(socket({ certificate: other }))).toBe(other);
  });
});

describe("the store", () => {
  const fill = (store: TlsSessionStore, host: string) => {
    const one = socket();
    store.for(endpoint(host), {}).keep(one);
    one.emit("session", ticket(host));
  };

  it("holds 64 servers, and lets the one go that was used longest ago", () => {
    const store = new TlsSessionStore();
    for (let index = 0; index < 64; index += 1) fill(store, `${index}.test`);
    // Again: they are the newest now, and nobody has to go for them.
    fill(store, "5.test");
    fill(store, "0.test");
    fill(store, "64.test");
    expect(given(store, "1.test")).toBe("none");
    for (const index of [0, 2, 5, 63, 64]) expect(given(store, `${index}.test`)).not.toBe("none");
    fill(store, "65.test");
    expect(given(store, "2.test")).toBe("none");
  });
});
