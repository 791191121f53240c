/**
 * Lambda, as the SDK's own environment leads to it. Region and credentials are asked for first: where
 * they are missing nothing was sent, and the SDK's own words for it would leave that open.
 */
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { EXIT, Stop } from "./exit.ts";

/** AWS's own limit for a synchronous invocation. */
export const MOST_PAYLOAD_BYTES = 6 * 1024 * 1024;

/** @throws Stop where the SDK knows no region or no credentials */
export async function lambdaClient(): Promise<LambdaClient> {
  // One attempt: a repeated invocation could send twice.
  const client = new LambdaClient({ maxAttempts: 1 });
  try {
    await client.config.region();
  } catch {
    throw new Stop(EXIT.unavailable, "No AWS region is set: AWS_REGION, or AWS_PROFILE.");
  }
  try {
    await client.config.credentials();
  } catch (error) {
    const { name } = error as Error;
    throw new Stop(
      EXIT.unavailable,
      `There are no usable AWS credentials (${name}): AWS_PROFILE, or \`aws sso login\`.`,
    );
  }
  return client;
}

/**
 * Invoke a function that changes nothing, and give what it returned.
 * @throws Stop
 */
export async function invoke(name: string, event: unknown): Promise<unknown> {
  const client = await lambdaClient();
  const call = { FunctionName: name, Payload: new TextEncoder().encode(JSON.stringify(event)) };
  try {
    const { FunctionError, Payload } = await client.send(new InvokeCommand(call));
    if (FunctionError === undefined) return JSON.parse(new TextDecoder().decode(Payload));
    throw new Stop(EXIT.internal, `The function ${name} failed (${FunctionError}): see its log.`);
  } catch (error) {
    if (error instanceof Stop) throw error;
    throw new Stop(
      EXIT.unavailable,
      `The function ${name} was not run (${(error as Error).name}).`,
    );
  }
}
