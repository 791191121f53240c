/** The answer to "which AUTH does this server support, and does my login work?". Sends nothing. */
import type { X509Certificate } from "node:crypto";
import * as z from "zod/mini";
import type { Timing } from "../smtp/report.ts";
import type { Entry } from "../smtp/transcript.ts";
import { explainError } from "./classify.ts";
import { deliver } from "./deliver.ts";
import { explainPreparation, explainResting, serverOf } from "./explain.ts";
import type { Mailbox } from "./mailbox.ts";
import type { ErrorResult, ServerResult } from "./outcome.ts";
import { secretOf } from "./prepare.ts";
import type { Limits, SubmitPorts } from "./submit.ts";

export interface CheckResult {
  /** Whether a message could be sent now: connected, secured as required, logged in if it must. */
  readonly ok: boolean;
  /** Null where no server answered. */
  readonly server: ServerResult | null;
  /** The certificate that was verified; null without TLS. */
  readonly certificate: CertificateResult | null;
  /** SASL mechanisms that the server offers, upper case, after TLS. */
  readonly mechanisms: readonly string[];
  /** `accepted`, `refused`, or `none` where the mailbox has no login or it was not reached. */
  readonly login: "accepted" | "refused" | "none";
  /** EHLO keyword → parameters. */
  readonly capabilities: Readonly<Record<string, readonly string[]>>;
  /** Largest message in octets, where the server announces one. */
  readonly maxSize: number | null;
  readonly timing: Timing | null;
  readonly transcript: readonly Entry[];
  readonly error?: ErrorResult;
}

/** A server's certificate, as far as people ask about it. */
export interface CertificateResult {
  /** RFC 4514-like: `CN=smtp.example.com, O=Example`. */
  readonly subject: string;
  readonly issuer: string;
  /** Whom it is valid for: DNS names and IP addresses. */
  readonly names: readonly string[];
  /** ISO 8601, UTC. */
  readonly validFrom: string;
  readonly validTo: string;
}

const CheckRequest = z.strictObject({
  mailbox: z.optional(z.string().check(z.regex(/^[A-Za-z0-9_-]{1,64}$/))),
});

/** @param ports called when needed, so that a bad environment is told in the result */
export async function check(
  ports: () => SubmitPorts,
  input: unknown,
  limits: Limits,
): Promise<CheckResult> {
  const parsed = CheckRequest.safeParse(input ?? {});
  if (!parsed.success) {
    return failed({
      code: "invalid_request",
      phase: "request",
      message: 'The event must be {} or {"mailbox": "name"}, the name of letters, digits, - and _.',
    });
  }
  try {
    const wired = ports();
    const secretId = secretOf(wired.config, parsed.data);
    const mailbox = await wired.mailboxes.load(secretId, limits.timeLeft());
    return await checkMailbox(wired, secretId, mailbox, limits);
  } catch (error) {
    return failed(explainPreparation(error));
  }
}

/**
 * @param secretId where the mailbox came from, to look for a rotation
 * @param mailbox may have fewer relays than the secret, to ask one of them alone
 */
export async function checkMailbox(
  ports: SubmitPorts,
  secretId: string,
  mailbox: Mailbox,
  limits: Limits,
): Promise<CheckResult> {
  try {
    const { sent } = await deliver(ports, secretId, mailbox, [], () => ({
      timeLeft: limits.timeLeft(),
      signal: limits.signal,
    }));
    if ("resting" in sent) return failed(explainResting(sent));
    const { report } = sent;
    const { error } = report;
    return {
      ok: error === undefined,
      server: serverOf(sent),
      certificate: certificateOf(sent.tls?.certificate, sent.scrub),
      mechanisms: report.capabilities?.auth ?? [],
      login: report.mechanism ? "accepted" : error?.phase === "auth" ? "refused" : "none",
      capabilities: Object.fromEntries(report.capabilities?.keywords ?? []),
      maxSize: report.capabilities?.size ?? null,
      timing: sent.timing,
      transcript: ports.config.transcript === "full" ? sent.transcript : [],
      ...(error && { error: explainError(error, sent.scrub) }),
    };
  } catch (error) {
    return failed(explainPreparation(error));
  }
}

function failed(error: ErrorResult): CheckResult {
  return {
    ok: false,
    server: null,
    certificate: null,
    mechanisms: [],
    login: "none",
    capabilities: {},
    maxSize: null,
    timing: null,
    transcript: [],
    error,
  };
}

/** @param scrub for what is the server's word */
export function certificateOf(
  certificate: X509Certificate | undefined,
  scrub: (text: string) => string = (text) => text,
): CertificateResult | null {
  if (certificate === undefined) return null;
  // Node gives one attribute a line, and names as `DNS:a, IP Address:b`.
  const oneLine = (name: string) => scrub(name.split("\n").join(", "));
  const names = (certificate.subjectAltName ?? "")
    .split(", ")
    .map((name) => scrub(name.replace(/^(DNS|IP Address):/, "")));
  return {
    subject: oneLine(certificate.subject ?? ""),
    issuer: oneLine(certificate.issuer ?? ""),
    names: names.filter((name) => name !== ""),
    validFrom: new Date(certificate.validFrom).toISOString(),
    validTo: new Date(certificate.validTo).toISOString(),
  };
}
