import { execFileSync } from "node:child_process";
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { libraryPath, packageVersion, unpacked } from "./available.ts";
import { type Dovecot, startDovecot } from "./dovecot.ts";
import {
  discard,
  domain,
  greeted,
  host,
  idnDomain,
  type Mta,
  type MtaOptions,
  mailboxes,
  prepare,
  readLog,
  type Site,
  startDaemon,
} from "./mta.ts";

/** Answered by Exim itself. */
const own = ["PLAIN", "LOGIN", "CRAM-MD5", "EXTERNAL"];
/** Debian's Exim has no library for these; it asks a private Dovecot. */
const byDovecot = ["DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"];

/** Exim is never root here: it runs, and delivers, as the user it was compiled for. */
const eximUser = "Debian-exim";
const idOf = (option: "-u" | "-g") =>
  Number(execFileSync("id", [option, eximUser], { encoding: "utf8" }));

/** EXTERNAL is offered to a client that shows the certificate `mta.client`. */
export async function startExim(options: MtaOptions = {}): Promise<Mta> {
  const site = await prepare("ph-ex", options);
  const mechanisms = options.mechanisms ?? [...own, ...byDovecot];
  const spool = join(site.folder, "spool");
  const logs = ["main", "panic"].map((name) => join(spool, "log", `${name}log`));
  let dovecot: Dovecot | undefined;
  let stop = async () => {};
  const log = () => readLog(...logs) + (dovecot?.log() ?? "");
  try {
    const [uid, gid] = [idOf("-u"), idOf("-g")];
    const asked = mechanisms.filter((name) => byDovecot.includes(name));
    const sasl = await startDovecot({
      folder: site.folder,
      users: site.users,
      mechanisms: asked.length > 0 ? asked : ["PLAIN"],
    });
    dovecot = sasl;
    stop = sasl.daemon.kill;

    for (const folder of [spool, join(spool, "log"), site.mail]) {
      mkdirSync(folder);
      chownSync(folder, uid, gid);
    }
    chownSync(site.certificates.paths.key, uid, gid);
    writeFileSync(
      join(site.folder, "users"),
      site.users
        .map((u) => `"${u.username}": ${Buffer.from(u.password).toString("base64")}\n`)
        .join(""),
    );
    writeFileSync(
      join(site.folder, "mailboxes"),
      site.mailboxes.map((a) => `"${a}": ${a.replaceAll("/", "_")}\n`).join(""),
    );
    const config = join(site.folder, "exim.conf");
    writeFileSync(config, eximConf(site, spool, sasl.socket, mechanisms));

    const exim = startDaemon(
      site.folder,
      "setpriv",
      [
        ...[`--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"],
        ...[unpacked("exim", "usr/sbin/exim4"), "-C", config, "-bdf"],
        ...["-oP", join(spool, "exim.pid")],
      ],
      { LD_LIBRARY_PATH: libraryPath("exim") },
    );
    stop = async () => {
      await Promise.all([exim.stop(), sasl.daemon.kill()]);
    };
    await greeted(site.ports.plain, exim, log);
  } catch (error) {
    await stop();
    await discard(site.folder);
    throw error;
  }
  return {
    name: "Exim",
    version: packageVersion("exim"),
    host,
    servername: "localhost",
    ports: site.ports,
    ca: site.certificates.ca,
    client: site.certificates.client,
    users: site.users,
    domain,
    mechanisms,
    ...mailboxes(site),
    log,
    async stop() {
      await stop();
      await discard(site.folder);
    },
  };
}

function eximConf(
  site: Site,
  spool: string,
  socket: string,
  mechanisms: readonly string[],
): string {
  const { folder, ports, certificates } = site;
  const domains = new Set([domain, ...site.mailboxes.map((a) => a.slice(a.lastIndexOf("@") + 1))]);
  if (domains.has(idnDomain)) domains.add("例子.测试");
  const password = `\${lookup{$auth1}lsearch{${folder}/users}{\${base64d:$value}}fail}`;
  const right = (user: string, given: string) =>
    `\${lookup{${user}}lsearch{${folder}/users}{\${if eq{${given}}{\${base64d:$value}}}}{false}}`;
  const authenticators: Record<string, string> = {
    PLAIN: `driver = plaintext
  server_prompts = :
  server_condition = ${right("$auth2", "$auth3")}
  server_set_id = $auth2`,
    LOGIN: `driver = plaintext
  server_prompts = Username:: : Password::
  server_condition = ${right("$auth1", "$auth2")}
  server_set_id = $auth1`,
    "CRAM-MD5": `driver = cram_md5
  server_secret = ${password}
  server_set_id = $auth1`,
    EXTERNAL: `driver = external
  server_advertise_condition = \${if eq{$tls_in_certificate_verified}{1}}
  server_param2 = \${certextract{subj_altname,mail,>:}{$tls_in_peercert}}
  server_condition = \${if forany{$auth2}{eq{$item}{$auth1}}}
  server_set_id = $auth1`,
  };
  const authenticator = (name: string, index: number) =>
    `auth${index}:\n  public_name = ${name}\n  ${
      authenticators[name] ??
      `driver = dovecot\n  server_socket = ${socket}\n  server_set_id = $auth1`
    }\n`;

  return `primary_hostname = mail.${domain}
spool_directory = ${spool}
log_file_path = ${spool}/log/%slog
log_selector = +all_parents +smtp_connection +smtp_protocol_error +smtp_syntax_error +tls_peerdn
keep_environment = LD_LIBRARY_PATH
deliver_drop_privilege = true
never_users =

local_interfaces = ${host}
daemon_smtp_ports = ${ports.smtps} : ${ports.submission} : ${ports.plain}
disable_ipv6 = true
dns_dnssec_ok = 0
host_lookup =
rfc1413_hosts =
smtp_banner = $smtp_active_hostname ESMTP Exim
message_size_limit = 200M
smtp_accept_max = 500
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
smtp_accept_max_nonmail = 10000
smtp_max_synprot_errors = 10000
smtp_max_unknown_commands = 10000
check_spool_space = 0
check_spool_inodes = 0
queue_run_max = 0
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
prdr_enable = true
ignore_bounce_errors_after = 0s

tls_on_connect_ports = ${ports.smtps}
tls_advertise_hosts = \${if eq{$received_port}{${ports.plain}}{}{*}}
tls_certificate = ${certificates.paths.cert}
tls_privatekey = ${certificates.paths.key}
tls_verify_certificates = ${certificates.paths.ca}
tls_try_verify_hosts = *
auth_advertise_hosts = \${if or{{eq{$received_port}{${ports.plain}}}{def:tls_in_cipher}}{*}{}}

domainlist local_domains = ${[...domains].join(" : ")}
acl_smtp_rcpt = rcpt
acl_smtp_data = accept

begin acl
rcpt:
  deny message = Unknown user
    domains = +local_domains
    !verify = recipient
  accept authenticated = *
  deny message = Authentication required

begin routers
mailbox:
  driver = accept
  domains = +local_domains
  address_data = \${lookup{$local_part@$domain}lsearch{${folder}/mailboxes}{$value}fail}
  transport = maildir
unknown:
  driver = redirect
  domains = +local_domains
  allow_fail
  data = :fail: Unknown user
# Nothing leaves the machine.
elsewhere:
  driver = redirect
  data = :blackhole:

begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = ${site.mail}/$address_data
  create_directory
  return_path_add
  envelope_to_add
  delivery_date_add

begin authenticators
${mechanisms.map(authenticator).join("\n")}
`;
}
