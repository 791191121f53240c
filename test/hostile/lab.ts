/**
 * One hostile scenario through the whole use case: a request, a mailbox, `submit`, and a server that
 * misbehaves. What must hold of every send, whatever the server does, is checked here and not in the
 * scenarios: no credential in clear, one terminator at most, nothing shown, nothing left behind.
 */
import { AsyncLocalStorage, createHook } from "node:async_hooks";
import { getEventListeners } from "node:events";
import { inspect } from "node:util";
import { type Authority, makeAuthority, makeCertificate } from "../../infra/local/certificate.ts";
import { Relay } from "../../lib/smtp/io/relay.ts";
import { Mailboxes } from "../../lib/submission/mailboxes.ts";
import type { Result } from "../../lib/submission/outcome.ts";
import type { Sent } from "../../lib/submission/ports.ts";
import { RateLimit } from "../../lib/submission/rate.ts";
import { type SubmitPorts, submit } from "../../lib/submission/submit.ts";
import { jsonLog } from "../../lib/telemetry/log.ts";
import type { Scenario } from "./scenarios.ts";
import { startHostile, type Wire } from "./server.ts";

export const USERNAME = "shop@example.com";
/** With what has another form in base64, in URLs, in JSON and in a regular expression. */
export const PASSWORD = 'Tr0ub4dor & "3"/+=?~(x)*\\é';
export const TOKEN = "ya29.a0AfH6SMBx-hostile_token~value/1234567890==";

export interface Identity {
  readonly cert: string;
  readonly key: string;
}

export type IdentityName = "good" | "wrongName" | "expired" | "selfSigned" | "unknownAuthority";

export interface Identities extends Readonly<Record<IdentityName, Identity>> {
  /** What the mailbox trusts. */
  readonly ca: string;
}

export async function makeIdentities(): Promise<Identities> {
  const ca: Authority = await makeAuthority("hostile test authority");
  const [good, wrongName, expired, selfSigned, unknownAuthority] = await Promise.all([
    makeCertificate({ ca }),
    makeCertificate({ ca, names: ["elsewhere.test"], ips: [] }),
    makeCertificate({ ca, expired: true }),
    makeCertificate({ selfSigned: true }),
    makeCertificate(),
  ]);
  return { ca: ca.cert, good, wrongName, expired, selfSigned, unknownAuthority };
}

export interface Seen {
  /** What came of it, in the words that a scenario expects. */
  readonly row: string;
  /** What must never be, and was. */
  readonly faults: readonly string[];
  readonly result: Result;
}

/** What a result and the server's count say, in one line. */
function rowOf(result: Result, delivered: number): string {
  const again = result.retryable ? ", again" : "";
  const why = result.error ? `: ${result.error.code} in ${result.error.phase}` : "";
  return `${result.outcome}${again}${why}; ${delivered} delivered`;
}

export async function play(scenario: Scenario, identities: Identities): Promise<Seen> {
  hook.enable();
  const scripts = scenario.scripts(identities);
  const servers = await Promise.all(
    scripts.map((script) => startHostile([script], identities.good)),
  );
  const abort = new AbortController();
  const lines: string[] = [];
  const sent: Sent[] = [];
  const held = new Map<number, string>();
  try {
    const secret = secretFor(
      scenario,
      servers.map(({ port }) => port),
      identities,
    );
    const ports = portsFor(secret, sent);
    let begun: number | undefined;
    const limits = {
      // From the first question on: what a slow machine takes to read the request is not the server's.
      timeLeft: () => {
        begun ??= performance.now();
        return Math.max(0, (scenario.timeLeft ?? 20_000) - (performance.now() - begun));
      },
      signal: abort.signal,
    };
    const order = { input: scenario.request, id: "scenario", date: new Date() };
    const result = await resources.run(held, () => submit(ports, order, limits));
    jsonLog({ level: "debug" }, (line) => lines.push(line)).submission({
      source: "invoke",
      result,
      requestId: "request",
    });
    await settled(held);
    // What the server was sent before the client left may still be on its way to it.
    const wires = servers.flatMap((server) => server.wires);
    for (
      let turn = 0;
      turn < 400 && wires.some((wire) => !wire.over && !scenario.deaf);
      turn += 1
    ) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const deliveries = wires.flatMap((wire) => wire.deliveries);
    const faults = [
      ...onWire(wires, secret),
      ...terminators(wires),
      ...content(wires, scenario),
      ...shown(secret, result, lines, sent),
      ...[...held.values()].map((type) => `a ${type} outlived the send`),
      ...(wires.some((wire) => !wire.over && !scenario.deaf) ? ["the client stayed"] : []),
      ...(getEventListeners(abort.signal, "abort").length > 0 ? ["a listener is left"] : []),
      ...(scenario.check?.(result, wires) ?? []),
    ];
    return { row: rowOf(result, deliveries.length), faults, result };
  } finally {
    await Promise.all(servers.map((server) => server.close()));
  }
}

