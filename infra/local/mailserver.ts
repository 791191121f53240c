/**
 * A mail server on loopback, on the npm package `smtp-server`: TLS both ways, AUTH, an inbox.
 *
 * Rule guarded here: the server is not ours. What the demo proves, it proves against an
 * implementation of the protocol that shares no line with the client.
 */
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { type Certificate, makeCertificate } from "./certificate.ts";
import { Inbox } from "./inbox.ts";

const HOST = "127.0.0.1";

/** What to answer instead of success; the server puts the enhanced status before the text. */
export interface Verdict {
  readonly code: number;
  readonly text: string;
}

/** Asked anew each time, so that a fault can be switched on and off while the server runs. */
export interface Judge {
  readonly login?: (user: string) => Verdict | undefined;
  readonly sender?: (address: string) => Verdict | undefined;
  readonly recipient?: (address: string) => Verdict | undefined;
  /** Judged after the whole content has been read. */
  readonly content?: (raw: Buffer) => Verdict | undefined;
}

export interface MailServerOptions {
  /** From user name to password. */
  readonly users: Readonly<Record<string, string>>;
  /** Recipients at other domains, and those called `unknown@…`, are refused; default: any domain. */
  readonly domains?: readonly string[];
  /** Advertised in this order. Default: PLAIN, LOGIN, CRAM-MD5. */
  readonly mechanisms?: readonly string[];
  /** Default: 25 MiB. */
  readonly maxMessageBytes?: number;
  readonly certificate?: Certificate;
  readonly judge?: Judge;
  /** Of another server, to share it; default: one of its own. */
  readonly inbox?: Inbox;
  /** Anything else that `smtp-server` takes, such as `hidePIPELINING`. */
  readonly server?: SMTPServerOptions;
}

export interface MailServer {
  readonly host: string;
  readonly ports: { readonly implicit: number; readonly starttls: number };
  /** PEM; what a mailbox names in `tls.ca`. */
  readonly ca: string;
  readonly inbox: Inbox;
  /** What the secret of a mailbox here says, over implicit TLS. */
  mailbox(username: string, password: string): LocalMailbox;
  close(): Promise<void>;
}

export interface LocalMailbox {
  readonly host: string;
  readonly port: number;
  readonly security: "implicit";
  readonly username: string;
  readonly password: string;
  readonly tls: { readonly ca: string };
}

export async function startMailServer(options: MailServerOptions): Promise<MailServer> {
  const certificate = options.certificate ?? (await makeCertificate());
  const inbox = options.inbox ?? new Inbox();
  const start = (secure: boolean) =>
    listening(new SMTPServer({ ...settings(options, certificate, inbox), secure }));
  const [implicit, starttls] = await Promise.all([start(true), start(false)]);
  const { ca } = certificate;
  const ports = { implicit: portOf(implicit), starttls: portOf(starttls) };
  return {
    // Not `localhost`, which is ::1 first on some machines, where nothing listens.
    host: HOST,
    ports,
    ca,
    inbox,
    mailbox: (username, password) => ({
      host: HOST,
      port: ports.implicit,
      security: "implicit",
      username,
      password,
      tls: { ca },
    }),
    close: async () => {
      await Promise.all([closed(implicit), closed(starttls)]);
    },
  };
}

function settings(
  options: MailServerOptions,
  certificate: Certificate,
  inbox: Inbox,
): SMTPServerOptions {
  const { users, judge = {} } = options;
  return {
    name: "localhost",
    banner: "posthaste local stack",
    key: certificate.key,
    cert: certificate.cert,
    authMethods: [...(options.mechanisms ?? ["PLAIN", "LOGIN", "CRAM-MD5"])],
    size: options.maxMessageBytes ?? 25 * 1024 * 1024,
    hideENHANCEDSTATUSCODES: false,
    hideDSN: false,
    // Loopback has no reverse name worth waiting for.
    disableReverseLookup: true,
    closeTimeout: 500,

    onAuth(auth, _session, callback) {
      const user = auth.username ?? "";
      const verdict = judge.login?.(user);
      if (verdict !== undefined) return callback(refusal(verdict));
      const password = Object.hasOwn(users, user) ? users[user] : undefined;
      const right =
        password !== undefined &&
        (auth.method === "CRAM-MD5" ? auth.validatePassword(password) : auth.password === password);
      callback(null, right ? { user } : {});
    },
    onMailFrom({ address }, _session, callback) {
      callback(refusal(judge.sender?.(address)));
    },
    onRcptTo({ address }, _session, callback) {
      callback(refusal(judge.recipient?.(address) ?? unknownRecipient(address, options.domains)));
    },
    onData(stream, session, callback) {
      buffer(stream).then((raw) => {
        const verdict = judge.content?.(raw);
        // Oversized content is refused by the server itself, whatever is answered here.
        if (verdict !== undefined || stream.sizeExceeded) return callback(refusal(verdict));
        callback(null, `Ok: queued as ${inbox.take(session, raw)}`);
      }, callback);
    },
    ...options.server,
  };
}

function unknownRecipient(address: string, domains?: readonly string[]): Verdict | undefined {
  const at = address.lastIndexOf("@");
  const known =
    address.slice(0, at).toLowerCase() !== "unknown" &&
    (domains === undefined || domains.includes(address.slice(at + 1).toLowerCase()));
  return known ? undefined : { code: 550, text: `No such user here: ${address}` };
}

function refusal(verdict: Verdict | undefined): Error | null {
  if (verdict === undefined) return null;
  return Object.assign(new Error(verdict.text), { responseCode: verdict.code });
}

function listening(server: SMTPServer): Promise<SMTPServer> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, HOST, () => {
      server.off("error", reject);
      // A client that hangs up in the middle is no fault of the stack's.
      server.on("error", () => {});
      resolve(server);
    });
  });
}

const portOf = (server: SMTPServer): number => (server.server.address() as AddressInfo).port;

const closed = (server: SMTPServer): Promise<void> =>
  new Promise((resolve) => server.close(() => resolve()));
