/**
 * One connection by itself, over loopback: the test holds the server's end and says what comes, and
 * when. What a whole send makes of it is in connecting.test.ts.
 */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from "node:tls";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type Authority,
  type Certificate,
  makeAuthority,
  makeCertificate,
} from "../../infra/local/certificate.ts";
import { Connection, type TlsSessions } from "../../lib/smtp/io/connection.ts";
import type { Limits } from "../../lib/smtp/io/deadline.ts";
import { dialled } from "../support/dialled.ts";

const HOST = "127.0.0.1";
/** What a connection holds unasked before it stops to read. */
const MEBIBYTE = 1024 * 1024;
/** More than the kernel takes for a peer that does not read. */
const LARGE = Buffer.alloc(16 * MEBIBYTE, "x");
/** A reply of 64 octets. */
const REPLY = `250 ${"x".repeat(58)}\r\n`;

let authority: Authority;
let good: Certificate;
let trusting: { readonly ca: string };

beforeAll(async () => {
  authority = await makeAuthority();
  good = await makeCertificate({ ca: authority, names: ["localhost"] });
  trusting = { ca: authority.cert };
});

let sockets: readonly Socket[] = [];
const releases: (() => unknown)[] = [];

beforeEach(() => {
  sockets = dialled();
});

afterEach(async () => {
  vi.restoreAllMocks();
  for (const release of releases.splice(0).reverse()) await release();
});

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  releases.push(() => new Promise((resolve) => server.close(resolve)));
  server.on("connection", (socket: Socket) => {
    socket.on("error", () => {});
    releases.push(() => socket.destroy());
  });
  return (server.address() as AddressInfo).port;
}

const within = (signal?: AbortSignal): Limits => {
  const endsAt = performance.now() + 8000;
  return { endsAt, helloBy: endsAt, signal };
};

async function dial(port: number, limits = within()): Promise<Connection> {
  const connection = await Connection.open({ host: HOST, port }, limits);
  releases.push(() => {
    connection.close(false);
    return connection.released();
  });
  return connection;
}

/** Both ends; the server's reads nothing yet. */
async function open(limits?: Limits): Promise<{ connection: Connection; peer: Socket }> {
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  const port = await listen(server);
  const [connection, [peer]] = await Promise.all([dial(port, limits), once(server, "connection")]);
  return { connection, peer };
}

interface Secured {
  readonly port: number;
  /** The server's end of the first handshake. */
  readonly channel: Promise<TLSSocket>;
  readonly bare: Promise<Socket>;
}

async function startTls(options: TlsOptions = {}): Promise<Secured> {
  const server = createTlsServer({ cert: good.cert, key: good.key, ...options });
  server.on("tlsClientError", () => {});
  server.on("secureConnection", (socket) => socket.on("error", () => {}));
  const channel = once(server, "secureConnection").then(([socket]) => socket as TLSSocket);
  const bare = once(server, "connection").then(([socket]) => socket as Socket);
  return { port: await listen(server), channel, bare };
}

async function openTls(options?: TlsOptions) {
  const { port, channel, bare } = await startTls(options);
  const connection = await dial(port);
  await connection.secure(trusting);
  return { connection, peer: await channel, bare: await bare };
}

const until = (what: () => boolean): Promise<void> =>
  vi.waitFor(() => expect(what()).toBe(true), { timeout: 2000, interval: 1 });

/** What it fails with. */
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "nothing",
    (error: unknown) => error,
  );

it("sends each group at once, however small", async () => {
  const setNoDelay = vi.spyOn(Socket.prototype, "setNoDelay");
  await open();
  const [client] = sockets;
  const told = setNoDelay.mock.calls.filter((_, i) => setNoDelay.mock.contexts[i] === client);
  expect(told).toEqual([[true]]);
});

