/**
 * Metrics in CloudWatch's embedded format (EMF): one line of JSON on standard output, which is where
 * the format's specification wants it on Lambda, and CloudWatch makes metrics of it. No call, no
 * permission, no waiting; no line at all without a service to name them by.
 *
 * Nothing in a line tells of a person: ids, counts and times, as in the log.
 */

import type { Timing } from "../smtp/report.ts";
import type { CheckResult } from "../submission/check.ts";
import { isRetold, type Result } from "../submission/outcome.ts";
import type { Source, Submitted } from "./log.ts";

export const NAMESPACE = "posthaste";

/** Each metric is kept for all of a service, and by where the requests came from. */
export const DIMENSIONS = [["Service"], ["Service", "Source"]] as const;

export interface Metrics {
  submission(submitted: Submitted): void;
  check(result: CheckResult): void;
}

/** A value, or several observations of one metric (100 at most, or CloudWatch drops the line). */
export type Values = Readonly<Record<string, number | readonly number[]>>;
type Unit = "Count" | "Milliseconds";

/** Writes a line of metrics, and beside them what they are about: ids, to be searched for. */
export type Emit = (
  source: Source,
  values: Values,
  about?: Readonly<Record<string, string>>,
) => void;

/**
 * @param service the dimension `Service`; undefined: nothing is written
 * @param write takes one line with its end
 */
export function emitter(
  service: string | undefined,
  write: (line: string) => void = toStandardOutput,
): Emit {
  return (source, values, about = {}) => {
    if (service === undefined) return;
    const Metrics = Object.keys(values).map((Name) => ({ Name, Unit: unitOf(Name) }));
    const directive = { Namespace: NAMESPACE, Dimensions: DIMENSIONS, Metrics };
    const _aws = { Timestamp: Date.now(), CloudWatchMetrics: [directive] };
    const line = { _aws, Service: service, Source: source, ...values, ...about };
    write(`${JSON.stringify(line)}\n`);
  };
}

export function emfMetrics(emit: Emit): Metrics {
  return {
    submission({ source, result, requestId, receives }) {
      if (isRetold(result)) return;
      const { outcome, reply, recipients } = result;
      const replied = (digit: number) => one(Math.floor((reply?.code ?? 0) / 100) === digit);
      const values = {
        Submissions: 1,
        Accepted: one(outcome === "accepted"),
        Partial: one(outcome === "partial"),
        Rejected: one(outcome === "rejected"),
        Deferred: one(outcome === "deferred"),
        Uncertain: one(outcome === "uncertain"),
        LoginRefused: one(loginRefused(result)),
        Recipients: recipients.length,
        Reply2xx: replied(2),
        Reply4xx: replied(4),
        Reply5xx: replied(5),
        ...times(result.timing),
        ...(receives !== undefined && { Retries: receives - 1 }),
      };
      emit(source, values, { id: result.id, requestId });
    },
    check({ login, timing }) {
      emit("check", { LoginRefused: one(login === "refused"), ...(timing && times(timing)) });
    },
  };
}

/** 535 or 534, and what rests because of them: an alarm lasts as long as its cause. */
function loginRefused({ error, reply }: Pick<Result, "error" | "reply">): boolean {
  if (error?.phase !== "auth") return false;
  return error.code === "auth_failed" || reply?.code === 535 || reply?.code === 534;
}

/** Where nobody was connected to there is no time to tell of, and zeros would pull the others down. */
function times(timing: Timing): Values {
  if (timing.totalMs === 0) return {};
  return {
    RoundTrips: timing.roundTrips,
    TotalMs: timing.totalMs,
    ConnectMs: timing.connectMs,
    TlsMs: timing.tlsMs,
    AuthMs: timing.authMs,
    TransactionMs: timing.transactionMs,
  };
}

const one = (is: boolean): 0 | 1 => (is ? 1 : 0);

const unitOf = (name: string): Unit => (name.endsWith("Ms") ? "Milliseconds" : "Count");

function toStandardOutput(line: string): void {
  process.stdout.write(line);
}
