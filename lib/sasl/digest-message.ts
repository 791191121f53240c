/**
 * The messages of DIGEST-MD5 (RFC 2831 §2.1): a list of directives, quoted or not, and the hashes over
 * them. It guards the grammar (§7.1), that directives which may come once come once (§2.1.1), and the
 * character set that both sides must hash alike (§2.1.2.1).
 */
import { createHash } from "node:crypto";
import { SaslError } from "./mechanism.ts";
import { fromUtf8, utf8 } from "./octets.ts";

type Directives = ReadonlyMap<string, readonly string[]>;

interface Parameters {
  readonly realm: string | undefined;
  readonly nonce: string;
  readonly charset: "utf-8" | undefined;
}

interface Proof {
  readonly username: string;
  readonly password: string;
  readonly uri: string;
  readonly cnonce: string;
}

/** §2.1.1: a challenge must be shorter. */
const longestChallenge = 2048;
const nonceCount = "00000001";

const directive =
  /[\t\n\r ,]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[\t\n\r ]*=[\t\n\r ]*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+./:^_`|~0-9A-Za-z-]+))[\t\n\r ]*(?=,|$)/sy;

/** @throws SaslError when the octets are not a list of directives */
export function readDirectives(octets: Uint8Array): Directives {
  const text = octets.length < longestChallenge ? fromUtf8(octets) : undefined;
  if (text === undefined) throw new SaslError("DIGEST-MD5: the challenge is too long or not UTF-8");
  const directives = new Map<string, string[]>();
  let at = 0;
  while (!/^[\t\n\r ,]*$/.test(text.slice(at))) {
    directive.lastIndex = at;
    const [whole = "", name = "", quoted, token = ""] = directive.exec(text) ?? [];
    if (whole === "") throw new SaslError("DIGEST-MD5: the challenge is malformed");
    const value = quoted === undefined ? token : quoted.replace(/\\(.)/gs, "$1");
    const key = name.toLowerCase();
    directives.set(key, [...(directives.get(key) ?? []), value]);
    at += whole.length;
  }
  return directives;
}

/** @throws SaslError when a directive is missing, repeated, or asks for what is not built */
export function readParameters(octets: Uint8Array): Parameters {
  const directives = readDirectives(octets);
  const once = (name: string) => {
    const values = directives.get(name) ?? [];
    if (values.length > 1) throw new SaslError(`DIGEST-MD5: the challenge repeats ${name}`);
    return values[0];
  };
  const nonce = once("nonce") ?? "";
  if (nonce === "") throw new SaslError("DIGEST-MD5: the challenge carries no nonce");
  if (once("algorithm")?.toLowerCase() !== "md5-sess") {
    throw new SaslError("DIGEST-MD5: the algorithm is not md5-sess");
  }
  const protections = (once("qop") ?? "auth").toLowerCase().split(/[\t\n\r ]*,[\t\n\r ]*/);
  if (!protections.includes("auth")) {
    throw new SaslError("DIGEST-MD5: the server demands a security layer");
  }
  const charset = once("charset")?.toLowerCase();
  if (charset !== undefined && charset !== "utf-8") {
    throw new SaslError("DIGEST-MD5: the character set is not utf-8");
  }
  // Of several realms the first is the server's own preference; a mailbox has no other to name.
  return { realm: directives.get("realm")?.[0], nonce, charset };
}

/** The `digest-response` (§2.1.2), and the `rspauth` that must answer it (§2.1.3). */
export function digestAnswer(parameters: Parameters, proof: Proof) {
  const { realm, nonce, charset } = parameters;
  const { username, password, uri, cnonce } = proof;
  const encode = charset === undefined ? latin1OrRefuse : utf8;
  const secret = createHash("md5");
  for (const [index, part] of [username, realm ?? "", password].entries()) {
    if (index > 0) secret.update(":");
    // §2.1.2.1: with utf-8 too, what fits ISO 8859-1 is hashed in it, so that old secrets serve.
    secret.update(latin1(part) ?? encode(part));
  }
  const a1 = createHash("md5")
    .update(secret.digest())
    .update(utf8(`:${nonce}:${cnonce}`));
  const key = a1.digest("hex");
  const response = (a2: string) =>
    md5(`${key}:${nonce}:${nonceCount}:${cnonce}:auth:${md5(`${a2}:${uri}`)}`);

  const text = [
    ...(charset === undefined ? [] : [`charset=${charset}`]),
    `username=${quote(username)}`,
    ...(realm === undefined ? [] : [`realm=${quote(realm)}`]),
    `nonce=${quote(nonce)}`,
    `nc=${nonceCount}`,
    `cnonce=${quote(cnonce)}`,
    `digest-uri=${quote(uri)}`,
    `response=${response("AUTHENTICATE")}`,
    "qop=auth",
  ].join(",");
  return { message: encode(text), rspauth: response("") };
}

function md5(text: string): string {
  return createHash("md5").update(utf8(text)).digest("hex");
}

function quote(value: string): string {
  return `"${value.replace(/["\\]/g, "\\$&")}"`;
}

function latin1(text: string): Uint8Array | undefined {
  const codes = Array.from(text, (character) => character.codePointAt(0) ?? 0);
  return codes.every((code) => code <= 0xff) ? Uint8Array.from(codes) : undefined;
}

function latin1OrRefuse(text: string): Uint8Array {
  const octets = latin1(text);
  if (octets !== undefined) return octets;
  throw new SaslError(
    "DIGEST-MD5: the server takes ISO 8859-1 only, and the credentials exceed it",
  );
}
