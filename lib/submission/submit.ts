/**
 * The use case: a request becomes a message, the message one session, the session a result. Knows
 * ports only. A submission never rejects for what a caller, a secret, a server or the network does:
 * the result tells.
 */
import { ConfigError } from "../config.ts";
import { envelopeOf } from "../message/envelope.ts";
import { type MailRequest, parseRequest } from "../message/schema.ts";
import type { Submission } from "../smtp/envelope.ts";
import { classify } from "./classify.ts";
import { type DeliveryPorts, deliver, type Resting } from "./deliver.ts";
import { bodyHash, ledgerKey, messageIdFor } from "./identity.ts";
import type { Ledger, LedgerRecord } from "./ledger.ts";
import { type Mailbox, MailboxError } from "./mailbox.ts";
import {
  type ErrorResult,
  type Issue,
  overall,
  type RecipientResult,
  type Result,
  type ServerResult,
  unsent,
} from "./outcome.ts";
import { checkPolicy, type PolicyViolation } from "./policy.ts";
import type { SendOptions, Sent } from "./ports.ts";
import { TokenError } from "./token.ts";

/** One request on its way in. */
export interface Order {
  readonly input: unknown;
  /** The id where the request brings no `idempotencyKey`. */
  readonly id: string;
  /** When it was asked for: the message's Date, and the same however often it is sent. */
  readonly date: Date;
  /** Made by a program, not on a person's behalf (RFC 3834 §5). */
  readonly autoSubmitted?: boolean;
  /** A person decided: what is uncertain or rejected is sent once more. */
  readonly again?: boolean;
}

/** What limits a submission in time. */
export interface Limits {
  /** Milliseconds this invocation has left, the reserve for reporting taken off. */
  readonly timeLeft: () => number;
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
  /** Loaded lazily: the composer is large, and the secret is on its way meanwhile. */
  readonly composer: () => Promise<Composer>;
}

type Composer = Pick<typeof import("../message/composer.ts"), "compose" | "parseRaw">;

