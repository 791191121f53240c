/**
 * PLAIN (RFC 4616): one message, `[authzid] NUL authcid NUL passwd`, UTF-8. It guards the framing:
 * NUL is the delimiter, so a NUL inside username or password is refused (§2). Both go as they are,
 * since it is the server that prepares what it compares (§2).
 */
import {
  type Exchange,
  hasPassword,
  type Mechanism,
  passwordOf,
  SaslError,
  tooManyChallenges,
} from "./mechanism.ts";
import { utf8 } from "./octets.ts";

class PlainExchange implements Exchange {
  readonly #message: Uint8Array;

  constructor(username: string, password: string) {
    // The authorization identity stays empty: the server derives it from the username (§2).
    this.#message = utf8(`\0${username}\0${password}`);
  }

  get initial(): Uint8Array {
    return this.#message;
  }

  next(): Uint8Array {
    throw tooManyChallenges("PLAIN");
  }

  finish(): void {}
}

/** The PLAIN mechanism, RFC 4616. */
export const plain: Mechanism = {
  name: "PLAIN",
  plaintext: true,
  oneShot: true,
  usable(context) {
    const { username, password } = context.credentials;
    return hasPassword(context) && ![username, password].some((text) => text?.includes("\0"));
  },
  begin(context) {
    const { username, password } = passwordOf("PLAIN", context);
    if (!plain.usable(context)) throw new SaslError("PLAIN: username or password contains NUL");
    return new PlainExchange(username, password);
  },
};
