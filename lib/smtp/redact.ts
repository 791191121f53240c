/**
 * Keeps secrets out of whatever a person may read. Lines born secret are never shown; this guards
 * the other way round, a server that echoes what it was sent, in any of the forms it may have seen.
 */
import { base64, unbase64 } from "./command.ts";

const MASK = "***";

export class Redactor {
  readonly #forms = new Set<string>();
  #pattern: RegExp | undefined;

  /** Learn a secret in clear: raw, or encoded as servers may echo it, it is masked from now on. */
  learn(secret: string | undefined): void {
    if (!secret) return;
    const octets = new TextEncoder().encode(secret);
    const encoded = base64(octets);
    this.#add(secret, encoded, encoded.replace(/=+$/, ""), urlEncoded(octets), base64url(encoded));
    // RFC 1866 §8.2.1 writes a space as "+"; others escape what encodeURIComponent leaves.
    const url = urlEncoded(octets);
    const whole = url.replace(/[!'()*~]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
    this.#add(url.replaceAll("%20", "+"), whole, whole.replaceAll("%20", "+"));
    this.#add(JSON.stringify(secret).slice(1, -1), hexadecimal(octets));
  }

  /** Learn a string that crossed the wire as it is (a SASL response). */
  learnWire(payload: string | undefined): void {
    if (!payload || payload === "=") return;
    this.#add(payload, payload.replace(/=+$/, ""));
    // Decoded, a response may hold a proof: SCRAM's p=, DIGEST's response=, CRAM's digest.
    const decoded = new TextDecoder().decode(unbase64(payload) ?? new Uint8Array(0));
    const proofs = decoded.matchAll(
      /(?:^|[,\s])(?:p=|response=)?([A-Za-z0-9+/]{27,}={0,2})(?=$|[,\s])/g,
    );
    for (const [, proof] of proofs) if (proof) this.#add(proof);
  }

  scrub(text: string): string {
    if (this.#forms.size === 0) return text;
    this.#pattern ??= new RegExp(
      // The longest first, so that no part of a longer form is left standing.
      [...this.#forms]
        .sort((a, b) => b.length - a.length)
        .map(source)
        .join("|"),
      "gi",
    );
    return text.replace(this.#pattern, MASK);
  }

  #add(...forms: readonly string[]): void {
    for (const form of forms) if (form !== "") this.#forms.add(form);
    this.#pattern = undefined;
  }
}

/** A very short secret is masked only where it stands alone, or ordinary words would be cut up. */
function source(form: string): string {
  const escaped = form.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");
  return form.length < 6 ? `(?<![A-Za-z0-9])${escaped}(?![A-Za-z0-9])` : escaped;
}

/** RFC 3986 §2.1, by octets: a lone surrogate has no form of its own, and must not be an error. */
function urlEncoded(octets: Uint8Array): string {
  return encodeURIComponent(new TextDecoder().decode(octets));
}

function hexadecimal(octets: Uint8Array): string {
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
}

function base64url(encoded: string): string {
  return encoded.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
