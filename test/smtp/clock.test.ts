/**
 * What a send waits for, and in which words it stops: on a clock that the test moves, so that minutes
 * pass at once and each figure is held to the millisecond.
 */
import { getEventListeners } from "node:events";
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";
import { afterEach, describe, expect, it, vi } from "vitest";
import { contentOf } from "../../lib/smtp/data.ts";
import type { SmtpError } from "../../lib/smtp/error.ts";
import {
  BLOCK_TIMEOUT,
  demandTime,
  FAREWELL,
  HELLO,
  type Limits,
  PHASE_TIMEOUTS,
  within,
} from "../../lib/smtp/io/deadline.ts";
import { inTime, recorded } from "../../lib/smtp/io/in-time.ts";
import { ownName } from "../../lib/smtp/io/own-name.ts";
import { Stopwatch } from "../../lib/smtp/io/stopwatch.ts";
import {
  CLIENT_CERTIFICATE,
  clientCertificateRefused,
  tlsError,
  tlsFailed,
  unusable,
} from "../../lib/smtp/io/tls-error.ts";
import type { Phase } from "../../lib/smtp/step.ts";
import { stillClock } from "../support/clock.ts";

const START = 1_000_000;

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

const limits = (left: number, hello = left, signal?: AbortSignal): Limits => ({
  endsAt: START + left,
  helloBy: START + hello,
  signal,
});

const HOUR = 3_600_000;
const NEVER = () => () => {};
/** What has been said of it by now. */
async function soFar(promise: Promise<unknown>): Promise<unknown> {
  const open = {};
  const found = await Promise.race([promise.catch((error: unknown) => error), turns(open)]);
  return found === open ? "open" : found;
}
async function turns<T>(value: T): Promise<T> {
  for (let count = 0; count < 20; count += 1) await undefined;
  return value;
}

describe("phases", () => {
  it("last as long as RFC 5321 §4.5.3.2 says", () => {
    expect(PHASE_TIMEOUTS).toEqual({
      connect: 10_000,
      tls: 15_000,
      greeting: 300_000,
      ehlo: 300_000,
      starttls: 120_000,
      auth: 120_000,
      mail: 300_000,
      rcpt: 300_000,
      data: 120_000,
      content: 600_000,
      rset: 10_000,
      quit: 250,
      farewell: 25,
    });
    expect(BLOCK_TIMEOUT).toBe(180_000);
  });

  it("before the login, and after every outcome", () => {
    expect([...HELLO]).toEqual(["connect", "tls", "greeting", "ehlo", "starttls"]);
    expect([...FAREWELL]).toEqual(["quit", "farewell"]);
  });

  it.each<[Phase, string]>([
    [
      "connect",
      "No connection to the server. From a VPC this needs a NAT gateway, and AWS restricts outbound port 25: use 465 or 587. No answer within 10 s, the phase's limit.",
    ],
    ["tls", "The TLS handshake did not finish within 15 s, the phase's limit."],
    [
      "greeting",
      'No greeting. A port that expects TLS at once (usually 465) waits in silence: then set "security" to "implicit". None came within 300 s, the phase\'s limit (RFC 5321 §4.5.3.2).',
    ],
    ["ehlo", "No answer to EHLO within 300 s, the phase's limit (RFC 5321 §4.5.3.2)."],
    ["starttls", "No answer to STARTTLS within 120 s, the phase's limit (RFC 5321 §4.5.3.2)."],
    ["auth", "No answer to AUTH within 120 s, the phase's limit (RFC 5321 §4.5.3.2)."],
    ["mail", "No answer to MAIL within 300 s, the phase's limit (RFC 5321 §4.5.3.2)."],
    ["rcpt", "No answer to RCPT within 300 s, the phase's limit (RFC 5321 §4.5.3.2)."],
    ["data", "No answer to DATA within 120 s, the phase's limit (RFC 5321 §4.5.3.2)."],
    ["content", "No answer to the content within 600 s, the phase's limit (RFC 5321 §4.5.3.2)."],
    ["rset", "No answer to RSET within 10 s, the phase's limit (RFC 5321 §4.5.3.2)."],
    ["quit", "No answer to QUIT within 0.3 s, the phase's limit (RFC 5321 §4.5.3.2)."],
    ["farewell", "No answer to QUIT within 0 s, the phase's limit (RFC 5321 §4.5.3.2)."],
  ])("%s ends in these words, and not a millisecond early", async (phase, message) => {
    const time = stillClock(START);
    const waited = within(limits(HOUR), phase, PHASE_TIMEOUTS[phase], NEVER);
    time.pass(PHASE_TIMEOUTS[phase] - 1);
    expect(await soFar(waited)).toBe("open");
    time.pass(1);
    expect(await soFar(waited)).toMatchObject({ code: "timeout", phase, message });
    expect(time.timers.size).toBe(0);
  });
});

