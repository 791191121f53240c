/** `npm start` as a person has it: a process of its own, and the lines that it prints, in a shell. */
import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:http";
import type { AddressInfo } from "node:net";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createMailer } from "../../lib/client/mailer.ts";
import { npmStart, type Started } from "../support/npm-start.ts";

const run = promisify(execFile);
const AWS = {
  region: "us-east-1",
  credentials: { accessKeyId: "local", secretAccessKey: "local" },
  maxAttempts: 1,
};
/** What of curl the printed lines use, for a machine that has none. */
const SHIM = `#!${process.execPath}
const [url, headers, given, flags] = ["", [], [], process.argv.slice(2)];
const options = { url, headers, body: undefined, show: false, quiet: false };
while (flags.length > 0) {
  const flag = flags.shift();
  if (flag === "-i") options.show = true;
  else if (flag === "-o") options.quiet = flags.shift() !== "";
  else if (flag === "-H") headers.push(flags.shift().split(/: (.*)/s).slice(0, 2));
  else if (flag === "-d") options.body = flags.shift();
  else if (flag !== "-s") options.url = flag;
}
const method = options.body === undefined ? "GET" : "POST";
const answer = await fetch(options.url, { method, headers, body: options.body });
const lines = ["HTTP/1.1 " + answer.status, ...[...answer.headers].map((each) => each.join(": "))];
if (options.show) console.log(lines.join("\\r\\n") + "\\r\\n\\r\\n" + (await answer.text()));
`;

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: answers are inspected field by field
  readonly body: any;
}

/** What a shell may have set for the real AWS; nothing of it may be followed. */
const FOREIGN = {
  AWS_PROFILE: "production",
  LEDGER_TABLE: "production",
  QUEUE_URL: "https://sqs.example.com/1/production",
  ALLOWED_RECIPIENTS: "@production.example",
};

/** From /proc where there is one: the smallest Linux images come without `ps`. */
function childrenOf(parent: number | undefined): readonly number[] {
  const rows = existsSync("/proc/self/stat")
    ? readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .map(statOf)
    : execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" }).split("\n");
  return rows
    .map((row) => row.trim().split(/\s+/).map(Number))
    .filter(([, ppid]) => ppid === parent)
    .map(([pid = 0]) => pid);
}

function statOf(pid: string): string {
  try {
    // The name in parentheses may hold anything; then come state and parent.
    const [, ppid] = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return `${pid} ${ppid}`;
  } catch {
    return "";
  }
}

let stack: Started;
let tools: string;

beforeAll(async () => {
  tools = mkdtempSync(join(tmpdir(), "posthaste-start-"));
  const found = await run("sh", ["-c", "command -v curl"]).catch(() => undefined);
  if (found === undefined) {
    writeFileSync(join(tools, "package.json"), '{"type":"module"}');
    writeFileSync(join(tools, "curl"), SHIM);
    chmodSync(join(tools, "curl"), 0o755);
  }
  stack = await npmStart(FOREIGN);
});
afterAll(async () => {
  await stack.stop("SIGKILL");
  rmSync(tools, { recursive: true, force: true });
});

async function shell(line: string): Promise<Answer> {
  const env = { ...process.env, NO_PROXY: "*", PATH: `${tools}${delimiter}${process.env["PATH"]}` };
  const { stdout } = await run("sh", ["-c", line], { env });
  const [head = "", body = ""] = stdout.split(/\r\n\r\n(.*)/s);
  const [first = "", ...fields] = head.split("\r\n");
  const headers = new Headers(
    fields.map((field): [string, string] => {
      const [name = "", value = ""] = field.split(/: (.*)/s);
      return [name, value];
    }),
  );
  return { status: Number(first.split(" ")[1]), headers, body: JSON.parse(body) };
}

/** The lines that were printed under a heading with this status. */
function printed(status: number): readonly string[] {
  const found = stack.output().matchAll(new RegExp(`^# ${status}: .*\\n(.+)$`, "gm"));
  return [...found].map(([, line = ""]) => line);
}

const printedLine = (status: number): string => printed(status)[0] ?? "none was printed";

