/**
 * Asks a mailbox what its server supports and whether its login works; sends nothing. The event is
 * `{}` or `{"mailbox": "billing"}`.
 */
import { type CheckResult, check } from "../lib/submission/check.ts";
import { type InvocationContext, limitsOf, wiring } from "./wiring.ts";

export async function handler(event: unknown, context?: InvocationContext): Promise<CheckResult> {
  return check(() => wiring().ports, event, limitsOf(context));
}
