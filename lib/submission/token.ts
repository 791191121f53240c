/**
 * OAuth 2.0 access tokens (RFC 6749) for mailboxes that log in with one: fetched with the refresh
 * token (§6) or the client's own credentials (§4.4), kept in memory until shortly before they expire.
 * It guards that one mailbox has one request under way at a time, and that no error carries a secret.
 */
import { createHash } from "node:crypto";
import type { AuthorizationServer, Client, TokenEndpointResponse } from "oauth4webapi";

/** A mailbox's `oauth2`. Without `clientSecret` the client is public (RFC 6749 §2.1). */
export interface OAuth2 {
  readonly tokenEndpoint: string;
  readonly clientId: string;
  readonly clientSecret?: string | undefined;
  readonly refreshToken?: string | undefined;
  readonly grantType?: "client_credentials" | undefined;
  readonly scope?: string | undefined;
}

/** Why there is no token. Holds neither a secret nor the answer it was read from. */
export class TokenError extends Error {
  override readonly name = "TokenError";
  /**
   * The server's own `error` (RFC 6749 §5.2: `invalid_grant`, `invalid_client`, …), or one of ours:
   * `insecure_endpoint`, `unreachable`, `timeout`, `aborted`, `server_error`, `invalid_response`.
   */
  readonly code: string;
  /** Whether trying again unattended may succeed. */
  readonly retryable: boolean;

