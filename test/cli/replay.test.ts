/** Conversations that are pasted and played: every dialogue of ours, and what people have at hand. */
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Certificate, makeCertificate } from "../../infra/local/certificate.ts";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import { type Deviation, playSessions } from "../../lib/cli/play.ts";
import { sessionsOf } from "../../lib/cli/turns.ts";
import { readConversation } from "../../lib/smtp/dialogue.ts";
import { Connection } from "../../lib/smtp/io/connection.ts";
import { drive } from "../../lib/smtp/io/driver.ts";
import { Stopwatch } from "../../lib/smtp/io/stopwatch.ts";
import { Redactor } from "../../lib/smtp/redact.ts";
import { session } from "../../lib/smtp/session.ts";
import { Transcript } from "../../lib/smtp/transcript.ts";
import { type Dialogue, dialogues, expectReport } from "../support/dialogue.ts";
import { type Folder, makeFolder, posthaste, type Ran } from "./support.ts";

let identity: Certificate;
beforeAll(async () => {
  identity = await makeCertificate({ names: ["server.test"], ips: [] });
});

/** Those that hang on how octets arrive are for a server that sends them so. */
const playable = dialogues()
  .filter(({ only }) => only.length === 0)
  .map((dialogue) => [dialogue.file, dialogue] as const);

describe.concurrent("every dialogue, by its own client", () => {
  it.each(playable)("%s", async (_, dialogue) => {
    const deviations: Deviation[] = [];
    let played: Promise<number> | undefined;
    const port = await new Promise<number>((resolve) => {
      played = playSessions(sessionsOf(dialogue.lines), {
        port: 0,
        identity,
        listening: (address) => resolve(Number(address.split(":")[1])),
        deviated: (deviation) => deviations.push(deviation),
      });
    });
    expectReport(await converse(dialogue, port), dialogue);
    expect(await played).toBe(0);
    expect(deviations).toEqual([]);
  });
});

async function converse(dialogue: Dialogue, port: number) {
  const endsAt = performance.now() + 5000;
  const limits = { endsAt, helloBy: endsAt };
  const connection = await Connection.open({ host: "127.0.0.1", port }, limits);
  const redactor = new Redactor();
  return drive(session(dialogue.plan, dialogue.submissions), connection, {
    tls: { ca: identity.ca, servername: "server.test" },
    transcript: new Transcript(redactor),
    redactor,
    watch: new Stopwatch(),
  });
}

describe("what is pasted", () => {
  const spoken = ["S: 220 hi", "C: EHLO a", "S: 250 hi", "C: QUIT", "S: 221 bye"];
  const said = (text: string, tls = false) =>
    readConversation(text, tls).map(({ from, text: line }) => `${from}: ${line}`);

  it("printed lines, coloured or not, with whatever stands around them", () => {
    const printed = spoken.map((line, at) => `   ${at}.${at} ms  ${line}`);
    expect(
      said(["$ npm run demo", ...printed, "", "delivered: x", '{"outcome": 1}'].join("\n")),
    ).toEqual(spoken);
    const coloured = spoken.map(
      (line) => `\u001b[2m  0.0 ms\u001b[22m  \u001b[36m${line}\u001b[39m`,
    );
    expect(said(coloured.join("\r\n"))).toEqual(spoken);
    expect(said(printed.join("\n"), true)).toEqual(["X: TLS", ...spoken]);
  });

  it("a result, a problem that holds one, the state of a message", () => {
    const transcript = spoken.map((line) => ({ at: 0, from: line[0], text: line.slice(3) }));
    const result = { transcript, server: { tls: null } };
    expect(said(JSON.stringify(result))).toEqual(spoken);
    expect(said(JSON.stringify({ code: "x", result }))).toEqual(spoken);
    const secured = { transcript, server: { tls: { protocol: "TLSv1.3" } } };
    expect(said(JSON.stringify({ state: "settled", result: secured }))).toEqual([
      "X: TLS",
      ...spoken,
    ]);
  });

  it("the handshake that follows STARTTLS", () => {
    const lines = ["S: 220 hi", "C: STARTTLS", "S: 220 go", "C: EHLO a", "S: 250 hi"];
    expect(said(lines.join("\n"))).toEqual([...lines.slice(0, 3), "X: TLS", ...lines.slice(3)]);
  });

  it("several sessions, of relays that were tried in turn", () => {
    const lines = readConversation(
      ["S: 421 no", "C: [a:465: refused. Next relay.]", ...spoken].join("\n"),
    );
    const sessions = sessionsOf(lines);
    expect(
      sessions.map((turns) => turns.flatMap(({ answers }) => answers.map(({ text }) => text))),
    ).toEqual([["421 no"], ["220 hi", "250 hi", "221 bye"]]);
  });

  it.each([
    ["nothing of the kind", "hello\n", "There is no conversation in it"],
    ["one with its middle cut out", "S: 220 hi\nC: [12 lines cut here]\nS: 221 bye\n", "was cut"],
  ])("%s is refused", (_, text, says) => {
    expect(() => readConversation(text)).toThrow(says);
  });
});

