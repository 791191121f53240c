/**
 * The bench in short, as far as it can be counted: round trips, writes, octets of code. Counts are the
 * same on every machine and at every load, so a regression fails here; a time never does.
 */
import { readFileSync, statSync } from "node:fs";
import { Socket } from "node:net";
import { basename } from "node:path";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { contentOf } from "../../lib/smtp/data.ts";
import type { Submission } from "../../lib/smtp/envelope.ts";
import { Relay } from "../../lib/smtp/io/relay.ts";
import { ReplyDecoder } from "../../lib/smtp/reply.ts";
import { startDynamo } from "../support/dynamo.ts";
import { type BdatServer, startBdatServer } from "./bdat-server.ts";
import { COUNTING_RTT_MS, counted } from "./counted.ts";
import { fresh } from "./fresh.ts";

const FROM = "shop@example.com";
const PASSWORD = "p@ss:w0rd/%41+";
const MORE = 3;
/** Octets of code that one plain message may load, `dist/invoke.mjs` included. */
const MOST_CODE = 330_000;
/** Octets that any function's start reads. */
const MOST_AT_START = 345_000;
/** Of Node's own modules, those that take a while to load and have no part in a plain message. */
const NOT_LOADED = [
  "child_process",
  "fs/promises",
  "http2",
  "internal/deps/undici/undici",
  "internal/webstreams/readablestream",
  "perf_hooks",
  "zlib",
] as const;
/** Octets of V8's heap for a reply of one line. */
const MOST_PER_REPLY = 900;
const REPLIES = 1_000;

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
const COMMAND = /^(?:EHLO|STARTTLS|AUTH|MAIL|RCPT|DATA|BDAT|QUIT|Subject|\.$)/;

function submissionOf(): Submission {
  const text = `From: ${FROM}\r\nTo: a@example.net\r\nSubject: x\r\n\r\nhello\r\n`;
  return {
    from: FROM,
    recipients: ["a@example.net"],
    content: contentOf(Buffer.from(text)),
    partial: "accept",
    smtputf8: false,
  };
}

interface How {
  readonly security?: "implicit" | "starttls";
  readonly mechanism?: string;
}

