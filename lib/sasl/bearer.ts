/**
 * What XOAUTH2 and OAUTHBEARER have in common: one message with an access token, and a failure that
 * comes as a challenge. It guards that this challenge is answered, since only the answer brings the
 * reply that says what went wrong (RFC 7628 §3.2.3).
 */
import { type Exchange, type SaslContext, tooManyChallenges } from "./mechanism.ts";
import { utf8 } from "./octets.ts";

/** `kvsep` (RFC 7628 §3.1). */
export const separator = "\x01";

export class BearerExchange implements Exchange {
  readonly #name: string;
  readonly #message: Uint8Array;
  readonly #answerToFailure: Uint8Array;
  #failed = false;

  constructor(name: string, message: string, answerToFailure: Uint8Array) {
    this.#name = name;
    this.#message = utf8(message);
    this.#answerToFailure = answerToFailure;
  }

  get initial(): Uint8Array {
    return this.#message;
  }

  next(): Uint8Array {
    if (this.#failed) throw tooManyChallenges(this.#name);
    this.#failed = true;
    return this.#answerToFailure;
  }

  finish(): void {}
}

/**
 * Whether there is a token that fits the message. Controls would end its fields early, and a token
 * is printable without spaces (RFC 6750 §2.1).
 */
export function hasToken({ credentials: { username, token = "" } }: SaslContext): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what is looked for
  return username !== "" && !/[\x00-\x1f\x7f]/.test(username) && /^[\x21-\x7e]+$/.test(token);
}
