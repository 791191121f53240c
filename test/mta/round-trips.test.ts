/**
 * How often a send waits for the network, counted by a proxy that delays: ours, and nodemailer's
 * beside it. The result's own count must say the same, for it is what people read.
 */
import { createTransport } from "nodemailer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { contentOf } from "../../lib/smtp/data.ts";
import type { Submission } from "../../lib/smtp/envelope.ts";
import { Relay, type RelayTarget } from "../../lib/smtp/io/relay.ts";
import { type DelayProxy, startDelayProxy } from "../support/proxy.ts";
import { mtaAvailable } from "./available.ts";
import { type Functions, mailboxOf, startFunctions } from "./functions.ts";
import { domain, type Mta, startPostfix } from "./servers.ts";

/** Long enough that session tickets and the next command always cross; see the proxy. */
const RTT_MS = 12;
const MORE = 4;
/** Octets of two TLS 1.3 records, QUIT and the alert that closes; no content is so short. */
const FAREWELL = 28 + 24;
const TO = `carol@${domain}`;

const table: Record<string, Record<string, number | string>> = {};
const note = (row: string, column: string, value: number | string) => {
  table[row] = { ...table[row], [column]: value };
};

let mta: Mta;
let functions: Functions;

/** Runs it through a proxy of its own, and tells what that one counted. */
async function counted<T>(
  security: "implicit" | "starttls",
  run: (proxy: DelayProxy) => Promise<T>,
): Promise<{ value: T; roundTrips: number; connections: number }> {
  const port = security === "implicit" ? mta.ports.smtps : mta.ports.submission;
  const proxy = await startDelayProxy({ target: { host: mta.host, port }, rttMs: RTT_MS });
  try {
    const value = await run(proxy);
    const { trips, connections } = proxy.stats();
    // The answer to QUIT is a trip of its own where QUIT leaves by itself, and also where it leaves
    // with the content and is answered in a later packet: then it seems to answer our hanging up.
    const farewell = (trips.at(-1)?.up ?? 0) <= FAREWELL ? 1 : 0;
    return { value, roundTrips: trips.length - farewell, connections };
  } finally {
    await proxy.close();
  }
}

async function batch(
  security: "implicit" | "starttls",
  chunking: "auto" | "off",
  count: number,
): Promise<number> {
  const { username, password } = mta.users[0];
  const ids = Array.from({ length: count }, () => `<${crypto.randomUUID()}@${domain}>`);
  const submissions = ids.map((id): Submission => {
    const text = `From: ${username}\r\nTo: ${TO}\r\nMessage-ID: ${id}\r\n\r\nx\r\n`;
    return {
      from: username,
      recipients: [TO],
      content: contentOf(Buffer.from(text)),
      partial: "accept",
      smtputf8: false,
    };
  });
  const { value, roundTrips, connections } = await counted(security, (proxy) => {
    const target: RelayTarget = {
      endpoints: [{ host: proxy.host, port: proxy.port, security }],
      tls: { ca: mta.ca },
      ehloName: "[127.0.0.1]",
      credentials: { username, password },
      allowPlaintextAuth: false,
      auth: ["PLAIN"],
      chunking,
      secrets: [password],
    };
    return new Relay().send(target, submissions, { timeLeft: 20_000 });
  });
  expect(connections).toBe(1);
  expect(
    value.report.messages.flatMap(({ recipients }) => recipients.map((r) => r.fate.is)),
  ).toEqual(ids.map(() => "taken"));
  for (const id of ids) await mta.readMail(TO, { messageId: id });
  return agreed(value.timing.roundTrips, roundTrips);
}

/** Both must agree, or one of them is wrong. */
function agreed(own: number, proxys: number): number {
  expect({ roundTrips: own }).toEqual({ roundTrips: proxys });
  return own;
}

