/**
 * Connecting over real sockets: which relay is asked, what a certificate must say, how long anything
 * may last, and that nothing outlives a send. Every send here is also checked for what it leaves
 * behind: sockets and timers.
 */
import { execFile } from "node:child_process";
import { createHash, X509Certificate as NodeCertificate } from "node:crypto";
import { type AddressInfo, createServer, type Server, Socket } from "node:net";
import {
  createSecureContext,
  createServer as createTlsServer,
  TLSSocket,
  type TlsOptions,
  connect as tlsConnect,
} from "node:tls";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { PemConverter, X509CertificateGenerator } from "@peculiar/x509";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type Authority,
  type Certificate,
  makeAuthority,
  makeCertificate,
} from "../../infra/local/certificate.ts";
import type { Submission } from "../../lib/smtp/envelope.ts";
import { bindingsOf } from "../../lib/smtp/io/binding.ts";
import type { TlsSettings } from "../../lib/smtp/io/connection.ts";
import type { Lookup } from "../../lib/smtp/io/dns.ts";
import {
  Relay,
  type RelayEndpoint,
  type RelayTarget,
  type SendOptions,
  type Sent,
} from "../../lib/smtp/io/relay.ts";
import { dialled } from "../support/dialled.ts";

const PASSWORD = "correct horse battery staple";
const HOST = "127.0.0.1";
const PIECE = 64 * 1024;

let authority: Authority;
let good: Certificate;

beforeAll(async () => {
  authority = await makeAuthority();
  good = await makeCertificate({ ca: authority, names: ["localhost", "mail.test"] });
});

// ---------------------------------------------------------------------------------- the server

type Act = (socket: Socket) => void;
type Answer = string | Act;

const hang: Act = () => {};
const close: Act = (socket) => socket.destroy();
const reset: Act = (socket) => {
  const { _parent: bare } = socket as Socket & { _parent?: Socket };
  // A little later, or the client finds the connection refused and not broken.
  setTimeout(() => (bare ?? socket).resetAndDestroy(), 20);
};
/** FIN without an answer; what the client says after it is still read. */
const halfClose: Act = (socket) => socket.end();
/** One octet every few milliseconds, and never a whole line. */
const trickle: Act = (socket) => {
  const timer = setInterval(() => socket.write("2"), 5);
  socket.once("close", () => clearInterval(timer));
};

interface Options {
  readonly security?: "implicit" | "starttls" | "none";
  readonly tls?: TlsOptions;
  readonly host?: string;
  readonly port?: number;
  /** Before anything else, on the bare connection. */
  readonly onConnect?: Act;
  readonly ehlo?: readonly string[];
  /** By verb; `greeting` and `content` too. */
  readonly on?: Readonly<Record<string, Answer>>;
}

interface Mail {
  readonly port: number;
  readonly seen: string[];
  /** Octets that came outside TLS. */
  plain(): Buffer;
  /** Octets that came inside TLS. */
  secured(): Buffer;
  readonly channels: TLSSocket[];
  connections(): number;
  open(): number;
  endpoint(): RelayEndpoint;
}

const releases: (() => Promise<unknown> | unknown)[] = [];

async function start(options: Options = {}): Promise<Mail> {
  const { security = "none", on = {} } = options;
  const seen: string[] = [];
  const channels: TLSSocket[] = [];
  const sockets = new Set<Socket>();
  let plain = Buffer.alloc(0);
  let secured = Buffer.alloc(0);
  let connections = 0;
  const settings: TlsOptions = { cert: good.cert, key: good.key, ...options.tls };

  const talk = (socket: Socket) => {
    const inTls = socket instanceof TLSSocket;
    let text = "";
    let content = false;
    let over = false;
    const say = (verb: string, standard: string) => {
      const told = on[verb] ?? standard;
      if (typeof told === "function") {
        // Whatever it does, it does instead of answering, now and later.
        over = true;
        told(socket);
      } else socket.write(`${told}\r\n`);
      return told;
    };
    const onData = (chunk: Buffer) => {
      if (inTls) secured = Buffer.concat([secured, chunk]);
      else plain = Buffer.concat([plain, chunk]);
      text += chunk.toString("latin1");
      while (!over) {
        const mark = content ? "\r\n.\r\n" : "\r\n";
        const end = text.indexOf(mark);
        if (end < 0) return;
        const line = text.slice(0, end);
        text = text.slice(end + mark.length);
        if (content) {
          content = false;
          seen.push("content");
          say("content", "250 2.0.0 Ok: queued as ABC123");
          continue;
        }
        seen.push(line);
        const verb = line.split(" ")[0] ?? "";
        const offered = [
          ...(options.ehlo ?? ["PIPELINING", "AUTH PLAIN"]),
          ...(security === "starttls" && !inTls && !options.ehlo ? ["STARTTLS"] : []),
        ];
        const standard: Record<string, string> = {
          EHLO: ["mail.test", ...offered]
            .map((word, i) => `250${i === offered.length ? " " : "-"}${word}`)
            .join("\r\n"),
          STARTTLS: "220 2.0.0 ready",
          AUTH: "235 2.7.0 ok",
          DATA: "354 go on",
          QUIT: "221 bye",
        };
        const told = say(verb, standard[verb] ?? "250 2.1.0 ok");
        if (verb === "DATA" && told === "354 go on") content = true;
        if (verb === "STARTTLS" && typeof told === "string" && told.startsWith("220")) {
          socket.off("data", onData);
          const upgraded = new TLSSocket(socket, {
            isServer: true,
            secureContext: createSecureContext(settings),
            ...settings,
          });
          upgraded.on("error", () => {});
          upgraded.on("end", () => upgraded.destroy());
          channels.push(upgraded);
          talk(upgraded);
          return;
        }
      }
    };
    socket.on("data", onData);
    if (!inTls || security === "implicit") say("greeting", "220 mail.test ESMTP");
  };

  const track = (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    // It may close its own half and listen on; once the client is gone, it goes too.
    socket.on("end", () => socket.destroy());
    if (options.onConnect) socket.resume();
    options.onConnect?.(socket);
  };
  let server: Server;
  if (security === "implicit" && !options.onConnect) {
    server = createTlsServer(settings);
    server.on("connection", track);
    server.on("tlsClientError", (_, socket) => socket.destroy());
    server.on("secureConnection", (socket: TLSSocket) => {
      socket.on("error", () => {});
      socket.on("end", () => socket.destroy());
      channels.push(socket);
      talk(socket);
    });
  } else {
    server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      track(socket);
      if (!options.onConnect) talk(socket);
    });
  }
  await new Promise<void>((resolve) =>
    server.listen(options.port ?? 0, options.host ?? HOST, resolve),
  );
  const { port } = server.address() as AddressInfo;
  releases.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return {
    port,
    seen,
    channels,
    plain: () => plain,
    secured: () => secured,
    connections: () => connections,
    open: () => sockets.size,
    endpoint: () => ({ host: HOST, port, security }),
  };
}

