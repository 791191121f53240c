/**
 * What is deployed, read from the artefact itself: the framework packages the built handlers in an
 * empty environment, and the template it writes is held to what each function may do and no more.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ofType as ofTypeIn,
  PACKAGING_MS,
  type Packaged,
  type Resource,
  ROOT,
  resourceOf,
  Workshop,
} from "../support/package.ts";

const STAGE = "trial";
const FUNCTIONS = ["api", "canary", "check", "eventbridge", "invoke", "s3", "sns", "sqs"] as const;
/** Those that Lambda invokes asynchronously, and tries again. */
const ASYNCHRONOUS: ReadonlySet<string> = new Set(["eventbridge", "s3", "sns"]);

const workshop = new Workshop();
let packaged: Packaged;

beforeAll(async () => {
  packaged = await workshop.package(STAGE);
}, PACKAGING_MS);

afterAll(() => workshop.close());

const ofType = (type: string) => ofTypeIn(packaged.template, type);
const resource = (name: string): Resource => resourceOf(packaged.template, name);

const both = (Destination: unknown) => ({ OnSuccess: { Destination }, OnFailure: { Destination } });

/** What CloudFormation fills in, since only it knows where the stack is. */
const pseudo = (name: string): string => `\${AWS::${name}}`;

const arn = (name: string): unknown => ({ "Fn::GetAtt": [name, "Arn"] });

const allow = (Action: string | readonly string[], Resource: unknown) => ({
  Effect: "Allow",
  Action,
  Resource,
});

const MAIL = `arn:${pseudo("Partition")}:s3:::posthaste-${STAGE}-mail-${pseudo("AccountId")}-${pseudo("Region")}`;
const REQUESTS = { "Fn::Sub": ["$", "{PayloadBucket.Arn}/requests/*"].join("") };
const LEDGER = allow(
  ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
  arn("LedgerTable"),
);
const ENQUEUE = [
  allow("sqs:SendMessage", arn("RequestQueue")),
  allow("s3:PutObject", REQUESTS),
] as const;
const ASIDE = allow("sqs:SendMessage", arn("FailedQueue"));
const EVENTS = [LEDGER, ...ENQUEUE, ASIDE, allow("sqs:SendMessage", arn("DeadLetterQueue"))];

/** What each may do besides reading its mailboxes' secrets and writing its log. */
const PERMISSIONS: Readonly<Record<(typeof FUNCTIONS)[number], readonly unknown[]>> = {
  api: [LEDGER, ...ENQUEUE],
  canary: [LEDGER],
  check: [LEDGER],
  invoke: [LEDGER, allow("sqs:SendMessage", arn("RequestQueue"))],
  sns: EVENTS,
  eventbridge: EVENTS,
  s3: [...EVENTS, allow(["s3:GetObject", "s3:GetObjectVersion"], { "Fn::Sub": `${MAIL}/*` })],
  sqs: [
    LEDGER,
    ASIDE,
    allow(
      [
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ChangeMessageVisibility",
      ],
      arn("RequestQueue"),
    ),
    allow(["s3:GetObject", "s3:PutObject"], REQUESTS),
  ],
};

/** The delivery check's own settings, where it is off. */
const NO_CANARY = {
  CANARY_TO: "",
  CANARY_SECRET_ID: "",
  CANARY_LATE_SECONDS: "300",
  CANARY_LOST_SECONDS: "3600",
};

const capital = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

describe("the framework", () => {
  test("packages without a word of warning", () => {
    expect(packaged.printed).not.toMatch(/warning|deprecat|error/i);
  });

  test("declares these functions and no other", () => {
    const names = ofType("AWS::Lambda::Function").map(([name]) => name);
    expect(names.sort()).toEqual(FUNCTIONS.map((name) => `${capital(name)}LambdaFunction`));
  });
});

