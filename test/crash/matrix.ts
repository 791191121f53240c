/**
 * The crash matrix: the built function is killed (SIGKILL) at each point of a send, the message is
 * redelivered, and the mail server's own log is counted. For every key the message is accepted exactly
 * once, or marked `uncertain` with at most one delivery; never lost, never doubled.
 *
 *     node test/crash/matrix.ts [kills]      default: every point six times; random beyond that
 */
import { createServer as createHttpServer, request as httpRequest, type Server } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { type AttributeValue, DynamoDBClient, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { startSecrets } from "../../infra/local/secrets.ts";
import { startPostfix } from "../mta/servers.ts";
import { startDynamo } from "../support/dynamo.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";

/** Where the function dies, in the order of a send. */
export const POINTS = [
  "the secret is asked for",
  "the claim is written",
  "connected",
  "greeted",
  "EHLO answered",
  "AUTH, MAIL, RCPT and DATA sent",
  "DATA answered",
  "half of the content sent",
  "the send is being recorded",
  "the terminator sent, not delivered",
  "the terminator delivered",
  "the final reply sent",
  "the result is being recorded",
  "the result recorded",
] as const;
export type Point = (typeof POINTS)[number];

/**
 * Dead before any of the content had left: the message must arrive by the redelivery. Later the
 * kernel may hold all of it, terminator included, however little the server has read.
 */
const SURE: ReadonlySet<Point> = new Set(
  POINTS.slice(0, POINTS.indexOf("half of the content sent")),
);

export interface Outcome {
  readonly point: Point;
  readonly key: string;
  /** Whether the function was in fact killed there. */
  readonly killed: boolean;
  /** What the redelivery returned. */
  readonly outcome: string;
  /** Messages with this key in the server's log. */
  readonly deliveries: number;
  readonly verdict: "once" | "uncertain" | "LOST" | "DOUBLED" | "WRONG";
}

export interface CrashLab {
  crash(point: Point): Promise<Outcome>;
  close(): Promise<void>;
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
  const secrets = await startSecrets({ box: JSON.stringify(mailbox) });
  const secretGate = await httpGate(new URL(secrets.url), () =>
    trigger.at("the secret is asked for"),
  );
  const environment = {
    MAILBOX_SECRET_ID: "box",
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
  // One function lives on for the redeliveries, as another warm instance would.
  const second = await startFunction("invoke", environment);
  let count = 0;
  return {
    async crash(point) {
      count += 1;
      const key = `crash-${process.pid}-${count}`;
      const request = {
        to: "carol@example.test",
        subject: key,
        text: "x".repeat(200_000),
        idempotencyKey: key,
        messageId: `<${key}@example.test>`,
      };
      const first = await startFunction("invoke", environment);
      trigger.arm(point, first);
      await first.invoke(request).catch(() => undefined);
      const killed = trigger.disarm();
      await first.stop();
      const ageing = () => expireLease(client, dynamo.table, key);
      await ageing();
      let result = await second.invoke(request);
      // The lease of a record written at the moment of death.
      if (result.error?.code === "in_progress") {
        await ageing();
        result = await second.invoke(request);
      }
      const deliveries = await delivered(postfix, key, result.outcome === "accepted");
      return {
        point,
        key,
        killed,
        outcome: result.outcome,
        deliveries,
        verdict: judge(point, result.outcome, deliveries),
      };
    },
    async close() {
      client.destroy();
      await second.stop();
      for (const gate of [smtp, table, secretGate]) await gate.close();
      await Promise.all([secrets.close(), dynamo.close(), postfix.stop()]);
    },
  };
}

function judge(point: Point, outcome: string, deliveries: number): Outcome["verdict"] {
  if (deliveries > 1) return "DOUBLED";
  if (outcome === "accepted") return deliveries === 1 ? "once" : "LOST";
  if (outcome === "uncertain") return SURE.has(point) ? "WRONG" : "uncertain";
  return "LOST";
}

/** Kills the function once, when the armed point is reached. */
class Trigger {
  #point: Point | undefined;
  #target: LambdaFunction | undefined;
  #killed = false;

  arm(point: Point, target: LambdaFunction): void {
    this.#point = point;
    this.#target = target;
    this.#killed = false;
  }

  disarm(): boolean {
    this.#target = undefined;
    return this.#killed;
  }

  /** True where the function has just died here. */
  async at(point: Point): Promise<boolean> {
    if (this.#target === undefined || this.#point !== point || this.#killed) return false;
    this.#killed = true;
    await this.#target.kill();
    return true;
  }
}

interface Gate {
  readonly port: number;
  close(): Promise<void>;
}

/** Between client and server: sees each step of the conversation, and can stop it there. */
async function smtpGate(target: number, trigger: Trigger): Promise<Gate> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    sockets.add(client);
    client.on("error", () => {});
    void converse(client, target, trigger, sockets);
  });
  return listening(server, () => {
    for (const socket of sockets) socket.destroy();
  });
}