/** A port that takes no connection and refuses none: SYNs are dropped, since the queue is full. */
async function blackHole(host = HOST): Promise<{ port: number; release: () => void }> {
  const shared = new SharedArrayBuffer(4);
  const worker = new Worker(
    `const { workerData, parentPort } = require("node:worker_threads");
     const server = require("node:net").createServer((s) => {
       s.on("error", () => {});
       s.end("554 5.3.2 late\\r\\n");
     });
     server.listen({ port: 0, host: workerData.host, backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       setTimeout(() => Atomics.wait(new Int32Array(workerData.shared), 0, 0), 20);
     });`,
    { eval: true, workerData: { shared, host } },
  );
  const port = await new Promise<number>((resolve) => worker.once("message", resolve));
  await new Promise((resolve) => setTimeout(resolve, 100));
  const fillers = Array.from({ length: 4 }, () => {
    const socket = new Socket();
    socket.on("error", () => {});
    plainConnect.call(socket, { port, host });
    return socket;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  releases.push(async () => {
    for (const filler of fillers) filler.destroy();
    await worker.terminate();
  });
  return {
    port,
    release: () => {
      Atomics.store(new Int32Array(shared), 0, 1);
      Atomics.notify(new Int32Array(shared), 0);
    },
  };
}

/** A port that nobody listens on. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// ---------------------------------------------------------------------------------- the client

const plainConnect = Socket.prototype.connect as (this: Socket, options: object) => Socket;
const plainTimeout = globalThis.setTimeout;
let sockets: readonly Socket[] = [];
let timers: NodeJS.Timeout[] = [];

beforeEach(() => {
  timers = [];
  vi.spyOn(globalThis, "setTimeout").mockImplementation(((act: () => void, wait?: number) => {
    const timer = plainTimeout(act, wait);
    if (new Error("where").stack?.includes("/lib/smtp/io/")) timers.push(timer);
    return timer;
  }) as typeof setTimeout);
  sockets = dialled();
});

afterEach(async () => {
  vi.restoreAllMocks();
  for (const release of releases.splice(0)) await release();
});

function mail(text = "Subject: hello\r\n\r\nhello\r\n"): Submission {
  const octets = Buffer.from(text);
  const pieces = Array.from({ length: Math.ceil(octets.length / PIECE) }, (_, i) =>
    octets.subarray(i * PIECE, (i + 1) * PIECE),
  );
  return {
    from: "shop@example.test",
    recipients: ["a@example.test"],
    content: { size: octets.length, eightBit: false, utf8Header: false, open: () => pieces },
    partial: "accept",
    smtputf8: false,
  };
}

function targetOf(
  endpoints: readonly RelayEndpoint[],
  tls: TlsSettings = { ca: authority.cert },
  more: Partial<RelayTarget> = {},
): RelayTarget {
  return {
    endpoints,
    tls,
    secrets: [PASSWORD],
    ehloName: "client.test",
    credentials: { username: "shop", password: PASSWORD },
    allowPlaintextAuth: true,
    chunking: "off",
    ...more,
  };
}

/** Timers that the client started and neither cleared nor let go off. */
const running = () =>
  timers.filter((timer) => !(timer as unknown as { _destroyed: boolean })._destroyed);

/** Sends, and sees to it that nothing is left: no socket, no timer. */
async function send(
  target: RelayTarget,
  options: Partial<SendOptions> & { relay?: Relay; message?: Submission } = {},
): Promise<Sent> {
  const { relay = new Relay(), message = mail(), ...given } = options;
  const sent = await relay.send(target, [message], { timeLeft: 8000, ...given });
  expect(sockets.filter((socket) => !socket.destroyed)).toEqual([]);
  expect(running()).toEqual([]);
  const shown = JSON.stringify([sent.transcript, sent.report.error?.message ?? ""]);
  expect(shown).not.toContain(PASSWORD);
  return sent;
}

const fate = (sent: Sent) => sent.report.messages[0]?.recipients[0]?.fate;
const notes = (sent: Sent) =>
  sent.transcript.filter(({ text }) => text.startsWith("[")).map(({ text }) => text);

async function gone(server: Mail): Promise<void> {
  await vi.waitFor(() => expect(server.open()).toBe(0), { timeout: 5000, interval: 5 });
}

/** Starts a server, asks it alone, and waits until it has lost its client. */
async function ask(
  options: Options,
  tls?: TlsSettings,
  more: Partial<SendOptions> = {},
): Promise<Sent & { server: Mail }> {
  const server = await start(options);
  const sent = await send(targetOf([server.endpoint()], tls), more);
  await gone(server);
  return { ...sent, server };
}

// ------------------------------------------------------------------------------------ failover

describe("several relays", () => {
  const faults: readonly [string, string, () => Promise<RelayEndpoint>][] = [
    [
      "refuses the connection",
      "connect_failed",
      async () => ({ host: HOST, port: await closedPort(), security: "none" }),
    ],
    [
      "has no address",
      "dns_failed",
      async () => ({ host: "nowhere.invalid", port: 25, security: "none" }),
    ],
    [
      "drops every packet",
      "timeout",
      async () => ({ host: HOST, port: (await blackHole()).port, security: "none" }),
    ],
    ["never greets", "timeout", async () => (await start({ on: { greeting: hang } })).endpoint()],
    [
      "never shakes hands",
      "timeout",
      async () => (await start({ security: "implicit", onConnect: hang })).endpoint(),
    ],
    [
      "has a certificate of an unknown authority",
      "certificate_invalid",
      async () => {
        const { cert, key } = await makeCertificate();
        return (await start({ security: "implicit", tls: { cert, key } })).endpoint();
      },
    ],
    [
      "speaks plain text on a TLS port",
      "tls_failed",
      async () => ({ ...(await start()).endpoint(), security: "implicit" }),
    ],
    [
      "greets with 421",
      "greeting_refused",
      async () => (await start({ on: { greeting: "421 4.3.2 later" } })).endpoint(),
    ],
    [
      "greets with 554",
      "greeting_refused",
      async () => (await start({ on: { greeting: "554 5.7.1 no" } })).endpoint(),
    ],
    [
      "closes instead of a greeting",
      "connection_lost",
      async () => (await start({ on: { greeting: close } })).endpoint(),
    ],
    [
      "greets in another protocol",
      "protocol_error",
      async () => (await start({ on: { greeting: "+OK POP3" } })).endpoint(),
    ],
    [
      "answers EHLO with 421",
      "ehlo_refused",
      async () => (await start({ on: { EHLO: "421 4.3.2 later" } })).endpoint(),
    ],
    ["never answers EHLO", "timeout", async () => (await start({ on: { EHLO: hang } })).endpoint()],
    [
      "does not offer STARTTLS",
      "starttls_unavailable",
      async () => (await start({ security: "starttls", ehlo: ["PIPELINING"] })).endpoint(),
    ],
    [
      "has no TLS just now",
      "starttls_refused",
      async () =>
        (await start({ security: "starttls", on: { STARTTLS: "454 4.7.0 not now" } })).endpoint(),
    ],
  ];

  it.each(faults)("goes on where one %s (%s)", async (_, code, fault) => {
    const bad = await fault();
    const second = await start();
    // Only a silent relay uses its share of the time up.
    const timeLeft = code === "timeout" ? 1200 : 8000;
    const lookup: Lookup = async () => {
      throw Object.assign(new Error("no"), { code: "ENOTFOUND", syscall: "getaddrinfo" });
    };
    const sent = await send(targetOf([bad, second.endpoint()]), {
      timeLeft,
      relay: new Relay({ lookup }),
    });
    expect(fate(sent)?.is).toBe("taken");
    expect(sent.endpoint.port).toBe(second.port);
    expect(notes(sent)[0]).toContain(`[${bad.host}:${bad.port}: `);
    expect(notes(sent)[0]).toMatch(/Next relay\.\]$/);

    const alone = await send(targetOf([bad]), { timeLeft: 300, relay: new Relay({ lookup }) });
    expect(alone.report.error?.code).toBe(code);
    expect(fate(alone)).toMatchObject({ is: "unsent", error: { code } });
  });

  it.each<[string, Record<string, Answer>, readonly string[] | undefined]>([
    ["535 to AUTH", { AUTH: "535 5.7.8 no" }, undefined],
    ["454 to AUTH", { AUTH: "454 4.7.0 later" }, undefined],
    ["AUTH closed", { AUTH: close }, undefined],
    ["AUTH reset", { AUTH: reset }, ["AUTH PLAIN"]],
    ["AUTH unanswered", { AUTH: hang }, ["AUTH PLAIN"]],
    ["no mechanism in common", {}, ["AUTH GSSAPI"]],
    ["421 to MAIL", { MAIL: "421 4.3.2 later" }, ["AUTH PLAIN"]],
    ["MAIL closed", { MAIL: close }, ["AUTH PLAIN"]],
    ["RCPT deferred", { RCPT: "451 4.3.0 later", DATA: "503 no" }, undefined],
    ["DATA closed", { DATA: close }, ["AUTH PLAIN"]],
    ["content closed", { content: close }, undefined],
    ["421 to content", { content: "421 4.3.2 later" }, undefined],
  ])("asks no other one after %s", async (_, on, ehlo) => {
    const first = await start({ on, ...(ehlo && { ehlo }) });
    const second = await start();
    const sent = await send(targetOf([first.endpoint(), second.endpoint()]), { timeLeft: 1500 });
    expect(fate(sent)?.is).not.toBe("taken");
    expect(second.connections()).toBe(0);
    expect(sent.endpoint.port).toBe(first.port);
  });

  it("asks no other one once aborted", async () => {
    const first = await start({ on: { greeting: hang } });
    const second = await start();
    const sent = await send(targetOf([first.endpoint(), second.endpoint()]), {
      signal: AbortSignal.timeout(100),
    });
    expect(sent.report.error?.code).toBe("aborted");
    expect(second.connections()).toBe(0);
  });

  it("tells of each where all fail, and ends with the last one's error", async () => {
    const one = await start({ on: { greeting: "421 4.3.2 busy" } });
    const two = await closedPort();
    const three = await start({ on: { greeting: "554 5.3.2 shut" } });
    const sent = await send(
      targetOf([one.endpoint(), { host: HOST, port: two, security: "none" }, three.endpoint()]),
    );
    expect(sent.report.error).toMatchObject({ code: "greeting_refused", reply: { code: 554 } });
    expect(notes(sent).map((text) => text.split(": ")[0])).toEqual(
      [one.port, two, three.port].map((port) => `[${HOST}:${port}`),
    );
    expect(notes(sent)[2]).not.toContain("Next relay");
  });

  it("shares the time fairly: two silent relays leave the third its part", async () => {
    const silent = await Promise.all([
      start({ on: { greeting: hang } }),
      start({ on: { EHLO: trickle } }),
    ]);
    const third = await start();
    const begun = performance.now();
    const sent = await send(
      targetOf([...silent.map((server) => server.endpoint()), third.endpoint()]),
      { timeLeft: 2400 },
    );
    expect(fate(sent)?.is).toBe("taken");
    expect(performance.now() - begun).toBeLessThan(2400);
    expect(notes(sent)[0]).toContain("this relay's share of the time");
    expect(sent.timing.totalMs).toBeGreaterThan(1500);
    for (const server of silent) await gone(server);
  });

  it("counts the time of a relay that never answered after one that did", async () => {
    const first = await start({ on: { greeting: "421 4.3.2 busy" } });
    const { port } = await blackHole();
    const sent = await send(targetOf([first.endpoint(), { host: HOST, port, security: "none" }]), {
      timeLeft: 600,
    });
    expect(sent.report.error?.code).toBe("timeout");
    expect(sent.timing.totalMs).toBeGreaterThan(500);
  });
});

// --------------------------------------------------------------------------------------- names

describe("names", () => {
  const local = (address: string) => ({ address, family: address.includes(":") ? 6 : 4 });

  it("goes on at once where the first address refuses (RFC 8305)", async () => {
    const server = await start();
    const relay = new Relay({ lookup: async () => [local("::1"), local(HOST)] });
    const endpoint = { host: "mail.test", port: server.port, security: "none" } as const;
    expect(fate(await send(targetOf([endpoint]), { relay }))?.is).toBe("taken");
  });

  it("does not wait for a first address that stays silent", async () => {
    const { port } = await blackHole("127.0.0.2");
    await start({ port });
    const relay = new Relay({ lookup: async () => [local("127.0.0.2"), local(HOST)] });
    const endpoint = { host: "mail.test", port, security: "none" } as const;
    const begun = performance.now();
    expect(fate(await send(targetOf([endpoint]), { relay }))?.is).toBe("taken");
    expect(performance.now() - begun).toBeLessThan(5000);
    expect(sockets).toHaveLength(2);
  });

  it("does not give a slow address up because the other one is dead", async () => {
    const hole = await blackHole("127.0.0.2");
    const relay = new Relay({ lookup: async () => [local("127.0.0.2"), local("::1")] });
    setTimeout(hole.release, 600);
    const endpoint = { host: "mail.test", port: hole.port, security: "none" } as const;
    const sent = await send(targetOf([endpoint]), { relay });
    expect(sent.report.error).toMatchObject({ code: "greeting_refused", reply: { code: 554 } });
  });

  it("lets the families take turns, the resolver's choice first", async () => {
    const port = await closedPort();
    const found = ["::1", "127.0.0.2", "127.0.0.3", "127.0.0.4"].map(local);
    const sent = await send(targetOf([{ host: "mail.test", port, security: "none" }]), {
      relay: new Relay({ lookup: async () => [found[0], found[1], found[2], found[3]] as never }),
    });
    const asked = vi.mocked(Socket.prototype.connect).mock.calls as unknown as [{ host: string }][];
    const tried = asked.map(([{ host }]) => host);
    expect(tried).toEqual(["::1", "127.0.0.2", "127.0.0.3", "127.0.0.4"]);
    expect(sent.report.error?.code).toBe("connect_failed");
    expect(sent.report.error?.message).toContain("ECONNREFUSED");
  });

  it("are looked up once, and again once their short life is over", async () => {
    const server = await start();
    const lookup = vi.fn(async () => [local(HOST)]);
    const target = targetOf([{ host: "mail.test", port: server.port, security: "none" }]);
    const warm = new Relay({ lookup });
    for (let i = 0; i < 3; i += 1)
      expect(fate(await send(target, { relay: warm }))?.is).toBe("taken");
    expect(lookup).toHaveBeenCalledTimes(1);

    const brief = new Relay({ lookup, addressLife: 0 });
    for (let i = 0; i < 3; i += 1) await send(target, { relay: brief });
    expect(lookup).toHaveBeenCalledTimes(4);
  });

  it("are looked up again after a failure, and after no address answered", async () => {
    const server = await start();
    const answers: (() => ReturnType<Lookup>)[] = [
      async () => {
        throw Object.assign(new Error("try again"), { code: "EAI_AGAIN" });
      },
      async () => [],
      async () => [local("127.0.0.9")],
      async () => [local(HOST)],
    ];
    const relay = new Relay({ lookup: () => (answers.shift() as () => ReturnType<Lookup>)() });
    const target = targetOf([{ host: "mail.test", port: server.port, security: "none" }]);
    const codes: (string | undefined)[] = [];
    for (let i = 0; i < 4; i += 1) codes.push((await send(target, { relay })).report.error?.code);
    expect(codes).toEqual(["dns_failed", "dns_failed", "connect_failed", undefined]);
  });

  it("that are IP addresses are never looked up", async () => {
    const server = await start();
    const lookup = vi.fn(async () => []);
    await send(targetOf([server.endpoint()]), { relay: new Relay({ lookup }) });
    expect(lookup).not.toHaveBeenCalled();
  });

  it("may hang, and the send does not", async () => {
    const relay = new Relay({ lookup: () => new Promise(() => {}) });
    const target = targetOf([{ host: "mail.test", port: 25, security: "none" }]);
    expect((await send(target, { relay, timeLeft: 200 })).report.error?.code).toBe("timeout");
  });

  it("are told as they are by the system's resolver", async () => {
    const server = await start({ security: "implicit" });
    const target = targetOf([{ host: "localhost", port: server.port, security: "implicit" }]);
    expect(fate(await send(target))?.is).toBe("taken");
  });
});

// -------------------------------------------------------------------------------- certificates

const securities = ["implicit", "starttls"] as const;

describe.each(securities)("certificates (%s)", (security) => {
  const expectUntouched = (server: Mail) => {
    // Not one octet inside TLS, and outside it only what a STARTTLS session must say.
    expect(server.secured()).toHaveLength(0);
    expect(server.plain().toString("latin1")).toMatch(/^(EHLO client\.test\r\nSTARTTLS\r\n)?$/);
  };

  it("of a private authority are accepted, by IP address as by name", async () => {
    const server = await start({ security });
    const byAddress = await send(targetOf([server.endpoint()]));
    expect(fate(byAddress)?.is).toBe("taken");
    expect(server.channels[0]?.servername).toBeFalsy();
    const byName = targetOf([server.endpoint()], { ca: authority.cert, servername: "mail.test" });
    expect(fate(await send(byName))?.is).toBe("taken");
    expect(server.channels[1]?.servername).toBe("mail.test");
  });

  it.each<[string, () => Promise<Certificate>, TlsSettings | undefined]>([
    ["of an unknown authority", () => makeCertificate(), undefined],
    ["of a private authority nobody named", async () => good, {}],
    ["self-signed", () => makeCertificate({ selfSigned: true }), undefined],
    ["expired", () => makeCertificate({ ca: authority, expired: true }), undefined],
    [
      "without this IP address",
      () => makeCertificate({ ca: authority, ips: ["127.0.0.8"], names: ["localhost"] }),
      undefined,
    ],
    [
      "with the address as a DNS name only",
      () => makeCertificate({ ca: authority, ips: [], names: ["127.0.0.1"] }),
      undefined,
    ],
    ["of another name", async () => good, { servername: "other.test" }],
  ])("%s are refused before a word is said", async (_, make, settings) => {
    const { cert, key } = await make();
    const tls = { ca: authority.cert, ...settings };
    if (settings && !("servername" in settings)) delete (tls as { ca?: string }).ca;
    const { report, server } = await ask({ security, tls: { cert, key } }, tls);
    expect(report.error).toMatchObject({ code: "certificate_invalid", phase: "tls" });
    expect(report.error?.message).toContain(HOST);
    expectUntouched(server);
  });

  it("bind a server that speaks only old TLS to nothing at all", async () => {
    const old: TlsOptions = {
      minVersion: "TLSv1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    };
    const { report, server } = await ask({ security, tls: old });
    expect(report.error).toMatchObject({ code: "tls_version", phase: "tls" });
    expect(report.error?.message).toContain("tls.minVersion");
    expectUntouched(server);
    if (security === "starttls") return;
    // The server does speak: with a client that permits it.
    const able = await start({ security, tls: old });
    const socket = tlsConnect({
      ...{ port: able.port, host: HOST, ca: authority.cert },
      ...{ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" },
    });
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve).once("error", reject);
    });
    expect(socket.getProtocol()).toBe("TLSv1.1");
    socket.destroy();
  });

  it("count from the version on that the mailbox names", async () => {
    const tls = { ca: authority.cert, minVersion: "TLSv1.3" } as const;
    const refused = await ask({ security, tls: { maxVersion: "TLSv1.2" } }, tls);
    expect(refused.report.error).toMatchObject({ code: "tls_version", phase: "tls" });
    expectUntouched(refused.server);
    const taken = await ask({ security }, tls);
    expect(taken.tls?.protocol).toBe("TLSv1.3");
    const older = await ask({ security, tls: { maxVersion: "TLSv1.2" } });
    expect(older.tls?.protocol).toBe("TLSv1.2");
  });
});

