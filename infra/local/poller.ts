/**
 * What Lambda's event source mapping does: receive, invoke with a batch, and delete what the answer
 * does not name. The real SDK, against whatever queue the endpoint leads to.
 */
import {
  DeleteMessageBatchCommand,
  type Message,
  ReceiveMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";

export interface PollerOptions {
  readonly endpoint: string;
  readonly url: string;
  readonly arn: string;
  /** The function, as Lambda calls it. */
  readonly invoke: (event: unknown) => Promise<unknown>;
  readonly batchSize?: number;
}

export interface Poller {
  /** Receive once and invoke if anything came. Resolves to the number of messages. */
  once(waitSeconds?: number): Promise<number>;
  /** Go on until `stop`. */
  start(): void;
  stop(): Promise<void>;
}

export function createPoller(options: PollerOptions): Poller {
  const client = new SQSClient({
    endpoint: options.endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: "local", secretAccessKey: "local" },
  });
  const stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();
  const once = async (waitSeconds = 0): Promise<number> => {
    const { Messages: messages = [] } = await client.send(
      new ReceiveMessageCommand({
        QueueUrl: options.url,
        MaxNumberOfMessages: options.batchSize ?? 10,
        WaitTimeSeconds: waitSeconds,
        MessageSystemAttributeNames: ["All"],
        MessageAttributeNames: ["All"],
      }),
      { abortSignal: stopping.signal },
    );
    if (messages.length === 0) return 0;
    const event = { Records: messages.map((message) => recordOf(message, options.arn)) };
    const failed = failuresIn(await options.invoke(event));
    const done = messages.filter(({ MessageId: id }) => !failed.has(id));
    if (done.length > 0) {
      await client.send(
        new DeleteMessageBatchCommand({
          QueueUrl: options.url,
          Entries: done.map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle })),
        }),
      );
    }
    return messages.length;
  };
  const go = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      try {
        await once(2);
      } catch (error) {
        // As with Lambda, what an invocation that failed held comes back by itself.
        if (!stopping.signal.aborted) {
          process.stderr.write(`the poller's invocation failed: ${String(error)}\n`);
          await new Promise((resolve) => setTimeout(resolve, 500));
        }
      }
    }
  };
  return {
    once,
    start: () => {
      running = go();
    },
    stop: async () => {
      stopping.abort();
      await running;
      client.destroy();
    },
  };
}

/** A received message in the form that Lambda gives it. */
function recordOf(message: Message, arn: string) {
  const attributes = Object.entries(message.MessageAttributes ?? {}).map(([name, value]) => [
    name,
    { dataType: value.DataType, stringValue: value.StringValue },
  ]);
  return {
    messageId: message.MessageId,
    receiptHandle: message.ReceiptHandle,
    body: message.Body,
    attributes: message.Attributes,
    messageAttributes: Object.fromEntries(attributes),
    md5OfBody: message.MD5OfBody,
    eventSource: "aws:sqs",
    eventSourceARN: arn,
    awsRegion: arn.split(":")[3],
  };
}

function failuresIn(answer: unknown): ReadonlySet<string | undefined> {
  const { batchItemFailures: failures = [] } = (answer ?? {}) as {
    batchItemFailures?: readonly { itemIdentifier?: string }[];
  };
  return new Set(failures.map(({ itemIdentifier }) => itemIdentifier));
}