async function converse(
  client: Socket,
  target: number,
  trigger: Trigger,
  sockets: Set<Socket>,
): Promise<void> {
  if (await trigger.at("connected")) return void client.destroy();
  const server = connect(target, "127.0.0.1");
  sockets.add(server);
  server.on("error", () => client.destroy());
  server.on("close", () => client.destroy());
  client.on("close", () => server.end());
  let content = 0;
  let inContent = false;
  let replies = 0;
  let ended = false;
  let chain = Promise.resolve();
  server.on("data", (chunk: Buffer) => {
    chain = chain.then(async () => {
      const said = chunk.toString("latin1");
      replies += 1;
      if (ended && (await trigger.at("the terminator delivered"))) return void client.destroy();
      client.write(chunk);
      if (replies === 1) await trigger.at("greeted");
      if (replies === 2) await trigger.at("EHLO answered");
      if (/(^|\n)354 /.test(said)) {
        inContent = true;
        await trigger.at("DATA answered");
      }
      if (ended) await trigger.at("the final reply sent");
    });
  });
  client.on("data", (chunk: Buffer) => {
    chain = chain.then(async () => {
      const said = chunk.toString("latin1");
      if (!inContent && said.includes("DATA\r\n")) {
        if (await trigger.at("AUTH, MAIL, RCPT and DATA sent")) return void server.destroy();
      }
      if (inContent) {
        content += chunk.length;
        const last = said.includes("\r\n.\r\n");
        if (last) {
          if (await trigger.at("the terminator sent, not delivered")) return void server.destroy();
          ended = true;
        } else if (content > 60_000 && (await trigger.at("half of the content sent"))) {
          return void server.destroy();
        }
      }
      server.write(chunk);
    });
  });
}

/** In front of the table: knows the ledger's writes by the state they carry. */
async function dynamoGate(target: URL, trigger: Trigger): Promise<Gate> {
  return httpGate(
    target,
    async (body) => {
      if (!body.includes("ConditionExpression")) return false;
      if (/"state":\{"S":"claimed"\}/.test(body)) return trigger.at("the claim is written");
      if (/"state":\{"S":"sending"\}/.test(body)) return trigger.at("the send is being recorded");
      if (/"state":\{"S":"(settled|deferred)"\}/.test(body)) {
        return trigger.at("the result is being recorded");
      }
      return false;
    },
    async (body) => {
      if (/"state":\{"S":"settled"\}/.test(body)) await trigger.at("the result recorded");
    },
  );
}

