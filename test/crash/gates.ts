/**
 * What stands between the function and the services that it uses: each step of a send passes here, is
 * recognised, and can be the moment at which the function dies.
 */
import { createServer as createHttpServer, request as httpRequest, type Server } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import type { LambdaFunction } from "../support/lambda.ts";

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

/** A point, or so many milliseconds after the secret was asked for. */
export type Moment = Point | number;

/** Kills the function once, when its moment has come. */
export class Trigger {
  #moment: Moment | undefined;
  #target: LambdaFunction | undefined;
  #killed: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** `performance.now()` when the function first asked for the secret. */
  begun: number | undefined;

  /** @param target one that has just been made: it may ask for the secret while it loads */
  arm(moment: Moment, target: LambdaFunction): void {
    clearTimeout(this.#timer);
    this.#moment = moment;
    this.#target = target;
    this.#killed = undefined;
    this.begun = undefined;
  }

  /** Whether it was in fact killed; resolves once it is dead. */
  async disarm(): Promise<boolean> {
    clearTimeout(this.#timer);
    this.#target = undefined;
    await this.#killed;
    return this.#killed !== undefined;
  }

  /** True where the function has just died here. */
  async at(point: Point): Promise<boolean> {
    if (this.#target === undefined) return false;
    const first = point === "the secret is asked for" && this.begun === undefined;
    if (first) this.begun = performance.now();
    if (typeof this.#moment === "number") {
      if (first) this.#timer = setTimeout(() => void this.#kill(), this.#moment);
      return false;
    }
    if (this.#moment !== point || this.#killed) return false;
    await this.#kill();
    return true;
  }

  async #kill(): Promise<void> {
    this.#killed ??= this.#target?.kill();
    await this.#killed;
  }
}

export interface Gate {
  readonly port: number;
  close(): Promise<void>;
}

/** Between client and server: sees each step of the conversation, and can stop it there. */
export async function smtpGate(target: number, trigger: Trigger): Promise<Gate> {
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
export async function dynamoGate(target: URL, trigger: Trigger): Promise<Gate> {
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
export async function httpGate(
  target: URL,
  stop: (body: string) => Promise<boolean>,
  after: (body: string) => Promise<void> = async () => {},
): Promise<Gate> {
  const server = createHttpServer(async (incoming, outgoing) => {
    // A caller that is killed breaks off what it is sending.
    const body = await text(incoming).catch(() => undefined);
    if (body === undefined || (await stop(body))) return void incoming.socket.destroy();
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
