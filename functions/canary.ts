/**
 * The delivery check, by a schedule: sends a probe from the mailbox to a watched address and looks for
 * it there. The event is a schedule's, or `{}`, or `{"mailbox": "billing"}`; its time is the key, so
 * that an event delivered twice is one message. It rejects only where the configuration is bad.
 */
import { type CanaryResult, runCanary } from "../lib/canary/canary.ts";
import { type Memory, type Probe, WatchError } from "../lib/canary/ports.ts";
import { type OAuth2, parseWatchedSecret, type Watched } from "../lib/canary/watched.ts";
import { ConfigError } from "../lib/config.ts";
import { opaque } from "../lib/submission/identity.ts";
import { MailboxError } from "../lib/submission/mailbox.ts";
import { SecretError } from "../lib/submission/ports.ts";
import { submit } from "../lib/submission/submit.ts";
import { TokenError } from "../lib/submission/token.ts";
import { tellCanary } from "../lib/telemetry/canary.ts";
import { isRecord, requestId } from "./events.ts";
import { type InvocationContext, limitsOf, type Wiring, wiring } from "./wiring.ts";

/**
 * @throws ConfigError where a variable is missing or bad, MailboxError where the watched mailbox's
 *   secret is
 */
export async function handler(event: unknown, context?: InvocationContext): Promise<CanaryResult> {
  const wired = wiring();
  const { to, secretId } = settings(wired);
  const { mailbox, time, id } = isRecord(event) ? event : {};
  const limits = limitsOf(context);
  const invocation = requestId(context);
  const watched = await secretOf(wired, secretId);
  const asked = {
    key: `canary-${opaque(time) ?? opaque(id) ?? invocation}`,
    to,
    ...(typeof mailbox === "string" && { mailbox }),
  };
  const correlationId = opaque(id) ?? invocation;
  const { result, counts, sent } = await runCanary(
    {
      send: (order) => submit(wired.ports, { ...order, correlationId }, limits),
      open: async (milliseconds) => {
        if (watched === undefined) throw unread();
        const { openImap } = await import("../lib/canary/imap.ts");
        return openImap({ watched, token: (oauth2) => tokenOf(wired, oauth2) }, milliseconds);
      },
      memory: wired.shared && memoryOf(wired.shared, [asked.mailbox ?? "", to].join("#")),
      now: Date.now,
      timeLeft: limits.timeLeft,
    },
    asked,
    {
      lateMs: wired.config.canaryLateSeconds * 1000,
      lostMs: wired.config.canaryLostSeconds * 1000,
    },
  );
  wired.tell({ source: "canary", result: sent, requestId: invocation, correlationId });
  tellCanary({ result, counts, requestId: invocation }, wired.config);
  return result;
}

/** @throws ConfigError */
function settings({ config }: Wiring): { readonly to: string; readonly secretId: string } {
  const { canaryTo: to, canarySecretId: secretId } = config;
  if (to !== undefined && secretId !== undefined) return { to, secretId };
  const message = "is not set, and the delivery check needs it";
  throw new ConfigError([
    ...(to === undefined ? [{ path: "CANARY_TO", message }] : []),
    ...(secretId === undefined ? [{ path: "CANARY_SECRET_ID", message }] : []),
  ]);
}

/** Undefined where it cannot be read now; the probe is sent all the same. @throws MailboxError */
async function secretOf({ secrets }: Wiring, id: string): Promise<Watched | undefined> {
  try {
    return parseWatchedSecret((await secrets.read(id)).secret);
  } catch (error) {
    if (!(error instanceof SecretError)) throw error;
    if (error.kind === "unavailable") return undefined;
    const missing = error.kind === "missing";
    throw new MailboxError(missing ? "mailbox_unknown" : "mailbox_unavailable", error.message);
  }
}

/** @throws WatchError */
async function tokenOf({ ports }: Wiring, oauth2: OAuth2): Promise<string> {
  try {
    const token = await ports.tokens.get(oauth2);
    // Each run asks anew: a token that was refused is not offered twice.
    ports.tokens.invalidate(oauth2, token);
    return token;
  } catch (error) {
    if (!(error instanceof TokenError)) throw error;
    const message = `There is no OAuth token for the watched mailbox (${error.code}).`;
    throw new WatchError("watch_login_refused", message);
  }
}

function unread(): WatchError {
  return new WatchError("watch_failed", "The watched mailbox's secret could not be read now.");
}

/** Seconds that probes are remembered: longer than any of them is waited for. */
const REMEMBERED_SECONDS = 7 * 24 * 3600;

/** Two runs at a time may forget one another's probe; then it is found as a stray. */
function memoryOf(shared: NonNullable<Wiring["shared"]>, name: string): Memory {
  const key = `canary#${name}`;
  return {
    read: async () => {
      const text = await (await shared()).recall(key);
      return text === undefined ? [] : (JSON.parse(text) as readonly Probe[]);
    },
    write: async (probes) => {
      const expires = Math.floor(Date.now() / 1000) + REMEMBERED_SECONDS;
      await (await shared()).note(key, JSON.stringify(probes), expires);
    },
  };
}
