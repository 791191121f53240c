/**
 * What is deployed, read from the artefact itself: the framework packages the built handlers in an
 * empty environment, and the template it writes is held to what each function may do and no more.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const STAGE = "trial";
const FUNCTIONS = ["api", "check", "invoke"] as const;

interface Resource {
  readonly Type: string;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
  // biome-ignore lint/suspicious/noExplicitAny: a template's properties are compared, never trusted
  readonly Properties: any;
}
interface Template {
  readonly Resources: Readonly<Record<string, Resource>>;
  readonly Outputs: Readonly<Record<string, unknown>>;
}

const workspace = mkdtempSync(join(tmpdir(), "posthaste-package-"));
const artefact = join(workspace, "artefact");
let template: Template;
let printed = "";

beforeAll(async () => {
  // In a copy that holds what packaging may need and nothing else: the framework clears the
  // `.serverless` folder of the tree it runs in, which may be the one about to be deployed.
  const tree = join(workspace, "tree");
  for (const part of ["serverless.yml", "package.json", "infra", "dist"]) {
    cpSync(join(ROOT, part), join(tree, part), { recursive: true });
  }
  const framework = join(ROOT, "node_modules", "serverless", "bin", "serverless.js");
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [framework, "package", "--stage", STAGE, "--package", artefact],
    {
      cwd: tree,
      // No account, no region, no profile, and every road to AWS closed: packaging is offline.
      env: {
        PATH: [dirname(process.execPath), "/usr/bin", "/bin"].join(delimiter),
        HOME: join(workspace, "home"),
        AWS_EC2_METADATA_DISABLED: "true",
        HTTPS_PROXY: "http://127.0.0.1:9",
        HTTP_PROXY: "http://127.0.0.1:9",
      },
    },
  );
  printed = stdout + stderr;
  const file = join(artefact, "cloudformation-template-update-stack.json");
  template = JSON.parse(readFileSync(file, "utf8"));
});

afterAll(() => rmSync(workspace, { recursive: true, force: true }));

const ofType = (type: string): readonly (readonly [string, Resource])[] =>
  Object.entries(template.Resources).filter(([, resource]) => resource.Type === type);

const resource = (name: string): Resource => {
  const found = template.Resources[name];
  if (found === undefined) throw new Error(`The template has no ${name}.`);
  return found;
};

/** What CloudFormation fills in, since only it knows where the stack is. */
const pseudo = (name: string): string => `\${AWS::${name}}`;

const capital = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

describe("the framework", () => {
  test("packages without a word of warning", () => {
    expect(printed).not.toMatch(/warning|deprecat|error/i);
  });

  test("declares these functions and no other", () => {
    const names = ofType("AWS::Lambda::Function").map(([name]) => name);
    expect(names.sort()).toEqual(FUNCTIONS.map((name) => `${capital(name)}LambdaFunction`));
  });
});

