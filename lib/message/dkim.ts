/**
 * DKIM signatures (RFC 6376), rsa-sha256 and ed25519-sha256 (RFC 8463), relaxed/relaxed. Signed is
 * what the receiver will see: canonical line ends, before dot-stuffing (§5.3). The signature stands
 * before the body that it covers, so the content is read twice, and never held.
 *
 * Both canonical forms are nodemailer's; the signing is node:crypto's, since nodemailer knows RSA
 * alone, and keeps the whole message in memory or on disk.
 */
import { createHash, createPrivateKey, type KeyObject, sign as signOctets } from "node:crypto";
import { once } from "node:events";
import RelaxedBody from "nodemailer/lib/dkim/relaxed-body";
import librarySign from "nodemailer/lib/dkim/sign";
import type { Content } from "../smtp/data.ts";
import { normaliseDomain } from "./domain.ts";

export interface DkimKey {
  /** The domain that answers for the message; U-labels are written as A-labels (§3.5). */
  readonly domain: string;
  readonly selector: string;
  /** PEM without a passphrase: RSA of 1024 bits or more (RFC 8301 §3.2), or Ed25519 in PKCS #8. */
  readonly privateKey: string;
}

export interface DkimOptions {
  /** The signature's `t=` (§3.5). Default: none. The same time gives the same octets. */
  readonly date?: Date | undefined;
}

/** A key that cannot sign, or a message that may not be signed. Never quotes the key. */
export class DkimError extends Error {
  override readonly name = "DkimError";
  readonly code = "dkim_invalid";
  readonly retryable = false;
  /** Such as `dkim[0].privateKey`. */
  readonly path: string;

  constructor(path: string, what: string) {
    super(`${path} ${what}.`);
    this.path = path;
  }
}

/**
 * What tells the reader who wrote what to whom (§5.4.1), how the body is read, and the
 * one-click fields that receivers only believe when both are signed (RFC 8058 §4).
 */
const FIELDS = [
  "From",
  "Sender",
  "Reply-To",
  "To",
  "Cc",
  "Subject",
  "Date",
  "Message-ID",
  "In-Reply-To",
  "References",
  "MIME-Version",
  "Content-Type",
  "Content-Transfer-Encoding",
  "List-Unsubscribe",
  "List-Unsubscribe-Post",
];

/**
 * The content with one DKIM-Signature field for each key before it, in the keys' order. The keys
 * are judged before anything is read; then the content is read once, in constant memory.
 *
 * @throws DkimError naming the field at fault; and what reading the content throws.
 */
export async function signContent(
  content: Content,
  keys: readonly DkimKey[],
  options: DkimOptions = {},
): Promise<Content> {
  if (keys.length === 0) return content;
  const signers = keys.map(signerOf);
  const { header, bodyHash } = await digest(content);
  const signed = signedFields(header);
  const fields = signers.map((signer) => signature(signer, signed, bodyHash, options.date));
  const block = Buffer.from(fields.join(""), "latin1");
  return {
    size: block.length + content.size,
    eightBit: content.eightBit,
    utf8Header: content.utf8Header,
    async *open() {
      yield block;
      yield* content.open();
    },
  };
}

interface Signer {
  readonly domain: string;
  readonly selector: string;
  readonly key: KeyObject;
  readonly algorithm: "rsa-sha256" | "ed25519-sha256";
}

/** §3.1: labels as in a domain name; the underscore is not for names of hosts, but keys have it. */
const SELECTOR = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

function signerOf({ domain, selector, privateKey }: DkimKey, index: number): Signer {
  const path = `dkim[${index}]`;
  if (selector.length > 190 || !selector.split(".").every((label) => SELECTOR.test(label))) {
    throw new DkimError(`${path}.selector`, "must be DNS labels, as in s1 or 2026.mail");
  }
  const key = keyOf(privateKey, `${path}.privateKey`);
  const algorithm = key.asymmetricKeyType === "rsa" ? "rsa-sha256" : "ed25519-sha256";
  return { domain: asciiDomain(domain, `${path}.domain`), selector, key, algorithm };
}

function asciiDomain(domain: string, path: string): string {
  try {
    return normaliseDomain(domain);
  } catch (error) {
    throw new DkimError(path, `is no domain: ${(error as Error).message}`);
  }
}

function keyOf(pem: string, path: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (error) {
    // Its message and what caused it come from the parser that saw the key: not handed on.
    const encrypted = (error as NodeJS.ErrnoException).code === "ERR_MISSING_PASSPHRASE";
    throw new DkimError(
      path,
      encrypted || pem.includes("ENCRYPTED")
        ? "is encrypted: store it without a passphrase, the secret protects it"
        : "is no private key that can be read: PEM, RSA or Ed25519 (PKCS #8), whole lines",
    );
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type !== "rsa" && type !== "ed25519") {
    throw new DkimError(path, `is of type ${type}: DKIM signs with RSA or Ed25519`);
  }
  if (type === "rsa" && (details?.modulusLength ?? 0) < 1024) {
    throw new DkimError(
      path,
      `has ${details?.modulusLength} bits: receivers take no RSA key under 1024 (RFC 8301)`,
    );
  }
  return key;
}