interface Secret {
  readonly json: string;
  readonly credentials: readonly string[];
  readonly inClear: boolean;
}

function secretFor(scenario: Scenario, ports: readonly number[], identities: Identities): Secret {
  const security = scenario.scripts(identities)[0]?.security ?? "implicit";
  const hosts = ports.map((port) => `127.0.0.1:${port}`);
  const mailbox = {
    host: hosts,
    security,
    username: USERNAME,
    password: PASSWORD,
    tls: { ca: identities.ca },
    ...scenario.mailbox,
  };
  const token = "oauth2" in mailbox;
  return {
    json: JSON.stringify(mailbox),
    credentials: token ? [TOKEN, PASSWORD] : [PASSWORD],
    inClear: scenario.mailbox?.["allowPlaintextAuth"] === true,
  };
}

export function portsFor(secret: { readonly json: string }, sent: Sent[]): SubmitPorts {
  const relay = new Relay();
  return {
    config: {
      secretId: "mailbox",
      secretPrefix: undefined,
      allowedRecipients: undefined,
      attachmentBuckets: [],
      transcript: "full",
    },
    mailboxes: new Mailboxes({
      secrets: { read: async () => ({ secret: secret.json, version: "1" }) },
      cacheSeconds: 300,
      now: () => performance.now(),
    }),
    rate: new RateLimit(),
    relay: {
      send: async (target, submissions, options) => {
        const report = await relay.send(target, submissions, options);
        sent.push(report);
        return report;
      },
    },
    tokens: { get: async () => TOKEN, invalidate: () => {} },
    ehloName: "client.test",
    attachments: async () => {
      throw new Error("no attachments here");
    },
    plainText: async () => async (html) => html,
    signer: async () => async (unsigned) => unsigned,
  };
}

/** Every form in which a credential may be seen. */
export function formsOf(secret: string): readonly string[] {
  const octets = Buffer.from(secret, "utf8");
  const encoded = octets.toString("base64");
  const plain = Buffer.from(`\0${USERNAME}\0${secret}`).toString("base64");
  const bare = (text: string) => text.replace(/=+$/, "");
  return [
    secret,
    octets.toString("latin1"),
    JSON.stringify(secret).slice(1, -1),
    bare(encoded),
    octets.toString("base64url"),
    encodeURIComponent(secret),
    encodeURIComponent(secret).toLowerCase(),
    encodeURIComponent(encoded),
    bare(plain),
    octets.toString("hex"),
  ];
}

function holds(text: string, secret: string): boolean {
  const folded = text.toLowerCase();
  return formsOf(secret).some((form) => folded.includes(form.toLowerCase()));
}

/** What a listener could read off the wire before TLS, or without it. */
function onWire(wires: readonly Wire[], { credentials, inClear }: Secret): readonly string[] {
  if (inClear) return [];
  return wires.flatMap((wire) => {
    const clear = Buffer.concat(wire.clear).toString("latin1");
    // Whatever else is base64 there may hold a credential between other octets.
    const inner = (clear.match(/[A-Za-z0-9+/=_-]{8,}/g) ?? []).map((text) =>
      Buffer.from(text, "base64").toString("latin1"),
    );
    const seen = [clear, ...inner].some((text) => credentials.some((each) => holds(text, each)));
    return [
      ...(seen ? ["a credential was seen in clear"] : []),
      ...(/^AUTH\b/im.test(clear) ? ["AUTH was sent in clear"] : []),
    ];
  });
}

