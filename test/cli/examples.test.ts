/**
 * What the help and the README show is run as it stands, in a shell, against the local stack: with
 * its addresses in the place of those that are shown, and a name server on loopback.
 */
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { startLedger } from "../../infra/local/stack.ts";
import { dynamoTable } from "../../lib/aws/dynamodb.ts";
import { EXIT } from "../../lib/cli/exit.ts";
import { ledgerKey } from "../../lib/submission/identity.ts";
import { unsent } from "../../lib/submission/outcome.ts";
import { type NameServer, startNameServer } from "../support/dns.ts";
import { npmStart, type Started } from "../support/npm-start.ts";
import {
  type Folder,
  inTerminal,
  LAUNCHER,
  makeFolder,
  posthaste,
  type Ran,
  ROOT,
} from "./support.ts";

const USER = "shop@example.com";
/** By what the example is about: the mailbox's own, one that is typed, one in a file. */
const PASSWORDS = { own: "first horse", typed: "second horse", file: "third horse" };
const users: Record<string, string> = { [USER]: PASSWORDS.own };
/** What fills the store comes first, what changes the password last. */
const COMMANDS = [
  "mailbox put",
  "mailbox get",
  "send",
  "check",
  "message",
  "replay",
  "mailbox rotate",
];

const shown: (readonly [string, string])[] = [];
for (const command of COMMANDS) {
  const { stdout } = await posthaste([...command.split(" "), "--help"]);
  for (const [, line] of stdout.matchAll(/^ {2}\$ (npx posthaste .+)$/gm)) {
    shown.push([command, line as string]);
  }
}
const readme = readFileSync(join(ROOT, "README.md"), "utf8");
const section = readme.split(/^## /m).find((text) => text.startsWith("Command line\n")) ?? "";
const documented = [...section.matchAll(/^(npx posthaste .+)$/gm)].map(
  ([, line]) => line as string,
);
const known = new Set(shown.map(([, line]) => line));
const inReadme = documented.filter((line) => !known.has(line));

let mail: MailServer;
let secrets: Secrets;
let ledger: Awaited<ReturnType<typeof startLedger>>;
let names: NameServer;
let folder: Folder;
let stack: Started;
let env: Record<string, string>;

beforeAll(async () => {
  mail = await startMailServer({ users });
  secrets = await startSecrets();
  ledger = await startLedger("ledger");
  names = await startNameServer({
    "example.com": { TXT: ["v=spf1 ip4:127.0.0.1 ip6:::1 -all"] },
    "_dmarc.example.com": { TXT: ["v=DMARC1; p=reject"] },
    localhost: { A: ["127.0.0.1"] },
  });
  folder = makeFolder();
  files();
  stack = await npmStart();
  env = {
    PATH: `${join(folder.path, "bin")}:${process.env["PATH"]}`,
    NODE_EXTRA_CA_CERTS: join(folder.path, "ca.pem"),
    POSTHASTE_RESOLVER: names.address,
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: "local",
    AWS_SECRET_ACCESS_KEY: "local",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    AWS_ENDPOINT_URL_LAMBDA: stack.origin,
    AWS_ENDPOINT_URL_DYNAMODB: ledger.url,
  };
  await noteMessage("order-1234");
});
afterAll(async () => {
  await stack?.stop();
  folder?.remove();
  await Promise.all([mail?.close(), secrets?.close(), ledger?.close(), names?.close()]);
});

/** All that examples name, in the folder where they run. */
function files(): void {
  const { host, ports, ca } = mail;
  const mailbox = { host, port: ports.implicit, security: "implicit", username: USER, tls: { ca } };
  folder.write("mailbox.json", { ...mailbox, password: PASSWORDS.own });
  folder.write("ca.pem", ca);
  folder.write("message.json", { to: "li.lei@example.net", subject: "我是标题", text: "你好\n" });
  folder.write("message.eml", `From: ${USER}\r\nTo: li.lei@example.net\r\n\r\nhello\r\n`);
  folder.write("invoice.pdf", "%PDF-1.4\n");
  folder.write("letter.txt", "Dear Li Lei,\n");
  folder.write("password.txt", `${PASSWORDS.file}\n`);
  const conversation = ["S: 220 hi", "C: QUIT", "S: 221 bye"];
  folder.write("conversation.txt", conversation.map((line) => `  0.1 ms  ${line}\n`).join(""));
  const transcript = conversation.map((line) => ({ at: 0, from: line[0], text: line.slice(3) }));
  folder.write("result.json", { transcript, server: { tls: null } });
  mkdirSync(join(folder.path, "bin"));
  // npx itself has its own test; here it would only cost its time.
  const npx = `#!/bin/sh\nshift\nexec '${process.execPath}' '${LAUNCHER}' "$@"\n`;
  folder.write("bin/npx", npx, 0o755);
  symlinkSync(join(ROOT, "test"), join(folder.path, "test"));
}

async function noteMessage(id: string): Promise<void> {
  Object.assign(process.env, env);
  const error = { code: "timeout", phase: "connect", message: "x" };
  await dynamoTable("ledger").ledger.create(
    {
      key: ledgerKey(undefined, id),
      state: "settled",
      owner: "",
      leaseUntil: 0,
      hash: "",
      date: new Date().toISOString(),
      expires: Math.floor(Date.now() / 1000) + 3600,
      result: { ...unsent(id, "rejected", error), outcome: "accepted" },
    },
    Date.now(),
  );
}

function here(line: string): string {
  return line
    .replaceAll("http://127.0.0.1:3000", stack.origin)
    .replace("smtp.example.com --port 465", `localhost --port ${mail.ports.starttls}`)
    .replace("9.9.9.9", names.address)
    .replace("--port 2465", "--port 0");
}

/** Whether a password is typed, and the one that the server takes meanwhile. */
async function run(line: string): Promise<Pick<Ran, "code"> & { readonly output: string }> {
  const asks = /mailbox (put|rotate)/.test(line) && !/--file|--password-stdin/.test(line);
  const rotates = line.includes("rotate");
  const kind = line.includes("password.txt") ? "file" : rotates ? "typed" : "own";
  users[USER] = PASSWORDS[kind];
  // Whoever put the file's password there before has none left to rotate to.
  const held = readFileSync(join(folder.path, "mailbox.json"), "utf8");
  if (rotates && kind === "file") secrets.put("posthaste/dev/mailbox/billing", held);
  const options = { cwd: folder.path, env };
  if (asks) {
    const typed = [{ after: /Password: /, keys: `${PASSWORDS[kind]}\r` }];
    const { code, screen } = await inTerminal(here(line), typed, options);
    return { code, output: screen };
  }
  const { code, stdout, stderr } = await posthaste(["-c", here(line)], {
    ...options,
    command: ["sh"],
    onOutput: (_, output) => {
      if (output.endsWith("Ctrl-C ends it\n") || /tls\.ca: .+\n$/.test(output)) visit(output);
    },
  });
  return { code, output: stdout + stderr };
}

/** Somebody must call on what `replay` plays, or it waits for ever. */
function visit(output: string): void {
  const socket = connect(Number(/127\.0\.0\.1:(\d+)/.exec(output)?.[1]), "127.0.0.1");
  socket.on("error", () => {});
  socket.end("QUIT\r\n");
  socket.resume();
}

/** A visitor that says QUIT and leaves is not what every conversation has. */
const EXITS: Readonly<Record<string, readonly number[]>> = { replay: [EXIT.ok, EXIT.differs] };

describe("examples of --help", () => {
  it("every command has some", () => {
    expect([...new Set(shown.map(([command]) => command))]).toEqual(COMMANDS);
  });

  it.each(shown)("%s: %s", async (command, line) => {
    const { code, output } = await run(line);
    expect(EXITS[command] ?? [EXIT.ok], output).toContain(code);
    for (const password of Object.values(PASSWORDS)) expect(output).not.toContain(password);
  });
});

describe("README, Command line", () => {
  it("has examples, of every command", () => {
    const named = documented.map((line) => /^npx posthaste (mailbox \w+|\w+)/.exec(line)?.[1]);
    expect([...new Set(named)].sort()).toEqual([...COMMANDS].sort());
  });

  it.each(inReadme.length > 0 ? inReadme : ["npx posthaste --version"])("%s", async (line) => {
    const { code, output } = await run(line);
    expect(code, output).toBe(EXIT.ok);
  });

  it("has every exit code, and no other", () => {
    const stated = [...section.matchAll(/^\| +(\d+) +\|/gm)].map(([, code]) => Number(code));
    expect(stated).toEqual(Object.values(EXIT).sort((a, b) => a - b));
  });
});