it("NODE_TLS_REJECT_UNAUTHORIZED=0 changes nothing", async () => {
  const { cert, key } = await makeCertificate({ selfSigned: true });
  const server = await start({ security: "implicit", tls: { cert, key } });
  const relay = fileURLToPath(new URL("../../lib/smtp/io/relay.ts", import.meta.url));
  const target = {
    ...targetOf([server.endpoint()], {}),
    credentials: { username: "u", password: "p" },
  };
  const script = `
    const { Relay } = await import(${JSON.stringify(relay)});
    const octets = Buffer.from("Subject: x\\r\\n\\r\\n");
    const sent = await new Relay().send(${JSON.stringify(target)}, [{
      from: "a@b.test", recipients: ["c@d.test"], partial: "accept", smtputf8: false,
      content: { size: octets.length, eightBit: false, utf8Header: false, open: () => [octets] },
    }], { timeLeft: 5000 });
    console.log(sent.report.error?.code);
    // Without our explicit setting this environment does let such a server pass.
    const socket = (await import("node:tls")).connect(${server.port}, "127.0.0.1");
    socket.once("secureConnect", () => { console.log("open"); socket.destroy(); });
    socket.once("error", (error) => console.log(error.code));`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--input-type=module", "--no-warnings", "-e", script],
    { env: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: "0" } },
  );
  expect(stdout.trim().split("\n")).toEqual(["certificate_invalid", "open"]);
  expect(server.secured()).toHaveLength(0);
});

