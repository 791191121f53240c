/**
 * What the embedded mail server has taken, in memory.
 *
 * Rule guarded here: a message is kept octet for octet as it came from the wire; whoever looks at
 * it parses it with a library that had no part in composing it.
 */
import { randomBytes } from "node:crypto";
import PostalMime, { type Email } from "postal-mime";
import type { SMTPServerSession } from "smtp-server";

export interface DeliveredMessage {
  /** What the server's reply called it: "queued as …". */
  readonly queueId: string;
  readonly receivedAt: Date;
  readonly user: string | undefined;
  /** The reverse-path; empty for the null one. */
  readonly from: string;
  readonly to: readonly string[];
  /** The transparency of dots already undone. */
  readonly raw: Buffer;
}

export class Inbox {
  readonly #messages: DeliveredMessage[] = [];
  readonly #watchers = new Set<() => void>();
  #waiting: (() => void)[] = [];

  get messages(): readonly DeliveredMessage[] {
    return this.#messages;
  }

  /** Keeps what a session has handed over, and tells what the reply is to call it. */
  take(session: SMTPServerSession, raw: Buffer): string {
    const { mailFrom, rcptTo } = session.envelope;
    const queueId = randomBytes(5).toString("hex").toUpperCase();
    this.#messages.push({
      queueId,
      receivedAt: new Date(),
      user: typeof session.user === "string" ? session.user : undefined,
      from: mailFrom === false ? "" : mailFrom.address,
      to: rcptTo.map(({ address }) => address),
      raw,
    });
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
    for (const tell of this.#watchers) tell();
    return queueId;
  }

  /** Told of every change; the answer ends it. */
  watch(tell: () => void): () => void {
    this.#watchers.add(tell);
    return () => void this.#watchers.delete(tell);
  }

  find(queueId: string): DeliveredMessage | undefined {
    return this.#messages.find((message) => message.queueId === queueId);
  }

  /** Settles when so many messages are there; it has no deadline of its own. */
  async waitFor(count: number): Promise<readonly DeliveredMessage[]> {
    while (this.#messages.length < count) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.#messages;
  }

  clear(): void {
    this.#messages.length = 0;
    for (const tell of this.#watchers) tell();
  }
}

export const parseMessage = (message: DeliveredMessage): Promise<Email> =>
  PostalMime.parse(message.raw);
