/** `message`: what is known of a message, and what it means when nothing is. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startLedger } from "../../infra/local/stack.ts";
import { dynamoTable } from "../../lib/aws/dynamodb.ts";
import { ledgerKey } from "../../lib/submission/identity.ts";
import type { LedgerState } from "../../lib/submission/ledger.ts";
import { type Result, unsent } from "../../lib/submission/outcome.ts";
import { posthaste } from "./support.ts";

const error = { code: "connect_failed", phase: "connect", message: "No connection." };
const RESULT: Result = {
  ...unsent("order-1", "deferred", error, {
    envelope: { from: "a@b", to: ["c@d"] },
    retryable: true,
  }),
  transcript: [{ at: 1.5, from: "S", text: "220 hi" }],
};

describe("over HTTP", () => {
  /** What API Gateway and the function answer, by the id that is asked for. */
  const answers: Readonly<Record<string, readonly [number, unknown]>> = {
    settled: [
      200,
      {
        id: "settled",
        state: "settled",
        date: "2026-01-01T00:00:00.000Z",
        result: { ...RESULT, outcome: "uncertain" },
      },
    ],
    deferred: [
      200,
      { id: "deferred", state: "deferred", date: "2026-01-01T00:00:00.000Z", result: RESULT },
    ],
    evil: [
      200,
      {
        id: "\u001b[2Jevil",
        state: "settled",
        date: "2026-01-01T00:00:00.000Z",
        result: {
          ...RESULT,
          id: "\u001b[2J",
          error: { ...error, message: "\u0007\u202Etxt" },
          transcript: [{ at: 0, from: "S", text: "220 \u001b]0;owned\u0007" }],
        },
      },
    ],
    queued: [
      200,
      { id: "queued", state: "queued", date: "2026-01-01T00:00:00.000Z", result: null },
    ],
    gone: [404, { code: "not_found", detail: "There is no message with this id." }],
    noledger: [501, { code: "no_ledger", detail: "This deployment has no ledger (LEDGER_TABLE)." }],
    forbidden: [403, { message: "Forbidden" }],
    nothing: [404, { message: "Not Found" }],
    broken: [502, "<html>"],
  };
  const asked: string[] = [];
  let server: Server;
  let url: string;
  beforeAll(async () => {
    server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url} ${request.headers.authorization ?? ""}`.trim());
      const id = new URL(request.url ?? "", "http://x").pathname.split("/").at(-1) ?? "";
      const [status, body] = answers[id] ?? [500, null];
      response.writeHead(status).end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  it.each([
    ["settled", 3, /^settled is settled.*\n\n +1\.5 ms {2}S: 220 hi\n\nuncertain\n/],
    ["deferred", 75, /^deferred was not taken yet; the queue tries again/],
    ["queued", 75, /^queued waits in the queue {2}asked for 2026-01-01T00:00:00\.000Z\n$/],
  ])("%s ends with %i", async (id, exit, says) => {
    const { code, stdout, stderr } = await posthaste(["message", id, "--url", url]);
    expect(stderr).toBe("");
    expect(stdout).toMatch(says);
    expect(code).toBe(exit);
  });

  it.each([
    ["gone", 66, /There is no message gone\. If a named mailbox sent it, give --mailbox\./],
    ["noledger", 69, /no ledger \(LEDGER_TABLE\)\. \(no_ledger\)/],
    ["forbidden", 69, /403 from .*: not allowed\. The caller needs execute-api:Invoke/],
    ["nothing", 69, /404 from .*: there is no such API/],
    ["broken", 69, /502 from .*: no answer of the function's/],
  ])("%s is explained, and ends with %i", async (id, exit, says) => {
    const { code, stdout, stderr } = await posthaste(["message", id, "--url", url]);
    expect(stdout).toBe("");
    expect(stderr).toMatch(says);
    expect(code).toBe(exit);
  });

  it("prints no character that would drive the terminal", async () => {
    const { stdout } = await posthaste(["message", "evil", "--url", url]);
    for (const text of ["\\u001b[2Jevil", "\\u0007\\u202etxt", "220 \\u001b]0;owned\\u0007"]) {
      expect(stdout).toContain(text);
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there
    expect(stdout).not.toMatch(/[\x00-\x09\x0b-\x1f\u202e]/);
  });

  it("asks by mailbox, below a stage, with a token where there is one", async () => {
    const args = ["message", "a/b c", "--mailbox", "billing", "--json"];
    const env = { POSTHASTE_URL: `${url}/v1/messages/`, POSTHASTE_TOKEN: "ey.secret" };
    const { stderr } = await posthaste(args, { env });
    expect(asked.at(-1)).toBe("GET /v1/messages/a%2Fb%20c?mailbox=billing Bearer ey.secret");
    expect(stderr).not.toContain("ey.secret");
  });
});

describe("from the ledger's table", () => {
  let ledger: Awaited<ReturnType<typeof startLedger>>;
  let env: Record<string, string>;
  beforeAll(async () => {
    ledger = await startLedger("ledger");
    env = {
      AWS_ENDPOINT_URL_DYNAMODB: ledger.url,
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: "local",
      AWS_SECRET_ACCESS_KEY: "local",
    };
    Object.assign(process.env, env);
    const put = (id: string, mailbox: string | undefined, state: LedgerState, life: number) =>
      dynamoTable("ledger").ledger.create(
        {
          key: ledgerKey(mailbox, id),
          state,
          owner: "",
          leaseUntil: 0,
          hash: "",
          date: "2026-01-01T00:00:00.000Z",
          expires: Math.floor(Date.now() / 1000) + life,
          result: { ...RESULT, outcome: "accepted" },
        },
        0,
      );
    await put("order-1", "billing", "settled", 60);
    await put("order-2", undefined, "settled", -60);
  });
  afterAll(() => ledger.close());

  it("finds what a named mailbox sent, and only under its name", async () => {
    const found = await posthaste(
      ["message", "order-1", "--table", "ledger", "--mailbox", "billing", "--json"],
      { env },
    );
    expect(JSON.parse(found.stdout)).toMatchObject({
      id: "order-1",
      state: "settled",
      result: { outcome: "accepted" },
    });
    expect(found.code).toBe(0);
    expect((await posthaste(["message", "order-1", "--table", "ledger"], { env })).code).toBe(66);
  });

  it("an expired record is none, and a table that is not there is told", async () => {
    expect((await posthaste(["message", "order-2", "--table", "ledger"], { env })).code).toBe(66);
    const { code, stderr } = await posthaste(["message", "x", "--table", "other"], { env });
    expect(stderr).toContain("The table other was not read (ResourceNotFoundException).");
    expect(code).toBe(69);
  });
});

it.each([
  [[], /Where\? Give --url or --table\./],
  [["--url", "http://127.0.0.1:1", "--table", "x"], /Only one of --url, --table/],
  [["--url", "nonsense"], /--url must be a URL/],
])("refuses %j", async (args, says) => {
  const { code, stderr } = await posthaste(["message", "x", ...args]);
  expect(stderr).toMatch(says);
  expect(code).toBe(64);
});
