/** One send over one relay or several, as its report and its transcript tell it. On loopback, in clear. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { contentOf } from "../../lib/smtp/data.ts";
import type { Security } from "../../lib/smtp/greet.ts";
import { Relay, type RelayTarget, type SendOptions } from "../../lib/smtp/io/relay.ts";
import { dialled } from "../support/dialled.ts";
import { type FakeOptions, type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";

const HOST = "127.0.0.1";
const PASSWORD = "pencil-case";

const open: FakeSmtp[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const one of open.splice(0)) await one.close();
});

async function server(options: FakeOptions = {}): Promise<FakeSmtp> {
  const started = await startFakeSmtp({ ehlo: ["PIPELINING"], ...options });
  open.push(started);
  return started;
}

/** A port where nobody listens any more. */
async function dead(): Promise<{ readonly port: number }> {
  const one = await startFakeSmtp();
  await one.close();
  return one;
}

const message = (to = "a@server.test") => ({
  from: "u@client.test",
  recipients: [to],
  content: contentOf(Buffer.from("Subject: x\r\n\r\nhello\r\n")),
  partial: "accept" as const,
  smtputf8: false,
});

async function send(
  relays: readonly { readonly port: number }[],
  options: Partial<SendOptions> = {},
  messages = [message()],
  more: Partial<RelayTarget> = {},
  relay = new Relay(),
) {
  const target: RelayTarget = {
    endpoints: relays.map(({ port }) => ({ host: HOST, port, security: "none" })),
    tls: {},
    ehloName: "client.test",
    allowPlaintextAuth: true,
    chunking: "off",
    secrets: [PASSWORD],
    ...more,
  };
  const sent = await relay.send(target, messages, { timeLeft: 8000, ...options });
  return {
    ...sent,
    fates: sent.report.messages.map(({ recipients }) => recipients[0]?.fate.is),
    notes: sent.transcript.map(({ text }) => text).filter((text) => text.startsWith("[1")),
    code: sent.report.error?.code,
  };
}

/** Time that stands still, at a figure that is reckoned with exactly. */
function freeze(): void {
  vi.spyOn(performance, "now").mockReturnValue(1000);
}

const REFUSED = (port: number, then = "") =>
  `[${HOST}:${port}: No connection to ${HOST} port ${port} (ECONNREFUSED).${then}]`;