describe("the time that is left", () => {
  const ALL = "all the time this invocation had left.";
  const SHARE = "this relay's share of the time, since another one waits.";

  it.each<[string, Phase, Limits, number, string]>([
    ["is less than the phase's", "mail", limits(1500), 1500, `within 1.5 s, ${ALL}`],
    ["is just the phase's", "mail", limits(300_000), 300_000, `within 300 s, ${ALL}`],
    ["is shared", "ehlo", limits(9000, 3000), 3000, `within 3 s, ${SHARE}`],
    ["is shared, but no more after the login", "auth", limits(9000, 3000), 9000, `9 s, ${ALL}`],
    ["ends before the share does", "ehlo", limits(3000, 9000), 3000, `within 3 s, ${ALL}`],
    ["is over", "mail", limits(-5), 0, `within 0 s, ${ALL}`],
  ])("%s", async (_, phase, given, milliseconds, says) => {
    const time = stillClock(START);
    const waited = within(given, phase, PHASE_TIMEOUTS[phase], NEVER);
    if (milliseconds > 0) time.pass(milliseconds - 1);
    expect(await soFar(waited)).toBe("open");
    time.pass(milliseconds > 0 ? 1 : 0);
    const error = (await soFar(waited)) as SmtpError;
    expect(error.message.endsWith(says)).toBe(true);
    expect(error).toMatchObject({ code: "timeout", phase });
  });

  it("must be there for what happens at once", () => {
    stillClock(START);
    expect(() => demandTime(limits(1), "mail")).not.toThrow();
    expect(() => demandTime(limits(1, 0), "mail")).not.toThrow();
    expect(() => demandTime(limits(0), "mail")).toThrow(`Nothing more was sent within 0 s, ${ALL}`);
    expect(() => demandTime(limits(1, 0), "ehlo")).toThrow(
      `Nothing more was sent within 0 s, ${SHARE}`,
    );
    expect(() => demandTime(limits(1, 1, AbortSignal.abort()), "rcpt")).toThrow(
      "The send was aborted in phase rcpt.",
    );
  });
});

