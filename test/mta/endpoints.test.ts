/**
 * Every endpoint × security × mechanism: a message through the built handler, and the delivered mail
 * read back. What a server offers is asked of the server, so that no mechanism goes untried.
 */
import PostalMime from "postal-mime";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startMailServer } from "../../infra/local/mailserver.ts";
import { contentOf } from "../../lib/smtp/data.ts";
import { Relay } from "../../lib/smtp/io/relay.ts";
import { mtaAvailable } from "./available.ts";
import { type Functions, mailboxOf, type Security, startFunctions } from "./functions.ts";
import { harakaAvailable, startHaraka } from "./haraka.ts";
import { type OAuthServer, startOAuth } from "./oauth.ts";
import {
  alice,
  bob,
  domain,
  type KeyPair,
  type Mta,
  startExim,
  startOpenSmtpd,
  startPostfix,
} from "./servers.ts";

const TO = `bob@${domain}`;

/** The part of a server that is tried here. */
interface Endpoint
  extends Pick<Mta, "name" | "version" | "host" | "ports" | "ca" | "users" | "stop"> {
  readonly client?: KeyPair;
  read(messageId: string): Promise<Buffer>;
}

interface Kind {
  readonly name: string;
  readonly available: boolean;
  readonly start: (oauth: OAuthServer) => Promise<Endpoint>;
  /** Security → mechanisms; "(none)" is a session without a login. */
  readonly cells: Readonly<Record<Security, readonly string[]>>;
}

const passwords = ["PLAIN", "LOGIN", "CRAM-MD5"];
const dovecots = ["DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"];
const tokens = ["XOAUTH2", "OAUTHBEARER"];
const everywhere = (names: readonly string[]) => ({
  implicit: names,
  starttls: names,
  none: names,
});

const kinds: readonly Kind[] = [
  {
    name: "Postfix",
    available: mtaAvailable("postfix"),
    start: async (oauth) =>
      delivering(await startPostfix({ oauthIntrospectionUrl: oauth.introspectionUrl })),
    cells: everywhere([...passwords, ...dovecots, ...tokens]),
  },
  {
    name: "Exim",
    available: mtaAvailable("exim"),
    start: async () => delivering(await startExim()),
    cells: {
      implicit: [...passwords, ...dovecots, "EXTERNAL"],
      starttls: [...passwords, ...dovecots, "EXTERNAL"],
      none: [...passwords, ...dovecots],
    },
  },
  {
    name: "OpenSMTPD",
    available: mtaAvailable("opensmtpd"),
    start: async () => delivering(await startOpenSmtpd()),
    cells: { implicit: ["PLAIN", "LOGIN"], starttls: ["PLAIN", "LOGIN"], none: ["(none)"] },
  },
  {
    name: "smtp-server",
    available: true,
    start: startSmtpServer,
    cells: everywhere([...passwords, "XOAUTH2"]),
  },
  {
    name: "Haraka",
    available: harakaAvailable(),
    start: async () => delivering(await startHaraka()),
    cells: everywhere(passwords),
  },
];

function delivering(mta: Mta): Endpoint {
  return {
    ...mta,
    read: async (messageId) => (await mta.readMail(TO, { messageId }))[0] as Buffer,
  };
}

async function startSmtpServer(oauth: OAuthServer): Promise<Endpoint> {
  const users: Record<string, string> = { [alice.username]: alice.password };
  const server = await startMailServer({
    users,
    mechanisms: [...passwords, "XOAUTH2"],
    server: {
      allowInsecureAuth: true,
      onAuth: (auth, _session, done) => {
        const user = auth.username ?? "";
        const known = users[user];
        if (auth.method === "XOAUTH2") {
          oauth.owner(auth.accessToken ?? "").then(
            (owner) => done(null, owner === user ? { user } : {}),
            (error) => done(error),
          );
        } else if (auth.method === "CRAM-MD5") {
          done(null, known !== undefined && auth.validatePassword(known) ? { user } : {});
        } else done(null, known !== undefined && auth.password === known ? { user } : {});
      },
    },
  });
  return {
    name: "smtp-server",
    version: await packageVersion("smtp-server"),
    host: "127.0.0.1",
    // It has no port of its own for plaintext: who does not ask for TLS there gets none.
    ports: {
      smtps: server.ports.implicit,
      submission: server.ports.starttls,
      plain: server.ports.starttls,
    },
    ca: server.ca,
    users: [alice],
    read: async (messageId) => {
      const message = server.inbox.messages.find(({ raw }) => raw.includes(messageId));
      expect(message?.user ?? "nobody").toBe(alice.username);
      return message?.raw ?? Buffer.alloc(0);
    },
    stop: () => server.close(),
  };
}

async function packageVersion(name: string): Promise<string> {
  const { default: json } = (await import(`${name}/package.json`, {
    with: { type: "json" },
  })) as { default: { version: string } };
  return json.version;
}

const table: {
  server: string;
  security: string;
  mechanism: string;
  result: string;
  roundTrips: number | string;
}[] = [];

