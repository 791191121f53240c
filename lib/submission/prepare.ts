/**
 * Everything before the socket: the request's shape, the ledger's claim, the mailbox, the message and
 * the policy. What stops a message here is a result, told before anyone was connected to.
 */
import { ConfigError } from "../config.ts";
import { compose } from "../message/compose.ts";
import { envelopeOf } from "../message/envelope.ts";
import { parseRaw } from "../message/raw.ts";
import { type MailRequest, parseRequest } from "../message/schema.ts";
import type { Submission } from "../smtp/envelope.ts";
import { forbidden, malformed, unprepared } from "./explain.ts";
import { bodyHash, correlationOf, ledgerKey, messageIdFor } from "./identity.ts";
import { inTime } from "./in-time.ts";
import { answered, type Ledger, type LedgerRecord } from "./ledger.ts";
import { type Mailbox, MailboxError } from "./mailbox.ts";
import { type ErrorResult, overall, type RecipientResult, type Result, unsent } from "./outcome.ts";
import { checkPolicy, checkSize } from "./policy.ts";
import type { Limits, Order, SubmitPorts } from "./submit.ts";

/** A message that only lacks a session. */
export interface Ready {
  readonly order: Order;
  readonly id: string;
  readonly request: MailRequest;
  readonly secretId: string;
  readonly mailbox: Mailbox;
  readonly messageId: string;
  readonly envelope: NonNullable<Result["envelope"]>;
  readonly submission: Submission;
  readonly claim: Held | undefined;
}

/** The ledger's claim on a message, for as long as this invocation works on it. */
export interface Held {
  readonly ledger: Ledger;
  record: LedgerRecord;
  /** Recipients that an earlier send settled. */
  readonly before: readonly RecipientResult[];
}

/** Everything before the socket: shape, claim, mailbox, message, policy. */
export async function prepare(
  ports: SubmitPorts,
  order: Order,
  limits: Limits,
): Promise<Ready | Result> {
  const parsed = parseRequest(order.input);
  if (!parsed.ok) return malformed(order.id, parsed.issues);
  const { request } = parsed;
  const id = request.idempotencyKey ?? order.id;
  // Its packets are on their way while the secret is.
  ports.relay.prepare?.({ timeLeft: limits.timeLeft() });
  let claim: Held | undefined;
  try {
    const secretId = secretOf(ports.config, request);
    const claimed = await claimFor(ports, { order, id, request }, limits);
    if (claimed !== undefined && "outcome" in claimed) return claimed;
    claim = claimed;
    const mailbox = await ports.mailboxes.load(secretId, limits.timeLeft());
    const known = { order, id, request, secretId, mailbox, claim };
    const assembling = assemble(ports, known);
    const ready = await inTime(assembling, limits.timeLeft(), attachmentsLate);
    return "outcome" in ready ? await conclude(claim, ready, limits) : ready;
  } catch (error) {
    const refused = error instanceof MailboxError && error.code === "mailbox_refused";
    const outcome = refused ? "rejected" : "deferred";
    return conclude(claim, unprepared(request, id, outcome, error), limits);
  }
}

/** The claim on a message, or the result that makes one unnecessary. */
async function claimFor(
  ports: SubmitPorts,
  { order, id, request }: Pick<Ready, "order" | "id" | "request">,
  limits: Limits,
): Promise<Held | Result | undefined> {
  const ledger = await ports.ledger?.();
  if (ledger === undefined) return undefined;
  const { date, correlationId } = order;
  const asked = {
    key: ledgerKey(request.mailbox, id),
    hash: bodyHash(request),
    date,
    correlationId: correlationOf(request, correlationId),
  };
  const lease = limits.timeLeft() + LEASE_MARGIN_MS;
  const claim = await answered(ledger.claim(asked, lease, order.again), limits.timeLeft());
  switch (claim.is) {
    case "held":
      return { ledger, record: claim.record, before: claim.before };
    case "settled":
      return claim.result;
    case "busy":
      return unsent(id, "deferred", BUSY, { retryable: true });
    case "conflict":
      return unsent(id, "rejected", CONFLICT);
  }
}

/** Nothing else in a message is waited for. */
const attachmentsLate = () =>
  Object.assign(new Error("The attachments could not be read in the time that was left."), {
    name: "AttachmentError",
    code: "attachment_unavailable",
    retryable: true,
  });

/** An invocation may outlive the time it was given, by what Lambda takes to end it. */
const LEASE_MARGIN_MS = 60_000;

export const BUSY: ErrorResult = {
  code: "in_progress",
  phase: "ledger",
  message: "Another invocation is sending the message with this key.",
};
export const CONFLICT: ErrorResult = {
  code: "key_reused",
  phase: "ledger",
  message: "This key was used with another body. A changed message needs a key of its own.",
};

/** The result of the whole message, kept in the ledger where there is one. */
export async function conclude(
  claim: Held | undefined,
  result: Result,
  { timeToRecord = () => Number.POSITIVE_INFINITY }: Limits,
): Promise<Result> {
  const whole = wholeOf(claim, result);
  try {
    if (claim) {
      await answered(claim.ledger.settle(claim.record, whole), timeToRecord());
    }
  } catch {
    // The result stands. What the ledger keeps is at worst "sending", which counts as uncertain.
  }
  return whole;
}

