/**
 * DIGEST-MD5 (RFC 2831; historic since RFC 6331, hence the last resort), authentication only. It
 * guards mutual proof: the server's `rspauth` must show that it knows the password (§2.1.3), and
 * success before that does not count. Reading and hashing: digest-message.ts.
 */
import { timingSafeEqual } from "node:crypto";
import { digestAnswer, readDirectives, readParameters } from "./digest-message.ts";
import {
  type Exchange,
  hasPassword,
  type Mechanism,
  passwordOf,
  type SaslContext,
  SaslError,
  tooManyChallenges,
} from "./mechanism.ts";
import { noOctets, utf8 } from "./octets.ts";

class DigestMd5Exchange implements Exchange {
  readonly initial = undefined;
  readonly #username: string;
  readonly #password: string;
  readonly #uri: string;
  readonly #cnonce: string;
  #rspauth = "";
  #state: "unproved" | "answered" | "proved" | "over" = "unproved";

  constructor(username: string, password: string, uri: string, cnonce: string) {
    this.#username = username;
    this.#password = password;
    this.#uri = uri;
    this.#cnonce = cnonce;
  }

  next(challenge: Uint8Array): Uint8Array {
    const state = this.#state;
    // Until a challenge is accepted the exchange is over: nothing mends one that was refused.
    this.#state = "over";
    if (state === "unproved") {
      const answer = digestAnswer(readParameters(challenge), {
        username: this.#username,
        password: this.#password,
        uri: this.#uri,
        cnonce: this.#cnonce,
      });
      this.#rspauth = answer.rspauth;
      this.#state = "answered";
      return answer.message;
    }
    if (state !== "answered") throw tooManyChallenges("DIGEST-MD5");
    this.#verify(challenge);
    this.#state = "proved";
    return noOctets;
  }

  finish(): void {
    if (this.#state === "proved") return;
    throw new SaslError("DIGEST-MD5: success without proof that the server knows the password");
  }

  #verify(challenge: Uint8Array): void {
    const shown = utf8(readDirectives(challenge).get("rspauth")?.[0] ?? "");
    const expected = utf8(this.#rspauth);
    if (shown.length !== expected.length || !timingSafeEqual(shown, expected)) {
      throw new SaslError("DIGEST-MD5: the server's rspauth is wrong");
    }
  }
}

/**
 * Starts an exchange with a service other than SMTP; the digest covers its name (§2.1.2
 * `digest-uri`).
 */
export function beginDigestMd5(context: SaslContext, service: string): Exchange {
  const { username, password } = passwordOf("DIGEST-MD5", context);
  const uri = `${service}/${context.host}`;
  return new DigestMd5Exchange(username, password, uri, context.nonce());
}

/** The DIGEST-MD5 mechanism, RFC 2831. */
export const digestMd5: Mechanism = {
  name: "DIGEST-MD5",
  plaintext: false,
  oneShot: false,
  usable: hasPassword,
  begin(context) {
    return beginDigestMd5(context, "smtp");
  },
};
