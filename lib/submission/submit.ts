/**
 * The use case: a request becomes a message, the message one session, the session a result. Knows
 * ports only. A submission never rejects for what a caller, a secret, a server or the network does:
 * the result tells.
 */
import type { ResolveAttachment } from "../message/attachment.ts";
import type { DkimKey } from "../message/dkim.ts";
import type { Content } from "../smtp/data.ts";
import { classify } from "./classify.ts";
import { type DeliveryPorts, deliver } from "./deliver.ts";
import { explainPreparation, explainResting, retryable, serverOf } from "./explain.ts";
import type { Ledger } from "./ledger.ts";
import { bounded, type ErrorResult, type Result, unsent } from "./outcome.ts";
import type { SendOptions, Sent } from "./ports.ts";
import { BUSY, conclude, prepare, type Ready, wholeOf } from "./prepare.ts";
import type { RateLimit } from "./rate.ts";

/** One request on its way in. */
export interface Order {
  readonly input: unknown;
  /** The id where the request brings no `idempotencyKey`. */
  readonly id: string;
  /** When it was asked for: the message's Date, and the same however often it is sent. */
  readonly date: Date;
  /** What the event is known by to whoever looks for it; it goes into the message's header. */
  readonly correlationId?: string | undefined;
  /** Made by a program, not on a person's behalf (RFC 3834 §5). */
  readonly autoSubmitted?: boolean;
  /** A person decided: what is uncertain or rejected is sent once more. */
  readonly again?: boolean;
}

/** What limits a submission in time. */
export interface Limits {
  /** Milliseconds this invocation has left, the reserve for reporting taken off. */
  readonly timeLeft: () => number;
  /** The same for recording the result, for which some of the reserve is meant; absent: no end. */
  readonly timeToRecord?: () => number;
  readonly signal?: AbortSignal | undefined;
}

export interface SubmitPorts extends DeliveryPorts {
  readonly config: {
    readonly secretId: string | undefined;
    readonly secretPrefix: string | undefined;
    readonly allowedRecipients: readonly string[] | undefined;
    readonly attachmentBuckets: readonly string[];
    readonly transcript: "full" | "off";
  };
  /** Absent: nothing is known across invocations, and nothing is promised about them. */
  readonly ledger?: () => Promise<Ledger>;
  readonly rate: RateLimit;
  /** What only some messages need. */
  readonly attachments: () => Promise<ResolveAttachment>;
  readonly signer: () => Promise<Signer>;
  readonly plainText: () => Promise<(html: string) => Promise<string>>;
}

export type Signer = (content: Content, keys: readonly DkimKey[]) => Promise<Content>;

/** Submit one message. */
export async function submit(ports: SubmitPorts, order: Order, limits: Limits): Promise<Result> {
  const [result] = await submitAll(ports, [order], limits);
  return result as Result;
}

/** Submit several; those of one mailbox share one session, and each settles by itself. */
export async function submitAll(
  ports: SubmitPorts,
  orders: readonly Order[],
  limits: Limits,
): Promise<readonly Result[]> {
  try {
    return await submitOrders(ports, orders, limits);
  } finally {
    // A connection made ahead that nobody came to use must not outlive the invocation.
    await ports.relay.release?.();
  }
}

async function submitOrders(
  ports: SubmitPorts,
  orders: readonly Order[],
  limits: Limits,
): Promise<readonly Result[]> {
  const prepared = await Promise.all(orders.map((order) => prepare(ports, order, limits)));
  const results = prepared.map((entry) => ("outcome" in entry ? entry : undefined));
  const groups = new Map<string, number[]>();
  for (const [index, entry] of prepared.entries()) {
    if ("outcome" in entry) continue;
    const key = `${entry.secretId}\n${entry.mailbox.fingerprint}`;
    const group = groups.get(key);
    if (group) group.push(index);
    else groups.set(key, [index]);
  }
  await Promise.all(
    [...groups.values()].map(async (group) => {
      const settled = await send(
        ports,
        group.map((index) => prepared[index] as Ready),
        limits,
      );
      for (const [position, index] of group.entries()) results[index] = settled[position];
    }),
  );
  return results as readonly Result[];
}

