/**
 * The bench in short, as far as it can be counted: round trips, writes, octets of code. Counts are the
 * same on every machine and at every load, so a regression fails here; a time never does.
 */
import { Socket } from "node:net";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import { startSecrets } from "../../infra/local/secrets.ts";
import { contentOf } from "../../lib/smtp/data.ts";
import { Relay } from "../../lib/smtp/io/relay.ts";
import { type BdatServer, startBdatServer } from "./bdat-server.ts";
import { COUNTING_RTT_MS, counted } from "./counted.ts";
import { fresh } from "./fresh.ts";

const FROM = "shop@example.com";
const PASSWORD = "p@ss:w0rd/%41+";
const MORE = 3;
/** Octets of code that one plain message may load, `dist/invoke.mjs` included. */
const MOST_CODE = 380_000;

let mail: MailServer;
let bdat: BdatServer;

beforeAll(async () => {
  [mail, bdat] = await Promise.all([
    startMailServer({ users: { [FROM]: PASSWORD } }),
    startBdatServer(),
  ]);
});
afterAll(() => Promise.all([mail.close(), bdat.close()]));

const write = Object.getOwnPropertyDescriptor(Socket.prototype, "write");
afterEach(() => {
  if (write) Object.defineProperty(Socket.prototype, "write", write);
  else Reflect.deleteProperty(Socket.prototype, "write");
});

/** What goes into the sockets that are connected to this port: the first word of each line. */
function watchWrites(port: () => number): string[] {
  const seen: string[] = [];
  const original = Socket.prototype.write;
  Socket.prototype.write = function (this: Socket, ...args: Parameters<typeof original>) {
    const octets: unknown = args[0];
    if (this.remotePort === port() && octets instanceof Uint8Array) {
      const lines = Buffer.from(octets).toString("latin1").split("\r\n");
      seen.push(
        lines
          .map((line) => COMMAND.exec(line)?.[0])
          .filter(Boolean)
          .join(" "),
      );
    }
    return original.apply(this, args);
  } as typeof original;
  return seen;
}
const COMMAND = /^(?:EHLO|AUTH|MAIL|RCPT|DATA|BDAT|QUIT|Subject|\.$)/;

async function send(server: { port: number; ca: string }, chunking: "auto" | "off", count: number) {
  const text = `From: ${FROM}\r\nTo: a@example.net\r\nSubject: x\r\n\r\nhello\r\n`;
  const submission = {
    from: FROM,
    recipients: ["a@example.net"],
    content: contentOf(Buffer.from(text)),
    partial: "accept",
    smtputf8: false,
  } as const;
  let port = 0;
  const writes = watchWrites(() => port);
  const target = { host: "127.0.0.1", port: server.port };
  const { value, roundTrips } = await counted(target, COUNTING_RTT_MS, (proxy) => {
    port = proxy.port;
    return new Relay().send(
      {
        endpoints: [{ host: proxy.host, port, security: "implicit" }],
        tls: { ca: server.ca },
        ehloName: "[127.0.0.1]",
        credentials: { username: FROM, password: PASSWORD },
        auth: ["PLAIN"],
        allowPlaintextAuth: false,
        chunking,
        secrets: [PASSWORD],
      },
      Array.from({ length: count }, () => submission),
      { timeLeft: 20_000 },
    );
  });
  const fates = value.report.messages.map(({ recipients }) => recipients[0]?.fate.is);
  expect(fates).toEqual(Array.from({ length: count }, () => "taken"));
  return { roundTrips, writes };
}

describe("a session over TLS with PLAIN", () => {
  const embedded = () => ({ port: mail.ports.implicit, ca: mail.ca });

  it("one message: at most 6 round trips, one write a group", async () => {
    const { roundTrips, writes } = await send(embedded(), "off", 1);
    expect(roundTrips).toBeLessThanOrEqual(6);
    expect(writes).toEqual(["EHLO", "AUTH MAIL RCPT DATA", "Subject . QUIT"]);
  });

  it("each further message: at most 1 round trip, and one write", async () => {
    const one = await send(embedded(), "off", 1);
    const several = await send(embedded(), "off", 1 + MORE);
    expect(several.roundTrips - one.roundTrips).toBeLessThanOrEqual(MORE);
    expect(several.writes.length - one.writes.length).toBe(MORE);
    expect(several.writes.slice(2, -1)).toEqual(
      Array.from({ length: MORE }, () => "Subject . MAIL RCPT DATA"),
    );
  });

  it("with chunking: at most 5 round trips, however many small messages", async () => {
    const before = bdat.taken();
    const one = await send(bdat, "auto", 1);
    const several = await send(bdat, "auto", 1 + MORE);
    expect(bdat.taken() - before).toBe(2 + MORE);
    expect(one.roundTrips).toBeLessThanOrEqual(5);
    expect(several.roundTrips).toBe(one.roundTrips);
    const message = "MAIL RCPT BDAT Subject";
    expect(one.writes[1]).toContain(`AUTH ${message}`);
    expect(several.writes[1]).toBe(
      `AUTH ${Array.from({ length: 1 + MORE }, () => message).join(" ")} QUIT`,
    );
  });
});

it(`a plain message loads at most ${MOST_CODE} octets of code`, async () => {
  const secret = {
    host: "127.0.0.1",
    port: mail.ports.implicit,
    username: FROM,
    password: PASSWORD,
    security: "implicit",
    tls: { ca: mail.ca },
  };
  const secrets = await startSecrets({ box: JSON.stringify(secret) });
  try {
    const bundle = fileURLToPath(new URL("../../dist/invoke.mjs", import.meta.url));
    const { outcome, loaded } = await fresh({
      bundle,
      event: { to: "a@example.net", subject: "x", text: "hello" },
      environment: { MAILBOX_SECRET_ID: "box", AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url },
      count: true,
    });
    expect(outcome).toBe("accepted");
    const entries = Object.entries(loaded);
    expect(entries.map(([url]) => basename(url))).toContain("invoke.mjs");
    const octets = entries.reduce((sum, [, size]) => sum + size, 0);
    console.log(`a plain message loads ${octets} octets in ${entries.length} modules`);
    expect(octets).toBeLessThanOrEqual(MOST_CODE);
  } finally {
    await secrets.close();
  }
});
