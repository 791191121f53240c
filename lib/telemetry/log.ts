/**
 * One JSON line for each submission. Without addresses and subject, since logs live longer and are
 * read more widely than mail. Written to standard error: a function's standard output may be someone
 * else's data.
 */
import type { Result } from "../submission/outcome.ts";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

const RANK: Readonly<Record<LogLevel, number>> = {
  debug: 0,
  info: 1,
  warn: 2,
  error: 3,
  silent: 4,
};

export interface Log {
  submission(source: string, result: Result, requestId: string): void;
}

export function jsonLog(level: LogLevel, write: (line: string) => void = toStandardError): Log {
  return {
    submission(source, result, requestId) {
      const own: LogLevel = result.outcome === "accepted" ? "info" : "warn";
      if (RANK[own] < RANK[level]) return;
      const { id, outcome, retryable, reply, queueId, messageId, server, timing, error } = result;
      const line = {
        time: new Date().toISOString(),
        level: own,
        message: "submission",
        requestId,
        source,
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
      };
      write(`${JSON.stringify(line)}\n`);
    },
  };
}

function toStandardError(line: string): void {
  process.stderr.write(line);
}
