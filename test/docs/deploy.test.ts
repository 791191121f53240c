/**
 * What the deployment's pages say of roles, parameters, costs and limits is held against the packaged
 * template. The tables of permissions are generated: a failure here prints what should stand there.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { within } from "../../lib/smtp/io/deadline.ts";
import { QUEUE_LIMIT } from "../../lib/submission/queue.ts";
import { ofType, PACKAGING_MS, ROOT, type Template, Workshop } from "../support/package.ts";

const STAGE = "trial";
const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");
const page = read("infra/README.md");
const reference = read("lib/REFERENCE.md");

const workshop = new Workshop();
let plain: Template;
let full: Template;
beforeAll(async () => {
  plain = (await workshop.package(STAGE)).template;
  full = (
    await workshop.package(STAGE, {
      customerKey: "true",
      tracing: "true",
      subnetIds: "subnet-0a1b2c3d",
      securityGroupIds: "sg-0a1b2c3d",
      canaryTo: "probe@example.net",
    })
  ).template;
}, 2 * PACKAGING_MS);
afterAll(() => workshop.close());

interface Statement {
  readonly Effect: string;
  readonly Action: string | readonly string[];
  readonly Resource: unknown;
  readonly Condition?: Readonly<Record<string, object>>;
}
interface Policy {
  readonly PolicyName: string;
  readonly PolicyDocument: { readonly Statement: readonly Statement[] };
}

/** A resource as the pages name it: the template's own name, with what is below it. */
function place(resource: unknown): string {
  if (Array.isArray(resource)) return resource.map(place).join(", ");
  if (typeof resource === "string") return `\`${resource}\``;
  const { Ref, "Fn::GetAtt": attribute, "Fn::Sub": text } = resource as Record<string, unknown>;
  if (typeof Ref === "string") return `\`${Ref}\``;
  if (Array.isArray(attribute)) {
    return /LogGroup$/.test(attribute[0]) ? "its own log group" : `\`${attribute[0]}\``;
  }
  const below = String(text)
    .replace(/^.*:secret:posthaste\/trial\/mailbox\//, "mailboxSecretPrefix")
    .replace(/-\?{6}$/, "")
    .replace(/^arn:[^/]*-mail-[^/]*/, "MailBucket")
    .replace(/^\$\{(\w+)\.Arn\}/, "$1");
  return `\`${below}\``;
}

const told = ({ Effect, Action, Resource, Condition }: Statement): string =>
  [
    Effect === "Deny" ? "never: " : "",
    [Action]
      .flat()
      .map((action) => `\`${action}\``)
      .join(" "),
    ` on ${place(Resource)}`,
    Condition === undefined
      ? ""
      : `, if \`${Object.values(Condition).flatMap(Object.keys).join()}\` fits`,
  ].join("");

const policiesOf = (template: Template): ReadonlyMap<string, readonly Policy[]> =>
  new Map(
    ofType(template, "AWS::IAM::Role").map(([name, { Properties }]) => [
      name.replace(/Role$/, "").toLowerCase(),
      Properties.Policies,
    ]),
  );
const statements = (policies: readonly Policy[]): readonly string[] =>
  policies.flatMap(({ PolicyDocument }) => PolicyDocument.Statement.map(told));

/** The rows of the page's table that has this head. */
function tableUnder(head: string): string {
  const [, ...lines] = page.slice(page.indexOf(`\n${head}\n`) + 1).split("\n");
  const end = lines.findIndex((line) => !line.startsWith("|"));
  return lines.slice(1, end).join("\n");
}

describe("the table of roles", () => {
  test("says what each function may do, and what all may", () => {
    const roles = [...policiesOf(plain)].map(([name, list]) => [name, statements(list)] as const);
    const shared = (roles[0]?.[1] ?? []).filter((one) =>
      roles.every(([, all]) => all.includes(one)),
    );
    const table = [
      ["every function", shared.join("; ")],
      ...roles
        .map(([name, all]) => [
          `\`${name}\``,
          all.filter((one) => !shared.includes(one)).join("; "),
        ])
        .sort(([a = ""], [b = ""]) => (a < b ? -1 : 1)),
    ].map(([name, may]) => `| ${name} | ${may || "no more"} |`);
    expect(tableUnder("| function | may |")).toBe(table.join("\n"));
  });

  test("says what each option adds, and to whom", () => {
    const every = [...policiesOf(full)];
    const known = new Set([...policiesOf(plain).values()].flat().map((one) => one.PolicyName));
    const names = [...new Set(every.flatMap(([, list]) => list.map((one) => one.PolicyName)))];
    const table = names
      .filter((name) => !known.has(name))
      .map((name) => {
        const has = every.filter(([, list]) => list.some((one) => one.PolicyName === name));
        const [[, first] = ["", []]] = has;
        const may = statements(first.filter((one) => one.PolicyName === name)).join("; ");
        const holders = has.map(([role]) => role);
        const others = every.map(([role]) => role).filter((role) => !holders.includes(role));
        const list = (roles: readonly string[]) => roles.map((role) => `\`${role}\``).join(", ");
        const butFew = others.length === 0 ? "all" : `all but ${list(others)}`;
        const whom = holders.length < others.length ? list(holders) : butFew;
        return `| \`${name}\` | ${whom} | ${may} |`;
      });
    expect(tableUnder("| policy | of | may |")).toBe(table.join("\n"));
  });
});

/** A page's section by its heading, to the next one of its rank. */
function section(text: string, heading: string): string {
  const start = text.indexOf(`\n${heading}\n`);
  expect(start, heading).toBeGreaterThan(-1);
  const rank = heading.split(" ")[0] as string;
  const rest = text.slice(start + heading.length + 1);
  const end = rest.search(new RegExp(`\n#{1,${rank.length}} `));
  return end === -1 ? rest : rest.slice(0, end);
}

test("every parameter is in the table, with its default, and no other", () => {
  const [, block = ""] =
    /^params:\n {2}default:\n([\s\S]*?)^ {2}prod:/m.exec(read("serverless.yml")) ?? [];
  const defaults = [...block.matchAll(/^ {4}(\w+): (.*)$/gm)].map(([, name, value = ""]) => [
    name,
    value.replace(/^"(.*)"$/, "$1").replace(/\$\{sls:stage\}/g, "<stage>"),
  ]);
  expect(defaults.length).toBeGreaterThan(15);
  const rows = [...section(page, "## Parameters").matchAll(/^\| `(\w+)` \| (.*?) \|/gm)].map(
    ([, name, value = ""]) => [name, value.replace(/^`(.*)`$/, "$1")],
  );
  const without = [
    ["jwtIssuer", "none"],
    ["jwtAudience", "none"],
  ];
  const stated = rows.map(([name, value]) => [name, value === "empty" ? "" : value]);
  expect(stated.sort()).toEqual([...defaults, ...without].sort());
});

test("what is left when the stack is removed is listed, and nothing else", () => {
  const kept = Object.entries(full.Resources)
    .filter(([, { DeletionPolicy }]) => DeletionPolicy === "Retain")
    .map(([name]) => name);
  const listed = [...section(page, "## Removing it").matchAll(/^\| `(\w+)` \|/gm)].map(
    ([, n]) => n,
  );
  expect(listed.sort()).toEqual(kept.sort());
});

describe("the costs", () => {
  const costs = section(page, "## What it costs");

  const watched = (template: Template): readonly number[] =>
    ofType(template, "AWS::CloudWatch::Alarm").map(
      ([, { Properties }]) =>
        Properties.Metrics?.filter((one: object) => "MetricStat" in one).length ?? 1,
    );
  const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);

  test("count the alarms' metrics as the template has them", () => {
    const count = sum(watched(plain));
    expect(costs).toContain(`${watched(plain).length} alarms on ${count} metrics`);
    expect(costs).toContain(`$${(count / 10).toFixed(2)}`);
    const more = sum(watched(full)) - count;
    const alarms = watched(full).length - watched(plain).length;
    expect(costs).toContain(`${alarms} more alarms on ${more} metrics`);
  });
});

describe("the limits", () => {
  test("of size name the queue's as the code has it", () => {
    expect(section(reference, "### Sizes")).toContain(QUEUE_LIMIT.toLocaleString("en"));
  });

  test("of VPCs are in what a connect timeout says", async () => {
    const soon = { endsAt: performance.now() + 60_000, helloBy: performance.now() + 60_000 };
    const never = within(soon, "connect", 1, () => () => undefined);
    await expect(never).rejects.toThrow(/NAT gateway.*port 25.*465 or 587/);
    for (const words of ["NAT gateway", "port 25", "465 or 587"]) {
      expect(section(page, "## In a VPC")).toContain(words);
    }
  });
});
