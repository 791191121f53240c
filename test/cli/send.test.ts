/** `send` straight from this machine, as a process, against a mail server that is not ours. */
import type { ChildProcess } from "node:child_process";
import { type AddressInfo, createServer } from "node:net";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { faulty } from "../../infra/local/faults.ts";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import { exitOf } from "../../lib/cli/exit.ts";
import { type Folder, makeFolder, onTerminal, posthaste, type RunOptions } from "./support.ts";

const USER = "shop@example.com";
const PASSWORD = "p@ss:wörd/100%";
let mail: MailServer;
let folder: Folder;
let mailbox: Record<string, unknown>;

beforeAll(async () => {
  mail = await startMailServer({ users: { [USER]: PASSWORD }, ...faulty(() => mail.inbox) });
  folder = makeFolder();
  mailbox = { ...mail.mailbox(USER, PASSWORD) };
  folder.write("mailbox.json", mailbox);
  folder.write("wrong.json", { ...mailbox, password: "wrong horse" });
});
afterAll(async () => {
  folder.remove();
  await mail.close();
});

function send(args: readonly string[], options: RunOptions = {}, box = "mailbox.json") {
  return posthaste(["send", "--mailbox-file", box, ...args], { cwd: folder.path, ...options });
}

const last = () => mail.inbox.messages.at(-1)?.raw.toString("utf8") ?? "";

describe("the message", () => {
  it("comes from options, and the conversation is printed", async () => {
    folder.write("订单.csv", "a,b\r\n1,2\r\n");
    const { code, stdout, stderr } = await send([
      ...["--to", "Li Lei <li.lei@example.net>", "--cc", "c@example.net", "--bcc", "b@example.net"],
      ...[
        "--subject",
        "我是标题",
        "--text",
        "你好",
        "--html",
        "<p>你好</p>",
        "--attach",
        "订单.csv",
      ],
      ...["--header", "X-Campaign: 42", "--reply-to", "help@example.com", "--from", USER],
    ]);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ +\d+\.\d ms {2}S: 220 /m);
    expect(stdout).toMatch(/^ +\d+\.\d ms {2}C: AUTH PLAIN \*\*\*$/m);
    expect(stdout).toMatch(/^accepted by 127\.0\.0\.1:\d+, queued as [0-9A-F]+$/m);
    expect(stdout).toMatch(/^ {2}accepted {2}b@example\.net {2}250 2\.1\.5 Accepted$/m);
    expect(mail.inbox.messages.at(-1)?.to).toEqual([
      "li.lei@example.net",
      "c@example.net",
      "b@example.net",
    ]);
    expect(last()).toMatch(/^X-Campaign: 42\r$/m);
    expect(last()).toMatch(/^Reply-To: .*help@example\.com/m);
    expect(last()).toContain("filename*0*=utf-8''%E8%AE%A2");
    expect(last()).not.toMatch(/^Bcc/m);
  });

  it("takes its text from standard input, as mail(1) does", async () => {
    const { code } = await send(["--to", "a@example.net"], { input: "from a pipe\n" });
    expect(code).toBe(0);
    expect(last()).toContain("from a pipe");
  });

  it("is a request in a file, whose fields options replace", async () => {
    folder.write("message.json", { to: "a@example.net", subject: "one", text: "x" });
    expect((await send(["message.json", "--subject", "two"])).code).toBe(0);
    expect(last()).toMatch(/^Subject: two\r$/m);
  });

  it("is a whole message, byte for byte", async () => {
    folder.write(
      "message.eml",
      `From: ${USER}\r\nTo: r@example.net\r\nX-Odd:  two  spaces\r\n\r\nraw\r\n`,
    );
    const { code } = await send(["message.eml"]);
    expect(code).toBe(0);
    expect(mail.inbox.messages.at(-1)?.to).toEqual(["r@example.net"]);
    expect(last()).toContain("X-Odd:  two  spaces\r\n");
  });

  it("and the mailbox may come from standard input, but not both", async () => {
    const input = JSON.stringify(mailbox);
    expect((await send(["message.json"], { input }, "-")).code).toBe(0);
    const both = await send(["-"], { input }, "-");
    expect(both).toMatchObject({ code: 64, stdout: "" });
    expect(both.stderr).toContain("Standard input cannot be both");
  });
});