describe("what is waited for", () => {
  type Settle = {
    resolve: (value: string) => void;
    reject: (error: unknown) => void;
  };

  function waiting() {
    const time = stillClock(START);
    const abort = new AbortController();
    let settle: Settle | undefined;
    let released = 0;
    const result = within<string>(limits(1000, 1000, abort.signal), "mail", 500, (given) => {
      settle = given;
      return () => {
        released += 1;
      };
    });
    result.catch(() => {});
    const left = () => [
      released,
      time.timers.size,
      getEventListeners(abort.signal, "abort").length,
    ];
    return { time, abort, result, left, settle: settle as Settle };
  }

  it("leaves nothing behind, however it ends, and ends once", async () => {
    const fault = new Error("x");
    const ends: [(w: ReturnType<typeof waiting>) => void, unknown][] = [
      [({ settle }) => settle.resolve("done"), "done"],
      [({ settle }) => settle.reject(fault), fault],
      [({ time }) => time.pass(500), expect.objectContaining({ code: "timeout" })],
      [({ abort }) => abort.abort(), expect.objectContaining({ code: "aborted", phase: "mail" })],
    ];
    for (const [end, outcome] of ends) {
      const one = waiting();
      expect(one.left()).toEqual([0, 1, 1]);
      end(one);
      expect(await soFar(one.result)).toEqual(outcome);
      expect(one.left()).toEqual([1, 0, 0]);
      for (const [again] of ends) again(one);
      expect(one.left()[0]).toBe(1);
      vi.restoreAllMocks();
    }
  });

  it("is not begun where the abort came first", async () => {
    const time = stillClock(START);
    const work = vi.fn(NEVER);
    const given = limits(1000, 1000, AbortSignal.abort());
    const error = await soFar(within(given, "data", 500, work));
    expect(error).toMatchObject({
      code: "aborted",
      phase: "data",
      message: "The send was aborted in phase data.",
    });
    expect(work).not.toHaveBeenCalled();
    expect(time.timers.size).toBe(0);
  });

  it("is released where it settled at once, or threw", async () => {
    const time = stillClock(START);
    const release = vi.fn();
    const given = limits(1000);
    const done = within<string>(given, "mail", 500, ({ resolve }) => {
      resolve("at once");
      return release;
    });
    expect(await soFar(done)).toBe("at once");
    expect(release).toHaveBeenCalledTimes(1);
    const fault = new Error("x");
    const thrown = within(given, "mail", 500, () => {
      throw fault;
    });
    expect(await soFar(thrown)).toBe(fault);
    expect(time.timers.size).toBe(0);
  });
});

describe("the ledger", () => {
  it("has the time that is left, and its own word counts", async () => {
    const time = stillClock(START);
    expect(await soFar(recorded(Promise.resolve(), limits(HOUR)))).toBeUndefined();
    const fault = new Error("throttled");
    expect(await soFar(recorded(Promise.reject(fault), limits(HOUR)))).toBe(fault);
    const late = recorded(new Promise(() => {}), limits(HOUR));
    time.pass(HOUR - 1);
    expect(await soFar(late)).toBe("open");
    time.pass(1);
    expect(await soFar(late)).toMatchObject({
      code: "timeout",
      phase: "content",
      message:
        "The ledger did not record the send within 3600 s, all the time this invocation had left.",
    });
  });
});

describe("content from elsewhere", () => {
  const message = (content: ReturnType<typeof contentOf>) => ({
    from: "s@x.test",
    recipients: ["a"],
    content,
    partial: "accept" as const,
    smtputf8: false,
  });
  const pieces = [Buffer.from("a"), Buffer.from("b")];

  /** Gives the pieces, then whatever `more` says; knows whether it was told to stop. */
  function source(more: () => Promise<IteratorResult<Uint8Array>>) {
    const told = { stops: 0 };
    const left = [...pieces];
    const iterator: AsyncIterator<Uint8Array> = {
      next: () => {
        const value = left.shift();
        return value ? Promise.resolve({ done: false, value }) : more();
      },
      return: () => {
        told.stops += 1;
        return Promise.reject(new Error("cannot stop either"));
      },
    };
    const content = {
      size: 2,
      eightBit: true,
      utf8Header: true,
      open: () => ({ [Symbol.asyncIterator]: () => iterator }),
    };
    return { told, submission: message(content) };
  }
  async function readAll(open: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, upTo = 99) {
    const got: string[] = [];
    for await (const piece of open) {
      got.push(Buffer.from(piece).toString());
      if (got.length === upTo) break;
    }
    return got.join("");
  }

  it("is the same message", async () => {
    const { told, submission } = source(async () => ({ done: true, value: undefined }));
    const timed = inTime(submission, limits(HOUR));
    expect(timed).toMatchObject({
      from: "s@x.test",
      recipients: ["a"],
      content: { size: 2, eightBit: true, utf8Header: true },
    });
    stillClock(START);
    expect(await readAll(timed.content.open())).toBe("ab");
    expect(told.stops).toBe(0);
  });

  it("that is at hand is read as it is", () => {
    const content = contentOf(Buffer.from("x"));
    const open = [Buffer.from("x")];
    const timed = inTime(message({ ...content, open: () => open }), limits(-1));
    expect(timed.content.open()).toBe(open);
  });

  it("that stalls is given up, and told so", async () => {
    const time = stillClock(START);
    const { told, submission } = source(() => new Promise(() => {}));
    const reading = readAll(inTime(submission, limits(5000)).content.open());
    expect(await soFar(reading)).toBe("open");
    time.pass(5000);
    expect(await soFar(reading)).toMatchObject({
      code: "timeout",
      phase: "content",
      message:
        "The content could not be read to its end within 5 s, all the time this invocation had left.",
    });
    expect(told.stops).toBe(1);
  });

  it("that nobody wants any more is told so", async () => {
    stillClock(START);
    const { told, submission } = source(() => new Promise(() => {}));
    expect(await readAll(inTime(submission, limits(5000)).content.open(), 1)).toBe("a");
    expect(told.stops).toBe(1);
  });

  it("that fails says why; some sources cannot be told to stop", async () => {
    stillClock(START);
    const fault = new Error("gone");
    const iterator = { next: () => Promise.reject(fault) };
    const content = {
      ...contentOf(Buffer.from("x")),
      open: () => ({ [Symbol.asyncIterator]: () => iterator }),
    };
    const reading = readAll(inTime(message(content), limits(5000)).content.open());
    expect(await soFar(reading)).toBe(fault);
  });
});

