// RFC 6749 §4.4, §5 and §6, against oidc-provider on loopback and against servers that misbehave
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { createTokenSource, type OAuth2, TokenError } from "../../lib/submission/token.ts";

/** The part of oidc-provider used here; the package carries no types. */
interface Provider {
  callback(): (request: IncomingMessage, response: ServerResponse) => void;
  readonly Client: { find(id: string): Promise<object | undefined> };
  readonly Grant: new (
    of: object,
  ) => { addOIDCScope(scope: string): void; save(): Promise<string> };
  readonly RefreshToken: new (of: object) => { save(): Promise<string> };
  readonly AccessToken: { find(token: string): Promise<object | undefined> };
  readonly ClientCredentials: { find(token: string): Promise<object | undefined> };
}
const packageName: string = "oidc-provider";
const { default: OidcProvider } = (await import(packageName)) as {
  default: new (issuer: string, configuration: object) => Provider;
};

const servers: Server[] = [];

async function listen(handle: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(handle);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function closeAll() {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

async function failure(promise: Promise<unknown>): Promise<TokenError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof TokenError)) throw new Error(`no TokenError but ${inspect(error)}`);
  return error;
}

describe("a real authorization server", () => {
  let provider: Provider;
  let tokenEndpoint = "";
  let asked = 0;

  beforeAll(async () => {
    vi.spyOn(console, "warn").mockReturnValue(undefined);
    vi.spyOn(console, "info").mockReturnValue(undefined);
    let handle: ReturnType<Provider["callback"]> | undefined;
    const origin = await listen((request, response) => {
      asked += 1;
      handle?.(request, response);
    });
    const client = { redirect_uris: ["https://example.com/back"] };
    const secret = { client_secret: "s3cret/with+odd%characters" };
    provider = new OidcProvider(origin, {
      clients: [
        {
          client_id: "daemon",
          ...secret,
          grant_types: ["client_credentials"],
          redirect_uris: [],
          response_types: [],
          token_endpoint_auth_method: "client_secret_post",
        },
        {
          client_id: "mailer",
          ...client,
          ...secret,
          grant_types: ["authorization_code", "refresh_token"],
          token_endpoint_auth_method: "client_secret_post",
        },
        {
          client_id: "rotating",
          ...client,
          grant_types: ["authorization_code", "refresh_token"],
          token_endpoint_auth_method: "none",
        },
      ],
      features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
      scopes: ["openid", "offline_access", "send"],
      findAccount: (_: unknown, accountId: string) => ({
        accountId,
        claims: () => ({ sub: accountId }),
      }),
      rotateRefreshToken: ({ oidc }: { oidc: { client: { clientId: string } } }) =>
        oidc.client.clientId === "rotating",
    });
    handle = provider.callback();
    tokenEndpoint = `${origin}/token`;
  });

  afterAll(async () => {
    vi.restoreAllMocks();
    await closeAll();
  });

  /** What a person gets once, by consenting in a browser. */
  async function refreshTokenFor(clientId: string): Promise<string> {
    const client = await provider.Client.find(clientId);
    if (client === undefined) throw new Error(`no client ${clientId}`);
    const grant = new provider.Grant({ accountId: "user@example.com", clientId });
    grant.addOIDCScope("openid offline_access send");
    const token = new provider.RefreshToken({
      accountId: "user@example.com",
      authTime: Math.floor(Date.now() / 1000),
      client,
      grantId: await grant.save(),
      gty: "authorization_code",
      scope: "openid offline_access send",
    });
    return await token.save();
  }

  const secret = "s3cret/with+odd%characters";
  const daemon = (): OAuth2 => ({
    tokenEndpoint,
    clientId: "daemon",
    clientSecret: secret,
    grantType: "client_credentials",
    scope: "send",
  });

  it("grants by client credentials (RFC 6749 §4.4)", async () => {
    const token = await createTokenSource().get(daemon());
    expect(await provider.ClientCredentials.find(token)).toMatchObject({
      clientId: "daemon",
      scope: "send",
    });
  });

  it("grants by refresh token (§6), with an ID token beside it that nobody reads", async () => {
    const refreshToken = await refreshTokenFor("mailer");
    const oauth2 = { tokenEndpoint, clientId: "mailer", clientSecret: secret, refreshToken };
    const token = await createTokenSource().get(oauth2);
    expect(await provider.AccessToken.find(token)).toMatchObject({ accountId: "user@example.com" });
  });

  it("follows a server that rotates the refresh token, as a public client", async () => {
    const source = createTokenSource();
    const refreshToken = await refreshTokenFor("rotating");
    const oauth2 = { tokenEndpoint, clientId: "rotating", refreshToken };
    const first = await source.get(oauth2);
    source.invalidate(oauth2, first);
    const second = await source.get(oauth2);
    expect(second).not.toBe(first);
    expect(await provider.AccessToken.find(second)).toBeDefined();
  });

  it("asks once for many, and again only when told that the token was refused", async () => {
    asked = 0;
    const source = createTokenSource();
    const tokens = await Promise.all([1, 2, 3].map(() => source.get(daemon())));
    expect(new Set([...tokens, await source.get(daemon())]).size).toBe(1);
    expect(asked).toBe(1);
    source.invalidate(daemon(), "another token");
    expect(await source.get(daemon())).toBe(tokens[0]);
    source.invalidate(daemon(), tokens[0] ?? "");
    expect(await source.get(daemon())).not.toBe(tokens[0]);
    expect(asked).toBe(2);
  });

  it("says what is wrong, and that trying again will not help", async () => {
    const source = createTokenSource();
    const wrong = await failure(source.get({ ...daemon(), clientSecret: "wr0ng-s3cret" }));
    expect(wrong).toMatchObject({ code: "invalid_client", retryable: false });
    expect(inspect(wrong, { depth: 9, showHidden: true })).not.toContain("wr0ng");

    const oauth2 = { tokenEndpoint, clientId: "mailer", clientSecret: secret };
    const stale = await failure(source.get({ ...oauth2, refreshToken: "st4le-t0ken" }));
    expect(stale).toMatchObject({ code: "invalid_grant", retryable: false });
    expect(inspect(stale, { depth: 9, showHidden: true })).not.toContain("st4le");
  });
});