describe("exit codes", () => {
  it.each([
    ["accepted", ["ok@example.net"], 0],
    ["partial", ["ok@example.net", "reject@example.net"], 2],
    ["uncertain", ["lost@example.net"], 3],
    ["rejected", ["reject@example.net"], 4],
    ["deferred", ["defer@example.net"], 75],
  ])("%s: %j gives %i", async (outcome, to, exit) => {
    const args = to.flatMap((address) => ["--to", address]);
    const { code, stdout } = await send([...args, "--text", "x", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ outcome });
    expect(code).toBe(exit);
  });

  it.each([
    ["the wrong password", "wrong.json", ["--to", "a@b.test", "--text", "x"], 78, /^deferred/m],
    [
      "our own policy",
      "mailbox.json",
      ["--from", "x@y.test", "--to", "a@b.test", "--text", "x"],
      4,
      /^rejected/m,
    ],
    [
      "a malformed address",
      "mailbox.json",
      ["--to", "nonsense", "--text", "x"],
      65,
      /^ {2}to\.0: /m,
    ],
    ["no recipient", "mailbox.json", ["--text", "x"], 65, /at least one recipient/],
  ])("%s", async (_, box, args, exit, says) => {
    const { code, stdout } = await send(args, {}, box);
    expect(stdout).toMatch(says);
    expect(stdout).toMatch(/^next: /m);
    expect(code).toBe(exit);
  });

  it.each([
    [
      "an unknown option, and the nearest",
      ["send", "--tp", "a@b"],
      64,
      /unknown option '--tp'\n\(Did you mean --to\?\)/,
    ],
    [
      "an unknown command, and the nearest",
      ["sned"],
      64,
      /unknown command 'sned'\n\(Did you mean send\?\)/,
    ],
    ["no way to go", ["send", "--to", "a@b.test", "--text", "x"], 64, /Which way\?/],
    ["two ways", ["send", "--url", "http://127.0.0.1:1", "--function", "f"], 64, /Only one of/],
    [
      "a header that is none",
      ["send", "--mailbox-file", "x", "--header", "x", "--text", "x"],
      64,
      /Name: value/,
    ],
    ["a number that is none", ["send", "--timeout", "soon"], 64, /whole number/],
    [
      "a file that is not there",
      ["send", "--mailbox-file", "no.json", "--text", "x"],
      66,
      /no\.json cannot be read \(ENOENT\)/,
    ],
    [
      "a request that is no JSON",
      ["send", "--mailbox-file", "mailbox.json", "broken.json"],
      65,
      /is not JSON/,
    ],
    ["a plain URL elsewhere", ["send", "--url", "http://example.com", "--text", "x"], 64, /https/],
    [
      "nobody there",
      ["send", "--url", "http://127.0.0.1:1", "--text", "x"],
      69,
      /not reached \(ECONNREFUSED\)/,
    ],
  ])("%s", async (_, args, exit, says) => {
    folder.write("broken.json", '{"to": "secret@example.net"');
    const { code, stdout, stderr } = await posthaste(args, { cwd: folder.path });
    expect(stdout).toBe("");
    expect(stderr).toMatch(says);
    expect(stderr).not.toContain("secret@");
    expect(code).toBe(exit);
  });
});

