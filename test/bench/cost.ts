/**
 * What a thousand messages cost in Lambda, from what was measured: waiting takes as long whatever the
 * memory, CPU is handed out in proportion to it. A model, and it says so; its figures are `results.json`'s.
 */
import type { Cpu } from "./cpu.ts";
import type { Latency } from "./latency.ts";

/** Lambda's list price in us-east-1 on arm64 (first tier, 2025), in dollars. */
export const PRICE = { gigabyteSecond: 0.0000133334, request: 0.0000002 } as const;
/** Memory in MB at which a function has a whole virtual CPU (AWS's own figure). */
const WHOLE_CPU_MB = 1769;

export const MEMORIES = [128, 256, 512] as const;
export const RTTS = [20, 100] as const;
export const BATCHES = [1, 10] as const;

export interface Cost {
  readonly contender: string;
  readonly rttMs: number;
  /** Messages that one invocation sends in one session. */
  readonly messages: number;
  readonly memory: number;
  /** Milliseconds of one warm invocation. */
  readonly duration: number;
  /** For a thousand messages. */
  readonly gigabyteSeconds: number;
  readonly dollars: number;
}

const CONTENDERS: readonly (readonly [string, string])[] = [
  ["posthaste", "posthaste, chunking off"],
  ["nodemailer", "nodemailer"],
];

export function costs(
  latencies: readonly Latency[],
  batches: readonly Latency[],
  cpus: readonly Cpu[],
): readonly Cost[] {
  return CONTENDERS.flatMap(([contender, measured]) =>
    RTTS.flatMap((rttMs) =>
      BATCHES.flatMap((messages) => {
        const wall = [...latencies, ...batches].find(
          (one) =>
            one.contender === measured &&
            one.rttMs === rttMs &&
            one.messages === messages &&
            one.security === "implicit" &&
            one.mechanism === "PLAIN",
        )?.milliseconds.median;
        const cpu = cpus.find((one) => one.contender === contender && one.messages === messages);
        if (wall === undefined || cpu === undefined) return [];
        return MEMORIES.map((memory): Cost => {
          const busy = cpu.cpuMs.median;
          const waiting = Math.max(0, wall - busy);
          const duration = waiting + busy * (WHOLE_CPU_MB / memory);
          const invocations = 1000 / messages;
          // AWS rounds each invocation up to the millisecond.
          const gigabyteSeconds = (invocations * Math.ceil(duration) * memory) / 1024 / 1000;
          const dollars = gigabyteSeconds * PRICE.gigabyteSecond + invocations * PRICE.request;
          return { contender, rttMs, messages, memory, duration, gigabyteSeconds, dollars };
        });
      }),
    ),
  );
}