describe("relays in turn", () => {
  it("are asked while nothing has been said, and each fault is told", async () => {
    const first = await dead();
    const second = await server({ greeting: "554 not me" });
    const third = await server();
    const fourth = await server();
    const sent = await send([first, second, third, fourth]);
    expect(sent.fates).toEqual(["taken"]);
    expect(sent.endpoint.port).toBe(third.port);
    expect(sent.tls).toBeUndefined();
    const [one, two, ...others] = sent.notes.filter((text) => text.includes("Next relay"));
    expect(one).toBe(REFUSED(first.port, " Next relay."));
    expect(two).toMatch(new RegExp(`^\\[${HOST}:${second.port}: .+ Next relay\\.\\]$`));
    expect(others).toEqual([]);
    expect(fourth.connections()).toBe(0);
  });

  it("may all fail: the last one's error counts, and no other is named", async () => {
    const [one, two] = [await dead(), await dead()];
    const sent = await send([one, two], {}, [message(), message()]);
    expect(sent.fates).toEqual(["unsent", "unsent"]);
    expect(sent.code).toBe("connect_failed");
    expect(sent.endpoint.port).toBe(two.port);
    expect(sent.notes).toEqual([REFUSED(one.port, " Next relay."), REFUSED(two.port)]);
    expect(sent.timing).toMatchObject({ connectMs: 0, roundTrips: 0 });
  });

  it("of which there is one alone are not told of twice", async () => {
    const sent = await send([await dead()]);
    expect(sent.code).toBe("connect_failed");
    expect(sent.transcript).toEqual([]);
  });

  it("stop where a server has heard who we are, or has refused the mail", async () => {
    for (const on of [{ MAIL: "550 no" }, { MAIL: "close" as const }]) {
      const other = await server();
      const sent = await send([await server({ on }), other]);
      expect(sent.fates[0]).not.toBe("taken");
      expect(other.connections()).toBe(0);
      expect(sent.notes).toEqual([]);
    }
  });

  it.each<[string, Security, FakeOptions["on"]]>([
    ["closes instead of a greeting", "none", undefined],
    ["refuses EHLO", "none", { EHLO: "421 later" }],
    ["closes at EHLO", "none", { EHLO: "close" }],
    ["does not offer STARTTLS", "starttls", undefined],
    ["refuses STARTTLS", "starttls", { STARTTLS: "454 not now" }],
    ["answers STARTTLS and does not speak TLS", "starttls", { STARTTLS: "220 go\r\n220 what" }],
  ])("are asked after one that %s", async (what, security, on) => {
    const first = await server({
      ...(on && { on }),
      ...(on?.["STARTTLS"] !== undefined && { ehlo: ["STARTTLS"] }),
      ...(what.includes("greeting") && { greeting: "close" }),
    });
    const second = await server();
    const endpoints = [
      { host: HOST, port: first.port, security },
      { host: HOST, port: second.port, security: "none" as const },
    ];
    const sent = await send([], {}, [message()], { endpoints });
    expect(sent.fates).toEqual(["taken"]);
    expect(sent.notes).toEqual([expect.stringMatching(/ Next relay\.\]$/)]);
    expect([first.connections(), second.connections()]).toEqual([1, 1]);
  });

  it.each(["535 no", "454 later", "close"])("are not asked once AUTH is told: %s", async (AUTH) => {
    const other = await server();
    const first = await server({ ehlo: ["AUTH PLAIN"], on: { AUTH } });
    const credentials = { username: "shop", password: PASSWORD };
    const sent = await send([first, other], {}, [message()], { credentials });
    expect(sent.fates).toEqual(["unsent"]);
    expect(sent.notes).toEqual([]);
    expect(other.connections()).toBe(0);
  });

  it("are asked from the first one on in every session", async () => {
    const [first, second] = [await dead(), await server({ ehlo: ["LIMITS MAILMAX=1"] })];
    const sent = await send([first, second], {}, [message(), message()]);
    expect(sent.fates).toEqual(["taken", "taken"]);
    expect(sent.notes).toEqual(Array(2).fill(REFUSED(first.port, " Next relay.")));
    expect(second.connections()).toBe(2);
  });

  it("stop at an abort", async () => {
    const abort = new AbortController();
    const other = await server();
    const silent = await server({ greeting: "hang" });
    setTimeout(() => abort.abort(), 20);
    const sent = await send([silent, other], { signal: abort.signal });
    expect(sent.code).toBe("aborted");
    expect(other.connections()).toBe(0);
    expect(sent.notes).toEqual([]);
  });

  it("share the time: one that says nothing leaves the other its part", async () => {
    const silent = await server({ greeting: "hang" });
    const sent = await send([silent, await server()], { timeLeft: 700 });
    expect(sent.fates).toEqual(["taken"]);
    expect(sent.notes[0]).toContain("this relay's share of the time");
  });

  it("have equal shares of what is left, and the last one all of it", async () => {
    freeze();
    const silent = await server({ greeting: "hang" });
    const shared = await send([silent, silent, await server()], { timeLeft: 300 });
    expect(shared.fates).toEqual(["taken"]);
    const [first, second] = shared.notes;
    const share = "this relay's share of the time, since another one waits. Next relay.]";
    expect(first).toContain(`None came within 0.1 s, ${share}`);
    // A half of it, since time stood still.
    expect(second).toContain(`None came within 0.2 s, ${share}`);
    const last = await send([await dead(), silent], { timeLeft: 100 });
    expect(last.report.error?.message).toContain(
      "None came within 0.1 s, all the time this invocation had left.",
    );
  });

  it("are not told of by what is secret", async () => {
    const lookup = () => Promise.reject(Object.assign(new Error("x"), { code: "ENOTFOUND" }));
    const endpoint = { host: `${PASSWORD}.test`, port: 25, security: "none" as const };
    const relay = new Relay({ lookup });
    const sent = await send([], {}, [message()], { endpoints: [endpoint, endpoint] }, relay);
    expect(sent.code).toBe("dns_failed");
    const told = "The name ***.test could not be resolved (ENOTFOUND).";
    expect(sent.transcript.map(({ text }) => text)).toEqual([
      `[***.test:25: ${told} Next relay.]`,
      `[***.test:25: ${told}]`,
    ]);
  });

  it("that cannot be reached take time too, after one that has answered", async () => {
    const now = performance.now.bind(performance);
    const relay = new Relay({
      lookup: () => {
        vi.spyOn(performance, "now").mockImplementation(() => now() + 3000);
        return Promise.reject(new Error("x"));
      },
    });
    const first = await server({ greeting: "554 not me" });
    const endpoints = [
      { host: HOST, port: first.port, security: "none" as const },
      { host: "mail.test", port: 25, security: "none" as const },
    ];
    const sent = await send([], {}, [message()], { endpoints }, relay);
    expect(sent.code).toBe("dns_failed");
    expect(sent.timing.totalMs).toBeGreaterThanOrEqual(3000);
  });

  it("are not failed over for a fault of the program's own", async () => {
    const one = await server();
    const faulty = send([one, one], {}, [message()], { proxy: "no URL" });
    await expect(faulty).rejects.toThrow(TypeError);
    expect(one.connections()).toBe(0);
    await expect(send([])).rejects.toThrow("a mailbox without relays cannot be");
  });
});

