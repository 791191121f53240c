/**
 * The options that bring a secret or a key with them: who may read it, what it encrypts, and that
 * nobody else is let in.
 */
import { describe, expect, test } from "vitest";
import { arn, functionsOf, stack, statementsOf } from "../support/option.ts";
import { ofType, resourceOf } from "../support/package.ts";

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
