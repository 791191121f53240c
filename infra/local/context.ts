/** The context that Lambda hands to a handler: as much of it as a function of ours may ask for. */
import { randomUUID } from "node:crypto";
import type { Context } from "aws-lambda";

/** @param timeoutSeconds what `serverless.yml` gives the function */
export function lambdaContext(functionName: string, timeoutSeconds: number): Context {
  const endsAt = performance.now() + timeoutSeconds * 1000;
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName,
    functionVersion: "$LATEST",
    invokedFunctionArn: `arn:aws:lambda:us-east-1:000000000000:function:${functionName}`,
    memoryLimitInMB: "256",
    awsRequestId: randomUUID(),
    logGroupName: `/aws/lambda/${functionName}`,
    logStreamName: "local",
    getRemainingTimeInMillis: () => Math.max(0, Math.round(endsAt - performance.now())),
    done: () => {},
    fail: () => {},
    succeed: () => {},
  };
}
