/** A run's course where something else fails: the table, the inbox midway, the send, the time. */
import { describe, expect, it } from "vitest";
import { type CanaryPorts, runCanary } from "../../lib/canary/canary.ts";
import {
  type Inbox,
  type Memory,
  type Probe,
  type Sighting,
  WatchError,
} from "../../lib/canary/ports.ts";
import { probeId } from "../../lib/canary/probe.ts";
import { type Result, retold, unsent } from "../../lib/submission/outcome.ts";

const ASKED = { key: "canary-1", to: "watch@example.com" };
const ID = probeId(ASKED.key, ASKED.to);
const LIMITS = { lateMs: 300_000, lostMs: 3_600_000 };
const START = Date.parse("2026-01-02T03:15:00Z");

function answer(outcome: Result["outcome"]): Result {
  return { ...unsent(ASKED.key, "deferred", { code: "x", phase: "x", message: "" }), outcome };
}

/** Ports on a clock that only waiting moves. */
function ports(changes: {
  readonly outcome?: Result;
  readonly memory?: Memory | undefined;
  readonly timeLeft?: number;
  readonly inbox?: Partial<Inbox>;
  readonly lying?: readonly Sighting[];
  readonly open?: CanaryPorts["open"];
}) {
  let now = START;
  const calls: string[] = [];
  const written: (readonly Probe[])[] = [];
  const memory: Memory = {
    read: async () => [],
    write: async (probes) => {
      written.push(probes);
    },
  };
  const inbox: Inbox = {
    look: async () => {
      calls.push("look");
      return changes.lying ?? [];
    },
    remove: async (found) => {
      calls.push(`remove ${found.length}`);
    },
    wait: async (milliseconds) => {
      calls.push(`wait ${milliseconds}`);
      now += milliseconds;
    },
    close: async () => {
      calls.push("close");
    },
    ...changes.inbox,
  };
  const all: CanaryPorts = {
    send: async () => changes.outcome ?? answer("accepted"),
    open: changes.open ?? (async () => inbox),
    memory: "memory" in changes ? changes.memory : memory,
    now: () => now,
    timeLeft: () => (changes.timeLeft ?? 80_000) - (now - START),
  };
  return { all, calls, written };
}

const own = { id: ID, folder: "INBOX", spam: false, arrivedAt: START, uid: 1 };

describe("a run", () => {
  it("waits for its probe for 45 seconds, and leaves the rest to the next", async () => {
    const { all, calls, written } = ports({});
    const { result } = await runCanary(all, ASKED, LIMITS);
    expect(result).toMatchObject({ ok: true, probes: [{ id: ID, fate: "waiting" }] });
    expect(calls.filter((call) => call === "wait 5000")).toHaveLength(9);
    expect(calls.at(-1)).toBe("close");
    expect(written).toEqual([[{ id: ID, sentAt: START }]]);
  });

  it("keeps time back for what comes after", async () => {
    const { all, calls } = ports({ timeLeft: 10_000 });
    await runCanary(all, ASKED, LIMITS);
    expect(calls.filter((call) => call.startsWith("wait"))).toEqual(["wait 5000", "wait 2000"]);
  });

  it.each(["deferred", "rejected", "uncertain"] as const)(
    "does not wait for what was not taken for certain: %s",
    async (outcome) => {
      const { all, calls } = ports({ outcome: answer(outcome) });
      const { result } = await runCanary(all, ASKED, LIMITS);
      expect(result).toMatchObject({ ok: false, sent: { outcome }, probes: [] });
      expect(calls).toEqual(["look", "close"]);
    },
  );

  it("does not look for what an earlier run has sent and judged", async () => {
    const { all, calls } = ports({ outcome: retold(answer("accepted")) });
    const { result } = await runCanary(all, ASKED, LIMITS);
    expect(result).toMatchObject({ ok: true, probes: [] });
    expect(calls).toEqual(["look", "close"]);
  });

  it("forgets nothing where the table does not answer", async () => {
    const writes: unknown[] = [];
    const memory: Memory = {
      read: () => Promise.reject(new Error("no table")),
      write: async (probes) => {
        writes.push(probes);
      },
    };
    const { all } = ports({ memory });
    const { result } = await runCanary(all, ASKED, LIMITS);
    // It is not called lost, and what the table holds is not written over.
    expect(result.probes).toMatchObject([{ fate: "waiting" }]);
    expect(writes).toEqual([]);
  });

  it("tells what it found where the table does not take it", async () => {
    const memory: Memory = {
      read: async () => [],
      write: () => Promise.reject(new Error("no table")),
    };
    const { all, calls } = ports({ memory, lying: [own] });
    const { result, counts } = await runCanary(all, ASKED, LIMITS);
    expect(result).toMatchObject({ ok: true, probes: [{ fate: "delivered" }] });
    expect(counts).toMatchObject({ delivered: 1 });
    expect(calls).toEqual(["look", "remove 1", "close"]);
  });

  it("judges what it found, and nothing else, where the inbox fails midway", async () => {
    const old = { id: "old", sentAt: START - 9_000_000 };
    const memory: Memory = { read: async () => [old], write: async () => {} };
    const remove = () => Promise.reject(new WatchError("watch_timeout", "slow"));
    const { all, calls } = ports({ memory, lying: [own], inbox: { remove } });
    const { result, counts } = await runCanary(all, ASKED, LIMITS);
    expect(result).toMatchObject({
      ok: false,
      probes: [
        { id: "old", fate: "waiting" },
        { id: ID, fate: "delivered" },
      ],
      error: { code: "watch_timeout" },
    });
    expect(counts).toMatchObject({ delivered: 1, lost: 0 });
    expect(calls.at(-1)).toBe("close");
  });

  it("hides no fault of its own", async () => {
    const open = () => Promise.reject(new TypeError("a fault"));
    await expect(runCanary(ports({ open }).all, ASKED, LIMITS)).rejects.toThrow("a fault");
  });
});