describe.each(FUNCTIONS)("function %s", (name) => {
  const lambda = (): Resource => resource(`${capital(name)}LambdaFunction`);

  test("runs on Node.js 24, on arm64, with as much memory as it needs", () => {
    expect(lambda().Properties).toMatchObject({
      FunctionName: `posthaste-${STAGE}-${name}`,
      Handler: `dist/${name}.handler`,
      Runtime: "nodejs24.x",
      Architectures: ["arm64"],
      MemorySize: name === "s3" || name === "sqs" ? 1024 : 256,
    });
    expect(lambda().Properties.TracingConfig).toBeUndefined();
  });

  test("ends before whoever waits for it gives up", () => {
    // API Gateway waits 30 s; nobody but the caller waits for the others. A probe is waited for.
    expect(lambda().Properties.Timeout).toBe(name === "api" ? 28 : name === "canary" ? 90 : 60);
  });

  test("is started again by Lambda only where the ledger keeps that from sending twice", () => {
    const events = ofType("AWS::Lambda::EventInvokeConfig").map(([, { Properties }]) => Properties);
    const own = events.filter((e) => e.FunctionName.Ref === `${capital(name)}LambdaFunction`);
    const [retries, destinations] = ASYNCHRONOUS.has(name)
      ? [2, { OnFailure: { Destination: arn("DeadLetterQueue") } }]
      : [0, name === "invoke" ? both(arn("RequestQueue")) : {}];
    expect(own.map((e) => [e.MaximumRetryAttempts, e.DestinationConfig])).toEqual([
      [retries, destinations],
    ]);
  });

  test("has a role of its own that only Lambda may take", () => {
    expect(lambda().Properties.Role).toEqual({ "Fn::GetAtt": [`${capital(name)}Role`, "Arn"] });
    expect(resource(`${capital(name)}Role`).Properties.AssumeRolePolicyDocument).toEqual({
      Version: "2012-10-17",
      Statement: [
        {
          Effect: "Allow",
          Principal: { Service: "lambda.amazonaws.com" },
          Action: "sts:AssumeRole",
        },
      ],
    });
  });

  test("may do what it is for, and nothing else", () => {
    const role = resource(`${capital(name)}Role`).Properties;
    expect(Object.keys(role).sort()).toEqual(["AssumeRolePolicyDocument", "Policies"]);
    const statements = role.Policies.flatMap(
      (policy: { PolicyDocument: { Statement: unknown[] } }) => policy.PolicyDocument.Statement,
    );
    expect(statements).toEqual([
      {
        Effect: "Allow",
        Action: "secretsmanager:GetSecretValue",
        Resource: [
          { Ref: "DefaultMailbox" },
          {
            "Fn::Sub": [
              "arn",
              pseudo("Partition"),
              "secretsmanager",
              pseudo("Region"),
              pseudo("AccountId"),
              "secret",
              `posthaste/${STAGE}/mailbox/*-??????`,
            ].join(":"),
          },
        ],
      },
      ...PERMISSIONS[name],
      {
        Effect: "Allow",
        Action: ["logs:CreateLogStream", "logs:PutLogEvents"],
        Resource: { "Fn::GetAtt": [`${capital(name)}LogGroup`, "Arn"] },
      },
    ]);
  });

  test("knows the mailboxes, queues and table that its role may use", () => {
    expect(lambda().Properties.Environment.Variables).toEqual({
      ...(name === "canary" && NO_CANARY),
      MAILBOX_SECRET_ID: { Ref: "DefaultMailbox" },
      MAILBOX_SECRET_PREFIX: `posthaste/${STAGE}/mailbox/`,
      MAILBOX_CACHE_SECONDS: "300",
      LEDGER_TABLE: { Ref: "LedgerTable" },
      QUEUE_URL: { Ref: "RequestQueue" },
      FAILED_QUEUE_URL: { Ref: "FailedQueue" },
      PAYLOAD_BUCKET: { Ref: "PayloadBucket" },
      ATTACHMENT_BUCKETS: "",
      ALLOWED_RECIPIENTS: "",
      RELAY: "",
      TRANSCRIPT: "full",
      LOG_LEVEL: "info",
      METRICS_SERVICE: `posthaste-${STAGE}`,
    });
  });

  test("keeps its log for 30 days", () => {
    expect(resource(`${capital(name)}LogGroup`).Properties).toEqual({
      LogGroupName: `/aws/lambda/posthaste-${STAGE}-${name}`,
      RetentionInDays: 30,
    });
  });

  test("ships its own module and its own chunks, without sources, maps or node_modules", () => {
    const packages = JSON.parse(readFileSync(join(ROOT, "dist", "packages.json"), "utf8"));
    const shipped = entriesOf(readFileSync(join(packaged.artefact, `${name}.zip`)));
    expect([...shipped].sort()).toEqual([...packages[name]].sort());
    expect(shipped).toContain(`dist/${name}.mjs`);
    for (const file of shipped) {
      expect(file).toMatch(new RegExp(`^dist/(${name}\\.mjs|chunks/[^/]+\\.[mc]js)$`));
    }
  });
});

