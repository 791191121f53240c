import { chmodSync, chownSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { libraryPath, packageVersion, unpacked } from "./available.ts";
import { type Dovecot, saslMechanisms, startDovecot } from "./dovecot.ts";
import {
  discard,
  domain,
  freePorts,
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

export type PostfixOptions = MtaOptions & {
  /** Offers OAUTHBEARER and XOAUTH2: see `startDovecot`. */
  readonly oauthIntrospectionUrl?: string;
  /** Every command and reply in the log. */
  readonly verbose?: boolean;
  /** EHLO keywords to keep quiet about: `["CHUNKING", "PIPELINING"]`. */
  readonly withoutKeywords?: readonly string[];
  /** Serves the maildirs of its users over IMAP, too: see `Mta.imap`. */
  readonly imap?: boolean;
  /** Further addresses, and the folder of mail that each is delivered to: `alice@x/.Junk`. */
  readonly folders?: Readonly<Record<string, string>>;
  /** Further main.cf settings; they win. */
  readonly settings?: Readonly<Record<string, string>>;
};

/** Debian gives every machine these; Postfix insists on three that differ. */
const mailOwner = { name: "mail", uid: 8, gid: 8 };
const setgidGroup = { name: "news", gid: 9 };
/** Needs no name. */
const deliveryUid = 5000;

export async function startPostfix(options: PostfixOptions = {}): Promise<Mta> {
  const site = await prepare("ph-pf", options);
  let dovecot: Dovecot | undefined;
  let stop = async () => {};
  const logFile = join(site.folder, "postfix.log");
  const log = () => readLog(logFile) + (dovecot?.log() ?? "");
  try {
    const mechanisms = [...(options.mechanisms ?? saslMechanisms)];
    const { cert, key } = site.certificates.paths;
    const [imaps, imap] = options.imap ? await freePorts(2) : [];
    const ports = imaps && imap ? { imaps, imap } : undefined;
    dovecot = await startDovecot({
      folder: site.folder,
      users: site.users,
      mechanisms,
      oauthIntrospectionUrl: options.oauthIntrospectionUrl,
      imap: ports && { ports, tls: { cert, key }, mail: site.mail },
    });
    stop = dovecot.daemon.kill;
    if (options.oauthIntrospectionUrl) mechanisms.push("OAUTHBEARER", "XOAUTH2");

    const config = writePostfix(site, dovecot.socket, logFile, options);
    const master = startDaemon(
      site.folder,
      unpacked("postfix", "usr/lib/postfix/sbin/master"),
      ["-c", config, "-d"],
      { LD_LIBRARY_PATH: libraryPath("postfix"), MAIL_CONFIG: config },
    );
    const { daemon } = dovecot;
    stop = async () => {
      await Promise.all([master.stop(), daemon.kill()]);
    };
    await greeted(site.ports.plain, master, log);

    return {
      name: "Postfix",
      version: packageVersion("postfix"),
      host,
      servername: "localhost",
      ports: site.ports,
      ca: site.certificates.ca,
      client: site.certificates.client,
      users: site.users,
      domain,
      mechanisms,
      ...(ports && { imap: ports }),
      ...mailboxes(site),
      log,
      async stop() {
        await stop();
        await discard(site.folder);
      },
    };
  } catch (error) {
    await stop();
    await discard(site.folder);
    throw error;
  }
}

function writePostfix(
  site: Site,
  authSocket: string,
  logFile: string,
  options: PostfixOptions,
): string {
  const { folder, certificates } = site;
  const [config, queue, data] = [join(folder, "etc"), join(folder, "q"), join(folder, "data")];
  makeQueue(queue, data);
  mkdirSync(config);
  mkdirSync(site.mail);
  chownSync(site.mail, deliveryUid, deliveryUid);

  writeFileSync(
    join(config, "mailboxes"),
    [
      ...site.mailboxes.map((address) => `${address} ${address.replaceAll("/", "_")}/\n`),
      ...Object.entries(options.folders ?? {}).map(([address, path]) => `${address} ${path}/\n`),
    ].join(""),
  );
  const domains = new Set([domain, ...site.mailboxes.map((a) => a.slice(a.lastIndexOf("@") + 1))]);
  if (domains.has(idnDomain)) domains.add("例子.测试");
  writeFileSync(join(config, "domains"), [...domains].map((name) => `${name} here\n`).join(""));

  const settings: Record<string, string> = {
    compatibility_level: "3.6",
    config_directory: config,
    queue_directory: queue,
    data_directory: data,
    command_directory: unpacked("postfix", "usr/sbin"),
    daemon_directory: unpacked("postfix", "usr/lib/postfix/sbin"),
    shlib_directory: unpacked("postfix", "usr/lib/postfix"),
    meta_directory: unpacked("postfix", "usr/share/postfix"),
    import_environment: "MAIL_CONFIG LD_LIBRARY_PATH PATH",
    mail_owner: mailOwner.name,
    setgid_group: setgidGroup.name,
    default_privs: "nobody",
    maillog_file: logFile,
    maillog_file_prefixes: folder,
    syslog_name: "postfix",

    inet_interfaces: host,
    inet_protocols: "ipv4",
    myhostname: `mail.${domain}`,
    mydestination: "",
    mynetworks: `${host}/32`,
    local_recipient_maps: "",
    alias_maps: "",
    alias_database: "",
    append_dot_mydomain: "no",
    biff: "no",
    notify_classes: "",

    // Nothing leaves the machine, and no name is looked up.
    default_transport: "discard:",
    relay_transport: "discard:",
    disable_dns_lookups: "yes",
    smtpd_peername_lookup: "no",
    smtp_host_lookup: "native",

    virtual_mailbox_domains: `texthash:${config}/domains`,
    virtual_mailbox_maps: `texthash:${config}/mailboxes`,
    virtual_mailbox_base: site.mail,
    virtual_transport: "virtual",
    virtual_uid_maps: `static:${deliveryUid}`,
    virtual_gid_maps: `static:${deliveryUid}`,
    virtual_mailbox_limit: "0",
    mailbox_size_limit: "0",
    message_size_limit: String(200 * 1024 * 1024),
    queue_minfree: "0",

    smtpd_banner: "$myhostname ESMTP $mail_name",
    smtpd_helo_required: "yes",
    smtpd_relay_restrictions: "permit_sasl_authenticated, reject_unauth_destination",
    smtpd_recipient_restrictions: "reject_unlisted_recipient, permit_sasl_authenticated, reject",
    smtpd_forbid_unauth_pipelining: "yes",
    smtpd_forbid_bare_newline: "reject",
    smtpd_forbid_bare_newline_exclusions: "",
    smtpd_discard_ehlo_keywords: (options.withoutKeywords ?? []).join(" ").toLowerCase(),

    smtpd_error_sleep_time: "0",
    smtpd_soft_error_limit: "10000",
    smtpd_hard_error_limit: "10000",
    smtpd_junk_command_limit: "100000",
    smtpd_recipient_limit: "10000",
    smtpd_client_connection_count_limit: "0",
    smtpd_client_connection_rate_limit: "0",
    smtpd_client_message_rate_limit: "0",
    smtpd_client_recipient_rate_limit: "0",
    smtpd_client_new_tls_session_rate_limit: "0",
    smtpd_client_auth_rate_limit: "0",
    in_flow_delay: "0",
    default_process_limit: "100",

    smtpd_sasl_auth_enable: "yes",
    smtpd_sasl_type: "dovecot",
    smtpd_sasl_path: authSocket,
    smtpd_sasl_security_options: "noanonymous",
    smtpd_sasl_authenticated_header: "yes",

    smtpd_tls_cert_file: certificates.paths.cert,
    smtpd_tls_key_file: certificates.paths.key,
    smtpd_tls_CAfile: certificates.paths.ca,
    smtpd_tls_security_level: "may",
    smtpd_tls_auth_only: "yes",
    smtpd_tls_received_header: "yes",
    smtpd_tls_loglevel: "1",
    tls_random_source: "dev:/dev/urandom",
    ...options.settings,
  };
  writeFileSync(
    join(config, "main.cf"),
    Object.entries(settings)
      .map(([name, value]) => `${name} = ${value}\n`)
      .join(""),
  );
  writeFileSync(join(config, "master.cf"), masterCf(site, options.verbose === true));
  // Postfix waits two seconds for someone who is perhaps still writing a file this young.
  const past = Date.now() / 1000 - 60;
  for (const name of readdirSync(config)) utimesSync(join(config, name), past, past);
  return config;
}

function makeQueue(queue: string, data: string): void {
  const { uid, gid } = mailOwner;
  mkdirSync(queue);
  mkdirSync(data, { mode: 0o700 });
  chownSync(data, uid, gid);
  const own = ["incoming", "active", "deferred", "defer", "bounce", "corrupt", "flush", "hold"];
  for (const name of [...own, "saved", "trace", "private"]) {
    mkdirSync(join(queue, name), { mode: 0o700 });
    chownSync(join(queue, name), uid, gid);
  }
  mkdirSync(join(queue, "pid"));
  for (const [name, mode] of [
    ["public", 0o2710],
    ["maildrop", 0o1730],
  ] as const) {
    mkdirSync(join(queue, name));
    chownSync(join(queue, name), uid, setgidGroup.gid);
    chmodSync(join(queue, name), mode);
  }
}

function masterCf({ ports }: Site, verbose: boolean): string {
  const smtpd = (port: number, ...settings: string[]) =>
    [`${host}:${port} inet n - n - - smtpd${verbose ? " -v" : ""}`, ...settings].join("\n  -o ");
  return `${smtpd(ports.smtps, "smtpd_tls_wrappermode=yes", "smtpd_tls_security_level=encrypt")}
${smtpd(ports.submission, "smtpd_tls_security_level=may")}
${smtpd(ports.plain, "smtpd_tls_security_level=none", "smtpd_tls_auth_only=no")}
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`;
}
