/**
 * The mailbox where probes should arrive, read from one secret: made of the same pieces as a sending
 * mailbox's, and as strict. TLS is verified always, and there is no way to do without it.
 */
import * as z from "zod/mini";
import { MailboxError, pieces, readSecret } from "../submission/mailbox.ts";

export interface Watched {
  readonly host: string;
  readonly port: number;
  readonly security: "implicit" | "starttls";
  readonly username: string;
  readonly login: { readonly password: string } | { readonly oauth2: OAuth2 };
  readonly tls: z.infer<ReturnType<typeof pieces.tls>>;
}

const needed = z.string({ error: "is missing" }).check(z.minLength(1, "must not be empty"));
export type OAuth2 = z.infer<ReturnType<typeof pieces.oauth2>>;

const Secret = () =>
  z.strictObject({
    host: needed.check(z.regex(/^[A-Za-z0-9_.:-]+$/, "must be a host name or an IP address")),
    port: z.optional(pieces.port()),
    security: z.optional(
      z.enum(["implicit", "starttls"], { error: 'must be "implicit" or "starttls"' }),
    ),
    username: needed,
    password: z.optional(needed),
    oauth2: z.optional(pieces.oauth2()),
    tls: z._default(pieces.tls(), {}),
    engine: pieces.tolerated(),
    dbname: pieces.tolerated(),
    dbInstanceIdentifier: pieces.tolerated(),
    dbClusterIdentifier: pieces.tolerated(),
    masterarn: pieces.tolerated(),
  });

/**
 * @param secret the `SecretString`: `host`, `port` (993 for `implicit`, 143 for `starttls`), `security`
 *   (`starttls` on port 143, else `implicit`), `username`, `password` or `oauth2`, `tls`
 * @throws MailboxError `mailbox_invalid`, naming each field at fault
 */
export function parseWatchedSecret(secret: string): Watched {
  const { host, port, security, username, password, oauth2, tls } = readSecret(Secret, secret);
  const login = oauth2 ? { oauth2 } : password !== undefined ? { password } : undefined;
  if (login === undefined) {
    const message = "The mailbox's secret is not usable: password is missing beside the username.";
    throw new MailboxError("mailbox_invalid", message);
  }
  const used = security ?? (port === 143 ? "starttls" : "implicit");
  const usual = used === "implicit" ? 993 : 143;
  return { host, port: port ?? usual, security: used, username, login, tls };
}