describe.each(FUNCTIONS)("function %s", (name) => {
  const lambda = (): Resource => resource(`${capital(name)}LambdaFunction`);

  test("runs on Node.js 24, on arm64, with 256 MB", () => {
    expect(lambda().Properties).toMatchObject({
      FunctionName: `posthaste-${STAGE}-${name}`,
      Handler: `dist/${name}.handler`,
      Runtime: "nodejs24.x",
      Architectures: ["arm64"],
      MemorySize: 256,
    });
    expect(lambda().Properties.TracingConfig).toBeUndefined();
  });

  test("ends before whoever waits for it gives up", () => {
    // API Gateway waits 30 s; nobody but the caller waits for the others.
    expect(lambda().Properties.Timeout).toBe(name === "api" ? 28 : 60);
  });

  test("is never started again by Lambda itself", () => {
    const events = ofType("AWS::Lambda::EventInvokeConfig").map(([, { Properties }]) => Properties);
    const own = events.filter((e) => e.FunctionName.Ref === `${capital(name)}LambdaFunction`);
    expect(own.map((e) => e.MaximumRetryAttempts)).toEqual([0]);
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

  test("may read its mailboxes' secrets and write its own log, and nothing else", () => {
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
      {
        Effect: "Allow",
        Action: ["logs:CreateLogStream", "logs:PutLogEvents"],
        Resource: { "Fn::GetAtt": [`${capital(name)}LogGroup`, "Arn"] },
      },
    ]);
  });

  test("reads the mailboxes that its role may read", () => {
    expect(lambda().Properties.Environment.Variables).toEqual({
      MAILBOX_SECRET_ID: { Ref: "DefaultMailbox" },
      MAILBOX_SECRET_PREFIX: `posthaste/${STAGE}/mailbox/`,
      MAILBOX_CACHE_SECONDS: "300",
      ALLOWED_RECIPIENTS: "",
      RELAY: "",
      TRANSCRIPT: "full",
      LOG_LEVEL: "info",
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
    const shipped = entriesOf(readFileSync(join(artefact, `${name}.zip`)));
    expect([...shipped].sort()).toEqual([...packages[name]].sort());
    expect(shipped).toContain(`dist/${name}.mjs`);
    for (const file of shipped) {
      expect(file).toMatch(new RegExp(`^dist/(${name}\\.mjs|chunks/[^/]+\\.mjs)$`));
    }
  });
});

describe("roles", () => {
  test("are as many as the functions, and no other policy is attached anywhere", () => {
    const roles = ofType("AWS::IAM::Role").map(([name]) => name);
    expect(roles.sort()).toEqual(FUNCTIONS.map((name) => `${capital(name)}Role`));
    const iam = Object.values(template.Resources).filter((one) =>
      one.Type.startsWith("AWS::IAM::"),
    );
    expect(iam).toHaveLength(roles.length);
  });

  test("allow no action and no resource by a bare wildcard", () => {
    for (const [, { Properties }] of ofType("AWS::IAM::Role")) {
      for (const { PolicyDocument } of Properties.Policies) {
        for (const { Action, Resource: resources } of PolicyDocument.Statement) {
          expect([Action].flat().join()).not.toContain("*");
          for (const one of [resources].flat()) {
            // The one pattern there is: the names of further mailboxes, which nobody knows here.
            const text: string = one["Fn::Sub"] ?? "";
            expect(text.replace(/:secret:posthaste\/trial\/mailbox\/\*-\?{6}$/, "")).not.toMatch(
              /[*?]/,
            );
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
    expect(doors.map((one) => [one.FunctionName, one.Principal])).toEqual([
      [{ "Fn::GetAtt": ["ApiLambdaFunction", "Arn"] }, "apigateway.amazonaws.com"],
    ]);
    expect(JSON.stringify(doors[0].SourceArn)).toContain('{"Ref":"HttpApi"}');
    // A function URL would be a second door, past the API's authorizer.
    expect(ofType("AWS::Lambda::Url")).toEqual([]);
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

  test("is closed to every other account", () => {
    const { ResourcePolicy, BlockPublicPolicy } = resource("DefaultMailboxPolicy").Properties;
    expect(BlockPublicPolicy).toBe(true);
    expect(ResourcePolicy.Statement).toEqual([
      {
        Sid: "OnlyThisAccount",
        Effect: "Deny",
        Principal: "*",
        Action: "secretsmanager:*",
        Resource: { Ref: "DefaultMailbox" },
        Condition: {
          StringNotEquals: { "aws:PrincipalAccount": { Ref: "AWS::AccountId" } },
          BoolIfExists: { "aws:PrincipalIsAWSService": "false" },
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
  expect(Object.keys(template.Outputs)).toEqual(
    expect.arrayContaining([
      "DefaultMailboxArn",
      "InvokeFunctionName",
      "CheckFunctionName",
      "HttpApiUrl",
    ]),
  );
});

test("the artefact is one archive a function beside the templates", () => {
  const archives = readdirSync(artefact).filter((file) => file.endsWith(".zip"));
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
