/**
 * From this machine: what functions/wiring.ts hands to the functions, made for one run of a command.
 * The same code as the functions' submits and checks; only the mailbox may come from a file.
 */
import { loadConfig } from "../config.ts";
import { ownName } from "../smtp/io/own-name.ts";
import { Relay } from "../smtp/io/relay.ts";
import { Mailboxes } from "../submission/mailboxes.ts";
import type { SecretReader } from "../submission/ports.ts";
import { RateLimit } from "../submission/rate.ts";
import type { Limits, SubmitPorts } from "../submission/submit.ts";
import { createTokenSource } from "../submission/token.ts";
import { readSecretFile } from "./files.ts";
import { type Progress, watched } from "./progress.ts";
import { note } from "./terminal.ts";

/** Where the mailbox of a direct run comes from. */
export type MailboxSource =
  | { readonly is: "file"; readonly path: string }
  | { readonly is: "secret"; readonly id: string };

export async function secretsOf(source: MailboxSource): Promise<SecretReader> {
  if (source.is === "secret") {
    const { secretsManager } = await import("../aws/secrets-manager.ts");
    return secretsManager();
  }
  return fixedSecret(await readSecretFile(source.path));
}

/** A secret that is at hand already. */
export function fixedSecret(secret: string): SecretReader {
  return { read: async () => ({ secret, version: "" }) };
}

/** @param secretId the mailbox of requests that name none */
export function directPorts(
  secrets: SecretReader,
  secretId: string,
  progress?: Progress,
): SubmitPorts {
  const { ALLOWED_RECIPIENTS, ATTACHMENT_BUCKETS } = process.env;
  const { allowedRecipients, attachmentBuckets } = loadConfig({
    ALLOWED_RECIPIENTS,
    ATTACHMENT_BUCKETS,
  });
  const relay = new Relay();
  return {
    config: {
      secretId,
      secretPrefix: undefined,
      allowedRecipients,
      attachmentBuckets,
      transcript: "full",
    },
    mailboxes: new Mailboxes({ secrets, cacheSeconds: 300, now: () => performance.now() }),
    rate: new RateLimit(undefined),
    relay: progress === undefined ? relay : watched(relay, progress),
    tokens: createTokenSource(),
    ehloName: ownName(),
    attachments: async () => (await import("../aws/s3.ts")).s3Attachments(),
    plainText: async () => (await import("../message/plain-text.ts")).plainText,
    signer: async () => (await import("../message/dkim.ts")).signContent,
  };
}

/**
 * So many seconds, or until Ctrl-C: a session that is broken off still tells what became of the
 * message. Whoever presses it twice does not want to hear it.
 */
export function limitsOf(seconds: number): Limits {
  const begun = performance.now();
  const abort = new AbortController();
  process.once("SIGINT", () => {
    note("Interrupted; hearing what became of it. Ctrl-C again ends at once.");
    process.once("SIGINT", () => process.exit(130));
    abort.abort();
  });
  return {
    timeLeft: () => Math.max(0, seconds * 1000 - (performance.now() - begun)),
    signal: abort.signal,
  };
}
