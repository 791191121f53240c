/**
 * EventBridge: the detail of an event is the request, the event's id its key. What has no detail is
 * the request itself: so a schedule (EventBridge Scheduler) hands over its input, and a rule with an
 * input transformer what it made.
 */
import { requestId, settleAll, unwrap } from "./events.ts";
import type { InvocationContext } from "./wiring.ts";

export async function handler(event: unknown, context?: InvocationContext): Promise<void> {
  // Lambda's own retries keep the request id, so a schedule's message has one key, too.
  const id = requestId(context);
  const known = { id, date: new Date(), correlationId: id };
  await settleAll("eventbridge", [unwrap(event, known)], context);
}
