/**
 * XOAUTH2, Google's own and Microsoft's too (developers.google.com/workspace/gmail/imap/xoauth2-protocol):
 * `user=` username ^A `auth=Bearer` token ^A ^A. A failure comes as a challenge that holds JSON; its
 * answer is empty, and the 535 follows.
 */
import { BearerExchange, hasToken, separator } from "./bearer.ts";
import { type Mechanism, SaslError } from "./mechanism.ts";
import { noOctets } from "./octets.ts";

/** The XOAUTH2 mechanism. */
export const xoauth2: Mechanism = {
  name: "XOAUTH2",
  plaintext: true,
  oneShot: false,
  usable: hasToken,
  begin(context) {
    if (!hasToken(context)) throw new SaslError("XOAUTH2: username or token is unfit to send");
    const { username, token = "" } = context.credentials;
    const fields = [`user=${username}`, `auth=Bearer ${token}`, "", ""];
    return new BearerExchange("XOAUTH2", fields.join(separator), noOctets);
  },
};