// ------------------------------------------------------------------------- client certificates

interface Issued {
  readonly cert: string;
  readonly key: string;
}

const P256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

/** A certificate without extensions, so that it serves as any end's. */
async function issue(
  name: string,
  signing: object,
  keyed: object,
  ca?: Authority,
): Promise<Issued> {
  const keys = await crypto.subtle.generateKey(
    keyed as { name: string; namedCurve: string },
    true,
    ["sign", "verify"],
  );
  const shared = {
    serialNumber: "01ab",
    notBefore: new Date(Date.now() - 86_400_000),
    notAfter: new Date(Date.now() + 86_400_000),
    signingAlgorithm: signing as { name: string; hash: string },
  };
  const made = ca
    ? await X509CertificateGenerator.create({
        ...shared,
        subject: `CN=${name}`,
        issuer: `CN=${ca.name}`,
        publicKey: keys.publicKey,
        signingKey: ca.keys.privateKey,
      })
    : await X509CertificateGenerator.createSelfSigned({ ...shared, name: `CN=${name}`, keys });
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { cert: made.toString("pem"), key: PemConverter.encode(pkcs8, "PRIVATE KEY") };
}

describe.each(["TLSv1.2", "TLSv1.3"] as const)("client certificates (%s)", (version) => {
  const demanding = (): TlsOptions => ({
    requestCert: true,
    rejectUnauthorized: true,
    ca: authority.cert,
    minVersion: version,
    maxVersion: version,
  });

  it.each(securities)("log in by EXTERNAL (%s)", async (security) => {
    const client = await issue("shop", P256, P256, authority);
    const server = await start({
      security,
      tls: demanding(),
      ...(security === "implicit" && { ehlo: ["PIPELINING", "AUTH EXTERNAL PLAIN"] }),
    });
    const credentials =
      security === "implicit"
        ? { username: "", certificate: true }
        : { username: "shop", password: PASSWORD };
    const tls = { ca: authority.cert, ...client };
    const sent = await send(targetOf([server.endpoint()], tls, { credentials }));
    expect(fate(sent)?.is).toBe("taken");
    expect(sent.report.mechanism).toBe(security === "implicit" ? "EXTERNAL" : "PLAIN");
    expect(server.channels[0]?.getPeerCertificate().subject.CN).toBe("shop");
  });

  it.each(securities)("that are missing are told of truthfully (%s)", async (security) => {
    const { report, server } = await ask({ security, tls: demanding() });
    expect(report.error?.phase).toBe("tls");
    if (version === "TLSv1.3") {
      // The server judges after the handshake is over for us (RFC 8446 §4.4.2.4).
      expect(report.error?.code).toBe("certificate_invalid");
      expect(report.error?.message).toContain("client certificate");
    } else {
      expect(report.error?.code).toBe("tls_failed");
      expect(report.error?.message).toContain("HANDSHAKE_FAILURE");
    }
    expect(server.secured()).toHaveLength(0);
  });

  it("of an authority that the server does not know end the session unsent", async () => {
    const client = await issue("shop", P256, P256);
    const tls = { ca: authority.cert, ...client };
    const sent = await ask({ security: "implicit", tls: demanding() }, tls);
    expect(["connection_lost", "tls_failed", "certificate_invalid"]).toContain(
      sent.report.error?.code,
    );
    expect(fate(sent)?.is).toBe("unsent");
  });
});

