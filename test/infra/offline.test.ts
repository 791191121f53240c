/**
 * The template under `serverless offline`: its routes, function names, environment and a schedule, in
 * front of the built handlers; asked over HTTP and by the real SDK's Lambda client.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createMailer } from "../../lib/client/mailer.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SERVERLESS = fileURLToPath(
  new URL("../../node_modules/serverless/bin/serverless.js", import.meta.url),
);
const MESSAGE = { to: "a@example.com", subject: "by the template", text: "hello" };

let child: ChildProcess;
let output = "";
let origin: string;
let lambda: LambdaClient;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

beforeAll(async () => {
  const [http, invoke] = [await freePort(), await freePort()];
  const ports = ["--httpPort", `${http}`, "--lambdaPort", `${invoke}`, "--host", "127.0.0.1"];
  child = spawn(process.execPath, [SERVERLESS, "offline", "start", ...ports], {
    cwd: ROOT,
    env: { ...process.env, OFFLINE_SCHEDULE: "rate(1 minute)", SLS_TELEMETRY_DISABLED: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  await new Promise<void>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output += chunk;
      if (output.includes("Server ready")) resolve();
    };
    child.stdout?.on("data", read);
    child.stderr?.on("data", read);
    child.once("exit", (code) => reject(new Error(`it ended with ${code}: ${output}`)));
  });
  origin = `http://127.0.0.1:${http}`;
  lambda = new LambdaClient({
    endpoint: `http://127.0.0.1:${invoke}`,
    region: "us-east-1",
    credentials: { accessKeyId: "local", secretAccessKey: "local" },
  });
});
afterAll(async () => {
  lambda?.destroy();
  if (child.exitCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGINT");
  await ended;
});

const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${origin}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });

it("POST /messages, GET /messages/{id} and resend, with queue and ledger", async () => {
  const sent = await post("/messages", MESSAGE, { "idempotency-key": "offline-1" });
  expect(sent.status).toBe(200);
  expect(await sent.json()).toMatchObject({ outcome: "accepted", id: "offline-1" });
  const found = await fetch(`${origin}/messages/offline-1`);
  expect(await found.json()).toMatchObject({ state: "settled", result: { outcome: "accepted" } });
  expect((await post("/messages/offline-1/resend", MESSAGE)).status).toBe(200);
  const queued = await post("/messages", MESSAGE, { prefer: "respond-async" });
  expect(queued.status).toBe(202);
  expect(queued.headers.get("location")).toMatch(/^\/messages\//);
  expect((await post("/messages", { ...MESSAGE, to: "reject@example.com" })).status).toBe(422);
});

it("has the template's routes and no others", async () => {
  const other = await fetch(`${origin}/messages/offline-1`, { method: "DELETE" });
  expect(other.status).toBe(404);
  expect(await other.json()).toMatchObject({
    existingRoutes: ["post - /messages", "get - /messages/{id}", "post - /messages/{id}/resend"],
  });
});

it("the client sends by Lambda's invoke endpoint, and by Event", async () => {
  const mailer = createMailer({
    functionName: "posthaste-dev-invoke",
    ledger: true,
    client: lambda,
  });
  expect(await mailer.sendMail(MESSAGE)).toMatchObject({ outcome: "accepted" });
  const { id } = await mailer.sendMailLater(MESSAGE);
  await expect.poll(() => output, { timeout: 20_000 }).toContain(`"id":"${id}"`);
  const unknown = createMailer({ functionName: "posthaste-dev-nothing", client: lambda });
  await expect(unknown.sendMail(MESSAGE)).rejects.toMatchObject({ code: "not_invoked" });
});

it("every function of the template is there", async () => {
  const listed = [...output.matchAll(/\* (\w+): posthaste-dev-\w+/g)].map(([, name]) => name);
  expect(listed).toEqual(
    expect.arrayContaining(["invoke", "api", "check", "sqs", "sns", "eventbridge", "s3"]),
  );
  const check = new InvokeCommand({ FunctionName: "posthaste-dev-check", Payload: "{}" });
  const { Payload: payload } = await lambda.send(check);
  expect(JSON.parse(new TextDecoder().decode(payload))).toMatchObject({ ok: true });
});

it("a schedule sends its input", { timeout: 120_000 }, async () => {
  const sent = /"source":"eventbridge".*"outcome":"accepted"/;
  await expect.poll(() => output, { timeout: 100_000, interval: 500 }).toMatch(sent);
});
