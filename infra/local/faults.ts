/**
 * Recipients at which the local mail server misbehaves, so that every outcome can be had by writing
 * to somebody: their local part says what happens, at any domain.
 *
 * Rule guarded here: a fault is the server's. The functions are told nothing of it, and meet it on
 * the wire as they would meet a real one.
 */
import { randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { setTimeout as wait } from "node:timers/promises";
import type { SMTPServer, SMTPServerOptions, SMTPServerSession } from "smtp-server";
import type { Inbox } from "./inbox.ts";
import type { MailServerOptions, Verdict } from "./mailserver.ts";

export interface Fault {
  /** The local part of the recipient. */
  readonly recipient: string;
  /** What the server does. */
  readonly does: string;
  /** What the API answers then. */
  readonly status: number;
  /** The reply to RCPT; without one, RCPT is accepted and the content fares as `does` says. */
  readonly verdict?: Verdict;
}

/** Long enough to send a second request by hand, and shorter than the functions' own time. */
export const SLOW_SECONDS = 8;

export const FAULTS: readonly Fault[] = [
  {
    recipient: "reject",
    does: "refuses the recipient: 550",
    status: 422,
    verdict: { code: 550, text: "No such user here" },
  },
  {
    recipient: "defer",
    does: "wants to be asked again later: 450",
    status: 503,
    verdict: { code: 450, text: "Greylisted, try again later" },
  },
  {
    recipient: "login",
    does: "says that the login is not enough: 530",
    status: 502,
    verdict: { code: 530, text: "Authentication required" },
  },
  {
    recipient: "lost",
    does: "takes the message and hangs up without a reply",
    status: 504,
  },
  {
    recipient: "slow",
    does: `thinks for ${SLOW_SECONDS} s before it takes the message`,
    status: 200,
  },
];

/** @param inbox asked for when a message arrives: the server that owns it is made with this */
export function faulty(inbox: () => Inbox): Pick<MailServerOptions, "judge" | "server"> {
  return {
    judge: { recipient: (address) => faultOf(address)?.verdict },
    server: { onData: contentHandler(inbox) },
  };
}

function faultOf(address: string): Fault | undefined {
  const local = address.slice(0, address.lastIndexOf("@")).toLowerCase();
  return FAULTS.find(({ recipient }) => recipient === local);
}

function contentHandler(inbox: () => Inbox): NonNullable<SMTPServerOptions["onData"]> {
  return function (this: SMTPServer, stream, session, callback) {
    const take = async (): Promise<void> => {
      const raw = await buffer(stream);
      // The server itself refuses what is too large, whatever is answered here.
      if (stream.sizeExceeded) return callback();
      const faults = session.envelope.rcptTo.map(({ address }) => faultOf(address)?.recipient);
      if (faults.includes("slow")) await wait(SLOW_SECONDS * 1000, undefined, { ref: false });
      const queueId = deliver(inbox(), session, raw);
      if (faults.includes("lost")) return hangUp(this, session);
      callback(null, `Ok: queued as ${queueId}`);
    };
    take().catch((error: Error) => callback(error));
  };
}

function deliver(inbox: Inbox, session: SMTPServerSession, raw: Buffer): string {
  const { mailFrom, rcptTo } = session.envelope;
  const queueId = randomBytes(5).toString("hex").toUpperCase();
  inbox.add({
    queueId,
    receivedAt: new Date(),
    user: typeof session.user === "string" ? session.user : undefined,
    from: mailFrom === false ? "" : mailFrom.address,
    to: rcptTo.map(({ address }) => address),
    raw,
  });
  return queueId;
}

function hangUp({ connections }: SMTPServer, session: SMTPServerSession): void {
  for (const connection of connections) {
    if (connection.session === session) connection.close();
  }
}
