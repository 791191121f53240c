/**
 * Clients that are told their settings, beside clients that look for them: over HTTP, with the real SDK,
 * both send the same. What is told must never differ from what the SDK makes of the same environment.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DynamoDBClient, GetItemCommand } from "@aws-sdk/client-dynamodb";
import { HeadObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { settings } from "../../lib/aws/settings.ts";

interface Heard {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

/** What tells one request from the next of the same client, and a signature that depends on it. */
const PASSING = ["amz-sdk-invocation-id", "x-amz-date", "authorization"] as const;
/** `m/` lists features of the SDK that were used, and how credentials came is one. */
const FEATURES = / m\/[A-Za-z0-9+,/]+/;

let server: Server;
let heard: Heard[];
let url: string;
let home: string;

beforeAll(async () => {
  server = createServer(({ method, url: path, headers }, response) => {
    heard.push({ method, url: path, headers });
    response.writeHead(400, { "content-type": "application/x-amz-json-1.0" }).end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  // A developer's own files, which would lead elsewhere.
  home = await mkdtemp(join(tmpdir(), "posthaste-home-"));
  await mkdir(join(home, ".aws"));
  const theirs = "[default]\nregion = eu-south-2\nsdk_ua_app_id = from-the-file\n";
  await writeFile(join(home, ".aws", "config"), theirs);
});
beforeEach(() => {
  heard = [];
  vi.unstubAllEnvs();
  for (const name of Object.keys(process.env)) {
    if (name.startsWith("AWS_")) vi.stubEnv(name, undefined);
  }
  vi.stubEnv("HOME", join(home, "nobody"));
  const lambda = {
    AWS_LAMBDA_FUNCTION_NAME: "send",
    AWS_REGION: "eu-central-1",
    AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
    AWS_SECRET_ACCESS_KEY: "wJalrXUtnFEMI",
    AWS_SESSION_TOKEN: "token/of+a=session",
    AWS_ENDPOINT_URL: url,
  };
  for (const [name, value] of Object.entries(lambda)) vi.stubEnv(name, value);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(home, { recursive: true });
});

const QueueUrl = () => `${url}/000000000000/mail`;
const clients = {
  SECRETS_MANAGER: (options: object) =>
    new SecretsManagerClient(options).send(new GetSecretValueCommand({ SecretId: "box" })),
  DYNAMODB: (options: object) =>
    new DynamoDBClient(options).send(
      new GetItemCommand({ TableName: "ledger", Key: { pk: { S: "1" } } }),
    ),
  S3: (options: object) =>
    new S3Client(options).send(new HeadObjectCommand({ Bucket: "files", Key: "a/订单.pdf" })),
  SQS: (options: object) =>
    new SQSClient(options).send(new SendMessageCommand({ QueueUrl: QueueUrl(), MessageBody: "x" })),
} as const;
type Service = keyof typeof clients;
const services = Object.keys(clients) as readonly Service[];

/** The request that a client makes, without what differs from one to the next. */
async function asked(service: Service, options: object): Promise<object> {
  heard = [];
  await clients[service]({ maxAttempts: 1, forcePathStyle: true, ...options }).catch(() => {});
  expect(heard).toHaveLength(1);
  const [{ method, url: path, headers } = expect.fail()] = heard;
  const { authorization, ...rest } = headers;
  // Key, scope and what is signed; the signature itself has the time in it.
  const signed = String(authorization).replace(/Signature=\w+/, "");
  const kept = Object.entries(rest).filter(([name]) => !PASSING.some((one) => one === name));
  const agent = String(rest["user-agent"]).replace(FEATURES, "");
  return { method, path, signed, ...Object.fromEntries(kept), "user-agent": agent };
}

describe.each(services)("%s", (service) => {
  test("told its settings, sends what it sends when it looks for them", async () => {
    const told = settings(service);
    expect(told).not.toEqual({});
    expect(await asked(service, told)).toEqual(await asked(service, {}));
  });

  test("its own endpoint is taken before the common one", async () => {
    vi.stubEnv("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    vi.stubEnv(`AWS_ENDPOINT_URL_${service}`, url);
    expect(await asked(service, settings(service))).toEqual(await asked(service, {}));
  });

  test("looks for no file", async () => {
    vi.stubEnv("HOME", home);
    const told = expect.stringContaining("app/from-the-file");
    expect(await asked(service, {})).toHaveProperty("user-agent", told);
    expect(await asked(service, settings(service))).not.toHaveProperty("user-agent", told);
  });
});

test("SQS asks the host in the queue's URL, whatever endpoint is found", async () => {
  vi.stubEnv("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
  expect(await asked("SQS", settings("SQS"))).toEqual(await asked("SQS", {}));
});

test("without an endpoint of its own it is the region's", async () => {
  vi.stubEnv("AWS_ENDPOINT_URL", undefined);
  const client = new SecretsManagerClient({
    ...settings("SECRETS_MANAGER"),
    maxAttempts: 1,
    requestHandler: {
      handle: async ({ hostname }: { hostname: string }) => expect.fail(`asked ${hostname}`),
    },
  });
  const asking = client.send(new GetSecretValueCommand({ SecretId: "box" }));
  await expect(asking).rejects.toThrow("asked secretsmanager.eu-central-1.amazonaws.com");
});

test.each(["AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])(
  "without %s the SDK looks for itself",
  (name) => {
    vi.stubEnv(name, undefined);
    expect(settings("S3")).toEqual({});
  },
);

test.each([
  ["AWS_PROFILE", "work"],
  ["AWS_CONFIG_FILE", "/var/task/aws"],
  ["AWS_SHARED_CREDENTIALS_FILE", "/var/task/keys"],
  ["AWS_ACCOUNT_ID", "123456789012"],
  ["AWS_ACCOUNT_ID_ENDPOINT_MODE", "disabled"],
  ["AWS_AUTH_SCHEME_PREFERENCE", "sigv4a"],
  ["AWS_CREDENTIAL_EXPIRATION", "2030-01-01T00:00:00Z"],
  ["AWS_CREDENTIAL_SCOPE", "us-east-1"],
  ["AWS_DEFAULTS_MODE", "in-region"],
  ["AWS_DISABLE_CLOCK_SKEW_CORRECTION", "true"],
  ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"],
  ["AWS_RETRY_MODE", "adaptive"],
  ["AWS_SDK_UA_APP_ID", "shop"],
  ["AWS_USE_DUALSTACK_ENDPOINT", "true"],
  ["AWS_USE_FIPS_ENDPOINT", "true"],
])("with %s the SDK looks for itself", (name, value) => {
  vi.stubEnv(name, value);
  expect(settings("S3")).toEqual({});
});

test("a setting of the SDK's own still has its effect", async () => {
  vi.stubEnv("AWS_SDK_UA_APP_ID", "shop");
  const request = await asked("SECRETS_MANAGER", settings("SECRETS_MANAGER"));
  expect(request).toHaveProperty("user-agent", expect.stringContaining("app/shop"));
});
