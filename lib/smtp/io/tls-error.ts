/**
 * Why TLS failed, in words that say what to mend: the server's certificate, the mailbox's own, a port
 * that does not begin with TLS, or no version in common.
 */
import { SmtpError } from "../error.ts";
import type { Endpoint } from "./dns.ts";

const CERTIFICATE =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|CRL_)/;

/** Alerts (RFC 8446 §6.2) that only a client's certificate, or the lack of one, brings forth. */
export const CLIENT_CERTIFICATE =
  /_ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED)$/;

/** @param unauthorized whether it was our own check of the certificate that failed */
export function tlsError(error: Error, endpoint: Endpoint, unauthorized: boolean): SmtpError {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (unauthorized || CERTIFICATE.test(code)) {
    return new SmtpError(
      "certificate_invalid",
      `The certificate of ${endpoint.host} is not valid for this mailbox (${code || error.message}). A private CA belongs in "tls.ca", another name in "tls.servername".`,
      { phase: "tls" },
    );
  }
  if (CLIENT_CERTIFICATE.test(code)) return clientCertificateRefused(code, endpoint);
  const plain = /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG/.test(code);
  return tlsFailed(code || error.message, endpoint, plain);
}

export function tlsFailed(why: string, { host, port }: Endpoint, plain: boolean): SmtpError {
  const old = /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/.test(why);
  const hint = plain
    ? ` Port ${port} does not begin with TLS: "security" may have to be "starttls".`
    : old
      ? ' The two share no version of TLS: the server must offer at least "tls.minVersion", "TLSv1.2" unless the mailbox says more.'
      : "";
  return new SmtpError(
    old ? "tls_version" : "tls_failed",
    `TLS with ${host} failed (${why}).${hint}`,
    { phase: "tls" },
  );
}

export function clientCertificateRefused(code: string, { host }: Endpoint): SmtpError {
  return new SmtpError(
    "certificate_invalid",
    `${host} does not accept this mailbox's client certificate, or misses one (${code}): mend "tls.cert" and "tls.key".`,
    { phase: "tls" },
  );
}

/** What the mailbox brings for TLS cannot be loaded; the reason's code, since its text may quote it. */
export function unusable(error: Error): SmtpError {
  const code = (error as NodeJS.ErrnoException).code ?? error.name;
  return new SmtpError(
    "certificate_invalid",
    `The mailbox's "tls" cannot be used (${code}): "ca", "cert" and "key" must be PEM, and "key" the one that belongs to "cert".`,
    { phase: "tls" },
  );
}
