/**
 * What a mailbox and this deployment permit, judged before any socket is opened. Pure: everything
 * it knows is handed in, and every reason is told at once.
 *
 * Addresses are compared without regard to ASCII case, the local part too. RFC 5321 §2.4 lets a
 * host tell `Shop@` from `shop@`, yet hardly one does, and a person who allows one means both.
 * Beyond ASCII, case is not folded: there a fold turns look-alikes (U+212A) into letters.
 */
import type { Mailbox } from "../message/address.ts";
import { domainOf, parseAddress } from "../message/address.ts";

export interface PolicyViolation {
  readonly code:
    | "sender_not_allowed"
    | "recipient_not_allowed"
    | "too_many_recipients"
    | "message_too_large"
    | "bucket_not_allowed";
  /** The field of the request, joined by dots; empty for the message as a whole. */
  readonly path: string;
  readonly message: string;
}

/** What is about to be sent. */
export interface Proposal {
  /** The reverse-path. */
  readonly envelopeFrom: string;
  /** Every address of the header's From and Sender, those of a raw message included. */
  readonly authors: readonly Pick<Mailbox, "address">[];
  /** The field that names the authors: `from`, or `raw`. Default `from`. */
  readonly authorsPath?: string;
  readonly recipients: readonly { readonly address: string; readonly path: string }[];
  /** The bucket of each S3 attachment, with its field. */
  readonly buckets?: readonly { readonly bucket: string; readonly path: string }[];
}

/** What the mailbox's secret says. */
export interface MailboxPolicy {
  /** `a@b`, or `@domain` for every address of exactly that domain, its subdomains not. */
  readonly allowedFrom: readonly string[];
  readonly maxRecipients: number;
  /** Octets. */
  readonly maxMessageBytes: number;
}

/** What the environment says. */
export interface EnvironmentPolicy {
  /** As `allowedFrom`; `undefined`: anyone. */
  readonly allowedRecipients?: readonly string[] | undefined;
  /** `undefined` or empty: none. */
  readonly attachmentBuckets?: readonly string[] | undefined;
}

/** Every rule that the proposal breaks; empty where it may be composed. */
export function checkPolicy(
  proposal: Proposal,
  mailbox: MailboxPolicy,
  environment: EnvironmentPolicy,
): readonly PolicyViolation[] {
  return [
    ...senders(proposal, mailbox),
    ...recipients(proposal, mailbox, environment),
    ...buckets(proposal, environment),
  ];
}

function senders(proposal: Proposal, mailbox: MailboxPolicy): PolicyViolation[] {
  const allowed = allowing(mailbox.allowedFrom);
  const path = proposal.authorsPath ?? "from";
  const all = new Set([proposal.envelopeFrom, ...proposal.authors.map(({ address }) => address)]);
  return [...all]
    .filter((address) => !allowed(address))
    .map((address) => ({
      code: "sender_not_allowed",
      path,
      message: `${address} is not among the addresses this mailbox may send as`,
    }));
}

function recipients(
  { recipients: given }: Proposal,
  { maxRecipients }: MailboxPolicy,
  { allowedRecipients }: EnvironmentPolicy,
): PolicyViolation[] {
  const found: PolicyViolation[] = [];
  if (given.length > maxRecipients) {
    const message = `${given.length} recipients; this mailbox sends to at most ${maxRecipients} at once`;
    found.push({ code: "too_many_recipients", path: "to", message });
  }
  if (allowedRecipients === undefined) return found;
  const allowed = allowing(allowedRecipients);
  for (const { address, path } of given) {
    if (allowed(address)) continue;
    const message = `${address} is not among the recipients allowed here`;
    found.push({ code: "recipient_not_allowed", path, message });
  }
  return found;
}

/** The same for the message once its size is known: octets in canonical form. */
export function checkSize(
  octets: number,
  { maxMessageBytes }: Pick<MailboxPolicy, "maxMessageBytes">,
): readonly PolicyViolation[] {
  if (octets <= maxMessageBytes) return [];
  const message = `the message has ${octets} octets; this mailbox sends at most ${maxMessageBytes}`;
  return [{ code: "message_too_large", path: "", message }];
}

function buckets(proposal: Proposal, environment: EnvironmentPolicy): PolicyViolation[] {
  const allowed = new Set(environment.attachmentBuckets ?? []);
  return (proposal.buckets ?? [])
    .filter(({ bucket }) => !allowed.has(bucket))
    .map(({ path }) => ({
      code: "bucket_not_allowed",
      path,
      message: "attachments may not come from this bucket",
    }));
}

/** Entries that are neither `a@b` nor `@domain` allow nothing; what is no address is not allowed. */
function allowing(entries: readonly string[]): (address: string) => boolean {
  const addresses = new Set<string>();
  const domains = new Set<string>();
  for (const entry of entries.map((text) => text.trim())) {
    const whole = entry.startsWith("@");
    const known = parseAddress(whole ? `any${entry}` : entry);
    if (!known.ok) continue;
    if (whole) domains.add(domainOf(known.value));
    else addresses.add(folded(known.value));
  }
  return (address) => {
    const asked = parseAddress(address);
    return asked.ok && (addresses.has(folded(asked.value)) || domains.has(domainOf(asked.value)));
  };
}

function folded(address: string): string {
  return address.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