describe("a server that misbehaves", () => {
  afterEach(closeAll);

  const credentials = {
    clientId: "client",
    clientSecret: "s3cret-value",
    grantType: "client_credentials" as const,
  };

  async function answering(status: number, body: string, headers: Record<string, string> = {}) {
    let asked = 0;
    const origin = await listen((_, response) => {
      asked += 1;
      response.writeHead(status, { "content-type": "application/json", ...headers }).end(body);
    });
    return { oauth2: { ...credentials, tokenEndpoint: `${origin}/token` }, asked: () => asked };
  }

  it.each([
    [500, "oops", "server_error", true],
    [503, '{"error":"temporarily_unavailable"}', "server_error", true],
    [429, "{}", "server_error", true],
    [400, '{"error":"temporarily_unavailable"}', "temporarily_unavailable", true],
    [400, '{"error":"invalid_grant","error_description":"s3cret-value"}', "invalid_grant", false],
    [400, '{"error":"<s3cret-value>"}', "invalid_response", false],
    [400, "not JSON", "invalid_response", false],
    [404, "", "invalid_response", false],
    [302, "", "invalid_response", false],
    [204, "", "server_error", true],
    [200, "not JSON", "invalid_response", false],
    [200, "[]", "invalid_response", false],
    [200, '{"access_token":"t"}', "invalid_response", false],
    [200, '{"access_token":"","token_type":"bearer"}', "invalid_response", false],
    [200, '{"access_token":"a b","token_type":"bearer"}', "invalid_response", false],
    [200, '{"access_token":"a\\u0001b","token_type":"bearer"}', "invalid_response", false],
    [200, '{"access_token":"t","token_type":"mac"}', "invalid_response", false],
    [200, '{"access_token":"t","token_type":"dpop"}', "invalid_response", false],
    [200, '{"access_token":"t","token_type":"bearer","expires_in":"x"}', "invalid_response", false],
  ])("%i %s is %s, retryable: %s", async (status, body, code, retryable) => {
    const { oauth2 } = await answering(status, body, { location: "https://example.com/" });
    const error = await failure(createTokenSource().get(oauth2));
    expect(error).toMatchObject({ code, retryable });
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain("s3cret");
  });

  it("reads the error beside a challenge (RFC 6749 §5.2), and tries Basic once", async () => {
    const { oauth2, asked } = await answering(401, '{"error":"invalid_client"}', {
      "www-authenticate": 'Basic realm="token"',
    });
    const error = await failure(createTokenSource().get(oauth2));
    expect(error).toMatchObject({ code: "invalid_client", retryable: false });
    expect(asked()).toBe(2);
  });

  it("takes HTTP Basic where the server wants nothing else (§2.3.1), and remembers it", async () => {
    const seen: (string | undefined)[] = [];
    const origin = await listen((request, response) => {
      seen.push(request.headers.authorization);
      const basic = request.headers.authorization !== undefined;
      response.writeHead(basic ? 200 : 401, { "content-type": "application/json" });
      const token = `{"access_token":"t${seen.length}","token_type":"bearer"}`;
      response.end(basic ? token : '{"error":"invalid_client"}');
    });
    const source = createTokenSource();
    const oauth2 = { ...credentials, tokenEndpoint: origin };
    expect(await source.get(oauth2)).toBe("t2");
    source.invalidate(oauth2, "t2");
    expect(await source.get(oauth2)).toBe("t3");
    // Both halves are form-encoded before they are joined (§2.3.1, appendix B).
    const proof = `Basic ${Buffer.from("client:s3cret-value".replace("-", "%2D")).toString("base64")}`;
    expect(seen).toEqual([undefined, proof, proof]);
  });

  it("falls back to the mailbox's own refresh token when a rotated one is refused", async () => {
    const sent: (string | null)[] = [];
    const origin = await listen((request, response) => {
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        const token = new URLSearchParams(body).get("refresh_token");
        sent.push(token);
        response.writeHead(token === "own" ? 200 : 400, { "content-type": "application/json" });
        const granted = '{"access_token":"t","token_type":"bearer","refresh_token":"rotated"}';
        response.end(token === "own" ? granted : '{"error":"invalid_grant"}');
      });
    });
    const source = createTokenSource();
    const oauth2 = { tokenEndpoint: origin, clientId: "c", refreshToken: "own" };
    await source.get(oauth2);
    source.invalidate(oauth2, "t");
    await source.get(oauth2);
    expect(sent).toEqual(["own", "rotated", "own"]);
  });

  it("does not keep a failure", async () => {
    const { oauth2, asked } = await answering(500, "");
    const source = createTokenSource();
    await failure(source.get(oauth2));
    await failure(source.get(oauth2));
    expect(asked()).toBe(2);
  });

  it.each([
    ["3600 seconds", ',"expires_in":3600', 3_539_000, 3_541_000],
    ["no lifetime", "", 239_000, 241_000],
    ["a lifetime in a string", ',"expires_in":"3600"', 3_539_000, 3_541_000],
  ])("keeps a token of %s until a minute before its end", async (_, member, before, after) => {
    const body = `{"access_token":"t","token_type":"Bearer"${member}}`;
    const { oauth2, asked } = await answering(200, body);
    let now = 0;
    const source = createTokenSource({ now: () => now });
    expect(await source.get(oauth2)).toBe("t");
    now = before;
    await source.get(oauth2);
    expect(asked()).toBe(1);
    now = after;
    await source.get(oauth2);
    expect(asked()).toBe(2);
  });

  it("uses once, and does not keep, a token about to end", async () => {
    const body = '{"access_token":"t","token_type":"bearer","expires_in":30}';
    const { oauth2, asked } = await answering(200, body);
    const source = createTokenSource();
    expect([await source.get(oauth2), await source.get(oauth2)]).toEqual(["t", "t"]);
    expect(asked()).toBe(2);
  });

  it("keeps tokens of different mailboxes apart", async () => {
    const { oauth2, asked } = await answering(200, '{"access_token":"t","token_type":"bearer"}');
    const source = createTokenSource();
    await source.get(oauth2);
    await source.get({ ...oauth2, clientSecret: "rotated" });
    await source.get({ ...oauth2, scope: "other" });
    expect(asked()).toBe(3);
  });

  it("gives up after its own time, connected or half answered", async () => {
    for (const start of [false, true]) {
      const origin = await listen((_, response) => {
        if (start) response.writeHead(200, { "content-type": "application/json" }).write("{");
      });
      const source = createTokenSource({ timeoutMs: 100 });
      const error = await failure(source.get({ ...credentials, tokenEndpoint: origin }));
      expect(error).toMatchObject({ code: "timeout", retryable: true });
    }
  });

  it("lets one caller give up without the other", async () => {
    let finish: (() => void) | undefined;
    const origin = await listen((_, response) => {
      finish = () => {
        response.writeHead(200, { "content-type": "application/json" });
        response.end('{"access_token":"t","token_type":"bearer"}');
      };
    });
    const source = createTokenSource();
    const oauth2 = { ...credentials, tokenEndpoint: origin };
    const impatient = new AbortController();
    const first = failure(source.get(oauth2, impatient.signal));
    const second = source.get(oauth2);
    await vi.waitUntil(() => finish !== undefined);
    impatient.abort();
    expect(await first).toMatchObject({ code: "aborted", retryable: true });
    finish?.();
    expect(await second).toBe("t");
  });

  it("takes the request down when the last caller gives up", async () => {
    let state = "none";
    const origin = await listen((request, response) => {
      state = "open";
      response.on("close", () => {
        state = request.complete && response.writableEnded ? "answered" : "dropped";
      });
    });
    const source = createTokenSource();
    const oauth2 = { ...credentials, tokenEndpoint: origin };
    const impatient = new AbortController();
    const only = failure(source.get(oauth2, impatient.signal));
    await vi.waitUntil(() => state === "open");
    impatient.abort();
    expect((await only).code).toBe("aborted");
    await vi.waitUntil(() => state === "dropped");
    expect((await failure(source.get(oauth2, impatient.signal))).code).toBe("aborted");
  });

  it("is unreachable when nobody listens, and names the system's code", async () => {
    const origin = await listen(() => undefined);
    await closeAll();
    const error = await failure(createTokenSource().get({ ...credentials, tokenEndpoint: origin }));
    expect(error).toMatchObject({ code: "unreachable", retryable: true });
    expect(error.message).toContain("ECONNREFUSED");
  });

  it.each([
    "http://login.example.com/token",
    "http://127.0.0.1.example.com/token",
    "http://localhost.example.com/token",
    "https://user:s3cret-value@login.example.com/token",
    "ftp://127.0.0.1/token",
    "login.example.com",
    "",
  ])("does not send a secret to %j", async (tokenEndpoint) => {
    const error = await failure(createTokenSource().get({ ...credentials, tokenEndpoint }));
    expect(error).toMatchObject({ code: "insecure_endpoint", retryable: false });
    expect(inspect(error)).not.toContain("s3cret");
  });

  it("shows no token and no secret when it is looked at", async () => {
    const { oauth2 } = await answering(200, '{"access_token":"t0ken","token_type":"bearer"}');
    const source = createTokenSource();
    await source.get(oauth2);
    const shown = inspect(source, { depth: 9, showHidden: true });
    expect(shown).not.toContain("t0ken");
    expect(shown).not.toContain("s3cret");
  });
});
