/** The local stack's DynamoDB, with the ledger's table in it. */
import { startLedger } from "../../infra/local/stack.ts";

export interface Dynamo {
  readonly url: string;
  readonly table: string;
  close(): Promise<void>;
}

export async function startDynamo(table = "ledger"): Promise<Dynamo> {
  return { ...(await startLedger(table)), table };
}
