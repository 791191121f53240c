/** What one relay answered, in words: connection, TLS, certificate, login, and what it can do. */
import type { CertificateResult, CheckResult } from "../submission/check.ts";
import { adviceFor } from "./advice.ts";
import { explainCapabilities } from "./capabilities.ts";
import { type Finding, note, ok, toFix } from "./finding.ts";

/** Certificates are renewed some 30 days ahead: one with less than this was forgotten. */
const FEW_DAYS = 14;
const DAY_MS = 86_400_000;

export interface RelayContext {
  /** Absent: the mailbox logs in to nothing. */
  readonly username?: string | undefined;
  /** A certificate that was turned down, where it could be had. */
  readonly presented?: CertificateResult | undefined;
  /** Why this relay was asked without a login. */
  readonly withoutLogin?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export function relayFindings(result: CheckResult, context: RelayContext): readonly Finding[] {
  return [
    ...connection(result),
    ...certificate(result.certificate, context),
    ...(context.presented ? [note(`it showed ${described(context.presented)}`)] : []),
    ...login(result, context),
    ...failure(result),
    ...abilities(result),
  ];
}

function connection({ server, timing }: CheckResult): Finding[] {
  if (server === null || timing === null || server.extensions.length === 0) return [];
  const took = `connected in ${timing.connectMs} ms`;
  if (server.tls === null) {
    return [
      toFix(`${took}, without TLS`, 'Use "security": "implicit" or "starttls" if the server can.'),
    ];
  }
  const { protocol, cipher } = server.tls;
  return [ok(`${took}, ${protocol} in ${timing.tlsMs} ms (${cipher})`)];
}

function certificate(found: CertificateResult | null, { now }: RelayContext): Finding[] {
  if (found === null) return [];
  const days = Math.floor((Date.parse(found.validTo) - now) / DAY_MS);
  const text = `certificate ${described(found)}, ${days} days left`;
  return [days < FEW_DAYS ? toFix(text, "Have the server's certificate renewed.") : ok(text)];
}

function described({ subject, issuer, names, validFrom, validTo }: CertificateResult): string {
  const [from, to] = [validFrom, validTo].map((date) => date.slice(0, 10));
  return `${subject || "without a subject"}, for ${names.join(", ") || "no name"}, by ${issuer}, valid ${from} to ${to}`;
}

function login(result: CheckResult, { username, withoutLogin }: RelayContext): Finding[] {
  const offered = result.mechanisms.length > 0 ? result.mechanisms.join(", ") : "none";
  switch (result.login) {
    case "accepted":
      return [
        ok(`login as ${username ?? "this mailbox"} by ${result.server?.auth}; offered: ${offered}`),
      ];
    case "refused":
      return [note(`login by ${tried(result) ?? "no mechanism"} refused; offered: ${offered}`)];
    case "none":
      if (result.server === null || result.server.extensions.length === 0) return [];
      if (withoutLogin !== undefined) return [note(`${withoutLogin}; offered: ${offered}`)];
      return [note(`no login was tried; offered: ${offered}`)];
  }
}

function tried({ transcript }: CheckResult): string | undefined {
  const commands = transcript.filter(({ from }) => from === "C").map(({ text }) => text);
  return commands.flatMap((text) => /^AUTH (\S+)/.exec(text)?.[1] ?? []).at(-1);
}

function failure({ error }: CheckResult): Finding[] {
  if (error === undefined) return [];
  return [
    toFix(`${error.code}: ${error.message}`, adviceFor(error.code) ?? "Read the transcript."),
  ];
}

function abilities({ capabilities, maxSize }: CheckResult): Finding[] {
  const size =
    maxSize === null ? [] : [`takes messages of up to ${(maxSize / 1048576).toFixed(1)} MiB`];
  return [...size, ...explainCapabilities(capabilities)].map(note);
}
