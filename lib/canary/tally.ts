/**
 * What is known of probes, and what follows from it: pure but for the clock it is given. A probe that
 * was not seen is judged only where the watched mailbox was looked into.
 */
import type { Probe, Sighting } from "./ports.ts";

/** What became of a probe up to now. `waiting` and `overdue` are still on their way. */
export type Fate = "delivered" | "late" | "waiting" | "overdue" | "lost";

export interface ProbeResult {
  readonly id: string;
  readonly sentAt: string;
  readonly fate: Fate;
  /** From sending to arrival, where it arrived: to the second, or sooner where it was seen sooner. */
  readonly delayMs?: number;
  readonly folder?: string;
  /** It lay where spam goes. */
  readonly spam?: boolean;
}

export interface CanaryLimits {
  /** Milliseconds after which a probe is late, and after which it counts as lost. */
  readonly lateMs: number;
  readonly lostMs: number;
}

/** For the metrics; each probe counts once, late ones as soon as that is known. */
export interface CanaryCounts {
  /** Milliseconds from sending to arrival, of each probe found. */
  readonly delays: readonly number[];
  readonly delivered: number;
  readonly late: number;
  readonly lost: number;
  readonly spam: number;
}

export interface Judged {
  readonly probes: readonly ProbeResult[];
  readonly duplicates: number;
  readonly strays: number;
  readonly counts: CanaryCounts;
  /** What the next run has to know. */
  readonly remember: readonly Probe[];
}

interface Seen {
  readonly sighting: Sighting;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Servers tell the second of an arrival. */
const SECOND_MS = 1_000;
/** How long a found probe is remembered, for its copies; and how many at most. */
const COPIES_MS = 24 * 3600_000;
const MOST_REMEMBERED = 100;

export class Tally {
  readonly #known: ReadonlyMap<string, Probe>;
  readonly #seen = new Map<string, Seen>();
  #duplicates = 0;
  #strays = 0;

  constructor(known: readonly Probe[]) {
    this.#known = new Map(known.map((probe) => [probe.id, probe]));
  }

  /** When the oldest probe was sent that is still looked for, in milliseconds since the epoch. */
  oldest(now: number): number {
    const open = [...this.#known.values()].filter(({ found }) => !found);
    return Math.min(now, ...open.map(({ sentAt }) => sentAt));
  }

  has(id: string): boolean {
    return this.#seen.has(id);
  }

  /** What a look found, and nothing of it twice. */
  see(sightings: readonly Sighting[], at: number): void {
    for (const sighting of sightings) {
      const { id } = sighting;
      const probe = this.#known.get(id);
      if (probe === undefined) this.#strays += 1;
      else if (probe.found || this.#seen.has(id)) this.#duplicates += 1;
      else this.#seen.set(id, { sighting, at });
    }
  }

  /**
   * @param looked whether the watched mailbox could be looked into to the end
   * @param lasting whether a later run will know of what was not found
   */
  judge(
    now: number,
    { lateMs, lostMs }: CanaryLimits,
    { looked, lasting }: { readonly looked: boolean; readonly lasting: boolean },
  ): Judged {
    const probes: ProbeResult[] = [];
    const remember: Probe[] = [];
    const counts = { delays: [] as number[], delivered: 0, late: 0, lost: 0, spam: 0 };
    for (const probe of this.#known.values()) {
      const { id } = probe;
      const age = now - probe.sentAt;
      if (probe.found) {
        if (age < COPIES_MS) remember.push(probe);
        continue;
      }
      const told = { id, sentAt: new Date(probe.sentAt).toISOString() };
      const seen = this.#seen.get(id);
      if (seen !== undefined) {
        const { folder, spam } = seen.sighting;
        const delayMs = delayOf(probe, seen);
        const late = delayMs > lateMs;
        probes.push({ ...told, fate: late ? "late" : "delivered", delayMs, folder, spam });
        counts.delays.push(delayMs);
        counts.delivered += 1;
        counts.late += late && !probe.late ? 1 : 0;
        counts.spam += spam ? 1 : 0;
        remember.push({ ...probe, found: true });
      } else if (looked && (age >= lostMs || !lasting)) {
        probes.push({ ...told, fate: "lost" });
        counts.lost += 1;
      } else {
        const late = looked && age > lateMs;
        probes.push({ ...told, fate: late || probe.late ? "overdue" : "waiting" });
        counts.late += late && !probe.late ? 1 : 0;
        remember.push(late ? { ...probe, late } : probe);
      }
    }
    const [duplicates, strays] = [this.#duplicates, this.#strays];
    return { probes, duplicates, strays, counts, remember: remember.slice(-MOST_REMEMBERED) };
  }
}

/** The server's clock may be wrong, and ours bounds it: nothing arrived after it was seen. */
function delayOf({ sentAt }: Probe, { sighting, at }: Seen): number {
  return Math.max(0, Math.min(sighting.arrivedAt + SECOND_MS, at) - sentAt);
}
