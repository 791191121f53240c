/**
 * Which mechanisms a session may try with this server, or why none: no credential without TLS unless
 * the mailbox says so (RFC 4954 §9), and none that the two do not share.
 */
import type { Mechanism, SaslContext } from "../sasl/mechanism.ts";
import { selectMechanisms } from "../sasl/select.ts";
import type { Refusal } from "./authenticate.ts";
import { SmtpError } from "./error.ts";

/** What of a mailbox decides about mechanisms. */
export interface LoginPolicy {
  /** The mailbox's own choice and order. */
  readonly auth?: readonly string[];
  /** Whether a credential may leave without TLS. */
  readonly allowPlaintextAuth: boolean;
}

/** What a session found out about logins when it could not go on itself. */
export interface Learnt {
  /** Mechanisms that the server refused as such (504), whatever it advertises. */
  readonly refused: readonly string[];
  /** Whether AUTH must not share a group: the server ignores what comes with the command. */
  readonly alone: boolean;
}

/**
 * @returns at least one mechanism, in the order to try them
 * @throws SmtpError `auth_insecure` or `auth_unavailable`
 */
export function candidates(context: SaslContext, policy: LoginPolicy): readonly Mechanism[] {
  if (!context.secure && !policy.allowPlaintextAuth) {
    throw new SmtpError(
      "auth_insecure",
      'No credential leaves without TLS. Set "security" to "implicit" or "starttls", or, for a trusted network only, "allowPlaintextAuth" to true.',
      { phase: "auth" },
    );
  }
  const found = selectMechanisms(context, policy.auth);
  if (found.length > 0) return found;
  const offered = context.advertised.join(", ") || "none";
  const wanted = policy.auth ? ` The mailbox's "auth" allows ${policy.auth.join(", ")}.` : "";
  throw new SmtpError(
    "auth_unavailable",
    `No mechanism in common: the server offers ${offered}.${wanted}`,
    { phase: "auth" },
  );
}

/** A login that shared its group was refused; the group has been read to its end. */
export class LoginRefused extends Error {
  readonly refusal: Refusal | "unfinished";

  constructor(refusal: Refusal | "unfinished") {
    super();
    this.refusal = refusal;
  }
}
