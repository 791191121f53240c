/**
 * Replies with a permanent code that speak of the mailbox's allowance and not of the message: the
 * same message may be taken tomorrow, so they are deferred. Each entry names who says it.
 */
import { type Reply, textOf } from "../smtp/reply.ts";

export interface Quota {
  readonly provider: string;
  readonly code: number;
  readonly enhanced?: string;
  readonly text?: RegExp;
}

export const QUOTAS: readonly Quota[] = [
  // "Daily user sending limit exceeded"
  { provider: "Gmail", code: 550, enhanced: "5.4.5" },
  // "Your message can't be sent because you've reached your daily limit for message recipients"
  { provider: "Microsoft 365", code: 550, enhanced: "5.1.90" },
  // "STOREDRV.Submission.Exception:SubmissionQuotaExceededException"
  { provider: "Microsoft 365", code: 554, text: /SubmissionQuotaExceeded/i },
  // "4.3.2 Concurrent connections limit exceeded"; transient already, listed for completeness.
  { provider: "Microsoft 365", code: 432, enhanced: "4.3.2" },
  // "Unusual sending activity detected"
  { provider: "Zoho", code: 550, enhanced: "5.4.6", text: /unusual sending activity/i },
];

/** The quota that a reply speaks of, or `undefined`. */
export function quotaOf(reply: Reply): Quota | undefined {
  return QUOTAS.find(
    (quota) =>
      quota.code === reply.code &&
      (quota.enhanced === undefined || quota.enhanced === reply.enhanced) &&
      (quota.text === undefined || quota.text.test(textOf(reply))),
  );
}