describe("what cannot be used as a certificate", () => {
  it.each<[string, (client: Issued, other: Issued) => TlsSettings]>([
    ["a cert that is no PEM", ({ key }) => ({ cert: "rubbish", key })],
    ["a key that is no PEM", ({ cert }) => ({ cert, key: "top-secret-rubbish" })],
    [
      "a key with a broken body",
      ({ cert }) => ({
        cert,
        key: "-----BEGIN PRIVATE KEY-----\ntop-secret\n-----END PRIVATE KEY-----\n",
      }),
    ],
    ["a key of another certificate", ({ cert }, { key }) => ({ cert, key })],
  ])("is refused: %s", async (_, settings) => {
    const [client, other] = await Promise.all([
      issue("shop", P256, P256, authority),
      issue("other", P256, P256, authority),
    ]);
    const tls = { ca: authority.cert, ...settings(client, other) };
    const { report, server } = await ask({ security: "implicit" }, tls);
    expect(report.error).toMatchObject({ code: "certificate_invalid", phase: "tls" });
    expect(report.error?.message).toContain('The mailbox\'s "tls" cannot be used');
    expect(report.error?.message).not.toContain("top-secret");
    expect(server.secured()).toHaveLength(0);
  });
});

// -------------------------------------------------------------------------- aborts and deadlines

