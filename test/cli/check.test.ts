/** `check`, as a process: relays that are well, and relays and records that are not. */
import { generateKeyPairSync } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { makeAuthority, makeCertificate } from "../../infra/local/certificate.ts";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import { explainCapabilities } from "../../lib/cli/capabilities.ts";
import { relayFindings } from "../../lib/cli/relay-report.ts";
import { type SenderQuestion, senderFindings } from "../../lib/cli/sender-report.ts";
import type { CheckResult } from "../../lib/submission/check.ts";
import { type NameServer, startNameServer, type Zone } from "../support/dns.ts";
import { type Folder, makeFolder, posthaste } from "./support.ts";

const USER = "shop@example.test";
const PASSWORD = "right horse";
let mail: MailServer;
let folder: Folder;
let mailbox: Record<string, unknown>;
let attempts: string[];

beforeAll(async () => {
  mail = await startMailServer({
    users: { [USER]: PASSWORD },
    judge: {
      login: (user) => {
        attempts.push(user);
        return undefined;
      },
    },
  });
  folder = makeFolder();
  mailbox = { host: mail.host, username: USER, password: PASSWORD, tls: { ca: mail.ca } };
});
beforeEach(() => {
  attempts = [];
});
afterAll(async () => {
  folder.remove();
  await mail.close();
});

function check(changes: object, args: readonly string[] = ["--no-dns"]) {
  folder.write("mailbox.json", { ...mailbox, ...changes });
  return posthaste(["check", "--mailbox-file", "mailbox.json", ...args], { cwd: folder.path });
}

const host = (port: number) => `127.0.0.1:${port}`;

describe("relays", () => {
  it("explains each that is well, sends nothing, and ends with 0", async () => {
    const { implicit, starttls } = mail.ports;
    const both = await check({ host: [host(starttls)], security: "starttls" });
    expect(both.code).toBe(0);
    const { code, stdout, stderr } = await check({ host: host(implicit), security: "implicit" });
    expect(stderr).toBe("");
    for (const says of [
      /^127\.0\.0\.1:\d+, implicit$/m,
      /^ {2}ok {3}connected in [\d.]+ ms, TLSv1\.3 in [\d.]+ ms \(TLS_\w+\)$/m,
      /^ {2}ok {3}certificate CN=localhost, for localhost, 127\.0\.0\.1, .* by CN=posthaste local authority, valid \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d, \d+ days left$/m,
      /^ {2}ok {3}login as shop@example\.test by PLAIN; offered: PLAIN, LOGIN, CRAM-MD5$/m,
      /^ {2}note takes messages of up to 25\.0 MiB$/m,
      /^ {2}note PIPELINING +takes several commands in one go/m,
      /^Nothing to mend\.$/m,
    ]) {
      expect(stdout).toMatch(says);
    }
    expect(code).toBe(0);
    expect(mail.inbox.messages).toHaveLength(0);
  });

  it("tries a refused password at one relay only", async () => {
    const { starttls } = mail.ports;
    const changes = {
      host: [host(starttls), host(starttls)],
      security: "starttls",
      password: "wrong horse",
    };
    const { code, stdout, stderr } = await check(changes);
    expect(attempts).toEqual([USER]);
    expect(stdout).toMatch(/^ {2}note login by PLAIN refused; offered: PLAIN/m);
    expect(stdout).toMatch(/^ {2}fix {2}auth_failed: .* 535 /m);
    expect(stdout).toMatch(/^ {2}note login not tried: it was refused above; offered: PLAIN/m);
    expect(stdout).toMatch(/^to mend\n {2}1\. Check username and password/m);
    expect(stdout + stderr).not.toContain("wrong horse");
    expect(code).toBe(78);
  });

  it("goes on to the next where one is not there", async () => {
    const hosts = ["127.0.0.1:1", host(mail.ports.starttls)];
    const { code, stdout } = await check({ host: hosts, security: "starttls" });
    expect(stdout).toMatch(/^127\.0\.0\.1:1, starttls\n {2}fix {2}connect_failed: /m);
    expect(stdout).toMatch(/^ {2}ok {3}login as /m);
    expect(code).toBe(75);
  });

  it.each(["implicit", "starttls"] as const)(
    "shows a certificate that it turns down (%s)",
    async (security) => {
      const authority = await makeAuthority();
      const certificate = await makeCertificate({ ca: authority, expired: true });
      const old = await startMailServer({ users: { [USER]: PASSWORD }, certificate });
      const changes = { host: host(old.ports[security]), security, tls: { ca: certificate.ca } };
      const { code, stdout } = await check(changes);
      await old.close();
      expect(stdout).toMatch(
        /^ {2}note it showed CN=localhost, for localhost, .* to \d{4}-\d\d-\d\d$/m,
      );
      expect(stdout).toMatch(/^ {2}fix {2}certificate_invalid: .*CERT_HAS_EXPIRED/m);
      expect(attempts).toEqual([]);
      expect(code).toBe(78);
    },
  );

  it("--json has all of it, and no secret", async () => {
    const changes = { host: host(mail.ports.implicit), security: "implicit" };
    const { code, stdout } = await check(changes, ["--no-dns", "--json"]);
    const answer = JSON.parse(stdout);
    expect(answer).toMatchObject({ ok: true, sender: [], todo: [] });
    expect(answer.relays[0].result).toMatchObject({
      login: "accepted",
      certificate: { subject: "CN=localhost" },
    });
    expect(answer.relays[0].result.transcript.length).toBeGreaterThan(5);
    expect(stdout).not.toContain(PASSWORD);
    expect(stdout).not.toContain(Buffer.from(`\0${USER}\0${PASSWORD}`).toString("base64"));
    expect(code).toBe(0);
  });

  it("says when a certificate ends soon, and when there is no TLS", () => {
    const result: CheckResult = {
      ok: true,
      server: { host: "a", port: 25, tls: null, auth: null, extensions: ["SIZE"] },
      certificate: {
        subject: "CN=a",
        issuer: "CN=b",
        names: ["a"],
        validFrom: "2026-01-01T00:00:00.000Z",
        validTo: "2026-01-20T00:00:00.000Z",
      },
      mechanisms: [],
      login: "none",
      capabilities: {},
      maxSize: null,
      timing: { totalMs: 1, connectMs: 1, tlsMs: 0, authMs: 0, transactionMs: 0, roundTrips: 2 },
      transcript: [],
    };
    const texts = (now: string) =>
      relayFindings(result, { now: Date.parse(now) }).map(({ kind, text }) => `${kind} ${text}`);
    expect(texts("2026-01-02T00:00:00Z").join("\n")).toMatch(
      /^fix connected in 1 ms, without TLS\nok certificate .*18 days left/,
    );
    expect(texts("2026-01-10T00:00:00Z")[1]).toMatch(/^fix certificate .*10 days left/);
  });

  it("has words for what a keyword is good for, and names the others", () => {
    expect(explainCapabilities({ CHUNKING: [], "X-ODD": ["1"], SIZE: ["5"] })).toEqual([
      'CHUNKING  takes content by count (BDAT); "chunking": "auto" saves a round trip',
      "also: X-ODD",
    ]);
  });
});

