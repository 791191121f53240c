/**
 * SQS, as far as redelivery needs it. A send that fails is thrown, for the caller to keep what it
 * holds; a batch call that fails in part is a failure, since nobody reads half an answer.
 */
import {
  ChangeMessageVisibilityBatchCommand,
  GetQueueUrlCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { deduplication, type Queue } from "../submission/queue.ts";
import { settings } from "./settings.ts";

/** Entries that one batch call takes. */
const BATCH = 10;
/** Milliseconds to an answer, for each attempt. */
const ANSWER_MS = 5_000;

export function sqsQueue(): Queue {
  const client = new SQSClient({
    ...settings("SQS"),
    maxAttempts: 3,
    requestHandler: {
      connectionTimeout: ANSWER_MS,
      requestTimeout: ANSWER_MS,
      throwOnRequestTimeout: true,
    },
  });
  const urls = new Map<string, Promise<string>>();
  return {
    async send(url, { body, attributes = {}, delaySeconds, group }) {
      await client.send(
        new SendMessageCommand({
          QueueUrl: url,
          MessageBody: body,
          MessageAttributes: Object.fromEntries(
            Object.entries(attributes).map(([name, value]) => [
              name,
              { DataType: "String", StringValue: value },
            ]),
          ),
          ...(delaySeconds !== undefined && { DelaySeconds: delaySeconds }),
          ...(group !== undefined && {
            MessageGroupId: group,
            MessageDeduplicationId: deduplication(),
          }),
        }),
      );
    },
    async postpone(url, entries) {
      for (let at = 0; at < entries.length; at += BATCH) {
        const { Failed: failed } = await client.send(
          new ChangeMessageVisibilityBatchCommand({
            QueueUrl: url,
            Entries: entries.slice(at, at + BATCH).map(({ receipt, seconds }, index) => ({
              Id: String(index),
              ReceiptHandle: receipt,
              VisibilityTimeout: seconds,
            })),
          }),
        );
        if (failed?.length) throw new Error(`${failed.length} messages could not be postponed`);
      }
    },
    urlOf(arn) {
      // arn:partition:sqs:region:account:name
      const [, , , , account, name] = arn.split(":");
      const known = urls.get(arn);
      if (known !== undefined) return known;
      const asked = client
        .send(new GetQueueUrlCommand({ QueueName: name, QueueOwnerAWSAccountId: account }))
        .then(({ QueueUrl: url }) => {
          if (url === undefined) throw new Error("SQS names no URL for the queue");
          return url;
        });
      urls.set(arn, asked);
      asked.catch(() => urls.delete(arn));
      return asked;
    },
  };
}
