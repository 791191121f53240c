/**
 * The environment, read once into a frozen {@link Config} or refused with one error that names every
 * variable at fault. No value is ever part of an error: some are secrets, and none is needed.
 */
import * as z from "zod/mini";
import { onDemand } from "./message/on-demand.ts";

export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly issues: readonly { readonly path: string; readonly message: string }[];

  constructor(issues: readonly { readonly path: string; readonly message: string }[]) {
    super(
      `The environment is not usable: ${issues.map((i) => `${i.path} ${i.message}`).join("; ")}.`,
    );
    this.issues = issues;
  }
}

const text = () => z.string().check(z.minLength(1, "must not be empty"));
const url = () => z.string().check(z.regex(/^https?:\/\/\S+$/, "must be an http or https URL"));
const list = () =>
  z.pipe(
    z.string(),
    z.transform((value) =>
      value
        .split(",")
        .map((entry) => entry.trim())
        .filter((entry) => entry !== ""),
    ),
  );
const pattern = /^[^\s@,]*@[^\s@,]+$/;
const addresses = () =>
  list().check(
    z.refine((entries) => entries.every((entry) => pattern.test(entry)), {
      error: 'must be a comma list of "a@b" or "@domain"',
    }),
  );
const seconds = () =>
  z.pipe(
    z.string().check(z.regex(/^\d{1,6}$/, "must be a whole number of seconds")),
    z.transform(Number),
  );
const RELAY = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?):(\d{1,5})$/;
const relay = () =>
  z.string().check(
    z.refine(
      (value) => {
        const port = Number(RELAY.exec(value)?.[1]);
        return port >= 1 && port <= 65535;
      },
      { error: 'must be "host:port"' },
    ),
  );
const levels = ["debug", "info", "warn", "error", "silent"] as const;

const variables = {
  MAILBOX_SECRET_ID: () => z.optional(text()),
  MAILBOX_SECRET_PREFIX: () => z.optional(text()),
  MAILBOX_CACHE_SECONDS: () => z.optional(seconds()),
  LEDGER_TABLE: () => z.optional(text()),
  QUEUE_URL: () => z.optional(url()),
  FAILED_QUEUE_URL: () => z.optional(url()),
  PAYLOAD_BUCKET: () => z.optional(text()),
  ATTACHMENT_BUCKETS: () => z.optional(list()),
  ALLOWED_RECIPIENTS: () => z.optional(addresses()),
  RELAY: () => z.optional(relay()),
  TRANSCRIPT: () => z.optional(z.enum(["full", "off"], { error: 'must be "full" or "off"' })),
  LOG_LEVEL: () => z.optional(z.enum(levels, { error: `must be one of ${levels.join(", ")}` })),
  LOG_ADDRESSES: () => z.optional(z.enum(["on", "off"], { error: 'must be "on" or "off"' })),
  CANARY_TO: () =>
    z.optional(z.string().check(z.regex(/^[^\s@,<>]+@[^\s@,<>]+$/, 'must be one address, "a@b"'))),
  CANARY_SECRET_ID: () => z.optional(text()),
  CANARY_LATE_SECONDS: () => z.optional(seconds()),
  CANARY_LOST_SECONDS: () => z.optional(seconds()),
  METRICS_SERVICE: () =>
    z.optional(
      // What CloudWatch takes for the value of a dimension.
      z
        .string()
        .check(z.regex(/^(?!:)(?=.*\S)[ -~]{1,255}$/, "must be 1 to 255 of ASCII, no colon first")),
    ),
};

/** The schema of what an environment gives; of every variable, without one. */
export const environmentSchema = onDemand(variables, (shape) => z.object(shape));

export interface Config {
  /** The default mailbox's secret id or ARN. */
  readonly secretId: string | undefined;
  /** A request's `mailbox` reads the secret `<prefix><name>`. */
  readonly secretPrefix: string | undefined;
  readonly cacheSeconds: number;
  readonly ledgerTable: string | undefined;
  readonly queueUrl: string | undefined;
  readonly failedQueueUrl: string | undefined;
  readonly payloadBucket: string | undefined;
  readonly attachmentBuckets: readonly string[];
  /** Absent: anyone. */
  readonly allowedRecipients: readonly string[] | undefined;
  /** `host:port`, to connect to while the secret is being read. */
  readonly relay: string | undefined;
  readonly transcript: "full" | "off";
  readonly logLevel: (typeof levels)[number];
  /** Envelope and subject are logged too. */
  readonly logAddresses: boolean;
  /** The delivery check: where probes are sent, and the secret of the mailbox where they arrive. */
  readonly canaryTo: string | undefined;
  readonly canarySecretId: string | undefined;
  /** Seconds after which a probe is late, and after which it counts as lost. */
  readonly canaryLateSeconds: number;
  readonly canaryLostSeconds: number;
  /** The dimension `Service` of all metrics; absent: none are written. */
  readonly metricsService: string | undefined;
}

/** @throws ConfigError */
export function loadConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  // CloudFormation hands out an empty string where a parameter was left empty.
  const found = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ""),
  );
  const parsed = environmentSchema(found).safeParse(found);
  if (!parsed.success) {
    throw new ConfigError(
      parsed.error.issues.map(({ path, message }) => ({ path: path.join("."), message })),
    );
  }
  const env = parsed.data;
  if (env.QUEUE_URL !== undefined && env.LEDGER_TABLE === undefined) {
    throw new ConfigError([
      {
        path: "LEDGER_TABLE",
        message: "must be set where QUEUE_URL is: the queue delivers more than once",
      },
    ]);
  }
  const config = Object.freeze({
    secretId: env.MAILBOX_SECRET_ID,
    secretPrefix: env.MAILBOX_SECRET_PREFIX,
    cacheSeconds: env.MAILBOX_CACHE_SECONDS ?? 300,
    ledgerTable: env.LEDGER_TABLE,
    queueUrl: env.QUEUE_URL,
    failedQueueUrl: env.FAILED_QUEUE_URL,
    payloadBucket: env.PAYLOAD_BUCKET,
    attachmentBuckets: Object.freeze(env.ATTACHMENT_BUCKETS ?? []),
    allowedRecipients: env.ALLOWED_RECIPIENTS && Object.freeze(env.ALLOWED_RECIPIENTS),
    relay: env.RELAY,
    transcript: env.TRANSCRIPT ?? "full",
    logLevel: env.LOG_LEVEL ?? "info",
    logAddresses: env.LOG_ADDRESSES === "on",
    canaryTo: env.CANARY_TO,
    canarySecretId: env.CANARY_SECRET_ID,
    canaryLateSeconds: env.CANARY_LATE_SECONDS ?? 300,
    canaryLostSeconds: env.CANARY_LOST_SECONDS ?? 3600,
    metricsService: env.METRICS_SERVICE,
  });
  if (config.canaryLostSeconds < config.canaryLateSeconds) {
    const message = "must not be less than CANARY_LATE_SECONDS: what is lost is late first";
    throw new ConfigError([{ path: "CANARY_LOST_SECONDS", message }]);
  }
  return config;
}