/** Each recipient's message ends once at most, and no other ending is hidden in it. */
function terminators(wires: readonly Wire[]): readonly string[] {
  const faults: string[] = [];
  const all = wires.flatMap((wire) => wire.ended);
  const counted = new Map<string, number>();
  for (const { to } of all) {
    for (const address of to) counted.set(address, (counted.get(address) ?? 0) + 1);
  }
  for (const [address, count] of counted) {
    if (count > 1) faults.push(`${address} was sent to ${count} times`);
  }
  if (all.filter(({ to }) => to.length === 0).length > 1) faults.push("content for nobody, twice");
  for (const { octets, framing } of all) {
    const text = octets.toString("latin1");
    if (/\r(?!\n)|(?<!\r)\n/.test(text)) faults.push("a bare CR or LF in the content");
    if (framing === "data" && /(?:^|[\r\n])\.(?:[\r\n]|$)/.test(text)) {
      faults.push("a terminator in the middle of the content");
    }
  }
  for (const command of wires.flatMap((wire) => wire.commands)) {
    if (/[\r\n\0]/.test(command)) faults.push("a control in a command");
    if (/evil/i.test(command)) faults.push(`a smuggled command: ${command}`);
    if (!/^(EHLO|HELO|STARTTLS|AUTH|MAIL|RCPT|DATA|BDAT|RSET|QUIT)\b/.test(command)) {
      // What the server did not take for a command was an answer to a challenge.
      if (!/^(?:[A-Za-z0-9+/]*={0,2}|\*)$/.test(command)) faults.push(`said ${command}`);
    }
  }
  return faults;
}

/** Whatever was ended is the whole message and nothing else. */
function content(wires: readonly Wire[], { ends }: Scenario): readonly string[] {
  return wires
    .flatMap((wire) => wire.ended)
    .filter(({ content: came }) => !came.toString("latin1").endsWith(`${ends}\r\n`))
    .map(() => "the content that was ended is not the message");
}

/** Everything a person or a log may ever see of this send. */
function shown(
  { credentials }: Secret,
  result: Result,
  log: readonly string[],
  sent: readonly Sent[],
): readonly string[] {
  const errors = sent.flatMap(({ report }) => [
    report.error,
    ...report.messages.flatMap(({ recipients }) =>
      recipients.map(({ fate }) => ("error" in fate ? fate.error : undefined)),
    ),
  ]);
  const views: Readonly<Record<string, string>> = {
    result: leaves(result).join("\n"),
    "the result as JSON": JSON.stringify(result),
    "the inspected result": inspect(result, { depth: 20 }),
    log: log.join(""),
    "an inspected error": errors.map((e) => inspect(e, { depth: 20, showHidden: true })).join("\n"),
    "a stack": errors.map((error) => error?.stack ?? "").join("\n"),
  };
  return Object.entries(views).flatMap(([name, text]) =>
    credentials.some((secret) => holds(text, secret)) ? [`a credential is shown in ${name}`] : [],
  );
}

/** Every string of a value, names of fields included. */
function leaves(value: unknown): readonly string[] {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) => [name, ...leaves(each)]);
}

/** Sockets, lookups and timers that were made on behalf of a send and still live. */
const resources = new AsyncLocalStorage<Map<number, string>>();
const KINDS = new Set(["TCPWRAP", "GETADDRINFOREQWRAP", "Timeout"]);
const owners = new Map<number, Map<number, string>>();
const hook = createHook({
  init(id, type) {
    const held = KINDS.has(type) ? resources.getStore() : undefined;
    if (held === undefined) return;
    held.set(id, type);
    owners.set(id, held);
  },
  destroy(id) {
    owners.get(id)?.delete(id);
    owners.delete(id);
  },
});

/** A closed handle is gone only some turns of the loop later. */
async function settled(held: ReadonlyMap<number, string>): Promise<void> {
  for (let turn = 0; turn < 200 && held.size > 0; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
