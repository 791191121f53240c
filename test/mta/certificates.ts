/** A certificate authority for one test server: nothing of it outlives the server. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { libraryPath, unpacked } from "./available.ts";

export type KeyPair = { readonly cert: string; readonly key: string };

export type Certificates = {
  /** PEM of the authority, to be trusted by the client under test. */
  readonly ca: string;
  /** Valid for `localhost`, 127.0.0.1 and ::1. */
  readonly server: KeyPair;
  /** For EXTERNAL: its common name and e-mail are the user it was made for. */
  readonly client: KeyPair;
  readonly paths: { readonly ca: string; readonly cert: string; readonly key: string };
};

export function openssl(args: readonly string[], input = ""): string {
  // Where the system has none, install.sh unpacked one beside Dovecot.
  const own = unpacked("dovecot", "usr/bin/openssl");
  const env = existsSync(own)
    ? { ...process.env, LD_LIBRARY_PATH: libraryPath("dovecot") }
    : undefined;
  return execFileSync(env ? own : "openssl", args, {
    input,
    encoding: "utf8",
    stdio: ["pipe", "pipe", "pipe"],
    ...(env ? { env } : {}),
  });
}

/** Makes the authority, a server's certificate and a client's, as PEM files in the folder. */
export function makeCertificates(folder: string, user: string): Certificates {
  mkdirSync(folder, { recursive: true });
  const file = (name: string) => join(folder, name);
  const subject = (name: string) => `/CN=${name.replaceAll("/", "\\/")}`;
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

  writeFileSync(file("openssl.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n");
  const config = ["-config", file("openssl.cnf")];
  openssl([
    ...["req", "-x509", ...config, ...newKey, "-keyout", file("ca.key"), "-out", file("ca.pem")],
    ...["-days", "30", "-sha256", "-subj", subject("posthaste test authority")],
    ...["-addext", "basicConstraints=critical,CA:TRUE"],
    ...["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
    ...["-addext", "subjectKeyIdentifier=hash"],
  ]);

  const issue = (name: string, commonName: string, extensions: string): KeyPair => {
    const [key, csr, cert] = [file(`${name}.key`), file(`${name}.csr`), file(`${name}.pem`)];
    openssl([
      ...["req", ...config, "-new", ...newKey, "-keyout", key, "-out", csr],
      ...["-subj", subject(commonName)],
    ]);
    writeFileSync(
      file(`${name}.ext`),
      `basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n${extensions}\n` +
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
    );
    openssl([
      ...["x509", "-req", "-in", csr, "-CA", file("ca.pem"), "-CAkey", file("ca.key")],
      ...["-set_serial", String(Date.now()), "-days", "30", "-sha256"],
      ...["-extfile", file(`${name}.ext`), "-out", cert],
    ]);
    return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  };

  const server = issue(
    "server",
    "localhost",
    "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1",
  );
  const client = issue("client", user, `extendedKeyUsage=clientAuth\nsubjectAltName=email:${user}`);
  return {
    ca: readFileSync(file("ca.pem"), "utf8"),
    server,
    client,
    paths: { ca: file("ca.pem"), cert: file("server.pem"), key: file("server.key") },
  };
}
