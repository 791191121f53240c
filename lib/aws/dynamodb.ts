/**
 * The ledger's table in DynamoDB: one item a message, written under conditions, read consistently.
 * Deletion by TTL lags by days, so expiry is part of the conditions too.
 */
import {
  ConditionalCheckFailedException,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
} from "@aws-sdk/client-dynamodb";
import type { LedgerRecord, LedgerState, LedgerStore } from "../submission/ledger.ts";
import type { Result } from "../submission/outcome.ts";

type Item = NonNullable<PutItemCommand["input"]["Item"]>;

export function dynamoLedger(table: string): LedgerStore {
  const client = new DynamoDBClient({ maxAttempts: 4 });
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
    ...(record.result && { result: { S: JSON.stringify(record.result) } }),
  };
}

function recordOf(item: Item): LedgerRecord {
  const text = (name: string) => item[name]?.S ?? "";
  const number = (name: string) => Number(item[name]?.N ?? 0);
  const result = item["result"]?.S;
  return {
    key: text("pk"),
    state: text("state") as LedgerState,
    owner: text("owner"),
    leaseUntil: number("leaseUntil"),
    hash: text("hash"),
    date: text("date"),
    expires: number("expires"),
    ...(result !== undefined && { result: JSON.parse(result) as Result }),
  };
}
