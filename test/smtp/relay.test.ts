/** One send over one relay or several, as its report and its transcript tell it. On loopback, in clear. */
import { afterEach, describe, expect, it } from "vitest";
import { contentOf } from "../../lib/smtp/data.ts";
import { Relay, type RelayTarget, type SendOptions } from "../../lib/smtp/io/relay.ts";
import { type FakeOptions, type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";

const HOST = "127.0.0.1";
const PASSWORD = "pencil-case";

const open: FakeSmtp[] = [];
afterEach(async () => {
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
  const sent = await new Relay().send(target, messages, { timeLeft: 8000, ...options });
  return {
    ...sent,
    fates: sent.report.messages.map(({ recipients }) => recipients[0]?.fate.is),
    notes: sent.transcript.map(({ text }) => text).filter((text) => text.startsWith("[1")),
    code: sent.report.error?.code,
  };
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
});

describe("one send", () => {
  it("that has no time begins nothing, and says why", async () => {
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
