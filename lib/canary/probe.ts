/**
 * The marked message. Its id is derived from the event that asked for it, so that an event delivered
 * twice is one message; and nothing in it changes with the time of day, so that its key stays good.
 */
import { createHash } from "node:crypto";
import type { MailRequestInput } from "../message/schema.ts";

/** The header field that marks a probe. */
export const MARK = "X-Posthaste-Canary";

export function probeId(key: string, to: string): string {
  const digest = createHash("sha256").update(JSON.stringify([key, to]));
  return digest.digest("base64url").slice(0, 22);
}

export interface Asked {
  readonly key: string;
  readonly to: string;
  readonly mailbox?: string | undefined;
}

export function probeRequest({ key, to, mailbox }: Asked): MailRequestInput {
  return {
    ...(mailbox !== undefined && { mailbox }),
    to,
    subject: "posthaste delivery check",
    text: "This message was sent to see whether mail arrives, and how soon. It is deleted when it is found.\n",
    headers: { [MARK]: probeId(key, to) },
    idempotencyKey: key,
  };
}

/** The id in a message's header, given that field or more of it. */
export function readMark(header: string): string | undefined {
  return /^X-Posthaste-Canary:\s*([\w-]{22})\s*$/im.exec(header)?.[1];
}
