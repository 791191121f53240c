/**
 * What every client of the SDK is told outright in a function. Left alone, it looks for each of these
 * in the environment and then in the shared files of a developer's machine (`~/.aws`): a dozen chains
 * of promises and errors before a cold start's first request, for files that no function has.
 */

/** Set by Lambda itself, always. */
const FUNCTION = "AWS_LAMBDA_FUNCTION_NAME";

/** Whoever sets one of these wants what the SDK makes of it. */
const LEFT_TO_THE_SDK = [
  "AWS_PROFILE",
  "AWS_CONFIG_FILE",
  "AWS_SHARED_CREDENTIALS_FILE",
  "AWS_ACCOUNT_ID",
  "AWS_ACCOUNT_ID_ENDPOINT_MODE",
  "AWS_AUTH_SCHEME_PREFERENCE",
  "AWS_CREDENTIAL_EXPIRATION",
  "AWS_CREDENTIAL_SCOPE",
  "AWS_DEFAULTS_MODE",
  "AWS_DISABLE_CLOCK_SKEW_CORRECTION",
  "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
  "AWS_RETRY_MODE",
  "AWS_SDK_UA_APP_ID",
  "AWS_USE_DUALSTACK_ENDPOINT",
  "AWS_USE_FIPS_ENDPOINT",
] as const;

/**
 * @param service as in the name of its variable `AWS_ENDPOINT_URL_<service>`
 * @returns options for a client; none where the SDK has to look for itself: outside of Lambda, without
 *   credentials in the environment (SnapStart has them elsewhere), or with a setting of the SDK's own
 */
export function settings(
  service: "DYNAMODB" | "S3" | "SECRETS_MANAGER" | "SQS",
  environment: Readonly<Record<string, string | undefined>> = process.env,
) {
  const given = (name: string) => environment[name] || undefined;
  const region = given("AWS_REGION");
  const accessKeyId = given("AWS_ACCESS_KEY_ID");
  const secretAccessKey = given("AWS_SECRET_ACCESS_KEY");
  const sessionToken = given("AWS_SESSION_TOKEN");
  if (!given(FUNCTION) || !region || !accessKeyId || !secretAccessKey) return {};
  if (LEFT_TO_THE_SDK.some(given)) return {};
  const endpoint = given(`AWS_ENDPOINT_URL_${service}`) ?? given("AWS_ENDPOINT_URL");
  return {
    region,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) },
    ...(endpoint === undefined && { ignoreConfiguredEndpointUrls: true }),
    // SQS asks the host in the queue's own URL, unless an endpoint is told; one that is found does not count.
    ...(endpoint !== undefined && service !== "SQS" && { endpoint }),
    ...(service === "DYNAMODB" && { accountIdEndpointMode: "preferred" as const }),
    // The SDK's own defaults.
    defaultsMode: "legacy",
    retryMode: "standard",
    useDualstackEndpoint: false,
    useFipsEndpoint: false,
    authSchemePreference: [],
    disableClockSkewCorrection: false,
    userAgentAppId: "",
  } as const;
}
