/**
 * What is fuzzed, and what must hold of it. The contract is the same everywhere: an input is accepted,
 * or refused with a typed error; never another exception, and never without an end.
 */
import fc from "fast-check";
import { dateOf, idOf, recordsOf, unwrap } from "../../functions/events.ts";
import { decodeHttp } from "../../functions/http.ts";
import { withoutBcc } from "../../functions/s3.ts";
import {
  domainOf,
  needsSmtputf8,
  parseAddress,
  parseAddressList,
  parseMailbox,
} from "../../lib/message/address.ts";
import { parseRaw } from "../../lib/message/raw.ts";
import { parseRequest } from "../../lib/message/schema.ts";
import { cramMd5 } from "../../lib/sasl/cram-md5.ts";
import { digestMd5 } from "../../lib/sasl/digest-md5.ts";
import { external } from "../../lib/sasl/external.ts";
import { login } from "../../lib/sasl/login.ts";
import { type SaslContext, SaslError } from "../../lib/sasl/mechanism.ts";
import { oauthbearer } from "../../lib/sasl/oauthbearer.ts";
import { plain } from "../../lib/sasl/plain.ts";
import { scramBare, scramPlus } from "../../lib/sasl/scram.ts";
import { xoauth2 } from "../../lib/sasl/xoauth2.ts";
import { capabilities } from "../../lib/smtp/capabilities.ts";
import { type Content, contentOf } from "../../lib/smtp/data.ts";
import { mail, rcpt, type Submission, unwritable } from "../../lib/smtp/envelope.ts";
import { SmtpError } from "../../lib/smtp/error.ts";
import { type Reply, ReplyDecoder, textOf } from "../../lib/smtp/reply.ts";
import { type SessionPlan, session } from "../../lib/smtp/session.ts";
import type { Answer, Effect, Phase } from "../../lib/smtp/step.ts";
import { Mailboxes } from "../../lib/submission/mailboxes.ts";
import { pointerIn } from "../../lib/submission/queue.ts";
import { RateLimit } from "../../lib/submission/rate.ts";
import { readCarried } from "../../lib/submission/redelivery.ts";
import { type SubmitPorts, submit } from "../../lib/submission/submit.ts";
import { eventSeeds, jsonSeeds, octetsFrom, seeds, textFrom, valuesFrom } from "./mutate.ts";

export interface Target {
  readonly name: string;
  /** Which of the two counts of a long run it goes by, and how many of each it takes. */
  readonly kind: "replies" | "requests";
  readonly share: number;
  property(): fc.IRawProperty<unknown, boolean>;
}

function demand(holds: boolean, what: string): void {
  if (!holds) throw new Error(`violated: ${what}`);
}

// ---------------------------------------------------------------- the server's octets

/** All that a decoder makes of octets: replies, then the error that ended them. */
function decode(pieces: Iterable<Uint8Array>): {
  replies: Reply[];
  failure: SmtpError | undefined;
} {
  const decoder = new ReplyDecoder();
  const replies: Reply[] = [];
  for (const piece of pieces) decoder.push(piece);
  try {
    for (let reply = decoder.take(); reply; reply = decoder.take()) replies.push(reply);
    return { replies, failure: undefined };
  } catch (error) {
    if (!(error instanceof SmtpError) || error.code !== "protocol_error") throw error;
    return { replies, failure: error };
  }
}