describe("roles", () => {
  test("are as many as the functions, and nothing is attached to them from elsewhere", () => {
    const names = Object.entries(packaged.template.Resources)
      .filter(([, { Type }]) => Type.startsWith("AWS::IAM::"))
      .map(([name]) => name);
    expect(names.sort()).toEqual(FUNCTIONS.map((name) => `${capital(name)}Role`));
  });

  test("allow no action and no resource by a bare wildcard", () => {
    for (const [, { Properties }] of ofType("AWS::IAM::Role")) {
      for (const { PolicyDocument } of Properties.Policies) {
        for (const { Action, Resource: resources } of PolicyDocument.Statement) {
          expect([Action].flat().join()).not.toContain("*");
          for (const one of [resources].flat()) {
            // The names of further mailboxes, of requests and of mail, which nobody knows here.
            const text: string = one["Fn::Sub"] ?? "";
            const known = text
              .replace(/:secret:posthaste\/trial\/mailbox\/\*-\?{6}$/, "")
              .replace(/(PayloadBucket\.Arn}\/requests|-\$\{AWS::Region})\/\*$/, "");
            expect(known).not.toMatch(/[*?]/);
            expect(typeof one).toBe("object");
          }
        }
      }
    }
  });
});

describe("the HTTP API", () => {
  test("answers these routes, each to a signed request only", () => {
    const routes = ofType("AWS::ApiGatewayV2::Route").map(([, { Properties }]) => [
      Properties.RouteKey,
      Properties.AuthorizationType,
    ]);
    expect(routes.sort()).toEqual([
      ["GET /messages/{id}", "AWS_IAM"],
      ["POST /messages", "AWS_IAM"],
      ["POST /messages/{id}/resend", "AWS_IAM"],
    ]);
  });

  test("reaches the api function only, which nobody else was let in to", () => {
    const targets = ofType("AWS::ApiGatewayV2::Integration").map(([, one]) => one.Properties);
    expect(targets.map((one) => [one.IntegrationUri, one.PayloadFormatVersion])).toEqual([
      [{ "Fn::GetAtt": ["ApiLambdaFunction", "Arn"] }, "2.0"],
    ]);
    const doors = ofType("AWS::Lambda::Permission").map(([, { Properties }]) => Properties);
    const api = doors.filter((one) => one.Principal === "apigateway.amazonaws.com");
    expect(api.map((one) => one.FunctionName)).toEqual([arn("ApiLambdaFunction")]);
    expect(JSON.stringify(api[0].SourceArn)).toContain('{"Ref":"HttpApi"}');
    // A function URL would be a second door, past the API's authorizer.
    expect(ofType("AWS::Lambda::Url")).toEqual([]);
  });
});