/** Every place where a server can leave its client waiting. */
const waits: readonly [phase: string, Options][] = [
  ["tls", { security: "implicit", onConnect: hang }],
  ["greeting", { on: { greeting: hang } }],
  ["greeting", { security: "implicit", on: { greeting: hang } }],
  ["ehlo", { on: { EHLO: hang } }],
  ["starttls", { security: "starttls", on: { STARTTLS: hang } }],
  ["tls", { security: "starttls", on: { STARTTLS: "220 go", ...stall("STARTTLS") } }],
  ["auth", { ehlo: ["AUTH PLAIN"], on: { AUTH: hang } }],
  ["mail", { ehlo: ["AUTH PLAIN"], on: { MAIL: hang } }],
  ["rcpt", { ehlo: ["AUTH PLAIN"], on: { RCPT: hang } }],
  ["data", { ehlo: ["AUTH PLAIN"], on: { DATA: hang } }],
  ["content", { on: { content: hang } }],
  ["content", { security: "implicit", on: { content: hang } }],
];

/** Says yes to a verb, and then nothing more. */
function stall(verb: string): Record<string, Answer> {
  return {
    [verb]: (socket) => {
      socket.write("220 go\r\n");
      socket.removeAllListeners("data");
      socket.on("data", () => {});
    },
  };
}

function expectFate(sent: Sent, phase: string, code: string): void {
  const found = fate(sent);
  // The terminator was written: nobody can tell whether the message was taken.
  if (phase === "content") {
    expect(found).toMatchObject({ is: "lost", error: { code: "reply_lost" } });
  } else {
    expect(found).toMatchObject({ is: "unsent", error: { code, phase } });
  }
  expect(sent.report.error).toMatchObject({ code, phase });
}

describe("a silent server", () => {
  it.each(waits)("is left at an abort in phase %s %#", async (phase, options) => {
    const sent = await ask(options, undefined, { signal: AbortSignal.timeout(150) });
    expectFate(sent, phase, "aborted");
  });

  it.each(waits)("is left in phase %s once the time is up %#", async (phase, options) => {
    const begun = performance.now();
    const sent = await ask(options, undefined, { timeLeft: 250 });
    expectFate(sent, phase, "timeout");
    expect(performance.now() - begun).toBeLessThan(4000);
    expect(sent.report.error?.message).toContain("all the time this invocation had left");
  });

  it("is left while connecting, at an abort and once the time is up", async () => {
    const { port } = await blackHole();
    const target = targetOf([{ host: HOST, port, security: "none" }]);
    const aborted = await send(target, { signal: AbortSignal.timeout(100) });
    expectFate(aborted, "connect", "aborted");
    expectFate(await send(target, { timeLeft: 100 }), "connect", "timeout");
  });

  it("is not even asked where the abort came first", async () => {
    const server = await start();
    const sent = await send(targetOf([server.endpoint()]), { signal: AbortSignal.abort() });
    expectFate(sent, "connect", "aborted");
    expect(server.connections()).toBe(0);
  });

  it("that never answers QUIT costs only a moment", async () => {
    const begun = performance.now();
    const sent = await ask({ on: { QUIT: hang } });
    expect(fate(sent)?.is).toBe("taken");
    expect(performance.now() - begun).toBeLessThan(4000);
  });
});