/** Forwards requests; `stop` says whether one must not reach the service. */
async function httpGate(
  target: URL,
  stop: (body: string) => Promise<boolean>,
  after: (body: string) => Promise<void> = async () => {},
): Promise<Gate> {
  const server = createHttpServer(async (incoming, outgoing) => {
    const body = await text(incoming);
    if (await stop(body)) return void incoming.socket.destroy();
    const forward = httpRequest(
      {
        host: target.hostname,
        port: target.port,
        method: incoming.method,
        path: incoming.url,
        headers: incoming.headers,
      },
      async (answer) => {
        const said = await text(answer);
        await after(body);
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        outgoing.end(said);
      },
    );
    forward.on("error", () => incoming.socket.destroy());
    forward.end(body);
  });
  return listening(server, () => server.closeAllConnections());
}

async function listening(
  server: Server | ReturnType<typeof createServer>,
  release: () => void,
): Promise<Gate> {
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        release();
      }),
  };
}

/** Time passes: whoever held the record is long gone. */
async function expireLease(client: DynamoDBClient, table: string, key: string): Promise<void> {
  const zero: AttributeValue = { N: "0" };
  await client
    .send(
      new UpdateItemCommand({
        TableName: table,
        Key: { pk: { S: `message##${key}` } },
        UpdateExpression: "SET leaseUntil = :zero",
        ConditionExpression: "attribute_exists(pk)",
        ExpressionAttributeValues: { ":zero": zero },
      }),
    )
    .catch((error: Error) => {
      if (error.name !== "ConditionalCheckFailedException") throw error;
    });
}

/**
 * Counted in the server's own log. A Message-ID is logged as soon as the header has come, even of a
 * message that is then broken off: only what the queue manager took over counts.
 */
async function delivered(
  postfix: Awaited<ReturnType<typeof startPostfix>>,
  key: string,
  expected: boolean,
): Promise<number> {
  const count = () => {
    const log = postfix.log();
    const begun = log.matchAll(new RegExp(`cleanup\\S* (\\w+): message-id=<${key}@`, "g"));
    return [...begun].filter(([, id]) => log.includes(`${id}: from=<`)).length;
  };
  const until = performance.now() + (expected ? 3_000 : 400);
  while (performance.now() < until && count() === 0) await new Promise((r) => setTimeout(r, 20));
  return count();
}

/** The table that the command prints. */
export function render(outcomes: readonly Outcome[]): string {
  const rows = POINTS.map((point) => {
    const at = outcomes.filter((outcome) => outcome.point === point);
    const tally = (verdict: string) => at.filter((outcome) => outcome.verdict === verdict).length;
    const bad = tally("LOST") + tally("WRONG");
    return [point, at.length, tally("once"), tally("uncertain"), bad, tally("DOUBLED")];
  });
  const head = ["killed when", "kills", "once", "uncertain", "lost", "doubled"];
  const total = rows.reduce<number[]>(
    (sum, row) => row.slice(1).map((n, i) => (sum[i] ?? 0) + Number(n)),
    [],
  );
  return [head, ...rows, ["total", ...total]]
    .map(
      ([name, ...cells]) =>
        `${String(name).padEnd(38)}${cells.map((c) => String(c).padStart(10)).join("")}`,
    )
    .join("\n");
}

if (process.argv[1] === import.meta.filename) {
  const asked = Number(process.argv[2] ?? POINTS.length * 6);
  const lab = await startLab();
  const outcomes: Outcome[] = [];
  try {
    for (let i = 0; i < asked; i += 1) {
      const random = POINTS[Math.floor(Math.random() * POINTS.length)] as Point;
      outcomes.push(
        await lab.crash(asked > POINTS.length * 6 ? random : (POINTS[i % POINTS.length] as Point)),
      );
    }
  } finally {
    await lab.close();
  }
  console.log(render(outcomes));
  for (const { verdict, point, key, killed } of outcomes) {
    if (!killed) console.log(`not killed: ${point}`);
    if (verdict === "LOST" || verdict === "DOUBLED" || verdict === "WRONG") {
      console.log(`${verdict}: ${point} (${key})`);
      process.exitCode = 1;
    }
  }
}
