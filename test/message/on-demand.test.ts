import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
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

describe("a request's and a secret's", () => {
  const request = {
    from: "Shop <shop@example.com>",
    to: ["a@example.com", { name: "B", address: "b@example.com" }],
    subject: "x",
    text: "hello",
    attachments: [{ filename: "a.txt", content: "YQ==" }],
    headers: { "X-Order": "1" },
    references: "<a@example.com> <b@example.com>",
    date: "2025-07-01T10:00:00Z",
    dsn: { notify: ["success"] },
    deliverBy: { seconds: 5 },
    partial: "refuse",
  };
  const secret = {
    host: ["a.example.com:25", "b.example.com"],
    port: 465,
    username: "shop",
    password: "p",
    security: "implicit",
    oauth2: { tokenEndpoint: "https://example.com/token", clientId: "x", refreshToken: "r" },
    tls: { ca: "-----BEGIN CERTIFICATE-----" },
    dkim: { domain: "example.com", selector: "s", privateKey: "-----BEGIN PRIVATE KEY-----" },
    maxRecipients: 3,
    engine: "mysql",
  };
  /** Some fields as they should be, others as anything, and some that nobody knows. */
  const inputs = (good: Readonly<Record<string, unknown>>) =>
    fc
      .array(
        fc.oneof(
          fc.constantFrom(...Object.entries(good)),
          fc.tuple(fc.constantFrom(...Object.keys(good), "other", "__proto__"), fc.jsonValue()),
        ),
        { maxLength: 6 },
      )
      // As JSON makes it, where that name is a field like any other.
      .map((entries) => {
        const fields = entries.map(([name, value]) => `"${name}":${JSON.stringify(value)}`);
        return JSON.parse(`{${fields.join()}}`) as unknown;
      });

  it("say of any input what the whole schema says", async () => {
    const [{ requestSchema }, { mailboxSchema }] = await load();
    const whole = { request: requestSchema(), secret: mailboxSchema() };
    for (let instance = 0; instance < 5; instance += 1) {
      // A new instance has built nothing yet.
      vi.resetModules();
      const [requests, secrets] = await load();
      const pairs = [
        [inputs(request), requests.requestSchema, whole.request],
        [inputs(secret), secrets.mailboxSchema, whole.secret],
      ] as const;
      for (const [given, schema, all] of pairs) {
        for (const input of fc.sample(given, 60)) {
          const [own, other] = [schema(input).safeParse(input), all.safeParse(input)];
          expect(own.data).toEqual(other.data);
          expect(own.error?.issues).toEqual(other.error?.issues);
        }
      }
    }
  });

  function load() {
    return Promise.all([
      import("../../lib/message/schema.ts"),
      import("../../lib/submission/mailbox.ts"),
    ]);
  }
});
