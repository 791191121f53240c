/**
 * Identities that stay the same however often a message is sent, so that receivers can recognise a
 * second copy: the Message-ID is derived from the message's id (RFC 5322 §3.6.4).
 */
import { createHash } from "node:crypto";

/** @param from the sender's address, whose domain vouches for the uniqueness */
export function messageIdFor(scope: string, id: string, from: string): string {
  const digest = createHash("sha256")
    .update(JSON.stringify([scope, id, from]))
    .digest("base64url");
  const domain = from.slice(from.lastIndexOf("@") + 1);
  return `<${digest.slice(0, 32)}@${domain}>`;
}

/** Where the ledger keeps a message: keys are scoped by mailbox. */
export function ledgerKey(mailbox: string | undefined, id: string): string {
  return `message#${mailbox ?? ""}#${id}`;
}

/** Tells one body from another, whatever the order of its fields; the key itself is no part of it. */
export function bodyHash(request: { readonly idempotencyKey?: string | undefined }): string {
  const { idempotencyKey: _, ...body } = request;
  return createHash("sha256").update(JSON.stringify(body, sorted)).digest("base64url");
}

function sorted(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