describe("the queue", () => {
  const queue = (name: string) => resource(name).Properties;

  test("is read by one function, ten records at a time, by two instances at most", () => {
    const mappings = ofType("AWS::Lambda::EventSourceMapping").map(([, one]) => one.Properties);
    expect(mappings).toEqual([
      {
        BatchSize: 10,
        EventSourceArn: arn("RequestQueue"),
        FunctionName: arn("SqsLambdaFunction"),
        Enabled: true,
        FunctionResponseTypes: ["ReportBatchItemFailures"],
        ScalingConfig: { MaximumConcurrency: 2 },
      },
    ]);
  });

  test("hides a record six times as long as the function may run, and keeps it four days", () => {
    const timeout = resource("SqsLambdaFunction").Properties.Timeout;
    expect(queue("RequestQueue").VisibilityTimeout).toBeGreaterThanOrEqual(6 * timeout);
    expect(queue("RequestQueue").MessageRetentionPeriod).toBe(4 * 24 * 3600);
  });

  test("gives a record up only after mail has been given up, into a queue of its own", () => {
    const { deadLetterTargetArn, maxReceiveCount } = queue("RequestQueue").RedrivePolicy;
    expect(deadLetterTargetArn).toEqual(arn("DeadLetterQueue"));
    expect(maxReceiveCount).toBeGreaterThan(16);
    for (const name of ["FailedQueue", "DeadLetterQueue"]) {
      expect(queue(name).MessageRetentionPeriod).toBe(14 * 24 * 3600);
    }
  });

  test("can be filled again from either, which SQS allows of dead-letter queues only", () => {
    expect(queue("DeadLetterQueue").RedrivePolicy).toEqual({
      deadLetterTargetArn: arn("FailedQueue"),
      maxReceiveCount: 1000,
    });
  });

  test("is encrypted, like all that waits elsewhere, and nothing is public", () => {
    const queues = ofType("AWS::SQS::Queue");
    expect(queues).toHaveLength(3);
    for (const [, { Properties }] of queues) expect(Properties.SqsManagedSseEnabled).toBe(true);
    expect(ofType("AWS::SQS::QueuePolicy")).toEqual([]);
    expect(ofType("AWS::SNS::TopicPolicy")).toEqual([]);
    for (const name of ["PayloadBucket", "MailBucket"]) {
      const { PublicAccessBlockConfiguration: block, LifecycleConfiguration } =
        resource(name).Properties;
      expect(Object.values(block)).toEqual([true, true, true, true]);
      expect(LifecycleConfiguration.Rules[0].ExpirationInDays).toBeGreaterThan(18);
    }
  });
});

test("the ledger pays by request, forgets by itself, is encrypted and outlives the stack", () => {
  const table = resource("LedgerTable");
  expect(table.Properties).toEqual({
    BillingMode: "PAY_PER_REQUEST",
    KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
    AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }],
    TimeToLiveSpecification: { AttributeName: "expires", Enabled: true },
    SSESpecification: { SSEEnabled: true, SSEType: "KMS" },
  });
  expect([table.DeletionPolicy, table.UpdateReplacePolicy]).toEqual(["Retain", "Retain"]);
});

describe("the events", () => {
  test("each come from one place, and no other may call the function", () => {
    const doors = ofType("AWS::Lambda::Permission").map(([, { Properties }]) => Properties);
    const from = (name: string) =>
      doors.filter((one) => one.FunctionName["Fn::GetAtt"][0] === name);
    expect(from("SnsLambdaFunction")).toMatchObject([
      { Principal: "sns.amazonaws.com", SourceArn: { Ref: "MailTopic" } },
    ]);
    expect(from("S3LambdaFunction")).toMatchObject([
      {
        Principal: "s3.amazonaws.com",
        SourceArn: { "Fn::Sub": MAIL },
        SourceAccount: { Ref: "AWS::AccountId" },
      },
    ]);
    expect(from("EventbridgeLambdaFunction")).toMatchObject([
      { Principal: "events.amazonaws.com" },
    ]);
    expect(doors).toHaveLength(4);
  });

  test("of S3 are creations of .json and .eml; of EventBridge one kind; of SNS all", () => {
    const { LambdaConfigurations: events } =
      resource("MailBucket").Properties.NotificationConfiguration;
    const filters = events.map((one: { Filter: { S3Key: { Rules: unknown[] } } }) => one.Filter);
    expect(events.map((one: { Event: string }) => one.Event)).toEqual(
      Array(2).fill("s3:ObjectCreated:*"),
    );
    expect(JSON.stringify(filters)).toMatch(/"\.json".*"\.eml"/);
    const [[, rule] = []] = ofType("AWS::Events::Rule");
    expect(rule?.Properties.EventPattern).toEqual({ "detail-type": [`posthaste ${STAGE}`] });
    const [[, subscription] = []] = ofType("AWS::SNS::Subscription");
    expect(subscription?.Properties).toEqual({
      TopicArn: { Ref: "MailTopic" },
      Protocol: "lambda",
      Endpoint: arn("SnsLambdaFunction"),
    });
  });
});

