/**
 * Every way a session can fail, as one error type with a documented code. A message names what
 * happened and how to mend it, and never holds a secret.
 */
import type { Reply } from "./reply.ts";
import type { Phase } from "./step.ts";

/**
 * - `dns_failed` `connect_failed` `connection_lost` `timeout` `aborted`: the network, or our own clock.
 * - `tls_failed` `tls_version` `certificate_invalid`: the handshake; the latter two ask for a person.
 * - `protocol_error`: the server does not speak SMTP, or answers what nobody asked.
 * - `greeting_refused` `ehlo_refused` `starttls_refused` `starttls_unavailable`: no session.
 * - `auth_failed` (535) `auth_required` (530) `auth_refused` `auth_unavailable` `auth_insecure`:
 *   no login. `auth_deferred`: the server says to try later.
 * - `sender_refused` `recipient_refused` `data_refused` `content_refused` `withheld`: verdicts.
 * - `extension_unavailable` `message_too_large`: the server lacks what the message needs.
 * - `invalid_envelope`: an address or parameter that no command line can carry.
 * - `internal_error`: a fault of this program's own.
 * - `content_changed` `content_failed`: the content could not be read as it was announced.
 * - `commit_failed`: the ledger did not record the send, so it was not made.
 * - `reply_lost`: the terminator was written and no valid reply to it was read.
 */
export type SmtpErrorCode =
  | "dns_failed"
  | "connect_failed"
  | "connection_lost"
  | "timeout"
  | "aborted"
  | "tls_failed"
  | "tls_version"
  | "certificate_invalid"
  | "protocol_error"
  | "greeting_refused"
  | "ehlo_refused"
  | "starttls_refused"
  | "starttls_unavailable"
  | "auth_failed"
  | "auth_required"
  | "auth_refused"
  | "auth_unavailable"
  | "auth_insecure"
  | "auth_deferred"
  | "sender_refused"
  | "recipient_refused"
  | "data_refused"
  | "content_refused"
  | "withheld"
  | "extension_unavailable"
  | "message_too_large"
  | "invalid_envelope"
  | "internal_error"
  | "content_changed"
  | "content_failed"
  | "commit_failed"
  | "reply_lost";

export class SmtpError extends Error {
  override readonly name = "SmtpError";
  readonly code: SmtpErrorCode;
  /** Where it happened, once known. */
  phase: Phase | undefined;
  /** The reply that said so, where one did. */
  readonly reply: Reply | undefined;
  /** Set where the terminator that was queued never left, so that nothing can be lost by this. */
  unsent = false;

  constructor(code: SmtpErrorCode, message: string, at: { phase?: Phase; reply?: Reply } = {}) {
    super(message);
    this.code = code;
    this.phase = at.phase;
    this.reply = at.reply;
  }
}

/** An argument that may not become a command line: ours to mend, never sent (RFC 5321 §4.1.1). */
export class CommandError extends Error {
  override readonly name = "CommandError";
}