/**
 * Recipients that an earlier send settled keep their outcome, whatever came of this one: who has the
 * message must never be forgotten. The message's outcome follows from all.
 */
export function wholeOf(claim: Held | undefined, result: Result): Result {
  const earlier = claim?.record.result;
  if (claim === undefined || claim.before.length === 0 || earlier === undefined) return result;
  const known = new Map(
    [...earlier.recipients, ...result.recipients, ...claim.before].map((one) => [one.address, one]),
  );
  const recipients = [...known.values()];
  const from = (result.envelope ?? earlier.envelope)?.from;
  return {
    ...result,
    outcome: overall(recipients.map(({ outcome }) => outcome)),
    envelope: from === undefined ? null : { from, to: [...known.keys()] },
    recipients,
  };
}

async function assemble(
  ports: SubmitPorts,
  known: Pick<Ready, "order" | "id" | "request" | "secretId" | "mailbox" | "claim">,
): Promise<Ready | Result> {
  const { order, id, request, secretId, mailbox, claim } = known;
  const parsedRaw = request.raw === undefined ? undefined : parseRaw(request.raw);
  if (parsedRaw?.ok === false) {
    return malformed(
      id,
      parsedRaw.reasons.map((message) => ({ path: "raw", message })),
    );
  }
  const raw = parsedRaw?.value;
  if (raw && !raw.recipients.ok && !named(request)) {
    return malformed(id, [{ path: "raw", message: raw.recipients.reason }]);
  }
  const own = mailbox.from ?? request.from ?? raw?.from[0];
  if (own === undefined) {
    const message = 'no sender: give "from", or set "from" in the mailbox\'s secret';
    return malformed(id, [{ path: "from", message }]);
  }
  const envelope = envelopeOf(request, own, raw);
  if (envelope.recipients.length === 0) {
    const message = "there is no recipient, neither in to, cc and bcc nor in the message's header";
    return malformed(id, [{ path: "to", message }]);
  }
  const addressed = {
    from: envelope.from,
    to: envelope.recipients.map(({ address }) => address),
  };
  const proposal = {
    envelopeFrom: envelope.from,
    authors: raw ? [...raw.from, ...raw.sender] : [request.from ?? own],
    authorsPath: raw && raw.from.length > 0 ? "raw" : "from",
    recipients: envelope.recipients,
    buckets: (request.attachments ?? []).flatMap(({ s3 }, index) =>
      s3 ? [{ bucket: s3.bucket, path: `attachments.${index}.s3.bucket` }] : [],
    ),
  };
  const refused = checkPolicy(proposal, mailbox, ports.config);
  if (refused.length > 0) return forbidden(id, refused, addressed);
  const composed = await compose(request, {
    from: own,
    ...(mailbox.from && { sender: mailbox.from }),
    date: claim ? new Date(claim.record.date) : order.date,
    messageId: messageIdFor(secretId, id, envelope.from),
    correlationId: claim ? claim.record.correlationId : order.correlationId,
    ...(order.autoSubmitted && { autoSubmitted: true }),
    ...(proposal.buckets.length > 0 && { resolveAttachment: await ports.attachments() }),
    ...(needsText(request) && { htmlToText: await ports.plainText() }),
  });
  const tooLarge = checkSize(composed.content.size, mailbox);
  if (tooLarge.length > 0) return forbidden(id, tooLarge, addressed);
  const content =
    mailbox.dkim.length === 0
      ? composed.content
      : await (await ports.signer())(composed.content, mailbox.dkim);
  const { dsn, requireTls, priority, deliverBy, holdFor } = request;
  const submission: Submission = {
    from: envelope.from,
    recipients: addressed.to.filter((to) => !claim?.before.some(({ address }) => address === to)),
    content,
    partial: request.partial,
    smtputf8: envelope.smtputf8,
    ...(dsn && { dsn }),
    ...(requireTls && { requireTls }),
    ...(priority !== undefined && { priority }),
    ...(deliverBy && { deliverBy }),
    ...(holdFor && { holdFor }),
  };
  return { ...known, messageId: composed.messageId, envelope: addressed, submission };
}

/** The secret that a request's mailbox stands for. @throws MailboxError */
export function secretOf(
  config: SubmitPorts["config"],
  request: { readonly mailbox?: string | undefined },
): string {
  if (request.mailbox !== undefined) {
    if (config.secretPrefix !== undefined) return `${config.secretPrefix}${request.mailbox}`;
    throw new MailboxError(
      "mailbox_refused",
      "This deployment has no named mailboxes: MAILBOX_SECRET_PREFIX is not set.",
    );
  }
  if (config.secretId !== undefined) return config.secretId;
  throw new ConfigError([
    { path: "MAILBOX_SECRET_ID", message: 'is not set, and the request names no "mailbox"' },
  ]);
}

function named({ to, cc, bcc }: MailRequest): boolean {
  return [to, cc, bcc].some((list) => list !== undefined && list.length > 0);
}

function needsText({ html, text }: MailRequest): boolean {
  return html !== undefined && (text === undefined || text === "");
}