describe("the stopwatch", () => {
  const NOTHING = {
    totalMs: 0,
    connectMs: 0,
    tlsMs: 0,
    authMs: 0,
    transactionMs: 0,
    roundTrips: 0,
  };

  /** A command and its reply, `took` milliseconds later. */
  function ask(watch: Stopwatch, time: { pass(ms: number): void }, phase: Phase, took: number) {
    watch.sending();
    watch.awaiting(phase);
    time.pass(took);
    watch.answered(phase, false);
  }

  it("of a whole send", () => {
    const time = stillClock(START);
    const watch = new Stopwatch();
    expect(watch.begun).toBe(START);
    watch.connecting();
    time.pass(10);
    watch.connected(10);
    watch.awaiting("greeting");
    time.pass(5);
    watch.answered("greeting", false);
    ask(watch, time, "ehlo", 5);
    ask(watch, time, "starttls", 5);
    time.pass(20);
    watch.secured(20, { protocol: "TLSv1.3", resumed: false });
    ask(watch, time, "ehlo", 5);
    ask(watch, time, "auth", 7);
    ask(watch, time, "auth", 7);
    time.pass(100);
    ask(watch, time, "mail", 11);
    ask(watch, time, "rcpt", 11);
    ask(watch, time, "data", 11);
    ask(watch, time, "content", 11.26);
    expect(watch.elapsed()).toBeCloseTo(208.26);
    watch.sending();
    watch.awaiting("farewell");
    time.pass(25);
    watch.answered("farewell", false);
    time.pass(1000);
    expect(watch.timing()).toEqual({
      totalMs: 208.3,
      connectMs: 10,
      tlsMs: 20,
      authMs: 14,
      transactionMs: 44.3,
      roundTrips: 12,
    });
  });

  it("counts a flight once, however many replies it has", () => {
    const time = stillClock(START);
    const watch = new Stopwatch();
    watch.sending();
    for (const phase of ["mail", "rcpt", "data"] as const) {
      watch.awaiting(phase);
      time.pass(3);
      watch.answered(phase, true);
    }
    expect(watch.timing()).toEqual({ ...NOTHING, totalMs: 9, transactionMs: 9, roundTrips: 1 });
  });

  it("counts no wait that nothing was sent for, and a transaction that ends at RCPT", () => {
    const time = stillClock(START);
    const watch = new Stopwatch();
    watch.awaiting("mail");
    time.pass(3);
    watch.answered("mail", false);
    expect(watch.timing().roundTrips).toBe(0);
    const refused = new Stopwatch();
    ask(refused, time, "mail", 2);
    ask(refused, time, "rcpt", 3);
    expect(refused.timing()).toMatchObject({ transactionMs: 5, roundTrips: 2 });
  });

  it("has a login that left with the envelope in the transaction", () => {
    const time = stillClock(START);
    const watch = new Stopwatch();
    watch.sending();
    watch.awaiting("auth");
    time.pass(4);
    watch.answered("auth", true);
    expect(watch.timing()).toEqual({ ...NOTHING, totalMs: 4, roundTrips: 1 });
  });

  it("counts two round trips for a full handshake of TLS 1.2, and one for any other", () => {
    stillClock(START);
    const trips = (tls?: { protocol: string; resumed: boolean }) => {
      const watch = new Stopwatch();
      watch.secured(0, tls);
      return watch.timing().roundTrips;
    };
    expect(trips({ protocol: "TLSv1.2", resumed: false })).toBe(2);
    expect(trips({ protocol: "TLSv1.2", resumed: true })).toBe(1);
    expect(trips({ protocol: "TLSv1.3", resumed: false })).toBe(1);
    expect(trips()).toBe(1);
  });

  it("runs on while something has no answer, and only then", () => {
    const time = stillClock(START);
    const never = new Stopwatch();
    time.pass(7);
    expect(never.timing()).toEqual({ ...NOTHING, totalMs: 7 });
    const watch = new Stopwatch();
    ask(watch, time, "mail", 5);
    time.pass(50);
    expect(watch.timing().totalMs).toBe(5);
    watch.awaiting("rcpt");
    time.pass(50);
    expect(watch.timing().totalMs).toBe(105);
    watch.answered("rcpt", false);
    watch.awaiting("quit");
    time.pass(50);
    expect(watch.timing()).toMatchObject({ totalMs: 105, roundTrips: 1 });
    watch.connecting();
    time.pass(50);
    expect(watch.timing().totalMs).toBe(205);
  });

  it("goes on from an earlier session", () => {
    const time = stillClock(START);
    const before = { ...NOTHING, connectMs: 1, tlsMs: 2, authMs: 3, roundTrips: 4 };
    const watch = new Stopwatch(START - 100, { ...before, totalMs: 9, transactionMs: 9 });
    expect(watch.timing()).toEqual({ ...before, totalMs: 100 });
    watch.connected(10);
    watch.secured(10, undefined);
    ask(watch, time, "auth", 10);
    expect(watch.timing()).toMatchObject({
      connectMs: 11,
      tlsMs: 12,
      authMs: 13,
      roundTrips: 7,
      totalMs: 110,
    });
  });
});

