/**
 * Asks a mailbox what its server supports and whether its login works; sends nothing. The event is
 * `{}` or `{"mailbox": "billing"}`.
 */
import { type CheckResult, check } from "../lib/submission/check.ts";
import { type InvocationContext, limitsOf, type Wiring, wiring } from "./wiring.ts";

export async function handler(event: unknown, context?: InvocationContext): Promise<CheckResult> {
  let wired: Wiring | undefined;
  const ports = () => {
    wired = wiring();
    return wired.ports;
  };
  const result = await check(ports, event, limitsOf(context));
  wired?.metrics.check(result);
  return result;
}