function* cut(octets: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, turn = 0; at < octets.length; turn += 1) {
    const size = 1 + (sizes[turn % Math.max(1, sizes.length)] ?? octets.length);
    yield octets.subarray(at, at + size);
    at += size;
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what is looked for
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

export function checkReplies(octets: Uint8Array, sizes: readonly number[]): readonly Reply[] {
  const whole = decode([octets]);
  const pieces = decode(cut(octets, sizes));
  demand(whole.replies.length === pieces.replies.length, "the cut changes the number of replies");
  demand(whole.failure?.message === pieces.failure?.message, "the cut changes the failure");
  for (const [index, reply] of whole.replies.entries()) {
    demand(reply.code >= 200 && reply.code <= 599, "a code that is none");
    demand(!CONTROLS.test(textOf(reply)), "a control in a reply's text");
    demand(textOf(reply) === textOf(pieces.replies[index] as Reply), "the cut changes a text");
    const offered = capabilities(reply);
    demand(offered.size === undefined || offered.size > 0, "a size that is none");
    for (const limit of Object.values(offered.limits)) demand(limit > 0, "a limit that is none");
  }
  return whole.replies;
}

const MESSAGE = contentOf(Buffer.from("Subject: x\r\n\r\n.\r\nbody\r\n"));
const PLANS: readonly Omit<SessionPlan, "ehloName" | "host" | "port" | "nonce">[] = (
  [
    { credentials: { username: "user", password: "pencil" } },
    { credentials: { username: "user", token: "ya29.token" } },
    { credentials: { username: "user", password: "pencil" }, auth: ["SCRAM-SHA-256", "CRAM-MD5"] },
    { credentials: { username: "user", password: "pencil" }, auth: ["LOGIN", "DIGEST-MD5"] },
    {},
  ] as const
).flatMap((who) =>
  (["none", "starttls", "implicit"] as const).flatMap((security) =>
    (["auto", "off"] as const).map((chunking) => ({
      ...who,
      security,
      chunking,
      allowPlaintextAuth: false,
    })),
  ),
);

/** A conversation longer than any that these messages can need does not end. */
const MOST_EFFECTS = 2_000;

/**
 * The pure conversation with a server that has said all it will ever say.
 * @returns the phases in which it was answered
 */
export function checkSession(octets: Uint8Array, which: number): ReadonlySet<Phase> {
  const plan: SessionPlan = {
    ...(PLANS[which % PLANS.length] as (typeof PLANS)[number]),
    ehloName: "client.test",
    host: "mail.example",
    port: 587,
    nonce: () => "fyko+d2lbbFgONRv9qkxdawL",
  };
  const two = ["a@example.net", "b@example.net"];
  const submissions: Submission[] = [
    {
      from: "s@example.com",
      recipients: two,
      content: MESSAGE,
      partial: "accept",
      smtputf8: false,
    },
    {
      from: "s@example.com",
      recipients: two,
      content: MESSAGE,
      partial: "refuse",
      smtputf8: false,
    },
  ];
  const decoder = new ReplyDecoder();
  decoder.push(octets);
  let secure = false;
  let terminators = 0;
  const answered = new Set<Phase>();
  const perform = (effect: Effect): Answer => {
    switch (effect.do) {
      case "write": {
        const text = Buffer.from(effect.line.bytes).toString("latin1");
        demand(/^[^\r\n\0]*\r\n$/.test(text), "a command of several lines");
        demand(secure || !/^AUTH\b/.test(text), "AUTH without TLS");
        if (text === ".\r\n" || / LAST\r\n$/.test(text)) terminators += 1;
        return undefined;
      }
      case "secure":
        if (secure) throw new Error("TLS within TLS");
        secure = true;
        answered.add("tls");
        return { protocol: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256", bindings: [] };
      case "read": {
        const reply = decoder.take();
        if (reply === undefined) {
          throw new SmtpError("connection_lost", "No more.", { phase: effect.phase });
        }
        answered.add(effect.phase);
        return reply;
      }
      default:
        return undefined;
    }
  };
  const conversation = session(plan, submissions);
  let step = conversation.next();
  for (let effects = 0; !step.done; effects += 1) {
    demand(effects < MOST_EFFECTS, "the conversation does not end");
    try {
      step = conversation.next(perform(step.value));
    } catch (error) {
      if (!(error instanceof SmtpError)) throw error;
      step = conversation.throw(error);
    }
  }
  const report = step.value;
  demand(report.error?.code !== "internal_error", `internal error: ${report.error?.message}`);
  for (const { recipients } of report.messages) {
    demand(recipients.length === 2, "a recipient is missing");
    for (const { fate } of recipients) {
      demand(fate.is !== "taken" || terminators > 0, "taken, and nothing was sent");
      demand(fate.is !== "lost" || terminators > 0, "lost, and nothing was sent");
    }
  }
  return answered;
}

// ---------------------------------------------------------------- challenges

const MECHANISMS = [
  ...scramPlus,
  ...scramBare,
  plain,
  login,
  cramMd5,
  digestMd5,
  external,
  oauthbearer,
  xoauth2,
];
const CONTEXT: SaslContext = {
  credentials: { username: "user", password: "pencil", token: "ya29.token", certificate: true },
  host: "mail.example",
  port: 587,
  secure: true,
  nonce: () => "fyko+d2lbbFgONRv9qkxdawL",
  bindings: [{ type: "tls-exporter", data: new Uint8Array(32) }],
  advertised: MECHANISMS.map(({ name }) => name),
};

export function checkChallenges(which: number, challenges: readonly Uint8Array[]): void {
  const mechanism = MECHANISMS[which % MECHANISMS.length] as (typeof MECHANISMS)[number];
  try {
    const exchange = mechanism.begin(CONTEXT);
    demand(exchange.initial === undefined || exchange.initial instanceof Uint8Array, "octets");
    for (const challenge of challenges) {
      demand(exchange.next(challenge) instanceof Uint8Array, "an answer that is no octets");
    }
    exchange.finish();
    demand(!mechanism.name.startsWith("SCRAM"), "SCRAM finished with a server that knows nothing");
  } catch (error) {
    if (!(error instanceof SaslError)) throw error;
  }
}

// ---------------------------------------------------------------- requests and messages

const SECRET = JSON.stringify({
  host: "mail.example",
  username: "shop@example.com",
  password: "pencil",
  allowedFrom: ["@example.com", "@example.net"],
});
const EVERYTHING = capabilities({
  code: 250,
  lines: [
    "mail.example",
    ..."PIPELINING 8BITMIME SMTPUTF8 DSN REQUIRETLS MT-PRIORITY DELIVERBY FUTURERELEASE".split(" "),
  ],
});

/** A relay that takes all, once it has written every line and read every octet. */
const PORTS: SubmitPorts = {
  config: {
    secretId: "mailbox",
    secretPrefix: "m-",
    allowedRecipients: undefined,
    attachmentBuckets: [],
    transcript: "full",
  },
  mailboxes: new Mailboxes({
    secrets: { read: async () => ({ secret: SECRET, version: "1" }) },
    cacheSeconds: 1e9,
    now: () => 0,
  }),
  rate: new RateLimit(),
  relay: {
    send: async ({ endpoints: [endpoint] }, submissions) => {
      for (const submission of submissions) await written(submission);
      return {
        endpoint: endpoint as NonNullable<typeof endpoint>,
        tls: undefined,
        timing: { totalMs: 0, connectMs: 0, tlsMs: 0, authMs: 0, transactionMs: 0, roundTrips: 0 },
        begun: 0,
        transcript: [],
        scrub: (text) => text,
        report: {
          capabilities: EVERYTHING,
          channel: undefined,
          mechanism: "PLAIN",
          error: undefined,
          messages: submissions.map(({ recipients }) => ({
            notes: [],
            recipients: recipients.map((address) => ({
              address,
              fate: { is: "taken", reply: { code: 250, lines: ["ok"] } } as const,
            })),
          })),
        },
      };
    },
  },
  tokens: { get: async () => "", invalidate: () => {} },
  ehloName: "client.test",
  attachments: async () => async () => {
    throw new Error("never asked: policy refuses every bucket");
  },
  plainText: async () => (await import("../../lib/message/plain-text.ts")).plainText,
  signer: async () => async (content) => content,
};

class Violation extends Error {}
let violation: Violation | undefined;

async function written(submission: Submission): Promise<void> {
  const fail = (what: string) => {
    // Kept aside, since a submission turns whatever is thrown here into a result.
    violation = new Violation(`violated: ${what}`);
  };
  if (unwritable(submission, EVERYTHING) === undefined) {
    const lines = [
      mail(submission, EVERYTHING),
      ...submission.recipients.map((to) => rcpt(to, submission, EVERYTHING)),
    ];
    for (const { bytes } of lines) {
      const text = Buffer.from(bytes).toString("latin1");
      if (!/^(MAIL FROM|RCPT TO):<[^\r\n\0]*\r\n$/.test(text)) fail(`a command line: ${text}`);
    }
  }
  const octets = await octetsOf(submission.content);
  if (octets.length !== submission.content.size) fail("the content is not of its size");
  if (/\r(?!\n)|(?<!\r)\n|\0/.test(octets.toString("latin1"))) fail("a bare CR, LF or NUL");
}

async function octetsOf(content: Content): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content.open()) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

const LIMITS = { timeLeft: () => 60_000 };
const DATE = new Date("2025-07-01T10:00:00Z");

export async function checkRequest(input: unknown): Promise<void> {
  const parsed = parseRequest(input);
  demand(parsed.ok || parsed.issues.length > 0, "refused without a reason");
  violation = undefined;
  const result = await submit(PORTS, { input, id: "fuzz", date: DATE }, LIMITS);
  if (violation) throw violation;
  demand(result.error?.code !== "internal_error", `internal error: ${result.error?.message}`);
  demand(Object.hasOwn(Object.prototype, "polluted") === false, "pollution");
}

export function checkRaw(octets: Uint8Array): void {
  const parsed = parseRaw(Buffer.from(octets).toString("base64"));
  demand(parsed.ok || parsed.reasons.length > 0, "refused without a reason");
  if (!parsed.ok) return;
  for (const { name } of parsed.value.fields) demand(/^[!-9;-~]+$/.test(name), `a name: ${name}`);
}

export function checkAddress(text: string): void {
  parseAddressList(text);
  const mailbox = parseMailbox(text);
  if (mailbox.ok) checkOne(mailbox.value.address);
  const address = parseAddress(text);
  if (address.ok) checkOne(address.value);
}

function checkOne(address: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what is looked for
  demand(!/[\u0000-\u001f\u007f]/.test(address), "a control in an address");
  needsSmtputf8(address);
  domainOf(address);
  const again = parseAddress(address);
  demand(again.ok && again.value === address, `an address read again is another: ${address}`);
}

// ---------------------------------------------------------------- events

/** What a gateway hands over: strings under any name, in its own shape. */
const gateway: fc.Arbitrary<unknown> = fc.record({
  rawPath: fc.option(fc.string({ unit: "binary" }), { nil: undefined }),
  path: fc.option(fc.string({ unit: "binary" }), { nil: undefined }),
  httpMethod: fc.option(fc.string(), { nil: undefined }),
  requestContext: fc.option(
    fc.record({ http: fc.option(fc.record({ method: fc.string() }), { nil: undefined }) }),
    { nil: undefined },
  ),
  headers: fc.option(fc.dictionary(fc.string(), fc.string({ unit: "binary" })), { nil: null }),
  multiValueHeaders: fc.option(fc.dictionary(fc.string(), fc.array(fc.string())), { nil: null }),
  queryStringParameters: fc.option(fc.dictionary(fc.string(), fc.string()), { nil: null }),
  body: fc.option(fc.string({ unit: "binary" }), { nil: null }),
  isBase64Encoded: fc.boolean(),
});

export function checkGateway(event: unknown): void {
  const request = decodeHttp(event);
  if (request === undefined) return;
  demand(typeof request.body === "string", "a body that is no text");
  demand(request.method === request.method.toUpperCase(), "a method in lower case");
}

export function checkEvent(event: unknown): void {
  const known = { id: "known", date: DATE };
  for (const each of [event, JSON.stringify(event), ...recordsOf(event)]) {
    const { order } = unwrap(each, known);
    demand(/^[\x20-\x7e]{1,255}$/.test(order.id), `an id that no key can be: ${order.id}`);
    demand(!Number.isNaN(order.date.getTime()), "a date that is none");
    pointerIn(order.input);
  }
  const text = typeof event === "string" ? event : (JSON.stringify(event) ?? "");
  readCarried(text);
  idOf(event, "otherwise");
  demand(!Number.isNaN(dateOf(event, known).getTime()), "a date that is none");
}

export function checkBcc(octets: Uint8Array): void {
  const kept = withoutBcc(octets);
  const header = kept.split(/(?:\r\n|\n|\r)(?:\r\n|\n|\r)/)[0] ?? "";
  demand(!/^bcc[ \t]*:/im.test(header), "a Bcc is left");
}

// ---------------------------------------------------------------- all of them

const sizes = fc.array(fc.nat(40), { minLength: 1, maxLength: 4 });

export const TARGETS: readonly Target[] = [
  {
    name: "replies: decoder, capabilities and the whole conversation",
    kind: "replies",
    share: 1,
    property: () =>
      fc.property(octetsFrom(seeds("reply-")), sizes, fc.nat(1000), (octets, cuts, plan) => {
        checkReplies(octets, cuts);
        checkSession(octets, plan);
        return true;
      }) as fc.IRawProperty<unknown, boolean>,
  },
  {
    name: "challenges: every mechanism",
    kind: "replies",
    share: 0.05,
    property: () =>
      fc.property(
        fc.nat(100),
        fc.array(octetsFrom(seeds("challenge-")), { maxLength: 4 }),
        (which, challenges) => {
          checkChallenges(which, challenges);
          return true;
        },
      ) as fc.IRawProperty<unknown, boolean>,
  },
  {
    name: "requests: schema, policy, composition, command lines",
    kind: "requests",
    share: 1,
    property: () =>
      fc.asyncProperty(valuesFrom(jsonSeeds("request-")), async (input) => {
        await checkRequest(input);
        return true;
      }) as fc.IRawProperty<unknown, boolean>,
  },
  {
    name: "raw messages, and Bcc taken out of them",
    kind: "requests",
    share: 1,
    property: () =>
      fc.property(octetsFrom(seeds("message-")), (octets) => {
        checkRaw(octets);
        checkBcc(octets);
        return true;
      }) as fc.IRawProperty<unknown, boolean>,
  },
  {
    name: "addresses",
    kind: "requests",
    share: 1,
    property: () =>
      fc.property(textFrom(lines(seeds("addresses"))), (text) => {
        checkAddress(text);
        return true;
      }) as fc.IRawProperty<unknown, boolean>,
  },
  {
    name: "events: HTTP as gateways shape it",
    kind: "requests",
    share: 1,
    property: () =>
      fc.property(fc.oneof(gateway, valuesFrom(jsonSeeds("event-http"))), (event) => {
        checkGateway(event);
        return true;
      }) as fc.IRawProperty<unknown, boolean>,
  },
  {
    name: "events: envelopes of any shape",
    kind: "requests",
    share: 1,
    property: () =>
      fc.property(valuesFrom(eventSeeds()), (event) => {
        checkEvent(event);
        return true;
      }) as fc.IRawProperty<unknown, boolean>,
  },
];

function lines(from: readonly Buffer[]): readonly Buffer[] {
  return from.flatMap((seed) =>
    seed
      .toString("utf8")
      .split("\n")
      .map((line) => Buffer.from(line)),
  );
}