describe("what is printed", () => {
  const message = ["--to", "a@example.net", "--text", "x"];

  it("--json is the result and nothing else", async () => {
    const { stdout, stderr } = await send([...message, "--json", "--key", "order-1"]);
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toMatchObject({ id: "order-1", outcome: "accepted" });
    expect(stdout).toBe(`${JSON.stringify(JSON.parse(stdout), null, 2)}\n`);
  });

  it("--verbose says where the time went", async () => {
    const { stdout } = await send([...message, "--verbose"]);
    expect(stdout).toMatch(/^connect [\d.]+ ms, TLS [\d.]+ ms, login /m);
    expect(stdout).toMatch(/^TLSv1\.3, \S+, login by PLAIN, offers PIPELINING /m);
  });

  it("is plain in a pipe, and coloured on a terminal", async () => {
    const colour = "\u001b[";
    expect((await send(message)).stdout).not.toContain(colour);
    const args = ["send", "--mailbox-file", "mailbox.json", ...message];
    const terminal = await onTerminal(args, [], { cwd: folder.path });
    expect(terminal.code).toBe(0);
    expect(terminal.screen).toContain(`${colour}36mC: DATA`);
    const plain = await onTerminal(args, [], { cwd: folder.path, env: { NO_COLOR: "1" } });
    expect(plain.code).toBe(0);
    expect(plain.screen).not.toContain(colour);
    expect((await send(message, { env: { FORCE_COLOR: "1" } })).stdout).toContain(
      `${colour}36mC: DATA`,
    );
  });

  it("holds no secret, right or wrong, in any form", async () => {
    for (const [box, password] of [
      ["mailbox.json", PASSWORD],
      ["wrong.json", "wrong horse"],
    ] as const) {
      for (const form of [["--json"], ["--verbose"]]) {
        const { stdout, stderr } = await send([...message, ...form], {}, box);
        const base64 = Buffer.from(password).toString("base64");
        const plain = Buffer.from(`\0${USER}\0${password}`).toString("base64");
        for (const secret of [password, base64, plain])
          expect(stdout + stderr).not.toContain(secret);
      }
    }
  });

  it("no server drives the terminal", async () => {
    const evil = await startSilent(".", () => {}, "250 \u001b]0;owned\u0007 \u202Egnp");
    folder.write("evil.json", { host: "127.0.0.1", port: evil.port, security: "none", from: USER });
    const { stdout, code } = await send([...message, "--timeout", "2"], {}, "evil.json");
    await evil.close();
    expect(code).toBe(3);
    expect(stdout).toContain("\\u202egnp");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there
    expect(stdout).not.toMatch(/[\x00-\x09\x0b-\x1f\u202e]/);
  });

  it("warns of a mailbox that others can read", async () => {
    folder.write("open.json", mailbox, 0o644);
    const { stderr, code } = await send(message, {}, "open.json");
    expect(code).toBe(0);
    expect(stderr).toBe(
      "warning: others can read open.json, which holds a password: chmod 600 open.json\n",
    );
  });

  it("names a variable that is wrong, and no value of it", async () => {
    const { code, stderr } = await send(message, { env: { ALLOWED_RECIPIENTS: "hunter2" } });
    expect(stderr).toMatch(/^error: The environment is not usable: ALLOWED_RECIPIENTS must be/);
    expect(stderr).not.toContain("hunter2");
    expect(code).toBe(78);
  });

  it("names what is wrong with a mailbox, and no value of it", async () => {
    folder.write("bad.json", { ...mailbox, pasword: "hunter2" });
    const { stdout, code } = await send(message, {}, "bad.json");
    expect(code).toBe(78);
    expect(stdout).toContain("pasword is not a known field");
    expect(stdout).not.toContain("hunter2");
  });
});

describe("long work", () => {
  it("shows progress on a terminal, and nowhere else", async () => {
    const big = await startMailServer({ users: { [USER]: PASSWORD }, maxMessageBytes: 60e6 });
    folder.write("big.json", {
      ...mailbox,
      port: big.ports.implicit,
      tls: { ca: big.ca },
      maxMessageBytes: 60e6,
    });
    folder.write("big.bin", Buffer.alloc(25 * 1024 * 1024, 7));
    const args = ["send", "--mailbox-file", "big.json", "--to", "a@b.test", "--attach", "big.bin"];
    const terminal = await onTerminal(args, [], { cwd: folder.path });
    const piped = await posthaste(args, { cwd: folder.path });
    const received = big.inbox.messages.map(({ raw }) => raw.length);
    await big.close();
    expect(terminal.screen).toMatch(/sent [\d.]+ of 3\d\.\d MB \(\d+ %\)/);
    expect(terminal.code).toBe(0);
    expect(piped).toMatchObject({ code: 0, stderr: "" });
    expect(received).toHaveLength(2);
    expect(Math.min(...received)).toBeGreaterThan(25 * 1024 * 1024);
  });

  it.each([
    ["before the message is complete: nothing was taken", "EHLO", "deferred"],
    ["after it: nobody can tell", ".", "uncertain"],
  ])("Ctrl-C %s", async (_, line, outcome) => {
    let child: ChildProcess | undefined;
    const server = await startSilent(line, () => child?.kill("SIGINT"));
    folder.write("silent.json", {
      host: "127.0.0.1",
      port: server.port,
      security: "none",
      from: USER,
    });
    const args = ["--to", "a@b.test", "--text", "x", "--json"];
    const started = (process: ChildProcess) => {
      child = process;
    };
    const { code, stdout, stderr } = await send(args, { started }, "silent.json");
    await server.close();
    expect(stderr).toContain("Interrupted");
    expect(JSON.parse(stdout)).toMatchObject({ outcome });
    expect(code).toBe(exitOf(JSON.parse(stdout)));
  });
});

/** A server that answers each line with success, until one comes at which it falls silent. */
async function startSilent(at: string, silent: () => void, reply = "250 ok") {
  const server = createServer((socket) => {
    let content = false;
    socket.on("error", () => {});
    socket.write("220 silent\r\n");
    createInterface({ input: socket }).on("line", (line) => {
      if (line.startsWith(at)) return silent();
      if (content) return;
      content = line === "DATA";
      socket.write(content ? "354 go on\r\n" : `${reply}\r\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { port, close: () => new Promise((resolve) => server.close(resolve)) };
}
