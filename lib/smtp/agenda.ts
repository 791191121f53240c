/**
 * What a session has to do: its messages sorted into transactions, by what the server takes (RFC 9422
 * LIMITS) and what it cannot carry. Recipients are told of here and nowhere else.
 */
import type { Capabilities } from "./capabilities.ts";
import { notes, obstacle, type Submission, unwritable } from "./envelope.ts";
import type { SmtpError } from "./error.ts";
import type { Group } from "./group.ts";
import { domainOf } from "./path.ts";
import type { MessageReport } from "./report.ts";
import { type Recipient, Transaction } from "./transaction.ts";

interface Work {
  readonly message: number;
  readonly submission: Submission;
  readonly recipients: readonly Recipient[];
}

export class Agenda {
  readonly #submissions: readonly Submission[];
  readonly #recipients: readonly (readonly Recipient[])[];
  readonly #notes: string[][];
  readonly #queue: Work[] = [];
  #begun = 0;

  constructor(submissions: readonly Submission[]) {
    this.#submissions = submissions;
    this.#recipients = submissions.map(({ recipients }) =>
      recipients.map((address) => ({ address, fate: undefined, rcpt: undefined })),
    );
    this.#notes = submissions.map(() => []);
  }

  /** Whether nothing is left to begin. */
  get empty(): boolean {
    return this.#queue.length === 0;
  }

  /** Sort messages into work: what this server cannot carry is settled before MAIL. */
  sort(offered: Capabilities, secured: boolean): void {
    for (const [message, submission] of this.#submissions.entries()) {
      const recipients = this.#recipients[message] ?? [];
      const hindered = obstacle(submission, offered, secured) ?? unwritable(submission, offered);
      if (hindered) {
        for (const recipient of recipients) {
          recipient.fate = { is: "impossible", obstacle: hindered };
        }
        continue;
      }
      this.#notes[message]?.push(...notes(submission, offered));
      for (const part of partition(recipients, offered.limits)) {
        this.#queue.push({ message, submission, recipients: part });
      }
    }
  }

  /** The next transaction, as long as the server takes more of them (RFC 9422 MAILMAX). */
  next(group: Group, offered: Capabilities): Transaction | undefined {
    if (this.#begun >= (offered.limits.mailMax ?? Number.POSITIVE_INFINITY)) return undefined;
    const work = this.#queue.shift();
    if (work === undefined) return undefined;
    this.#begun += 1;
    return new Transaction(work.message, work.submission, work.recipients, group, offered);
  }

  /** Recipients that the server wants in a transaction of their own come next. */
  overflow({ message, submission, overflow }: Transaction): void {
    if (overflow.length === 0) return;
    for (const recipient of overflow) recipient.rcpt = undefined;
    this.#queue.unshift({ message, submission, recipients: overflow });
  }

  /** Transactions that count as not begun, first in the queue again and in their order. */
  putBack(transactions: readonly Transaction[]): void {
    this.#begun -= transactions.length;
    this.#queue.unshift(...transactions);
  }

  /** @param error what ended the session; without one, what is open may go in another session */
  report(error: SmtpError | undefined): readonly MessageReport[] {
    return this.#recipients.map((recipients, message) => ({
      notes: this.#notes[message] ?? [],
      recipients: recipients.map(({ address, fate, rcpt }) => ({
        address,
        fate: fate ?? (error ? { is: "unsent", error } : { is: "unsent" }),
        ...(rcpt && { rcpt }),
      })),
    }));
  }
}

/** RFC 9422: at most so many recipients, and so many domains, in a transaction. */
function partition(
  recipients: readonly Recipient[],
  { rcptMax, rcptDomainMax }: Capabilities["limits"],
): readonly (readonly Recipient[])[] {
  const parts: Recipient[][] = [];
  let domains = new Set<string>();
  for (const recipient of recipients) {
    const domain = domainOf(recipient.address);
    const part = parts.at(-1);
    const full =
      part === undefined ||
      part.length >= (rcptMax ?? Number.POSITIVE_INFINITY) ||
      (!domains.has(domain) && domains.size >= (rcptDomainMax ?? Number.POSITIVE_INFINITY));
    if (full) {
      parts.push([recipient]);
      domains = new Set([domain]);
    } else {
      part.push(recipient);
      domains.add(domain);
    }
  }
  return parts;
}
