/**
 * EXTERNAL (RFC 4422 appendix A): the proof is the TLS client certificate, and the one message says
 * who to act as. It guards the difference between an empty message and none: empty asks the server
 * to derive the identity from the certificate, and is sent.
 */
import { type Exchange, type Mechanism, SaslError, tooManyChallenges } from "./mechanism.ts";
import { utf8 } from "./octets.ts";

class ExternalExchange implements Exchange {
  readonly initial: Uint8Array;

  constructor(authorizationIdentity: string) {
    this.initial = utf8(authorizationIdentity);
  }

  next(): Uint8Array {
    throw tooManyChallenges("EXTERNAL");
  }

  finish(): void {}
}

/** The EXTERNAL mechanism, RFC 4422 appendix A. */
export const external: Mechanism = {
  name: "EXTERNAL",
  plaintext: false,
  oneShot: true,
  usable({ credentials, secure }) {
    return secure && credentials.certificate === true && !credentials.username.includes("\0");
  },
  begin(context) {
    if (!external.usable(context)) {
      throw new SaslError("EXTERNAL: no client certificate, no TLS, or NUL in the username");
    }
    return new ExternalExchange(context.credentials.username);
  },
};
