/** What the SDK is told where all of AWS is on loopback: nothing of the machine's own account is read. */
import { devNull } from "node:os";

const ACCOUNT = {
  AWS_REGION: "us-east-1",
  AWS_ACCESS_KEY_ID: "local",
  AWS_SECRET_ACCESS_KEY: "local",
  AWS_EC2_METADATA_DISABLED: "true",
} as const;

export const LOCAL_AWS = {
  ...ACCOUNT,
  AWS_CONFIG_FILE: devNull,
  AWS_SHARED_CREDENTIALS_FILE: devNull,
} as const;

/** The same as Lambda gives it to a function, whose home is never there. */
export function lambdaAws(functionName: string) {
  return { ...ACCOUNT, AWS_LAMBDA_FUNCTION_NAME: functionName, HOME: "/home/none" } as const;
}
