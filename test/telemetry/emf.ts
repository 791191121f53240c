/**
 * CloudWatch's embedded metric format, as its specification has it: the JSON schema, and the rules
 * that a schema cannot say (what a directive names must be there, and of the right type).
 */
import { z } from "zod";

const UNITS = ["Seconds", "Microseconds", "Milliseconds", "Percent", "Count", "None"];

/** The schema of the specification; of the units those that concern time and number. */
const SCHEMA: Exclude<Parameters<typeof z.fromJSONSchema>[0], boolean> = {
  type: "object",
  required: ["_aws"],
  properties: {
    _aws: {
      type: "object",
      required: ["Timestamp", "CloudWatchMetrics"],
      properties: {
        Timestamp: { type: "integer" },
        CloudWatchMetrics: {
          type: "array",
          items: {
            type: "object",
            required: ["Namespace", "Dimensions", "Metrics"],
            properties: {
              Namespace: { type: "string", minLength: 1, maxLength: 1024, pattern: "^(.*)$" },
              Dimensions: {
                type: "array",
                minItems: 1,
                items: {
                  type: "array",
                  minItems: 1,
                  maxItems: 30,
                  items: { type: "string", minLength: 1, maxLength: 250, pattern: "^(.*)$" },
                },
              },
              Metrics: {
                type: "array",
                maxItems: 100,
                items: {
                  type: "object",
                  required: ["Name"],
                  properties: {
                    Name: { type: "string", minLength: 1, maxLength: 1024, pattern: "^(.*)$" },
                    Unit: { type: "string", enum: UNITS },
                    StorageResolution: { type: "integer", enum: [1, 60] },
                  },
                },
              },
            },
          },
        },
      },
    },
  },
};

const document = z.fromJSONSchema(SCHEMA);

interface Directive {
  readonly Namespace: string;
  readonly Dimensions: readonly (readonly string[])[];
  readonly Metrics: readonly { readonly Name: string; readonly Unit?: string }[];
}

/** One line's metrics, after the format was checked. */
export interface Emitted {
  readonly namespace: string;
  readonly dimensions: readonly (readonly string[])[];
  readonly service: unknown;
  readonly source: unknown;
  readonly values: Readonly<Record<string, number | readonly number[]>>;
  readonly units: Readonly<Record<string, string | undefined>>;
}

/** @throws Error where CloudWatch would drop the line, or a metric of it */
export function readEmf(line: string): Emitted {
  if (Buffer.byteLength(line) > 256 * 1024) throw new Error("a log event holds 256 KiB");
  const parsed = document.parse(JSON.parse(line)) as {
    readonly _aws: { readonly Timestamp: number; readonly CloudWatchMetrics: readonly Directive[] };
  } & Readonly<Record<string, unknown>>;
  const root = JSON.parse(line) as Readonly<Record<string, unknown>>;
  const [directive, ...others] = parsed._aws.CloudWatchMetrics;
  if (directive === undefined || others.length > 0) throw new Error("expected one directive");
  for (const name of directive.Dimensions.flat()) {
    const value = root[name];
    const fit = typeof value === "string" && /^(?!:)[ -~]{1,1024}$/.test(value);
    if (!fit) throw new Error(`dimension ${name} has no fit value`);
  }
  const values: Record<string, number | readonly number[]> = {};
  for (const { Name } of directive.Metrics) {
    const value = root[Name];
    const list = Array.isArray(value) ? value : [value];
    const fit = list.length > 0 && list.length <= 100 && list.every(Number.isFinite);
    if (!fit) throw new Error(`metric ${Name} has no fit value`);
    values[Name] = value as number;
  }
  return {
    namespace: directive.Namespace,
    dimensions: directive.Dimensions,
    service: root["Service"],
    source: root["Source"],
    values,
    units: Object.fromEntries(directive.Metrics.map(({ Name, Unit }) => [Name, Unit])),
  };
}

/** All metrics in what a function wrote, the log's own lines left aside. */
export function metricsIn(output: string): readonly Emitted[] {
  return output
    .split("\n")
    .filter((line) => line.includes('"_aws"'))
    .map(readEmf);
}
