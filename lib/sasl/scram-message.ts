/**
 * The messages of SCRAM (RFC 5802 §7), read strictly: attributes come in their order, extensions that
 * must be understood are refused, and no number is taken before it was bounded.
 */
import { SaslError } from "./mechanism.ts";
import { fromBase64, fromUtf8 } from "./octets.ts";

/** RFC 7677 §4 asks servers for at least this; fewer makes a stolen exchange cheap to search. */
const leastIterations = 4096;
/** One or two seconds of a whole processor: beyond it a server spends our time, and proves nothing. */
const mostIterations = 1_000_000;

/** `server-error-value` (RFC 5802 §7); any other counts as `other-error`. */
const serverErrors = new Set([
  "invalid-encoding",
  "extensions-not-supported",
  "invalid-proof",
  "channel-bindings-dont-match",
  "server-does-support-channel-binding",
  "channel-binding-not-supported",
  "unsupported-channel-binding-type",
  "unknown-user",
  "invalid-username-encoding",
  "no-resources",
]);

export interface ServerFirst {
  /** The message as it came: the proof covers it octet for octet. */
  readonly text: string;
  readonly nonce: string;
  readonly salt: Uint8Array;
  readonly iterations: number;
}

/** `saslname`: comma and equals sign are the message's own delimiters (§5.1). */
export function saslname(username: string): string {
  return username.replaceAll("=", "=3D").replaceAll(",", "=2C");
}

/** @throws SaslError when the message is malformed, or asks for what is refused */
export function readServerFirst(name: string, octets: Uint8Array, ours: string): ServerFirst {
  const text = readText(name, octets);
  const attributes = text.split(",");
  refuseExtension(name, attributes);
  const [nonce, salt, iterations] = ["r=", "s=", "i="].map((key, at) => {
    const attribute = attributes[at];
    if (attribute?.startsWith(key)) return attribute.slice(key.length);
    throw new SaslError(`${name}: the server's first message lacks "${key}"`);
  }) as [string, string, string];

  if (!/^[\x21-\x7e]+$/.test(nonce) || !nonce.startsWith(ours) || nonce.length === ours.length) {
    throw new SaslError(`${name}: the server's nonce does not extend the client's`);
  }
  const saltOctets = fromBase64(salt);
  if (saltOctets === undefined || saltOctets.length === 0) {
    throw new SaslError(`${name}: the server's salt is empty or not base64`);
  }
  const count = /^[1-9][0-9]{0,9}$/.test(iterations) ? Number(iterations) : 0;
  if (count < leastIterations || count > mostIterations) {
    throw new SaslError(
      `${name}: the server's iteration count is not within ${leastIterations} to ${mostIterations}`,
    );
  }
  return { text, nonce, salt: saltOctets, iterations: count };
}

/**
 * The server's signature.
 * @throws SaslError when the server reports an error (`e=`) or the message is malformed
 */
export function readServerFinal(name: string, octets: Uint8Array): Uint8Array {
  const attributes = readText(name, octets).split(",");
  refuseExtension(name, attributes);
  const [verifier = ""] = attributes;
  const signature = verifier.startsWith("v=") ? fromBase64(verifier.slice(2)) : undefined;
  if (signature === undefined) {
    throw new SaslError(`${name}: the server's final message carries no signature`);
  }
  return signature;
}

function readText(name: string, octets: Uint8Array): string {
  const text = fromUtf8(octets);
  if (text === undefined) throw new SaslError(`${name}: the server's message is not UTF-8`);
  if (text.startsWith("e=")) {
    const [value = ""] = text.slice(2).split(",");
    const known = serverErrors.has(value) ? value : "other-error";
    throw new SaslError(`${name}: the server reports ${known}`);
  }
  return text;
}

/** §5.1 `m`: an extension that must be understood, and we understand none. */
function refuseExtension(name: string, attributes: readonly string[]): void {
  if (attributes.some((attribute) => attribute.startsWith("m="))) {
    throw new SaslError(`${name}: the server demands an extension that is not supported`);
  }
}
