/**
 * Each option of a deployment, packaged and read as CloudFormation would: it brings what it needs and
 * no more, and AWS's own validator finds nothing in it. What is misspelt is refused, not ignored.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RegoEngine, TemplateFile } from "@aws/cloudformation-validate";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ofType,
  PACKAGING_MS,
  type Packaged,
  resourceOf,
  type Template,
  Workshop,
} from "../support/package.ts";

const workshop = new Workshop();
const engine = new RegoEngine();
afterAll(() => {
  workshop.close();
  engine.free();
});

/** What the validator says that is not ours to mend, or not wrong. */
const EXPECTED = [
  // The framework's own: DependsOn beside a reference.
  "W3005",
  // ARNs made of pseudo parameters, where a reference would be a circle; and the framework's own.
  "W9002",
];

function findings(file: string, severityLevel: "WARN" | "ERROR" = "WARN"): readonly string[] {
  const options = { severityLevel, exclude: { ids: EXPECTED } };
  const { diagnostics } = engine.validateStandard(new TemplateFile(file), options);
  return diagnostics.map(
    ({ ruleId, entity, propertyPath, message }) =>
      `${ruleId} ${entity?.logicalId} ${propertyPath ?? ""}: ${message}`,
  );
}

const JWT = {
  httpAuthorizer: "jwt",
  jwtIssuer: "https://id.example.com",
  jwtAudience: "mail",
};
const VPC = { subnetIds: "subnet-0a1b2c3d,subnet-4e5f6a7b", securityGroupIds: "sg-0a1b2c3d" };
const EVERYTHING = {
  ...JWT,
  ...VPC,
  customerKey: "true",
  tracing: "true",
  alarmEmail: "ops@example.com",
  attachmentBucket: "pictures",
  canaryTo: "probe@example.net",
};

const stack = (stage: string, parameters: Readonly<Record<string, string>>) => {
  let packaged: Packaged;
  beforeAll(async () => {
    packaged = await workshop.package(stage, parameters);
  }, PACKAGING_MS);
  test(
    "is packaged without a warning, and the validator finds nothing",
    () => {
      expect(packaged.printed).not.toMatch(/warning|deprecat|error/i);
      // As it is, errors; and warnings once the conditions are applied, since packaging made literals
      // of what they compare, and the validator thinks that a mistake.
      expect(findings(packaged.file, "ERROR")).toEqual([]);
      const applied = join(packaged.artefact, "deployed.json");
      writeFileSync(applied, JSON.stringify(packaged.template));
      expect(findings(applied)).toEqual([]);
    },
    PACKAGING_MS,
  );
  return () => packaged.template;
};

const arn = (name: string) => ({ "Fn::GetAtt": [name, "Arn"] });
const functionsOf = (template: Template) =>
  ofType(template, "AWS::Lambda::Function").map(([, { Properties }]) => Properties);
const routesOf = (template: Template) =>
  ofType(template, "AWS::ApiGatewayV2::Route").map(([, { Properties }]) => Properties);

/** The statements of each role's policy of that name; undefined where it has none. */
function statementsOf(template: Template, policy: string): ReadonlyMap<string, unknown> {
  return new Map(
    ofType(template, "AWS::IAM::Role").map(([name, { Properties }]) => [
      name,
      Properties.Policies.find((one: { PolicyName: string }) => one.PolicyName === policy)
        ?.PolicyDocument.Statement,
    ]),
  );
}

describe("the stage prod", () => {
  const template = stack("prod", {});

  test("shares no name with another stage, and keeps its logs for longer", () => {
    for (const { FunctionName } of functionsOf(template())) {
      expect(FunctionName).toMatch(/^posthaste-prod-/);
    }
    for (const [, { Properties }] of ofType(template(), "AWS::Logs::LogGroup")) {
      expect(Properties.RetentionInDays).toBe(90);
    }
    expect(JSON.stringify(template())).not.toMatch(/posthaste[-/ ](dev|trial)/);
  });

  test("is closed, untraced, in no VPC, and has no key of its own", () => {
    for (const route of routesOf(template())) expect(route.AuthorizationType).toBe("AWS_IAM");
    for (const lambda of functionsOf(template())) {
      expect([lambda.TracingConfig, lambda.VpcConfig]).toEqual([undefined, undefined]);
    }
    for (const type of ["AWS::KMS::Key", "AWS::KMS::Alias", "AWS::ApiGatewayV2::Authorizer"]) {
      expect(ofType(template(), type)).toEqual([]);
    }
    for (const policy of ["key", "encrypt", "tracing", "network", "watched"]) {
      expect([...statementsOf(template(), policy).values()].filter(Boolean)).toEqual([]);
    }
  });
});

