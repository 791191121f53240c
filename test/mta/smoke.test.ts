/** The harness itself: nodemailer, which we did not write, sends by every server it starts. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { createTransport } from "nodemailer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startDelayProxy } from "../support/proxy.ts";
import { mtaAvailable } from "./available.ts";
import { type Mta, startExim, startOpenSmtpd, startPostfix } from "./servers.ts";

type Door = { port: number; secure: boolean; method: string; user?: number };

function transport(mta: Mta, { port, secure, method, user = 0 }: Door) {
  const { username, password } = mta.users[user] ?? mta.users[0];
  return createTransport({
    host: mta.servername,
    port,
    secure,
    requireTLS: !secure,
    tls: { ca: mta.ca },
    authMethod: method,
    auth: { user: username, pass: password },
  });
}

async function sendAndRead(mta: Mta, door: Door, to: string): Promise<string> {
  const messageId = `<${crypto.randomUUID()}@${mta.domain}>`;
  await transport(mta, door).sendMail({
    from: `alice@${mta.domain}`,
    to,
    subject: `by ${door.method}`,
    text: `hello by ${door.method}\n.\n..\n`,
    messageId,
  });
  const [message] = await mta.readMail(to, { messageId });
  return message?.toString() ?? "";
}

/** What holds of every server: each door, each mechanism nodemailer knows, each user's password. */
function everyServer(start: () => Promise<Mta>, methods: readonly string[], unknown: number) {
  let mta: Mta;
  beforeAll(async () => {
    mta = await start();
  });
  afterAll(() => mta?.stop());

  it.each(methods.flatMap((method) => [0, 1].map((user) => ({ method, user }))))(
    "takes mail by implicit TLS and by STARTTLS: $method, user $user",
    async (how) => {
      const { smtps, submission } = mta.ports;
      const to = `carol@${mta.domain}`;
      const first = await sendAndRead(mta, { ...how, port: smtps, secure: true }, to);
      expect(first).toContain(`hello by ${how.method}\n.\n..\n`);
      const second = await sendAndRead(mta, { ...how, port: submission, secure: false }, to);
      expect(second).toMatch(/TLS_?v?1\.3/);
    },
  );

  it(`answers ${unknown} to an unknown recipient, and takes the known one beside it`, async () => {
    const door = { port: mta.ports.smtps, secure: true, method: "PLAIN" };
    const messageId = `<${crypto.randomUUID()}@${mta.domain}>`;
    const sent = await transport(mta, door).sendMail({
      from: `alice@${mta.domain}`,
      to: [`nobody@${mta.domain}`, `bob@${mta.domain}`],
      text: "to one of two",
      messageId,
    });
    expect(sent.rejected).toEqual([`nobody@${mta.domain}`]);
    expect(sent.rejectedErrors?.[0]?.responseCode).toBe(unknown);
    expect(sent.accepted).toEqual([`bob@${mta.domain}`]);
    expect(await mta.readMail(`bob@${mta.domain}`, { messageId })).toHaveLength(1);
  });

  it("answers 535 to a wrong password, soon", async () => {
    const wrong = createTransport({
      host: mta.servername,
      port: mta.ports.smtps,
      secure: true,
      tls: { ca: mta.ca },
      auth: { user: mta.users[0].username, pass: "wrong" },
    });
    const started = performance.now();
    await expect(wrong.verify()).rejects.toMatchObject({ responseCode: 535 });
    expect(performance.now() - started).toBeLessThan(1_500);
  });

  it("takes nothing from a stranger", async () => {
    const stranger = createTransport({
      host: mta.servername,
      port: mta.ports.smtps,
      secure: true,
      tls: { ca: mta.ca },
    });
    const sending = stranger.sendMail({
      from: "x@example.net",
      to: `bob@${mta.domain}`,
      text: "x",
    });
    await expect(sending).rejects.toMatchObject({
      responseCode: expect.toSatisfy((code: number) => code >= 530 && code < 560),
    });
  });
}
describe.skipIf(!mtaAvailable("postfix"))("Postfix", () => {
  everyServer(startPostfix, ["PLAIN", "LOGIN", "CRAM-MD5"], 550);

  it("counts round trips as nodemailer makes them, through the delaying proxy", async () => {
    const mta = await startPostfix();
    const rttMs = 10;
    try {
      for (const [port, secure, expected] of [
        [mta.ports.smtps, true, 7],
        [mta.ports.submission, false, 9],
      ] as const) {
        const target = { host: mta.host, port };
        const proxy = await startDelayProxy({ target, rttMs });
        const started = performance.now();
        await transport(mta, { port: proxy.port, secure, method: "PLAIN" }).sendMail({
          from: `alice@${mta.domain}`,
          to: `bob@${mta.domain}`,
          text: "x",
        });
        expect(proxy.stats().roundTrips).toBe(expected);
        expect(performance.now() - started).toBeGreaterThanOrEqual(expected * rttMs - 1);
        await proxy.close();
      }
    } finally {
      await mta.stop();
    }
  });

  it("runs beside others of its kind, and leaves nothing behind", async () => {
    const several = await Promise.all([startPostfix(), startPostfix(), startPostfix()]);
    for (const mta of several) {
      const door = { port: mta.ports.smtps, secure: true, method: "PLAIN" };
      await sendAndRead(mta, door, `用户@${mta.domain}`);
    }
    const folders = several.map((mta) => dirname(dirname(mta.maildir("x"))));
    await Promise.all(several.map((mta) => mta.stop()));
    expect(folders.filter((folder) => existsSync(folder))).toEqual([]);
    const commands = readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && existsSync(`/proc/${name}/cmdline`))
      .map((name) => readFileSync(`/proc/${name}/cmdline`, "utf8"));
    for (const folder of folders) {
      expect(commands.filter((command) => command.includes(folder))).toEqual([]);
    }
  });
});

describe.skipIf(!mtaAvailable("exim"))("Exim", () => {
  everyServer(startExim, ["PLAIN", "LOGIN", "CRAM-MD5"], 550);
});

describe.skipIf(!mtaAvailable("opensmtpd"))("OpenSMTPD", () => {
  // 524 5.2.4, of all codes.
  everyServer(startOpenSmtpd, ["PLAIN", "LOGIN"], 524);
});