describe("reading", () => {
  it("tells what lies there unasked", async () => {
    const { connection, peer } = await open();
    expect(connection.quiet).toBe(true);
    expect(connection.unsolicited("mail")).toBeUndefined();
    peer.write("421 4.3.2 go");
    await until(() => !connection.quiet);
    expect(connection.unsolicited("mail")).toBe("partial");
    peer.write("ing down\r\n");
    const whole = { code: 421, enhanced: "4.3.2", lines: ["4.3.2 going down"] };
    await until(() => {
      const found = connection.unsolicited("mail");
      if (found !== "partial") expect(found).toEqual(whole);
      return found !== "partial";
    });
    expect(connection.quiet).toBe(true);
    expect(connection.ended).toBe(false);
  });

  it("tells the phase in which something else than SMTP lay there unasked", async () => {
    const { connection, peer } = await open();
    peer.write("+OK POP3\r\n");
    await until(() => !connection.quiet);
    let error: unknown;
    try {
      connection.unsolicited("rcpt");
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ name: "SmtpError", code: "protocol_error", phase: "rcpt" });
  });

  it("keeps a reply that comes after the one that was waited for", async () => {
    const { connection, peer } = await open();
    const first = connection.read("greeting");
    peer.write("220 first\r\n");
    expect(await first).toMatchObject({ code: 220 });
    peer.write("250 second\r\n");
    await until(() => !connection.quiet);
    expect(await connection.read("ehlo")).toMatchObject({ code: 250, lines: ["second"] });
    expect(connection.quiet).toBe(true);
  });

  it("gives what came before the end, and then tells of the end", async () => {
    const { connection, peer } = await open();
    peer.end("220 hello\r\n");
    await until(() => connection.ended);
    expect(connection.quiet).toBe(false);
    expect(await connection.read("greeting")).toMatchObject({ code: 220 });
    expect(connection.quiet).toBe(false);
    expect(await failure(connection.read("ehlo"))).toMatchObject({
      code: "connection_lost",
      phase: "ehlo",
      message: "The server closed the connection.",
    });
    expect(() => connection.demandOpen("mail")).toThrow("The server closed the connection.");
  });

  it("tells of a reset, and with which code, although nobody was waiting", async () => {
    const { connection, peer } = await open();
    peer.resetAndDestroy();
    await until(() => connection.ended);
    expect(await failure(connection.read("mail"))).toMatchObject({
      code: "connection_lost",
      phase: "mail",
      message: "The connection was lost (ECONNRESET).",
    });
  });

  it("holds to the limits of the send that takes it over", async () => {
    const { connection } = await open();
    connection.adopt(within(AbortSignal.abort()));
    expect(await failure(connection.read("mail"))).toMatchObject({ code: "aborted" });
    expect(await failure(connection.write(LARGE, "mail"))).toMatchObject({ code: "aborted" });
    expect(sockets[0]?.bytesWritten).toBe(0);
  });

  it("goes on as long as no more than a mebibyte lies there unasked", async () => {
    const { connection, peer } = await open();
    peer.end(REPLY.repeat(MEBIBYTE / REPLY.length));
    await until(() => connection.ended);
    const [client] = sockets;
    expect([client?.bytesRead, client?.isPaused()]).toEqual([MEBIBYTE, false]);
  });

  it("stops for a server that floods, and goes on once all of it was asked for", async () => {
    const { connection, peer } = await open();
    const client = sockets[0] as Socket;
    const count = (3 * MEBIBYTE) / REPLY.length;
    peer.end(REPLY.repeat(count));
    await until(() => client.isPaused());
    expect(client.bytesRead).toBeGreaterThan(MEBIBYTE);
    expect(client.bytesRead).toBeLessThan(2 * MEBIBYTE);
    await connection.read("mail");
    expect(client.isPaused()).toBe(true);
    for (let i = 1; i < count; i += 1) await connection.read("mail");
    expect(await failure(connection.read("mail"))).toMatchObject({ code: "connection_lost" });
    expect(client.bytesRead).toBe(3 * MEBIBYTE);
  });
});

describe("writing", () => {
  it("is refused once the peer is gone", async () => {
    const { connection, peer } = await open();
    peer.end();
    await until(() => connection.ended);
    expect(await failure(connection.write(Buffer.from("NOOP\r\n"), "mail"))).toMatchObject({
      code: "connection_lost",
      phase: "mail",
    });
    expect(sockets[0]?.bytesWritten).toBe(0);
  });

  it("waits for a server that does not read, whatever it says meanwhile", async () => {
    const { connection, peer } = await open();
    let settled = false;
    const written = connection.write(LARGE, "content").finally(() => {
      settled = true;
    });
    peer.write("250 hello\r\n");
    await until(() => !connection.quiet);
    expect(settled).toBe(false);
    let octets = 0;
    peer.on("data", (chunk) => {
      octets += chunk.length;
    });
    await written;
    await until(() => octets === LARGE.length);
    expect(await connection.read("content")).toMatchObject({ code: 250 });
  });

  it("ends when a server that does not read closes its half", async () => {
    const { connection, peer } = await open();
    const written = failure(connection.write(LARGE, "content"));
    peer.end();
    expect(await written).toMatchObject({ code: "connection_lost", phase: "content" });
  });

  it("ends when the send is aborted", async () => {
    const abort = new AbortController();
    const { connection } = await open(within(abort.signal));
    const written = failure(connection.write(LARGE, "content"));
    abort.abort();
    expect(await written).toMatchObject({ code: "aborted", phase: "content" });
  });
});

