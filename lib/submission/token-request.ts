/**
 * One request for an access token (RFC 6749 §4.4, §6), by a kept library. It guards that the endpoint
 * is safe and that no error carries a secret.
 */
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

/** What was learned of a mailbox's grant by asking. */
export interface Grant {
  /** The newest refresh token, where the server rotates them (RFC 6749 §6). */
  refreshToken?: string | undefined;
  /** The client authentication that the server took last. */
  method?: Method | undefined;
}

type Method = "post" | "basic" | "none";

/** The reason to abort with when the endpoint took too long. */
export const timedOut = Symbol("timed out");

export function tooLate(): TokenError {
  return new TokenError("timeout", "no access token: the endpoint did not answer in time", true);
}

export function aborted(): TokenError {
  return new TokenError("aborted", "no access token: the caller gave up waiting", true);
}

/** @throws TokenError */
export async function fetchToken(
  oauth2: OAuth2,
  entry: Grant,
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
  entry: Grant,
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
  entry: Grant,
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
    return tooLate();
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
