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
