/**
 * A private Dovecot that answers "is this password right?" for the servers that cannot tell; and, where
 * asked, serves their maildirs over IMAP.
 */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { libraryPath, unpacked } from "./available.ts";
import { type Daemon, readLog, startDaemon, type User, until } from "./mta.ts";

export const saslMechanisms = [
  "PLAIN",
  "LOGIN",
  "CRAM-MD5",
  "DIGEST-MD5",
  "SCRAM-SHA-1",
  "SCRAM-SHA-256",
] as const;

export type DovecotOptions = {
  readonly folder: string;
  readonly users: readonly User[];
  readonly mechanisms: readonly string[];
  /**
   * Adds OAUTHBEARER and XOAUTH2. Dovecot asks this URL about every token (RFC 7662, POST); a token
   * is good when the answer holds `"active": true` and the user's address as `username`.
   */
  readonly oauthIntrospectionUrl?: string | undefined;
  /** Serves each user's maildir, with a folder for spam. */
  readonly imap?: Imap | undefined;
  /** Further lines of dovecot.conf: protocols and their ports. */
  readonly extra?: string;
  readonly protocols?: string;
};

export type Imap = {
  readonly ports: ImapPorts;
  /** Files: without them there is no TLS, and no STARTTLS is offered. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** The folder of maildirs, each called by its user's name. */
  readonly mail: string;
};

export type ImapPorts = {
  /** TLS from the first byte. */
  readonly imaps: number;
  /** Plaintext at first, with STARTTLS. */
  readonly imap: number;
};

export type Dovecot = {
  /** The socket that speaks Dovecot's authentication protocol. */
  readonly socket: string;
  readonly daemon: Daemon;
  log(): string;
};

/** Starts Dovecot with its files in `<folder>/dovecot`; sockets are ready when this resolves. */
export async function startDovecot(options: DovecotOptions): Promise<Dovecot> {
  const folder = join(options.folder, "dovecot");
  mkdirSync(folder, { recursive: true });
  const [config, logFile, socket] = [
    join(folder, "dovecot.conf"),
    join(folder, "log"),
    join(folder, "auth"),
  ];
  writeFileSync(join(folder, "users"), options.users.map(passwdLine).join(""));
  writeFileSync(config, dovecotConf(folder, options));
  chmodSync(folder, 0o755);
  // Dovecot would look for doveconf where its package installs it; doveconf can start Dovecot just
  // as well.
  const daemon = startDaemon(
    options.folder,
    unpacked("dovecot", "usr/bin/doveconf"),
    [
      ...["-f", "service=master", "-c", config, "-m", "master", "-p"],
      ...["-e", unpacked("dovecot", "usr/sbin/dovecot"), "-F", "-c", config],
    ],
    { LD_LIBRARY_PATH: libraryPath("dovecot") },
  );
  const log = () => readLog(logFile);
  try {
    await until(() => {
      if (daemon.process.exitCode !== null) throw new Error("it exited");
      return log().includes("starting up");
    }, "Dovecot");
  } catch (error) {
    await daemon.kill();
    throw new Error(`Dovecot did not start: ${String(error)}\n${daemon.output()}\n${log()}`);
  }
  return { socket, daemon, log };
}

/** In Base64, for a password may hold the colon that ends a field. */
function passwdLine({ username, password }: User): string {
  return `${username}:{PLAIN.b64}${Buffer.from(password).toString("base64")}\n`;
}

function dovecotConf(folder: string, options: DovecotOptions): string {
  const mechanisms = options.mechanisms.map((name) => name.toLowerCase());
  const url = options.oauthIntrospectionUrl;
  if (url !== undefined) {
    writeFileSync(
      join(folder, "oauth2.conf"),
      [
        `introspection_url = ${url}`,
        "introspection_mode = post",
        "username_attribute = username",
        "username_format = %Lu",
        "active_attribute = active",
        "active_value = true",
        "",
      ].join("\n"),
    );
    mechanisms.push("oauthbearer", "xoauth2");
  }
  const oauth = `
passdb {
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = ${folder}/oauth2.conf
}
`;
  return `base_dir = ${folder}/run
state_dir = ${folder}/state
log_path = ${folder}/log
libexec_dir = ${unpacked("dovecot", "usr/lib/dovecot")}
import_environment = LD_LIBRARY_PATH
default_internal_user = mail
default_internal_group = mail
default_login_user = nobody
protocols = ${options.imap ? "imap" : (options.protocols ?? "")}
listen = 127.0.0.1
${tlsConf(options.imap)}
disable_plaintext_auth = no
auth_mechanisms = ${mechanisms.join(" ")}
auth_username_chars =
auth_failure_delay = 0
auth_verbose = yes
passdb {
  driver = passwd-file
  mechanisms = ${mechanisms.filter((name) => !name.includes("oauth")).join(" ")}
  args = username_format=%u ${folder}/users
}
${url === undefined ? "" : oauth}
userdb {
  driver = static
  args = uid=5000 gid=5000 home=${folder}${options.imap ? ` mail=maildir:${options.imap.mail}/%u` : ""}
}
service auth {
  unix_listener ${folder}/auth {
    mode = 0666
  }
}
# A wrong password is answered as fast the tenth time as the first.
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
${options.imap ? imapConf(options.imap) : ""}
${options.extra ?? ""}
`;
}

function tlsConf(imap: Imap | undefined): string {
  const files = imap?.tls;
  return files ? `ssl = yes\nssl_cert = <${files.cert}\nssl_key = <${files.key}` : "ssl = no";
}

function imapConf({ ports, tls }: Imap): string {
  return `
service imap-login {
  chroot =
  inet_listener imap {
    port = ${ports.imap}
  }
  inet_listener imaps {
    port = ${tls ? ports.imaps : 0}
    ssl = yes
  }
}
namespace inbox {
  inbox = yes
  separator = /
  mailbox Junk {
    auto = create
    special_use = \\Junk
  }
}
`;
}
