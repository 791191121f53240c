/**
 * The local stack: mail server and secret store on loopback, and the environment that leads to them.
 *
 * Rule guarded here: nothing local ever reaches the network. Whatever the shell that starts it has
 * set for the real AWS, or for a deployed posthaste, is taken out of the environment first.
 */
import { devNull } from "node:os";
import { type MailServer, type MailServerOptions, startMailServer } from "./mailserver.ts";
import { type Secrets, startSecrets } from "./secrets.ts";

export const LOCAL_MAILBOX = "posthaste/local/default";
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

export interface Stack {
  readonly mail: MailServer;
  readonly secrets: Secrets;
  readonly environment: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export async function startStack(options: Partial<MailServerOptions> = {}): Promise<Stack> {
  const mail = await startMailServer({ users: { [LOCAL_SENDER]: PASSWORD }, ...options });
  const mailbox = {
    host: mail.host,
    port: mail.ports.implicit,
    security: "implicit",
    username: LOCAL_SENDER,
    password: PASSWORD,
    from: `示例商店 Example Shop <${LOCAL_SENDER}>`,
    tls: { ca: mail.ca },
  };
  const secrets = await startSecrets({ [LOCAL_MAILBOX]: JSON.stringify(mailbox) });
  return {
    mail,
    secrets,
    environment: {
      MAILBOX_SECRET_ID: LOCAL_MAILBOX,
      MAILBOX_SECRET_PREFIX: LOCAL_PREFIX,
      AWS_REGION: "us-east-1",
      AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
      AWS_ACCESS_KEY_ID: "local",
      AWS_SECRET_ACCESS_KEY: "local",
      AWS_CONFIG_FILE: devNull,
      AWS_SHARED_CREDENTIALS_FILE: devNull,
      AWS_EC2_METADATA_DISABLED: "true",
      // The terminal shows the conversation and the result; the log line would repeat them.
      LOG_LEVEL: "warn",
    },
    close: async () => {
      await Promise.all([mail.close(), secrets.close()]);
    },
  };
}

/** Must precede the import of a handler, which may read its environment when it loads. */
export function enter(stack: Stack): void {
  for (const name of FOREIGN) delete process.env[name];
  Object.assign(process.env, stack.environment);
}
