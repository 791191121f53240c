/**
 * An OAuth 2.0 authorization server on loopback (oidc-provider), and beside it the question that a
 * mail server asks about a token: is it good, and whose mailbox does it open? (RFC 7662)
 */
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/** The part of oidc-provider used here; the package carries no types. */
interface Provider {
  callback(): RequestListener;
  readonly Client: { find(id: string): Promise<object | undefined> };
  readonly Grant: new (
    of: object,
  ) => { addOIDCScope(scope: string): void; save(): Promise<string> };
  readonly RefreshToken: new (of: object) => { save(): Promise<string> };
  readonly AccessToken: TokenModel;
  readonly ClientCredentials: TokenModel;
}
interface TokenModel {
  find(token: string): Promise<{ destroy(): Promise<void> } | undefined>;
}
const packageName: string = "oidc-provider";

const SECRET = "s3cret/with+odd%characters";
const SCOPE = "openid offline_access send";

/** What a mailbox's `oauth2` holds. */
export interface OAuth2Settings {
  readonly tokenEndpoint: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly refreshToken?: string;
  readonly grantType?: "client_credentials";
  readonly scope?: string;
}

export interface OAuthServer {
  /** For a mail server: a token by POST, the answer `{"active": true, "username": "a@b"}`. */
  readonly introspectionUrl: string;
  /** A daemon that may send as the given user. */
  readonly daemon: OAuth2Settings;
  /** A daemon whose tokens are good, and open no mailbox; one for each mechanism, so that none shares a cached token. */
  stranger(name: string): OAuth2Settings;
  /** What a person has after consenting once in a browser. */
  person(username: string): Promise<OAuth2Settings>;
  /** The user that a token logs in; undefined where it is no good. */
  owner(token: string): Promise<string | undefined>;
  /** Takes back every access token that a mail server has asked about. */
  revoke(): Promise<void>;
  /** Token requests so far. */
  granted(): number;
  close(): Promise<void>;
}

const strangers = ["XOAUTH2", "OAUTHBEARER"];

/** @param user whose mailbox the daemon may use */
export async function startOAuth(user: string): Promise<OAuthServer> {
  const { default: OidcProvider } = (await import(packageName)) as {
    default: new (issuer: string, configuration: object) => Provider;
  };
  let handle: RequestListener | undefined;
  let granted = 0;
  const server = createServer((request, response) => {
    if (request.url === "/token") granted += 1;
    handle?.(request, response);
  });
  const origin = await listen(server);

  const client = (id: string, grants: readonly string[]) => ({
    client_id: id,
    client_secret: SECRET,
    grant_types: grants,
    redirect_uris: grants.includes("authorization_code") ? ["https://example.com/back"] : [],
    response_types: grants.includes("authorization_code") ? ["code"] : [],
    token_endpoint_auth_method: "client_secret_post",
  });
  const provider = quietly(
    () =>
      new OidcProvider(origin, {
        clients: [
          client("daemon", ["client_credentials"]),
          ...strangers.map((name) => client(`stranger-${name}`, ["client_credentials"])),
          client("mailer", ["authorization_code", "refresh_token"]),
          client("mail-server", []),
        ],
        features: {
          clientCredentials: { enabled: true },
          devInteractions: { enabled: false },
          introspection: { enabled: true, allowedPolicy: () => true },
        },
        scopes: SCOPE.split(" "),
        findAccount: (_: unknown, accountId: string) => ({
          accountId,
          claims: () => ({ sub: accountId }),
        }),
        rotateRefreshToken: false,
      }),
  );
  handle = quietly(() => provider.callback());

  const seen = new Set<string>();
  const owner = async (token: string): Promise<string | undefined> => {
    seen.add(token);
    const answer = await fetch(`${origin}/token/introspection`, {
      method: "POST",
      body: new URLSearchParams({ token, client_id: "mail-server", client_secret: SECRET }),
    });
    const { active, sub, client_id } = (await answer.json()) as Record<string, unknown>;
    if (active !== true) return undefined;
    if (client_id === "daemon") return user;
    return client_id === "mailer" && typeof sub === "string" ? sub : undefined;
  };

  const mailServers = createServer((request, response) => {
    asked(request)
      .then(async (token) => {
        const username = await owner(token);
        response.setHeader("content-type", "application/json");
        response.end(
          JSON.stringify(username === undefined ? { active: false } : { active: true, username }),
        );
      })
      .catch(() => response.writeHead(500).end());
  });
  const introspection = await listen(mailServers);

  const settings = { tokenEndpoint: `${origin}/token`, clientSecret: SECRET };
  const daemon = (clientId: string): OAuth2Settings => ({
    ...settings,
    clientId,
    grantType: "client_credentials",
    scope: "send",
  });
  return {
    introspectionUrl: `${introspection}/introspect`,
    daemon: daemon("daemon"),
    stranger: (name) => daemon(`stranger-${name}`),
    async person(username) {
      const clientId = "mailer";
      const grant = new provider.Grant({ accountId: username, clientId });
      grant.addOIDCScope(SCOPE);
      const token = new provider.RefreshToken({
        accountId: username,
        authTime: Math.floor(Date.now() / 1000),
        client: await provider.Client.find(clientId),
        grantId: await grant.save(),
        gty: "authorization_code",
        scope: SCOPE,
      });
      return { ...settings, clientId, refreshToken: await token.save() };
    },
    owner,
    async revoke() {
      for (const value of seen) {
        const token =
          (await provider.AccessToken.find(value)) ??
          (await provider.ClientCredentials.find(value));
        await token?.destroy();
      }
      seen.clear();
    },
    granted: () => granted,
    async close() {
      for (const each of [server, mailServers]) {
        each.closeAllConnections();
        await new Promise((resolve) => each.close(resolve));
      }
    },
  };
}

/** Dovecot puts the token into the URL or the body, as it is configured. */
async function asked(request: IncomingMessage): Promise<string> {
  const body = await text(request);
  const query = new URL(request.url ?? "/", "http://localhost").searchParams;
  return new URLSearchParams(body).get("token") ?? query.get("token") ?? "";
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** It warns of what nobody would do outside a test: http, keys made on the spot. */
function quietly<T>(run: () => T): T {
  const { warn, info } = console;
  console.warn = () => {};
  console.info = () => {};
  try {
    return run();
  } finally {
    Object.assign(console, { warn, info });
  }
}
