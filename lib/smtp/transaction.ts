/**
 * One mail transaction (RFC 5321 §3.3): MAIL, RCPT for every recipient, then DATA or BDAT, and the
 * facts that each reply settles. Which commands share a group is decided here, by RFC 2920 §3.1 and
 * RFC 3030; which transaction follows which, in transactions.ts.
 */
import type { Capabilities } from "./capabilities.ts";
import { command, END_OF_DATA } from "./command.ts";
import { mail, rcpt, type Submission } from "./envelope.ts";
import { SmtpError } from "./error.ts";
import { type Group, refuseIntermediate } from "./group.ts";
import { classOf, type Reply, textOf } from "./reply.ts";
import type { Fate } from "./report.ts";
import type { Step } from "./step.ts";

/** A recipient and what is known of it so far. */
export interface Recipient {
  readonly address: string;
  fate: Fate | undefined;
  rcpt: Reply | undefined;
}

/** Content up to this size may leave before its recipients are accepted (BDAT in one flight). */
export const ONE_FLIGHT_OCTETS = 1024 * 1024;

export class Transaction {
  /** Index of the message in the session's list, for the ledger. */
  readonly message: number;
  readonly submission: Submission;
  readonly recipients: readonly Recipient[];
  /**
   * Recipients the server wants in another transaction (RFC 5321 §4.5.3.1.10): what becomes of this
   * one's content is not their fate.
   */
  readonly overflow: Recipient[] = [];
  readonly #group: Group;
  readonly #offered: Capabilities;
  #data: Reply | undefined;
  #open = false;
  #terminated = false;
  #settled = false;

  constructor(
    message: number,
    submission: Submission,
    recipients: readonly Recipient[],
    group: Group,
    offered: Capabilities,
  ) {
    this.message = message;
    this.submission = submission;
    this.recipients = recipients;
    this.#group = group;
    this.#offered = offered;
  }