describe("TLS", () => {
  it("needs no store of sessions", async () => {
    const { port } = await startTls();
    const connection = await dial(port);
    expect(await connection.secure(trusting)).toMatchObject({ protocol: "TLSv1.3" });
    expect(connection.tls).toMatchObject({ protocol: "TLSv1.3", resumed: false });
    const { fingerprint256 } = new X509Certificate(good.cert);
    expect(connection.tls?.certificate?.fingerprint256).toBe(fingerprint256);
  });

  it("tells a port that begins in plain text", async () => {
    const { connection, peer } = await open();
    peer.write("220 mail.test ESMTP\r\n");
    await until(() => !connection.quiet);
    const error = await failure(connection.secure(trusting));
    expect(error).toMatchObject({ code: "tls_failed", phase: "tls" });
    const { message } = error as Error;
    expect(message).toContain(`TLS with ${HOST} failed (plain text came instead).`);
    expect(message).toContain('"security" may have to be "starttls"');
  });

  it("is not begun over what was sent ahead of it", async () => {
    const { connection, peer } = await open();
    peer.write("220 go\r\n250 injected\r\n");
    expect(await connection.read("starttls")).toMatchObject({ code: 220 });
    expect(await failure(connection.secure(trusting))).toMatchObject({
      code: "protocol_error",
      phase: "tls",
      message: "The server sent data ahead of the TLS handshake.",
    });
  });

  it("is not waited for from a server that went after its reply to STARTTLS", async () => {
    const { connection, peer } = await open();
    peer.end("220 go\r\n");
    expect(await connection.read("starttls")).toMatchObject({ code: 220 });
    await until(() => connection.ended);
    expect(await failure(connection.secure(trusting))).toMatchObject({
      code: "connection_lost",
      phase: "tls",
    });
  });

  it("fails when the way to the server goes in the handshake", async () => {
    const { connection, peer } = await open();
    peer.once("data", () => sockets[0]?.destroy());
    expect(await failure(connection.secure(trusting))).toMatchObject({
      code: "tls_failed",
      phase: "tls",
      message: "The server closed the connection in the TLS handshake.",
    });
  });

  it("is lost with the way to the server", async () => {
    const { connection } = await openTls();
    const reply = failure(connection.read("greeting"));
    sockets[0]?.destroy();
    expect(await reply).toMatchObject({ code: "connection_lost", phase: "greeting" });
  });

  it("may be reset long after it was given up", async () => {
    const abort = new AbortController();
    const { connection, peer } = await open(within(abort.signal));
    const secured = failure(connection.secure(trusting));
    await once(peer, "readable");
    abort.abort();
    expect(await secured).toMatchObject({ code: "aborted", phase: "tls" });
    peer.resetAndDestroy();
    // It would be an uncaught 'error' event.
    await connection.released();
  });

  it("leaves no session where its handshake ends too late", async () => {
    let goOn: (() => void) | undefined;
    const abort = new AbortController();
    const { port, channel } = await startTls({
      SNICallback: (_, done) => {
        goOn = () => done(null);
        abort.abort();
      },
    });
    const connection = await dial(port, within(abort.signal));
    const keep = vi.fn(() => undefined);
    const sessions: TlsSessions = { resume: () => ({}), keep };
    const settings = { ...trusting, servername: "localhost" };
    expect(await failure(connection.secure(settings, sessions))).toMatchObject({ code: "aborted" });
    goOn?.();
    await channel;
    expect(keep).not.toHaveBeenCalled();
  });
});

describe("closing", () => {
  it.each([
    ["plain text", open],
    ["TLS", openTls],
  ] as const)("is nobody's doing but ours (%s)", async (_, make) => {
    const { connection } = await make();
    connection.close(true);
    await connection.released();
    expect(connection.ended).toBe(false);
    // Gone already: no event would come any more.
    await connection.released();
  });

  it("does not wait for a server that does not read", async () => {
    const abort = new AbortController();
    const { connection } = await open(within(abort.signal));
    const written = failure(connection.write(LARGE, "content"));
    abort.abort();
    await written;
    connection.close(true);
    expect(sockets[0]?.destroyed).toBe(true);
    await connection.released();
  });

  it("does not wait for a farewell that cannot leave", async () => {
    const { connection } = await open();
    // As from a kernel whose buffer is full to the octet, and as if the wait for it were over.
    vi.spyOn(Socket.prototype, "destroySoon").mockImplementation(() => {});
    const { setTimeout } = globalThis;
    vi.spyOn(globalThis, "setTimeout").mockImplementation(((act: () => void) =>
      setTimeout(act, 0)) as typeof setTimeout);
    connection.close(true);
    await connection.released();
    expect(sockets[0]?.destroyed).toBe(true);
  });

  it.each([
    ["says so to a server", true],
    ["says nothing where the session has failed", false],
  ] as const)("%s", async (_, clean) => {
    // TLS 1.2 shows the type of a record to who stands between.
    const { port } = await startTls({ maxVersion: "TLSv1.2" });
    const server = createServer();
    const between = await listen(server);
    const sent: Buffer[] = [];
    const over = once(server, "connection").then(async ([near]: Socket[]) => {
      const far = connect(port, HOST);
      releases.push(() => far.destroy());
      far.on("error", () => {});
      near?.on("data", (chunk) => sent.push(chunk));
      near?.pipe(far).pipe(near);
      await once(near as Socket, "end");
    });
    const connection = await dial(between);
    await connection.secure(trusting);
    connection.close(clean);
    await Promise.all([over, connection.released()]);
    expect(typesOf(Buffer.concat(sent)).at(-1)).toBe(clean ? ALERT : HANDSHAKE);
  });
});

/** RFC 5246 §6.2.1. */
const ALERT = 21;
const HANDSHAKE = 22;

/** The types of TLS records, in order. */
function typesOf(records: Buffer): number[] {
  const types: number[] = [];
  for (let at = 0; at < records.length; at += 5 + records.readUInt16BE(at + 3)) {
    types.push(records[at] as number);
  }
  return types;
}
