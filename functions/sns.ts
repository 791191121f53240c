/**
 * SNS: the message of a notification is the request, its MessageId the key where the request brings
 * none, so that a notification delivered twice is sent once.
 */
import { opaque } from "../lib/submission/identity.ts";
import {
  dateOf,
  type Incoming,
  idOf,
  isRecord,
  recordsOf,
  requestId,
  settleAll,
  unwrap,
} from "./events.ts";
import type { InvocationContext } from "./wiring.ts";

export async function handler(event: unknown, context?: InvocationContext): Promise<void> {
  const incoming = recordsOf(event).map((record, index): Incoming => {
    const notification = isRecord(record) && isRecord(record["Sns"]) ? record["Sns"] : {};
    const known = {
      correlationId: opaque(notification["MessageId"]) ?? requestId(context),
      id: idOf(notification["MessageId"], `${requestId(context)}-${index}`),
      date: dateOf(notification["Timestamp"], { date: new Date() }),
    };
    return unwrap(notification["Message"], known);
  });
  await settleAll("sns", incoming, context);
}
