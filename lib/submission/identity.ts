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

/** What an id may look like that is shown to recipients and logged: no address, nothing to encode. */
const OPAQUE = /^[A-Za-z0-9][A-Za-z0-9._:;=+/-]{0,127}$/;

/** The id, where it is fit to be shown; it may have come from anyone. */
export function opaque(id: unknown): string | undefined {
  return typeof id === "string" && OPAQUE.test(id) ? id : undefined;
}

/** What follows a request from the event to the message's header: the caller's own id goes first. */
export function correlationOf(input: unknown, otherwise?: string): string | undefined {
  const { headers } = (input ?? {}) as { readonly headers?: unknown };
  const given = Object.entries(headers ?? {}).find(([name]) => /^x-correlation-id$/i.test(name));
  return opaque(given?.[1]) ?? otherwise;
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
