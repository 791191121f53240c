/**
 * Every failure that nobody would notice has an alarm, every alarm tells somebody, and the runbook
 * says of each alarm and of each error code what to do. The dashboard shows metrics that exist.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ofType,
  PACKAGING_MS,
  type Packaged,
  ROOT,
  resourceOf,
  Workshop,
} from "../support/package.ts";

const STAGE = "trial";
const PREFIX = `posthaste-${STAGE}-`;

/** What goes wrong unseen, and the alarm that says so. */
const FAILURES: Readonly<Record<string, string>> = {
  "something crashed for good": "dead-letters",
  "messages were given up": "failed-growing",
  "messages that were given up are about to be deleted": "failed-forgotten",
  "what waits is not sent": "queue-age",
  "the login is refused (535)": "login-refused",
  "mail is rejected": "rejected-rate",
  "nobody knows whether mail was sent": "uncertain-rate",
  "the relay takes nothing": "deferred-rate",
  "a function crashes": "function-errors",
  "a function is not started": "function-throttles",
  "a function runs into its timeout": "function-duration",
  "the API answers 5xx": "api-errors",
  "mail that is taken arrives late or as spam": "canary-late",
  "mail that is taken never arrives": "canary-lost",
  "the delivery check itself does not work": "canary-silent",
};

/** The functions' own metrics. */
const OWN: ReadonlySet<string> = new Set([
  ...["Submissions", "Accepted", "Partial", "Rejected", "Deferred", "Uncertain", "LoginRefused"],
  ...["Recipients", "RoundTrips", "Retries", "Reply2xx", "Reply4xx", "Reply5xx"],
  ...["TotalMs", "ConnectMs", "TlsMs", "AuthMs", "TransactionMs"],
  ...["CanaryDelivered", "CanaryLate", "CanaryLost", "CanarySpam", "CanaryDelayMs"],
]);
/** AWS's metrics, by namespace: the dimension, and the names. */
const AWS: Readonly<Record<string, readonly [string, readonly string[]]>> = {
  "AWS/SQS": [
    "QueueName",
    [
      "ApproximateAgeOfOldestMessage",
      "ApproximateNumberOfMessagesVisible",
      "ApproximateNumberOfMessagesNotVisible",
      "NumberOfMessagesSent",
    ],
  ],
  "AWS/Lambda": ["FunctionName", ["Errors", "Throttles", "Duration"]],
  "AWS/ApiGateway": ["ApiId", ["Count", "4xx", "5xx"]],
};

interface Metric {
  readonly Namespace: string;
  readonly MetricName: string;
  readonly Dimensions: readonly { readonly Name: string; readonly Value: unknown }[];
}

const workshop = new Workshop();
let packaged: Packaged;
beforeAll(async () => {
  packaged = await workshop.package(STAGE, { canaryTo: "probe@example.net" });
}, PACKAGING_MS);
afterAll(() => workshop.close());

const alarms = () =>
  ofType(packaged.template, "AWS::CloudWatch::Alarm").map(([, { Properties }]) => Properties);
const alarm = (name: string) => alarms().find((one) => one.AlarmName === PREFIX + name);
const functions = () => ofType(packaged.template, "AWS::Lambda::Function");
const metricsOf = (properties: {
  Metrics?: readonly { MetricStat?: { Metric: Metric } }[];
}): readonly Metric[] =>
  properties.Metrics?.flatMap(({ MetricStat }) => MetricStat?.Metric ?? []) ?? [
    properties as unknown as Metric,
  ];

