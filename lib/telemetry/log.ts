/**
 * One JSON line for each submission. Without addresses and subject unless they are asked for, since
 * logs live longer and are read more widely than mail. Written to standard error: a function's
 * standard output may be someone else's data.
 */
import { correlationOf } from "../submission/identity.ts";
import { isRetold, type Result } from "../submission/outcome.ts";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error", "silent"];

/** Whether a line of this level is written where the least level is that one. */
export function isLogged(own: LogLevel, least: LogLevel): boolean {
  return LEVELS.indexOf(own) >= LEVELS.indexOf(least);
}

/** Where requests come from; a metric's dimension. */
export type Source = "api" | "invoke" | "sqs" | "sns" | "eventbridge" | "s3" | "canary" | "check";

/** A submission as the telemetry is told of it. */
export interface Submitted {
  readonly source: Source;
  readonly result: Result;
  /** Of this invocation. */
  readonly requestId: string;
  /** What the request is followed by, from the event to the message's header. */
  readonly correlationId?: string | undefined;
  /** The request: its own correlation id is read, and its subject where that may be written. */
  readonly input?: unknown;
  /** How often a queue has handed the request out, this time included. */
  readonly receives?: number | undefined;
}

export interface Log {
  submission(submitted: Submitted): void;
}

export interface LogOptions {
  readonly level: LogLevel;
  /** Envelope and subject are written too. */
  readonly addresses?: boolean | undefined;
}

/** @param write takes one line with its end */
export function jsonLog(
  { level, addresses }: LogOptions,
  write: (line: string) => void = toStandardError,
): Log {
  return {
    submission({ source, result, requestId, correlationId, input, receives }) {
      const own: LogLevel = result.outcome === "accepted" ? "info" : "warn";
      if (!isLogged(own, level)) return;
      const { id, outcome, retryable, reply, queueId, messageId, server, timing, error } = result;
      const line = {
        time: new Date().toISOString(),
        level: own,
        message: "submission",
        requestId,
        correlationId: correlationOf(input, correlationId),
        traceId: traceId(),
        source,
        receives,
        retold: isRetold(result) || undefined,
        id,
        outcome,
        retryable,
        code: reply?.code,
        enhanced: reply?.enhanced,
        queueId,
        messageId,
        recipients: result.recipients.length,
        server: server && { host: server.host, port: server.port, auth: server.auth },
        ...timing,
        // The message may quote a reply, and a reply an address: the code says enough.
        error: error && { code: error.code, phase: error.phase },
        ...(addresses && { ...result.envelope, subject: subjectOf(input) }),
      };
      write(`${JSON.stringify(line)}\n`);
    },
  };
}

/** Of the trace that this invocation is part of, as Lambda tells it: `Root=1-…;Parent=…;…`. */
function traceId(): string | undefined {
  return /(?:^|;)Root=([\w-]{1,64})/.exec(process.env["_X_AMZN_TRACE_ID"] ?? "")?.[1];
}

function subjectOf(input: unknown): string | undefined {
  const { subject } = (input ?? {}) as { readonly subject?: unknown };
  return typeof subject === "string" ? subject : undefined;
}

export function toStandardError(line: string): void {
  process.stderr.write(line);
}
