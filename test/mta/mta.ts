/** What every real mail server of the tests offers, and the parts they are all made of. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Certificates, type KeyPair, makeCertificates } from "./certificates.ts";

export const host = "127.0.0.1";
export const domain = "example.test";

export type User = { readonly username: string; readonly password: string };

/** Characters that URLs, SASL, shells and configuration files each take for something else. */
export const alice: User = {
  username: `alice@${domain}`,
  password: "p@ss:w0rd/%41+ \"q'u\\o=t,e{}#;$HOME",
};
/** Outside ASCII, and stable under SASLprep. */
export const bob: User = { username: `bob@${domain}`, password: "pässwörd 密码🔑" };

/** Mailboxes that no user logs in to: a UTF-8 local part, and one in an internationalised domain. */
export const idnDomain = "xn--fsqu00a.xn--0zwm56d"; // 例子.测试
export const defaultMailboxes = [`用户@${domain}`, `carol@${domain}`, `bob@${idnDomain}`];

export type MtaOptions = {
  /** Who may log in, each with a mailbox of the same name; alice and bob unless given. */
  readonly users?: readonly [User, ...User[]];
  /** Further addresses that get mail. */
  readonly mailboxes?: readonly string[];
  /** SASL mechanisms to offer, where the server lets us choose. */
  readonly mechanisms?: readonly string[];
};

export type ReadMail = {
  /** Wait for the message with this Message-ID (with its angle brackets), and return only it. */
  readonly messageId?: string;
  /** Wait until there are so many: 1 unless given. */
  readonly count?: number;
  /** 10 000 unless given. */
  readonly timeoutMs?: number;
};

export type MtaPorts = {
  /** TLS from the first byte. */
  readonly smtps: number;
  /** Plaintext at first; STARTTLS required before AUTH. */
  readonly submission: number;
  /** No TLS at all; AUTH offered in the clear. */
  readonly plain: number;
};

export type Mta = {
  readonly name: string;
  readonly version: string;
  readonly host: typeof host;
  /** The name the certificate is valid for; it is valid for 127.0.0.1 too. */
  readonly servername: "localhost";
  readonly ports: MtaPorts;
  readonly ca: string;
  /** A client certificate of the first user. */
  readonly client: KeyPair;
  readonly users: readonly [User, ...User[]];
  readonly domain: string;
  readonly mechanisms: readonly string[];
  /** Where it serves its users' mail over IMAP: TLS at once, and with STARTTLS. */
  readonly imap?: { readonly imaps: number; readonly imap: number };
  maildir(address: string): string;
  /** Delivered messages, oldest first, as the server wrote them: LF line ends, trace fields on top. */
  readMail(address: string, options?: ReadMail): Promise<Buffer[]>;
  /** The server's own log so far. */
  log(): string;
  stop(): Promise<void>;
};

/** What a server is built from: a folder of its own, certificates, people and ports. */
export type Site = {
  readonly folder: string;
  readonly certificates: Certificates;
  readonly users: readonly [User, ...User[]];
  readonly mailboxes: readonly string[];
  readonly ports: MtaPorts;
  readonly mail: string;
};

/** A short path open to all: Unix sockets live below it, and servers that dropped their privileges. */
export function makeFolder(prefix: string): string {
  const base = tmpdir();
  const folder = mkdtempSync(join(base.length <= 24 ? base : "/tmp", `${prefix}-`));
  chmodSync(folder, 0o755);
  return folder;
}

export async function prepare(prefix: string, options: MtaOptions): Promise<Site> {
  const users = options.users ?? ([alice, bob] as const);
  const folder = makeFolder(prefix);
  const [smtps, submission, plain] = await freePorts(3);
  return {
    folder,
    certificates: makeCertificates(join(folder, "tls"), users[0].username),
    users,
    mailboxes: [
      ...new Set([...users.map((u) => u.username), ...(options.mailboxes ?? defaultMailboxes)]),
    ],
    ports: { smtps, submission, plain } as MtaPorts,
    mail: join(folder, "mail"),
  };
}

/**
 * Free ports below the range the kernel hands to outgoing connections, so that nothing takes one
 * between this look and the server's own bind but another server of ours: drawn by chance for that.
 */
export async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  while (found.size < count) {
    const port = 10_240 + Math.floor(Math.random() * 21_760);
    if (await bindable(port)) found.add(port);
  }
  return [...found];
}

function bindable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

