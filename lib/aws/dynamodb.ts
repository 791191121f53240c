/**
 * The ledger's table in DynamoDB: one item a message, written under conditions, read consistently.
 * Deletion by TTL lags by days, so expiry is part of the conditions too.
 */
import { gunzipSync, gzipSync } from "node:zlib";
import {
  type AttributeValue,
  ConditionalCheckFailedException,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { withSignal } from "../submission/in-time.ts";
import type { LedgerRecord, LedgerState, LedgerStore } from "../submission/ledger.ts";
import type { Result } from "../submission/outcome.ts";
import type { SharedState } from "../submission/ports.ts";
import { settings } from "./settings.ts";

type Item = NonNullable<PutItemCommand["input"]["Item"]>;

/** Milliseconds to an answer, for each attempt: what takes longer has been lost on the way. */
const ANSWER_MS = 2_000;

/** One client for all that is kept in the table. */
export function dynamoTable(table: string): { ledger: LedgerStore; shared: SharedState } {
  const client = new DynamoDBClient({
    ...settings("DYNAMODB"),
    maxAttempts: 4,
    requestHandler: {
      connectionTimeout: ANSWER_MS,
      requestTimeout: ANSWER_MS,
      throwOnRequestTimeout: true,
    },
  });
  return { ledger: ledger(client, table), shared: shared(client, table) };
}

function shared(client: DynamoDBClient, table: string): SharedState {
  // A help and no condition: nobody waits long for it.
  const soon = <T>(ask: (options: { readonly abortSignal: AbortSignal }) => Promise<T>) =>
    withSignal(ANSWER_MS, (abortSignal) => ask({ abortSignal }));
  return {
    async count(key, amount, most, expires) {
      if (amount > most) return false;
      try {
        const command = new UpdateItemCommand({
          TableName: table,
          Key: { pk: { S: key } },
          UpdateExpression: "ADD #count :amount SET #expires = :expires",
          ConditionExpression: "attribute_not_exists(#count) OR #count <= :room",
          ExpressionAttributeNames: { "#count": "count", "#expires": "expires" },
          ExpressionAttributeValues: {
            ":amount": { N: String(amount) },
            ":room": { N: String(most - amount) },
            ":expires": { N: String(expires) },
          },
        });
        await soon((options) => client.send(command, options));
        return true;
      } catch (error) {
        if (error instanceof ConditionalCheckFailedException) return false;
        throw error;
      }
    },
    async note(key, text, expires) {
      const Item = { pk: { S: key }, text: { S: text }, expires: { N: String(expires) } };
      const command = new PutItemCommand({ TableName: table, Item });
      await soon((options) => client.send(command, options));
    },
    async recall(key) {
      const Key = { pk: { S: key } };
      const command = new GetItemCommand({ TableName: table, Key, ConsistentRead: true });
      const { Item: item } = await soon((options) => client.send(command, options));
      // Deletion lags: an expired note is none.
      return Number(item?.["expires"]?.N ?? 0) * 1000 > Date.now() ? item?.["text"]?.S : undefined;
    },
  };
}

function ledger(client: DynamoDBClient, table: string): LedgerStore {
  const put = async (
    record: LedgerRecord,
    condition: string,
    names: Record<string, string>,
    values: Item,
  ): Promise<boolean> => {
    try {
      await client.send(
        new PutItemCommand({
          TableName: table,
          Item: itemOf(record),
          ConditionExpression: condition,
          ExpressionAttributeNames: names,
          ExpressionAttributeValues: values,
        }),
      );
      return true;
    } catch (error) {
      if (!(error instanceof ConditionalCheckFailedException)) throw error;
      // The SDK repeats a request whose answer was lost, and the repetition meets its own record.
      const now = await read(record.key);
      return now?.owner === record.owner && now.state === record.state;
    }
  };
  const read = async (key: string): Promise<LedgerRecord | undefined> => {
    const { Item: item } = await client.send(
      new GetItemCommand({ TableName: table, Key: { pk: { S: key } }, ConsistentRead: true }),
    );
    return item && recordOf(item);
  };
  return {
    read,
    create: (record, now) =>
      put(
        record,
        "attribute_not_exists(#pk) OR #expires <= :now",
        { "#pk": "pk", "#expires": "expires" },
        { ":now": { N: String(Math.floor(now / 1000)) } },
      ),
    replace: (seen, next) =>
      put(
        next,
        "#owner = :owner AND #state = :state",
        { "#owner": "owner", "#state": "state" },
        { ":owner": { S: seen.owner }, ":state": { S: seen.state } },
      ),
  };
}

function itemOf(record: LedgerRecord): Item {
  return {
    pk: { S: record.key },
    state: { S: record.state },
    owner: { S: record.owner },
    leaseUntil: { N: String(record.leaseUntil) },
    hash: { S: record.hash },
    date: { S: record.date },
    expires: { N: String(record.expires) },
    ...(record.correlationId && { correlationId: { S: record.correlationId } }),
    ...(record.result && { result: packed(JSON.stringify(record.result)) }),
  };
}

/**
 * An item holds 400 KB, and the result of a message to thousands has more: a record that could not be
 * written would leave a message uncertain that was taken. Recipients are much alike, and so shrink.
 */
function packed(text: string): AttributeValue {
  return text.length > 64 * 1024 ? { B: gzipSync(text) } : { S: text };
}

function unpacked(value: AttributeValue | undefined): string | undefined {
  return value?.B === undefined ? value?.S : gunzipSync(value.B).toString("utf8");
}

function recordOf(item: Item): LedgerRecord {
  const text = (name: string) => item[name]?.S ?? "";
  const number = (name: string) => Number(item[name]?.N ?? 0);
  const result = unpacked(item["result"]);
  const correlationId = item["correlationId"]?.S;
  return {
    key: text("pk"),
    state: text("state") as LedgerState,
    owner: text("owner"),
    leaseUntil: number("leaseUntil"),
    hash: text("hash"),
    date: text("date"),
    expires: number("expires"),
    ...(correlationId !== undefined && { correlationId }),
    ...(result !== undefined && { result: JSON.parse(result) as Result }),
  };
}
