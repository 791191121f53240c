/** Channel bindings of certificates that are made octet by octet (RFC 9266, RFC 5929 §4.1). */
import { createHash, type X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { describe, expect, it } from "vitest";
import { bindingsOf } from "../../lib/smtp/io/binding.ts";

const SEQUENCE = 0x30;
const OID = 0x06;

function der(tag: number, content: Uint8Array): Buffer {
  const { length } = content;
  const octets: number[] = [];
  for (let left = length; left > 0; left >>>= 8) octets.unshift(left & 0xff);
  const size = length < 0x80 ? [length] : [0x80 | octets.length, ...octets];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

/** @param tbs how many octets the signed part has */
function certificate(oid: string, tbs = 10, tag = OID): Buffer {
  const algorithm = der(SEQUENCE, der(tag, Buffer.from(oid, "hex")));
  return der(SEQUENCE, Buffer.concat([der(SEQUENCE, Buffer.alloc(tbs, 6)), algorithm]));
}

const old = { getProtocol: () => "TLSv1.2" } as unknown as TLSSocket;
const endPoint = (raw: Buffer) => bindingsOf(old, { raw } as X509Certificate);
const hashed = (hash: string, raw: Buffer) => [
  { type: "tls-server-end-point", data: createHash(hash).update(raw).digest() },
];
const SHA256_RSA = "2a864886f70d01010b";

describe("tls-server-end-point", () => {
  it.each([
    ["md5WithRSA", "2a864886f70d010104", "sha256"],
    ["sha1WithRSA", "2a864886f70d010105", "sha256"],
    ["sha256WithRSA", SHA256_RSA, "sha256"],
    ["sha384WithRSA", "2a864886f70d01010c", "sha384"],
    ["sha512WithRSA", "2a864886f70d01010d", "sha512"],
    ["ecdsa-with-SHA1", "2a8648ce3d0401", "sha256"],
    ["ecdsa-with-SHA256", "2a8648ce3d040302", "sha256"],
    ["ecdsa-with-SHA384", "2a8648ce3d040303", "sha384"],
    ["ecdsa-with-SHA512", "2a8648ce3d040304", "sha512"],
  ])("of %s", (_, oid, hash) => {
    const raw = certificate(oid);
    expect(endPoint(raw)).toEqual(hashed(hash, raw));
  });

  it.each([0, 127, 128, 255, 256, 65_535, 65_536, 16_777_216])(
    "finds the algorithm behind %i octets",
    (tbs) => {
      const raw = certificate(SHA256_RSA, tbs);
      expect(endPoint(raw)).toEqual(hashed("sha256", raw));
    },
  );

  it("is not of a signature without a hash of its own, or of what is no OID", () => {
    expect(endPoint(certificate("2b6570"))).toEqual([]);
    expect(endPoint(certificate("2b6570", 10, 0x05))).toEqual([]);
    expect(endPoint(certificate(SHA256_RSA, 10, 0x05))).toEqual([]);
    expect(bindingsOf(old, undefined)).toEqual([]);
  });

  it("is not of what is cut anywhere before the algorithm's end, or is no DER", () => {
    const raw = certificate(SHA256_RSA, 300);
    for (let length = 0; length < raw.length; length += 1) {
      expect(endPoint(raw.subarray(0, length))).toEqual([]);
    }
    for (const size of [[0x80], [0x85, 0, 0, 0, 0, 1], [0xff]]) {
      const inner = certificate(SHA256_RSA).subarray(2);
      expect(endPoint(Buffer.from([SEQUENCE, ...size, ...inner]))).toEqual([]);
    }
  });
});

it("tls-exporter is asked of TLS 1.3 as RFC 9266 says, and stands first", () => {
  const asked: unknown[][] = [];
  const data = Buffer.from("exported");
  const socket = {
    getProtocol: () => "TLSv1.3",
    exportKeyingMaterial: (...args: unknown[]) => {
      asked.push(args);
      return data;
    },
  } as unknown as TLSSocket;
  expect(bindingsOf(socket, undefined)).toEqual([{ type: "tls-exporter", data }]);
  expect(asked).toEqual([[32, "EXPORTER-Channel-Binding", Buffer.alloc(0)]]);
  const raw = certificate(SHA256_RSA);
  const both = bindingsOf(socket, { raw } as X509Certificate);
  expect(both.map(({ type }) => type)).toEqual(["tls-exporter", "tls-server-end-point"]);
});
