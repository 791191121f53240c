/** Attachments from S3, signatures and text made from html, through the built handler. */
import PostalMime from "postal-mime";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type MailServer, startMailServer } from "../../infra/local/mailserver.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";
import { type Objects, patternOf, startObjects } from "../support/objects.ts";

const MB = 1024 * 1024;
let mail: MailServer;
let secrets: Secrets;
let objects: Objects;
let invoke: LambdaFunction;

beforeAll(async () => {
  mail = await startMailServer({ users: { "shop@example.com": "pw-of-the-shop" } });
  objects = await startObjects();
  secrets = await startSecrets({
    box: JSON.stringify({
      host: mail.host,
      port: mail.ports.implicit,
      username: "shop@example.com",
      password: "pw-of-the-shop",
      security: "implicit",
      tls: { ca: mail.ca },
      maxMessageBytes: 100 * MB,
    }),
  });
  invoke = await startFunction("invoke", {
    MAILBOX_SECRET_ID: "box",
    ATTACHMENT_BUCKETS: "reports, invoices",
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    AWS_ENDPOINT_URL_S3: objects.url,
  });
});
beforeEach(() => {
  objects.fail(undefined);
  mail.inbox.clear();
});
afterAll(async () => {
  await invoke.stop();
  await Promise.all([mail.close(), secrets.close(), objects.close()]);
});

const send = (attachment: unknown, more: object = {}) =>
  invoke.invoke({
    to: "a@example.com",
    subject: "x",
    text: "y",
    attachments: [attachment],
    ...more,
  });

async function delivered() {
  const raw = mail.inbox.messages.at(-1)?.raw as Buffer;
  return { raw, mail: await PostalMime.parse(raw) };
}

describe("attachments from S3", () => {
  it("stream into the message; name and type come from the object", async () => {
    objects.put("reports/2026/季度.pdf", { body: 5 * MB + 1, contentType: "application/pdf" });
    const result = await send({ s3: { bucket: "reports", key: "2026/季度.pdf" } });
    expect(result.outcome).toBe("accepted");
    const { attachments } = (await delivered()).mail;
    expect(attachments).toHaveLength(1);
    expect(attachments[0]).toMatchObject({ filename: "季度.pdf", mimeType: "application/pdf" });
    const content = Buffer.from(attachments[0]?.content as ArrayBuffer);
    expect(content.equals(Buffer.concat([...patternOf(5 * MB + 1)]))).toBe(true);
  });

  it("declare their size, and are refused before sending where the server takes less", async () => {
    objects.put("reports/large.bin", 40 * MB);
    const result = await send({ s3: { bucket: "reports", key: "large.bin" } });
    expect(result).toMatchObject({ outcome: "rejected", error: { code: "message_too_large" } });
    expect(result.transcript.some(({ text }: { text: string }) => text.startsWith("MAIL"))).toBe(
      false,
    );
    expect(objects.streaming()).toBe(0);
  });

  it("from a bucket that is not allowed are refused before any request", async () => {
    const before = objects.calls("HEAD");
    const result = await send({ s3: { bucket: "secrets", key: "x" } });
    expect(result).toMatchObject({ outcome: "rejected", error: { code: "bucket_not_allowed" } });
    expect(objects.calls("HEAD")).toBe(before);
  });

  it("that are missing defer the message, and a person is asked", async () => {
    const result = await send({ s3: { bucket: "reports", key: "nothing" } });
    expect(result).toMatchObject({
      outcome: "deferred",
      retryable: false,
      error: { code: "attachment_missing" },
    });
  });

  it("that may not be read defer the message; S3 says 403 for both", async () => {
    objects.put("reports/x", 10);
    objects.fail({ status: 403, code: "AccessDenied" });
    const result = await send({ s3: { bucket: "reports", key: "x" } });
    expect(result).toMatchObject({
      outcome: "deferred",
      retryable: false,
      error: { code: "attachment_forbidden" },
    });
    expect(result.error.message).toMatch(/ListBucket/);
  });

  it.each(["short", "reset"] as const)(
    "that end early (%s) are never delivered in half",
    async (fault) => {
      objects.put("reports/half.bin", 3 * MB);
      objects.fail(fault, "GET");
      const result = await send({ s3: { bucket: "reports", key: "half.bin" } });
      expect(result).toMatchObject({ outcome: "deferred", error: { phase: "content" } });
      expect(result.error.code).toMatch(/^content_(changed|failed)$/);
      const said = result.transcript.map(({ text }: { text: string }) => text);
      expect(said).toContain("DATA");
      expect(said).not.toContain(".");
      // The server saw the connection go, not a message.
      expect(mail.inbox.messages).toHaveLength(0);
    },
  );
});

describe("html alone", () => {
  it("gets a text part made from it", async () => {
    const result = await invoke.invoke({
      to: "a@example.com",
      html: '<h1>您好</h1><p>See <a href="https://example.com/x">the list</a></p><script>no</script>',
    });
    expect(result.outcome).toBe("accepted");
    const { text = "" } = (await delivered()).mail;
    expect(text).toContain("您好");
    expect(text).toContain("https://example.com/x");
    expect(text).not.toContain("no");
  });
});
