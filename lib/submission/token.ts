/**
 * OAuth 2.0 access tokens (RFC 6749) for mailboxes that log in with one: fetched with the refresh
 * token (§6) or the client's own credentials (§4.4), kept in memory until shortly before they expire.
 * It guards that one mailbox has one request under way at a time, and that no error carries a secret.
 */
import { createHash } from "node:crypto";
import {
  aborted,
  fetchToken,
  type Grant,
  type OAuth2,
  type TokenError,
  timedOut,
  tooLate,
} from "./token-request.ts";

export { type OAuth2, TokenError } from "./token-request.ts";

export interface TokenSource {
  /**
   * An access token with at least a minute to live, where its server says how long it lives.
   * @throws TokenError, with code `aborted` when `signal` fires first, or `timeout` if its time was up
   */
  get(oauth2: OAuth2, signal?: AbortSignal): Promise<string>;
  /** Forgets the token a mail server refused, so that the next `get` fetches; another one is kept. */
  invalidate(oauth2: OAuth2, refused: string): void;
}

export interface TokenSourceOptions {
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** How long one token request may take, in milliseconds: 10,000 where absent. */
  readonly timeoutMs?: number;
}

/** What is left of a token's life when it counts as spent: a session must fit in, clocks differ. */
const marginMs = 60_000;
/** RFC 6749 §5.1 lets a server keep the lifetime to itself. */
const unstatedLifeMs = 300_000;

interface Flight {
  readonly token: Promise<string>;
  readonly controller: AbortController;
  waiting: number;
}

interface Entry extends Grant {
  token?: { readonly value: string; readonly spentAt: number } | undefined;
  flight?: Flight | undefined;
}

/** A cache of access tokens; one for each warm instance is enough. */
export function createTokenSource(options: TokenSourceOptions = {}): TokenSource {
  const { now = Date.now, timeoutMs = 10_000 } = options;
  const entries = new Map<string, Entry>();

  function entryOf(oauth2: OAuth2): Entry {
    const key = keyOf(oauth2);
    const entry = entries.get(key) ?? {};
    entries.set(key, entry);
    return entry;
  }

  async function fly(oauth2: OAuth2, entry: Entry, signal: AbortSignal): Promise<string> {
    const response = await fetchToken(oauth2, entry, signal);
    const { access_token: value, expires_in: seconds } = response;
    const lifeMs = seconds === undefined ? unstatedLifeMs : seconds * 1000;
    // A token that lives less than the margin is used once, and not kept.
    entry.token = { value, spentAt: now() + lifeMs - marginMs };
    return value;
  }

  function takeOff(oauth2: OAuth2, entry: Entry): Flight {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(timedOut), timeoutMs);
    const token = fly(oauth2, entry, controller.signal).finally(() => {
      clearTimeout(timer);
      if (entry.flight === flight) entry.flight = undefined;
    });
    // Whoever waits sees the failure; where all have gone, nobody need.
    token.catch(() => undefined);
    const flight: Flight = { token, controller, waiting: 0 };
    return flight;
  }

  return {
    async get(oauth2, signal) {
      if (signal?.aborted) throw gaveUp(signal);
      const entry = entryOf(oauth2);
      if (entry.token !== undefined && now() < entry.token.spentAt) return entry.token.value;
      entry.flight ??= takeOff(oauth2, entry);
      return await join(entry, entry.flight, signal);
    },
    invalidate(oauth2, refused) {
      const entry = entryOf(oauth2);
      if (entry.token?.value === refused) entry.token = undefined;
    },
  };
}

/** Waits with the others; the last to give up takes the request down with it. */
async function join(entry: Entry, flight: Flight, signal?: AbortSignal): Promise<string> {
  flight.waiting += 1;
  let giveUp: (() => void) | undefined;
  try {
    return await new Promise<string>((resolve, reject) => {
      giveUp = () => reject(gaveUp(signal));
      signal?.addEventListener("abort", giveUp, { once: true });
      flight.token.then(resolve, reject);
    });
  } finally {
    if (giveUp !== undefined) signal?.removeEventListener("abort", giveUp);
    flight.waiting -= 1;
    if (flight.waiting === 0) {
      if (entry.flight === flight) entry.flight = undefined;
      flight.controller.abort(abandoned);
    }
  }
}

/** Whose time was up is told so; whoever left has gone. */
function gaveUp(signal: AbortSignal | undefined): TokenError {
  return signal?.reason?.name === "TimeoutError" ? tooLate() : aborted();
}

const abandoned = Symbol("abandoned");

/** Everything that makes a token another token, unreadable in a heap dump's map keys. */
function keyOf(oauth2: OAuth2): string {
  const { tokenEndpoint, clientId, clientSecret, refreshToken, grantType, scope } = oauth2;
  const parts = [tokenEndpoint, clientId, clientSecret, refreshToken, grantType, scope];
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64");
}
