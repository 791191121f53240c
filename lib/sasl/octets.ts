/**
 * Octets and text, as SASL messages need them: UTF-8 (RFC 4422 §3.4.1) and the base64 that SCRAM
 * carries inside its messages (RFC 5802 §5.1). Decoding is strict: what is not the one canonical
 * form is refused, so that two spellings never authenticate as one.
 */
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const noOctets = new Uint8Array(0);

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The text, or `undefined` where the octets are not UTF-8. */
export function fromUtf8(octets: Uint8Array): string | undefined {
  try {
    return decoder.decode(octets);
  } catch {
    return undefined;
  }
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function base64(octets: Uint8Array): string {
  let binary = "";
  for (const octet of octets) binary += String.fromCharCode(octet);
  return btoa(binary);
}

/** The octets, or `undefined` where the text is not canonical, padded base64 (RFC 4648 §3.5, §4). */
export function fromBase64(text: string): Uint8Array | undefined {
  try {
    const octets = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    // `atob` forgives spaces, missing padding and stray bits; what it was given is then another text.
    return base64(octets) === text ? octets : undefined;
  } catch {
    return undefined;
  }
}