describe("the ledger", () => {
  it.each(["off", "auto"] as const)(
    "that is too slow keeps the terminator back (chunking %s)",
    async (chunking) => {
      const server = await start({ ehlo: ["PIPELINING", "CHUNKING", "AUTH PLAIN"] });
      const target = targetOf([server.endpoint()], undefined, { chunking });
      for (const options of [{ timeLeft: 300 }, { signal: AbortSignal.timeout(200) }]) {
        const sent = await send(target, { ...options, commit: () => new Promise(() => {}) });
        expect(fate(sent)?.is).toBe("unsent");
        await gone(server);
      }
      expect(server.seen).not.toContain("content");
      expect(server.plain().toString("latin1")).not.toMatch(/\r\n\.\r\n|BDAT/);
    },
  );

  it("that answers after the abort writes nothing more", async () => {
    const server = await start();
    const controller = new AbortController();
    const sent = await send(targetOf([server.endpoint()]), {
      signal: controller.signal,
      commit: async () => controller.abort(),
    });
    expect(fate(sent)).toMatchObject({ is: "unsent", error: { code: "aborted" } });
    await gone(server);
    expect(server.seen).not.toContain("content");
  });
});

it("an abort while the content is read keeps the terminator back", async () => {
  const server = await start();
  const controller = new AbortController();
  const message = mail();
  const open = () => {
    controller.abort();
    return message.content.open();
  };
  const sent = await send(targetOf([server.endpoint()]), {
    signal: controller.signal,
    message: { ...message, content: { ...message.content, open } },
  });
  expect(fate(sent)).toMatchObject({ is: "unsent", error: { code: "aborted", phase: "content" } });
  await gone(server);
  expect(server.seen).not.toContain("content");
});

describe("content that stalls", () => {
  it("is given up in time, and its source is told", async () => {
    const server = await start();
    let told = false;
    const octets = Buffer.from("Subject: hello\r\n\r\n");
    const message: Submission = {
      ...mail(),
      content: {
        size: 1000,
        eightBit: false,
        utf8Header: false,
        open: () => ({
          [Symbol.asyncIterator]: () => {
            let first = true;
            return {
              next: () => {
                if (!first) return new Promise(() => {});
                first = false;
                return Promise.resolve({ done: false, value: octets });
              },
              return: async () => {
                told = true;
                return { done: true, value: undefined };
              },
            };
          },
        }),
      },
    };
    const sent = await send(targetOf([server.endpoint()]), { message, timeLeft: 300 });
    expect(fate(sent)).toMatchObject({
      is: "unsent",
      error: { code: "timeout", phase: "content" },
    });
    expect(told).toBe(true);
    await gone(server);
  });

  it("because the server reads nothing is given up in time", async () => {
    const deaf: Act = (socket) => {
      socket.write("354 go on\r\n");
      socket.pause();
    };
    for (const security of ["none", "implicit"] as const) {
      const server = await start({ security, on: { DATA: deaf } });
      const message = mail(`Subject: x\r\n\r\n${"0123456789\r\n".repeat(1_500_000)}`);
      const sent = await send(targetOf([server.endpoint()]), { message, timeLeft: 1500 });
      expect(sent.report.error).toMatchObject({ code: "timeout", phase: "content" });
      expect(fate(sent)?.is).toBe("unsent");
    }
  });
});

describe("a trickling server cannot stretch", () => {
  const record: Act = (socket) => {
    // A handshake record of 16 KiB, announced at once and sent by the octet.
    socket.write(Buffer.from("1603034000", "hex"));
    const timer = setInterval(() => socket.write(Buffer.from([2])), 5);
    socket.once("close", () => clearInterval(timer));
  };
  it.each<[string, Options]>([
    ["tls", { security: "implicit", onConnect: record }],
    ["greeting", { on: { greeting: trickle } }],
    ["ehlo", { on: { EHLO: trickle } }],
    ["auth", { ehlo: ["AUTH PLAIN"], on: { AUTH: trickle } }],
    ["content", { on: { content: trickle } }],
  ])("phase %s", async (phase, options) => {
    const begun = performance.now();
    const sent = await ask(options, undefined, { timeLeft: 500 });
    expectFate(sent, phase, "timeout");
    expect(performance.now() - begun).toBeLessThan(4000);
  });

  it("with whole lines of an endless reply either", async () => {
    const endless: Act = (socket) => {
      const timer = setInterval(() => socket.write("250-and more\r\n"), 5);
      socket.once("close", () => clearInterval(timer));
    };
    const sent = await ask({ on: { EHLO: endless } }, undefined, { timeLeft: 500 });
    expectFate(sent, "ehlo", "timeout");
  });
});

// ------------------------------------------------------------------------------- broken networks

