/**
 * CRAM-MD5 (RFC 2195): `username SP hex(HMAC-MD5(password, challenge))`. It keeps the password off
 * the wire, and no more: the server proves nothing, and MD5 is what it is. An empty challenge is
 * refused, because the answer to it would be good for ever (§2: the challenge must be fresh).
 */
import { createHmac } from "node:crypto";
import {
  type Exchange,
  hasPassword,
  type Mechanism,
  passwordOf,
  SaslError,
  tooManyChallenges,
} from "./mechanism.ts";
import { utf8 } from "./octets.ts";

class CramMd5Exchange implements Exchange {
  readonly initial = undefined;
  readonly #username: string;
  readonly #password: Uint8Array;
  #answered = false;

  constructor(username: string, password: string) {
    this.#username = username;
    this.#password = utf8(password);
  }

  next(challenge: Uint8Array): Uint8Array {
    if (this.#answered) throw tooManyChallenges("CRAM-MD5");
    this.#answered = true;
    if (challenge.length === 0) throw new SaslError("CRAM-MD5: the server's challenge is empty");
    const digest = createHmac("md5", this.#password).update(challenge).digest("hex");
    return utf8(`${this.#username} ${digest}`);
  }

  finish(): void {}
}

/** The CRAM-MD5 mechanism, RFC 2195. */
export const cramMd5: Mechanism = {
  name: "CRAM-MD5",
  plaintext: false,
  oneShot: false,
  usable: hasPassword,
  begin(context) {
    const { username, password } = passwordOf("CRAM-MD5", context);
    return new CramMd5Exchange(username, password);
  },
};