describe("one send", () => {
  it("that has no time begins nothing, and says why", async () => {
    freeze();
    const one = await server();
    const sent = await send([one], { timeLeft: 0 });
    expect(one.connections()).toBe(0);
    expect(sent.fates).toEqual(["unsent"]);
    expect(sent.report.error).toMatchObject({
      code: "timeout",
      phase: "connect",
      message:
        "No time was left to ask the server: preparing the message used up all that this invocation had.",
    });
  });

  it("takes as many sessions as the server's limit asks for (RFC 9422), on one clock", async () => {
    const one = await server({ ehlo: ["LIMITS MAILMAX=1"] });
    const recorded: number[] = [];
    const messages = ["a@server.test", "b@server.test", "c@server.test"].map(message);
    const commit = async (index: number) => {
      recorded.push(index);
      expect(one.seen.filter((line) => line === "content")).toHaveLength(index);
    };
    const sent = await send([one], { commit }, messages);
    expect(sent.fates).toEqual(["taken", "taken", "taken"]);
    expect(one.connections()).toBe(3);
    expect(recorded).toEqual([0, 1, 2]);
    expect(one.seen.filter((line) => line.startsWith("RCPT"))).toEqual(
      messages
        .map(({ recipients }) => `RCPT TO:<${recipients[0]}>`.toUpperCase())
        .map((text) => expect.stringMatching(new RegExp(`^${text}$`, "i"))),
    );
    const times = sent.transcript.map(({ at }) => at);
    expect(times).toEqual([...times].sort((a, b) => a - b));
  });

  it("takes as many sessions as one message's recipients ask for (RFC 9422)", async () => {
    const one = await server({ ehlo: ["LIMITS MAILMAX=1 RCPTMAX=1"] });
    const recipients = ["a", "b", "c", "d"].map((name) => `${name}@server.test`);
    const recorded: number[] = [];
    const commit = async (index: number) => {
      recorded.push(index);
    };
    const sent = await send([one], { commit }, [message(), { ...message(), recipients }]);
    const fates = sent.report.messages.map((each) => each.recipients.map(({ fate }) => fate.is));
    expect(fates).toEqual([["taken"], ["taken", "taken", "taken", "taken"]]);
    expect(one.connections()).toBe(5);
    expect(recorded).toEqual([0, 1, 1, 1, 1]);
    expect(one.seen.filter((line) => line.startsWith("RCPT"))).toEqual(
      ["a", ...["a", "b", "c", "d"]].map((name) => `RCPT TO:<${name}@server.test>`),
    );
  });

  it("takes no session more once one has settled nothing", async () => {
    let asked = 0;
    const one = await server({
      ehlo: ["LIMITS MAILMAX=1 RCPTMAX=1"],
      on: { MAIL: () => (asked++ < 2 ? "250 ok" : "close") },
    });
    // A recipient named several times is one recipient: whose fate the second session told is open.
    const recipients = ["a@server.test", "a@server.test", "a@server.test"];
    const sent = await send([one], {}, [{ ...message(), recipients }]);
    expect(sent.fates).toEqual(["taken"]);
    expect(one.connections()).toBe(2);
  });

  it("ends where the next session goes wrong, and keeps what was taken", async () => {
    let asked = 0;
    const one = await server({
      ehlo: ["LIMITS MAILMAX=1"],
      on: { MAIL: () => (asked++ === 0 ? "250 ok" : "close") },
    });
    const sent = await send([one], {}, [message(), message(), message()]);
    expect(sent.fates).toEqual(["taken", "unsent", "unsent"]);
    expect(sent.code).toBe("connection_lost");
    expect(one.connections()).toBe(2);
  });

  it("is not made where the ledger does not record it, and waits for it no longer than it may", async () => {
    const one = await server();
    const sent = await send([one], { commit: () => Promise.reject(new Error("x")) });
    expect([sent.code, ...sent.fates]).toEqual(["commit_failed", "unsent"]);
    const late = await send([one], { timeLeft: 200, commit: () => new Promise(() => {}) });
    expect([late.code, ...late.fates]).toEqual(["timeout", "unsent"]);
    expect(one.seen).not.toContain("content");
  });

  it("goes on from an earlier one: transcript, clock and figures", async () => {
    const before = {
      transcript: [{ at: 1, from: "C", text: "[earlier]" }] as const,
      timing: {
        totalMs: 50,
        connectMs: 1000,
        tlsMs: 2000,
        authMs: 3000,
        transactionMs: 5,
        roundTrips: 100,
      },
      begun: performance.now() - 10_000,
    };
    const sent = await send([await server()], { after: before });
    expect(sent.transcript[0]).toEqual({ at: 1, from: "C", text: "[earlier]" });
    expect(sent.transcript[1]?.at).toBeGreaterThanOrEqual(10_000);
    expect(sent.begun).toBe(before.begun);
    expect(sent.timing).toMatchObject({ tlsMs: 2000, authMs: 3000 });
    expect(sent.timing.connectMs).toBeGreaterThanOrEqual(1000);
    expect(sent.timing.roundTrips).toBeGreaterThan(100);
    expect(sent.timing.totalMs).toBeGreaterThanOrEqual(10_000);
  });

  it("tells of no part that took longer than the whole", async () => {
    const { timing } = await send([await server()]);
    const { totalMs, connectMs, tlsMs, authMs, transactionMs } = timing;
    expect(Math.max(connectMs, tlsMs, authMs, transactionMs)).toBeLessThanOrEqual(totalMs);
  });

  it("is over when its connection is closed, however it ended", async () => {
    const sockets = dialled();
    for (const on of [{}, { MAIL: "close" as const }, { QUIT: "hang" as const }]) {
      await send([await server({ on })]);
    }
    expect(sockets.map(({ closed }) => closed)).toEqual([true, true, true]);
  });

  it("logs in with a nonce of its own, which nobody can guess", async () => {
    const one = await server({ ehlo: ["AUTH SCRAM-SHA-256"], on: { AUTH: "535 no" } });
    const credentials = { username: "shop", password: PASSWORD };
    for (const _ of [1, 2]) {
      const sent = await send([one], {}, [message()], { credentials });
      expect(sent.code).toBe("auth_failed");
    }
    const nonces = one.seen
      .filter((line) => line.startsWith("AUTH"))
      .map((line) => Buffer.from(line.split(" ")[2] ?? "", "base64").toString())
      .map((text) => text.replace("n,,n=shop,r=", ""));
    expect(nonces).toHaveLength(2);
    for (const nonce of nonces) expect(nonce).toMatch(/^[\w-]{24}$/);
    expect(nonces[0]).not.toBe(nonces[1]);
  });

  it("has nothing to prepare or to release where no relay is named ahead", async () => {
    const relay = new Relay();
    relay.prepare({ timeLeft: 1000 });
    expect(await relay.release()).toBeUndefined();
  });

  it("masks what a server echoes, wherever it is shown", async () => {
    const one = await server({
      ehlo: [`XSAID ${PASSWORD}`],
      on: { MAIL: `550 not ${PASSWORD}` },
    });
    const sent = await send([one]);
    const { capabilities, error, messages } = sent.report;
    const told = [sent.transcript, [...(capabilities?.keywords ?? [])], error, messages];
    expect(JSON.stringify(told)).not.toContain(PASSWORD);
    expect(sent.scrub(`so ${PASSWORD}`)).not.toContain(PASSWORD);
    expect(capabilities?.has("XSAID")).toBe(true);
  });
});