describe("why TLS failed", () => {
  const endpoint = { host: "mx.test", port: 465 };
  const coded = (code: string) => Object.assign(new Error("text"), { code });
  const INVALID = (why: string) =>
    `The certificate of mx.test is not valid for this mailbox (${why}). A private CA belongs in "tls.ca", another name in "tls.servername".`;
  const REFUSED = (why: string) =>
    `mx.test does not accept this mailbox's client certificate, or misses one (${why}): mend "tls.cert" and "tls.key".`;
  const OLD =
    ' The two share no version of TLS: the server must offer at least "tls.minVersion", "TLSv1.2" unless the mailbox says more.';
  const PLAIN = ' Port 465 does not begin with TLS: "security" may have to be "starttls".';
  const failed = (why: string, hint = "") => `TLS with mx.test failed (${why}).${hint}`;

  it.each<readonly [string, string, string]>([
    ...[
      "CERT_HAS_EXPIRED",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "SELF_SIGNED_CERT_IN_CHAIN",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "ERR_TLS_CERT_ALTNAME_INVALID",
      "HOSTNAME_MISMATCH",
      "INVALID_CA",
      "INVALID_PURPOSE",
      "PATH_LENGTH_EXCEEDED",
      "CRL_HAS_EXPIRED",
    ].map((code) => [code, "certificate_invalid", INVALID(code)] as const),
    ...[
      "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
      "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE",
      "ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
      "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED",
      "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
      "ERR_SSL_TLSV1_ALERT_ACCESS_DENIED",
    ].map((code) => [code, "certificate_invalid", REFUSED(code)] as const),
    ...["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG"].map(
      (code) => [code, "tls_failed", failed(code, PLAIN)] as const,
    ),
    ...["ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION", "ERR_SSL_UNSUPPORTED_PROTOCOL"].map(
      (code) => [code, "tls_version", failed(code, OLD)] as const,
    ),
    ["ECONNRESET", "tls_failed", failed("ECONNRESET")],
    ["ERR_ALERT_UNKNOWN_CA_X", "tls_failed", failed("ERR_ALERT_UNKNOWN_CA_X")],
    ["X_CERT_HAS_EXPIRED", "tls_failed", failed("X_CERT_HAS_EXPIRED")],
  ])("%s: %s", (code, kind, message) => {
    expect(tlsError(coded(code), endpoint, false)).toMatchObject({
      code: kind,
      message,
      phase: "tls",
    });
  });

  it("without a code, in the error's own words", () => {
    const error = new Error("just so");
    expect(tlsError(error, endpoint, false).message).toBe(failed("just so"));
    expect(tlsError(error, endpoint, true)).toMatchObject({
      code: "certificate_invalid",
      message: INVALID("just so"),
    });
  });

  it("where others say so", () => {
    expect(tlsFailed("plain text came", endpoint, true)).toMatchObject({
      code: "tls_failed",
      message: failed("plain text came", PLAIN),
      phase: "tls",
    });
    expect(clientCertificateRefused("X", endpoint)).toMatchObject({
      code: "certificate_invalid",
      message: REFUSED("X"),
      phase: "tls",
    });
    const PEM = (why: string) =>
      `The mailbox's "tls" cannot be used (${why}): "ca", "cert" and "key" must be PEM, and "key" the one that belongs to "cert".`;
    expect(unusable(coded("ERR_X"))).toMatchObject({
      code: "certificate_invalid",
      message: PEM("ERR_X"),
      phase: "tls",
    });
    expect(unusable(new TypeError("secret")).message).toBe(PEM("TypeError"));
    expect(CLIENT_CERTIFICATE.test("ERR_SSL_ALERT_CERTIFICATE_")).toBe(false);
  });
});

