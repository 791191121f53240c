/**
 * Who the message is from and to, for SMTP (RFC 5321 §3.3). The envelope comes from our own parse
 * of the request, never from a composed header, so Bcc needs no header and the header no trust.
 */
import { type Mailbox, needsSmtputf8 } from "./address.ts";
import type { RawMessage } from "./raw.ts";
import type { MailRequest } from "./schema.ts";

/** One forward-path, and the field of the request that named it first (`to.0`, `raw`). */
export interface Recipient {
  readonly address: string;
  readonly path: string;
}

export interface Envelope {
  /** The reverse-path, without angle brackets. */
  readonly from: string;
  /** Forward-paths in the request's order, each once. */
  readonly recipients: readonly Recipient[];
  /** Whether any of them needs SMTPUTF8 (RFC 6531 §3.3). */
  readonly smtputf8: boolean;
}

/**
 * The envelope of a request. The reverse-path is the request's From; for a raw message its Sender,
 * or its only From, so that SPF speaks of the same domain as the header (RFC 7489 §3.1.2); else
 * the mailbox's own. Recipients are to, cc and bcc of the request, else those of the raw header.
 * Addresses are compared in their SMTP form: the domain without case, the local part with it
 * (RFC 5321 §2.4).
 */
export function envelopeOf(request: MailRequest, own: Mailbox, raw?: RawMessage): Envelope {
  const from = (request.from ?? rawAuthor(raw) ?? own).address;
  const recipients = recipientsOf(request, raw);
  const smtputf8 = needsSmtputf8(from) || recipients.some(({ address }) => needsSmtputf8(address));
  return { from, recipients, smtputf8 };
}

/** Whom the message is for: to, cc and bcc of the request, else those of the raw header. */
export function recipientsOf(request: MailRequest, raw?: RawMessage): readonly Recipient[] {
  const seen = new Map<string, Recipient>();
  const add = (address: string, path: string) => {
    if (!seen.has(address)) seen.set(address, { address, path });
  };
  for (const field of ["to", "cc", "bcc"] as const) {
    request[field]?.forEach(({ address }, index) => {
      add(address, `${field}.${index}`);
    });
  }
  if (seen.size === 0 && raw?.recipients.ok) {
    for (const { address } of raw.recipients.value) add(address, "raw");
  }
  return [...seen.values()];
}

function rawAuthor(raw: RawMessage | undefined): Mailbox | undefined {
  if (raw === undefined) return undefined;
  const authors = raw.sender.length > 0 ? raw.sender : raw.from;
  return authors.length === 1 ? authors[0] : undefined;
}
