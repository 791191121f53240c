/**
 * Connecting before the mailbox is known: what is made ahead is used only as the mailbox would have
 * made it, is never more than one, and never stays.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type Certificate, makeCertificate } from "../../infra/local/certificate.ts";
import { contentOf } from "../../lib/smtp/data.ts";
import type { AheadTarget } from "../../lib/smtp/io/ahead.ts";
import { Relay, type RelayTarget, type SendOptions, type Sent } from "../../lib/smtp/io/relay.ts";
import { dialled } from "../support/dialled.ts";
import { type FakeOptions, type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";

const HOST = "127.0.0.1";
const EHLO = "client.test";
const LIMIT = { timeLeft: 5_000 };

let identity: Certificate;
beforeAll(async () => {
  identity = await makeCertificate();
});

const open: FakeSmtp[] = [];
/** Whoever runs this may have a socket of its own. */
let before = 0;
beforeEach(() => {
  before = sockets();
});
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
  // What was destroyed a moment ago is closed by the loop's next turns.
  for (let turn = 0; turn < 100 && sockets() > before; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(sockets()).toBeLessThanOrEqual(before);
});

const sockets = () =>
  process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;

async function server(options: FakeOptions = {}): Promise<FakeSmtp> {
  const started = await startFakeSmtp({ ehlo: ["PIPELINING", "AUTH PLAIN"], ...options });
  open.push(started);
  return started;
}

const none = (port: number): AheadTarget => ({
  endpoint: { host: HOST, port, security: "none" },
  ehloName: EHLO,
});

function target(port: number, changes: Partial<RelayTarget> = {}): RelayTarget {
  return {
    endpoints: [{ host: HOST, port, security: "none" }],
    tls: {},
    ehloName: EHLO,
    credentials: { username: "u", password: "pencil" },
    auth: ["PLAIN"],
    allowPlaintextAuth: true,
    chunking: "off",
    secrets: ["pencil"],
    ...changes,
  };
}

function send(relay: Relay, to: RelayTarget, options: SendOptions = LIMIT): Promise<Sent> {
  const content = contentOf(Buffer.from("Subject: x\r\n\r\nhello\r\n"));
  const submission = {
    from: "u@client.test",
    recipients: ["a@server.test"],
    content,
    partial: "accept",
    smtputf8: false,
  } as const;
  return relay.send(to, [submission], options);
}

const fate = ({ report }: Sent) => report.messages[0]?.recipients[0]?.fate.is;
const lines = ({ transcript }: Sent) => transcript.map(({ from, text }) => `${from}: ${text}`);
/** Commands up to the login, and what became of it. */
const logins = ({ seen }: FakeSmtp) => seen.filter((line) => line.startsWith("AUTH")).length;