async function send(
  server: { port: number; ca: string },
  chunking: "auto" | "off",
  count: number,
  { security = "implicit", mechanism = "PLAIN" }: How = {},
) {
  const submission = submissionOf();
  let port = 0;
  const writes = watchWrites(() => port);
  const target = { host: "127.0.0.1", port: server.port };
  const { value, roundTrips } = await counted(target, COUNTING_RTT_MS, (proxy) => {
    port = proxy.port;
    return new Relay().send(
      {
        endpoints: [{ host: proxy.host, port, security }],
        tls: { ca: server.ca },
        ehloName: "[127.0.0.1]",
        credentials: { username: FROM, password: PASSWORD },
        auth: [mechanism],
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

/** SCRAM, which the embedded server lacks, is counted against Postfix (test/mta/round-trips.test.ts). */
describe("round trips and writes of each login", () => {
  const CONTENT = "Subject . QUIT";
  const rows: readonly (readonly [string, number, readonly string[]])[] = [
    ["PLAIN", 6, ["AUTH MAIL RCPT DATA", CONTENT]],
    // The username goes with the command, so that one prompt is answered.
    ["LOGIN", 8, ["AUTH", "", "MAIL RCPT DATA", CONTENT]],
    ["CRAM-MD5", 8, ["AUTH", "", "MAIL RCPT DATA", CONTENT]],
  ];

  it.each(rows)("%s: at most %i, and 2 more with STARTTLS", async (mechanism, most, groups) => {
    const { ports, ca } = mail;
    const implicit = await send({ port: ports.implicit, ca }, "off", 1, { mechanism });
    expect(implicit.writes).toEqual(["EHLO", ...groups]);
    expect(implicit.roundTrips).toBeLessThanOrEqual(most);
    const how = { mechanism, security: "starttls" } as const;
    const starttls = await send({ port: ports.starttls, ca }, "off", 1, how);
    expect(starttls.writes).toEqual(["EHLO", "STARTTLS", "EHLO", ...groups]);
    expect(starttls.roundTrips).toBeLessThanOrEqual(most + 2);
  });
});

it.each([
  ["PIPELINING", 2, false],
  // As Amazon SES: nothing may be grouped, so overlap is all there is to gain.
  ["no PIPELINING", 5, true],
] as const)("made ahead, to a server with %s: %i round trips are left", async (_, left, hidden) => {
  const mail = await startMailServer({
    users: { [FROM]: PASSWORD },
    server: { hidePIPELINING: hidden },
  });
  // Without TLS settings of the mailbox's own, only an authority that the process trusts will do.
  setDefaultCACertificates([...getCACertificates("default"), mail.ca]);
  const target = { host: "127.0.0.1", port: mail.ports.implicit };
  const { value, roundTrips } = await counted(target, COUNTING_RTT_MS, async (proxy) => {
    const endpoint = { host: proxy.host, port: proxy.port, security: "implicit" } as const;
    const target = {
      endpoints: [endpoint],
      tls: {},
      ehloName: "[127.0.0.1]",
      credentials: { username: FROM, password: PASSWORD },
      auth: ["PLAIN"],
      allowPlaintextAuth: false,
      chunking: "off" as const,
      secrets: [PASSWORD],
    };
    const relay = new Relay({ ahead: { endpoint, ehloName: target.ehloName } });
    relay.prepare({ timeLeft: 20_000 });
    // The secret takes its time: EHLO is answered by then.
    while (proxy.stats().roundTrips < GREETED) await new Promise((go) => setTimeout(go, 5));
    const before = proxy.stats().roundTrips;
    const { report } = await relay.send(target, [submissionOf()], { timeLeft: 20_000 });
    return { before, fate: report.messages[0]?.recipients[0]?.fate.is };
  });
  expect(value.fate).toBe("taken");
  await mail.close();
  expect(roundTrips - value.before).toBeLessThanOrEqual(left);
});
/** TCP, TLS, the greeting, EHLO. */
const GREETED = 4;

describe("memory", () => {
  it(`a reply takes at most ${MOST_PER_REPLY} octets of heap`, () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    setFlagsFromString("--no-expose-gc");
    const octets = Buffer.from("250 2.1.5 Ok\r\n".repeat(REPLIES));
    const decode = () => {
      const decoder = new ReplyDecoder();
      let last: unknown;
      decoder.push(octets);
      for (let reply = decoder.take(); reply; reply = decoder.take()) last = reply;
      return last;
    };
    // Until nothing is compiled any more; then the least, since what runs beside can only add.
    for (let warm = 0; warm < 20; warm += 1) decode();
    const taken = Array.from({ length: 10 }, () => {
      collect();
      const before = process.memoryUsage().heapUsed;
      decode();
      return (process.memoryUsage().heapUsed - before) / REPLIES;
    });
    const least = Math.min(...taken.filter((value) => value > 0));
    console.log(`a reply takes ${Math.round(least)} octets of heap`);
    expect(least).toBeLessThanOrEqual(MOST_PER_REPLY);
  });
});

describe("octets of code at start", () => {
  const packages: Readonly<Record<string, readonly string[]>> = JSON.parse(
    readFileSync(new URL("../../dist/packages.json", import.meta.url), "utf8"),
  );

  it.each(Object.keys(packages))(`%s: at most ${MOST_AT_START}`, (name) => {
    const own = new RegExp(`/(${name}\\.mjs|(early|start)-${name}(-\\w+)?\\.[mc]js)$`);
    const start = packages[name]?.filter((file) => own.test(file)) ?? [];
    expect(start.length).toBe(4);
    const octets = start.map((file) => statSync(new URL(`../../${file}`, import.meta.url)).size);
    expect(octets.reduce((sum, one) => sum + one, 0)).toBeLessThanOrEqual(MOST_AT_START);
  });
});

describe("a plain message", () => {
  const bundle = fileURLToPath(new URL("../../dist/invoke.mjs", import.meta.url));
  const event = { to: "a@example.net", subject: "x", text: "hello" };
  let secrets: Secrets;
  let environment: Record<string, string>;

  beforeAll(async () => {
    const secret = mail.mailbox(FROM, PASSWORD);
    secrets = await startSecrets({ box: JSON.stringify(secret) });
    environment = { MAILBOX_SECRET_ID: "box", AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url };
  });
  afterAll(() => secrets.close());

  it(`loads at most ${MOST_CODE} octets of code`, async () => {
    const { outcome, loaded } = await fresh({ bundle, event, environment, count: true });
    expect(outcome).toBe("accepted");
    const entries = Object.entries(loaded);
    expect(entries.map(([url]) => basename(url))).toContain("invoke.mjs");
    const octets = entries.reduce((sum, [, size]) => sum + size, 0);
    console.log(`a plain message loads ${octets} octets in ${entries.length} modules`);
    expect(octets).toBeLessThanOrEqual(MOST_CODE);
  });

  it("makes Node load none of its modules that have no part in it", async () => {
    const { outcome, builtins } = await fresh({ bundle, event, environment });
    expect(outcome).toBe("accepted");
    expect(builtins).toContain("tls");
    expect(NOT_LOADED.filter((name) => builtins.includes(name))).toEqual([]);
  });

  it("looks for no files of the AWS SDK with a ledger, either", async () => {
    const dynamo = await startDynamo();
    try {
      const { outcome, builtins } = await fresh({
        bundle,
        event: { ...event, idempotencyKey: "count" },
        environment: {
          ...environment,
          LEDGER_TABLE: dynamo.table,
          AWS_ENDPOINT_URL_DYNAMODB: dynamo.url,
        },
      });
      expect(outcome).toBe("accepted");
      expect(builtins).not.toContain("fs/promises");
    } finally {
      await dynamo.close();
    }
  });
});
