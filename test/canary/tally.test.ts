/** What follows from what was seen, by the clock and by the memory: the judgements, one by one. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Probe, Sighting } from "../../lib/canary/ports.ts";
import { probeId, probeRequest, readMark } from "../../lib/canary/probe.ts";
import { type CanaryCounts, Tally } from "../../lib/canary/tally.ts";
import { parseWatchedSecret } from "../../lib/canary/watched.ts";
import { parseRequest } from "../../lib/message/schema.ts";

const LIMITS = { lateMs: 300_000, lostMs: 3_600_000 };
const LOOKED = { looked: true, lasting: true };
const SENT = Date.parse("2026-01-02T03:15:00.400Z");

const sighting = (id: string, arrivedAt: number, spam = false): Sighting => ({
  id,
  folder: spam ? "Junk" : "INBOX",
  spam,
  arrivedAt,
  uid: 1,
});

function judged(
  probe: Partial<Probe>,
  seen: readonly Sighting[],
  now: number,
  how: Parameters<Tally["judge"]>[2] = LOOKED,
) {
  const tally = new Tally([{ id: "a", sentAt: SENT, ...probe }]);
  tally.see(seen, now);
  return tally.judge(now, LIMITS, how);
}

describe("the delay", () => {
  it.each([
    ["is to the second that the server tells, upwards", 2_600, 60_000, 3_600],
    ["is no longer than until it was seen", 0, 700, 700],
    ["is never negative, whatever the server's clock says", -3_600_000, 700, 0],
    ["is bounded where the server's clock runs ahead", 3_600_000, 5_000, 5_000],
  ])("%s", (_, arrived, seen, delayMs) => {
    const { probes, counts } = judged({}, [sighting("a", SENT + arrived)], SENT + seen);
    expect(probes).toMatchObject([{ fate: "delivered", delayMs }]);
    expect(counts.delays).toEqual([delayMs]);
  });
});

describe("a probe", () => {
  it("that took longer than allowed is late, wherever it lies", () => {
    const { probes, counts } = judged({}, [sighting("a", SENT + 400_000, true)], SENT + 900_000);
    expect(probes).toMatchObject([{ fate: "late", spam: true, folder: "Junk" }]);
    expect(counts).toMatchObject({ delivered: 1, late: 1, lost: 0, spam: 1 });
  });

  it("that is not there yet is waited for, then overdue, then lost", () => {
    const waiting = judged({}, [], SENT + 200_000);
    expect(waiting).toMatchObject({ probes: [{ fate: "waiting" }], counts: { late: 0, lost: 0 } });
    const overdue = judged({}, [], SENT + 400_000);
    expect(overdue).toMatchObject({ probes: [{ fate: "overdue" }], counts: { late: 1, lost: 0 } });
    expect(overdue.remember).toEqual([{ id: "a", sentAt: SENT, late: true }]);
    const again = judged({ late: true }, [], SENT + 500_000);
    expect(again).toMatchObject({ probes: [{ fate: "overdue" }], counts: { late: 0, lost: 0 } });
    const lost = judged({ late: true }, [], SENT + 3_600_000);
    expect(lost).toMatchObject({ probes: [{ fate: "lost" }], counts: { late: 0, lost: 1 } });
    expect(lost.remember).toEqual([]);
  });

  it("is not judged where nobody could look", () => {
    const blind = judged({}, [], SENT + 9_000_000, { looked: false, lasting: true });
    expect(blind).toMatchObject({ probes: [{ fate: "waiting" }], counts: { late: 0, lost: 0 } });
    expect(blind.remember).toEqual([{ id: "a", sentAt: SENT }]);
  });

  it("is lost at once where no later run would know of it", () => {
    const { probes } = judged({}, [], SENT + 1_000, { looked: true, lasting: false });
    expect(probes).toMatchObject([{ fate: "lost" }]);
  });

  it("that comes twice is a duplicate, at once or a run later, and one that nobody knows a stray", () => {
    const twice = judged(
      {},
      [sighting("a", SENT), sighting("a", SENT), sighting("b", SENT)],
      SENT + 9,
    );
    expect(twice).toMatchObject({ duplicates: 1, strays: 1, counts: { delivered: 1 } });
    expect(twice.remember).toEqual([{ id: "a", sentAt: SENT, found: true }]);
    const later = judged({ found: true }, [sighting("a", SENT)], SENT + 60_000);
    expect(later).toMatchObject({ probes: [], duplicates: 1, strays: 0, counts: { delivered: 0 } });
    expect(judged({ found: true }, [], SENT + 90_000_000).remember).toEqual([]);
  });

  it("is delivered or lost once, and late at most once, whenever it is looked for", () => {
    const looks = fc.array(fc.integer({ min: 1, max: 600_000 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(looks, fc.integer({ min: 0, max: 5_000_000 }), (gaps, arrival) => {
        let remember: readonly Probe[] = [{ id: "a", sentAt: SENT }];
        let now = SENT;
        const sum: CanaryCounts = { delays: [], delivered: 0, late: 0, lost: 0, spam: 0 };
        const total = { ...sum };
        for (const gap of gaps) {
          now += gap;
          const tally = new Tally(remember);
          const open = remember.some(({ found }) => !found);
          if (open && now >= SENT + arrival) tally.see([sighting("a", SENT + arrival)], now);
          const round = tally.judge(now, LIMITS, LOOKED);
          remember = round.remember;
          total.delivered += round.counts.delivered;
          total.late += round.counts.late;
          total.lost += round.counts.lost;
        }
        expect(total.delivered + total.lost).toBeLessThanOrEqual(1);
        expect(total.late).toBeLessThanOrEqual(1);
        if (total.delivered === 1 && arrival + 1_000 <= 300_000) expect(total.late).toBe(0);
      }),
    );
  });
});

describe("the message", () => {
  it("is a request that is the same however often it is made, and bears its id", () => {
    const asked = { key: "canary-1", to: "watch@example.com" };
    const request = probeRequest(asked);
    expect(parseRequest(request)).toMatchObject({ ok: true });
    expect(probeRequest(asked)).toEqual(request);
    expect(probeId("canary-1", "other@example.com")).not.toBe(probeId("canary-1", asked.to));
    const [[name, value] = []] = Object.entries(request.headers ?? {});
    expect(readMark(`Subject: x\r\n${name}: ${value}\r\n\r\n`)).toBe(probeId(asked.key, asked.to));
    expect(readMark("X-Posthaste-Canary: too short\r\n")).toBeUndefined();
  });
});

describe("the watched mailbox's secret", () => {
  const secret = { host: "imap.example.com", username: "w", password: "p" };
  it.each([
    [{}, 993, "implicit"],
    [{ port: 143 }, 143, "starttls"],
    [{ security: "starttls" }, 143, "starttls"],
    [{ port: 1993, security: "implicit" }, 1993, "implicit"],
  ])("with %j is read on port %i with %s", (given, port, security) => {
    const read = parseWatchedSecret(JSON.stringify({ ...secret, ...given }));
    expect(read).toMatchObject({ port, security, login: { password: "p" }, tls: {} });
  });

  it.each([
    [{ host: "imaps://imap.example.com" }, /host must be a host name/],
    [{ password: undefined }, /password is missing/],
    [{ security: "none" }, /security must be "implicit" or "starttls"/],
    [{ rejectUnauthorized: false }, /rejectUnauthorized is not a known field/],
    [{ tls: { rejectUnauthorized: false } }, /tls\.rejectUnauthorized is not a known field/],
  ])("is refused with %j", (given, complaint) => {
    expect(() => parseWatchedSecret(JSON.stringify({ ...secret, ...given }))).toThrow(complaint);
  });
});
