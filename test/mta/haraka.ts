/**
 * Haraka, a mail server in JavaScript, in a process of its own. It needs npm and nothing else, so it
 * runs where the servers from Debian's packages cannot.
 */
import { getDiffieHellman } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { makeCertificate } from "../../infra/local/certificate.ts";
import {
  alice,
  bob,
  type Daemon,
  defaultMailboxes,
  discard,
  domain,
  freePorts,
  greeted,
  host,
  type Mta,
  type MtaOptions,
  type MtaPorts,
  mailboxes,
  makeFolder,
  startDaemon,
} from "./mta.ts";

const mechanisms = ["PLAIN", "LOGIN", "CRAM-MD5"];

/** Where npm put it; undefined where it did not. */
function installed(): { folder: string; version: string } | undefined {
  try {
    const path = createRequire(import.meta.url).resolve("Haraka/package.json");
    const { version } = JSON.parse(readFileSync(path, "utf8")) as { version: string };
    return { folder: dirname(path), version };
  } catch {
    return undefined;
  }
}

/** As `mtaAvailable`: a reason once, or an error with POSTHASTE_REQUIRE_MTA=1. */
export function harakaAvailable(): boolean {
  if (installed() !== undefined) return true;
  const reason = "haraka: the npm package Haraka is not installed";
  if (process.env["POSTHASTE_REQUIRE_MTA"] === "1") throw new Error(reason);
  console.warn(`skipping tests against ${reason}`);
  return false;
}

/** There is no client certificate here: `client` is the server's own, good for nothing. */
export async function startHaraka(options: MtaOptions = {}): Promise<Mta> {
  const haraka = installed();
  if (haraka === undefined) throw new Error("the npm package Haraka is not installed");
  const users = options.users ?? ([alice, bob] as const);
  const known = [...users.map((u) => u.username), ...(options.mailboxes ?? defaultMailboxes)];
  const folder = makeFolder("ph-ha");
  const [smtps = 0, submission = 0, plain = 0] = await freePorts(3);
  const ports: MtaPorts = { smtps, submission, plain };
  const certificate = await makeCertificate();
  const mail = join(folder, "mail");
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text, { mode: 0o600 });
  };
  const passwords = Object.fromEntries(users.map((u) => [u.username, u.password]));
  write("config/plugins", "tls\nmailboxes\n");
  write(
    "config/smtp.ini",
    `listen=${Object.values(ports).map((port) => `${host}:${port}`)}\nsmtps_port=${smtps}\nnodes=0\n`,
  );
  write(
    "config/tls.ini",
    `key=server.key\ncert=server.pem\nno_starttls_ports[]=${plain}\nrejectUnauthorized=false\n`,
  );
  write("config/server.key", certificate.key);
  write("config/server.pem", certificate.cert);
  // Else it would spend seconds of a processor's time on parameters that TLS 1.3 has no use for.
  write("config/dhparams.pem", dhParameters());
  write(
    "config/connection.ini",
    readFileSync(join(haraka.folder, "config/connection.ini"), "utf8"),
  );
  write("config/log.ini", "[main]\nlevel=info\n");
  write("config/me", `mail.${domain}\n`);
  write("config/mailboxes.json", JSON.stringify({ passwords, known, plain, mail, mechanisms }));
  write("plugins/mailboxes.js", plugin);
  mkdirSync(mail);

  let daemon: Daemon | undefined;
  const log = () => daemon?.output() ?? "";
  const stop = async () => {
    await daemon?.kill();
    await discard(folder);
  };
  try {
    const program = join(haraka.folder, "bin", "haraka");
    daemon = startDaemon(folder, process.execPath, [program, "-c", folder]);
    await greeted(plain, daemon, log);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    name: "Haraka",
    version: haraka.version,
    host,
    servername: "localhost",
    ports,
    ca: certificate.ca,
    client: certificate,
    users,
    domain,
    mechanisms,
    ...mailboxes({
      folder,
      certificates: {
        ca: certificate.ca,
        server: certificate,
        client: certificate,
        paths: { ca: "", cert: "", key: "" },
      },
      users,
      mailboxes: known,
      ports,
      mail,
    }),
    log,
    stop,
  };
}

/** A well-known group (RFC 3526 §3), as PEM. */
function dhParameters(): string {
  const prime = getDiffieHellman("modp14").getPrime();
  const integer = Buffer.concat([Buffer.from("0282010100", "hex"), prime]);
  const body = Buffer.concat([integer, Buffer.from("020102", "hex")]);
  const der = Buffer.concat([Buffer.from("30820108", "hex"), body]);
  const label = "DH PARAMETERS";
  const lines = der.toString("base64").replace(/.{64}/g, "$&\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

/**
 * What Haraka leaves to plugins: who may log in, who gets mail, and where it goes. The mechanisms
 * and all else that is said on the wire are its own.
 */
const plugin = `"use strict";
const fs = require("node:fs");
const path = require("node:path");

exports.register = function () {
  this.inherits("auth/auth_base");
  this.site = this.config.get("mailboxes.json");
};

// No name is looked up.
exports.hook_lookup_rdns = (next) => next(OK, "localhost");

exports.hook_capabilities = function (next, connection) {
  if (connection.tls.enabled || connection.local.port === this.site.plain) {
    connection.capabilities.push("AUTH " + this.site.mechanisms.join(" "));
    connection.notes.allowed_auth_methods = this.site.mechanisms;
  }
  next();
};

exports.get_plain_passwd = function (user, connection, done) {
  done(Object.hasOwn(this.site.passwords, user) ? this.site.passwords[user] : null);
};

exports.hook_mail = (next, connection) =>
  connection.relaying ? next() : next(DENY, "Authentication required");

exports.hook_rcpt = function (next, connection, [recipient]) {
  if (this.site.known.includes(recipient.user + "@" + recipient.host)) return next(OK);
  next(DENY, "No such user here");
};

// Asked instead of hook_queue about mail of someone who logged in; its own answer would be to send
// the mail on to wherever the names' MX records say.
exports.hook_queue_outbound = function (next, connection) {
  const { uuid, rcpt_to: recipients, message_stream: message } = connection.transaction;
  const whole = path.join(this.site.mail, uuid);
  const file = fs.createWriteStream(whole);
  file.once("error", () => next(DENYSOFT, "Not stored"));
  file.once("close", () => {
    for (const { user, host } of recipients) {
      const box = path.join(this.site.mail, user + "@" + host, "new");
      fs.mkdirSync(box, { recursive: true });
      fs.linkSync(whole, path.join(box, uuid));
    }
    fs.unlinkSync(whole);
    next(OK, "Message queued");
  });
  message.pipe(file, { line_endings: "\\n" });
};
`;