let oauth: OAuthServer;
beforeAll(async () => {
  oauth = await startOAuth(alice.username);
});
afterAll(async () => {
  await oauth?.close();
  const head = ["server", "security", "mechanism", "result", "round trips"];
  const rows = table.map((row) => Object.values(row).map(String));
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]) =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ");
  console.log(["", line(head), ...rows.map(line), ""].join("\n"));
});

describe.each(kinds)("$name", ({ name, available, start, cells }) => {
  describe.skipIf(!available)("the built handler", () => {
    let server: Endpoint;
    let functions: Functions;
    beforeAll(async () => {
      [server, functions] = await Promise.all([start(oauth), startFunctions()]);
    });
    afterAll(() => Promise.all([functions?.stop(), server?.stop()]));

    /** A mailbox that can do with this mechanism, and with no other. */
    const secretFor = (security: Security, mechanism: string): Record<string, unknown> => {
      const secret = mailboxOf(server, security);
      const { username, password, ...anonymous } = secret;
      if (mechanism === "(none)") return { ...anonymous, from: username };
      const only = { auth: [mechanism] };
      if (tokens.includes(mechanism)) {
        return { ...anonymous, username, oauth2: oauth.daemon, ...only };
      }
      if (mechanism === "EXTERNAL") {
        return { ...anonymous, username, tls: { ca: server.ca, ...server.client }, ...only };
      }
      return { ...secret, ...only };
    };

    const rows = Object.entries(cells).flatMap(([security, mechanisms]) =>
      mechanisms.map((mechanism) => ({ security: security as Security, mechanism })),
    );
    it.each(rows)("$security × $mechanism", async ({ security, mechanism }) => {
      const row = {
        server: `${server.name} ${server.version}`,
        security,
        mechanism,
        result: "FAILED",
        roundTrips: "" as number | string,
      };
      table.push(row);
      const subject = `${name} · ${security} · ${mechanism} · 你好`;
      const content = Buffer.from([0, 13, 10, 46, 10, 255, 254, 13]);
      const result = await functions.invoke({
        mailbox: functions.mailbox(secretFor(security, mechanism)),
        to: TO,
        subject,
        text: "你好\n.\n..dots\n",
        attachments: [{ filename: "附件.bin", content: content.toString("base64") }],
      });
      expect(result).toMatchObject({
        outcome: "accepted",
        reply: { code: 250 },
        server: {
          auth: mechanism === "(none)" ? null : mechanism,
          tls: security === "none" ? null : { protocol: "TLSv1.3" },
        },
      });
      expect(result.queueId).toBeTruthy();
      const email = await PostalMime.parse(await server.read(result.messageId));
      expect(email.subject).toBe(subject);
      // The parser counts the line end before a boundary to the text; RFC 2046 §5.1.1 does not.
      expect(email.text?.replaceAll("\r\n", "\n")).toMatch(/^你好\n\.\n\.\.dots\n\n?$/);
      expect(email.attachments.map(({ filename }) => filename)).toEqual(["附件.bin"]);
      expect(Buffer.from(email.attachments[0]?.content as ArrayBuffer)).toEqual(content);
      expect(email.messageId).toBe(result.messageId);
      const shown = JSON.stringify(result) + functions.log();
      expect(shown).not.toContain(alice.password);
      expect(shown).not.toContain(JSON.stringify(alice.password).slice(1, -1));
      row.result = "ok";
      row.roundTrips = result.timing.roundTrips;
    });

    it("offers what is tried above, and nothing else", async () => {
      for (const [security, tried] of Object.entries(cells)) {
        const [first = ""] = tried;
        // EXTERNAL is offered only to who shows a certificate.
        const best = tried.includes("EXTERNAL") ? "EXTERNAL" : first;
        const mailbox = functions.mailbox(secretFor(security as Security, best));
        const { ok, mechanisms } = await functions.check({ mailbox });
        expect({ security, ok, mechanisms: [...mechanisms].sort() }).toEqual({
          security,
          ok: true,
          mechanisms: tried.filter((each) => each !== "(none)").sort(),
        });
      }
    });

    it("answers a wrong password with 535, and is asked once", async () => {
      const secret = { ...mailboxOf(server, "implicit"), password: "wrong" };
      const result = await functions.invoke({
        mailbox: functions.mailbox(secret),
        to: TO,
        text: "x",
      });
      expect(result).toMatchObject({
        outcome: "deferred",
        retryable: false,
        reply: { code: 535 },
        error: { code: "auth_failed", phase: "auth" },
      });
      const said = result.transcript.filter(
        ({ from, text }: { from: string; text: string }) => from === "C" && /^AUTH /.test(text),
      );
      expect(said).toHaveLength(1);
    });

    it("takes several messages in one session, each settled by itself", async () => {
      const ids = [1, 2, 3, 4].map(() => `<${crypto.randomUUID()}@${domain}>`);
      const { username, password } = server.users[0];
      const sent = await new Relay().send(
        {
          endpoints: [{ host: server.host, port: server.ports.smtps, security: "implicit" }],
          tls: { ca: server.ca },
          ehloName: "[127.0.0.1]",
          credentials: { username, password },
          allowPlaintextAuth: false,
          chunking: "off",
          secrets: [password],
        },
        ids.map((id, index) => ({
          from: username,
          // Every server here refuses this one.
          recipients: index === 1 ? [`unknown@${domain}`] : [TO],
          content: contentOf(Buffer.from(`From: ${username}\r\nMessage-ID: ${id}\r\n\r\nx\r\n`)),
          partial: "accept" as const,
          smtputf8: false,
        })),
        { timeLeft: 15_000 },
      );
      expect(sent.report.error).toBeUndefined();
      expect(sent.report.messages.map(({ recipients: [one] }) => one?.fate.is)).toEqual([
        "taken",
        "refused",
        "taken",
        "taken",
      ]);
      for (const id of ids.filter((_, index) => index !== 1)) await server.read(id);
    });
  });
});

