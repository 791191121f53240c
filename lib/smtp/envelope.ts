/**
 * One message as the session sees it, what of it a server must offer, and the MAIL and RCPT lines
 * that ask for it. An extension whose silence would break a promise is an obstacle; any other that
 * is lacking becomes a note.
 */
import type { Capabilities } from "./capabilities.ts";
import { command } from "./command.ts";
import type { Content } from "./data.ts";
import { CommandError, type SmtpErrorCode } from "./error.ts";
import { domainOf, orcpt, path, xtext } from "./path.ts";
import type { Line } from "./step.ts";

export interface Submission {
  /** Reverse-path; the empty string is `<>`. */
  readonly from: string;
  /** Forward-paths, each once. */
  readonly recipients: readonly string[];
  readonly content: Content;
  /** `refuse`: all recipients or none. */
  readonly partial: "accept" | "refuse";
  /** Whether an address needs SMTPUTF8 (RFC 6531). */
  readonly smtputf8: boolean;
  /** RFC 3461. */
  readonly dsn?: {
    readonly notify?: readonly ("success" | "failure" | "delay" | "never")[] | undefined;
    readonly return?: "headers" | "full" | undefined;
    readonly envelopeId?: string | undefined;
  };
  /** RFC 8689. */
  readonly requireTls?: boolean;
  /** RFC 6710: -9 to 9. */
  readonly priority?: number;
  /** RFC 2852: seconds from now. */
  readonly deliverBy?: { readonly seconds: number; readonly mode: "return" | "notify" };
  /** RFC 4865: seconds from now. */
  readonly holdFor?: number;
}

export interface Obstacle {
  readonly code: Extract<
    SmtpErrorCode,
    "extension_unavailable" | "message_too_large" | "invalid_envelope"
  >;
  readonly message: string;
}

/** Why this server cannot carry this message as promised; `undefined` where it can. */
export function obstacle(
  message: Submission,
  offered: Capabilities,
  secured: boolean,
): Obstacle | undefined {
  const lacking = (what: string): Obstacle => ({ code: "extension_unavailable", message: what });
  if (message.content.size > (offered.size ?? Number.POSITIVE_INFINITY)) {
    return {
      code: "message_too_large",
      message: `The message has ${message.content.size} octets; the server takes ${offered.size} (SIZE, RFC 1870).`,
    };
  }
  if (needsUtf8(message) && !offered.has("SMTPUTF8")) {
    return lacking("An address or header needs SMTPUTF8 (RFC 6531), which the server lacks.");
  }
  if (message.content.eightBit && !offered.has("8BITMIME")) {
    return lacking("The content has 8-bit octets and the server lacks 8BITMIME (RFC 6152).");
  }
  if (message.requireTls && !(secured && offered.has("REQUIRETLS"))) {
    return lacking('"requireTls" was asked for and the server lacks REQUIRETLS (RFC 8689).');
  }
  if (message.deliverBy !== undefined) {
    if (!offered.has("DELIVERBY")) {
      return lacking('"deliverBy" was asked for and the server lacks DELIVERBY (RFC 2852).');
    }
    const least = Number(offered.keywords.get("DELIVERBY")?.[0] ?? 0);
    if (message.deliverBy.mode === "return" && message.deliverBy.seconds < least) {
      return lacking(`"deliverBy.seconds" is below the server's least, ${least} (RFC 2852 §3).`);
    }
  }
  if (message.holdFor) {
    if (!offered.has("FUTURERELEASE")) {
      return lacking('"holdFor" was asked for and the server lacks FUTURERELEASE (RFC 4865).');
    }
    const most = Number(offered.keywords.get("FUTURERELEASE")?.[0] ?? Number.POSITIVE_INFINITY);
    if (message.holdFor > most) {
      return lacking(`"holdFor" exceeds the server's most, ${most} seconds (RFC 4865 §3).`);
    }
  }
  const { rcptMax, rcptDomainMax } = offered.limits;
  if (message.partial === "refuse" && rcptMax && message.recipients.length > rcptMax) {
    return lacking(
      `"partial": "refuse" needs one transaction, and the server takes ${rcptMax} recipients in one (LIMITS, RFC 9422).`,
    );
  }
  const domains = new Set(message.recipients.map(domainOf)).size;
  if (message.partial === "refuse" && rcptDomainMax && domains > rcptDomainMax) {
    return lacking(
      `"partial": "refuse" needs one transaction, and the server takes ${rcptDomainMax} domains in one (LIMITS, RFC 9422).`,
    );
  }
  return undefined;
}

/**
 * Whether MAIL and every RCPT can be written: seen to before the first of them leaves, so that one
 * message's address never ends a session that carries others.
 */
export function unwritable(message: Submission, offered: Capabilities): Obstacle | undefined {
  try {
    mail(message, offered);
    for (const address of message.recipients) rcpt(address, message, offered);
    return undefined;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return { code: "invalid_envelope", message: error.message };
  }
}

/** What was asked for, is lacking, and changes nothing that was promised. */
export function notes(message: Submission, offered: Capabilities): readonly string[] {
  const out: string[] = [];
  if (message.dsn && !offered.has("DSN")) {
    out.push("The server lacks DSN (RFC 3461): no delivery notifications were asked for.");
  }
  if (message.priority && !offered.has("MT-PRIORITY")) {
    out.push("The server lacks MT-PRIORITY (RFC 6710): the priority was not passed on.");
  }
  return out;
}

/** What a path holds counts beside what the caller says: beyond ASCII it needs the extension. */
function needsUtf8(message: Submission): boolean {
  const { smtputf8, content, from, recipients } = message;
  return smtputf8 || content.utf8Header || !ascii(from) || !recipients.every(ascii);
}

function ascii(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the ASCII range is meant
  return /^[\x00-\x7f]*$/.test(text);
}

export function mail(message: Submission, offered: Capabilities): Line {
  const words = [`FROM:${path(message.from)}`];
  if (offered.has("SIZE")) words.push(`SIZE=${message.content.size}`);
  if (offered.has("8BITMIME") && (message.content.eightBit || needsUtf8(message))) {
    words.push("BODY=8BITMIME");
  }
  if (needsUtf8(message)) words.push("SMTPUTF8");
  if (message.dsn && offered.has("DSN")) {
    if (message.dsn.return) words.push(`RET=${message.dsn.return === "full" ? "FULL" : "HDRS"}`);
    if (message.dsn.envelopeId) words.push(`ENVID=${xtext(message.dsn.envelopeId)}`);
  }
  if (message.requireTls) words.push("REQUIRETLS");
  if (message.priority && offered.has("MT-PRIORITY")) words.push(`MT-PRIORITY=${message.priority}`);
  if (message.deliverBy) {
    words.push(
      `BY=${message.deliverBy.seconds};${message.deliverBy.mode === "return" ? "R" : "N"}`,
    );
  }
  if (message.holdFor) words.push(`HOLDFOR=${message.holdFor}`);
  return command("MAIL", ...words);
}

export function rcpt(address: string, message: Submission, offered: Capabilities): Line {
  const words = [`TO:${path(address)}`];
  if (message.dsn && offered.has("DSN")) {
    if (message.dsn.notify?.length) {
      words.push(`NOTIFY=${message.dsn.notify.map((when) => when.toUpperCase()).join(",")}`);
    }
    words.push(`ORCPT=${orcpt(address)}`);
  }
  return command("RCPT", ...words);
}
