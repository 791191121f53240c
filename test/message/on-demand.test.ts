import { describe, expect, it } from "vitest";
import * as z from "zod/mini";
import { onDemand } from "../../lib/message/on-demand.ts";

/** Fields that note when they are built. */
function fixture() {
  const built: string[] = [];
  const noting = <T>(name: string, schema: T) => {
    built.push(name);
    return schema;
  };
  const fields = {
    host: () => noting("host", z.string()),
    port: () => noting("port", z.optional(z.int())),
    tls: () => noting("tls", z.optional(z.strictObject({ ca: z.string() }))),
  };
  return { built, schema: onDemand(fields, (shape) => z.strictObject(shape), ["host"]) };
}
const paths = (result: { error?: { issues: readonly { path: PropertyKey[] }[] } }) =>
  result.error?.issues.map(({ path }) => path.join("."));

describe("a schema on demand", () => {
  it("builds what must be there and what is given, each once", () => {
    const { built, schema } = fixture();
    expect(schema({ host: "a" }).safeParse({ host: "a" }).success).toBe(true);
    expect(built).toEqual(["host"]);
    const input = { host: "a", tls: { ca: "b" } };
    expect(schema(input).safeParse(input).data).toEqual(input);
    expect(schema(input)).toBe(schema({ host: "c" }));
    expect(built).toEqual(["host", "tls"]);
  });

  it("checks as the whole schema does, whatever came before", () => {
    const inputs: readonly unknown[] = [
      {},
      { port: 1 },
      { tls: 7, host: 8, port: "x" },
      { host: "a", tls: {} },
      { host: "a", other: 1 },
      { host: "a", port: undefined },
      [],
      null,
      "text",
      undefined,
    ];
    const { schema } = fixture();
    const whole = fixture().schema();
    for (const input of inputs) {
      const result = schema(input).safeParse(input);
      expect(result.data).toEqual(whole.safeParse(input).data);
      expect(paths(result)).toEqual(paths(whole.safeParse(input)));
    }
  });

  it("is whole without an input", () => {
    const { built, schema } = fixture();
    expect(Object.keys(schema().shape)).toEqual(["host", "port", "tls"]);
    expect(built).toEqual(["host", "port", "tls"]);
  });
});