async function until<T>(get: () => Promise<T>, good: (value: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    const value = await get();
    if (good(value) || tries === 60) return value;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** What was delivered, as JSON. */
const inbox = async (path = ""): Promise<string> =>
  (await fetch(`${stack.origin}/inbox${path}`)).text();

describe("the lines that it prints, in a shell", () => {
  it("begins with one that sends a message", async () => {
    expect(/^curl.*$/m.exec(stack.output())?.[0]).toBe(printedLine(200));
    const { status, body } = await shell(printedLine(200));
    expect(status).toBe(200);
    expect(body).toMatchObject({ outcome: "accepted", envelope: { to: ["lilei@example.net"] } });
    expect(await inbox()).toContain(body.queueId);
  });

  it("202, and then GET until it is settled", async () => {
    const queued = await shell(printedLine(202));
    expect(queued.status).toBe(202);
    expect(queued.headers.get("location")).toBe("/messages/order-1234");
    const [, look = "none was printed"] = printed(200);
    const { status, body } = await until(
      () => shell(look),
      (answer) => answer.body.state === "settled",
    );
    expect(status).toBe(200);
    expect(body).toMatchObject({ state: "settled", result: { outcome: "accepted" } });
    expect(await inbox()).toContain(body.result.queueId);
  });

  it("400 with all problems at once", async () => {
    const { status, body } = await shell(printedLine(400));
    expect(status).toBe(400);
    expect(body.issues.map(({ path }: { path: string }) => path)).toEqual([
      "to",
      "subject",
      "colour",
    ]);
  });

  it("409 while the same key is in progress", async () => {
    const { status, body } = await shell(printedLine(409));
    expect([status, body.code]).toEqual([409, "in_progress"]);
  });

  it.each([
    [403, "sender_not_allowed", "rejected"],
    [413, "message_too_large", "rejected"],
    [422, "recipient_refused", "rejected"],
    [502, "auth_required", "deferred"],
    [503, "recipient_refused", "deferred"],
    [504, "reply_lost", "uncertain"],
  ])("%i %s", async (expected, code, outcome) => {
    const { status, headers, body } = await shell(printedLine(expected));
    expect([status, body.code, body.result.outcome]).toEqual([expected, code, outcome]);
    expect(headers.get("content-type")).toBe("application/problem+json");
    expect(headers.get("retry-after")).toBe(expected === 503 ? "60" : null);
  });
});

describe("Lambda's invoke endpoint, for the SDK's client", () => {
  let lambda: LambdaClient;
  beforeAll(() => {
    lambda = new LambdaClient({ ...AWS, endpoint: stack.origin });
  });
  afterAll(() => lambda.destroy());
  const mailer = (functionName: string) => createMailer({ functionName, client: lambda });

  it("sends and gives the result", async () => {
    const message = { to: "a@example.com", subject: "invoked", text: "hello" };
    const result = await mailer("posthaste-local-invoke").sendMail(message);
    expect(result.outcome).toBe("accepted");
    expect(await inbox()).toContain(String(result.queueId));
  });

  it("takes what nobody waits for, and its ARN for its name", async () => {
    const arn = "arn:aws:lambda:us-east-1:000000000000:function:posthaste-dev-invoke";
    const subject = "sent without an audience";
    await mailer(arn).sendMailLater({ to: "a@example.com", subject, text: "hello" });
    expect(await until(inbox, (text) => text.includes(subject))).toContain(subject);
  });

  it("refuses functions that do not exist", async () => {
    const sent = mailer("posthaste-local-nothing").sendMail({ to: "a@example.com", text: "hello" });
    await expect(sent).rejects.toMatchObject({ code: "not_invoked" });
  });

  it("checks the mailbox", async () => {
    const command = new InvokeCommand({ FunctionName: "posthaste-local-check", Payload: "{}" });
    const answer = await lambda.send(command);
    const result: unknown = JSON.parse(new TextDecoder().decode(answer.Payload));
    expect(result).toMatchObject({ ok: true, login: "accepted" });
  });
});

describe("what comes with it", () => {
  const post = (body: unknown, headers: Record<string, string> = {}) =>
    fetch(`${stack.origin}/messages`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });

  it("attaches what was put into its bucket", async () => {
    const endpoint = /S3\s+(http:[^,]+)/.exec(stack.output())?.[1] ?? "";
    const s3 = new S3Client({ ...AWS, endpoint, forcePathStyle: true });
    const object = { Bucket: "attachments", Key: "list.csv", Body: "a,b\r\n1,2\r\n" };
    await s3.send(new PutObjectCommand(object));
    s3.destroy();
    const attachments = [{ filename: "list.csv", s3: { bucket: "attachments", key: "list.csv" } }];
    const answer = await post({ to: "a@example.com", text: "attached", attachments });
    expect(answer.status).toBe(200);
    const { queueId } = (await answer.json()) as { queueId: string };
    expect(JSON.parse(await inbox(`/${queueId}`))).toMatchObject({
      attachments: [{ filename: "list.csv", octets: 10 }],
    });
    expect(await inbox(`/${queueId}/attachments/0`)).toBe("a,b\r\n1,2\r\n");
  });

  it("gives mail as it came, and its HTML only where that can do nothing", async () => {
    const evil = "<script>alert('x')</script>";
    const answer = await post({ to: "a@example.com", subject: evil, text: evil, html: evil });
    const { queueId } = (await answer.json()) as { queueId: string };
    const html = await fetch(`${stack.origin}/inbox/${queueId}/html`);
    expect(await html.text()).toContain(evil);
    expect(html.headers.get("content-security-policy")).toMatch(/^default-src 'none';.* sandbox;/);
    for (const path of ["", `/${queueId}`]) {
      const shown = await fetch(`${stack.origin}/inbox${path}`);
      expect(shown.headers.get("content-type")).toBe("application/json");
      expect(shown.headers.get("x-content-type-options")).toBe("nosniff");
    }
    const source = await fetch(`${stack.origin}/inbox/${queueId}.eml`);
    expect(source.headers.get("content-type")).toBe("message/rfc822");
    expect(await source.text()).toContain("To: a@example.com\r\n");
  });

  it("serves the page's own files, without types, and no others", async () => {
    const whole = await fetch(`${stack.origin}/`);
    const policy = whole.headers.get("content-security-policy");
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
    expect(policy).not.toContain("unsafe");
    const named = [...(await whole.text()).matchAll(/(?:src|href)="(\/page\/[^"]+)"/g)];
    expect(named.length).toBeGreaterThan(5);
    for (const [, file] of named) {
      const answer = await fetch(`${stack.origin}${file}`);
      expect([file, answer.status]).toEqual([file, 200]);
    }
    const script = await fetch(`${stack.origin}/page/main.ts`);
    expect(script.headers.get("content-type")).toBe("text/javascript; charset=utf-8");
    expect(await script.text()).not.toMatch(/\binterface\b|: readonly /);
    for (const path of [
      "/start.ts",
      "/page/../start.ts",
      "/page/%2e%2e/start.ts",
      "/page/tsconfig.json",
    ]) {
      expect((await fetch(`${stack.origin}${path}`)).status).toBe(404);
    }
  });

  it("has nothing to do with the pages of others", async () => {
    const message = { to: "a@example.com", text: "from elsewhere" };
    expect((await post(message, { origin: "https://evil.example" })).status).toBe(403);
    for (const path of ["/inbox", "/faults/wrong-password"]) {
      const method = path === "/inbox" ? "DELETE" : "POST";
      const headers = { origin: "https://evil.example" };
      expect((await fetch(`${stack.origin}${path}`, { method, headers })).status).toBe(403);
    }
    const { hostname, port } = new URL(stack.origin);
    // fetch does not let its caller choose the name.
    const asked = request({ hostname, port, path: "/", headers: { host: "evil.example" } });
    const [response] = await once(asked.end(), "response");
    response.resume();
    expect(response.statusCode).toBe(403);
  });

  it("serves the API's reference, and what it is made of", async () => {
    const { status, headers } = await fetch(`${stack.origin}/reference`);
    expect([status, headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    const document = await (await fetch(`${stack.origin}/openapi.json`)).json();
    expect(document).toMatchObject({ openapi: "3.1.0", paths: { "/messages": {} } });
  });

  it("says what is too large for AWS, as AWS does", async () => {
    const answer = await post({ to: "a@example.com", text: "x".repeat(7 * 1024 * 1024) });
    expect(answer.status).toBe(413);
  });
});

describe("its end", () => {
  it("takes the next port where one is taken, and ends by Ctrl-C", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const second = await npmStart({ ...FOREIGN, PORT: String(port) });
    try {
      expect(Number(new URL(second.origin).port)).toBeGreaterThan(port);
      expect(await second.stop("SIGINT")).toBe(0);
    } finally {
      await second.stop("SIGKILL");
      other.close();
    }
  });

  it("leaves nothing behind on SIGTERM, in the midst of a message", async () => {
    const slow = { to: "slow@example.com", text: "never mind" };
    const body = JSON.stringify(slow);
    const cut = fetch(`${stack.origin}/messages`, { method: "POST", body }).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const instances = childrenOf(stack.child.pid);
    expect(instances.length).toBeGreaterThan(1);

    expect(await stack.stop("SIGTERM")).toBe(0);
    await cut;
    for (const pid of instances) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    const heading = stack.output().slice(0, stack.output().indexOf("# 200"));
    const ports = [...heading.matchAll(/127\.0\.0\.1:(\d+)|(?:port|or) (\d+) \(/g)].map(
      ([, of, alone]) => Number(of ?? alone),
    );
    expect(new Set(ports).size).toBe(4);
    for (const port of new Set(ports)) {
      const asked = once(connect(port, "127.0.0.1"), "connect");
      await expect(asked).rejects.toMatchObject({ code: "ECONNREFUSED" });
    }
  });

  it("has never shown the password", () => {
    expect(stack.output()).not.toMatch(/p@ss|w\u00f6rd\/100/);
  });
});
