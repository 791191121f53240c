/**
 * Each option of a deployment, packaged and read as CloudFormation would: it brings what it needs and
 * no more, and AWS's own validator finds nothing in it.
 */
import { describe, expect, test } from "vitest";
import { functionsOf, stack, statementsOf } from "../support/option.ts";
import { ofType, resourceOf, type Template } from "../support/package.ts";

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
const routesOf = (template: Template) =>
  ofType(template, "AWS::ApiGatewayV2::Route").map(([, { Properties }]) => Properties);

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