describe("the sender's domain, by real DNS", () => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const ed25519 = generateKeyPairSync("ed25519");
  const pem = (key: typeof rsa.privateKey) =>
    key.export({ type: "pkcs8", format: "pem" }).toString();
  const spki = (key: typeof rsa.publicKey) => key.export({ type: "spki", format: "der" });
  const RELAY = "smtp.relay.test";
  const zone = (example: readonly string[], more: Zone = {}): Zone => ({
    "example.test": { TXT: example },
    [RELAY]: { A: ["192.0.2.10"] },
    "_spf.relay.test": { TXT: ["v=spf1 ip4:192.0.2.0/28 -all"] },
    "smtp.gmail.com": { A: ["198.51.100.1"] },
    "_spf.google.com": { TXT: ["v=spf1 ip4:203.0.113.0/24 ~all"] },
    ...more,
  });
  const policy = (text: string): Zone => ({ "_dmarc.example.test": { TXT: [text] } });

  async function ask(records: Zone, changes: Partial<SenderQuestion> = {}) {
    const server: NameServer = await startNameServer(records);
    const question = {
      from: USER,
      relays: [RELAY],
      dkim: [],
      resolvers: [server.address],
      ...changes,
    };
    const findings = await senderFindings(question);
    await server.close();
    return findings.map(({ kind, text, fix = "" }) => `${kind} ${text}${fix && ` → ${fix}`}`);
  }

  it("all is well", async () => {
    const records = zone(["v=spf1 include:_spf.relay.test -all"], policy("v=DMARC1; p=reject"));
    expect(await ask(records)).toEqual([
      `ok SPF of example.test allows ${RELAY} (192.0.2.10)`,
      "ok DMARC of example.test (p=reject) passes by SPF",
    ]);
  });

  it("nothing is published", async () => {
    const [spf, dmarc] = await ask(zone([]));
    expect(spf).toMatch(
      /^fix SPF: example\.test has no record → Publish at example\.test, type TXT: "v=spf1 include:… ~all"/,
    );
    expect(dmarc).toMatch(
      /^fix DMARC: example\.test has no record.* → Publish at _dmarc\.example\.test/,
    );
  });

  it("a relay that the record does not name, under a strict policy", async () => {
    const records = zone(["v=spf1 ip4:203.0.113.9 -all"], policy("v=DMARC1; p=quarantine"));
    const [spf, dmarc] = await ask(records);
    expect(spf).toMatch(
      /^fix SPF of example\.test says fail of smtp\.relay\.test \(192\.0\.2\.10\)/,
    );
    expect(dmarc).toMatch(
      /^fix DMARC of example\.test \(p=quarantine\) passes only if the relay signs .* receivers quarantine the mail/,
    );
  });

  it("a record that is broken", async () => {
    const [spf] = await ask(zone(["v=spf1 include:_spf.relay.test", "v=spf1 -all"]));
    expect(spf).toMatch(/^fix SPF: the record of example\.test is broken/);
  });

  it.each([
    [
      "v=spf1 include:_spf.google.com ~all",
      /^ok SPF of example\.test includes _spf\.google\.com, from where smtp\.gmail\.com sends$/,
    ],
    [
      "v=spf1 -all",
      /^fix SPF of example\.test says fail of smtp\.gmail\.com .* → Add "include:_spf\.google\.com" to the record\.$/,
    ],
  ])(
    "a provider that sends from other addresses than it takes mail at: %s",
    async (record, says) => {
      expect((await ask(zone([record]), { relays: ["smtp.gmail.com"] }))[0]).toMatch(says);
    },
  );

  it("keys that sign, and whether they are published", async () => {
    const published = zone(["v=spf1 -all"], {
      ...policy("v=DMARC1; p=reject"),
      "rsa._domainkey.example.test": {
        TXT: [`v=DKIM1; k=rsa; p=${spki(rsa.publicKey).toString("base64")}`],
      },
      "ed._domainkey.example.test": {
        TXT: [`v=DKIM1; k=ed25519; p=${spki(ed25519.publicKey).subarray(-32).toString("base64")}`],
      },
      "old._domainkey.example.test": { TXT: ["v=DKIM1; p=AAAA"] },
    });
    const key = (selector: string, privateKey: string) => ({
      domain: "example.test",
      selector,
      privateKey,
    });
    const good = [key("rsa", pem(rsa.privateKey)), key("ed", pem(ed25519.privateKey))];
    const found = await ask(published, { dkim: good });
    expect(found.slice(1)).toEqual([
      "ok DKIM: the key at rsa._domainkey.example.test is the one that signs",
      "ok DKIM: the key at ed._domainkey.example.test is the one that signs",
      "ok DMARC of example.test (p=reject) passes by DKIM",
    ]);
    const bad = [key("old", pem(rsa.privateKey)), key("none", pem(rsa.privateKey))];
    const faults = await ask(published, { dkim: bad });
    expect(faults[1]).toMatch(
      /^fix DKIM: the key at old\._domainkey\.example\.test is not the one that signs → Publish there: "v=DKIM1; k=rsa; p=MII/,
    );
    expect(faults[2]).toMatch(/^fix DKIM: there is no key at none\._domainkey\.example\.test/);
    expect(JSON.stringify(faults)).not.toContain("PRIVATE KEY");
  });

  it("a domain that does not exist, and a name server that is not there", async () => {
    expect(await ask(zone([]), { from: "a@missing.test" })).toEqual([
      expect.stringMatching(/^fix missing\.test does not exist/),
    ]);
    expect(await ask(zone([]), { resolvers: ["127.0.0.1:1"] })).toEqual([
      expect.stringMatching(/^note DNS does not answer here \((ECONNREFUSED|ETIMEOUT)\)/),
    ]);
  });

  it("is part of what is printed, and of the exit code", async () => {
    const server = await startNameServer({
      "example.test": { TXT: ["v=spf1 ip4:127.0.0.1 -all"] },
    });
    const changes = { host: host(mail.ports.implicit), security: "implicit" };
    const { code, stdout } = await check(changes, ["--resolver", server.address]);
    await server.close();
    expect(stdout).toMatch(
      /^the sender's domain\n {2}ok {3}SPF of example\.test allows 127\.0\.0\.1 /m,
    );
    expect(stdout).toMatch(/^to mend\n {2}1\. Publish at _dmarc\.example\.test/m);
    expect(code).toBe(1);
    const wrong = await check(changes, ["--resolver", "nonsense"]);
    expect(wrong).toMatchObject({ code: 64, stderr: expect.stringContaining("--resolver") });
  });
});
