/**
 * From facts to verdicts: each recipient's fate becomes an outcome, and the message's outcome names
 * the first cause, not its echo.
 */
import type { SmtpError } from "../smtp/error.ts";
import { classOf, type Reply, textOf } from "../smtp/reply.ts";
import type { Fate, MessageReport, RecipientReport } from "../smtp/report.ts";
import { tooMany } from "../smtp/transaction.ts";
import {
  type ErrorResult,
  type Outcome,
  overall,
  type RecipientOutcome,
  type RecipientResult,
  type ReplyResult,
} from "./outcome.ts";
import { queueIdOf } from "./queue-id.ts";
import { quotaOf } from "./quotas.ts";

export interface Verdict {
  readonly outcome: Outcome;
  readonly retryable: boolean;
  readonly reply: ReplyResult | null;
  readonly queueId?: string;
  readonly recipients: readonly RecipientResult[];
  readonly error?: ErrorResult;
}

/** Faults that only a person can mend: trying again unattended changes nothing. */
const FOR_A_PERSON: ReadonlySet<string> = new Set([
  "auth_failed",
  "auth_required",
  "auth_refused",
  "auth_unavailable",
  "auth_insecure",
  "certificate_invalid",
  "tls_version",
  "starttls_unavailable",
]);

/** @param scrub masks credentials that a server may have echoed */
export function classify(message: MessageReport, scrub: (text: string) => string): Verdict {
  const refusedForGood = message.recipients.some(({ fate }) => forGood(fate));
  const outcomes = message.recipients.map(({ fate }) => outcomeOf(fate, refusedForGood));
  const outcome = overall(outcomes);
  const deciding = decidingRecipient(message.recipients, outcomes, outcome);
  const reply = deciding && decidingReply(deciding.fate);
  const queueId =
    reply && (outcome === "accepted" || outcome === "partial") ? queueIdOf(reply) : "";
  const blamed = outcome === "partial" ? firstFailure(message.recipients, outcomes) : deciding;
  const render = (found: Reply | undefined) => found && rendered(found, scrub);
  return {
    outcome,
    retryable: message.recipients.some(
      ({ fate }, index) => outcomes[index] === "deferred" && unattended(fate),
    ),
    reply: render(reply) ?? null,
    ...(queueId && { queueId: scrub(queueId) }),
    recipients: message.recipients.map((recipient, index) => ({
      address: recipient.address,
      outcome: outcomes[index] as RecipientOutcome,
      reply: render(ownReply(recipient)) ?? null,
    })),
    ...(outcome !== "accepted" && blamed && { error: explain(blamed.fate, scrub) }),
  };
}

function forGood(fate: Fate): boolean {
  return fate.is === "impossible" || (fate.is === "refused" && permanent(fate.reply, fate.by));
}

/** A verdict on this message: 5xx, except where it speaks of the mailbox or of one full transaction. */
function permanent(reply: Reply, by: string): boolean {
  if (classOf(reply) !== "permanent") return false;
  return reply.code !== 530 && !quotaOf(reply) && !(by === "rcpt" && tooMany(reply));
}

function outcomeOf(fate: Fate, refusedForGood: boolean): RecipientOutcome {
  switch (fate.is) {
    case "taken":
      return "accepted";
    case "lost":
      return "uncertain";
    case "unsent":
      return "deferred";
    case "impossible":
      return "rejected";
    case "refused":
      return permanent(fate.reply, fate.by) ? "rejected" : "deferred";
    case "withheld":
      // All or none: while another recipient is refused for good, none will ever be sent.
      return refusedForGood ? "rejected" : "deferred";
  }
}

function unattended(fate: Fate): boolean {
  if (fate.is === "refused") return fate.reply.code !== 530;
  if (fate.is !== "unsent" || fate.error === undefined) return true;
  const { code, reply } = fate.error;
  if (code === "starttls_refused") return reply !== undefined && classOf(reply) === "transient";
  return !FOR_A_PERSON.has(code);
}

/** Whose fate names the cause: of those with the message's outcome, one that was not merely withheld. */
function decidingRecipient(
  recipients: readonly RecipientReport[],
  outcomes: readonly RecipientOutcome[],
  outcome: Outcome,
): RecipientReport | undefined {
  const wanted = outcome === "partial" ? "accepted" : outcome;
  const fitting = recipients.filter((_, index) => outcomes[index] === wanted);
  return fitting.find(({ fate }) => fate.is !== "withheld") ?? fitting[0];
}

function firstFailure(
  recipients: readonly RecipientReport[],
  outcomes: readonly RecipientOutcome[],
): RecipientReport | undefined {
  return recipients.find((_, index) => outcomes[index] !== "accepted");
}

function decidingReply(fate: Fate): Reply | undefined {
  switch (fate.is) {
    case "taken":
    case "refused":
    case "withheld":
      return fate.reply;
    case "unsent":
      return fate.error?.reply;
    case "lost":
    case "impossible":
      return undefined;
  }
}

function ownReply({ fate, rcpt }: RecipientReport): Reply | undefined {
  if (fate.is === "refused") return fate.reply;
  return rcpt ?? decidingReply(fate);
}

const REFUSED = {
  mail: ["sender_refused", "The server refused the sender"],
  rcpt: ["recipient_refused", "The server refused a recipient"],
  data: ["data_refused", "The server refused to take the message"],
  content: ["content_refused", "The server refused the message after it was sent"],
} as const;

function explain(fate: Fate, scrub: (text: string) => string): ErrorResult {
  switch (fate.is) {
    case "impossible":
      return { code: fate.obstacle.code, phase: "mail", message: fate.obstacle.message };
    case "withheld":
      return {
        code: "withheld",
        phase: "rcpt",
        message: 'Another recipient was refused, and "partial": "refuse" sends to all or to none.',
      };
    case "refused": {
      const [code, message] = REFUSED[fate.by];
      const quota = quotaOf(fate.reply);
      const said = `: ${fate.reply.code} ${scrub(textOf(fate.reply))}`;
      if (fate.reply.code === 530) {
        return {
          code: "auth_required",
          phase: fate.by,
          message: `The server demands a login${said}`,
        };
      }
      if (quota) {
        const what = `An allowance of the mailbox is used up (${quota.provider})`;
        return { code: "mailbox_quota", phase: fate.by, message: `${what}${said}` };
      }
      return { code, phase: fate.by, message: `${message}${said}` };
    }
    case "lost":
    case "unsent":
      return explainError(fate.error, scrub);
    case "taken":
      return { code: "accepted", phase: "content", message: "" };
  }
}

export function explainError(
  error: SmtpError | undefined,
  scrub: (text: string) => string,
): ErrorResult {
  if (error === undefined) {
    return {
      code: "unsent",
      phase: "mail",
      message: "The server takes no more messages in a session.",
    };
  }
  const said = error.reply ? ` The server said: ${error.reply.code} ${textOf(error.reply)}` : "";
  return {
    code: error.code,
    phase: error.phase ?? "connect",
    message: scrub(`${error.message}${said}`),
  };
}

function rendered(reply: Reply, scrub: (text: string) => string): ReplyResult {
  return {
    code: reply.code,
    ...(reply.enhanced !== undefined && { enhanced: reply.enhanced }),
    text: scrub(textOf(reply)),
  };
}