describe("a connection that breaks", () => {
  const breaks = { close, reset, halfClose };
  const places: readonly [string, (act: Act) => Options][] = [
    ["greeting", (act) => ({ on: { greeting: act } })],
    ["greeting", (act) => ({ security: "implicit", on: { greeting: act } })],
    ["ehlo", (act) => ({ on: { EHLO: act } })],
    ["starttls", (act) => ({ security: "starttls", on: { STARTTLS: act } })],
    ["auth", (act) => ({ ehlo: ["AUTH PLAIN"], on: { AUTH: act } })],
    ["mail", (act) => ({ ehlo: ["AUTH PLAIN"], on: { MAIL: act } })],
    ["rcpt", (act) => ({ ehlo: ["AUTH PLAIN"], on: { RCPT: act } })],
    ["data", (act) => ({ ehlo: ["AUTH PLAIN"], on: { DATA: act } })],
    ["content", (act) => ({ on: { content: act } })],
    ["content", (act) => ({ security: "implicit", on: { content: act } })],
  ];
  const cases = Object.entries(breaks).flatMap(([how, act]) =>
    places.map(([phase, make]) => [how, phase, make(act)] as const),
  );

  it.each(cases)("(%s) in phase %s is told as it is %#", async (_, phase, options) => {
    expectFate(await ask(options), phase, "connection_lost");
  });

  it.each<[string, Act]>([
    ["closed", close],
    ["reset", reset],
    ["half closed", halfClose],
    ["met with rubbish", (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")],
  ])("in the handshake (%s) is a failure of TLS", async (_, act) => {
    const onConnect: Act = (socket) => socket.once("data", () => act(socket));
    const sent = await ask({ security: "implicit", onConnect });
    expectFate(sent, "tls", "tls_failed");
  });

  it("after the verdict changes nothing", async () => {
    for (const security of ["none", "implicit"] as const) {
      for (const act of [close, reset, halfClose]) {
        const content: Act = (socket) => {
          // Without close_notify: what was said whole before it still counts.
          socket.write("250 2.0.0 Ok: queued as ABC123\r\n", () => act(socket));
        };
        // No QUIT in the content's group: the answer is read before the loss.
        const ehlo = ["AUTH PLAIN"];
        const sent = await ask({ security, ehlo, on: { content, QUIT: hang } });
        expect(fate(sent)?.is).toBe("taken");
      }
    }
  });

  it("after half a verdict leaves it open", async () => {
    const content: Act = (socket) => socket.end("250 2.0.0 Ok: que");
    expectFate(await ask({ on: { content } }), "content", "connection_lost");
  });

  it("under a flood of replies is held back, not kept in memory", async () => {
    let written = 0;
    const content: Act = (socket) => {
      const line = Buffer.from(`250 ${"x".repeat(500)}\r\n`.repeat(1000));
      const pour = () => {
        while (!socket.destroyed) {
          written += line.length;
          if (!socket.write(line)) break;
        }
      };
      socket.on("drain", pour);
      pour();
    };
    // The flood comes while content goes out that the server does not read.
    const deaf: Act = (socket) => {
      socket.write("354 go on\r\n");
      socket.removeAllListeners("data");
      socket.pause();
      setTimeout(() => content(socket), 50);
    };
    const server = await start({ on: { DATA: deaf } });
    const message = mail(`Subject: x\r\n\r\n${"0123456789\r\n".repeat(1_500_000)}`);
    const sent = await send(targetOf([server.endpoint()]), { message, timeLeft: 1500 });
    expect(fate(sent)?.is).not.toBe("taken");
    expect(written).toBeLessThan(64 * 1024 * 1024);
  });

  it("by words ahead of the handshake is refused (RFC 3207 §4.2)", async () => {
    for (const injected of ["250 injected\r\n", "250 inj"]) {
      const STARTTLS: Act = (socket) => socket.write(`220 go\r\n${injected}`);
      const { report, server } = await ask({ security: "starttls", on: { STARTTLS } });
      expect(report.error).toMatchObject({ code: "protocol_error", phase: "tls" });
      expect(server.seen).toEqual(["EHLO client.test", "STARTTLS"]);
    }
  });
});

// ------------------------------------------------------------------------------ channel bindings

describe("channel bindings", () => {
  it("tls-exporter is what the server exports (RFC 9266)", async () => {
    const server = await start({ security: "implicit" });
    let exported: Buffer | undefined;
    const { report } = await send(targetOf([server.endpoint()]), {
      commit: async () => {
        const label = "EXPORTER-Channel-Binding";
        exported = server.channels[0]?.exportKeyingMaterial(32, label, Buffer.alloc(0));
      },
    });
    expect(report.channel?.bindings.map(({ type }) => type)).toEqual([
      "tls-exporter",
      "tls-server-end-point",
    ]);
    expect(exported).toHaveLength(32);
    expect(Buffer.from(report.channel?.bindings[0]?.data ?? [])).toEqual(exported);
  });

  it("tls-exporter is not offered before TLS 1.3", async () => {
    const { report } = await ask({ security: "starttls", tls: { maxVersion: "TLSv1.2" } });
    expect(report.channel?.bindings.map(({ type }) => type)).toEqual(["tls-server-end-point"]);
    const der = new NodeCertificate(good.cert).raw;
    expect(Buffer.from(report.channel?.bindings[0]?.data ?? [])).toEqual(
      createHash("sha256").update(der).digest(),
    );
  });

  const rsa = (hash: string) => ({ name: "RSASSA-PKCS1-v1_5", hash });
  const rsaKeys = (hash: string) => ({
    ...rsa(hash),
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  });
  const ec = (namedCurve: string) => ({ name: "ECDSA", namedCurve });
  it.each<[string, string | undefined, object, object]>([
    ["RSA with SHA-1", "sha256", rsa("SHA-1"), rsaKeys("SHA-1")],
    ["RSA with SHA-256", "sha256", rsa("SHA-256"), rsaKeys("SHA-256")],
    ["RSA with SHA-384", "sha384", rsa("SHA-384"), rsaKeys("SHA-384")],
    ["RSA with SHA-512", "sha512", rsa("SHA-512"), rsaKeys("SHA-512")],
    ["P-256 with SHA-1", "sha256", { ...ec("P-256"), hash: "SHA-1" }, ec("P-256")],
    ["P-256 with SHA-256", "sha256", { ...ec("P-256"), hash: "SHA-256" }, ec("P-256")],
    ["P-256 with SHA-512", "sha512", { ...ec("P-256"), hash: "SHA-512" }, ec("P-256")],
    ["P-384 with SHA-384", "sha384", { ...ec("P-384"), hash: "SHA-384" }, ec("P-384")],
    ["Ed25519, which has no hash", undefined, { name: "Ed25519" }, { name: "Ed25519" }],
  ])("tls-server-end-point of %s (RFC 5929 §4.1)", async (_, hash, signing, keyed) => {
    const { cert } = await issue("mail.test", signing, keyed);
    const certificate = new NodeCertificate(cert);
    const socket = {
      getProtocol: () => "TLSv1.2",
    } as unknown as TLSSocket;
    const wanted = hash && createHash(hash).update(certificate.raw).digest();
    expect(bindingsOf(socket, certificate)).toEqual(
      wanted ? [{ type: "tls-server-end-point", data: wanted }] : [],
    );
  });
});