describe("httpAuthorizer=jwt", () => {
  const template = stack("dev", JWT);

  test("asks every route for a token of that issuer, for that audience", () => {
    const routes = routesOf(template());
    expect(routes).toHaveLength(3);
    for (const route of routes) {
      expect([route.AuthorizationType, route.AuthorizerId]).toEqual([
        "JWT",
        { Ref: "HttpApiAuthorizerJwt" },
      ]);
    }
    expect(resourceOf(template(), "HttpApiAuthorizerJwt").Properties).toEqual({
      ApiId: { Ref: "HttpApi" },
      Name: "jwt",
      AuthorizerType: "JWT",
      IdentitySource: ["$request.header.Authorization"],
      JwtConfiguration: { Issuer: JWT.jwtIssuer, Audience: [JWT.jwtAudience] },
    });
  });
});

describe("customerKey=true", () => {
  const template = stack("dev", { customerKey: "true" });
  const key = arn("Key");

  test("encrypts all that is kept with one key, which outlives the stack", () => {
    const { Properties, DeletionPolicy, UpdateReplacePolicy } = resourceOf(template(), "Key");
    expect([DeletionPolicy, UpdateReplacePolicy]).toEqual(["Retain", "Retain"]);
    expect(Properties.EnableKeyRotation).toBe(true);
    const of = (name: string) => resourceOf(template(), name).Properties;
    expect(of("DefaultMailbox").KmsKeyId).toEqual(key);
    expect(of("LedgerTable").SSESpecification).toEqual({
      SSEEnabled: true,
      SSEType: "KMS",
      KMSMasterKeyId: key,
    });
    for (const [, queue] of ofType(template(), "AWS::SQS::Queue")) {
      expect(queue.Properties.KmsMasterKeyId).toEqual(key);
      // SQS takes one or the other.
      expect(queue.Properties).not.toHaveProperty("SqsManagedSseEnabled");
    }
    for (const name of ["PayloadBucket", "MailBucket"]) {
      expect(of(name).BucketEncryption.ServerSideEncryptionConfiguration).toEqual([
        {
          ServerSideEncryptionByDefault: { SSEAlgorithm: "aws:kms", KMSMasterKeyID: key },
          BucketKeyEnabled: true,
        },
      ]);
    }
    expect(of("MailTopic").KmsMasterKeyId).toEqual(key);
    // CloudWatch could not publish to it.
    expect(of("AlarmTopic").KmsMasterKeyId).toBeUndefined();
    const groups = ofType(template(), "AWS::Logs::LogGroup");
    expect(groups).toHaveLength(functionsOf(template()).length);
    for (const [, group] of groups) expect(group.Properties.KmsKeyId).toEqual(key);
  });

  test("lets identity policies of the account and these log groups use the key, and nobody else", () => {
    const { Statement } = resourceOf(template(), "Key").Properties.KeyPolicy;
    expect(Statement.map(({ Principal }: { Principal: unknown }) => Principal)).toEqual([
      {
        AWS: { "Fn::Sub": ["arn:$", "{AWS::Partition}:iam::$", "{AWS::AccountId}:root"].join("") },
      },
      { Service: { "Fn::Sub": ["logs.$", "{AWS::Region}.$", "{AWS::URLSuffix}"].join("") } },
    ]);
    const context = Statement[1].Condition.ArnLike["kms:EncryptionContext:aws:logs:arn"];
    expect(context["Fn::Sub"]).toMatch(/:log-group:\/aws\/lambda\/posthaste-dev-\*$/);
  });

  test("lets every function decrypt, and those that put something somewhere encrypt", () => {
    for (const [role, statements] of statementsOf(template(), "key")) {
      expect(statements, role).toEqual([
        { Effect: "Allow", Action: "kms:Decrypt", Resource: key },
        {
          Effect: "Allow",
          Action: [
            "kms:DescribeKey",
            "kms:Encrypt",
            "kms:GenerateDataKey",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
          ],
          Resource: key,
          Condition: {
            StringEquals: {
              "kms:ViaService": {
                "Fn::Sub": ["dynamodb.$", "{AWS::Region}.$", "{AWS::URLSuffix}"].join(""),
              },
            },
          },
        },
      ]);
    }
    const sending = ofType(template(), "AWS::IAM::Role")
      .filter(([, { Properties }]) =>
        /"(sqs:SendMessage|s3:PutObject)"/.test(JSON.stringify(Properties)),
      )
      .map(([name]) => name);
    expect(sending.length).toBeGreaterThan(4);
    for (const [role, statements] of statementsOf(template(), "encrypt")) {
      const expected = [{ Effect: "Allow", Action: "kms:GenerateDataKey", Resource: key }];
      expect(statements, role).toEqual(sending.includes(role) ? expected : undefined);
    }
  });
});

