/** The name a server gives the message in its queue, as its own log will show it. */
import { type Reply, textOf } from "../smtp/reply.ts";

const FORMS: readonly RegExp[] = [
  /\bInternalId=([0-9]+)/i, // Exchange
  /\bqueued as ([A-Za-z0-9][\w.,@-]*)/i, // Postfix, 163
  /\bid=([A-Za-z0-9][\w-]*)/, // Exim
  /\(([0-9A-F]{8}-[0-9A-F-]{27,}(?:\.\d+)?)\)/i, // Haraka
  /\b([A-Za-z0-9]{8,}) Message accepted for delivery/i, // Sendmail, OpenSMTPD
  /^(?:2\.\d\.\d )?OK\s+([\w.-]+ [\w.-]+) - gsmtp/i, // Gmail
  /^(?:2\.\d\.\d )?Ok:?\s+([0-9a-f]{16}-[0-9a-f-]{20,})/i, // Amazon SES
];

export function queueIdOf(reply: Reply): string | undefined {
  const text = textOf(reply);
  for (const form of FORMS) {
    const id = form.exec(text)?.[1]?.replace(/[.,]+$/, "");
    if (id) return id;
  }
  return undefined;
}
