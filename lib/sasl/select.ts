/**
 * Which mechanisms to try, and in which order (RFC 4422 §3.3, RFC 5802 §6: strongest first). It
 * guards two things: a mailbox's own list is final, both as a restriction and as an order; and where
 * no TLS protects the channel, what a listener could read comes last. Whether a password may leave
 * without TLS at all is the session's decision, not this one's.
 */
import { cramMd5 } from "./cram-md5.ts";
import { digestMd5 } from "./digest-md5.ts";
import { external } from "./external.ts";
import { login } from "./login.ts";
import type { Mechanism, SaslContext } from "./mechanism.ts";
import { oauthbearer } from "./oauthbearer.ts";
import { plain } from "./plain.ts";
import { scramBare, scramPlus } from "./scram.ts";
import { xoauth2 } from "./xoauth2.ts";

/**
 * Strongest first. A token comes before all else, because a mailbox that has one asks for it. Within
 * TLS, PLAIN comes before the MD5 mechanisms: they add nothing to TLS and need a password the server
 * can read back.
 */
const mechanisms: readonly Mechanism[] = [
  oauthbearer,
  xoauth2,
  external,
  ...scramPlus,
  ...scramBare,
  plain,
  login,
  cramMd5,
  digestMd5,
];

/** IANA names of everything built here, strongest first: what a mailbox's `auth` may contain. */
export const knownMechanisms: readonly string[] = mechanisms.map(({ name }) => name);

/**
 * The mechanisms that server, credentials and channel share, in the order to try them.
 *
 * @param context what is known of server, channel and credentials
 * @param restrict the mailbox's `auth`: only these names, in this order; case does not matter
 * @returns empty where nothing is shared
 */
export function selectMechanisms(
  context: SaslContext,
  restrict?: readonly string[],
): readonly Mechanism[] {
  const advertised = new Set(context.advertised.map(upper));
  const shared = ordered(context, restrict).filter(
    (mechanism) => advertised.has(mechanism.name) && mechanism.usable(context),
  );
  if (restrict !== undefined || context.secure) return shared;
  return [
    ...shared.filter(({ plaintext }) => !plaintext),
    ...shared.filter(({ plaintext }) => plaintext),
  ];
}

function ordered(context: SaslContext, restrict?: readonly string[]): readonly Mechanism[] {
  if (restrict === undefined) {
    // A certificate is there for TLS's own sake too: unasked, it is the proof only where there is
    // no password to show.
    const { password = "" } = context.credentials;
    return password === "" ? mechanisms : mechanisms.filter(({ name }) => name !== "EXTERNAL");
  }
  const names = new Set(restrict.map(upper));
  return [...names].flatMap((wanted) => mechanisms.filter(({ name }) => name === wanted));
}

function upper(name: string): string {
  return name.toUpperCase();
}
