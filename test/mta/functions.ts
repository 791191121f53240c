/**
 * The built functions beside a real mail server: one secret store and one process for each function,
 * as many mailboxes as a test needs. Each secret gets a name of its own, which the request then asks
 * for, so that one warm instance serves them all and nothing is cached from one test to the next.
 */
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";
import type { Mta } from "./servers.ts";

const PREFIX = "mta/";

export interface Functions {
  readonly secrets: Secrets;
  /** Stores a secret, and gives the name that a request's `mailbox` calls it by. */
  mailbox(secret: Readonly<Record<string, unknown>>): string;
  /** A new version of a secret that `mailbox` stored. */
  rotate(name: string, secret: Readonly<Record<string, unknown>>): void;
  invoke: LambdaFunction["invoke"];
  check: LambdaFunction["invoke"];
  log(): string;
  stop(): Promise<void>;
}

export async function startFunctions(
  environment: Readonly<Record<string, string>> = {},
): Promise<Functions> {
  const secrets = await startSecrets();
  const settings = {
    MAILBOX_SECRET_PREFIX: PREFIX,
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    ...environment,
  };
  const start = async (name: string) => startFunction(name, settings);
  const invoke = await start("invoke");
  let check: Promise<LambdaFunction> | undefined;
  let count = 0;
  return {
    secrets,
    mailbox(secret) {
      count += 1;
      const name = `mailbox-${count}`;
      secrets.put(PREFIX + name, JSON.stringify(secret));
      return name;
    },
    rotate: (name, secret) => {
      secrets.put(PREFIX + name, JSON.stringify(secret));
    },
    invoke: invoke.invoke,
    // Few tests ask for it, so it starts when the first one does.
    check: async (event, milliseconds) => {
      check ??= start("check");
      return (await check).invoke(event, milliseconds);
    },
    log: invoke.log,
    stop: async () => {
      await Promise.all([invoke.stop(), check?.then((started) => started.stop()), secrets.close()]);
    },
  };
}

export type Security = "implicit" | "starttls" | "none";

/** A mailbox of a server's first user, by one of its three doors. */
export function mailboxOf(
  mta: Pick<Mta, "host" | "ports" | "ca" | "users">,
  security: Security,
  changes: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  const { smtps, submission, plain } = mta.ports;
  return {
    host: mta.host,
    port: { implicit: smtps, starttls: submission, none: plain }[security],
    security,
    username: mta.users[0].username,
    password: mta.users[0].password,
    tls: { ca: mta.ca },
    ...(security === "none" && { allowPlaintextAuth: true }),
    ...changes,
  };
}