describe("the name that a client gives itself", () => {
  function named(name: string, addresses: readonly Partial<os.NetworkInterfaceInfo>[] = []) {
    vi.spyOn(os, "hostname").mockReturnValue(name);
    const found = { lo: undefined, eth0: addresses } as unknown;
    vi.spyOn(os, "networkInterfaces").mockReturnValue(
      found as ReturnType<typeof os.networkInterfaces>,
    );
    syncBuiltinESMExports();
    return ownName();
  }
  const LAN = { family: "IPv4", internal: false, address: "10.1.2.3" } as const;
  const LOOP = { family: "IPv4", internal: true, address: "127.0.0.9" } as const;
  const SIX = { family: "IPv6", internal: false, address: "fe80::1" } as const;

  it.each(["mx.example.com", "a-1.b2", "10x.1.2.3", "1.2.3.x4"])(
    "is the host's full name: %s",
    (name) => {
      expect(named(name, [LAN])).toBe(name);
    },
  );

  it.each(["localhost", "10.1.2.4", "", "a..b", ".a.b", "a.b.", "a_b.c", "a b.c", "a.b c"])(
    "is its address where that is none: %j",
    (name) => {
      expect(named(name, [LOOP, SIX, LAN])).toBe("[10.1.2.3]");
    },
  );

  it("is the loopback's where there is no other", () => {
    expect(named("localhost", [LOOP, SIX])).toBe("[127.0.0.1]");
    expect(named("localhost")).toBe("[127.0.0.1]");
  });
});
