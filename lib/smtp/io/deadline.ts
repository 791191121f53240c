/**
 * How long each phase may take (RFC 5321 §4.5.3.2), clipped to the time that is left in all. A phase
 * has one end, set when it begins: a server that trickles octets cannot move it.
 */
import { SmtpError } from "../error.ts";
import type { Phase } from "../step.ts";

const MINUTE = 60_000;

/** Milliseconds. Connecting and TLS have no figure in the RFC; a relay that takes longer is down. */
export const PHASE_TIMEOUTS: Readonly<Record<Phase, number>> = {
  connect: 10_000,
  tls: 15_000,
  greeting: 5 * MINUTE,
  ehlo: 5 * MINUTE,
  starttls: 2 * MINUTE,
  auth: 2 * MINUTE,
  mail: 5 * MINUTE,
  rcpt: 5 * MINUTE,
  data: 2 * MINUTE,
  content: 10 * MINUTE,
  rset: 10_000,
  // The outcome is settled by then: a courtesy, not a wait.
  quit: 250,
  // Here it would cost a whole round trip. A server next door has answered by then; RFC 5321
  // §4.1.1.10 would wait for the others, Postfix's own client (smtp_skip_quit_response) does not.
  farewell: 25,
};

/** Sending one block of content (RFC 5321 §4.5.3.2.5). */
export const BLOCK_TIMEOUT = 3 * MINUTE;

/** What comes before the login, and so counts against a relay's share of the time. */
export const HELLO: ReadonlySet<Phase | undefined> = new Set<Phase>([
  "connect",
  "tls",
  "greeting",
  "ehlo",
  "starttls",
]);

/** What comes once every outcome is settled, and changes none. */
export const FAREWELL: ReadonlySet<Phase | undefined> = new Set<Phase>(["quit", "farewell"]);

/** The limits in force for one send. */
export interface Limits {
  /** `performance.now()` value after which nothing may be awaited. */
  readonly endsAt: number;
  /** The same for all that comes before the login, where another relay waits its turn. */
  readonly helloBy: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Await `work`, but no longer than the phase and the send may last.
 * @param work starts it, and returns what releases it once it is settled or time is up.
 * @param waiting what did not happen, for the error's text.
 * @throws SmtpError `timeout` or `aborted`.
 */
export function within<T>(
  limits: Limits,
  phase: Phase,
  milliseconds: number,
  work: (settle: { resolve: (value: T) => void; reject: (error: unknown) => void }) => () => void,
  waiting: string = WAITING[phase],
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const left = endOf(limits, phase) - performance.now();
    const wait = Math.max(0, Math.min(left, milliseconds));
    let release: (() => void) | undefined;
    let over = false;
    const finish = (act: () => void) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      limits.signal?.removeEventListener("abort", onAbort);
      release?.();
      act();
    };
    const onAbort = () => finish(() => reject(aborted(phase)));
    const timer = setTimeout(
      () => finish(() => reject(timedOut(waiting, phase, wait, why(limits, phase, left > wait)))),
      wait,
    );
    if (limits.signal?.aborted) {
      onAbort();
      return;
    }
    limits.signal?.addEventListener("abort", onAbort);
    try {
      release = work({
        resolve: (value) => finish(() => resolve(value)),
        reject: (error) => finish(() => reject(error)),
      });
    } catch (error) {
      finish(() => reject(error));
      return;
    }
    if (over) release();
  });
}

/**
 * For what happens at once and must not happen too late: an aborted send writes nothing more.
 * @throws SmtpError `timeout` or `aborted`.
 */
export function demandTime(limits: Limits, phase: Phase): void {
  if (limits.signal?.aborted) throw aborted(phase);
  if (endOf(limits, phase) > performance.now()) return;
  throw timedOut("Nothing more was sent", phase, 0, why(limits, phase, false));
}

function endOf(limits: Limits, phase: Phase): number {
  return HELLO.has(phase) ? Math.min(limits.helloBy, limits.endsAt) : limits.endsAt;
}

function why(limits: Limits, phase: Phase, ownLimit: boolean): string {
  if (ownLimit) {
    const cited = phase === "connect" || phase === "tls" ? "" : " (RFC 5321 §4.5.3.2)";
    return `the phase's limit${cited}`;
  }
  return endOf(limits, phase) < limits.endsAt
    ? "this relay's share of the time, since another one waits"
    : "all the time this invocation had left";
}

function timedOut(waiting: string, phase: Phase, milliseconds: number, why: string): SmtpError {
  const seconds = Math.round(milliseconds / 100) / 10;
  return new SmtpError("timeout", `${waiting} within ${seconds} s, ${why}.`, { phase });
}

function aborted(phase: Phase): SmtpError {
  return new SmtpError("aborted", `The send was aborted in phase ${phase}.`, { phase });
}

const WAITING: Readonly<Record<Phase, string>> = {
  connect:
    "No connection to the server. From a VPC this needs a NAT gateway, and AWS restricts outbound port 25: use 465 or 587. No answer",
  tls: "The TLS handshake did not finish",
  greeting:
    'No greeting. A port that expects TLS at once (usually 465) waits in silence: then set "security" to "implicit". None came',
  ehlo: "No answer to EHLO",
  starttls: "No answer to STARTTLS",
  auth: "No answer to AUTH",
  mail: "No answer to MAIL",
  rcpt: "No answer to RCPT",
  data: "No answer to DATA",
  content: "No answer to the content",
  rset: "No answer to RSET",
  quit: "No answer to QUIT",
  farewell: "No answer to QUIT",
};