/** Reads the content once: keeps the header, hashes the body. */
async function digest(content: Content): Promise<{ header: Buffer; bodyHash: string }> {
  const body = new RelaxedBody();
  const header: Uint8Array[] = [];
  const end = [13, 10, 13, 10];
  // A message that begins with the empty line has no fields.
  let matched = 2;
  for await (const octets of content.open()) {
    const piece = Buffer.from(octets.buffer, octets.byteOffset, octets.length);
    let at = 0;
    if (matched < 4) {
      for (; at < piece.length && matched < 4; at += 1) {
        const octet = piece[at];
        matched = octet === end[matched] ? matched + 1 : octet === 13 ? 1 : 0;
      }
      header.push(Uint8Array.from(piece.subarray(0, at)));
    }
    hash(body, piece.subarray(at));
  }
  const hashed = once(body, "hash");
  body.resume().end();
  const [bodyHash] = (await hashed) as [string];
  return { header: Buffer.concat(header), bodyHash };
}

/**
 * Hashes part of the body. Whole lines that are canonical already, as those of base64 are, go past
 * the library: it takes each octet in hand, and twice their room.
 */
function hash(body: RelaxedBody, piece: Buffer): void {
  // A line end with something before it: here no white space and no empty line is pending.
  const first = piece.indexOf(10, 2);
  const last = piece.lastIndexOf(10);
  const lines = piece.subarray(first + 1, last + 1);
  if (first === -1 || first === last || BLANK.has(piece[first - 2]) || !canonical(lines)) {
    body.updateHash(piece);
    return;
  }
  body.updateHash(piece.subarray(0, first + 1));
  body.bodyHash.update(lines);
  body.updateHash(piece.subarray(last + 1));
}

const BLANK: ReadonlySet<number | undefined> = new Set([9, 10, 13, 32]);

/** Whether relaxed canonicalisation (§3.4.4) leaves these lines as they are. */
function canonical(lines: Buffer): boolean {
  const empty = lines[0] === 13 || lines.includes("\r\n\r\n");
  return !empty && !lines.includes(32) && !lines.includes(9);
}

interface SignedFields {
  /** For `h=`. */
  readonly names: readonly string[];
  /** Canonical fields in the order of the names, one character for an octet. */
  readonly canonical: string;
}

function signedFields(header: Buffer): SignedFields {
  const lines = header.toString("latin1").split(/\r\n(?![ \t])/);
  const names: string[] = [];
  let canonical = "";
  for (const name of FIELDS) {
    // Of several fields with one name the last is named first (§5.4.2).
    for (const line of lines.filter((one) => nameOf(one) === name.toLowerCase()).reverse()) {
      names.push(name);
      canonical += relaxed(line);
    }
  }
  if (!names.includes("From"))
    throw new DkimError("the message", "has no From field to sign (§5.4)");
  // Named once more than it occurs: a second From that somebody adds breaks the signature (§8.15).
  names.push("From");
  return { names, canonical };
}

function nameOf(line: string): string {
  const colon = line.indexOf(":");
  return colon === -1 ? "" : line.slice(0, colon).trimEnd().toLowerCase();
}

/** §3.4.2, with its line end. */
function relaxed(line: string): string {
  const key = nameOf(line);
  return librarySign.relaxedHeaders([{ key, line }], key).headers;
}

function signature(
  signer: Signer,
  { names, canonical }: SignedFields,
  bodyHash: string,
  date: Date | undefined,
): string {
  const time = date === undefined ? "" : ` t=${Math.floor(date.getTime() / 1000)};`;
  const unsigned = [
    `DKIM-Signature: v=1; a=${signer.algorithm}; c=relaxed/relaxed;${time}`,
    `d=${signer.domain};`,
    `s=${signer.selector};`,
    ...foldedNames(names),
    `bh=${bodyHash};`,
    "b=",
  ].join("\r\n ");
  // Itself is signed last, without a value for b= and without a line end (§3.7).
  const octets = Buffer.from(canonical + relaxed(unsigned).slice(0, -2), "latin1");
  // Ed25519 signs the hash that RSA would, not the octets (RFC 8463 §3).
  const value =
    signer.algorithm === "rsa-sha256"
      ? signOctets("sha256", octets, signer.key)
      : signOctets(null, createHash("sha256").update(octets).digest(), signer.key);
  const lines = value.toString("base64").match(/.{1,72}/g) ?? [];
  return `${unsigned}${lines.join("\r\n ")}\r\n`;
}

/** `h=` in lines of its own; white space may stand around its colons (§3.5). */
function foldedNames(names: readonly string[]): string[] {
  const lines: string[] = [];
  let line = "h=";
  for (const [index, name] of names.entries()) {
    const token = `${name}${index === names.length - 1 ? ";" : ":"}`;
    if (line.length + token.length > 76) {
      lines.push(line);
      line = "";
    }
    line += token;
  }
  return [...lines, line];
}
