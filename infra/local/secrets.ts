/**
 * AWS Secrets Manager on loopback, in memory: its JSON 1.1 protocol, as the real SDK speaks it.
 *
 * Rule guarded here: a local run takes the same road as a deployed one. The handler is not told
 * that it runs locally; only the SDK's own endpoint variable points somewhere else.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout as wait } from "node:timers/promises";
import { type Body, Fields, Refusal, SecretStore } from "./secret-store.ts";

interface Answer {
  readonly status: number;
  readonly body: Body;
}

/** A fault of the service, by HTTP status and exception name, or no answer at all. */
export type SecretsFault = { readonly status: number; readonly type: string } | "hang";

export interface Secrets {
  /** For `AWS_ENDPOINT_URL_SECRETS_MANAGER`. */
  readonly url: string;
  /** GetSecretValue requests so far, those that were made to fail included. */
  calls(): number;
  /** Stores a new current version, creating the secret if need be, and gives the version's id. */
  put(id: string, value: string): string;
  /** Every request fails in this way, until this is called with `undefined`. */
  fail(mode: SecretsFault | undefined): void;
  /** Every answer waits so many milliseconds. */
  delay(milliseconds: number): void;
  /** Every answer waits for this, until it is called with `undefined`. */
  hold(until: Promise<unknown> | undefined): void;
  close(): Promise<void>;
}

/** @param initial from a secret's id to its `SecretString` */
export async function startSecrets(
  initial: Readonly<Record<string, string>> = {},
): Promise<Secrets> {
  const store = new SecretStore();
  for (const [id, value] of Object.entries(initial)) store.put(id, value);
  let calls = 0;
  let failure: SecretsFault | undefined;
  let delay = 0;
  let held: Promise<unknown> | undefined;

  /** Nothing for a request that is left to hang. */
  const answer = async (request: IncomingMessage): Promise<Answer | undefined> => {
    const body = await text(request);
    const operation = String(request.headers["x-amz-target"]).replace("secretsmanager.", "");
    if (operation === "GetSecretValue") calls += 1;
    if (delay > 0) await wait(delay);
    await held;
    if (failure === "hang") return undefined;
    if (failure !== undefined) return fault(failure.status, failure.type);
    try {
      return { status: 200, body: store.answer(operation, new Fields(body)) };
    } catch (error) {
      if (!(error instanceof Refusal)) return fault(500, "InternalServiceError");
      return { status: 400, body: { __type: error.type, message: error.message } };
    }
  };

  const server = createServer((request, response) => {
    answer(request).then(
      (answered) => {
        // Its socket stays open until the caller, or close(), ends it.
        if (answered === undefined) return;
        response.writeHead(answered.status, {
          "content-type": "application/x-amz-json-1.1",
          "x-amzn-requestid": randomUUID(),
        });
        response.end(JSON.stringify(answered.body));
      },
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port was given");

  return {
    url: `http://127.0.0.1:${address.port}`,
    calls: () => calls,
    put: (id, value) => store.put(id, value),
    fail: (mode) => {
      failure = mode;
    },
    delay: (milliseconds) => {
      delay = milliseconds;
    },
    hold: (until) => {
      held = until;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // The SDK keeps its connections open.
        server.closeAllConnections();
      }),
  };
}

function fault(status: number, type: string): Answer {
  return { status, body: { __type: type, message: "A fault that was asked for." } };
}
