/**
 * The watched mailbox over IMAP (RFC 9051), by imapflow. TLS comes first and is verified; the server
 * is asked for nothing but the probes' header field and date, so no other mail is read. What it says
 * is quoted in no error: only imapflow's and Node's codes are.
 */
import { ImapFlow } from "imapflow";
import { type Inbox, type Sighting, WatchError } from "./ports.ts";
import { MARK, readMark } from "./probe.ts";
import type { OAuth2, Watched } from "./watched.ts";

/** Milliseconds to connect and for the greeting; for anything else that takes its time. */
const CONNECT_MS = 10_000;
const QUIET_MS = 30_000;
const LOGOUT_MS = 1_000;
/** The newest so many of a folder are looked at: a probe is among them, or the folder is a flood. */
const MOST_MESSAGES = 1_000;

export interface Opening {
  readonly watched: Watched;
  /** Fetches an access token, where the login is by one. @throws WatchError */
  readonly token: (oauth2: OAuth2) => Promise<string>;
}

/**
 * @param milliseconds after which the connection is closed, whatever goes on
 * @throws WatchError
 */
export async function openImap({ watched, token }: Opening, milliseconds: number): Promise<Inbox> {
  const { host, port, security, username: user, login, tls } = watched;
  const auth =
    "oauth2" in login
      ? { user, accessToken: await token(login.oauth2) }
      : { user, pass: login.password };
  const { servername, ...trust } = tls;
  const client = new ImapFlow({
    host,
    port,
    secure: security === "implicit",
    ...(security === "starttls" && { doSTARTTLS: true }),
    ...(servername !== undefined && { servername }),
    tls: { minVersion: "TLSv1.2", ...trust, rejectUnauthorized: true },
    auth,
    clientInfo: { name: "posthaste" },
    connectionTimeout: Math.min(CONNECT_MS, milliseconds),
    greetingTimeout: CONNECT_MS,
    socketTimeout: QUIET_MS,
    disableAutoIdle: true,
    disableCompression: true,
    logger: false,
  });
  let expired = false;
  // Whatever ends the connection is told by the command that it interrupts.
  client.on("error", () => {});
  const timer = setTimeout(() => {
    expired = true;
    client.close();
  }, milliseconds);
  const tried = async <T>(attempt: () => Promise<T>): Promise<T> => {
    try {
      return await attempt();
    } catch (error) {
      throw explain(error, expired);
    }
  };
  try {
    await tried(() => client.connect());
    const folders = await tried(() => foldersOf(client));
    let known = 0;
    return {
      look: (since) =>
        tried(async () => {
          const { found, count } = await look(client, folders, since);
          known = count;
          return found;
        }),
      remove: (found) => tried(() => remove(client, found)),
      wait: (most) => tried(() => news(client, known, most)),
      async close() {
        clearTimeout(timer);
        const left = setTimeout(() => client.close(), LOGOUT_MS);
        await client.logout().catch(() => {});
        clearTimeout(left);
        client.close();
      },
    };
  } catch (error) {
    clearTimeout(timer);
    client.close();
    throw error;
  }
}

interface Folder {
  readonly path: string;
  readonly spam: boolean;
}

/** The inbox, and where spam goes by the server's word (RFC 6154) or by the folder's name. */
async function foldersOf(client: ImapFlow): Promise<readonly Folder[]> {
  const listed = await client.list();
  const junk = listed.filter(({ specialUse }) => specialUse === "\\Junk");
  return [{ path: "INBOX", spam: false }, ...junk.map(({ path }) => ({ path, spam: true }))];
}

/** The probes, and how many messages of all kinds the inbox holds. */
async function look(
  client: ImapFlow,
  folders: readonly Folder[],
  since: Date,
): Promise<{ readonly found: readonly Sighting[]; readonly count: number }> {
  const found: Sighting[] = [];
  let count = 0;
  for (const { path, spam } of folders) {
    const { exists } = await client.mailboxOpen(path);
    if (!spam) count = exists;
    // Servers differ in what they search headers for; every one knows the date.
    const all = await client.search({ since }, { uid: true });
    const uids = (all || []).slice(-MOST_MESSAGES);
    if (uids.length === 0) continue;
    const query = { uid: true, internalDate: true, headers: [MARK] };
    for (const { uid, internalDate, headers } of await client.fetchAll(uids, query, {
      uid: true,
    })) {
      const id = readMark(headers?.toString("latin1") ?? "");
      if (id === undefined) continue;
      const arrivedAt = new Date(internalDate ?? Number.NaN).getTime() || Date.now();
      found.push({ id, folder: path, spam, arrivedAt, uid });
    }
  }
  return { found, count };
}

async function remove(client: ImapFlow, found: readonly Sighting[]): Promise<void> {
  for (const folder of new Set(found.map((one) => one.folder))) {
    const uids = found.filter((one) => one.folder === folder).map(({ uid }) => uid);
    await client.mailboxOpen(folder);
    await client.messageDelete(uids, { uid: true });
  }
}

/**
 * IDLE (RFC 2177) on the inbox, broken off by an arrival or the end of the time.
 * @param known how many messages it held when it was looked into: one may have come since
 */
async function news(client: ImapFlow, known: number, milliseconds: number): Promise<void> {
  const { exists } = await client.mailboxOpen("INBOX");
  if (exists !== known) return;
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      client.once("exists", () => resolve());
      client.once("close", () => reject(new Error("The connection was closed.")));
      timer = setTimeout(resolve, milliseconds);
      // It ends with the next command; where the server lacks it, imapflow polls.
      client.idle().catch(reject);
    });
  } finally {
    clearTimeout(timer);
    client.removeAllListeners("exists");
    client.removeAllListeners("close");
  }
}

const UNTRUSTED =
  /^(ERR_TLS_CERT_ALTNAME_INVALID|CERT_|.*_CERT(_|$)|UNABLE_TO_|SELF_SIGNED|INVALID_(CA|PURPOSE))/;
const UNREACHABLE = /^(E[A-Z]+|ERR_(SSL|TLS)_\w+|CONNECT_TIMEOUT|STARTTLS_\w+)$/;
const SLOW = /^(GREETING_TIMEOUT|UPGRADE_TIMEOUT|ETIMEOUT|ETIMEDOUT|CONNECT_TIMEOUT)$/;

function explain(error: unknown, expired: boolean): WatchError {
  const { code, authenticationFailed, tlsFailed } = (error ?? {}) as {
    readonly code?: unknown;
    readonly authenticationFailed?: boolean;
    readonly tlsFailed?: boolean;
  };
  const name = typeof code === "string" && /^\w{1,64}$/.test(code) ? code : "";
  if (authenticationFailed) {
    const message = "The watched mailbox refuses the login: mend its secret (CANARY_SECRET_ID).";
    return new WatchError("watch_login_refused", message);
  }
  if (UNTRUSTED.test(name)) {
    const message = `The watched mailbox's certificate is not trusted (${name}).`;
    return new WatchError("watch_certificate_invalid", message);
  }
  if (expired || SLOW.test(name)) {
    return new WatchError("watch_timeout", "The watched mailbox did not answer in time.");
  }
  if (tlsFailed || UNREACHABLE.test(name)) {
    const why = name || "no STARTTLS";
    return new WatchError("watch_unreachable", `The watched mailbox is not reached (${why}).`);
  }
  const message = `The watched mailbox could not be looked into (${name || "unknown"}).`;
  return new WatchError("watch_failed", message);
}
