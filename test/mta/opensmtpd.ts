import { execFileSync } from "node:child_process";
import { chownSync, copyFileSync, cpSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { libraryPath, packageVersion, unpacked } from "./available.ts";
import { openssl } from "./certificates.ts";
import {
  discard,
  domain,
  greeted,
  host,
  type Mta,
  type MtaOptions,
  mailboxes,
  prepare,
  type Site,
  startDaemon,
} from "./mta.ts";

/** Three accounts that exist only inside the server's own root. */
const accounts = { smtpd: 60_001, queue: 60_002, mail: 60_003 };

/**
 * OpenSMTPD has every path compiled in, so it lives in a change root of a few files. It knows PLAIN
 * and LOGIN, within TLS only, and no SMTPUTF8: its `plain` port takes mail for its own mailboxes
 * without AUTH, and addresses outside ASCII get no mailbox.
 */
export async function startOpenSmtpd(options: Omit<MtaOptions, "mechanisms"> = {}): Promise<Mta> {
  const prepared = await prepare("ph-os", options);
  const root = join(prepared.folder, "root");
  const site: Site = {
    ...prepared,
    mail: join(root, "mail"),
    mailboxes: prepared.mailboxes.filter((address) => /^[!-~]+$/.test(address)),
  };
  let stop = async () => {};
  try {
    makeRoot(root, site);
    const smtpd = startDaemon(site.folder, "chroot", [root, "/usr/sbin/smtpd", "-d"]);
    stop = smtpd.stop;
    await greeted(site.ports.plain, smtpd, () => "");
    return {
      name: "OpenSMTPD",
      version: packageVersion("opensmtpd"),
      host,
      servername: "localhost",
      ports: site.ports,
      ca: site.certificates.ca,
      client: site.certificates.client,
      users: site.users,
      domain,
      mechanisms: ["PLAIN", "LOGIN"],
      ...mailboxes(site),
      log: smtpd.output,
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

function makeRoot(root: string, site: Site): void {
  const { smtpd, queue, mail } = accounts;
  const folders = ["bin", "dev", "etc", "lib", "lib64", "mail", "run", "tmp", "usr/sbin"];
  for (const name of [...folders, "usr/libexec", "var/spool", "var/lib/opensmtpd/empty"]) {
    mkdirSync(join(root, name), { recursive: true });
  }
  mkdirSync(join(root, "var/run"));
  chownSync(join(root, "mail"), mail, mail);
  for (const [name, minor] of [
    ["null", "3"],
    ["urandom", "9"],
  ] as const) {
    execFileSync("mknod", ["-m", "666", join(root, "dev", name), "c", "1", minor]);
  }

  const programs = [unpacked("opensmtpd", "usr/sbin/smtpd"), "/bin/sh"];
  copyFileSync(programs[0] ?? "", join(root, "usr/sbin/smtpd"));
  copyFileSync("/bin/sh", join(root, "bin/sh"));
  copyFileSync(unpacked("opensmtpd", "usr/sbin/smtpctl"), join(root, "usr/sbin/smtpctl"));
  cpSync(unpacked("opensmtpd", "usr/libexec/opensmtpd"), join(root, "usr/libexec/opensmtpd"), {
    recursive: true,
  });
  for (const library of librariesOf(programs)) {
    const isLoader = basename(library).startsWith("ld-linux");
    const target = isLoader ? join(root, library) : join(root, "lib", basename(library));
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(library, target);
  }

  const entry = (name: string, id: number, home: string) =>
    `${name}:x:${id}:${id}::${home}:/bin/false\n`;
  write(
    join(root, "etc/passwd"),
    "root:x:0:0:root:/:/bin/sh\n",
    entry("opensmtpd", smtpd, "/var/lib/opensmtpd/empty"),
    entry("opensmtpq", queue, "/var/lib/opensmtpd/empty"),
    entry("vmail", mail, "/mail"),
  );
  write(
    join(root, "etc/group"),
    `root:x:0:\nopensmtpd:x:${smtpd}:\nopensmtpq:x:${queue}:\nvmail:x:${mail}:\n`,
  );
  write(join(root, "etc/hosts"), `${host} localhost\n`);
  write(
    join(root, "etc/credentials"),
    ...site.users.map(
      (u) => `${u.username} ${openssl(["passwd", "-6", "-stdin"], `${u.password}\n`).trim()}\n`,
    ),
  );
  write(join(root, "etc/people"), ...site.mailboxes.map((address) => `${address} vmail\n`));
  write(join(root, "etc/smtpd.conf"), smtpdConf(site));
  const { server } = site.certificates;
  writeFileSync(join(root, "etc/server.pem"), server.cert);
  writeFileSync(join(root, "etc/server.key"), server.key, { mode: 0o600 });
}

function write(path: string, ...text: string[]): void {
  writeFileSync(path, text.join(""));
}

function librariesOf(programs: readonly string[]): string[] {
  const found = execFileSync("ldd", programs, {
    encoding: "utf8",
    env: { ...process.env, LD_LIBRARY_PATH: libraryPath("opensmtpd") },
  });
  return [...new Set(found.match(/(?<=[\t ])\/\S+(?= \()/g))];
}

function smtpdConf({ ports, mailboxes }: Site): string {
  const domains = new Set([domain, ...mailboxes.map((a) => a.slice(a.lastIndexOf("@") + 1))]);
  const local = `{ ${[...domains].map((name) => `"${name}"`).join(", ")} }`;
  const name = `hostname "mail.${domain}"`;
  return `pki test cert "/etc/server.pem"
pki test key "/etc/server.key"
table credentials file:/etc/credentials
table people file:/etc/people
smtp max-message-size "200M"
listen on ${host} port ${ports.smtps} smtps pki test auth <credentials> ${name}
listen on ${host} port ${ports.submission} tls-require pki test auth <credentials> ${name}
listen on ${host} port ${ports.plain} tag PLAIN ${name}
action "deliver" maildir "/mail/%{rcpt}" virtual <people>
match tag PLAIN from any for domain ${local} action "deliver"
match auth from any for domain ${local} action "deliver"
`;
}
