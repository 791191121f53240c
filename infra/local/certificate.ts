/**
 * Certificates made at run time, so that no private key is ever kept in the repository.
 *
 * Rule guarded here: the local stack is verified like any other server. There is no "skip
 * verification", so it needs an authority of its own, made without any program of the machine's.
 */
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
/** The clock of a client in a container or a virtual machine may lag behind ours. */
const BACKDATED_DAYS = 1;
const VALID_DAYS = 30;

type KeyPair = Awaited<ReturnType<typeof newKeys>>;

export interface Authority {
  readonly name: string;
  readonly keys: KeyPair;
  /** PEM. */
  readonly cert: string;
}

export interface CertificateOptions {
  /** DNS names; the first is the common name. Default: `localhost`. */
  readonly names?: readonly string[];
  /** Default: 127.0.0.1 and ::1. */
  readonly ips?: readonly string[];
  /** Valid from yesterday for so many more days; default: 30. */
  readonly days?: number;
  /** Ended yesterday. */
  readonly expired?: boolean;
  /** Signed by this authority instead of a new one. */
  readonly ca?: Authority;
  /** Signed by itself: a client cannot reach any authority from it. */
  readonly selfSigned?: boolean;
}

/** All three are PEM. */
export interface Certificate {
  /** What a client must trust; of a self-signed certificate, the certificate itself. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export async function makeAuthority(name = "posthaste local authority"): Promise<Authority> {
  const keys = await newKeys();
  const cert = await X509CertificateGenerator.createSelfSigned({
    ...validity(VALID_DAYS),
    serialNumber: serialNumber(),
    name: `CN=${name}`,
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { name, keys, cert: cert.toString("pem") };
}

/** A server's certificate, of a new authority unless one is given. */
export async function makeCertificate(options: CertificateOptions = {}): Promise<Certificate> {
  const names = options.names ?? ["localhost"];
  const ips = options.ips ?? ["127.0.0.1", "::1"];
  const keys = await newKeys();
  const key = await privateKeyPem(keys);
  const subject = `CN=${names[0] ?? ips[0] ?? "nobody"}`;
  const shared = {
    ...validity(options.expired === true ? -BACKDATED_DAYS : (options.days ?? VALID_DAYS)),
    serialNumber: serialNumber(),
    signingAlgorithm: ALGORITHM,
  };
  const extensions = await serverExtensions(names, ips, keys);

  if (options.selfSigned === true) {
    const own = await X509CertificateGenerator.createSelfSigned({
      ...shared,
      name: subject,
      keys,
      extensions,
    });
    const cert = own.toString("pem");
    return { ca: cert, cert, key };
  }
  const authority = options.ca ?? (await makeAuthority());
  const signed = await X509CertificateGenerator.create({
    ...shared,
    subject,
    issuer: `CN=${authority.name}`,
    publicKey: keys.publicKey,
    signingKey: authority.keys.privateKey,
    extensions: [
      ...extensions,
      await AuthorityKeyIdentifierExtension.create(authority.keys.publicKey),
    ],
  });
  return { ca: authority.cert, cert: signed.toString("pem"), key };
}

async function serverExtensions(
  names: readonly string[],
  ips: readonly string[],
  keys: KeyPair,
): Promise<Extension[]> {
  const alternatives: JsonGeneralName[] = [
    ...names.map((value) => ({ type: "dns", value }) as const),
    ...ips.map((value) => ({ type: "ip", value }) as const),
  ];
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ...(alternatives.length > 0 ? [new SubjectAlternativeNameExtension(alternatives)] : []),
  ];
}

/** For so many days from now; of a number below zero, until so many days ago. */
function validity(days: number): { notBefore: Date; notAfter: Date } {
  const inDays = (count: number): Date => new Date(Date.now() + count * DAY_MS);
  return { notBefore: inDays(Math.min(days, 0) - BACKDATED_DAYS), notAfter: inDays(days) };
}

/** Two certificates of one issuer must differ in it, or a client refuses the second. */
function serialNumber(): string {
  const octets = crypto.getRandomValues(new Uint8Array(16));
  // A positive integer without a leading zero octet, as DER wants it.
  octets[0] = ((octets[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(octets).toString("hex");
}

const newKeys = () => crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

async function privateKeyPem(keys: KeyPair): Promise<string> {
  return PemConverter.encode(
    await crypto.subtle.exportKey("pkcs8", keys.privateKey),
    "PRIVATE KEY",
  );
}
