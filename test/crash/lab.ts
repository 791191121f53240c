/**
 * The built functions against a real mail server: killed (SIGKILL) in the midst of a send, the message
 * is redelivered, and the mail server's own log is counted. For every key the message is accepted
 * exactly once, or marked `uncertain` with at most one delivery; never lost, never doubled.
 */
import {
  type AttributeValue,
  DynamoDBClient,
  GetItemCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { startSecrets } from "../../infra/local/secrets.ts";
import { startPostfix } from "../mta/servers.ts";
import { startDynamo } from "../support/dynamo.ts";
import { startFunction } from "../support/lambda.ts";
import {
  dynamoGate,
  httpGate,
  type Moment,
  POINTS,
  type Point,
  smtpGate,
  Trigger,
} from "./gates.ts";

/**
 * Dead before any of the content had left: the message must arrive by the redelivery. Later the
 * kernel may hold all of it, terminator included, however little the server has read.
 */
const SURE: ReadonlySet<Moment> = new Set(
  POINTS.slice(0, POINTS.indexOf("half of the content sent")),
);

/** One message by DATA or by BDAT in one flight, or three in one session out of a queue's batch. */
export const MODES = ["DATA", "BDAT", "batch of 3"] as const;
export type Mode = (typeof MODES)[number];

export interface Outcome {
  /** A point, or at a random instant: how it was sent and what the ledger then said. */
  readonly when: string;
  readonly key: string;
  /** Whether the function was in fact killed there. */
  readonly killed: boolean;
  /** What the redelivery came to. */
  readonly outcome: string;
  /** Messages with this key in the server's log. */
  readonly deliveries: number;
  readonly verdict: "once" | "uncertain" | "LOST" | "DOUBLED" | "WRONG";
}

export interface CrashLab {
  crash(point: Point): Promise<Outcome>;
  /** @param fraction 0 to 1: how far into a send of this kind, from its first request to its end */
  crashWithin(mode: Mode, fraction: number): Promise<readonly Outcome[]>;
  /** The server's log read once more, for what was delivered after it had been counted. */
  recount(outcomes: readonly Outcome[]): readonly Outcome[];
  close(): Promise<void>;
}

interface Message {
  readonly idempotencyKey: string;
  readonly mailbox?: string;
}

export async function startLab(): Promise<CrashLab> {
  const postfix = await startPostfix();
  const [user] = postfix.users;
  const dynamo = await startDynamo();
  const trigger = new Trigger();
  const smtp = await smtpGate(postfix.ports.plain, trigger);
  const table = await dynamoGate(new URL(dynamo.url), trigger);
  const mailbox = {
    host: "127.0.0.1",
    port: smtp.port,
    security: "none",
    allowPlaintextAuth: true,
    auth: ["PLAIN"],
    ...user,
  };
  const secrets = await startSecrets({
    box: JSON.stringify(mailbox),
    "boxes/bdat": JSON.stringify({ ...mailbox, chunking: "auto" }),
  });
  const asking = () => trigger.at("the secret is asked for");
  const secretGate = await httpGate(new URL(secrets.url), asking);
  const environment = {
    MAILBOX_SECRET_ID: "box",
    MAILBOX_SECRET_PREFIX: "boxes/",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: `http://127.0.0.1:${secretGate.port}`,
    AWS_ENDPOINT_URL_DYNAMODB: `http://127.0.0.1:${table.port}`,
    LEDGER_TABLE: dynamo.table,
    LOG_LEVEL: "silent",
  };
  const client = new DynamoDBClient({
    endpoint: dynamo.url,
    region: "us-east-1",
    credentials: { accessKeyId: "local", secretAccessKey: "local" },
  });
  const ledger = tableOf(client, dynamo.table);
  // One of each lives on for the redeliveries, as another warm instance would.
  const heirs = {
    invoke: await startFunction("invoke", environment),
    sqs: await startFunction("sqs", environment),
  };
  /** Milliseconds from the first request of a send to its end, where nobody is killed. */
  const spans = new Map<Mode, number>();
  let count = 0;
  const messages = (mode: Mode): readonly Message[] =>
    Array.from({ length: mode === "batch of 3" ? 3 : 1 }, () => {
      count += 1;
      const key = `crash-${process.pid}-${count}`;
      return {
        ...(mode === "BDAT" && { mailbox: "bdat" }),
        to: "carol@example.test",
        subject: key,
        text: "x".repeat(200_000),
        idempotencyKey: key,
        messageId: `<${key}@example.test>`,
      };
    });

  /** Killed, then redelivered until nobody holds the messages any more. */
  const run = async (moment: Moment, mode: Mode): Promise<readonly Outcome[]> => {
    const sent = messages(mode);
    const name = mode === "batch of 3" ? "sqs" : "invoke";
    const event = (receives: number) => (name === "sqs" ? batchOf(sent, receives) : sent[0]);
    const victim = await startFunction(name, environment);
    trigger.arm(moment, victim);
    await victim.invoke(event(1)).catch(() => undefined);
    const took = performance.now() - (trigger.begun ?? Number.NaN);
    const killed = await trigger.disarm();
    // What ran to its end tells how long the next one may be expected to take.
    if (!killed) spans.set(mode, took);
    await victim.stop();
    const found = await Promise.all(sent.map((message) => ledger.state(message)));
    let states: readonly (string | undefined)[] = [];
    // A second time where the record was written at the moment of death, and held on.
    for (let tries = 0; tries < 3; tries += 1) {
      await Promise.all(sent.map((message) => ledger.expire(message)));
      await heirs[name].invoke(event(2 + tries));
      states = await Promise.all(sent.map((message) => ledger.outcome(message)));
      if (states.every((state) => state !== undefined && state !== "deferred")) break;
    }
    return Promise.all(
      sent.map(async ({ idempotencyKey: key }, index) => {
        const outcome = states[index] ?? "unknown";
        const deliveries = await delivered(postfix.log, key, outcome === "accepted");
        return {
          when:
            typeof moment === "string"
              ? moment
              : `${mode}: ${killed ? (found[index] ?? "nothing") : "ended"}`,
          key,
          killed,
          outcome,
          deliveries,
          verdict: judge(moment, outcome, deliveries),
        };
      }),
    );
  };
  const spanOf = async (mode: Mode): Promise<number> => {
    if (!spans.has(mode)) await run(60_000, mode);
    return spans.get(mode) ?? Number.NaN;
  };
  return {
    crash: async (point) => (await run(point, "DATA"))[0] as Outcome,
    crashWithin: async (mode, fraction) => run(fraction * (await spanOf(mode)), mode),
    recount: (outcomes) =>
      outcomes.map((one) => {
        const deliveries = deliveriesOf(postfix.log(), one.key);
        const verdict = deliveries > 1 ? "DOUBLED" : one.verdict;
        return { ...one, deliveries, verdict };
      }),
    async close() {
      client.destroy();
      await Promise.all([heirs.invoke.stop(), heirs.sqs.stop()]);
      for (const gate of [smtp, table, secretGate]) await gate.close();
      await Promise.all([secrets.close(), dynamo.close(), postfix.stop()]);
    },
  };
}

function judge(moment: Moment, outcome: string, deliveries: number): Outcome["verdict"] {
  if (deliveries > 1) return "DOUBLED";
  if (outcome === "accepted") return deliveries === 1 ? "once" : "LOST";
  if (outcome === "uncertain") return SURE.has(moment) ? "WRONG" : "uncertain";
  return "LOST";
}

/** As Lambda hands over what it received from a queue. */
function batchOf(messages: readonly Message[], receives: number): unknown {
  const Records = messages.map((message) => ({
    messageId: message.idempotencyKey,
    receiptHandle: message.idempotencyKey,
    body: JSON.stringify(message),
    attributes: { ApproximateReceiveCount: String(receives), SentTimestamp: String(Date.now()) },
    messageAttributes: {},
    eventSource: "aws:sqs",
  }));
  return { Records };
}

function tableOf(client: DynamoDBClient, TableName: string) {
  const keyOf = ({ mailbox = "", idempotencyKey }: Message) => ({
    pk: { S: `message#${mailbox}#${idempotencyKey}` },
  });
  const read = async (message: Message) => {
    const asked = { TableName, Key: keyOf(message), ConsistentRead: true };
    return (await client.send(new GetItemCommand(asked))).Item;
  };
  return {
    state: async (message: Message) => (await read(message))?.["state"]?.S,
    async outcome(message: Message): Promise<string | undefined> {
      const item = await read(message);
      const settled = item?.["state"]?.S === "settled" || item?.["state"]?.S === "deferred";
      return settled ? JSON.parse(item["result"]?.S ?? "{}").outcome : undefined;
    },
    /** Time passes: whoever held the record is long gone. */
    async expire(message: Message): Promise<void> {
      const zero: AttributeValue = { N: "0" };
      await client
        .send(
          new UpdateItemCommand({
            TableName,
            Key: keyOf(message),
            UpdateExpression: "SET leaseUntil = :zero",
            ConditionExpression: "attribute_exists(pk)",
            ExpressionAttributeValues: { ":zero": zero },
          }),
        )
        .catch((error: Error) => {
          if (error.name !== "ConditionalCheckFailedException") throw error;
        });
    },
  };
}

/**
 * Counted in the server's own log. A Message-ID is logged as soon as the header has come, even of a
 * message that is then broken off: only what the queue manager took over counts.
 */
function deliveriesOf(log: string, key: string): number {
  const begun = log.matchAll(new RegExp(`cleanup\\S* (\\w+): message-id=<${key}@`, "g"));
  return [...begun].filter(([, id]) => log.includes(`${id}: from=<`)).length;
}

async function delivered(log: () => string, key: string, expected: boolean): Promise<number> {
  const until = performance.now() + (expected ? 3_000 : 400);
  while (performance.now() < until && deliveriesOf(log(), key) === 0) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return deliveriesOf(log(), key);
}
