/**
 * Channel bindings for SCRAM-PLUS: `tls-exporter` (RFC 9266), on TLS 1.3 only, since on TLS 1.2 it
 * would need the extended master secret, which Node does not report; `tls-server-end-point`
 * (RFC 5929 §4) on both.
 */
import { createHash, type X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { ChannelBinding } from "../step.ts";

/** @param certificate the server's; given, since a resumed session has lost it */
export function bindingsOf(
  socket: TLSSocket,
  certificate: X509Certificate | undefined,
): readonly ChannelBinding[] {
  const bindings: ChannelBinding[] = [];
  if (socket.getProtocol() === "TLSv1.3") {
    const data = socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0));
    bindings.push({ type: "tls-exporter", data });
  }
  const endPoint = endPointOf(certificate);
  if (endPoint) bindings.push({ type: "tls-server-end-point", data: endPoint });
  return bindings;
}

/** The certificate under its own signature's hash; MD5 and SHA-1 give way to SHA-256. */
function endPointOf(certificate: X509Certificate | undefined): Uint8Array | undefined {
  if (certificate === undefined) return undefined;
  const algorithm = signatureHash(certificate);
  if (algorithm === undefined) return undefined;
  return createHash(algorithm).update(certificate.raw).digest();
}

/** OIDs of sha256/384/512 with RSA and ECDSA, DER-encoded; others have no single hash. */
const SIGNATURES: readonly (readonly [string, string])[] = [
  ["2a864886f70d010104", "sha256"], // md5WithRSA
  ["2a864886f70d010105", "sha256"], // sha1WithRSA
  ["2a864886f70d01010b", "sha256"],
  ["2a864886f70d01010c", "sha384"],
  ["2a864886f70d01010d", "sha512"],
  ["2a8648ce3d0401", "sha256"], // ecdsa-with-SHA1
  ["2a8648ce3d040302", "sha256"],
  ["2a8648ce3d040303", "sha384"],
  ["2a8648ce3d040304", "sha512"],
];

function signatureHash(certificate: X509Certificate): string | undefined {
  const der = certificate.raw;
  // The outer signatureAlgorithm stands right behind tbsCertificate (RFC 5280 §4.1).
  const outer = header(der, 0);
  const tbs = outer && header(der, outer.start);
  const algorithm = tbs && header(der, tbs.end);
  const oid = algorithm && header(der, algorithm.start);
  if (oid === undefined || der[algorithm?.start ?? 0] !== 0x06) return undefined;
  const hex = der.subarray(oid.start, oid.end).toString("hex");
  return SIGNATURES.find(([known]) => known === hex)?.[1];
}

/** Bounds of a DER value whose tag stands at `offset`. */
function header(der: Buffer, offset: number): { start: number; end: number } | undefined {
  const first = der[offset + 1];
  if (first === undefined) return undefined;
  if (first < 0x80) return { start: offset + 2, end: offset + 2 + first };
  const count = first & 0x7f;
  if (count === 0 || count > 4 || offset + 2 + count > der.length) return undefined;
  const start = offset + 2 + count;
  return { start, end: start + der.readUIntBE(offset + 2, count) };
}