const runbook = readFileSync(join(ROOT, "infra", "RUNBOOK.md"), "utf8");
const chapter = (title: string): string =>
  runbook.split(/^## /m).find((one) => one.startsWith(`${title}\n`)) ?? "";
/** The code in the first cell of a Markdown table's rows. */
const codesIn = (text: string): readonly string[] =>
  [...text.matchAll(/^\| `([a-z_]+)` *\|/gm)].map(([, code]) => code as string).sort();

describe("alarms", () => {
  test("are there for each failure, and for nothing else", () => {
    const names = alarms().map(({ AlarmName }) => AlarmName.slice(PREFIX.length));
    expect(names.sort()).toEqual(Object.values(FAILURES).sort());
  });

  test.each(Object.entries(FAILURES))(
    "where %s: %s tells somebody, and where to read on",
    (_, name) => {
      const properties = alarm(name);
      expect(properties.AlarmActions).toEqual([{ Ref: "AlarmTopic" }]);
      expect(properties.OKActions).toEqual([{ Ref: "AlarmTopic" }]);
      expect(properties.ActionsEnabled).toBeUndefined();
      // Silence is an alarm where something is to be heard all the time.
      expect([properties.TreatMissingData, properties.ComparisonOperator]).toEqual(
        name === "canary-silent"
          ? ["breaching", "LessThanThreshold"]
          : ["notBreaching", "GreaterThanOrEqualToThreshold"],
      );
      expect(properties.Threshold).toBeGreaterThan(0);
      expect(properties.AlarmDescription).toMatch(new RegExp(`\\. infra/RUNBOOK\\.md#${name}$`));
    },
  );

  test("watch metrics that are written, of this stage alone", () => {
    for (const properties of alarms()) {
      for (const { Namespace, MetricName, Dimensions } of metricsOf(properties)) {
        const [{ Name, Value } = { Name: "", Value: "" }, ...others] = Dimensions;
        expect(others).toEqual([]);
        if (Namespace === "posthaste") {
          expect(OWN).toContain(MetricName);
          expect([Name, Value]).toEqual(["Service", `posthaste-${STAGE}`]);
        } else {
          const [dimension, names] = AWS[Namespace] ?? ["", []];
          expect(names).toContain(MetricName);
          expect(Name).toBe(dimension);
          // A reference: a name written out could be another stage's.
          expect(typeof Value).toBe("object");
        }
      }
    }
  });

  test("know the metrics that the code writes", () => {
    const sources = globSync("lib/{telemetry,canary}/*.ts", { cwd: ROOT })
      .map((file) => readFileSync(join(ROOT, file), "utf8"))
      .join("\n");
    for (const metric of OWN) expect(sources).toMatch(new RegExp(`\\b${metric}: |"${metric}"`));
  });

  test("select by what the functions write", () => {
    for (const [, { Properties }] of functions()) {
      expect(Properties.Environment.Variables.METRICS_SERVICE).toBe(`posthaste-${STAGE}`);
    }
  });

  test("compute with the metrics that they fetch, and return one series", () => {
    for (const { Metrics } of alarms().filter((one) => one.Metrics !== undefined)) {
      const [expression, ...inputs] = Metrics;
      expect(expression.Expression).toBeDefined();
      expect(expression.ReturnData).toBeUndefined();
      for (const { Id, ReturnData } of inputs) {
        expect(ReturnData).toBe(false);
        if (!expression.Expression.includes("METRICS()")) {
          expect(expression.Expression).toMatch(new RegExp(`\\b${Id}\\b`));
        }
      }
    }
  });

  test("on functions cover each function", () => {
    const all = functions().map(([name]) => ({ Ref: name }));
    for (const name of ["function-errors", "function-throttles", "function-duration"]) {
      const watched = metricsOf(alarm(name)).map(({ Dimensions }) => Dimensions[0]?.Value);
      expect(watched).toHaveLength(all.length);
      expect(watched).toEqual(expect.arrayContaining(all));
    }
  });

  test("on duration compare with each function's own timeout", () => {
    const { Expression } = alarm("function-duration").Metrics[0];
    const limits = [...Expression.matchAll(/100 \* FILL\((\w+), 0\) \/ (\d+)000\b/g)].map(
      ([, id, seconds]) => [id, Number(seconds)] as const,
    );
    const timeouts = functions().map(([name, { Properties }]) => [
      name.replace("LambdaFunction", "").toLowerCase(),
      Properties.Timeout,
    ]);
    expect(Object.fromEntries(limits)).toEqual(Object.fromEntries(timeouts));
  });

  test("speak before a failed message is deleted", () => {
    const kept = resourceOf(packaged.template, "FailedQueue").Properties.MessageRetentionPeriod;
    expect(alarm("failed-forgotten").Threshold).toBeLessThan(kept - 3 * 24 * 3600);
  });

  test(
    "on the delivery check are there with it alone",
    async () => {
      const { template } = await workshop.package(STAGE);
      const names = ofType(template, "AWS::CloudWatch::Alarm").map(([name]) => name);
      expect(names).toHaveLength(alarms().length - 3);
      expect(names.filter((name) => name.startsWith("Canary"))).toEqual([]);
    },
    PACKAGING_MS,
  );

  test(
    "without metrics leave out those that could never fire",
    async () => {
      const { template } = await workshop.package(STAGE, {
        metrics: "false",
        canaryTo: "probe@example.net",
      });
      for (const [, { Properties }] of ofType(template, "AWS::CloudWatch::Alarm")) {
        for (const { Namespace } of metricsOf(Properties)) expect(Namespace).toMatch(/^AWS\//);
      }
      for (const [, { Properties }] of ofType(template, "AWS::Lambda::Function")) {
        expect(Properties.Environment.Variables.METRICS_SERVICE).toBe("");
      }
    },
    PACKAGING_MS,
  );
});

describe("the runbook", () => {
  test("has every alarm, and no other", () => {
    const headings = [...chapter("Alarms").matchAll(/^### (.+)$/gm)].map(([, name]) => name);
    expect(headings.sort()).toEqual(Object.values(FAILURES).sort());
  });

  test("says of each alarm what it means and what to do", () => {
    for (const entry of chapter("Alarms").split(/^### /m).slice(1)) {
      expect(entry.length, entry.split("\n")[0]).toBeGreaterThan(100);
    }
  });

  test("has every error code of the README, which has every one of the code", () => {
    const reference = readFileSync(join(ROOT, "lib/REFERENCE.md"), "utf8");
    const start = reference.indexOf("\n### Error codes\n");
    const known = codesIn(reference.slice(start, reference.indexOf("\n## ", start)));
    expect(known.length).toBeGreaterThan(50);
    expect(codesIn(chapter("Error codes"))).toEqual(known);
  });

  test("says of each code who acts, and how", () => {
    const rows = chapter("Error codes")
      .split("\n")
      .filter((line) => line.startsWith("| `"));
    for (const row of rows) {
      const cells = row.split(/(?<!\\)\|/).map((cell) => cell.trim());
      expect(cells.slice(1, -1)).toHaveLength(3);
      expect(cells.slice(1, -1), row).not.toContain("");
    }
  });
});

describe("the dashboard", () => {
  interface Widget {
    readonly type: string;
    readonly x: number;
    readonly y: number;
    readonly width: number;
    readonly height: number;
    readonly properties: {
      readonly alarms?: readonly string[];
      readonly metrics?: readonly (readonly (string | object)[])[];
      readonly region?: string;
    };
  }
  /** The text, with what options fill in; names and ARNs, which have no quote in them, stay open. */
  const body = (): string => {
    const [text, filled] = resourceOf(packaged.template, "Dashboard").Properties.DashboardBody[
      "Fn::Sub"
    ] as [string, Readonly<Record<string, { readonly "Fn::Sub": string }>>];
    return Object.entries(filled).reduce(
      (whole, [name, value]) => whole.replace(["$", `{${name}}`].join(""), () => value["Fn::Sub"]),
      text,
    );
  };
  const widgets = (): readonly Widget[] => JSON.parse(body()).widgets;

  /** CloudWatch's short forms written out: "." repeats one word of the row above, "..." all before. */
  function written(
    rows: readonly (readonly (string | object)[])[],
  ): readonly (readonly string[])[] {
    const full: (readonly string[])[] = [];
    for (const row of rows) {
      const above = full.at(-1) ?? [];
      const words = row.filter((word): word is string => typeof word === "string");
      const missing = above.length - words.length + 1;
      const spread = words[0] === "..." ? [...above.slice(0, missing), ...words.slice(1)] : words;
      full.push(spread.map((word, index) => (word === "." ? (above[index] ?? "") : word)));
    }
    return full;
  }

  test("is JSON that fills what it names, and refers to what is there", () => {
    for (const [, name = ""] of body().matchAll(/\$\{([^}]+)\}/g)) {
      if (!name.startsWith("AWS::")) {
        expect(packaged.template.Resources).toHaveProperty(name.split(".")[0] as string);
      }
    }
    expect(widgets().length).toBeGreaterThan(6);
  });

  test("lies on the grid of 24 columns, without overlap", () => {
    const taken = new Set<string>();
    for (const { x, y, width, height } of widgets()) {
      expect(x + width).toBeLessThanOrEqual(24);
      for (let column = x; column < x + width; column += 1) {
        for (let row = y; row < y + height; row += 1) {
          expect(taken.has(`${column} ${row}`)).toBe(false);
          taken.add(`${column} ${row}`);
        }
      }
    }
  });

  test("shows every alarm", () => {
    const shown = widgets().flatMap(({ properties }) => properties.alarms ?? []);
    const all = ofType(packaged.template, "AWS::CloudWatch::Alarm").map(([name]) => name);
    expect(shown.map((one) => one.replace(/^\$\{|\.Arn\}$/g, "")).sort()).toEqual(all.sort());
  });

  test("shows metrics that are written, and all outcomes", () => {
    const rows = widgets().flatMap(({ properties }) => written(properties.metrics ?? []));
    for (const [namespace = "", metric = "", dimension, value, ...others] of rows) {
      expect(others).toEqual([]);
      if (namespace === "posthaste") {
        expect(OWN).toContain(metric);
        expect([dimension, value]).toEqual(["Service", `posthaste-${STAGE}`]);
      } else {
        const [name, metrics] = AWS[namespace] ?? ["", []];
        expect(metrics).toContain(metric);
        expect(dimension).toBe(name);
        expect(value).toMatch(/^\$\{\w+(\.QueueName)?\}$/);
      }
    }
    const shown = new Set(rows.filter(([space]) => space === "posthaste").map(([, name]) => name));
    for (const metric of OWN) if (metric !== "Submissions") expect(shown).toContain(metric);
  });

  test("stays within what the first three dashboards of an account have for nothing", () => {
    const rows = widgets().flatMap(({ properties }) => properties.metrics ?? []);
    expect(rows.length).toBeLessThanOrEqual(50);
  });
});
