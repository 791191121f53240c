/**
 * One interface for every SASL mechanism (RFC 4422). Mechanisms are pure: nonces and channel
 * bindings come in through {@link SaslContext}, and nothing here knows of SMTP or its base64.
 */

/** What a mailbox can prove itself with. `password` and `token` never leave a mechanism unencoded. */
export interface Credentials {
  /** Empty where the mailbox names none (EXTERNAL by certificate alone). */
  readonly username: string;
  readonly password?: string;
  /** OAuth 2.0 access token. */
  readonly token?: string;
  /** Whether the TLS layer presents a client certificate (EXTERNAL). */
  readonly certificate?: boolean;
  /**
   * Username and password after SASLprep, put there by `prepareCredentials` (prepare.ts) and needed
   * only where either holds more than printable ASCII; without it SCRAM is not usable with those.
   */
  readonly prepared?: { readonly username: string; readonly password: string };
}

export interface SaslContext {
  readonly credentials: Credentials;
  readonly host: string;
  readonly port: number;
  /** Whether TLS protects the channel: it moves mechanisms a listener could read to the end. */
  readonly secure: boolean;
  /** A fresh printable nonce, without commas (RFC 5802 §5.1 `c-nonce`). */
  readonly nonce: () => string;
  /** Bindings that the TLS channel offers, strongest first; empty without TLS. */
  readonly bindings: readonly { readonly type: string; readonly data: Uint8Array }[];
  /** Mechanism names the server advertised (for SCRAM's downgrade protection). */
  readonly advertised: readonly string[];
}

export interface BeginOptions {
  /**
   * Whether an initial response may go with the command; `true` where absent. Only LOGIN heeds it:
   * the server speaks first there by definition, and one that answers 501 to the username is asked
   * again without.
   */
  readonly initialResponse?: boolean;
}

export interface Exchange {
  /**
   * The initial response, or `undefined` where the server speaks first. Absent and empty differ
   * (RFC 4954 §4: empty is sent as `=`). Where it is too long to go with the command, it is the
   * answer to the server's first challenge, which carries nothing and is not given to `next`.
   */
  readonly initial: Uint8Array | undefined;
  /**
   * Answer to a challenge.
   * @throws SaslError when the challenge cannot be accepted; the client then cancels with `*`.
   */
  next(challenge: Uint8Array): Uint8Array;
  /**
   * Called when the server reports success.
   * @throws SaslError when the server has not proved what this mechanism demands (RFC 5802 §3).
   */
  finish(): void;
}

export interface Mechanism {
  /** IANA name, upper case. */
  readonly name: string;
  /** Whether the password or token crosses the wire in a form the server can read. */
  readonly plaintext: boolean;
  /** Whether the initial response is the whole exchange, so that AUTH may be grouped (RFC 4954 §4). */
  readonly oneShot: boolean;
  /** Whether a challenge's text means nothing, so that even one that is no base64 may be answered. */
  readonly ignoresPrompts?: true;
  /** Whether these credentials and this channel suffice. */
  usable(context: SaslContext): boolean;
  /** @throws SaslError when the credentials cannot be put into this mechanism's messages. */
  begin(context: SaslContext, options?: BeginOptions): Exchange;
}

/**
 * A challenge that a mechanism refuses, or a server that failed to prove itself. Holds no secret.
 * No other mechanism may be tried after it: an impostor that fails SCRAM must not be handed PLAIN.
 */
export class SaslError extends Error {
  override readonly name = "SaslError";
}

/** A server that keeps asking after the mechanism's last message (RFC 4422 §3.4). */
export function tooManyChallenges(mechanism: string): SaslError {
  return new SaslError(`${mechanism}: the server sent a challenge after the last response`);
}

/** Whether there is a username and a password to prove, neither empty (RFC 4616 §2: `1*SAFE`). */
export function hasPassword({ credentials: { username, password } }: SaslContext): boolean {
  return username !== "" && Boolean(password);
}

/** Username and password. @throws SaslError where either is missing */
export function passwordOf(mechanism: string, { credentials }: SaslContext) {
  const { username, password } = credentials;
  if (username !== "" && password) return { username, password };
  throw new SaslError(`${mechanism}: username or password is empty`);
}
