/**
 * The delivery check, built, against a real Postfix and a real Dovecot: on time, late and lost; in the
 * folder for spam, twice, and with a mailbox that cannot be looked into.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { type Dynamo, startDynamo } from "../support/dynamo.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";
import { metricsIn } from "../telemetry/emf.ts";
import { mtaAvailable } from "./available.ts";
import { startDovecot } from "./dovecot.ts";
import { mailboxOf } from "./functions.ts";
import { discard, freePorts, makeFolder } from "./mta.ts";
import { type OAuthServer, startOAuth } from "./oauth.ts";
import { alice, bob, domain, type Mta, startPostfix } from "./servers.ts";

const WATCHED = alice.username;
const SPAM = `spam@${domain}`;
const TWICE = `twice@${domain}`;
/** Postfix takes such mail, and throws it away. */
const NOWHERE = "nobody@elsewhere.test";

const event = JSON.parse(
  readFileSync(new URL("../../infra/local/events/canary.json", import.meta.url), "utf8"),
);
let minute = 0;
/** The event of the next run; a schedule's time is another each time. */
function next(): Record<string, unknown> {
  minute += 1;
  return { ...event, time: new Date(Date.parse(event.time) + minute * 60_000).toISOString() };
}

describe.skipIf(!mtaAvailable("imap"))("the delivery check", { timeout: 60_000 }, () => {
  let mta: Mta;
  let slow: Mta;
  let secrets: Secrets;
  let dynamo: Dynamo;
  let oauth: OAuthServer;
  let canary: LambdaFunction | undefined;

  beforeAll(async () => {
    oauth = await startOAuth(WATCHED);
    [mta, slow, secrets, dynamo] = await Promise.all([
      startPostfix({
        imap: true,
        oauthIntrospectionUrl: oauth.introspectionUrl,
        folders: { [SPAM]: `${WATCHED}/.Junk`, [`copy@${domain}`]: WATCHED },
        settings: { virtual_alias_maps: `inline:{ { ${TWICE} = ${WATCHED}, copy@${domain} } }` },
      }),
      // Each delivery but the first waits so long for the one before.
      startPostfix({ imap: true, settings: { virtual_destination_rate_delay: "6s" } }),
      startSecrets(),
      startDynamo(),
    ]);
    secrets.put(
      "sender",
      JSON.stringify(
        mailboxOf(mta, "implicit", { username: bob.username, password: bob.password }),
      ),
    );
    secrets.put("slow-sender", JSON.stringify(mailboxOf(slow, "implicit")));
    watch("watched", mta);
    watch("slow-watched", slow);
  }, 60_000);
  afterEach(async () => {
    await canary?.stop();
    canary = undefined;
  });
  afterAll(() =>
    Promise.all([mta?.stop(), slow?.stop(), secrets?.close(), dynamo?.close(), oauth?.close()]),
  );

  function watch(id: string, server: Mta, changes: Readonly<Record<string, unknown>> = {}): void {
    const { username, password } = alice;
    const port = server.imap?.imaps;
    const tls = { ca: server.ca };
    secrets.put(
      id,
      JSON.stringify({ host: server.host, port, username, password, tls, ...changes }),
    );
  }

  async function start(
    environment: Readonly<Record<string, string>> = {},
  ): Promise<LambdaFunction> {
    canary = await startFunction("canary", {
      AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
      MAILBOX_SECRET_ID: "sender",
      CANARY_TO: WATCHED,
      CANARY_SECRET_ID: "watched",
      METRICS_SERVICE: "test",
      ...environment,
    });
    return canary;
  }

  const remembering = () => ({ AWS_ENDPOINT_URL_DYNAMODB: dynamo.url, LEDGER_TABLE: dynamo.table });

  /** The metrics of each run, and of its submission. */
  function measured(): {
    readonly canary: readonly unknown[];
    readonly submission: readonly unknown[];
  } {
    const all = metricsIn(canary?.log() ?? "");
    expect(
      new Set(all.map(({ namespace, service, source }) => `${namespace} ${service} ${source}`)),
    ).toEqual(new Set(["posthaste test canary"]));
    const values = all.map((line) => line.values);
    return {
      canary: values.filter((one) => "CanaryDelivered" in one),
      submission: values.filter((one) => "Submissions" in one),
    };
  }

  /** Mail of the watched mailbox that lies in a folder of it. */
  function lying(server: Mta, folder = ""): readonly string[] {
    return ["new", "cur"].flatMap((part) => {
      const path = join(server.maildir(WATCHED), folder, part);
      return existsSync(path) ? readdirSync(path) : [];
    });
  }

  /** Neither password nor address is in what it wrote. */
  function silent(): void {
    const log = canary?.log() ?? "";
    for (const secret of [alice.password, bob.password, alice.username, bob.username, "wrong"]) {
      expect(log).not.toContain(secret);
      expect(log).not.toContain(Buffer.from(secret).toString("base64"));
    }
  }

  it.each(["implicit", "starttls"] as const)(
    "finds a probe on time, by %s TLS, and deletes it",
    async (security) => {
      const port = security === "implicit" ? mta.imap?.imaps : mta.imap?.imap;
      watch("watched", mta, { port, security });
      const { invoke } = await start();
      const result = await invoke(next());
      expect(result).toMatchObject({
        ok: true,
        sent: { outcome: "accepted", reply: { code: 250 } },
        probes: [{ fate: "delivered", folder: "INBOX", spam: false }],
        duplicates: 0,
        strays: 0,
      });
      expect(result.error).toBeUndefined();
      const [{ delayMs }] = result.probes;
      expect(delayMs).toBeGreaterThan(0);
      expect(lying(mta)).toEqual([]);
      expect(measured().canary).toEqual([
        {
          CanaryDelayMs: [delayMs],
          CanaryDelivered: 1,
          CanaryLate: 0,
          CanaryLost: 0,
          CanarySpam: 0,
        },
      ]);
      expect(measured().submission).toMatchObject([{ Submissions: 1, Accepted: 1, Reply2xx: 1 }]);
      silent();
    },
  );

  it("logs in with an OAuth token where the secret says so", async () => {
    watch("by-token", mta, { password: undefined, oauth2: oauth.daemon });
    const { invoke } = await start({ CANARY_SECRET_ID: "by-token" });
    expect(await invoke(next())).toMatchObject({ ok: true, probes: [{ fate: "delivered" }] });
    expect(await invoke(next())).toMatchObject({ ok: true, probes: [{ fate: "delivered" }] });
    watch("by-no-token", mta, {
      password: undefined,
      oauth2: { ...oauth.daemon, clientSecret: "wrong" },
    });
    await canary?.stop();
    const other = await start({ CANARY_SECRET_ID: "by-no-token" });
    const error = {
      code: "watch_login_refused",
      message: expect.stringContaining("invalid_client"),
    };
    expect(await other.invoke(next())).toMatchObject({ sent: { outcome: "accepted" }, error });
    silent();
  });

  it("sends an event that comes twice once", async () => {
    const { invoke } = await start(remembering());
    const twice = next();
    expect(await invoke(twice)).toMatchObject({ ok: true, probes: [{ fate: "delivered" }] });
    expect(await invoke(twice)).toMatchObject({ ok: true, probes: [], duplicates: 0, strays: 0 });
    expect(measured().submission).toHaveLength(1);
  });

  it("tells of a late one: by how much, and when it is known", async () => {
    const { invoke } = await start({
      ...remembering(),
      MAILBOX_SECRET_ID: "slow-sender",
      CANARY_SECRET_ID: "slow-watched",
      CANARY_LATE_SECONDS: "2",
    });
    // The first goes at once; the second waits for Postfix's delay.
    const first = await invoke(next());
    expect(first).toMatchObject({ sent: { outcome: "accepted" }, probes: [{ folder: "INBOX" }] });
    const second = await invoke(next());
    expect(second).toMatchObject({ ok: false, probes: [{ fate: "late" }] });
    expect(second.probes[0].delayMs).toBeGreaterThan(2_000);
    // The third run has no time to wait for its own; the fourth finds it.
    const third = await invoke(next(), 5_500);
    expect(third.probes).toMatchObject([{ fate: expect.stringMatching(/^(waiting|overdue)$/) }]);
    await wait(6_000);
    const fourth = await invoke(next());
    expect(fourth.probes).toMatchObject([{ id: third.probes[0].id, fate: "late" }, {}]);
    expect(fourth).toMatchObject({ ok: false, duplicates: 0, strays: 0 });
    const counts = measured().canary as readonly Record<string, number>[];
    const sum = (name: string) => counts.reduce((all, one) => all + (one[name] ?? 0), 0);
    const late = [first, second, fourth]
      .flatMap(({ probes }) => probes)
      .filter(({ fate }) => fate === "late");
    // Each counts once, whether it was late when it was found or before.
    expect([sum("CanaryDelivered"), sum("CanaryLate")]).toEqual([4, late.length]);
    expect(sum("CanaryLost")).toBe(0);
    expect(lying(slow)).toEqual([]);
  });

  it("tells of a lost one, in the run that knows", async () => {
    const { invoke } = await start({
      ...remembering(),
      CANARY_TO: NOWHERE,
      CANARY_LATE_SECONDS: "1",
      CANARY_LOST_SECONDS: "3",
    });
    const first = await invoke(next(), 5_000);
    expect(first).toMatchObject({
      sent: { outcome: "accepted" },
      probes: [{ fate: expect.stringMatching(/^(waiting|overdue)$/) }],
    });
    await wait(3_000);
    const second = await invoke(next(), 5_000);
    expect(second).toMatchObject({ ok: false });
    expect(second.probes[0]).toMatchObject({ id: first.probes[0].id, fate: "lost" });
    expect(measured().canary).toMatchObject([
      { CanaryLost: 0 },
      { CanaryLost: 1, CanaryDelivered: 0 },
    ]);
  });

  it("calls a probe lost within the run where nothing is remembered", async () => {
    const { invoke } = await start({
      CANARY_TO: NOWHERE,
      CANARY_LATE_SECONDS: "1",
      CANARY_LOST_SECONDS: "2",
    });
    expect(await invoke(next())).toMatchObject({ ok: false, probes: [{ fate: "lost" }] });
    expect(measured().canary).toEqual([
      { CanaryDelivered: 0, CanaryLate: 0, CanaryLost: 1, CanarySpam: 0 },
    ]);
  });

  it("finds it where spam goes, and says so", async () => {
    const { invoke } = await start({ CANARY_TO: SPAM });
    expect(await invoke(next())).toMatchObject({
      ok: false,
      probes: [{ fate: "delivered", folder: "Junk", spam: true }],
    });
    expect(lying(mta, ".Junk")).toEqual([]);
    expect(measured().canary).toMatchObject([{ CanaryDelivered: 1, CanarySpam: 1 }]);
  });

  it("tells of a copy, in this run or the next", async () => {
    const { invoke } = await start({ ...remembering(), CANARY_TO: TWICE });
    const results = [await invoke(next()), await invoke(next()), await invoke(next())];
    const copies = results.reduce((sum, { duplicates }) => sum + duplicates, 0);
    // The last one's copy may still be on its way.
    expect(copies).toBeGreaterThanOrEqual(2);
    expect(results.map(({ strays }) => strays)).toEqual([0, 0, 0]);
    expect(results.filter(({ duplicates }) => duplicates > 0).every(({ ok }) => !ok)).toBe(true);
  });

  it("deletes what nobody remembers, and counts it for nothing; other mail is left alone", async () => {
    const sender = await startFunction("invoke", {
      AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
      MAILBOX_SECRET_ID: "sender",
    });
    try {
      const mark = { "X-Posthaste-Canary": "A".repeat(22) };
      const other = await sender.invoke({ to: WATCHED, subject: "keep", text: "…" });
      const forged = await sender.invoke({ to: WATCHED, subject: "forged", headers: mark });
      await mta.readMail(WATCHED, { messageId: forged.messageId });
      await mta.readMail(WATCHED, { messageId: other.messageId });
    } finally {
      await sender.stop();
    }
    const { invoke } = await start();
    expect(await invoke(next())).toMatchObject({
      ok: true,
      strays: 1,
      probes: [{ fate: "delivered" }],
    });
    expect(measured().canary).toMatchObject([{ CanaryDelivered: 1 }]);
    expect(lying(mta)).toHaveLength(1);
  });

  it.each([
    ["a wrong password", () => ({ password: "wrong" }), "watch_login_refused"],
    ["a server that is down", async () => ({ port: (await freePorts(1))[0] }), "watch_unreachable"],
    ["an unknown authority", () => ({ tls: {} }), "watch_certificate_invalid"],
    [
      "a certificate for another name",
      () => ({ tls: { ca: mta.ca, servername: "other.test" } }),
      "watch_certificate_invalid",
    ],
    [
      "a port that begins without TLS",
      () => ({ port: mta.imap?.imap, security: "implicit" }),
      "watch_unreachable",
    ],
  ] as const)("judges nothing with %s", async (_, changes, code) => {
    watch("unwatchable", mta, await changes());
    const { invoke } = await start({
      ...remembering(),
      CANARY_SECRET_ID: "unwatchable",
      CANARY_LATE_SECONDS: "0",
      CANARY_LOST_SECONDS: "0",
    });
    const result = await invoke(next());
    expect(result).toMatchObject({ ok: false, sent: { outcome: "accepted" }, error: { code } });
    expect(result.probes.at(-1)).toMatchObject({ fate: "waiting" });
    expect(measured().canary.at(-1)).toEqual({
      CanaryDelivered: 0,
      CanaryLate: 0,
      CanaryLost: 0,
      CanarySpam: 0,
    });
    silent();
  });

  it("does without STARTTLS for nobody", async () => {
    const folder = makeFolder("ph-im");
    const [imaps, imap] = (await freePorts(2)) as [number, number];
    const bare = await startDovecot({
      folder,
      users: [alice],
      mechanisms: ["PLAIN"],
      imap: { ports: { imaps, imap }, mail: folder },
    });
    try {
      watch("bare", mta, { port: imap, security: "starttls" });
      const { invoke } = await start({ CANARY_SECRET_ID: "bare" });
      expect(await invoke(next())).toMatchObject({ error: { code: "watch_unreachable" } });
      expect(bare.log()).not.toContain(`user=<${WATCHED}>`);
    } finally {
      await bare.daemon.kill();
      await discard(folder);
    }
  });

  it("looks for earlier probes also where this one was not taken", async () => {
    const { invoke } = await start({ ALLOWED_RECIPIENTS: "@elsewhere.test" });
    expect(await invoke(next())).toMatchObject({
      ok: false,
      sent: { outcome: "rejected", error: { code: "recipient_not_allowed" } },
      probes: [],
    });
    expect(measured().submission).toMatchObject([{ Rejected: 1 }]);
    expect(measured().canary).toMatchObject([{ CanaryDelivered: 0 }]);
  });

  it.each([
    [{ CANARY_TO: "" }, /CANARY_TO/],
    [{ CANARY_SECRET_ID: "" }, /CANARY_SECRET_ID/],
    [{ CANARY_TO: "no address" }, /CANARY_TO must be one address/],
    [{ CANARY_LATE_SECONDS: "600", CANARY_LOST_SECONDS: "60" }, /CANARY_LOST_SECONDS/],
    [{ CANARY_SECRET_ID: "nothing-there" }, /There is no secret nothing-there/],
    [{ CANARY_SECRET_ID: "insecure" }, /security must be "implicit" or "starttls"/],
    [{ CANARY_SECRET_ID: "misspelt" }, /pasword is not a known field/],
  ])("refuses to run with %j", async (environment, complaint) => {
    watch("insecure", mta, { security: "none" });
    const { username } = alice;
    secrets.put("misspelt", JSON.stringify({ host: mta.host, username, pasword: "hush" }));
    const { invoke, log } = await start(environment as Record<string, string>);
    await expect(invoke(next())).rejects.toThrow(complaint);
    await expect(invoke(next())).rejects.not.toThrow(/hush/);
    expect(log()).not.toContain("hush");
  });
});