describe.skipIf(!mtaAvailable("postfix"))("round trips to Postfix", () => {
  beforeAll(async () => {
    [mta, functions] = await Promise.all([startPostfix(), startFunctions()]);
  });
  afterAll(async () => {
    await Promise.all([functions?.stop(), mta?.stop()]);
    console.log("\nround trips, connect to the reply that settles the content");
    console.table(table);
  });

  describe.each([
    { security: "implicit", first: { off: 6, auto: 5 }, nodemailers: 7 },
    { security: "starttls", first: { off: 8, auto: 7 }, nodemailers: 9 },
  ] as const)("$security", ({ security, first, nodemailers }) => {
    const row = `${security} + PLAIN`;

    it.each(["off", "auto"] as const)("the built handler, chunking %s", async (chunking) => {
      const secret = mailboxOf(mta, security, { auth: ["PLAIN"], chunking });
      const message = { to: TO, subject: "你好", text: "x\n.\n", html: "<p>x</p>" };
      const started = performance.now();
      const { value: result, roundTrips } = await counted(security, ({ port }) =>
        functions.invoke({ ...message, mailbox: functions.mailbox({ ...secret, port }) }),
      );
      expect(result).toMatchObject({ outcome: "accepted", server: { auth: "PLAIN" } });
      expect(agreed(result.timing.roundTrips, roundTrips)).toBe(first[chunking]);
      // They were made, and not only counted. A kernel tells of a connection before the proxy can.
      expect(performance.now() - started).toBeGreaterThan((first[chunking] - 1) * RTT_MS);
      note(row, `posthaste, chunking ${chunking}`, roundTrips);
    });

    it.each(["off", "auto"] as const)(
      "each further message of a session: at most 1, chunking %s",
      async (chunking) => {
        const one = await batch(security, chunking, 1);
        const several = await batch(security, chunking, 1 + MORE);
        expect(one).toBe(first[chunking]);
        const each = (several - one) / MORE;
        if (chunking === "off") expect(each).toBe(1);
        // One flight holds as many as fit.
        else expect(each).toBeLessThanOrEqual(1);
        note(`each further message, ${security}`, `posthaste, chunking ${chunking}`, each);
      },
    );

    const transport = (port: number, pool: boolean) => {
      const { username: user, password: pass } = mta.users[0];
      const options = {
        host: "127.0.0.1",
        port,
        secure: security === "implicit",
        requireTLS: security === "starttls",
        authMethod: "PLAIN",
        auth: { user, pass },
        tls: { ca: mta.ca },
      };
      return pool
        ? createTransport({ ...options, pool: true, maxConnections: 1 })
        : createTransport(options);
    };
    const mail = { from: `alice@${domain}`, to: TO, text: "x" };

    it("nodemailer, one message", async () => {
      const { roundTrips } = await counted(security, ({ port }) =>
        transport(port, false).sendMail(mail),
      );
      expect(roundTrips).toBe(nodemailers);
      note(row, "nodemailer", roundTrips);
    });

    it("nodemailer, each further message in a pool of one connection", async () => {
      const trips = async (count: number) => {
        const { roundTrips, connections } = await counted(security, async ({ port }) => {
          const pool = transport(port, true);
          await Promise.all(Array.from({ length: count }, () => pool.sendMail(mail)));
          pool.close();
        });
        expect(connections).toBe(1);
        return roundTrips;
      };
      const each = ((await trips(1 + MORE)) - (await trips(1))) / MORE;
      expect(each).toBe(2);
      note(`each further message, ${security}`, "nodemailer", each);
    });
  });

  it.each([
    ["LOGIN", 8],
    ["CRAM-MD5", 8],
    ["DIGEST-MD5", 9],
    // The server's proof of itself comes as a challenge (RFC 4954 §4), to be answered with nothing.
    ["SCRAM-SHA-1", 9],
    ["SCRAM-SHA-256", 9],
  ])("what %s costs: %i", async (auth, expected) => {
    const secret = mailboxOf(mta, "implicit", { auth: [auth] });
    const { value: result, roundTrips } = await counted("implicit", ({ port }) =>
      functions.invoke({
        mailbox: functions.mailbox({ ...secret, port }),
        to: TO,
        text: "x",
      }),
    );
    expect(result).toMatchObject({ outcome: "accepted", server: { auth } });
    expect(agreed(result.timing.roundTrips, roundTrips)).toBe(expected);
    note(`implicit + ${auth}`, "posthaste, chunking off", roundTrips);
  });
});
