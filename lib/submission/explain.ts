/**
 * Why there is no session, told so that a person can act. Errors of unknown make are not quoted: they
 * may hold anything.
 */
import { ConfigError } from "../config.ts";
import { recipientsOf } from "../message/envelope.ts";
import { parseRaw } from "../message/raw.ts";
import { type MailRequest, parseRequest } from "../message/schema.ts";
import type { Resting } from "./deliver.ts";
import { LedgerError } from "./ledger.ts";
import { MailboxError } from "./mailbox.ts";
import { type ErrorResult, type Issue, type Result, type ServerResult, unsent } from "./outcome.ts";
import type { PolicyViolation } from "./policy.ts";
import type { Sent } from "./ports.ts";
import type { Order } from "./submit.ts";
import { TokenError } from "./token.ts";

export function malformed(id: string, issues: readonly Issue[]): Result {
  const count = issues.length === 1 ? "" : ` (and ${issues.length - 1} more)`;
  const [first] = issues;
  const what = first ? `${first.path === "" ? "the request" : first.path} ${first.message}` : "";
  return unsent(id, "rejected", {
    code: "invalid_request",
    phase: "request",
    message: `The request is malformed: ${what}${count}.`,
    issues,
  });
}

export function forbidden(
  id: string,
  violations: readonly PolicyViolation[],
  envelope: NonNullable<Result["envelope"]>,
): Result {
  const [first] = violations as readonly [PolicyViolation];
  return unsent(
    id,
    "rejected",
    { code: first.code, phase: "policy", message: `${first.message}.`, issues: violations },
    { envelope },
  );
}

/** A bad environment, as every way in tells it. */
export function misconfigured({ input, id }: Pick<Order, "input" | "id">, error: ConfigError) {
  const parsed = parseRequest(input);
  if (!parsed.ok) return unsent(id, "deferred", explainPreparation(error));
  return unprepared(parsed.request, id, "deferred", error);
}

/** What stopped a well-formed request before its mailbox was known. */
export function unprepared(
  request: MailRequest,
  id: string,
  outcome: "rejected" | "deferred",
  error: unknown,
): Result {
  const raw = request.raw === undefined ? undefined : parseRaw(request.raw);
  const named = recipientsOf(request, raw?.ok ? raw.value : undefined);
  return unsent(request.idempotencyKey ?? id, outcome, explainPreparation(error), {
    retryable: retryable(error),
    to: named.map(({ address }) => address),
  });
}

export function explainResting({ resting }: Resting): ErrorResult {
  return {
    code: "auth_failed",
    phase: "auth",
    message: `These credentials were refused and are not tried again for now, lest the account be locked. ${resting}`,
  };
}

/** Why there is no session. Errors of unknown make are not quoted: they may hold anything. */
export function explainPreparation(error: unknown): ErrorResult {
  if (error instanceof ConfigError) {
    return {
      code: "config_invalid",
      phase: "config",
      message: error.message,
      issues: error.issues,
    };
  }
  if (error instanceof MailboxError) {
    const phase = error.code === "mailbox_refused" ? "policy" : "mailbox";
    return { code: error.code, phase, message: error.message };
  }
  if (error instanceof TokenError) {
    const message = `The server was not asked to log in: ${error.message} (${error.code})`;
    return { code: "token_failed", phase: "auth", message };
  }
  if (error instanceof LedgerError) {
    return { code: "ledger_unavailable", phase: "ledger", message: error.message };
  }
  if (isNamed(error)) return { code: error.code, phase: "message", message: error.message };
  const name = error instanceof Error ? error.name : typeof error;
  return { code: "internal_error", phase: "request", message: `Unexpected error (${name}).` };
}

export function retryable(error: unknown): boolean {
  if (error instanceof MailboxError || error instanceof TokenError) return error.retryable;
  if (error instanceof LedgerError || isNamed(error)) return error.retryable;
  return !(error instanceof ConfigError);
}

/** Errors of adapters that cannot be imported here, known by name and made to be shown. */
const NAMED: ReadonlySet<string> = new Set(["AttachmentError", "DkimError"]);

function isNamed(error: unknown): error is Error & { code: string; retryable: boolean } {
  return error instanceof Error && NAMED.has(error.name) && "code" in error && "retryable" in error;
}

/** Null where no server answered. */
export function serverOf(sent: Sent): ServerResult {
  return {
    host: sent.endpoint.host,
    port: sent.endpoint.port,
    tls: sent.tls ? { protocol: sent.tls.protocol, cipher: sent.tls.cipher } : null,
    auth: sent.report.mechanism ?? null,
    extensions: [...(sent.report.capabilities?.keywords.keys() ?? [])],
  };
}
