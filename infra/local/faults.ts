/**
 * What can go wrong on purpose: a recipient whose local part says what the mail server does, at any
 * domain, or a mailbox whose server is broken (fault-mailboxes.ts). So every outcome can be had by
 * writing to somebody, from a shell or by picking it on the page.
 *
 * Rule guarded here: a fault is the server's. The functions are told nothing of it, and meet it on
 * the wire as they would meet a real one.
 */
import { buffer } from "node:stream/consumers";
import { setTimeout as wait } from "node:timers/promises";
import type { SMTPServer, SMTPServerOptions, SMTPServerSession } from "smtp-server";
import type { Inbox } from "./inbox.ts";
import type { MailServerOptions, Verdict } from "./mailserver.ts";

export interface Fault {
  /** Also the local part of the recipient, where no mailbox is named. */
  readonly id: string;
  /** What the API answers the first time. */
  readonly status: number;
  /** The mailbox that a request names to meet it. */
  readonly mailbox?: string;
  /** Meets it beside a recipient who is well. */
  readonly beside?: true;
  /** Meets it with a text of this size. */
  readonly octets?: number;
  /** The reply to RCPT. */
  readonly recipient?: Verdict;
  /** The reply to the whole content. */
  readonly content?: Verdict;
}

/** Long enough to send a second request by hand, and shorter than the functions' own time. */
export const SLOW_SECONDS = 8;
/** A mailbox whose limit is so low that a line of shell can write what is too large for it. */
export const SMALL_MAILBOX = "small";
export const WRONG_PASSWORD = "wrong-password";

const NO_SUCH_USER: Verdict = { code: 550, text: "No such user here" };

export const FAULTS: readonly Fault[] = [
  { id: "reject", status: 422, recipient: NO_SUCH_USER },
  { id: "partial", status: 200, beside: true, recipient: NO_SUCH_USER },
  // The first time only, then the pair of sender and recipient is known.
  { id: "greylist", status: 503, recipient: { code: 450, text: "Greylisted, try again later" } },
  { id: "defer", status: 503, recipient: { code: 450, text: "Greylisted, try again later" } },
  { id: "full", status: 503, recipient: { code: 452, text: "The mailbox is full" } },
  {
    id: "quota",
    status: 503,
    // The words of Microsoft 365: a permanent code that means tomorrow.
    content: {
      code: 554,
      text: "STOREDRV.Submission.Exception:SubmissionQuotaExceededException; daily limit reached",
    },
  },
  { id: "spam", status: 422, content: { code: 554, text: "Message refused: it looks like spam" } },
  { id: "login", status: 502, recipient: { code: 530, text: "Authentication required" } },
  { id: "slow", status: 200 },
  { id: "lost", status: 504 },
  { id: WRONG_PASSWORD, status: 502, mailbox: WRONG_PASSWORD },
  { id: "server-down", status: 503, mailbox: "server-down" },
  { id: "stripped", status: 502, mailbox: "stripped" },
  { id: "bad-certificate", status: 502, mailbox: "bad-certificate" },
  { id: SMALL_MAILBOX, status: 413, mailbox: SMALL_MAILBOX, octets: 20_000 },
];

/** @param inbox asked for when a message arrives: the server that owns it is made with this */
export function faulty(inbox: () => Inbox): Pick<MailServerOptions, "judge" | "server"> {
  const greylisted = new Set<string>();
  return {
    judge: {
      recipient: (address) => {
        const fault = faultOf(address);
        if (fault?.id !== "greylist") return fault?.recipient;
        // Forgotten once it was let in, so that it can be watched again.
        if (greylisted.delete(address)) return undefined;
        greylisted.add(address);
        return fault.recipient;
      },
    },
    server: { onData: contentHandler(inbox) },
  };
}

function faultOf(address: string): Fault | undefined {
  const local = address.slice(0, address.lastIndexOf("@")).toLowerCase();
  return FAULTS.find(({ id, mailbox }) => id === local && mailbox === undefined);
}

function contentHandler(inbox: () => Inbox): NonNullable<SMTPServerOptions["onData"]> {
  return function (this: SMTPServer, stream, session, callback) {
    const take = async (): Promise<void> => {
      const raw = await buffer(stream);
      // The server itself refuses what is too large, whatever is answered here.
      if (stream.sizeExceeded) return callback();
      const faults = session.envelope.rcptTo.map(({ address }) => faultOf(address));
      const verdict = faults.find((fault) => fault?.content)?.content;
      if (verdict !== undefined) {
        return callback(Object.assign(new Error(verdict.text), { responseCode: verdict.code }));
      }
      const ids = faults.map((fault) => fault?.id);
      if (ids.includes("slow")) await wait(SLOW_SECONDS * 1000, undefined, { ref: false });
      const queueId = inbox().take(session, raw);
      if (ids.includes("lost")) return hangUp(this, session);
      callback(null, `Ok: queued as ${queueId}`);
    };
    take().catch((error: Error) => callback(error));
  };
}

function hangUp({ connections }: SMTPServer, session: SMTPServerSession): void {
  for (const connection of connections) {
    if (connection.session === session) connection.close();
  }
}
