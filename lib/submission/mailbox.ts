/**
 * A mailbox: one dedicated sending account, read from one secret. Bad secrets become one error that
 * names the fields at fault and never a value. A secret carries no switch that weakens TLS, and a
 * field nobody knows is refused: a misspelt one would silently change who is trusted.
 */
import { createHash } from "node:crypto";
import * as z from "zod/mini";
import { parseMailbox } from "../message/address.ts";
import { onDemand } from "../message/on-demand.ts";
import { knownMechanisms } from "../sasl/select.ts";

export class MailboxError extends Error {
  override readonly name = "MailboxError";
  /**
   * `mailbox_invalid`: the secret is not a mailbox. `mailbox_unknown`: there is no such secret.
   * `mailbox_unavailable`: it could not be read now. `mailbox_refused`: this deployment has no named
   * mailboxes, so that the request is refused and not put off.
   */
  readonly code: "mailbox_invalid" | "mailbox_unknown" | "mailbox_unavailable" | "mailbox_refused";
  readonly retryable: boolean;

  constructor(code: MailboxError["code"], message: string, retryable = false) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

export type Security = "implicit" | "starttls" | "none";

export interface Mailbox {
  readonly endpoints: readonly {
    readonly host: string;
    readonly port: number;
    readonly security: Security;
  }[];
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly from: { readonly address: string; readonly name?: string | undefined } | undefined;
  readonly allowedFrom: readonly string[];
  readonly auth: readonly string[] | undefined;
  readonly allowPlaintextAuth: boolean;
  readonly oauth2: z.infer<ReturnType<typeof OAuth2>> | undefined;
  readonly tls: z.infer<ReturnType<typeof Tls>>;
  readonly ehloName: string | undefined;
  readonly chunking: "auto" | "off";
  readonly dkim: readonly z.infer<ReturnType<typeof Dkim>>[];
  readonly proxy: string | undefined;
  readonly maxRecipients: number;
  readonly maxMessageBytes: number;
  readonly maxPerMinute: number | undefined;
  /** Tells one content of the secret from another. Made of the secret: it never leaves the process. */
  readonly fingerprint: string;
  /** Where it was read, and which version: names that may be written down. */
  readonly source: string;
}

const some = () => z.string().check(z.minLength(1, "must not be empty"));
const positive = () => z.int().check(z.positive("must be a positive whole number"));
const port = () =>
  z.int().check(z.minimum(1, "must be 1 to 65535"), z.maximum(65535, "must be 1 to 65535"));
const HOST =
  /^(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?)$/;
const relay = () =>
  z.string().check(
    z.refine((value) => split(value) !== undefined, {
      error: 'must be a host name or IP address, "host" or "host:port", without scheme or path',
    }),
  );
const pem = (label: string) =>
  z.string().check(z.regex(/-----BEGIN [A-Z0-9 ]+-----/, `must be ${label} in PEM form`));
const OAuth2 = () =>
  z.strictObject({
    tokenEndpoint: z
      .string()
      .check(
        z.regex(
          /^(https:\/\/|http:\/\/(127\.0\.0\.1|localhost|\[::1\])[:/])\S+$/,
          "must be an https URL",
        ),
      ),
    clientId: some(),
    clientSecret: z.optional(some()),
    refreshToken: z.optional(some()),
    grantType: z.optional(
      z.literal("client_credentials", { error: 'must be "client_credentials"' }),
    ),
    scope: z.optional(some()),
  });
const Tls = () =>
  z.strictObject({
    ca: z.optional(pem("certificates")),
    cert: z.optional(pem("a certificate")),
    key: z.optional(pem("a private key")),
    servername: z.optional(some()),
    minVersion: z.optional(
      z.enum(["TLSv1.2", "TLSv1.3"], { error: 'must be "TLSv1.2" or "TLSv1.3"' }),
    ),
  });
const Dkim = () =>
  z.strictObject({ domain: some(), selector: some(), privateKey: pem("a private key") });
const permitted = () =>
  z.string().check(
    z.refine((value) => parseMailbox(value.startsWith("@") ? `x${value}` : value).ok, {
      error: 'must be "a@b" or "@domain"',
    }),
  );
const mechanism = () =>
  z.string().check(
    z.refine((name) => knownMechanisms.includes(name.toUpperCase()), {
      error: `must be one of ${knownMechanisms.join(", ")}`,
    }),
  );
const EHLO = /^(?:\[[0-9A-Za-z:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)$/;
/** What AWS's own rotation adds to a secret's `host`, `username` and `password`. */
const tolerated = () => z.optional(z.unknown());

/** Of what other secrets are made, too. */
export const pieces = { port, tls: Tls, oauth2: OAuth2, tolerated } as const;

const fields = {
  host: () =>
    z.union([relay(), z.array(relay()).check(z.minLength(1, "must name a relay"))], {
      error: 'must be a host, or an array of "host" or "host:port"',
    }),
  port: () => z.optional(port()),
  username: () => z.optional(some()),
  password: () => z.optional(some()),
  security: () =>
    z.optional(
      z.enum(["implicit", "starttls", "none"], {
        error: 'must be "implicit", "starttls" or "none"',
      }),
    ),
  from: () =>
    z.optional(
      z
        .string()
        .check(
          z.refine((value) => parseMailbox(value).ok, { error: 'must be "Name <a@b>" or "a@b"' }),
        ),
    ),
  allowedFrom: () => z.optional(z.array(permitted())),
  auth: () => z.optional(z.array(mechanism()).check(z.minLength(1, "must name a mechanism"))),
  allowPlaintextAuth: () => z.optional(z.boolean()),
  oauth2: () => z.optional(OAuth2()),
  tls: () => z.optional(Tls()),
  ehloName: () =>
    z.optional(
      z.string().check(z.regex(EHLO, "must be a host name or an address literal like [192.0.2.1]")),
    ),
  chunking: () => z.optional(z.enum(["auto", "off"], { error: 'must be "auto" or "off"' })),
  dkim: () => z.optional(z.union([Dkim(), z.array(Dkim())])),
  proxy: () =>
    z.optional(
      z.string().check(
        z.refine((value) => /^(http|socks5):$/.test(protocol(value)), {
          error: 'must be an "http://" or "socks5://" URL',
        }),
      ),
    ),
  maxRecipients: () => z.optional(positive()),
  maxMessageBytes: () => z.optional(positive()),
  maxPerMinute: () => z.optional(positive()),
  engine: tolerated,
  dbname: tolerated,
  dbInstanceIdentifier: tolerated,
  dbClusterIdentifier: tolerated,
  masterarn: tolerated,
};

/** The schema of what a secret gives; of every field, without one. */
export const mailboxSchema = onDemand(
  fields,
  (shape) =>
    z.strictObject(shape).check((context) => {
      const { username, password, oauth2, tls } = context.value;
      const issue = (path: string[], message: string) =>
        context.issues.push({ code: "custom", path, message, input: undefined });
      if (password !== undefined && username === undefined) {
        issue(["username"], "is missing beside the password");
      }
      if (username !== undefined && password === undefined && !oauth2 && !tls?.cert) {
        issue(["password"], "is missing beside the username");
      }
      if (oauth2 !== undefined && username === undefined)
        issue(["username"], "is needed for oauth2");
      if (oauth2 && !oauth2.refreshToken && !oauth2.grantType) {
        issue(["oauth2", "refreshToken"], 'is missing; or set "grantType" to "client_credentials"');
      }
      if ((tls?.cert === undefined) !== (tls?.key === undefined)) {
        issue(
          ["tls", tls?.cert === undefined ? "cert" : "key"],
          "is missing: cert and key go together",
        );
      }
    }),
  ["host"],
);

/**
 * @param secret the `SecretString`
 * @param source the secret's id and version
 * @throws MailboxError `mailbox_invalid`, naming each field at fault
 */
export function parseMailboxSecret(secret: string, source = ""): Mailbox {
  const { host, port, security, username, ...rest } = readSecret(mailboxSchema, secret);
  const from = parseMailbox(rest.from ?? username ?? "");
  const own = from.ok ? { address: from.value.address, name: from.value.name } : undefined;
  return Object.freeze({
    endpoints: [host].flat().map((entry) => endpointOf(entry, port, security)),
    username,
    password: rest.password,
    from: own,
    allowedFrom: rest.allowedFrom ?? (own ? [own.address] : []),
    auth: rest.auth?.map((name) => name.toUpperCase()),
    allowPlaintextAuth: rest.allowPlaintextAuth ?? false,
    oauth2: rest.oauth2,
    tls: rest.tls ?? {},
    ehloName: rest.ehloName,
    chunking: rest.chunking ?? "off",
    dkim: rest.dkim === undefined ? [] : [rest.dkim].flat(),
    proxy: rest.proxy,
    maxRecipients: rest.maxRecipients ?? 100,
    maxMessageBytes: rest.maxMessageBytes ?? 25 * 1024 * 1024,
    maxPerMinute: rest.maxPerMinute,
    source,
    fingerprint: createHash("sha256").update(secret).digest("base64url"),
  });
}

/**
 * A secret by the schema for what is in it.
 * @throws MailboxError `mailbox_invalid`, naming each field at fault and no value
 */
export function readSecret<T extends z.core.$ZodType>(
  schemaFor: (json: unknown) => T,
  secret: string,
): z.output<T> {
  let json: unknown;
  try {
    json = JSON.parse(secret);
  } catch {
    throw new MailboxError("mailbox_invalid", "The mailbox's secret is not JSON.");
  }
  const parsed = z.safeParse(schemaFor(json), json);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) =>
    issue.code === "unrecognized_keys"
      ? `${[...issue.path, ""].join(".")}${issue.keys.join(", ")} is not a known field`
      : `${issue.path.join(".") || "the secret"} ${fault(issue)}`,
  );
  throw new MailboxError(
    "mailbox_invalid",
    `The mailbox's secret is not usable: ${faults.join("; ")}.`,
  );
}

/** A wrong type has no words of its own; what was there instead is not told, and may be nothing. */
function fault(issue: z.core.$ZodIssue): string {
  if (issue.code !== "invalid_type" || issue.message !== "Invalid input") return issue.message;
  return `is missing, or not of type ${issue.expected}`;
}

const DEFAULT_PORT = { implicit: 465, starttls: 587, none: 25 } as const;

/** Where an entry of `host` leads, by what the secret says beside it. */
export function endpointOf(entry: string, port?: number, security?: Security) {
  const named = split(entry) as { host: string; port: number | undefined };
  const used = named.port ?? port ?? DEFAULT_PORT[security ?? "starttls"];
  return {
    host: named.host,
    port: used,
    security: security ?? (used === 465 ? ("implicit" as const) : ("starttls" as const)),
  };
}

/** `host`, `host:port`, `[v6]:port` or a bare IPv6 address. */
function split(entry: string): { host: string; port: number | undefined } | undefined {
  const match = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]]+):(\d{1,5})$/.exec(entry);
  const host = match?.[1] ?? entry;
  const port = match ? Number(match[2]) : undefined;
  if (!HOST.test(host) || (port !== undefined && (port < 1 || port > 65535))) return undefined;
  return { host: host.replace(/^\[|\]$/g, ""), port };
}

function protocol(value: string): string {
  try {
    return new URL(value).protocol;
  } catch {
    return "";
  }
}

/** Every string of a mailbox that must never be shown. */
export function secretsOf(mailbox: Mailbox): readonly string[] {
  const proxy = mailbox.proxy === undefined ? undefined : new URL(mailbox.proxy);
  return [
    mailbox.password,
    mailbox.oauth2?.clientSecret,
    mailbox.oauth2?.refreshToken,
    mailbox.tls.key,
    ...mailbox.dkim.map(({ privateKey }) => privateKey),
    proxy && decodeURIComponent(proxy.password),
  ].filter((secret): secret is string => secret !== undefined && secret !== "");
}