describe.skipIf(!mtaAvailable("postfix"))("tokens, at Postfix and Dovecot", () => {
  let postfix: Mta;
  let functions: Functions;
  beforeAll(async () => {
    const oauthIntrospectionUrl = oauth.introspectionUrl;
    [postfix, functions] = await Promise.all([
      startPostfix({ oauthIntrospectionUrl }),
      startFunctions(),
    ]);
  });
  afterAll(() => Promise.all([functions?.stop(), postfix?.stop()]));
  let before = 0;
  const fetched = () => oauth.granted() - before;
  afterEach(() => {
    before = 0;
  });

  const mailbox = (username: string, oauth2: object, auth: string) => {
    const { password: _, ...secret } = mailboxOf(postfix, "implicit", { username });
    return functions.mailbox({ ...secret, oauth2, auth: [auth] });
  };
  const message = { to: `carol@${domain}`, subject: "by token", text: "x" };
  const logins = (result: { transcript: { text: string }[] }) =>
    result.transcript.filter(({ text }) => /^AUTH /.test(text)).length;

  it.each(tokens)("%s: a refresh token, fetched once for several messages", async (auth) => {
    before = oauth.granted();
    const name = mailbox(bob.username, await oauth.person(bob.username), auth);
    for (let count = 0; count < 3; count++) {
      const result = await functions.invoke({ ...message, mailbox: name });
      expect(result).toMatchObject({ outcome: "accepted", server: { auth } });
      const [mail] = await postfix.readMail(message.to, { messageId: result.messageId });
      expect(mail?.toString()).toContain(`(Authenticated sender: ${bob.username})`);
    }
    expect(fetched()).toBe(1);
  });

  it.each(tokens)(
    "%s: a token taken back is fetched anew, once, and then accepted",
    async (auth) => {
      const name = mailbox(bob.username, await oauth.person(bob.username), auth);
      expect(await functions.invoke({ ...message, mailbox: name })).toMatchObject({
        outcome: "accepted",
      });
      await oauth.revoke();
      before = oauth.granted();
      const result = await functions.invoke({ ...message, mailbox: name });
      expect(result).toMatchObject({ outcome: "accepted", server: { auth } });
      expect(fetched()).toBe(1);
      await postfix.readMail(message.to, { messageId: result.messageId });
    },
  );

  it.each(tokens)(
    "%s: a fresh token refused too is deferred, and a person is asked",
    async (auth) => {
      before = oauth.granted();
      const name = mailbox(alice.username, oauth.stranger(auth), auth);
      const result = await functions.invoke({ ...message, mailbox: name });
      expect(result).toMatchObject({
        outcome: "deferred",
        retryable: false,
        // The real answer, behind the 334 that only carries the reason.
        reply: { code: 535, enhanced: "5.7.8" },
        error: { code: "auth_failed", phase: "auth" },
      });
      // One with each token; the transcript has both sessions.
      expect(logins(result)).toBe(2);
      expect(fetched()).toBe(2);
      const again = await functions.invoke({ ...message, mailbox: name });
      expect(again).toMatchObject({ outcome: "deferred", reply: null });
      expect(fetched()).toBe(2);
    },
  );

  it("a token of someone else does not log in", async () => {
    const name = mailbox(alice.username, await oauth.person(bob.username), "OAUTHBEARER");
    const result = await functions.invoke({ ...message, mailbox: name });
    expect(result).toMatchObject({ outcome: "deferred", error: { code: "auth_failed" } });
  });

  it("a client that the authorization server refuses: deferred before any socket", async () => {
    const wrong = { ...oauth.daemon, clientSecret: "wr0ng-s3cret" };
    const result = await functions.invoke({
      ...message,
      mailbox: mailbox(alice.username, wrong, "XOAUTH2"),
    });
    expect(result).toMatchObject({
      outcome: "deferred",
      retryable: false,
      reply: null,
      error: { code: "token_failed" },
    });
    expect(JSON.stringify(result)).not.toContain("wr0ng");
  });
});
