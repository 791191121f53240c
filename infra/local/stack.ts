/**
 * The local stack: mail server and secret store on loopback, and the environment that leads to them.
 *
 * Rule guarded here: nothing local ever reaches the network. Whatever the shell that starts it has
 * set for the real AWS, or for a deployed posthaste, is taken out of the environment first.
 */
import type { AddressInfo } from "node:net";
import { LOCAL_AWS } from "./aws.ts";
import { SMALL_MAILBOX } from "./faults.ts";
import { type MailServer, type MailServerOptions, startMailServer } from "./mailserver.ts";
import type { LocalQueues } from "./queue.ts";
import { type Secrets, startSecrets } from "./secrets.ts";

const LOCAL_MAILBOX = "posthaste/local/default";
export const LOCAL_PREFIX = "posthaste/local/";
export const LOCAL_SENDER = "shop@example.com";
/** Made to hurt whoever puts credentials together into one string. */
const PASSWORD = "p@ss:wörd/100%";

/** What a function reads, and what would lead the SDK elsewhere. */
const FOREIGN = [
  ...["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"],
  ...["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"],
  ...["LEDGER_TABLE", "QUEUE_URL", "FAILED_QUEUE_URL", "PAYLOAD_BUCKET", "ATTACHMENT_BUCKETS"],
  ...["ALLOWED_RECIPIENTS", "RELAY", "TRANSCRIPT", "MAILBOX_CACHE_SECONDS"],
];

const TABLE = "ledger";
const PAYLOADS = "payloads";
export const ATTACHMENTS = "attachments";

export interface Stack {
  readonly mail: MailServer;
  readonly secrets: Secrets;
  readonly environment: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export async function startStack(options: Partial<MailServerOptions> = {}): Promise<Stack> {
  const mail = await startMailServer({ users: { [LOCAL_SENDER]: PASSWORD }, ...options });
  const mailbox = {
    ...mail.mailbox(LOCAL_SENDER, PASSWORD),
    from: `示例商店 Example Shop <${LOCAL_SENDER}>`,
  };
  const secrets = await startSecrets({
    [LOCAL_MAILBOX]: JSON.stringify(mailbox),
    [`${LOCAL_PREFIX}${SMALL_MAILBOX}`]: JSON.stringify({ ...mailbox, maxMessageBytes: 10_000 }),
  });
  return {
    mail,
    secrets,
    environment: {
      MAILBOX_SECRET_ID: LOCAL_MAILBOX,
      MAILBOX_SECRET_PREFIX: LOCAL_PREFIX,
      ...LOCAL_AWS,
      AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
      // The terminal shows the conversation and the result; the log line would repeat them.
      LOG_LEVEL: "warn",
    },
    close: async () => {
      await Promise.all([mail.close(), secrets.close()]);
    },
  };
}

export interface WholeStack extends Stack {
  readonly queues: LocalQueues;
}

/**
 * Ledger, queues and buckets, too. What they run on is loaded here and not above: the demo has no
 * need of them, and would start later by as much.
 */
export async function startWholeStack(options?: Partial<MailServerOptions>): Promise<WholeStack> {
  const { startQueues } = await import("./queue.ts");
  const stack = await startStack(options);
  const ledger = await startLedger(TABLE);
  const queues = await startQueues({ buckets: [PAYLOADS, ATTACHMENTS] });
  return {
    ...stack,
    queues,
    environment: {
      ...stack.environment,
      AWS_ENDPOINT_URL_DYNAMODB: ledger.url,
      AWS_ENDPOINT_URL_SQS: queues.endpoint,
      AWS_ENDPOINT_URL_S3: queues.endpoint,
      LEDGER_TABLE: TABLE,
      QUEUE_URL: queues.url("requests"),
      FAILED_QUEUE_URL: queues.url("failed"),
      PAYLOAD_BUCKET: PAYLOADS,
      ATTACHMENT_BUCKETS: ATTACHMENTS,
      // Whoever mends a secret here wants to see it at once.
      MAILBOX_CACHE_SECONDS: "1",
    },
    close: async () => {
      await Promise.all([stack.close(), ledger.close(), queues.close()]);
    },
  };
}

/** DynamoDB on loopback, in memory, with the table of infra/ledger.yml. */
export async function startLedger(table: string): Promise<{ url: string; close(): Promise<void> }> {
  const { default: dynalite } = await import("dynalite");
  const { CreateTableCommand, DynamoDBClient } = await import("@aws-sdk/client-dynamodb");
  const server = dynalite({ createTableMs: 0 });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = new DynamoDBClient({
    endpoint: url,
    region: "us-east-1",
    credentials: { accessKeyId: "local", secretAccessKey: "local" },
  });
  await client.send(
    new CreateTableCommand({
      TableName: table,
      KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }],
      BillingMode: "PAY_PER_REQUEST",
    }),
  );
  client.destroy();
  return { url, close: () => new Promise((resolve) => void server.close(() => resolve())) };
}

/** Must precede the import of a handler, which may read its environment when it loads. */
export function enter(stack: Stack): void {
  for (const name of FOREIGN) delete process.env[name];
  Object.assign(process.env, stack.environment);
}
