/**
 * Names and the race between their addresses (RFC 8305), on a clock and sockets that the test moves:
 * nothing is looked up, and nothing is dialled.
 */
import dns, { type LookupAddress } from "node:dns";
import { Socket } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { SmtpError } from "../../lib/smtp/error.ts";
import { AddressBook, dial } from "../../lib/smtp/io/dns.ts";
import { stillClock } from "../support/clock.ts";

const A = { address: "192.0.2.1", family: 4 };
const B = { address: "192.0.2.2", family: 4 };
const C = { address: "192.0.2.3", family: 4 };
const SIX = { address: "2001:db8::1", family: 6 };
const SEVEN = { address: "2001:db8::2", family: 6 };

afterEach(() => {
  vi.restoreAllMocks();
});

/** A book of these addresses; every question to the resolver is kept. */
function book(found: readonly LookupAddress[] | Error, life?: number) {
  const asked: string[] = [];
  const lookup = async (host: string) => {
    asked.push(host);
    if (found instanceof Error) throw found;
    return found;
  };
  return { asked, addresses: new AddressBook(lookup, life) };
}

describe("an address book", () => {
  it("knows IP addresses by themselves", async () => {
    const { asked, addresses } = book([A]);
    expect(await addresses.resolve("192.0.2.9")).toEqual([{ address: "192.0.2.9", family: 4 }]);
    expect(await addresses.resolve("::1")).toEqual([{ address: "::1", family: 6 }]);
    expect(asked).toEqual([]);
  });

  it.each([
    [undefined, 60_000],
    [7, 7],
  ])("keeps what it was told for its life (%s), by name", async (life, milliseconds) => {
    let now = 1_000_000;
    vi.spyOn(Date, "now").mockImplementation(() => now);
    const { asked, addresses } = book([A], life);
    await addresses.resolve("a.test");
    now += milliseconds - 1;
    expect(await addresses.resolve("a.test")).toEqual([A]);
    await addresses.resolve("b.test");
    expect(asked).toEqual(["a.test", "b.test"]);
    now += 1;
    await addresses.resolve("a.test");
    expect(asked).toEqual(["a.test", "b.test", "a.test"]);
    addresses.forget("a.test");
    await addresses.resolve("a.test");
    await addresses.resolve("b.test");
    expect(asked).toEqual(["a.test", "b.test", "a.test", "a.test"]);
  });

  it("keeps no failure, and takes no addresses for one", async () => {
    const failing = book(new Error("x"));
    for (let time = 0; time < 2; time += 1) {
      await expect(failing.addresses.resolve("a.test")).rejects.toThrow("x");
    }
    expect(failing.asked).toHaveLength(2);
    const empty = book([]);
    for (let time = 0; time < 2; time += 1) {
      await expect(empty.addresses.resolve("a.test")).rejects.toMatchObject({
        code: "ENODATA",
        message: "no address",
      });
    }
    expect(empty.asked).toHaveLength(2);
  });

  it.each([
    [
      [A, B, C, SIX],
      [A, SIX, B, C],
    ],
    [
      [SIX, SEVEN, A],
      [SIX, A, SEVEN],
    ],
    [
      [A, SIX, SEVEN],
      [A, SIX, SEVEN],
    ],
    [
      [A, B],
      [A, B],
    ],
  ])("lets families take turns, the first one first %#", async (found, order) => {
    expect(await book(found).addresses.resolve("a.test")).toEqual(order);
  });

  it("asks the system for all addresses, in its own order, where it is given no one to ask", async () => {
    const lookup = vi.spyOn(dns.promises, "lookup").mockResolvedValue([A] as never);
    expect(await new AddressBook().resolve("a.test")).toEqual([A]);
    expect(lookup).toHaveBeenCalledWith("a.test", { all: true, order: "verbatim" });
  });
});

const START = 1_000_000;

