/**
 * Every dialogue again, over a real socket and through the driver: what was shown of the pure
 * conversation must hold of the octets. Each group must leave in one write, counted where the driver
 * hands it over, since a stream does not keep the bounds of writes.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Certificate, makeCertificate } from "../../infra/local/certificate.ts";
import { greet } from "../../lib/smtp/greet.ts";
import { Connection } from "../../lib/smtp/io/connection.ts";
import { begin, type DriverOptions, drive } from "../../lib/smtp/io/driver.ts";
import { Stopwatch } from "../../lib/smtp/io/stopwatch.ts";
import { Redactor } from "../../lib/smtp/redact.ts";
import type { SessionReport } from "../../lib/smtp/report.ts";
import { session } from "../../lib/smtp/session.ts";
import { type Entry, Transcript } from "../../lib/smtp/transcript.ts";
import { type Dialogue, dialogues, expectReport } from "../support/dialogue.ts";
import type { Split } from "../support/player.ts";
import { serve } from "../support/scripted-server.ts";

/** Mutation testing hears the server one way only: how octets are cut is the decoder's own matter. */
const splits = (process.env["SOCKET_SPLITS"]?.split(",") ?? [
  "whole",
  "line",
  "octet",
]) as readonly Split[];
const LIMIT_MS = 5000;

let identity: Certificate;
beforeAll(async () => {
  identity = await makeCertificate({ names: ["server.test"], ips: [] });
});

const plays = dialogues().flatMap((dialogue) =>
  splits
    .filter((split) => dialogue.only.length === 0 || dialogue.only.includes(split))
    .map((split) => [dialogue.file, split, dialogue] as const),
);

describe.concurrent("over a socket", () => {
  it.each(plays)("%s (server speaks by %s)", async (_, split, dialogue) => {
    const server = await serve(dialogue, split, identity);
    const { report, writes, entries } = await play(dialogue, server.port);
    await server.done;
    expectReport(report, dialogue);
    expect(writes).toBe(groups(dialogue));
    expectTranscript(entries, dialogue);
  });
});

describe.concurrent("over a socket, begun ahead", () => {
  // Where the greeting or EHLO fails, nothing made ahead is ever used.
  const whole = plays.filter(([, split]) => split === "whole");
  it.each(whole)("%s", async (_, _split, dialogue) => {
    const server = await serve(dialogue, "whole", identity);
    const played = await play(dialogue, server.port, true);
    if (played === undefined) {
      // To the server a client that leaves early has broken the dialogue off.
      await server.done.catch(() => {});
      return expect(dialogue.file).toMatch(GREETING_FAILS);
    }
    await server.done;
    expectReport(played.report, dialogue);
    expect(played.writes).toBe(groups(dialogue));
    return expectTranscript(played.entries, dialogue);
  });
});

const GREETING_FAILS = /^(ehlo|greeting|helo|reply|starttls|lost)-/;

afterAll(async () => {
  // What the client destroyed a moment ago is closed by the loop's next turns.
  for (let turn = 0; turn < 100 && sockets().length > 0; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(sockets()).toEqual([]);
});

interface Played {
  readonly report: SessionReport;
  readonly writes: number;
  readonly entries: readonly Entry[];
}

/** @param ahead begun before it is known what is to be sent; undefined where that does not get far */
async function play(dialogue: Dialogue, port: number, ahead?: false): Promise<Played>;
async function play(dialogue: Dialogue, port: number, ahead: true): Promise<Played | undefined>;
async function play(dialogue: Dialogue, port: number, ahead = false): Promise<Played | undefined> {
  const endsAt = performance.now() + LIMIT_MS;
  const endpoint = { host: "127.0.0.1", port };
  const connection = await Connection.open(endpoint, { endsAt, helloBy: endsAt });
  let writes = 0;
  const write = connection.write.bind(connection);
  connection.write = (octets, phase) => {
    writes += 1;
    return write(octets, phase);
  };
  const redactor = new Redactor();
  const { password, token } = dialogue.plan.credentials ?? {};
  redactor.learn(password);
  redactor.learn(token);
  const transcript = new Transcript(redactor);
  const options: DriverOptions = {
    tls: { ca: identity.ca, servername: "server.test" },
    transcript,
    redactor,
    watch: new Stopwatch(),
  };
  const { plan, submissions } = dialogue;
  const said = ahead
    ? await begin(greet(plan.security, plan.ehloName), connection, options).catch(() => undefined)
    : [];
  if (said === undefined) {
    connection.close(false);
    await connection.released();
    return undefined;
  }
  const report = await drive(session(plan, submissions), connection, { ...options, said });
  return { report, writes, entries: transcript.entries() };
}

/** Client lines without a server's between them. */
function groups({ lines }: Dialogue): number {
  return lines.filter(({ from }, at) => from === "C" && lines[at - 1]?.from !== "C").length;
}

/** The transcript is the dialogue again, credentials apart. */
function expectTranscript(entries: readonly Entry[], { lines, plan }: Dialogue): void {
  const said = lines.filter(({ from }) => from === "C").map(({ text }) => text);
  const shown = entries.filter(({ from }) => from === "C").map(({ text }) => text);
  for (const [at, text] of said.entries()) {
    const secret = shown[at]?.endsWith("***") ?? false;
    if (secret) expect(text.startsWith((shown[at] as string).slice(0, -3))).toBe(true);
    else expect(shown[at]).toBe(text);
  }
  const all = JSON.stringify(entries);
  const wire = said.flatMap((text) => /^AUTH \S+ (\S{2,})$/.exec(text)?.[1] ?? []);
  for (const secret of [plan.credentials?.password, plan.credentials?.token, ...wire]) {
    if (secret) expect(all).not.toContain(secret);
  }
  expectHeard(entries, lines);
}

/** What the server said is there as it said it, up to where nobody listened any more. */
function expectHeard(entries: readonly Entry[], lines: Dialogue["lines"]): void {
  const said = lines.filter(({ from }) => from === "S").map(({ text }) => text.trimEnd());
  const shown = entries.filter(({ from }) => from === "S").map(({ text }) => text);
  for (const [at, text] of shown.entries()) {
    // Of octets that are written as `\\xNN` or masked, others tell (reply.test.ts, transcript.test.ts).
    if (!/\*\*\*|\ufffd/.test(text) && !said[at]?.includes("\\")) expect(text).toBe(said[at]);
  }
  const last = lines.findLastIndex(({ from }) => from === "C");
  const answered = lines.slice(0, last).filter(({ from }) => from === "S");
  expect(shown.length).toBeGreaterThanOrEqual(answered.length);
}

function sockets(): readonly string[] {
  return process.getActiveResourcesInfo().filter((name) => /^(TCP|TLS).*(Wrap|WRAP)$/.test(name));
}
