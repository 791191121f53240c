/**
 * SQS on loopback, in memory, in its JSON protocol as the real SDK speaks it; S3 for what is larger
 * comes with it.
 *
 * Rule guarded here: a local run takes the same road as a deployed one. The queues have the settings
 * of infra/queue.yml where those change what happens, and only the SDK's endpoint variables differ.
 */
import { type FauxqsServer, startFauxqs } from "fauxqs";

export interface QueueOptions {
  /** By name; a FIFO queue's ends in `.fifo`. */
  readonly queues?: readonly string[];
  readonly buckets?: readonly string[];
  /** Seconds. Default: 360, as deployed. */
  readonly visibilityTimeout?: number;
}

export interface LocalMessage {
  readonly body: string;
  readonly attributes: Readonly<Record<string, string | undefined>>;
  /** Seconds until it can be received; 0: now. */
  readonly waits: number;
}

export interface LocalQueues {
  /** For `AWS_ENDPOINT_URL_SQS` and `AWS_ENDPOINT_URL_S3`. */
  readonly endpoint: string;
  url(name: string): string;
  arn(name: string): string;
  send(name: string, body: unknown): void;
  /** What a queue holds, nothing taken out. */
  messages(name: string): readonly LocalMessage[];
  clear(): void;
  close(): Promise<void>;
}

const ACCOUNT = "000000000000";
const REGION = "us-east-1";

export async function startQueues({
  queues = ["requests", "failed"],
  buckets = [],
  visibilityTimeout = 360,
}: QueueOptions = {}): Promise<LocalQueues> {
  const server = await startFauxqs({ port: 0, host: "127.0.0.1", logger: false });
  for (const name of queues) {
    const attributes: Record<string, string> = { VisibilityTimeout: String(visibilityTimeout) };
    if (name.endsWith(".fifo")) attributes["FifoQueue"] = "true";
    server.createQueue(name, { attributes });
  }
  for (const name of buckets) server.createBucket(name);
  const endpoint = `http://127.0.0.1:${server.port}`;
  return {
    endpoint,
    url: (name) => `${endpoint}/${ACCOUNT}/${name}`,
    arn: (name) => `arn:aws:sqs:${REGION}:${ACCOUNT}:${name}`,
    send: (name, body) => {
      server.sendMessage(name, typeof body === "string" ? body : JSON.stringify(body));
    },
    messages: (name) => messagesOf(server, name),
    clear: () => server.reset(),
    close: () => server.stop(),
  };
}

function messagesOf(server: FauxqsServer, name: string): readonly LocalMessage[] {
  const found = server.inspectQueue(name)?.messages;
  if (found === undefined) throw new Error(`there is no queue "${name}"`);
  const seconds = (until: number | undefined) =>
    Math.max(0, Math.ceil(((until ?? 0) - Date.now()) / 1000));
  const all = [
    ...found.ready.map((message) => ({ message, waits: 0 })),
    ...found.delayed.map((message) => ({ message, waits: seconds(message.delayUntil) })),
    ...found.inflight.map(({ message, visibilityDeadline }) => ({
      message,
      waits: seconds(visibilityDeadline),
    })),
  ];
  return all.map(({ message: { body, messageAttributes }, waits }) => ({
    body,
    attributes: Object.fromEntries(
      Object.entries(messageAttributes ?? {}).map(([key, value]) => [key, value.StringValue]),
    ),
    waits,
  }));
}