/** Sockets that do nothing until they are told to, and a clock for the delays between them. */
function race(found: readonly LookupAddress[] | Error) {
  const { timers, pass } = stillClock(START);
  const sockets: Socket[] = [];
  const dialled: unknown[] = [];
  vi.spyOn(Socket.prototype, "connect").mockImplementation(function (
    this: Socket,
    ...[to]: readonly unknown[]
  ) {
    sockets.push(this);
    dialled.push(to);
    return this;
  } as typeof Socket.prototype.connect);
  const { addresses, asked } = book(found);
  const abort = new AbortController();
  const endsAt = START + 60_000;
  const limits = { endsAt, helloBy: endsAt, signal: abort.signal };
  const result = dial({ host: "mx.test", port: 25 }, limits, addresses);
  const settled = result.catch((error: unknown) => error);
  return {
    sockets,
    dialled,
    timers,
    abort,
    addresses,
    asked,
    settled,
    pass,
  };
}

const coded = (code: string) => Object.assign(new Error("text"), { code });
async function turns(): Promise<void> {
  for (let count = 0; count < 20; count += 1) await undefined;
}

describe("a race", () => {
  it("is joined by another address each quarter of a second, and won by the first that answers", async () => {
    const one = race([A, B, C]);
    await turns();
    expect(one.dialled).toEqual([{ host: A.address, port: 25 }]);
    one.pass(249);
    expect(one.dialled).toHaveLength(1);
    one.pass(1);
    expect(one.dialled.at(-1)).toEqual({ host: B.address, port: 25 });
    one.pass(250);
    expect(one.dialled.at(-1)).toEqual({ host: C.address, port: 25 });
    // The limit of the phase alone: nobody waits for a fourth.
    expect(one.timers.size).toBe(1);
    one.sockets[1]?.emit("connect");
    const winner = await one.settled;
    expect(winner).toBe(one.sockets[1]);
    expect(one.sockets.map(({ destroyed }) => destroyed)).toEqual([true, false, true]);
    expect(one.timers.size).toBe(0);
    expect(one.sockets[1]?.listenerCount("connect")).toBe(0);
    // A late reset is no event that nobody handles, and no business of the race's.
    expect(one.sockets[1]?.listenerCount("error")).toBe(1);
    one.sockets[1]?.emit("error", coded("ECONNRESET"));
    one.sockets[1]?.destroy();
  });

  it("goes on at once where one refuses, and is lost when the last one has", async () => {
    const one = race([A, B, C]);
    await turns();
    one.pass(100);
    one.sockets[0]?.emit("error", coded("ECONNREFUSED"));
    expect(one.dialled).toHaveLength(2);
    one.pass(249);
    expect(one.dialled).toHaveLength(2);
    one.pass(1);
    expect(one.dialled).toHaveLength(3);
    one.sockets[2]?.emit("error", coded("EHOSTUNREACH"));
    await turns();
    // One may still win, however late.
    expect(one.timers.size).toBe(1);
    one.sockets[1]?.emit("error", coded("ECONNREFUSED"));
    const error = await one.settled;
    expect(error).toBeInstanceOf(SmtpError);
    expect(error).toMatchObject({
      code: "connect_failed",
      phase: "connect",
      message: "No connection to mx.test port 25 (ECONNREFUSED, EHOSTUNREACH).",
    });
    await one.addresses.resolve("mx.test");
    expect(one.asked).toEqual(["mx.test", "mx.test"]);
    expect(one.timers.size).toBe(0);
  });

  it("is over at an abort: what was begun is released, and nothing begins", async () => {
    const one = race([A, B]);
    await turns();
    one.abort.abort();
    expect(await one.settled).toMatchObject({ code: "aborted", phase: "connect" });
    expect(one.sockets.map(({ destroyed }) => destroyed)).toEqual([true]);
    expect(one.timers.size).toBe(0);
    vi.restoreAllMocks();
    const early = race([A, B]);
    early.abort.abort();
    await turns();
    expect(await early.settled).toMatchObject({ code: "aborted" });
    expect(early.dialled).toEqual([]);
  });

  it.each([
    ["ENOTFOUND", coded("ENOTFOUND")],
    ["TypeError", new TypeError("text")],
  ])("without addresses does not begin: %s", async (why, fault) => {
    const one = race(fault);
    expect(await one.settled).toMatchObject({
      code: "dns_failed",
      phase: "connect",
      message: `The name mx.test could not be resolved (${why}).`,
    });
    expect(one.dialled).toEqual([]);
  });
});