/** One session for messages of one mailbox. */
async function send(
  ports: SubmitPorts,
  group: readonly Ready[],
  limits: Limits,
): Promise<readonly Result[]> {
  const results = (await paced(ports, group, limits)).map(bounded);
  return Promise.all(
    group.map(({ claim }, index) => conclude(claim, results[index] as Result, limits)),
  );
}

/** Only as many as the mailbox's `maxPerMinute` leaves room for; the others wait for the next. */
async function paced(
  ports: SubmitPorts,
  group: readonly Ready[],
  limits: Limits,
): Promise<readonly Result[]> {
  const most = group[0]?.mailbox.maxPerMinute;
  if (most === undefined) return converse(ports, group, limits);
  const within: Ready[] = [];
  for (const ready of group) {
    if (await ports.rate.take(ready.secretId, most)) within.push(ready);
  }
  const sent = within.length > 0 ? await converse(ports, within, limits) : [];
  const later = {
    code: "rate_limited",
    phase: "policy",
    message: `The mailbox sends ${most} messages a minute, and this minute's are used up.`,
  };
  return group.map((ready) => {
    const result = sent[within.indexOf(ready)];
    const known = { ...knownOf(ready), retryable: true };
    return result ?? unsent(ready.id, "deferred", later, known);
  });
}

async function converse(
  ports: SubmitPorts,
  group: readonly Ready[],
  limits: Limits,
): Promise<readonly Result[]> {
  const [{ secretId, mailbox }] = group as [Ready];
  const options = (): SendOptions => ({
    timeLeft: limits.timeLeft(),
    signal: limits.signal,
    commit: (message) => commit(group[message]),
  });
  const submissions = group.map(({ submission }) => submission);
  const failed = (ready: Ready, error: ErrorResult, again: boolean) =>
    unsent(ready.id, "deferred", error, { ...knownOf(ready), retryable: again });
  try {
    const { sent } = await deliver(ports, secretId, mailbox, submissions, options);
    if ("resting" in sent) {
      const error = explainResting(sent);
      return group.map((ready) => failed(ready, error, false));
    }
    return group.map((ready, index) => settle(ports, ready, sent, index));
  } catch (error) {
    // Nothing was sent: what a session does is told in its report, never thrown.
    const explained = explainPreparation(error);
    return group.map((ready) => failed(ready, explained, retryable(error)));
  }
}

/** The send becomes durable here; only then may the terminator be written. */
async function commit(ready: Ready | undefined): Promise<void> {
  const claim = ready?.claim;
  if (ready === undefined || claim === undefined) return;
  const provisional = unsent(ready.id, "deferred", BUSY, { ...knownOf(ready), retryable: true });
  // A message in several transactions commits before each; once is enough.
  if (claim.record.state === "sending") return;
  claim.record = await claim.ledger.sending(claim.record, wholeOf(claim, provisional));
}

function settle(ports: SubmitPorts, ready: Ready, sent: Sent, index: number): Result {
  const message = sent.report.messages[index] ?? { recipients: [], notes: [] };
  const { retryable: again, error, ...verdict } = classify(message, sent.scrub);
  return {
    id: ready.id,
    outcome: verdict.outcome,
    retryable: again,
    reply: verdict.reply,
    ...(verdict.queueId !== undefined && { queueId: verdict.queueId }),
    messageId: ready.messageId,
    envelope: { from: ready.submission.from, to: ready.submission.recipients },
    recipients: verdict.recipients,
    server: serverOf(sent),
    timing: sent.timing,
    transcript: ports.config.transcript === "full" ? sent.transcript : [],
    ...(message.notes.length > 0 && { notes: message.notes }),
    ...(error && { error }),
  };
}

function knownOf({ submission, messageId }: Ready) {
  return { envelope: { from: submission.from, to: submission.recipients }, messageId };
}
