/**
 * Replies that speak of the mailbox's allowance and not of the message: the same message may be taken
 * in an hour or tomorrow, so they are deferred, whatever their code. Each entry names who says it.
 */
import { type Reply, textOf } from "../smtp/reply.ts";

export interface Quota {
  readonly provider: string;
  /** Absent: whatever the code, where the text is as unmistakable. */
  readonly code?: number;
  readonly enhanced?: string;
  readonly text?: RegExp;
}

export const QUOTAS: readonly Quota[] = [
  // "Daily user sending limit exceeded", "Daily SMTP relay limit exceeded for user"
  { provider: "Gmail", code: 550, enhanced: "5.4.5" },
  // "Daily SMTP relay limit exceeded for customer": under the code of policies, so by its text.
  { provider: "Gmail", code: 550, enhanced: "5.7.1", text: /daily smtp relay .*limit exceeded/i },
  // "Your message can't be sent because you've reached your daily limit for message recipients"
  { provider: "Microsoft 365", code: 550, enhanced: "5.1.90" },
  // Daily limits of the tenant: for external recipients (of a trial; of others), for its
  // onmicrosoft.com domain, and "tenant has exceeded threshold".
  { provider: "Microsoft 365", code: 550, enhanced: "5.7.232" },
  { provider: "Microsoft 365", code: 550, enhanced: "5.7.233" },
  { provider: "Microsoft 365", code: 550, enhanced: "5.7.236" },
  { provider: "Microsoft 365", code: 550, enhanced: "5.7.705" },
  // "5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException"
  { provider: "Microsoft 365", code: 554, text: /SubmissionQuotaExceeded/i },
  // "4.3.2 Concurrent connections limit exceeded"
  { provider: "Microsoft 365", code: 432, enhanced: "4.3.2" },
  // "Throttling failure: Maximum sending rate exceeded", "… Daily message quota exceeded"
  { provider: "Amazon SES", code: 454, text: /^(4\.\d+\.\d+ )?Throttling failure/i },
  // SFQ: messages in 15 minutes. STC: messages in a short time. QRC, TRC: recipients, of a day.
  { provider: "NetEase (163, 126)", text: /(^|\s)(MI:SFQ|MI:STC|RP:QRC|RP:TRC)\b/ },
  // "Sender frequency limited", "Connection frequency limited", "Domain frequency limited"
  { provider: "Tencent (QQ)", code: 550, text: /\bfrequency limited\b/i },
  // "Unusual sending activity detected"
  { provider: "Zoho", code: 550, enhanced: "5.4.6", text: /unusual sending activity/i },
];

/** The quota that a reply speaks of, or `undefined`. */
export function quotaOf(reply: Reply): Quota | undefined {
  return QUOTAS.find(
    (quota) =>
      (quota.code === undefined || quota.code === reply.code) &&
      (quota.enhanced === undefined || quota.enhanced === reply.enhanced) &&
      (quota.text === undefined || quota.text.test(textOf(reply))),
  );
}
