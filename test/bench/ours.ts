/**
 * Our side of each comparison: the whole use case as a warm function runs it (request checked, message
 * composed, policy asked, one session, a result for each), with the secret at hand.
 */
import { Relay } from "../../lib/smtp/io/relay.ts";
import { Mailboxes } from "../../lib/submission/mailboxes.ts";
import { RateLimit } from "../../lib/submission/rate.ts";
import { type SubmitPorts, submitAll } from "../../lib/submission/submit.ts";
import { createTokenSource } from "../../lib/submission/token.ts";

export type Secret = Readonly<Record<string, unknown>>;

/** An instance that has sent nothing yet: no TLS session to resume, as nodemailer has none. */
function portsOf(secret: Secret): SubmitPorts {
  const text = JSON.stringify(secret);
  return {
    config: {
      secretId: "bench",
      secretPrefix: undefined,
      allowedRecipients: undefined,
      attachmentBuckets: [],
      transcript: "full",
    },
    mailboxes: new Mailboxes({
      secrets: { read: async () => ({ secret: text, version: "1" }) },
      cacheSeconds: 300,
      now: () => performance.now(),
    }),
    rate: new RateLimit(),
    relay: new Relay(),
    tokens: createTokenSource(),
    ehloName: "[127.0.0.1]",
    attachments: async () => (await import("../../lib/aws/s3.ts")).s3Attachments(),
    plainText: async () => (await import("../../lib/message/plain-text.ts")).plainText,
    signer: async () => (await import("../../lib/message/dkim.ts")).signContent,
  };
}

/** All in one session; rejects unless every one is accepted. Gives what the result itself counted. */
export async function viaPosthaste(secret: Secret, inputs: readonly unknown[]): Promise<number> {
  const orders = inputs.map((input) => ({ input, id: crypto.randomUUID(), date: new Date() }));
  const results = await submitAll(portsOf(secret), orders, { timeLeft: () => 120_000 });
  const failed = results.find(({ outcome }) => outcome !== "accepted");
  if (failed) throw new Error(`posthaste: ${failed.outcome} ${JSON.stringify(failed.error)}`);
  return results[0]?.timing?.roundTrips ?? Number.NaN;
}
