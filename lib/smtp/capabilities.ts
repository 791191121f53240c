/**
 * What an EHLO reply offers (RFC 5321 §4.1.1.1). Keywords count only as the first word of their
 * line; the first line names the host and offers nothing.
 */
import type { Reply } from "./reply.ts";

export interface Capabilities {
  /** The name the server gives itself. */
  readonly host: string;
  /** Keyword (upper case) → parameters as sent; in the order announced. */
  readonly keywords: ReadonlyMap<string, readonly string[]>;
  /** SASL mechanism names, upper case, from `AUTH` and the legacy `AUTH=` line. */
  readonly auth: readonly string[];
  /** RFC 1870: largest message in octets; absent or 0 where no limit is announced. */
  readonly size: number | undefined;
  /** RFC 9422: transactions a session, recipients a transaction, domains a transaction. */
  readonly limits: {
    readonly mailMax?: number;
    readonly rcptMax?: number;
    readonly rcptDomainMax?: number;
  };
  has(keyword: string): boolean;
}

export function capabilities(reply: Reply | undefined): Capabilities {
  const keywords = new Map<string, readonly string[]>();
  const auth: string[] = [];
  for (const line of reply?.lines.slice(1) ?? []) {
    const [first = "", ...rest] = line.trim().split(/[ \t]+/);
    const word = first.toUpperCase();
    // "AUTH=LOGIN PLAIN" is the form of early drafts, still sent by 163, QQ and old Exchange.
    const legacy = word.startsWith("AUTH=");
    if (legacy || word === "AUTH") {
      const named = legacy ? [first.slice(5), ...rest] : rest;
      for (const name of named.map((n) => n.toUpperCase())) {
        if (/^[A-Z0-9_-]{1,20}$/.test(name) && !auth.includes(name)) auth.push(name);
      }
      keywords.set("AUTH", auth);
    } else if (/^[A-Z0-9][A-Z0-9-]*$/.test(word)) {
      keywords.set(word, rest);
    }
  }
  return {
    host: reply?.lines[0]?.trim().split(/[ \t]/)[0] ?? "",
    keywords,
    auth,
    size: number(keywords.get("SIZE")?.[0]) || undefined,
    limits: limits(keywords.get("LIMITS")),
    has: (keyword) => keywords.has(keyword),
  };
}

function limits(parameters: readonly string[] = []): Capabilities["limits"] {
  const found = new Map<string | undefined, number | undefined>();
  for (const parameter of parameters) {
    const [name, value] = parameter.toUpperCase().split("=");
    found.set(name, number(value));
  }
  // RFC 9422 §3: a limit of zero or a malformed one is no limit.
  const [MAILMAX, RCPTMAX, RCPTDOMAINMAX] = ["MAILMAX", "RCPTMAX", "RCPTDOMAINMAX"].map((name) =>
    found.get(name),
  );
  return {
    ...(MAILMAX && { mailMax: MAILMAX }),
    ...(RCPTMAX && { rcptMax: RCPTMAX }),
    ...(RCPTDOMAINMAX && { rcptDomainMax: RCPTDOMAINMAX }),
  };
}

function number(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
