/**
 * What one session of a send leaves to the next, and both reports as one: recipients that a server wants
 * in another session (RFC 9422 MAILMAX), or that a login kept waiting.
 */
import type { Capabilities } from "./capabilities.ts";
import type { Submission } from "./envelope.ts";
import type { SmtpError } from "./error.ts";
import type { Redactor } from "./redact.ts";
import type { MessageReport, RecipientReport, SessionReport } from "./report.ts";

export function unreached(error: SmtpError, submissions: readonly Submission[]): SessionReport {
  return {
    capabilities: undefined,
    channel: undefined,
    mechanism: undefined,
    error,
    messages: submissions.map(({ recipients }) => ({
      notes: [],
      recipients: recipients.map((address) => ({
        address,
        fate: { is: "unsent", error } as const,
      })),
    })),
  };
}

function open({ fate }: RecipientReport): boolean {
  return fate.is === "unsent" && fate.error === undefined;
}

/** Shown to people, what EHLO offered is as much a server's word as any reply. */
export function masked(
  offered: Capabilities | undefined,
  redactor: Redactor,
): Capabilities | undefined {
  if (offered === undefined) return undefined;
  const scrub = (text: string) => redactor.scrub(text);
  return {
    ...offered,
    host: scrub(offered.host),
    auth: offered.auth.map(scrub),
    keywords: new Map(
      [...offered.keywords].map(([keyword, rest]) => [scrub(keyword), rest.map(scrub)]),
    ),
  };
}

/** Messages with recipients that a session in good order left for another one. */
export function rest(report: SessionReport): readonly number[] {
  if (report.error !== undefined) return [];
  return report.messages.flatMap(({ recipients }, index) => (recipients.some(open) ? [index] : []));
}

export function count(report: SessionReport, messages: readonly number[]): number {
  return messages.reduce(
    (sum, index) => sum + (report.messages[index]?.recipients.filter(open).length ?? 0),
    0,
  );
}

export function remainder(
  submissions: readonly Submission[],
  report: SessionReport,
  message: number,
): Submission {
  const left = report.messages[message]?.recipients.filter(open) ?? [];
  return {
    ...(submissions[message] as Submission),
    recipients: left.map(({ address }) => address),
  };
}

export function merge(
  before: SessionReport,
  after: SessionReport,
  messages: readonly number[],
): SessionReport {
  const merged = before.messages.map((message, index): MessageReport => {
    const later = after.messages[messages.indexOf(index)];
    if (later === undefined) return message;
    const fates = new Map(later.recipients.map((recipient) => [recipient.address, recipient]));
    return {
      notes: message.notes,
      recipients: message.recipients.map((r) => (open(r) ? (fates.get(r.address) ?? r) : r)),
    };
  });
  return { ...after, messages: merged };
}
