/** The local stack's DynamoDB, with the ledger's table in it. */
import { DynamoDBClient, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { startLedger } from "../../infra/local/stack.ts";
import { AWS_ENVIRONMENT } from "./lambda.ts";

export interface Dynamo {
  readonly url: string;
  readonly table: string;
  /** Time passes: whoever held the default mailbox's message of this id is long gone. */
  expireLease(id: string): Promise<void>;
  /** A month passes, and the table's own deletion lags. */
  expireRecord(id: string): Promise<void>;
  close(): Promise<void>;
}

export async function startDynamo(table = "ledger"): Promise<Dynamo> {
  const { url, close } = await startLedger(table);
  const client = new DynamoDBClient({
    endpoint: url,
    region: AWS_ENVIRONMENT.AWS_REGION,
    credentials: {
      accessKeyId: AWS_ENVIRONMENT.AWS_ACCESS_KEY_ID,
      secretAccessKey: AWS_ENVIRONMENT.AWS_SECRET_ACCESS_KEY,
    },
  });
  /** Of the default mailbox's message of this id. */
  const passed = (field: "leaseUntil" | "expires") => async (id: string) => {
    await client.send(
      new UpdateItemCommand({
        TableName: table,
        Key: { pk: { S: `message##${id}` } },
        UpdateExpression: "SET #field = :past",
        ConditionExpression: "attribute_exists(pk)",
        ExpressionAttributeNames: { "#field": field },
        ExpressionAttributeValues: { ":past": { N: "0" } },
      }),
    );
  };
  return {
    url,
    table,
    expireLease: passed("leaseUntil"),
    expireRecord: passed("expires"),
    close: () => {
      client.destroy();
      return close();
    },
  };
}
