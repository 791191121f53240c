/** A context for mechanisms under test: everything given, nothing random. */
import type { Exchange, SaslContext } from "../../lib/sasl/mechanism.ts";

export function contextOf(parts: Partial<SaslContext> = {}): SaslContext {
  return {
    credentials: { username: "user", password: "pencil" },
    host: "mail.example.com",
    port: 587,
    secure: true,
    nonce: () => "fyko+d2lbbFgONRv9qkxdawL",
    bindings: [],
    advertised: [],
    ...parts,
  };
}

export function octets(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

/** One step in text, as RFCs print it. */
export function answer(exchange: Exchange, challenge: string): string | undefined {
  return text(exchange.next(octets(challenge)));
}

/** How every refusal reads: whose it is, and why. That it is a SaslError, hostile.test.ts sees to. */
export const REFUSAL = /^[A-Z0-9-]+: \S.{10,}/;