interface Ready {
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
interface Held {
  readonly ledger: Ledger;
  record: LedgerRecord;
  /** Recipients that an earlier send settled. */
  readonly before: readonly RecipientResult[];
}

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
  const prepared = await Promise.all(orders.map((order) => prepare(ports, order, limits)));
  const results = prepared.map((entry) => ("outcome" in entry ? entry : undefined));
  const groups = new Map<string, number[]>();
  for (const [index, entry] of prepared.entries()) {
    if ("outcome" in entry) continue;
    const key = `${entry.secretId}\n${entry.mailbox.fingerprint}`;
    groups.set(key, [...(groups.get(key) ?? []), index]);
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

/** Everything before the socket: shape, claim, mailbox, message, policy. */
async function prepare(ports: SubmitPorts, order: Order, limits: Limits): Promise<Ready | Result> {
  const parsed = parseRequest(order.input);
  if (!parsed.ok) return malformed(order.id, parsed.issues);
  const { request } = parsed;
  const id = request.idempotencyKey ?? order.id;
  const loading = ports.composer();
  // Awaited below; a failure to load it is told there.
  loading.catch(() => {});
  let claim: Held | undefined;
  try {
    const secretId = secretOf(ports.config, request);
    const claimed = await claimFor(ports, { order, id, request }, limits);
    if (claimed !== undefined && "outcome" in claimed) return claimed;
    claim = claimed;
    const mailbox = await ports.mailboxes.load(secretId);
    const known = { order, id, request, secretId, mailbox, claim };
    const ready = await assemble(ports, known, await loading);
    if ("outcome" in ready) await record(claim, ready);
    return ready;
  } catch (error) {
    const result = unsent(id, "deferred", explainPreparation(error), {
      retryable: retryable(error),
    });
    await record(claim, result);
    return result;
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
  const asked = { key: ledgerKey(request.mailbox, id), hash: bodyHash(request), date: order.date };
  const claim = await ledger.claim(asked, limits.timeLeft() + LEASE_MARGIN_MS, order.again);
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

/** An invocation may outlive the time it was given, by what Lambda takes to end it. */
const LEASE_MARGIN_MS = 60_000;

const BUSY: ErrorResult = {
  code: "in_progress",
  phase: "ledger",
  message: "Another invocation is sending the message with this key.",
};
const CONFLICT: ErrorResult = {
  code: "key_reused",
  phase: "ledger",
  message: "This key was used with another body. A changed message needs a key of its own.",
};

async function record(claim: Held | undefined, result: Result): Promise<void> {
  try {
    await claim?.ledger.settle(claim.record, result);
  } catch {
    // The result stands. What the ledger keeps is at worst "sending", which counts as uncertain.
  }
}

async function assemble(
  ports: SubmitPorts,
  known: Pick<Ready, "order" | "id" | "request" | "secretId" | "mailbox" | "claim">,
  composer: Composer,
): Promise<Ready | Result> {
  const { order, id, request, secretId, mailbox, claim } = known;
  const parsedRaw = request.raw === undefined ? undefined : composer.parseRaw(request.raw);
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
  const composed = await composer.compose(request, {
    from: own,
    ...(mailbox.from && { sender: mailbox.from }),
    date: claim ? new Date(claim.record.date) : order.date,
    messageId: messageIdFor(secretId, id, envelope.from),
    ...(order.autoSubmitted && { autoSubmitted: true }),
  });
  const tooLarge = checkPolicy({ ...proposal, size: composed.content.size }, mailbox, ports.config);
  if (tooLarge.length > 0) return forbidden(id, tooLarge, addressed);
  const { dsn, requireTls, priority, deliverBy, holdFor } = request;
  const submission: Submission = {
    from: envelope.from,
    recipients: addressed.to.filter((to) => !claim?.before.some(({ address }) => address === to)),
    content: composed.content,
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

/** One session for messages of one mailbox. */
async function send(
  ports: SubmitPorts,
  group: readonly Ready[],
  limits: Limits,
): Promise<readonly Result[]> {
  const results = await converse(ports, group, limits);
  await Promise.all(group.map(({ claim }, index) => record(claim, results[index] as Result)));
  return results;
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
    merged(ready, unsent(ready.id, "deferred", error, { ...knownOf(ready), retryable: again }));
  try {
    const { sent } = await deliver(ports, secretId, mailbox, submissions, options);
    if ("resting" in sent) {
      const error = explainResting(sent);
      return group.map((ready) => failed(ready, error, false));
    }
    return group.map((ready, index) => merged(ready, settle(ports, ready, sent, index)));
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
  claim.record = await claim.ledger.sending(claim.record, merged(ready, provisional));
}

/** Recipients that an earlier send settled keep their outcome; the message's follows from all. */
function merged(ready: Ready, result: Result): Result {
  const before = ready.claim?.before ?? [];
  if (before.length === 0) return result;
  const known = new Map([...before, ...result.recipients].map((entry) => [entry.address, entry]));
  const recipients = ready.envelope.to.flatMap((address) => known.get(address) ?? []);
  return {
    ...result,
    outcome: overall(recipients.map(({ outcome }) => outcome)),
    envelope: ready.envelope,
    recipients,
  };
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

/** Null where no server answered. */
export function serverOf(sent: Sent): ServerResult {
  return {
    host: sent.endpoint.host,
    port: sent.endpoint.port,
    tls: sent.tls ? { protocol: sent.tls.protocol, cipher: sent.tls.cipher } : null,
    auth: sent.report.mechanism ?? null,
    extensions: [...(sent.report.capabilities?.keywords.keys() ?? [])],
  };
}

/** The secret that a request's mailbox stands for. @throws MailboxError */
export function secretOf(
  config: SubmitPorts["config"],
  request: { readonly mailbox?: string | undefined },
): string {
  if (request.mailbox !== undefined) {
    if (config.secretPrefix !== undefined) return `${config.secretPrefix}${request.mailbox}`;
    throw new MailboxError(
      "mailbox_unknown",
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

function knownOf({ submission, messageId }: Ready) {
  return { envelope: { from: submission.from, to: submission.recipients }, messageId };
}

function malformed(id: string, issues: readonly Issue[]): Result {
  const count = issues.length === 1 ? "" : ` (and ${issues.length - 1} more)`;
  const [first] = issues;
  const what = first ? `${first.path === "" ? "the request" : first.path} ${first.message}` : "";
  return unsent(id, "rejected", {
    code: "invalid_request",
    phase: "request",
    message: `The request is malformed: ${what}${count}.`,
    issues,
  });
}

function forbidden(
  id: string,
  violations: readonly PolicyViolation[],
  envelope: NonNullable<Result["envelope"]>,
): Result {
  const [first] = violations as readonly [PolicyViolation];
  return unsent(
    id,
    "rejected",
    { code: first.code, phase: "policy", message: `${first.message}.`, issues: violations },
    { envelope },
  );
}

/** A bad environment, as every way in tells it. */
export function misconfigured(id: string, error: ConfigError): Result {
  return unsent(id, "deferred", explainPreparation(error));
}

export function explainResting({ resting }: Resting): ErrorResult {
  return {
    code: "auth_failed",
    phase: "auth",
    message: `These credentials were refused and are not tried again for now, lest the account be locked. ${resting}`,
  };
}

/** Why there is no session. Errors of unknown make are not quoted: they may hold anything. */
export function explainPreparation(error: unknown): ErrorResult {
  if (error instanceof ConfigError) {
    return {
      code: "config_invalid",
      phase: "config",
      message: error.message,
      issues: error.issues,
    };
  }
  if (error instanceof MailboxError) {
    return { code: error.code, phase: "mailbox", message: error.message };
  }
  if (error instanceof TokenError) {
    const message = `No access token: ${error.message} (${error.code})`;
    return { code: "token_failed", phase: "auth", message };
  }
  const name = error instanceof Error ? error.name : typeof error;
  return { code: "internal_error", phase: "request", message: `Unexpected error (${name}).` };
}

function retryable(error: unknown): boolean {
  if (error instanceof MailboxError || error instanceof TokenError) return error.retryable;
  return !(error instanceof ConfigError);
}