describe("the default mailbox", () => {
  test("is created empty and outlives the stack", () => {
    const secret = resource("DefaultMailbox");
    expect(secret.Type).toBe("AWS::SecretsManager::Secret");
    expect(Object.keys(secret.Properties).sort()).toEqual(["Description", "Name"]);
    expect(secret.Properties.Name).toBe(`posthaste/${STAGE}/default`);
    expect([secret.DeletionPolicy, secret.UpdateReplacePolicy]).toEqual(["Retain", "Retain"]);
  });

  test("is not among the mailboxes that a caller can name", () => {
    const { Name } = resource("DefaultMailbox").Properties;
    expect(Name.startsWith(`posthaste/${STAGE}/mailbox/`)).toBe(false);
  });

  test("is closed to every other account, and read by these functions and administrators", () => {
    const { ResourcePolicy, BlockPublicPolicy } = resource("DefaultMailboxPolicy").Properties;
    expect(BlockPublicPolicy).toBe(true);
    const everybody = { Effect: "Deny", Principal: "*", Resource: { Ref: "DefaultMailbox" } };
    const BoolIfExists = { "aws:PrincipalIsAWSService": "false" };
    const readers = [
      ...FUNCTIONS.map((name) => arn(`${capital(name)}Role`)),
      { "Fn::Sub": `arn:${pseudo("Partition")}:iam::${pseudo("AccountId")}:root` },
      "arn:*:iam::*:role/*Admin*",
    ];
    expect(ResourcePolicy.Statement).toEqual([
      {
        ...everybody,
        Sid: "OnlyThisAccount",
        Action: "secretsmanager:*",
        Condition: {
          StringNotEquals: { "aws:PrincipalAccount": { Ref: "AWS::AccountId" } },
          BoolIfExists,
        },
      },
      {
        ...everybody,
        Sid: "OnlyTheseReadIt",
        Action: ["secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue"],
        Condition: {
          ArnNotLike: {
            "aws:PrincipalArn": { "Fn::Split": [",", { "Fn::Join": [",", readers] }] },
          },
          BoolIfExists,
        },
      },
    ]);
  });
});

test("every log group has a retention", () => {
  const groups = ofType("AWS::Logs::LogGroup");
  expect(groups.map(([name]) => name).sort()).toEqual(
    FUNCTIONS.map((name) => `${capital(name)}LogGroup`),
  );
  for (const [, { Properties }] of groups) expect(Properties.RetentionInDays).toBe(30);
});

test("functions and API carry the tags of the application and the stage", () => {
  const expected = { application: "posthaste", stage: STAGE };
  for (const [, { Properties }] of ofType("AWS::Lambda::Function")) {
    const tags = Properties.Tags.map((tag: { Key: string; Value: string }) => [tag.Key, tag.Value]);
    expect(Object.fromEntries(tags)).toEqual(expected);
  }
  expect(resource("HttpApi").Properties.Tags).toEqual(expected);
});

test("the outputs say where to put the password and whom to call", () => {
  expect(Object.keys(packaged.template.Outputs)).toEqual(
    expect.arrayContaining([
      "DefaultMailboxArn",
      "InvokeFunctionName",
      "CheckFunctionName",
      "HttpApiUrl",
      "RequestQueueUrl",
      "FailedQueueUrl",
      "DeadLetterQueueUrl",
      "MailTopicArn",
      "MailBucketName",
      "EventbridgeFunctionArn",
      "AlarmTopicArn",
      "RequestQueueArn",
      "FailedQueueArn",
      "DeadLetterQueueArn",
    ]),
  );
});

test("the artefact is one archive a function beside the templates", () => {
  const archives = readdirSync(packaged.artefact).filter((file) => file.endsWith(".zip"));
  expect(archives.sort()).toEqual(FUNCTIONS.map((name) => `${name}.zip`));
});

/** The names in a ZIP archive's central directory (APPNOTE.TXT §4.3.12, §4.3.16). */
function entriesOf(zip: Buffer): readonly string[] {
  const end = zip.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  const count = zip.readUInt16LE(end + 10);
  const names: string[] = [];
  for (let at = zip.readUInt32LE(end + 16); names.length < count; ) {
    const [name, extra, comment] = [28, 30, 32].map((field) => zip.readUInt16LE(at + field)) as [
      number,
      number,
      number,
    ];
    names.push(zip.toString("utf8", at + 46, at + 46 + name));
    at += 46 + name + extra + comment;
  }
  return names;
}