  constructor(code: string, message: string, retryable: boolean) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

export interface TokenSource {
  /**
   * An access token with at least a minute to live, where its server says how long it lives.
   * @throws TokenError, with code `aborted` when `signal` fires first
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

interface Entry {
  token?: { readonly value: string; readonly spentAt: number } | undefined;
  flight?: Flight | undefined;
  /** The newest refresh token, where the server rotates them (RFC 6749 §6). */
  refreshToken?: string | undefined;
  /** The client authentication that the server took last. */
  method?: Method | undefined;
}

type Method = "post" | "basic" | "none";

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
      if (signal?.aborted) throw aborted();
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
      giveUp = () => reject(aborted());
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

const timedOut = Symbol("timed out");
const abandoned = Symbol("abandoned");

function aborted(): TokenError {
  return new TokenError("aborted", "no access token: the caller gave up waiting", true);
}

/** Everything that makes a token another token, unreadable in a heap dump's map keys. */
function keyOf(oauth2: OAuth2): string {
  const { tokenEndpoint, clientId, clientSecret, refreshToken, grantType, scope } = oauth2;
  const parts = [tokenEndpoint, clientId, clientSecret, refreshToken, grantType, scope];
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64");
}

async function fetchToken(
  oauth2: OAuth2,
  entry: Entry,
  signal: AbortSignal,
): Promise<TokenEndpointResponse> {
  const rotated = entry.refreshToken;
  try {
    return await authenticate(oauth2, entry, rotated ?? oauth2.refreshToken, signal);
  } catch (error) {
    // A rotated token may have been overtaken by another instance's; the mailbox's own may serve.
    if (rotated === undefined || !hasCode(error, "invalid_grant")) throw error;
    entry.refreshToken = undefined;
    return await authenticate(oauth2, entry, oauth2.refreshToken, signal);
  }
}

/**
 * The secret goes in the body first, which Microsoft and Google take; a server that refuses the
 * client that way is asked once with HTTP Basic, the one form every server must know (§2.3.1).
 */
async function authenticate(
  oauth2: OAuth2,
  entry: Entry,
  refreshToken: string | undefined,
  signal: AbortSignal,
): Promise<TokenEndpointResponse> {
  const method = entry.method ?? (oauth2.clientSecret === undefined ? "none" : "post");
  try {
    return await request(oauth2, entry, method, refreshToken, signal);
  } catch (error) {
    if (method !== "post" || !hasCode(error, "invalid_client")) throw error;
    return await request(oauth2, entry, "basic", refreshToken, signal);
  }
}

async function request(
  oauth2: OAuth2,
  entry: Entry,
  method: Method,
  refreshToken: string | undefined,
  signal: AbortSignal,
): Promise<TokenEndpointResponse> {
  const { clientId, clientSecret = "", grantType = "refresh_token", scope } = oauth2;
  const endpoint = readEndpoint(oauth2.tokenEndpoint);
  const oauth = await import("oauth4webapi");
  // Only the token endpoint is configured; the issuer would matter for ID tokens, which none reads.
  const server: AuthorizationServer = { issuer: endpoint.origin, token_endpoint: endpoint.href };
  const client: Client = { client_id: clientId };
  const parameters = new URLSearchParams(scope === undefined ? {} : { scope });
  if (grantType === "refresh_token") parameters.set("refresh_token", refreshToken ?? "");
  const proofs = {
    post: oauth.ClientSecretPost,
    basic: oauth.ClientSecretBasic,
    none: oauth.None,
  };
  let status: number | undefined;
  try {
    const response = await oauth.genericTokenEndpointRequest(
      server,
      client,
      proofs[method](clientSecret),
      grantType,
      parameters,
      {
        signal,
        [oauth.customFetch]: fetchPlainly,
        [oauth.allowInsecureRequests]: endpoint.protocol === "http:",
      },
    );
    status = response.status;
    const token = await oauth.processGenericTokenEndpointResponse(server, client, response);
    // It will be sent inside a SASL message: printable, without spaces (RFC 6750 §2.1).
    if (token.token_type !== "bearer" || !/^[\x21-\x7e]+$/.test(token.access_token)) {
      throw new TokenError("invalid_response", "no access token: unfit to send", false);
    }
    entry.method = method;
    entry.refreshToken = token.refresh_token ?? entry.refreshToken;
    return token;
  } catch (error) {
    throw explain(error, status, signal, oauth2);
  }
}

/**
 * Leaves out what the library would stop at and nobody here reads: the ID token that Google adds
 * where the first grant asked for `openid` (its check needs the issuer's metadata), and the challenge
 * beside a 401, so that the `error` in the body is read (§5.2).
 */
async function fetchPlainly(url: string, init: RequestInit): Promise<Response> {
  const response = await fetch(url, init);
  const text = await response.text();
  const { status } = response;
  const headers = { "content-type": response.headers.get("content-type") ?? "" };
  // Statuses that forbid a body are no answer to a token request (§5).
  if (status < 200 || [204, 205, 304].includes(status)) return new Response(null, { status: 502 });
  return new Response(withoutIdToken(text), { status, headers });
}

function withoutIdToken(text: string): string {
  try {
    const drop = (key: string, value: unknown) => (key === "id_token" ? undefined : value);
    return JSON.stringify(JSON.parse(text, drop)) ?? text;
  } catch {
    return text;
  }
}

/** TLS, except on this very machine (RFC 6749 §3.2). */
function readEndpoint(tokenEndpoint: string): URL {
  const url = URL.canParse(tokenEndpoint) ? new URL(tokenEndpoint) : undefined;
  const loopback = ["localhost", "127.0.0.1", "[::1]"].includes(url?.hostname ?? "");
  const safe = url?.protocol === "https:" || (url?.protocol === "http:" && loopback);
  if (url === undefined || !safe || url.username !== "" || url.password !== "") {
    throw new TokenError(
      "insecure_endpoint",
      "no access token: tokenEndpoint must be an https URL without user information",
      false,
    );
  }
  return url;
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof TokenError && error.code === code;
}

/** From whatever went wrong, only what holds no secret: codes, and the server's status. */
function explain(
  error: unknown,
  status: number | undefined,
  signal: AbortSignal,
  oauth2: OAuth2,
): TokenError {
  if (signal.reason === timedOut) {
    return new TokenError("timeout", "no access token: the endpoint did not answer in time", true);
  }
  if (error instanceof TokenError) return error;
  if (signal.aborted) return aborted();
  if (status === undefined) {
    const reason = systemCode(error);
    const detail = reason === undefined ? "" : ` (${reason})`;
    return new TokenError(
      "unreachable",
      `no access token: the token endpoint cannot be reached${detail}`,
      true,
    );
  }
  if (status >= 500 || status === 429) {
    return new TokenError("server_error", `no access token: the server answered ${status}`, true);
  }
  const code = errorCode(error, oauth2);
  if (code === undefined) {
    return new TokenError("invalid_response", `no access token: cannot read the ${status}`, false);
  }
  const retryable = code === "temporarily_unavailable" || code === "server_error";
  return new TokenError(code, `no access token: the server answered ${status} ${code}`, retryable);
}

/** `ECONNREFUSED` and its like, which `fetch` hides in the cause. */
function systemCode(error: unknown): string | undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return typeof code === "string" && /^[A-Z0-9_]{2,48}$/.test(code) ? code : undefined;
}

/**
 * The server's `error` (§5.2), if it is one word and echoes nothing of ours. Its description is
 * somebody else's text about our credentials, and stays out.
 */
function errorCode(error: unknown, oauth2: OAuth2): string | undefined {
  const code = error instanceof Error && "error" in error ? error.error : undefined;
  if (typeof code !== "string" || !/^[a-z_]{1,48}$/.test(code)) return undefined;
  const secrets = [oauth2.clientSecret, oauth2.refreshToken];
  return secrets.some((secret) => secret && code.includes(secret)) ? undefined : code;
}
