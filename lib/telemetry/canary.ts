/** What is told of a delivery check: a line in the log and its metrics, without addresses. */
import type { CanaryResult } from "../canary/canary.ts";
import type { CanaryCounts } from "../canary/tally.ts";
import { isLogged, type LogLevel, toStandardError } from "./log.ts";
import { type Emit, emitter } from "./metrics.ts";

export interface CanaryTold {
  readonly result: CanaryResult;
  readonly counts: CanaryCounts;
  readonly requestId: string;
}

/** CloudWatch takes so many values of a metric in one line. */
const MOST_VALUES = 100;

export function tellCanary(
  { result, counts, requestId }: CanaryTold,
  config: { readonly logLevel: LogLevel; readonly metricsService: string | undefined },
): void {
  emitCanary(counts, emitter(config.metricsService));
  const { ok, sent, probes, duplicates, strays, error } = result;
  const level = ok ? "info" : "warn";
  if (!isLogged(level, config.logLevel)) return;
  const time = new Date().toISOString();
  const { id, outcome } = sent;
  const line = { time, level, message: "canary", requestId, ok, id, outcome };
  toStandardError(`${JSON.stringify({ ...line, probes, duplicates, strays, error })}\n`);
}

/** A delay for each probe that was found; without one there is none. */
export function emitCanary({ delays, ...counts }: CanaryCounts, emit: Emit): void {
  emit("canary", {
    ...(delays.length > 0 && { CanaryDelayMs: delays.slice(0, MOST_VALUES) }),
    CanaryDelivered: counts.delivered,
    CanaryLate: counts.late,
    CanaryLost: counts.lost,
    CanarySpam: counts.spam,
  });
}
