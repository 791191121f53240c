/**
 * SASLprep (RFC 4013) before the session, because it needs tables that only strings beyond printable
 * ASCII ever touch: they are loaded when such a string is met, and a mechanism stays synchronous.
 */
import type { Credentials } from "./mechanism.ts";

export interface PreparedCredentials {
  readonly username: string;
  readonly password: string;
}

/**
 * Adds the prepared forms that SCRAM needs. What SASLprep prohibits is no error: those credentials
 * come back as they are, and SCRAM is not usable with them while PLAIN is (RFC 4616 §2).
 */
export async function prepareCredentials(credentials: Credentials): Promise<Credentials> {
  const { username, password = "" } = credentials;
  if (isPlainText(username) && isPlainText(password)) return credentials;
  const { default: saslprep } = await import("@mongodb-js/saslprep");
  try {
    const prepared = {
      // RFC 5802 §5.1: the user name is a query string, so unassigned code points may pass.
      username: saslprep(username, { allowUnassigned: true }),
      // RFC 5802 §2.2: what goes into the hash is a stored string, so they may not.
      password: saslprep(password),
    };
    return { ...credentials, prepared };
  } catch {
    return credentials;
  }
}

/** The forms SCRAM works with, or `undefined` where there are none. */
export function preparedForms(credentials: Credentials): PreparedCredentials | undefined {
  const { username, password = "", prepared } = credentials;
  const forms = prepared ?? { username, password };
  if (prepared === undefined && !(isPlainText(username) && isPlainText(password))) return undefined;
  return forms.username === "" || forms.password === "" ? undefined : forms;
}

/** Printable ASCII, which SASLprep leaves as it is; controls are for it to refuse (§2.3). */
function isPlainText(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}
