/**
 * OAUTHBEARER (RFC 7628 §3.1): a GS2 header that names the user, then `host`, `port` and `auth`, each
 * ended by ^A, and a last ^A. A failure comes as a challenge that holds JSON; its answer is a single
 * ^A (§3.2.3), and the 535 follows.
 */
import { BearerExchange, hasToken, separator } from "./bearer.ts";
import { type Mechanism, SaslError } from "./mechanism.ts";
import { utf8 } from "./octets.ts";
import { saslname } from "./scram-message.ts";

/** The OAUTHBEARER mechanism, RFC 7628. */
export const oauthbearer: Mechanism = {
  name: "OAUTHBEARER",
  plaintext: true,
  oneShot: false,
  usable: hasToken,
  begin(context) {
    if (!hasToken(context)) throw new SaslError("OAUTHBEARER: username or token is unfit to send");
    const { username, token = "" } = context.credentials;
    const fields = [
      `n,a=${saslname(username)},`,
      `host=${context.host}`,
      `port=${context.port}`,
      `auth=Bearer ${token}`,
      "",
      "",
    ];
    return new BearerExchange("OAUTHBEARER", fields.join(separator), utf8(separator));
  },
};