async function greeted(one: FakeSmtp): Promise<void> {
  while (!one.seen.some((line) => line.startsWith("EHLO"))) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The client has left. */
async function closedBy(one: FakeSmtp): Promise<void> {
  for (let turn = 0; turn < 500 && one.closed() === 0; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(one.closed()).toBe(1);
}

describe("a connection made ahead", () => {
  it("is gone on with: one connection, and the same conversation as without", async () => {
    const answers = { AUTH: "235 welcome" };
    const [with_, without] = [await server({ on: answers }), await server({ on: answers })];
    const relay = new Relay({ ahead: none(with_.port) });
    relay.prepare(LIMIT);
    await greeted(with_);
    const sent = await send(relay, target(with_.port));
    await relay.release();
    const plain = await send(new Relay(), target(without.port));
    expect(fate(sent)).toBe("taken");
    expect(with_.connections()).toBe(1);
    expect(with_.seen).toEqual(without.seen);
    expect(lines(sent)).toEqual(lines(plain));
    expect(sent.timing.roundTrips).toBe(plain.timing.roundTrips);
  });

  it("has its clock: nothing is before it, and all follows in order", async () => {
    const one = await server({ on: { AUTH: "235 welcome" } });
    const relay = new Relay({ ahead: none(one.port) });
    const before = performance.now();
    relay.prepare(LIMIT);
    await greeted(one);
    const sent = await send(relay, target(one.port));
    const times = sent.transcript.map(({ at }) => at);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(times[0]).toBeGreaterThanOrEqual(0);
    expect(sent.begun).toBeGreaterThanOrEqual(before);
    expect(sent.timing.totalMs).toBeGreaterThanOrEqual(sent.timing.connectMs);
  });

  it("serves a mailbox that writes the host in other letters, and TLS settings that say nothing", async () => {
    const one = await server({ on: { AUTH: "235 welcome" } });
    const { endpoint } = none(one.port);
    const relay = new Relay({
      ahead: { endpoint: { ...endpoint, host: "Mx.test" }, ehloName: EHLO },
      lookup: async () => [{ address: HOST, family: 4 }],
    });
    relay.prepare(LIMIT);
    await greeted(one);
    const own = { endpoints: [{ ...endpoint, host: "mX.TEST" }], tls: { ca: undefined } };
    expect(fate(await send(relay, target(one.port, own)))).toBe("taken");
    expect(one.connections()).toBe(1);
  });

  it("is closed where the mailbox goes by a proxy", async () => {
    const one = await server();
    const relay = new Relay({ ahead: none(one.port) });
    relay.prepare(LIMIT);
    await greeted(one);
    const { report } = await send(relay, target(one.port, { proxy: "http://127.0.0.1:1" }));
    expect(report.error?.code).toBe("connect_failed");
    expect([one.connections(), logins(one)]).toEqual([1, 0]);
  });

  it("is good for five seconds: then the server may have had enough", async () => {
    const one = await server({ on: { AUTH: "235 welcome" } });
    const relay = new Relay({ ahead: none(one.port) });
    relay.prepare({ timeLeft: 60_000 });
    await greeted(one);
    // EHLO has been answered by the time the send asks.
    await new Promise((resolve) => setTimeout(resolve, 20));
    const now = performance.now.bind(performance);
    vi.spyOn(performance, "now").mockImplementation(() => now() + 5_000);
    expect(fate(await send(relay, target(one.port)))).toBe("taken");
    vi.restoreAllMocks();
    expect(one.connections()).toBe(2);
    expect(logins(one)).toBe(1);
  });

  it("is made once in an instance's life", async () => {
    const one = await server({ on: { AUTH: "235 welcome" } });
    const relay = new Relay({ ahead: none(one.port) });
    for (const _ of [1, 2, 3]) {
      relay.prepare(LIMIT);
      relay.prepare(LIMIT);
      expect(fate(await send(relay, target(one.port)))).toBe("taken");
      await relay.release();
    }
    expect(one.connections()).toBe(3);
  });

  it("is not closed under a send by another one's end", async () => {
    const one = await server({ on: { AUTH: "235 welcome", content: "hang" } });
    const relay = new Relay({ ahead: none(one.port) });
    relay.prepare(LIMIT);
    const sending = send(relay, target(one.port));
    while (!one.seen.includes("content")) await new Promise((resolve) => setImmediate(resolve));
    await relay.release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(one.connections()).toBe(1);
    expect(one.closed()).toBe(0);
    await one.close();
    expect(fate(await sending)).toBe("lost");
  });

  it("has the time of the send that goes on with it, and its abort alone", async () => {
    const abort = new AbortController();
    let answer = (_: string) => {};
    const one = await server({
      on: { AUTH: "235 welcome", content: () => new Promise((resolve) => (answer = resolve)) },
    });
    const relay = new Relay({ ahead: none(one.port) });
    relay.prepare(LIMIT);
    const sending = send(relay, target(one.port), { ...LIMIT, signal: abort.signal });
    while (!one.seen.includes("content")) await new Promise((resolve) => setImmediate(resolve));
    // Of what was prepared; this has been taken.
    await relay.release();
    answer("250 taken");
    expect(fate(await sending)).toBe("taken");
    expect(one.connections()).toBe(1);
  });

  it("ends with the abort of the send that goes on with it", async () => {
    const abort = new AbortController();
    const one = await server({
      on: {
        AUTH: () => {
          abort.abort();
          return "hang";
        },
      },
    });
    const relay = new Relay({ ahead: none(one.port) });
    relay.prepare({ timeLeft: 1_000 });
    const { report } = await send(relay, target(one.port), { ...LIMIT, signal: abort.signal });
    expect(report.error?.code).toBe("aborted");
    expect(one.connections()).toBe(1);
  });

  it("is not taken once it is being closed", async () => {
    const one = await server({ on: { AUTH: "235 welcome" } });
    const relay = new Relay({ ahead: none(one.port) });
    relay.prepare(LIMIT);
    const sending = send(relay, target(one.port));
    await relay.release();
    expect(fate(await sending)).toBe("taken");
  });

  it("is closed at once where no time is left to use it", async () => {
    const opened = dialled();
    const one = await server();
    const relay = new Relay({ ahead: none(one.port) });
    relay.prepare(LIMIT);
    await greeted(one);
    // EHLO has been answered by the time the send asks.
    await new Promise((resolve) => setTimeout(resolve, 20));
    const now = performance.now.bind(performance);
    vi.spyOn(performance, "now").mockImplementation(() => now() + 1_000);
    const { report, timing } = await relay.send(target(one.port), [], { timeLeft: 0 });
    vi.restoreAllMocks();
    expect(opened.map(({ destroyed }) => destroyed)).toEqual([true]);
    expect(report.error?.code).toBe("timeout");
    expect(timing.totalMs).toBeGreaterThanOrEqual(1_000);
    await closedBy(one);
    expect(one.connections()).toBe(1);
  });

  it("is of no use to a mailbox without relays", async () => {
    const one = await server();
    const relay = new Relay({ ahead: none(one.port) });
    relay.prepare(LIMIT);
    const nowhere = send(relay, target(one.port, { endpoints: [] }));
    await expect(nowhere).rejects.toThrow("a mailbox without relays cannot be");
    await relay.release();
  });

  it("is waited for where it is under way", async () => {
    const one = await server({ on: { AUTH: "235 welcome" } });
    const relay = new Relay({ ahead: none(one.port) });
    relay.prepare(LIMIT);
    expect(fate(await send(relay, target(one.port)))).toBe("taken");
    expect(one.connections()).toBe(1);
  });

  it("is closed where nobody comes for it, said or not yet said", async () => {
    const one = await server();
    const relay = new Relay({ ahead: none(one.port) });
    relay.prepare(LIMIT);
    await greeted(one);
    await relay.release();
    await closedBy(one);
    expect(one.seen).toEqual([`EHLO ${EHLO}`]);
    const silent = await server({ greeting: "hang" });
    const other = new Relay({ ahead: none(silent.port) });
    other.prepare(LIMIT);
    await other.release();
    expect(silent.seen).toEqual([]);
  });

  const differing: readonly (readonly [string, (port: number) => Partial<RelayTarget>])[] = [
    ["another EHLO name", () => ({ ehloName: "other.test" })],
    ["TLS settings of its own", () => ({ tls: { servername: "mail.test" } })],
    [
      "another security",
      (port) => ({ endpoints: [{ host: HOST, port, security: "starttls" as const }] }),
    ],
    [
      "another host",
      (port) => ({ endpoints: [{ host: "localhost", port, security: "none" as const }] }),
    ],
  ];
  it.each(differing)("is closed before AUTH where the mailbox has %s", async (_, changes) => {
    const closed: string[] = [];
    const one = await server({
      ehlo: ["PIPELINING", "AUTH PLAIN", "STARTTLS"],
      on: { AUTH: "235 welcome", STARTTLS: "454 not now" },
      heard: (line) => closed.push(line.split(" ")[0] ?? ""),
    });
    const relay = new Relay({ ahead: none(one.port) });
    relay.prepare(LIMIT);
    await greeted(one);
    await send(relay, target(one.port, changes(one.port)));
    expect(one.connections()).toBe(2);
    expect(closed.slice(0, 2)).toEqual(["EHLO", "close"]);
    expect(logins(one)).toBeLessThanOrEqual(1);
  });

  it("serves the first of several relays, and is closed where it is to a later one", async () => {
    const on = { AUTH: "235 welcome" };
    const [first, second] = [await server({ on }), await server({ on })];
    const endpoints = [first, second].map(({ port }) => none(port).endpoint);
    for (const [named, expected] of [
      [first, 1],
      [second, 2],
    ] as const) {
      const relay = new Relay({ ahead: none(named.port) });
      relay.prepare(LIMIT);
      const sent = await send(relay, target(first.port, { endpoints }));
      await relay.release();
      expect(sent.endpoint.port).toBe(first.port);
      expect(first.connections()).toBe(expected);
    }
    expect(logins(second)).toBe(0);
  });

  it("goes by failover where it fails: the next relay is tried", async () => {
    const [dead, alive] = [await server({ greeting: "554 no" }), await server()];
    const relay = new Relay({ ahead: none(dead.port) });
    relay.prepare(LIMIT);
    const endpoints = [dead, alive].map(({ port }) => none(port).endpoint);
    const { credentials: _, ...anonymous } = target(dead.port, { endpoints });
    const sent = await send(relay, anonymous);
    expect(sent.endpoint.port).toBe(alive.port);
    expect(fate(sent)).toBe("taken");
  });

  it.each(["421 closing", "close"])("is not used once the server has said %s", async (answer) => {
    let calls = 0;
    const one = await server({
      on: {
        AUTH: "235 welcome",
        EHLO: () => {
          calls += 1;
          return calls === 1 && answer !== "close"
            ? `250 AUTH PLAIN\r\n${answer}`
            : calls === 1
              ? "close"
              : "250-fake.test\r\n250 AUTH PLAIN";
        },
      },
    });
    const relay = new Relay({ ahead: none(one.port) });
    relay.prepare(LIMIT);
    await greeted(one);
    expect(fate(await send(relay, target(one.port)))).toBe("taken");
    expect(one.connections()).toBe(2);
  });

  it.each(["implicit", "starttls"] as const)(
    "%s: a certificate that is not valid is never used",
    async (security) => {
      const one = await server({
        ehlo: ["STARTTLS", "AUTH PLAIN"],
        tls: { ...identity, implicit: security === "implicit" },
        on: { AUTH: "235 welcome" },
      });
      const endpoint = { host: HOST, port: one.port, security };
      const relay = new Relay({ ahead: { endpoint, ehloName: EHLO } });
      relay.prepare(LIMIT);
      const sent = await send(relay, target(one.port, { endpoints: [endpoint] }));
      // What is told is what the send's own connection met, as if nothing had been tried before.
      expect(sent.report.error?.code).toBe("certificate_invalid");
      expect(one.connections()).toBe(2);
      expect(logins(one)).toBe(0);
    },
  );
});
