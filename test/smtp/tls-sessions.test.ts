/**
 * TLS sessions of a warm relay. Node checks no name when a session resumes (RFC 8446 §4.2.11 leaves
 * that to the client), so what matters is as much where none is used as where one is.
 */
import { createHash, X509Certificate } from "node:crypto";
import type { AddressInfo } from "node:net";
import { createServer, type TLSSocket, type TlsOptions } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  type Authority,
  type Certificate,
  makeAuthority,
  makeCertificate,
} from "../../infra/local/certificate.ts";
import type { TlsSettings } from "../../lib/smtp/io/connection.ts";
import { Relay, type RelayTarget } from "../../lib/smtp/io/relay.ts";

const HOST = "127.0.0.1";
const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const;

let authority: Authority;
let good: Certificate;
let other: Certificate;
const releases: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  authority = await makeAuthority();
  good = await makeCertificate({ ca: authority, names: ["mail.test", "mx.test"] });
  other = await makeCertificate({ names: ["mail.test"] });
});

afterEach(async () => {
  for (const release of releases.splice(0)) await release();
});

interface Seen {
  readonly reused: boolean;
  readonly version: string | null;
  readonly lines: string[];
}

async function start(options: TlsOptions = {}) {
  const seen: Seen[] = [];
  const channels: TLSSocket[] = [];
  const server = createServer({ cert: good.cert, key: good.key, ...options }, (socket) => {
    const lines: string[] = [];
    seen.push({ reused: socket.isSessionReused(), version: socket.getProtocol(), lines });
    channels.push(socket);
    socket.on("error", () => {});
    socket.write("220 mail.test ESMTP\r\n");
    socket.on("data", (chunk) => {
      for (const line of chunk.toString().split("\r\n").slice(0, -1)) {
        lines.push(line);
        socket.write(line === "QUIT" ? "221 bye\r\n" : "250 mail.test\r\n");
      }
    });
  });
  server.on("tlsClientError", (_, socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  releases.push(() => {
    for (const channel of channels) channel.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return { port: (server.address() as AddressInfo).port, seen, server };
}

function target(port: number, tls: TlsSettings, host = HOST): RelayTarget {
  return {
    endpoints: [{ host, port, security: "implicit" }],
    tls,
    secrets: [],
    ehloName: "client.test",
    allowPlaintextAuth: false,
    chunking: "off",
  };
}

const lookup = async () => [{ address: HOST, family: 4 }];
/** A session that logs in, where there is a login, and leaves. */
const visit = (relay: Relay, to: RelayTarget) => relay.send(to, [], { timeLeft: 8000 });
const trusting = (more: TlsSettings = {}): TlsSettings => ({ ca: authority.cert, ...more });

describe.each(VERSIONS)("%s", (version) => {
  const only = { minVersion: version, maxVersion: version } as const;

  it("resumes on a warm relay, again and again, and never on a cold one", async () => {
    const { port, seen } = await start(only);
    const warm = new Relay();
    for (let i = 0; i < 5; i += 1) {
      expect((await visit(warm, target(port, trusting()))).report.error).toBeUndefined();
    }
    await visit(new Relay(), target(port, trusting()));
    // This server sends two tickets of TLS 1.3 with a full handshake and none with a resumed one;
    // each is used once (RFC 8446 §C.4).
    const third = version === "TLSv1.2";
    expect(seen.map(({ reused }) => reused)).toEqual([false, true, true, third, true, false]);
    expect(seen.every((each) => each.version === version)).toBe(true);
  });

  it("counts its round trips: a full handshake of TLS 1.2 costs two, any other one", async () => {
    const { port } = await start(only);
    const warm = new Relay();
    const first = await visit(warm, target(port, trusting()));
    const second = await visit(warm, target(port, trusting()));
    // TCP, TLS, greeting, EHLO; QUIT is not counted.
    expect(first.timing.roundTrips).toBe(version === "TLSv1.2" ? 5 : 4);
    expect(second.timing.roundTrips).toBe(4);
  });

  it("binds a resumed channel to the same certificate", async () => {
    const { port, seen } = await start(only);
    const warm = new Relay();
    await visit(warm, target(port, trusting()));
    const { report } = await visit(warm, target(port, trusting()));
    expect(seen[1]?.reused).toBe(true);
    const endPoint = report.channel?.bindings.find(({ type }) => type === "tls-server-end-point");
    const wanted = createHash("sha256").update(new X509Certificate(good.cert).raw).digest();
    expect(Buffer.from(endPoint?.data ?? [])).toEqual(wanted);
  });

  it.each<[string, () => Promise<[first: TlsSettings, second: TlsSettings]>]>([
    ["authority", async () => [trusting(), { ca: `${other.ca}\n${authority.cert}` }]],
    ["servername", async () => [trusting(), trusting({ servername: "mx.test" })]],
    [
      "client certificate",
      async () => [trusting(), trusting({ cert: other.cert, key: other.key })],
    ],
    [
      "minimum version",
      async () => [trusting({ minVersion: "TLSv1.2" }), trusting({ minVersion: version })],
    ],
  ])("is not shared by mailboxes of another %s", async (what, make) => {
    const [first, second] = await make();
    const same = JSON.stringify(first) === JSON.stringify(second);
    const { port, seen } = await start(only);
    const warm = new Relay({ lookup });
    for (const tls of [first, second, first, second]) {
      const { report } = await visit(warm, target(port, tls, "mail.test"));
      expect(report.error, what).toBeUndefined();
    }
    expect(seen.map(({ reused }) => reused)).toEqual([false, same, true, true]);
  });

  it("is not shared by names or ports", async () => {
    // The same ticket keys, as servers of one farm have them: either would take the other's session.
    const ticketKeys = Buffer.alloc(48, 7);
    const [one, two] = await Promise.all([
      start({ ...only, ticketKeys }),
      start({ ...only, ticketKeys }),
    ]);
    const warm = new Relay({ lookup });
    await visit(warm, target(one.port, trusting(), "mail.test"));
    await visit(warm, target(one.port, trusting(), "mx.test"));
    await visit(warm, target(two.port, trusting(), "mail.test"));
    expect([...one.seen, ...two.seen].map(({ reused }) => reused)).toEqual([false, false, false]);
  });

  it("lets no mailbox with another authority in, whoever was there before", async () => {
    const { port, seen } = await start(only);
    const warm = new Relay();
    await visit(warm, target(port, trusting()));
    for (const tls of [{ ca: other.ca }, {}, trusting({ servername: "wrong.test" })]) {
      const { report } = await visit(warm, target(port, tls));
      expect(report.error?.code).toBe("certificate_invalid");
    }
    expect(seen.flatMap(({ lines }) => lines)).toEqual(["EHLO client.test", "QUIT"]);
  });

  it("keeps nothing from a handshake that was not verified", async () => {
    const { port, seen } = await start({ ...only, cert: other.cert, key: other.key });
    const warm = new Relay();
    for (let i = 0; i < 3; i += 1) {
      const { report } = await visit(warm, target(port, trusting()));
      expect(report.error?.code).toBe("certificate_invalid");
    }
    expect(seen.some(({ reused }) => reused)).toBe(false);
    expect(seen.flatMap(({ lines }) => lines)).toEqual([]);
  });

  it("sees a server's new, wrong certificate once its old tickets are gone", async () => {
    const { port, seen, server } = await start({ ...only, ticketKeys: Buffer.alloc(48, 1) });
    const warm = new Relay();
    await visit(warm, target(port, trusting()));
    server.setSecureContext({ cert: other.cert, key: other.key });
    server.setTicketKeys(Buffer.alloc(48, 2));
    const { report } = await visit(warm, target(port, trusting()));
    expect(report.error?.code).toBe("certificate_invalid");
    server.setSecureContext({ cert: good.cert, key: good.key });
    expect((await visit(warm, target(port, trusting()))).report.error).toBeUndefined();
    expect(seen.flatMap(({ lines }) => lines)).toHaveLength(4);
  });
});

it("bounds what it keeps, and lets the oldest go first", async () => {
  const { port, seen } = await start();
  const warm = new Relay({ lookup });
  // The name in the mailbox differs, the name in the certificate does not.
  const to = (i: number) => target(port, trusting({ servername: "mail.test" }), `host-${i}.test`);
  for (let i = 0; i < 66; i += 1) await visit(warm, to(i));
  await visit(warm, to(65));
  await visit(warm, to(10));
  await visit(warm, to(0));
  expect(seen.slice(-3).map(({ reused }) => reused)).toEqual([true, true, false]);
});
