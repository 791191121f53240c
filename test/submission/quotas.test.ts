/** What providers say when an allowance is used up, word for word: none of it judges the message. */
import { expect, it } from "vitest";
import { type Reply, ReplyDecoder } from "../../lib/smtp/reply.ts";
import { classify } from "../../lib/submission/classify.ts";
import { QUOTAS, quotaOf } from "../../lib/submission/quotas.ts";

function replyOf(text: string): Reply {
  const decoder = new ReplyDecoder();
  decoder.push(new TextEncoder().encode(`${text.replaceAll("\n", "\r\n")}\r\n`));
  return decoder.take() as Reply;
}

/** The outcome where this answers a recipient, or the content. */
function judged(text: string, by: "rcpt" | "content" = "content") {
  const fate = { is: "refused", by, reply: replyOf(text) } as const;
  return classify({ recipients: [{ address: "a@example.com", fate }], notes: [] }, (said) => said);
}

const SAID: readonly (readonly [string, string])[] = [
  [
    "Gmail",
    "550-5.4.5 Daily user sending limit exceeded. For more information on Gmail\n550-5.4.5 sending limits go to\n550 5.4.5  https://support.google.com/a/answer/166852 ab-1.2 - gsmtp",
  ],
  ["Gmail", "550 5.4.5 Daily SMTP relay limit exceeded for user. - gsmtp"],
  ["Gmail", "550 5.7.1 Daily SMTP relay limit exceeded for customer. - gsmtp"],
  [
    "Microsoft 365",
    "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
  ],
  [
    "Microsoft 365",
    "550 5.7.233 Your message can't be sent because your tenant exceeded its daily limit for sending email to external recipients (tenant external recipient rate limit)",
  ],
  ["Microsoft 365", "550 5.7.705 Access denied, tenant has exceeded threshold"],
  [
    "Microsoft 365",
    "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message",
  ],
  ["Microsoft 365", "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/x"],
  ["Amazon SES", "454 Throttling failure: Maximum sending rate exceeded."],
  ["Amazon SES", "454 4.7.0 Throttling failure: Daily message quota exceeded."],
  ["NetEase (163, 126)", "451 MI:SFQ 163 smtp9,DcCowABX http://mail.163.com/help/x 1"],
  ["NetEase (163, 126)", "554 MI:SFQ 163 smtp9,DcCowABX http://mail.163.com/help/x 1"],
  ["NetEase (163, 126)", "554 MI:STC 163 smtp1,C9GowACn 1"],
  ["NetEase (163, 126)", "550 RP:TRC 163 smtp1,C9GowACn 1"],
  ["Tencent (QQ)", "550 Sender frequency limited"],
  ["Tencent (QQ)", "550 Connection frequency limited. http://service.mail.qq.com/detail/0/72"],
  ["Zoho", "550 5.4.6 Unusual sending activity detected. Please try after sometime"],
];

it.each(SAID)("%s: %s", (provider, text) => {
  expect(quotaOf(replyOf(text))?.provider).toBe(provider);
  for (const by of ["rcpt", "content"] as const) {
    const { outcome, retryable, error } = judged(text, by);
    expect({ outcome, retryable, code: error?.code }).toEqual({
      outcome: "deferred",
      retryable: true,
      code: "mailbox_quota",
    });
    expect(error?.message).toContain(provider);
  }
});

it.each([
  "550 5.1.1 The email account that you tried to reach does not exist",
  "550 5.7.1 Our system has detected that this message is likely unsolicited mail",
  "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied",
  "550 5.1.8 Access denied, bad outbound sender",
  "554 DT:SPM 163 smtp1,C9GowACn 1",
  "550 RP:RCL 163 smtp1,C9GowACn 1",
  "552 5.2.3 Your message exceeded Google's message size limits",
  "550 Mail content denied",
])("a verdict on the message stays one: %s", (text) => {
  expect(quotaOf(replyOf(text))).toBeUndefined();
  expect(judged(text).outcome).toBe("rejected");
});

it("no entry is without a code or a text", () => {
  for (const { code, enhanced, text } of QUOTAS) {
    expect(text !== undefined || (code !== undefined && enhanced !== undefined)).toBe(true);
  }
});
