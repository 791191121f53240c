/** Which real mail servers are installed, and where: `test/mta/install.sh` puts them there. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

export type MtaName = "postfix" | "dovecot" | "exim" | "opensmtpd";

const mtaRoot = process.env.POSTHASTE_MTA_ROOT ?? "/var/cache/posthaste-mta";

/** What tests ask for: a server, or Postfix whose mail can be read over IMAP. */
export type Wanted = MtaName | "imap";

/** The packages each server is made of; Postfix and Exim ask a private Dovecot about passwords. */
const parts: Record<Wanted, readonly MtaName[]> = {
  imap: ["postfix", "dovecot"],
  postfix: ["postfix", "dovecot"],
  dovecot: ["dovecot"],
  exim: ["exim", "dovecot"],
  opensmtpd: ["opensmtpd"],
};

/** Why this server cannot be run here; undefined when it can. */
export function mtaMissing(name: Wanted): string | undefined {
  const lacking: string[] = parts[name].filter(
    (part) => !existsSync(join(mtaRoot, `${part}.stamp`)),
  );
  // An earlier install.sh unpacked no IMAP server, and Dovecot looks for its TLS in this place alone.
  const imap = [
    unpacked("dovecot", "usr/lib/dovecot/imap"),
    "/usr/lib/dovecot/modules/libssl_iostream_openssl.so",
  ];
  if (name === "imap") lacking.push(...imap.filter((path) => !existsSync(path)));
  if (lacking.length > 0) {
    return `${lacking.join(", ")} not found in ${mtaRoot}: run test/mta/install.sh`;
  }
  return process.getuid?.() === 0 ? undefined : "mail servers start as root only";
}

const told = new Set<Wanted>();

/**
 * Can this server be run here? When not, the reason is printed once, so that a test skipped by name
 * says why; with POSTHASTE_REQUIRE_MTA=1 it is an error instead.
 */
export function mtaAvailable(name: Wanted): boolean {
  const reason = mtaMissing(name);
  if (reason === undefined) return true;
  if (process.env.POSTHASTE_REQUIRE_MTA === "1") throw new Error(`${name}: ${reason}`);
  if (!told.has(name)) console.warn(`skipping tests against ${name}: ${reason}`);
  told.add(name);
  return false;
}

/** Where a server's files were unpacked. */
export function unpacked(part: MtaName, path = ""): string {
  return join(mtaRoot, part, path);
}

/** The LD_LIBRARY_PATH a server runs with. */
export function libraryPath(part: MtaName): string {
  return readFileSync(join(mtaRoot, `${part}.libraries`), "utf8").trim();
}

/** A server's version, as its Debian package counts it: `3.7.11`. */
export function packageVersion(part: MtaName): string {
  const versions = readFileSync(join(mtaRoot, `${part}.versions`), "utf8");
  const wanted = {
    postfix: "postfix",
    dovecot: "dovecot-core",
    exim: "exim4-base",
    opensmtpd: "opensmtpd",
  };
  const line = versions.split("\n").find((entry) => entry.startsWith(`${wanted[part]} `)) ?? "";
  return line.replace(/^\S+ (?:\d+:)?/, "").replace(/[-+].*$/, "");
}