describe("posthaste replay", () => {
  const USER = "shop@example.com";
  const PASSWORD = "right horse";
  let mail: MailServer;
  let folder: Folder;
  beforeAll(async () => {
    mail = await startMailServer({ users: { [USER]: PASSWORD } });
    folder = makeFolder();
  });
  afterAll(async () => {
    folder.remove();
    await mail.close();
  });

  const own = { host: "127.0.0.1", username: USER, password: PASSWORD };
  const message = ["--to", "a@example.net", "--text", "x"];
  const send = (mailbox: object, args: readonly string[]) => {
    folder.write("mailbox.json", { ...own, ...mailbox });
    return posthaste(["send", "--mailbox-file", "mailbox.json", ...args], { cwd: folder.path });
  };

  /** Plays the file, and points `client` at it. */
  async function replayed(
    args: readonly string[],
    client: (port: number, ca: string) => Promise<unknown>,
  ): Promise<Ran> {
    let played: Promise<Ran> | undefined;
    const output = await new Promise<string>((resolve) => {
      played = posthaste(["replay", ...args], {
        cwd: folder.path,
        onOutput: (_, printed) => {
          if (printed.includes("Ctrl-C ends it")) resolve(printed);
        },
      });
      played.then(({ stderr }) => resolve(stderr));
    });
    const port = Number(/127\.0\.0\.1:(\d+)/.exec(output)?.[1]);
    await client(port, /tls\.ca: (.+)/.exec(output)?.[1] ?? "");
    return played as Promise<Ran>;
  }

  it("plays what send printed: the same client says the same again", async () => {
    const { ports, ca } = mail;
    const first = await send({ port: ports.starttls, security: "starttls", tls: { ca } }, message);
    folder.write("conversation.txt", first.stdout);
    let outcome = "";
    const { code, stdout } = await replayed(["conversation.txt"], async (port, file) => {
      const tls = { ca: readFileSync(file, "utf8") };
      const again = await send({ port, security: "starttls", tls }, message);
      outcome = again.stdout;
    });
    expect(outcome).toMatch(/^accepted by /m);
    expect(outcome).toContain(/queued as [0-9A-F]+/.exec(first.stdout)?.[0]);
    expect(stdout).toMatch(/^ok {3}the client said what the conversation says$/m);
    expect(code).toBe(0);
  });

  it("plays a result, tells where the client differs, and shows no password of its", async () => {
    const { ports, ca } = mail;
    const first = await send({ port: ports.implicit, security: "implicit", tls: { ca } }, [
      ...message,
      "--json",
    ]);
    folder.write("result.json", first.stdout);
    const { code, stdout } = await replayed(["result.json"], async (port, file) => {
      const tls = { ca: readFileSync(file, "utf8") };
      const changes = { port, security: "implicit", tls, auth: ["LOGIN"], password: "other horse" };
      await send(changes, ["--to", "b@example.net", "--text", "x"]);
    });
    expect(stdout).toMatch(
      /^differs line \d+: expected AUTH PLAIN \*\*\*\n +came +AUTH LOGIN \*\*\*$/m,
    );
    expect(stdout).toMatch(/expected RCPT TO:<a@example\.net>\n +came +RCPT TO:<b@example\.net>$/m);
    for (const secret of ["other horse", Buffer.from("other horse").toString("base64")]) {
      expect(stdout).not.toContain(secret);
    }
    expect(code).toBe(1);
  });

  it("tells of a client that leaves early", async () => {
    folder.write("short.txt", "S: 220 hi\nC: EHLO a\nS: 250 hi\n");
    const { code, stdout } = await replayed(["short.txt"], async (port) => {
      const socket = connect(port, "127.0.0.1");
      await once(socket, "data");
      socket.destroy();
    });
    expect(stdout).toContain("line 2: expected EHLO a");
    expect(stdout).toContain("the client left");
    expect(code).toBe(1);
  });

  it.each([
    ["no conversation", "nothing.txt", 65],
    ["no file", "missing.txt", 66],
  ])("%s", async (_, file, exit) => {
    folder.write("nothing.txt", "hello\n");
    const { code } = await posthaste(["replay", file], { cwd: folder.path });
    expect(code).toBe(exit);
  });

  it.each(["SIGINT", "SIGTERM"] as const)("takes its authority along on %s", async (signal) => {
    const file = folder.write("waits.txt", "S: 220 hi\nC: QUIT\nS: 221 bye\n");
    let made = "";
    const { code } = await posthaste(["replay", file, "--tls"], {
      onOutput: (child, output) => {
        made ||= /tls\.ca: (.+)\n/.exec(output)?.[1] ?? "";
        if (existsSync(made)) child.kill(signal);
      },
    });
    expect(code).toBe(130);
    expect(made).toContain("posthaste-replay-");
    expect(existsSync(dirname(made))).toBe(false);
  });

  it("says why where it cannot begin", async () => {
    folder.write("tls.txt", "X: TLS\nS: 220 hi\n");
    folder.write("key.pem", "hunter2");
    const run = (...args: string[]) =>
      posthaste(["replay", "tls.txt", ...args], { cwd: folder.path });
    const bad = await run("--cert", "key.pem", "--key", "key.pem");
    expect(bad).toMatchObject({ code: 65, stderr: expect.stringContaining("must be PEM") });
    expect(bad.stderr).not.toContain("hunter2");
    const taken = await run("--port", String(mail.ports.implicit));
    expect(taken).toMatchObject({ code: 69, stderr: expect.stringContaining("(EADDRINUSE)") });
    expect((await run("--cert", "key.pem")).code).toBe(64);
  });
});
