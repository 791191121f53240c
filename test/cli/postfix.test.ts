/** The command line and a real mail server: Postfix, with Dovecot's SASL behind it. */
import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mtaAvailable } from "../mta/available.ts";
import { mailboxOf } from "../mta/functions.ts";
import { alice, type Mta, startPostfix } from "../mta/servers.ts";
import { type Folder, makeFolder, posthaste } from "./support.ts";

const CAROL = "carol@example.test";
let mta: Mta;
let folder: Folder;

describe.skipIf(!mtaAvailable("postfix"))("posthaste and Postfix", () => {
  beforeAll(async () => {
    mta = await startPostfix();
    folder = makeFolder();
    folder.write("implicit.json", mailboxOf(mta, "implicit"));
    folder.write("both.json", {
      ...mailboxOf(mta, "implicit"),
      host: [`${mta.host}:${mta.ports.submission}`, `${mta.host}:${mta.ports.submission}`],
      security: "starttls",
    });
  });
  afterAll(async () => {
    folder?.remove();
    await mta?.stop();
  });

  const run = (...args: string[]) => posthaste(args, { cwd: folder.path });

  it("sends, and Postfix has delivered the same octets", async () => {
    const octets = randomBytes(300_000);
    folder.write("数据.bin", octets);
    const { code, stdout } = await run(
      ...["send", "--mailbox-file", "implicit.json", "--to", CAROL, "--subject", "我是标题"],
      ...["--text", "你好\n.\n", "--attach", "数据.bin", "--json"],
    );
    expect(code).toBe(0);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({ outcome: "accepted", server: { tls: { protocol: "TLSv1.3" } } });
    const [raw] = await mta.readMail(CAROL, { messageId: result.messageId });
    const { default: PostalMime } = await import("postal-mime");
    const { subject, text, attachments } = await PostalMime.parse(raw as Buffer);
    expect([subject, text?.replaceAll("\r\n", "\n")]).toEqual(["我是标题", "你好\n.\n"]);
    const [attachment] = attachments;
    expect(attachment?.filename).toBe("数据.bin");
    const hash = createHash("sha256").update(new Uint8Array(attachment?.content as ArrayBuffer));
    expect(hash.digest("hex")).toBe(createHash("sha256").update(octets).digest("hex"));
    expect(mta.log()).toContain(`${result.queueId}: client=`);
    expect(stdout).not.toContain(alice.password);
  });

  it("checks both relays: STARTTLS, certificate, login, what Postfix can do", async () => {
    const { code, stdout } = await run("check", "--mailbox-file", "both.json", "--no-dns");
    expect(stdout.match(/^127\.0\.0\.1:\d+, starttls$/gm)).toHaveLength(2);
    expect(stdout.match(/^ {2}ok {3}login as alice@example\.test by /gm)).toHaveLength(2);
    expect(stdout).toMatch(/^ {2}ok {3}connected in .* TLSv1\.3/m);
    expect(stdout).toMatch(/^ {2}ok {3}certificate .*localhost.* days left$/m);
    expect(stdout).toMatch(/^ {2}note CHUNKING +takes content by count/m);
    expect(code).toBe(0);
  });

  it("tells of an unknown recipient and of a wrong password, by exit code", async () => {
    const unknown = ["--to", "nobody@example.test", "--text", "x"];
    const refused = await run("send", "--mailbox-file", "implicit.json", ...unknown);
    expect(refused.stdout).toMatch(/^ {2}rejected {2}nobody@example\.test {2}550 5\.1\.1 /m);
    expect(refused.code).toBe(4);
    folder.write("wrong.json", mailboxOf(mta, "implicit", { password: "wrong horse" }));
    const wrong = await run("send", "--mailbox-file", "wrong.json", "--to", CAROL, "--text", "x");
    expect(wrong.stdout).toMatch(/^auth_failed: /m);
    expect(wrong.stdout + wrong.stderr).not.toContain("wrong horse");
    expect(wrong.code).toBe(78);
  });

  it("what Postfix said is played again", async () => {
    const message = ["--to", CAROL, "--subject", "again", "--text", "x"];
    // A proof of SCRAM's is good for one conversation only.
    folder.write("plain.json", mailboxOf(mta, "implicit", { auth: ["PLAIN"] }));
    const first = await run("send", "--mailbox-file", "plain.json", ...message, "--json");
    folder.write("result.json", first.stdout);
    let again: ReturnType<typeof posthaste> | undefined;
    const replayed = await posthaste(["replay", "result.json"], {
      cwd: folder.path,
      onOutput: (_, output) => {
        const [, port] = /127\.0\.0\.1:(\d+) plays/.exec(output) ?? [];
        const [, ca] = /tls\.ca: (.+)\n/.exec(output) ?? [];
        if (again !== undefined || port === undefined || ca === undefined) return;
        const client = mailboxOf(mta, "implicit", { port: Number(port), tls: {}, auth: ["PLAIN"] });
        folder.write("again.json", client);
        const env = { NODE_EXTRA_CA_CERTS: ca };
        const args = ["send", "--mailbox-file", "again.json", ...message, "--json"];
        again = posthaste(args, { cwd: folder.path, env });
      },
    });
    const { outcome, queueId } = JSON.parse((await again)?.stdout ?? "");
    expect(outcome).toBe("accepted");
    expect(queueId).toBe(JSON.parse(first.stdout).queueId);
    expect(replayed.stdout).toContain("the client said what the conversation says");
    expect(replayed.code).toBe(0);
  });
});
