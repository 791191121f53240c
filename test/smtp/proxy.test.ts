/**
 * Through a proxy: HTTP CONNECT (RFC 9110 §9.3.6) and SOCKS5 (RFC 1928, RFC 1929), to a mail server
 * that is not ours. TLS runs end to end inside the tunnel, so the proxy sees names and nothing else.
 */
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, connect as netConnect, Socket } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import type { Submission } from "../../lib/smtp/envelope.ts";
import { Relay, type RelayTarget, type SendOptions } from "../../lib/smtp/io/relay.ts";

const HOST = "127.0.0.1";
const PASSWORD = "mailbox-password";
const SECRET = "prôxy:p@ss word/%";
const LOGIN = `user:${encodeURIComponent(SECRET)}@`;

let server: MailServer;
const releases: (() => Promise<unknown>)[] = [];
const plainConnect = Socket.prototype.connect as (this: Socket, ...given: unknown[]) => Socket;
let dialled: { socket: Socket; port: number }[] = [];

beforeAll(async () => {
  server = await startMailServer({ users: { shop: PASSWORD } });
});
afterAll(() => server.close());

beforeEach(() => {
  dialled = [];
  vi.spyOn(Socket.prototype, "connect").mockImplementation(function (
    this: Socket,
    ...given: unknown[]
  ) {
    const [options] = given as [{ port?: number }];
    dialled.push({ socket: this, port: options.port ?? 0 });
    return plainConnect.apply(this, given);
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  for (const release of releases.splice(0)) await release();
});

interface Proxy {
  readonly port: number;
  /** What it was asked for, `host:port`. */
  readonly asked: string[];
  readonly logins: string[];
  /** What went through, before any TLS of the mail session is undone. */
  octets(): Buffer;
  open(): number;
}

type Fault = "refuse" | "close" | "hang" | "reset" | "trickle" | "glue" | "rubbish";

interface ProxyOptions {
  readonly login?: boolean;
  readonly fault?: Fault;
  readonly status?: string;
}

function listening(
  proxy: { listen: (port: number, host: string, done: () => void) => unknown; address(): unknown },
  close: (done: () => void) => unknown,
  sockets: Set<Socket>,
): Promise<number> {
  return new Promise((resolve) => {
    proxy.listen(0, HOST, () => {
      releases.push(
        () =>
          new Promise<void>((done) => {
            for (const socket of sockets) socket.destroy();
            close(done);
          }),
      );
      resolve((proxy.address() as AddressInfo).port);
    });
  });
}

class Tracked {
  readonly asked: string[] = [];
  readonly logins: string[] = [];
  readonly sockets = new Set<Socket>();
  readonly chunks: Buffer[] = [];

  add(socket: Socket): void {
    this.sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.sockets.delete(socket));
    // HTTP servers leave a tunnel half open.
    socket.on("end", () => socket.destroy());
  }

  /** @param glued whether the proxy's own answer leaves in one write with the server's first words */
  join(client: Socket, port: number, answer: Buffer, glued: boolean): void {
    const target = netConnect(port, HOST);
    target.on("error", () => {});
    client.on("close", () => target.destroy());
    target.on("close", () => client.destroy());
    client.on("data", (chunk: Buffer) => {
      this.chunks.push(chunk);
      target.write(chunk);
    });
    const pipe = () => {
      target.on("data", (chunk: Buffer) => client.write(chunk));
      client.resume();
    };
    if (glued) {
      target.once("data", (first: Buffer) => {
        client.write(Buffer.concat([answer, first]));
        pipe();
      });
    } else {
      client.write(answer);
      pipe();
    }
  }

  fail(socket: Socket, fault: Fault | undefined): boolean {
    socket.resume();
    if (fault === "hang") return true;
    if (fault === "close") socket.destroy();
    else if (fault === "reset") socket.resetAndDestroy();
    else if (fault === "rubbish") socket.end("220 mail.test ESMTP\r\n");
    else if (fault === "trickle") {
      const timer = setInterval(() => socket.write("H"), 5);
      socket.once("close", () => clearInterval(timer));
    } else return false;
    return true;
  }

  proxy(port: number): Proxy {
    const { asked, logins, sockets, chunks } = this;
    return { port, asked, logins, octets: () => Buffer.concat(chunks), open: () => sockets.size };
  }
}

async function http({ login, fault, status }: ProxyOptions = {}): Promise<Proxy> {
  const tracked = new Tracked();
  const proxy = createHttpServer();
  proxy.on("connection", (socket: Socket) => tracked.add(socket));
  proxy.on("clientError", () => {});
  proxy.on("connect", ({ url, headers }, duplex) => {
    const socket = duplex as Socket;
    const given = headers["proxy-authorization"];
    tracked.asked.push(String(url));
    if (given) tracked.logins.push(Buffer.from(given.slice(6), "base64").toString());
    if (tracked.fail(socket, fault)) return;
    if (fault === "refuse" || (login && tracked.logins[0] !== `user:${SECRET}`)) {
      // A reason phrase that tells what it was sent: it must not be shown.
      const answer = status ?? `407 no ${tracked.logins[0]} ${given}`;
      socket.end(Buffer.from(`HTTP/1.1 ${answer}\r\nContent-Length: 0\r\n\r\n`));
      return;
    }
    const port = Number(String(url).split(":").at(-1));
    const answer = `HTTP/1.1 ${status ?? "200 Connection established"}\r\n\r\n`;
    tracked.join(socket, port, Buffer.from(answer), fault === "glue");
  });
  return tracked.proxy(await listening(proxy, (done) => proxy.close(done), tracked.sockets));
}

async function socks({ login, fault }: ProxyOptions = {}): Promise<Proxy> {
  const tracked = new Tracked();
  const proxy = createServer((socket) => {
    tracked.add(socket);
    let octets = Buffer.alloc(0);
    let stage: "greeting" | "login" | "request" = "greeting";
    const onData = (chunk: Buffer) => {
      octets = Buffer.concat([octets, chunk]);
      if (stage === "greeting" && octets.length >= 2 + (octets[1] ?? 0)) {
        if (tracked.fail(socket, fault)) return;
        const methods = octets.subarray(2, 2 + (octets[1] ?? 0));
        octets = octets.subarray(2 + methods.length);
        const method = login ? 2 : 0;
        stage = login ? "login" : "request";
        socket.write(Buffer.from([5, methods.includes(method) ? method : 0xff]));
      } else if (stage === "login" && octets.length > 2) {
        const user = octets.subarray(2, 2 + (octets[1] ?? 0));
        const password = octets.subarray(3 + user.length);
        tracked.logins.push(`${user}:${password}`);
        octets = Buffer.alloc(0);
        stage = "request";
        socket.write(Buffer.from([1, tracked.logins[0] === `user:${SECRET}` ? 0 : 1]));
      } else if (stage === "request" && octets.length >= 10) {
        const named = octets[3] === 3;
        const length = octets[4] ?? 0;
        const host = named
          ? octets.subarray(5, 5 + length).toString()
          : octets.subarray(4, 8).join(".");
        const port = octets.readUInt16BE(named ? 5 + length : 8);
        tracked.asked.push(`${host}:${port}`);
        socket.off("data", onData);
        // Bound to 127.0.0.1:0; 2 is "not allowed by ruleset".
        const answer = Buffer.from([5, fault === "refuse" ? 2 : 0, 0, 1, 127, 0, 0, 1, 0, 0]);
        if (fault === "refuse") socket.end(answer);
        else tracked.join(socket, port, answer, fault === "glue");
      }
    };
    socket.on("data", onData);
  });
  return tracked.proxy(await listening(proxy, (done) => proxy.close(done), tracked.sockets));
}

const octets = Buffer.from("Subject: hello\r\n\r\nthrough the tunnel\r\n");
const message: Submission = {
  from: "shop@example.test",
  recipients: ["a@example.test"],
  content: { size: octets.length, eightBit: false, utf8Header: false, open: () => [octets] },
  partial: "accept",
  smtputf8: false,
};

type Security = "implicit" | "starttls" | "none";

async function send(
  proxy: string,
  security: Security = "starttls",
  more: Partial<RelayTarget> & Partial<SendOptions> = {},
) {
  const { timeLeft = 8000, signal, ...changed } = more;
  const target: RelayTarget = {
    endpoints: [
      {
        host: HOST,
        port: server.ports[security === "implicit" ? "implicit" : "starttls"],
        security,
      },
    ],
    tls: { ca: server.ca },
    secrets: [PASSWORD, SECRET],
    ehloName: "client.test",
    credentials: { username: "shop", password: PASSWORD },
    allowPlaintextAuth: false,
    chunking: "off",
    proxy,
    ...changed,
  };
  const sent = await new Relay().send(target, [message], { timeLeft, signal });
  const port = Number(new URL(proxy).port);
  const ours = dialled.filter((each) => each.port === port);
  expect(ours.filter(({ socket }) => !socket.destroyed)).toEqual([]);
  const { error } = sent.report;
  const shown = JSON.stringify([sent.transcript, sent.report, error?.message, error?.stack]);
  for (const form of [
    SECRET,
    encodeURIComponent(SECRET),
    btoa64(SECRET),
    btoa64(`user:${SECRET}`),
  ]) {
    expect(shown).not.toContain(form);
  }
  return { ...sent, fate: sent.report.messages[0]?.recipients[0]?.fate, ours };
}

const btoa64 = (text: string) => Buffer.from(text).toString("base64");
const released = (proxy: Proxy) =>
  vi.waitFor(() => expect(proxy.open()).toBe(0), { timeout: 5000, interval: 5 });

const kinds = [
  ["http", http],
  ["socks5", socks],
] as const;

describe.each(kinds)("%s", (scheme, start) => {
  describe.each(["implicit", "starttls"] as const)("to a server with TLS (%s)", (security) => {
    it.each<[string, ProxyOptions, string]>([
      ["without a login", {}, ""],
      ["with a login", { login: true }, LOGIN],
      [
        "where the greeting is glued to its answer",
        security === "starttls" ? { fault: "glue" } : {},
        "",
      ],
    ])("%s", async (_, options, login) => {
      const proxy = await start(options);
      const before = server.inbox.messages.length;
      const sent = await send(`${scheme}://${login}${HOST}:${proxy.port}`, security);
      expect(sent.report.error).toBeUndefined();
      expect(sent.fate?.is).toBe("taken");
      expect(server.inbox.messages).toHaveLength(before + 1);
      expect(proxy.asked).toEqual([`${HOST}:${server.ports[security]}`]);
      expect(proxy.logins).toEqual(options.login ? [`user:${SECRET}`] : []);
      expect(sent.ours).toHaveLength(1);
      // End to end: the proxy has seen neither login nor content.
      expect(proxy.octets().toString("latin1")).not.toMatch(/AUTH|MAIL FROM|through the tunnel/);
      await released(proxy);
    });

    it("checks the server's certificate, not the proxy's word", async () => {
      const proxy = await start();
      const url = `${scheme}://${HOST}:${proxy.port}`;
      const sent = await send(url, security, { tls: {} });
      expect(sent.report.error).toMatchObject({ code: "certificate_invalid", phase: "tls" });
      await released(proxy);
    });
  });

  it("hands the name over unresolved", async () => {
    const proxy = await start();
    const endpoint = { host: "localhost", port: server.ports.implicit, security: "implicit" };
    const sent = await send(`${scheme}://${HOST}:${proxy.port}`, "implicit", {
      endpoints: [endpoint as RelayTarget["endpoints"][number]],
    });
    expect(sent.fate?.is).toBe("taken");
    expect(proxy.asked).toEqual([`localhost:${server.ports.implicit}`]);
  });

  it.each<[string, ProxyOptions, string]>([
    ["demands a login", { login: true }, ""],
    ["refuses the login", { login: true }, "user:wrong@"],
    ["refuses the server", { fault: "refuse", status: "403 Forbidden" }, LOGIN],
    ["closes", { fault: "close" }, LOGIN],
    ["resets", { fault: "reset" }, LOGIN],
    ["is no proxy", { fault: "rubbish" }, LOGIN],
  ])("that %s is a failure to connect", async (_, options, login) => {
    const proxy = await start(options);
    const sent = await send(`${scheme}://${login}${HOST}:${proxy.port}`);
    expect(sent.report.error).toMatchObject({ code: "connect_failed", phase: "connect" });
    expect(sent.report.error?.message).toMatch(/^The proxy did not open a tunnel: /);
    expect(sent.fate).toMatchObject({ is: "unsent" });
    await released(proxy);
  });

  it.each(["hang", "trickle"] as const)(
    "that answers never (%s) is left in time",
    async (fault) => {
      // An octet that SOCKS does not know ends it at once; that is as good.
      const proxy = await start({ fault });
      const url = `${scheme}://${LOGIN}${HOST}:${proxy.port}`;
      const begun = performance.now();
      const late = await send(url, "starttls", { timeLeft: 300 });
      expect(["timeout", "connect_failed"]).toContain(late.report.error?.code);
      if (fault === "hang") expect(late.report.error?.code).toBe("timeout");
      await released(proxy);
      const aborted = await send(url, "starttls", { signal: AbortSignal.timeout(100) });
      if (fault === "hang") expect(aborted.report.error?.code).toBe("aborted");
      expect(performance.now() - begun).toBeLessThan(6000);
      await released(proxy);
    },
  );

  it("that is not there is told apart from the server", async () => {
    const proxy = await start();
    for (const release of releases.splice(0)) await release();
    const sent = await send(`${scheme}://${LOGIN}${HOST}:${proxy.port}`);
    expect(sent.report.error).toMatchObject({ code: "connect_failed", phase: "connect" });
    expect(sent.report.error?.message).toContain("The proxy is not reached.");
  });
});

describe("http", () => {
  it("takes any 2xx for a tunnel (RFC 9110 §9.3.6)", async () => {
    const proxy = await http({ status: "201 Created" });
    expect((await send(`http://${HOST}:${proxy.port}`)).fate?.is).toBe("taken");
  });

  it("names the status, and what a 407 asks for", async () => {
    const proxy = await http({ login: true });
    const { report } = await send(`http://${HOST}:${proxy.port}`);
    expect(report.error?.message).toContain("HTTP 407 to CONNECT; it demands a login");
  });

  it("plain text ahead of implicit TLS is named for what it is", async () => {
    const proxy = await http({ fault: "glue" });
    const endpoint = { host: HOST, port: server.ports.starttls, security: "implicit" } as const;
    const { report } = await send(`http://${HOST}:${proxy.port}`, "implicit", {
      endpoints: [endpoint],
    });
    expect(report.error).toMatchObject({ code: "tls_failed", phase: "tls" });
  });
});
