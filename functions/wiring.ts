/**
 * The composition root: the only place where adapters are made, once for each instance. A bad
 * environment is an answer and not a crash at start.
 */
import { randomUUID } from "node:crypto";
import { secrets } from "../lib/aws/early.ts";
import { type Config, ConfigError, loadConfig } from "../lib/config.ts";
import { ownName } from "../lib/smtp/io/own-name.ts";
import { Relay } from "../lib/smtp/io/relay.ts";
import { Ledger } from "../lib/submission/ledger.ts";
import { endpointOf } from "../lib/submission/mailbox.ts";
import { Mailboxes } from "../lib/submission/mailboxes.ts";
import type { SecretReader, SharedState } from "../lib/submission/ports.ts";
import type { QueuePorts } from "../lib/submission/queue.ts";
import { RateLimit } from "../lib/submission/rate.ts";
import type { Limits, SubmitPorts } from "../lib/submission/submit.ts";
import { createTokenSource } from "../lib/submission/token.ts";
import { jsonLog, type Submitted } from "../lib/telemetry/log.ts";
import { emfMetrics, emitter, type Metrics } from "../lib/telemetry/metrics.ts";

export interface Wiring {
  readonly config: Config;
  readonly ports: SubmitPorts;
  readonly queues: QueuePorts;
  readonly secrets: SecretReader;
  /** Absent without a ledger. */
  readonly shared: (() => Promise<SharedState>) | undefined;
  readonly metrics: Metrics;
  /** Every submission is told of once, to the log and to the metrics. */
  readonly tell: (submitted: Submitted) => void;
}

let wired: Wiring | ConfigError | undefined;

/** @throws ConfigError, the same one each time: an instance's environment does not change. */
export function wiring(): Wiring {
  wired ??= assemble();
  if (wired instanceof ConfigError) throw wired;
  return wired;
}

function assemble(): Wiring | ConfigError {
  try {
    const config = loadConfig(process.env);
    const { ledgerTable, relay } = config;
    const ehloName = ownName();
    const table = ledgerTable === undefined ? undefined : once(() => openTable(ledgerTable));
    const shared = table && (async () => (await table()).shared);
    const log = jsonLog({ level: config.logLevel, addresses: config.logAddresses });
    const metrics = emfMetrics(emitter(config.metricsService));
    return {
      config,
      secrets,
      shared,
      metrics,
      tell: (submitted) => {
        log.submission(submitted);
        metrics.submission(submitted);
      },
      queues: queuePorts(config),
      ports: {
        config,
        mailboxes: new Mailboxes({
          secrets,
          cacheSeconds: config.cacheSeconds,
          now: () => performance.now(),
          shared,
        }),
        rate: new RateLimit(shared),
        relay: new Relay({
          ahead: relay === undefined ? undefined : { endpoint: endpointOf(relay), ehloName },
        }),
        tokens: createTokenSource(),
        ehloName,
        attachments: once(async () => (await import("../lib/aws/s3.ts")).s3Attachments()),
        plainText: async () => (await import("../lib/message/plain-text.ts")).plainText,
        signer: async () => (await import("../lib/message/dkim.ts")).signContent,
        ...(table && { ledger: async () => (await table()).ledger }),
      },
    };
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
}

/**
 * In Lambda's init, the default mailbox takes the secret that was asked for (early.ts): the first
 * invocation finds it there or on its way. What is wrong is told then, by the answer.
 */
function prefetch(): void {
  try {
    const { config, ports } = wiring();
    if (config.secretId !== undefined && config.cacheSeconds > 0) {
      ports.mailboxes.prefetch(config.secretId);
    }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
  }
}
prefetch();

function queuePorts(config: Config): QueuePorts {
  const { payloadBucket: bucket } = config;
  const s3 = () => import("../lib/aws/payloads.ts");
  return {
    config,
    queue: once(async () => (await import("../lib/aws/sqs.ts")).sqsQueue()),
    objects: once(async () => (await s3()).s3Objects()),
    ...(bucket !== undefined && { payloads: once(async () => (await s3()).s3Payloads(bucket)) }),
  };
}

async function openTable(name: string): Promise<{ ledger: Ledger; shared: SharedState }> {
  const { dynamoTable } = await import("../lib/aws/dynamodb.ts");
  const table = dynamoTable(name);
  return {
    ledger: new Ledger({ store: table.ledger, now: Date.now, token: randomUUID }),
    shared: table.shared,
  };
}

/** Clients are made when first needed, and once: their code is not loaded for what does not use it. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** What is kept back for the result, the log and the ledger, in milliseconds. */
const RESERVE_MS = 1_000;
/** Of that, for the ledger: the log and the answer come after it. */
const RECORD_SHARE = 3 / 4;
/** Where nobody says how long there is. */
const UNBOUNDED_MS = 5 * 60_000;

/** How Lambda's context bounds a submission. */
export interface InvocationContext {
  readonly awsRequestId?: string;
  readonly getRemainingTimeInMillis?: () => number;
}

export type InvocationLimits = Limits & Required<Pick<Limits, "timeToRecord">>;

/** @param most the longest it may take whatever the function's own timeout says */
export function limitsOf(
  context: InvocationContext | undefined,
  most = UNBOUNDED_MS,
): InvocationLimits {
  const begun = performance.now();
  const own = () => context?.getRemainingTimeInMillis?.() ?? Number.POSITIVE_INFINITY;
  // A function with little time keeps back less of it.
  const reserve = () => Math.min(RESERVE_MS, own() / 4);
  const timeLeft = () =>
    Math.max(0, Math.min(own() - reserve(), most - (performance.now() - begun)));
  return {
    timeLeft,
    timeToRecord: () => Math.max(timeLeft(), Math.min(RESERVE_MS, own()) * RECORD_SHARE),
  };
}