export type Daemon = {
  readonly process: ChildProcess;
  /** What it printed. */
  output(): string;
  /** SIGTERM, then SIGKILL to its whole process group for what is left. */
  stop(): Promise<void>;
  /** SIGKILL at once, for a server that has nothing to lose and takes its time to say goodbye. */
  kill(): Promise<void>;
};

/**
 * Starts a server in a process group of its own. A shell waits beside it for the end of this
 * process: should that come with no time to clean up, it ends the group and removes the folder.
 */
export function startDaemon(
  folder: string,
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Daemon {
  const child = spawn(file, args, {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...env },
  });
  let text = "";
  child.on("error", (error) => {
    text += `${error.message}\n`;
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  const guard = spawn(
    "/bin/sh",
    [
      "-c",
      'read -r over && exit; kill -s KILL -- "-$1"; rm -rf -- "$2"',
      "sh",
      `${child.pid}`,
      folder,
    ],
    { detached: true, stdio: ["pipe", "ignore", "ignore"] },
  );
  guard.stdin.on("error", () => undefined);
  guard.unref();
  const killGroup = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    } catch {
      // Gone already.
    }
  };
  const exited = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
  });
  const finish = async (graceMs: number) => {
    const forced = setTimeout(killGroup, graceMs);
    await exited;
    clearTimeout(forced);
    killGroup();
    guard.stdin.end("over\n");
  };
  return {
    process: child,
    output: () => text,
    stop() {
      child.kill("SIGTERM");
      return finish(3_000);
    },
    kill() {
      killGroup();
      return finish(3_000);
    },
  };
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resolves when the server greets on this port. */
export async function greeted(port: number, daemon: Daemon, log: () => string): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!(await greets(port))) {
    const dead = daemon.process.exitCode !== null || daemon.process.signalCode !== null;
    if (dead || Date.now() > deadline) {
      throw new Error(
        `the server did not start${dead ? " (it exited)" : ""}:\n${daemon.output()}\n${log()}`,
      );
    }
    await sleep(15);
  }
}

/** Connects, waits for the 220 line and says QUIT. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host });
    let text = "";
    socket.setTimeout(5_000, () => socket.destroy());
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(text.startsWith("220")));
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (text.startsWith("220") && text.includes("\n")) socket.end("QUIT\r\n");
    });
  });
}

export async function until(condition: () => boolean, what: string, ms = 10_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`gave up waiting for ${what}`);
    await sleep(10);
  }
}

export function readLog(...paths: string[]): string {
  return paths
    .filter((path) => existsSync(path))
    .map((path) => readFileSync(path, "utf8"))
    .join("");
}

/** The half of an Mta that is the same for every server that delivers to maildirs. */
export function mailboxes(site: Site): Pick<Mta, "maildir" | "readMail"> {
  const maildir = (address: string) => join(site.mail, address.replaceAll("/", "_"));
  return {
    maildir,
    async readMail(address, { messageId, count = 1, timeoutMs = 10_000 } = {}) {
      const deadline = Date.now() + timeoutMs;
      for (;;) {
        let messages = delivered(maildir(address));
        if (messageId !== undefined) {
          messages = messages.filter((message) => hasMessageId(message, messageId));
        }
        if (messages.length >= count) return messages;
        if (Date.now() > deadline) {
          const wanted = messageId ?? `${count} message(s)`;
          throw new Error(`${address}: ${wanted} not delivered in ${timeoutMs} ms`);
        }
        await sleep(15);
      }
    },
  };
}

function delivered(maildir: string): Buffer[] {
  const files: { path: string; at: number }[] = [];
  for (const part of ["new", "cur"]) {
    const folder = join(maildir, part);
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      files.push({ path, at: statSync(path).mtimeMs });
    }
  }
  return files.sort((a, b) => a.at - b.at).map(({ path }) => readFileSync(path));
}

function hasMessageId(message: Buffer, messageId: string): boolean {
  const text = message.toString("latin1");
  const end = text.search(/\r?\n\r?\n/);
  const headers = end < 0 ? text : text.slice(0, end);
  return (/^message-id:\s*(\S+)/im.exec(headers)?.[1] ?? "") === messageId;
}

export async function discard(folder: string): Promise<void> {
  // A server's last child may still be writing its log.
  for (let attempt = 0; attempt < 5; attempt++) {
    try {
      rmSync(folder, { recursive: true, force: true });
      return;
    } catch {
      await sleep(50);
    }
  }
}
