/**
 * One session for messages of one mailbox, with what a refused login asks for: a rotated secret or a
 * stale token gets one new session, and anything else refused rests, so that no account is locked.
 */

import { prepareCredentials } from "../sasl/prepare.ts";
import type { Submission } from "../smtp/envelope.ts";
import { SmtpError } from "../smtp/error.ts";
import type { SessionReport } from "../smtp/report.ts";
import { withSignal } from "./in-time.ts";
import { type Mailbox, secretsOf } from "./mailbox.ts";
import type { Mailboxes } from "./mailboxes.ts";
import type { Relay, SendOptions, Sent, Target, TokenSource } from "./ports.ts";

export interface DeliveryPorts {
  readonly mailboxes: Mailboxes;
  readonly relay: Relay;
  readonly tokens: TokenSource;
  /** The EHLO name where the mailbox gives none. */
  readonly ehloName: string;
}

export interface Delivery {
  /** The mailbox as it was used last: a rotation may have changed it. */
  readonly mailbox: Mailbox;
  readonly sent: Sent | Resting;
}

/** No session was opened: these credentials were refused a short while ago. */
export interface Resting {
  readonly resting: string;
}

/**
 * @param secretId where the mailbox came from, to look for a rotation
 * @throws TokenError when no access token can be had
 */
export async function deliver(
  ports: DeliveryPorts,
  secretId: string,
  mailbox: Mailbox,
  submissions: readonly Submission[],
  options: () => SendOptions,
): Promise<Delivery> {
  const first = await attempt(ports, mailbox, submissions, options);
  if ("resting" in first) return { mailbox, sent: first };
  if (!loginRefused(first.report)) return { mailbox, sent: first };
  const fresh = await ports.mailboxes.refresh(secretId, mailbox, options().timeLeft);
  const rotated = fresh.fingerprint !== mailbox.fingerprint;
  const renewed = !rotated && first.token !== undefined && mailbox.oauth2 !== undefined;
  if (renewed && mailbox.oauth2) ports.tokens.invalidate(mailbox.oauth2, first.token as string);
  // A refused password rests already; a token's mailbox only once there is nothing left to renew.
  if (rotated && first.token !== undefined) {
    await ports.mailboxes.refuse(mailbox, reason(first.report));
  }
  if (!rotated && !renewed) return { mailbox, sent: first };
  const again = () => ({ ...options(), after: first });
  // The server may still echo what it refused.
  const second = await attempt(ports, fresh, submissions, again, first.secrets);
  if (!("resting" in second) && second.token !== undefined && loginRefused(second.report)) {
    await ports.mailboxes.refuse(fresh, reason(second.report));
  }
  return { mailbox: fresh, sent: second };
}

type Attempt = (Sent & { readonly token?: string; readonly secrets: readonly string[] }) | Resting;

async function attempt(
  ports: DeliveryPorts,
  mailbox: Mailbox,
  submissions: readonly Submission[],
  options: () => SendOptions,
  earlier: readonly string[] = [],
): Promise<Attempt> {
  const run = async (): Promise<{ value: Attempt; proven: boolean }> => {
    // Looked at only when it is this one's turn: the attempt before may have been refused.
    const resting = await ports.mailboxes.resting(mailbox);
    if (resting !== undefined) return { value: { resting }, proven: false };
    const { timeLeft, signal } = options();
    const { oauth2 } = mailbox;
    const token =
      oauth2 && (await withSignal(timeLeft, (end) => ports.tokens.get(oauth2, end), signal));
    const own = await target(ports, mailbox, token);
    const secrets = [...own.secrets, ...earlier];
    const sent = await ports.relay.send({ ...own, secrets }, submissions, options());
    const value = { ...sent, secrets, ...(token !== undefined && { token }) };
    if (loginRefused(sent.report) && token === undefined) {
      // Said at once, before the next one's turn comes.
      await ports.mailboxes.refuse(mailbox, reason(sent.report));
    }
    return { value, proven: sent.report.mechanism !== undefined };
  };
  return ports.mailboxes.guarded(mailbox, run);
}

/** What the relay needs of a mailbox. */
export async function target(
  ports: Pick<DeliveryPorts, "ehloName">,
  mailbox: Mailbox,
  token: string | undefined,
): Promise<Target> {
  const { username, password } = mailbox;
  const certificate = mailbox.tls.cert !== undefined;
  const named = username !== undefined || (certificate && mailbox.auth?.includes("EXTERNAL"));
  return {
    endpoints: mailbox.endpoints,
    tls: mailbox.tls,
    proxy: mailbox.proxy,
    ehloName: mailbox.ehloName ?? ports.ehloName,
    allowPlaintextAuth: mailbox.allowPlaintextAuth,
    chunking: mailbox.chunking,
    secrets: [...secretsOf(mailbox), ...(token === undefined ? [] : [token])],
    ...(mailbox.auth && { auth: mailbox.auth }),
    ...(named && {
      credentials: await prepareCredentials({
        username: username ?? "",
        ...(password !== undefined && { password }),
        ...(token !== undefined && { token }),
        ...(certificate && { certificate }),
      }),
    }),
  };
}

/** Refused credentials (535), or refused as too weak to be tried again as they are (534). */
function loginRefused({ error }: SessionReport): boolean {
  return error !== undefined && (error.code === "auth_failed" || error.reply?.code === 534);
}

function reason({ error }: SessionReport): string {
  return error instanceof SmtpError ? error.message : "The server refused the login.";
}
