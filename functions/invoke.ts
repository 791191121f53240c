/**
 * Direct invoke: other functions, Step Functions. The event is the request; the result itself is
 * returned for every outcome, so that a caller or a `Choice` reads `outcome`.
 *
 * A function is not told whether anybody waits for its answer (`Event`), so it answers always; Lambda
 * alone knows, and hands the answers that nobody waits for to the request queue (serverless.yml, its
 * destinations), where what was deferred is tried again under its key.
 */
import { randomUUID } from "node:crypto";
import { ConfigError } from "../lib/config.ts";
import { misconfigured } from "../lib/submission/explain.ts";
import type { Result } from "../lib/submission/outcome.ts";
import { submit } from "../lib/submission/submit.ts";
import { type InvocationContext, limitsOf, wiring } from "./wiring.ts";

export async function handler(event: unknown, context?: InvocationContext): Promise<Result> {
  const id = context?.awsRequestId ?? randomUUID();
  try {
    const { ports, tell } = wiring();
    const order = { input: event, id, date: new Date(), correlationId: id };
    const result = await submit(ports, order, limitsOf(context));
    tell({ source: "invoke", result, requestId: id, ...order });
    return result;
  } catch (error) {
    if (error instanceof ConfigError) return misconfigured({ input: event, id }, error);
    throw error;
  }
}