describe("tracing=true", () => {
  const template = stack("dev", { tracing: "true" });

  test("traces every function, and lets each say so to X-Ray", () => {
    for (const { TracingConfig } of functionsOf(template())) {
      expect(TracingConfig).toEqual({ Mode: "Active" });
    }
    for (const [role, statements] of statementsOf(template(), "tracing")) {
      expect(statements, role).toEqual([
        {
          Effect: "Allow",
          Action: ["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
          Resource: "*",
        },
      ]);
    }
  });
});

describe("subnetIds and securityGroupIds", () => {
  const template = stack("dev", VPC);

  test("put every function into the subnets", () => {
    for (const { VpcConfig } of functionsOf(template())) {
      expect(VpcConfig).toEqual({
        SubnetIds: { "Fn::Split": [",", VPC.subnetIds] },
        SecurityGroupIds: { "Fn::Split": [",", VPC.securityGroupIds] },
      });
    }
  });

  test("let Lambda attach the functions, and their own code do nothing of the kind", () => {
    for (const [role, statements] of statementsOf(template(), "network")) {
      const [allowed, denied, ...others] = statements as readonly Record<string, unknown>[];
      expect(others, role).toEqual([]);
      expect([allowed?.["Effect"], denied?.["Effect"]]).toEqual(["Allow", "Deny"]);
      expect(denied?.["Action"]).toEqual(allowed?.["Action"]);
      expect(JSON.stringify(denied?.["Condition"])).toMatch(
        /lambda:SourceFunctionArn.*:function:posthaste-dev-\*/,
      );
    }
  });
});

describe("attachmentBucket", () => {
  const template = stack("dev", { attachmentBucket: "pictures" });

  test("may be read by every function that composes, and by no other", () => {
    const { Roles, PolicyDocument } = resourceOf(template(), "AttachmentsPolicy").Properties;
    const roles = ofType(template(), "AWS::IAM::Role").map(([name]) => name);
    const composing = roles.filter((name) => !/^(Check|Canary)/.test(name));
    expect(Roles.map(({ Ref }: { Ref: string }) => Ref).sort()).toEqual(composing.sort());
    expect(PolicyDocument.Statement).toEqual([
      {
        Effect: "Allow",
        Action: ["s3:GetObject", "s3:GetObjectVersion"],
        Resource: { "Fn::Sub": ["arn:$", "{AWS::Partition}:s3:::pictures/*"].join("") },
      },
    ]);
  });
});

describe("canaryTo", () => {
  const template = stack("dev", { canaryTo: "probe@example.net", canaryEvery: "rate(1 hour)" });
  const secret = { Ref: "CanaryMailbox" };

  test("starts the delivery check by a schedule that may start nothing else", () => {
    const { Properties } = resourceOf(template(), "CanarySchedule");
    expect(Properties).toMatchObject({ ScheduleExpression: "rate(1 hour)", State: "ENABLED" });
    expect(Properties.Targets).toEqual([{ Id: "canary", Arn: arn("CanaryLambdaFunction") }]);
    expect(resourceOf(template(), "CanarySchedulePermission").Properties).toEqual({
      Action: "lambda:InvokeFunction",
      FunctionName: arn("CanaryLambdaFunction"),
      Principal: "events.amazonaws.com",
      SourceArn: arn("CanarySchedule"),
    });
    const lambda = resourceOf(template(), "CanaryLambdaFunction").Properties;
    expect(lambda.Environment.Variables).toMatchObject({
      CANARY_TO: "probe@example.net",
      CANARY_SECRET_ID: secret,
    });
  });

  test("makes the watched mailbox's secret, empty, for that function and administrators alone", () => {
    const { Properties, DeletionPolicy } = resourceOf(template(), "CanaryMailbox");
    expect(Object.keys(Properties).sort()).toEqual(["Description", "Name"]);
    expect([Properties.Name, DeletionPolicy]).toEqual(["posthaste/dev/canary", "Retain"]);
    for (const [role, statements] of statementsOf(template(), "watched")) {
      const read = { Effect: "Allow", Action: "secretsmanager:GetSecretValue", Resource: secret };
      expect(statements, role).toEqual(role === "CanaryRole" ? [read] : undefined);
    }
    const { BlockPublicPolicy, ResourcePolicy } = resourceOf(
      template(),
      "CanaryMailboxPolicy",
    ).Properties;
    expect(BlockPublicPolicy).toBe(true);
    const [everywhere, here] = ResourcePolicy.Statement;
    const [ofDefault] = resourceOf(template(), "DefaultMailboxPolicy").Properties.ResourcePolicy
      .Statement;
    expect(everywhere).toEqual({ ...ofDefault, Resource: secret });
    expect([here.Effect, here.Principal, here.Resource]).toEqual(["Deny", "*", secret]);
    const [, { "Fn::Join": joined }] = here.Condition.ArnNotLike["aws:PrincipalArn"]["Fn::Split"];
    expect(joined[1]).toHaveLength(3);
    expect(joined[1][0]).toEqual(arn("CanaryRole"));
  });
});

describe("alarmEmail, and dashboard=false", () => {
  const template = stack("dev", { alarmEmail: "ops@example.com", dashboard: "false" });

  test("the one subscribes, the other leaves the dashboard out", () => {
    expect(resourceOf(template(), "AlarmEmail").Properties).toEqual({
      TopicArn: { Ref: "AlarmTopic" },
      Protocol: "email",
      Endpoint: "ops@example.com",
    });
    expect(ofType(template(), "AWS::CloudWatch::Dashboard")).toEqual([]);
  });
});

describe("all options at once", () => {
  const template = stack("dev", EVERYTHING);

  test("stay within what IAM takes as a role's inline policies", () => {
    for (const [name, { Properties }] of ofType(template(), "AWS::IAM::Role")) {
      const documents = Properties.Policies.map((one: { PolicyDocument: unknown }) =>
        JSON.stringify(one.PolicyDocument),
      );
      // 10,240 characters, white space not counted; what is filled in may be longer than what it stands for.
      expect(documents.join("").length, name).toBeLessThan(6_000);
    }
  });
});

describe("what is misspelt", () => {
  test.each([
    ["an authorizer that is none", { httpAuthorizer: "none" }, /provider\.httpApi/],
    ["jwt without an issuer", { httpAuthorizer: "jwt" }, /jwt\.issuerUrl/],
    ["a switch that is neither on nor off", { customerKey: "yes" }, /"strToBool"/],
    ["tracing that is neither", { tracing: "Active" }, /"strToBool"/],
  ])(
    "is refused: %s",
    async (_, parameters, reason) => {
      await expect(workshop.package("dev", parameters)).rejects.toMatchObject({
        stdout: expect.stringMatching(reason),
      });
    },
    PACKAGING_MS,
  );

  test(
    "in the template is found by the validator",
    async () => {
      const { file, artefact } = await workshop.package("dev");
      const template = JSON.parse(readFileSync(file, "utf8"));
      template.Resources.RequestQueue.Properties.VisibiltyTimeout = 360;
      template.Resources.DeadLetterQueue.Properties.MessageRetentionPeriod = 1_300_000;
      template.Resources.QueueAgeAlarm.Properties.EvaluationPeriods = "often";
      delete template.Resources.Dashboard.Properties.DashboardBody;
      template.Resources.ApiRole.Properties.Policies[0].PolicyDocument.Statement[0].Acton = "x";
      template.Outputs.RequestQueueUrl.Value = { Ref: "RequestQue" };
      writeFileSync(`${artefact}/wrong.json`, JSON.stringify(template));
      const found = findings(`${artefact}/wrong.json`).join("\n");
      for (const word of [
        "'VisibiltyTimeout' was unexpected",
        "1300000 is greater than the maximum",
        "'often' is not of type 'integer'",
        "'DashboardBody' is a required property",
        "'Acton' was unexpected",
        "RequestQue",
      ]) {
        expect(found).toContain(word);
      }
    },
    PACKAGING_MS,
  );
});