  /** Whether one recipient's refusal withdraws the others. */
  get #allOrNone(): boolean {
    return this.submission.partial === "refuse" && this.recipients.length > 1;
  }

  /** Whether MAIL, RCPT and BDAT LAST with the content may be one flight (RFC 3030 §2, DECISIONS). */
  oneFlight(chunking: "auto" | "off"): boolean {
    return (
      chunking === "auto" &&
      this.#offered.has("CHUNKING") &&
      this.#group.pipelining &&
      !this.#allOrNone &&
      this.submission.content.size <= ONE_FLIGHT_OCTETS
    );
  }

  /** Whether the server still holds an open transaction that the next MAIL must not meet. */
  get open(): boolean {
    return this.#open;
  }

  /** Whether recipients were accepted and then taken back. */
  get withdrawn(): boolean {
    return this.recipients.some(({ fate }) => fate?.is === "withheld");
  }

  /** Whether the server waits for content. */
  get invited(): boolean {
    return this.#data !== undefined && classOf(this.#data) === "intermediate";
  }

  /** Whether MAIL came at a time that the server does not take it at (503), and nothing after it. */
  get outOfSequence(): boolean {
    return (
      !this.invited &&
      !this.#terminated &&
      this.recipients.length > 0 &&
      this.recipients.every(
        ({ fate }) => fate?.is === "refused" && fate.by === "mail" && fate.reply.code === 503,
      )
    );
  }

  /**
   * What the envelope shared its group with was refused, as a login may be: what the server said to
   * the envelope was only its echo. A verdict on content stands, since it was given.
   */
  disown(): void {
    for (const recipient of this.recipients) {
      if (recipient.fate?.is === "refused") recipient.fate = undefined;
      if (recipient.fate === undefined) recipient.rcpt = undefined;
    }
  }

  /** Whether it can be sent again: nothing was taken, and no answer to content is missing. */
  get untouched(): boolean {
    return (
      (!this.#terminated || this.#settled) &&
      this.recipients.every(({ fate }) => fate === undefined)
    );
  }

  /** Queue MAIL and RCPT; DATA too where it may go with them. */
  *envelope(): Step<void> {
    const group = this.#group;
    yield* group.send(mail(this.submission, this.#offered), "mail", (reply) => {
      refuseIntermediate(reply, "mail");
      this.#open = classOf(reply) === "success";
      if (!this.#open) this.#refuseAll("mail", reply);
    });
    // Without pipelining the answer is known by now, and the rest would only be refused after it.
    if (!group.pipelining && !this.#open) return;
    for (const recipient of this.recipients) {
      const line = rcpt(recipient.address, this.submission, this.#offered);
      yield* group.send(line, "rcpt", (reply) => this.#onRcpt(recipient, reply));
    }
  }

  *data(): Step<void> {
    yield* this.#group.send(command("DATA"), "data", (reply) => {
      this.#data = reply;
      if (classOf(reply) === "intermediate") return;
      if (classOf(reply) === "success") {
        throw new SmtpError("protocol_error", `The server answered DATA with ${reply.code}.`, {
          phase: "data",
          reply,
        });
      }
      this.#refuseAll("data", reply);
    });
  }

  /** Whether DATA may share the group with MAIL and RCPT. */
  get dataInGroup(): boolean {
    return this.#group.pipelining && !this.#allOrNone;
  }

  /**
   * After the envelope's replies: is there anyone to send to? With `partial: "refuse"` one refusal
   * withdraws all.
   */
  willing(): boolean {
    const accepted = this.#accepted();
    if (this.#allOrNone && accepted.length < this.recipients.length) {
      for (const recipient of accepted) {
        recipient.fate = { is: "withheld", reply: recipient.rcpt as Reply };
      }
      return false;
    }
    return accepted.length > 0;
  }

  /** Write the content and its terminator; the reply is expected, not yet read. */
  *content(framing: "data" | "bdat"): Step<void> {
    const { content } = this.submission;
    if (framing === "bdat") {
      yield { do: "commit", message: this.message };
      yield { do: "write", line: command("BDAT", String(content.size), "LAST") };
      // A pump that fails has kept the last octet back.
      yield { do: "pump", content, framing };
      this.#terminated = true;
    } else {
      yield* this.#pump();
      yield { do: "commit", message: this.message };
      this.#terminated = true;
      yield { do: "write", line: END_OF_DATA };
    }
    this.#group.expect("content", (reply) => {
      this.#onContent(reply);
      // The final dot ends the transaction either way (RFC 5321 §4.1.1.4); a failed BDAT does not
      // (RFC 3030 §2).
      if (framing === "data" || classOf(reply) === "success") this.#open = false;
    });
  }

  *#pump(): Step<void> {
    try {
      yield { do: "pump", content: this.submission.content, framing: "data" };
    } catch (error) {
      // Refused before its end: a verdict, though the session cannot go on after half a message.
      if (error instanceof SmtpError && error.code === "content_refused" && error.reply) {
        this.#refuseAll("content", error.reply);
      }
      throw error;
    }
  }

  /** RFC 2920 §3.1: DATA was accepted though no recipient was; a lone dot ends it. */
  *nothing(): Step<void> {
    yield { do: "write", line: END_OF_DATA };
    this.#group.expect("data", () => {
      this.#open = false;
    });
    yield* this.#group.settle();
  }

  /** The session ends: whoever waits for the answer to content is lost. Others were never sent to. */
  abandon(error: SmtpError | undefined): void {
    if (!this.#terminated || this.#settled || error?.unsent === true) return;
    for (const recipient of this.recipients) {
      if (!this.overflow.includes(recipient)) recipient.fate ??= { is: "lost", error: lost(error) };
    }
  }

  #accepted(): readonly Recipient[] {
    return this.recipients.filter(
      (recipient) =>
        recipient.fate === undefined &&
        recipient.rcpt !== undefined &&
        classOf(recipient.rcpt) === "success" &&
        !this.overflow.includes(recipient),
    );
  }

  #refuseAll(by: "mail" | "data" | "content", reply: Reply): void {
    for (const recipient of this.recipients) {
      if (this.overflow.includes(recipient)) continue;
      recipient.fate ??= { is: "refused", by, reply };
    }
  }

  #onRcpt(recipient: Recipient, reply: Reply): void {
    refuseIntermediate(reply, "rcpt");
    recipient.rcpt = reply;
    if (classOf(reply) === "success") return;
    if (tooMany(reply) && this.#accepted().length > 0 && !this.#allOrNone) {
      this.overflow.push(recipient);
      return;
    }
    // A refused MAIL is the cause; what RCPT says after it is only its echo.
    recipient.fate ??= { is: "refused", by: "rcpt", reply };
  }

  #onContent(reply: Reply): void {
    // 221 answers the QUIT that left with the content: a server that says nothing of the content
    // itself has not said that it took it.
    if (classOf(reply) === "intermediate" || reply.code === 221) {
      // No verdict: whether the message was taken cannot be told.
      throw new SmtpError("protocol_error", `The server answered the content with ${reply.code}.`, {
        phase: "content",
        reply,
      });
    }
    this.#settled = true;
    if (classOf(reply) !== "success") {
      this.#refuseAll("content", reply);
      return;
    }
    for (const recipient of this.#accepted()) recipient.fate = { is: "taken", reply };
  }
}

/**
 * RFC 5321 §4.5.3.1.10: 452, or 552 from older servers, to RCPT means that this transaction is full.
 * The same codes also mean a full mailbox or disk; the enhanced status or the text tells.
 */
export function tooMany(reply: Reply): boolean {
  if (reply.code !== 452 && reply.code !== 552) return false;
  if (reply.enhanced !== undefined) return reply.enhanced.endsWith(".5.3");
  return /too many|recipient limit|max.*recipients/i.test(textOf(reply));
}

function lost(error: SmtpError | undefined): SmtpError {
  const cause = error === undefined ? "" : ` ${error.message}`;
  return new SmtpError(
    "reply_lost",
    `The message was handed over whole and no valid answer to it was read.${cause}`,
    { phase: "content", ...(error?.reply && { reply: error.reply }) },
  );
}
