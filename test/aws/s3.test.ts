/** The adapter to S3 with the real SDK, against the endpoint on loopback. */
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { AttachmentError, filenameOf, ObjectChanged, s3Attachments } from "../../lib/aws/s3.ts";
import { type AttachmentSource, ContentChanged } from "../../lib/message/attachment.ts";
import { type Objects, patternOf, startObjects } from "../support/objects.ts";

const MEGABYTE = 1024 * 1024;
const at = (key: string, versionId?: string) => ({
  bucket: "files",
  key,
  ...(versionId !== undefined && { versionId }),
});

let objects: Objects;

beforeAll(async () => {
  objects = await startObjects();
  vi.stubEnv("AWS_ENDPOINT_URL_S3", objects.url);
  vi.stubEnv("AWS_REGION", "eu-central-1");
  vi.stubEnv("AWS_ACCESS_KEY_ID", "local");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "local");
});
beforeEach(() => {
  objects.put("files/2026/report.pdf", {
    body: "%PDF-1.7 and so on",
    contentType: "application/pdf",
  });
  objects.put("files/large", 8 * MEGABYTE);
});
afterEach(() => objects.fail(undefined));
afterAll(async () => {
  vi.unstubAllEnvs();
  await objects.close();
});

async function octets(source: AttachmentSource): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of source.open()) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function failure(doing: Promise<unknown>): Promise<Error & { retryable?: boolean }> {
  try {
    await doing;
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

describe("an object", () => {
  test("is known before it is read", async () => {
    const gets = objects.calls("GET");
    const source = await s3Attachments()(at("2026/report.pdf"));
    expect(source).toMatchObject({
      size: 18,
      contentType: "application/pdf",
      filename: "report.pdf",
    });
    expect(objects.calls("GET")).toBe(gets);
  });

  test("is read as often as it is opened", async () => {
    const source = await s3Attachments()(at("2026/report.pdf"));
    expect((await octets(source)).toString()).toBe("%PDF-1.7 and so on");
    expect((await octets(source)).toString()).toBe("%PDF-1.7 and so on");
  });

  test("of any size comes octet for octet", async () => {
    const source = await s3Attachments()(at("large"));
    expect(source.size).toBe(8 * MEGABYTE);
    const pattern = Buffer.concat([...patternOf(8 * MEGABYTE)]);
    expect((await octets(source)).equals(pattern)).toBe(true);
  });

  test("may be empty", async () => {
    objects.put("files/empty", "");
    const source = await s3Attachments()(at("empty"));
    expect(source.size).toBe(0);
    expect(await octets(source)).toHaveLength(0);
  });

  test.each(["a b+c&d=e.txt", "名前/レポート.pdf", "%41.txt", "a//b", "😀?#.png"])(
    "is found by its key: %s",
    async (key) => {
      objects.put(`files/${key}`, key);
      expect((await octets(await s3Attachments()(at(key)))).toString()).toBe(key);
    },
  );

  test("is read in the version that was asked for", async () => {
    const first = objects.put("files/v", "one");
    objects.put("files/v", "second");
    const attachments = s3Attachments();
    expect((await octets(await attachments(at("v", first)))).toString()).toBe("one");
    expect((await octets(await attachments(at("v")))).toString()).toBe("second");
  });

  test("has the file name of its metadata", async () => {
    objects.put("files/key", {
      body: "x",
      contentDisposition: "attachment; filename=\"plain.txt\"; filename*=UTF-8''%E5%90%8D.txt",
    });
    expect((await s3Attachments()(at("key"))).filename).toBe("名.txt");
  });
});

describe("reading", () => {
  test("goes at the reader's pace", async () => {
    objects.put("files/huge", 512 * MEGABYTE);
    const source = await s3Attachments()(at("huge"));
    const before = process.memoryUsage().arrayBuffers;
    for await (const piece of source.open()) {
      expect(piece.length).toBeLessThanOrEqual(256 * 1024);
      await wait(500);
      // Long enough for all of it to come, and it has not; the endpoint waits too.
      expect(objects.streaming()).toBe(1);
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * MEGABYTE);
      break;
    }
  });

  test("that is given up lets go of the connection", async () => {
    const source = await s3Attachments()(at("large"));
    for await (const piece of source.open()) {
      expect(piece.length).toBeGreaterThan(0);
      expect(objects.streaming()).toBe(1);
      break;
    }
    await expect.poll(() => objects.streaming()).toBe(0);
  });

  test("fails when the object has changed since", async () => {
    const source = await s3Attachments()(at("2026/report.pdf"));
    objects.put("files/2026/report.pdf", "18 other octets...");
    const error = await failure(octets(source));
    expect(error).toBeInstanceOf(ObjectChanged);
    // By its name the driver knows it; by its class the composer's callers do.
    expect(error).toBeInstanceOf(ContentChanged);
    expect(error.name).toBe("ContentChanged");
    expect(error.message).toBe(
      "s3://files/2026/report.pdf changed while the message was being sent.",
    );
  });

  test("fails when the object changes between two readings", async () => {
    const source = await s3Attachments()(at("2026/report.pdf"));
    await octets(source);
    objects.put("files/2026/report.pdf", "other");
    expect(await failure(octets(source))).toBeInstanceOf(ObjectChanged);
  });

  test("fails when fewer octets come than were announced", async () => {
    const source = await s3Attachments()(at("large"));
    objects.fail("short", "GET");
    const error = await failure(octets(source));
    expect(error).toBeInstanceOf(ObjectChanged);
    expect(error).toMatchObject({ expected: 8 * MEGABYTE, received: 4 * MEGABYTE });
  });

  test("fails when the connection is reset midway", async () => {
    const source = await s3Attachments()(at("large"));
    objects.fail("reset", "GET");
    const error = await failure(octets(source));
    expect(error).toMatchObject({ code: "attachment_unavailable", retryable: true });
    expect(error.message).toMatch(
      /^s3:\/\/files\/large could not be read to its end: \d+ of 8388608/,
    );
  });

  test("fails when nothing more comes", async () => {
    const source = await s3Attachments({ stallMs: 100 })(at("large"));
    objects.fail("hang", "GET");
    const error = await failure(octets(source));
    expect(error).toMatchObject({ code: "attachment_unavailable", retryable: true });
    expect(error.message).toContain("nothing came for 100 ms");
    await expect.poll(() => objects.streaming()).toBe(0);
  });

  test("may rest for longer than a stall while nobody asks", async () => {
    const source = await s3Attachments({ stallMs: 50 })(at("large"));
    let received = 0;
    for await (const piece of source.open()) {
      if (received === 0) await wait(200);
      received += piece.length;
    }
    expect(received).toBe(8 * MEGABYTE);
  });
});

describe("an object that cannot be had", () => {
  test.each([
    [404, "NoSuchKey", "attachment_missing", false],
    [405, "MethodNotAllowed", "attachment_missing", false],
    [403, "AccessDenied", "attachment_forbidden", false],
    [400, "BadRequest", "attachment_unavailable", false],
    [500, "InternalError", "attachment_unavailable", true],
    [503, "SlowDown", "attachment_unavailable", true],
  ])("when it is looked at: %i %s is %s", async (status, code, expected, retryable) => {
    objects.fail({ status, code });
    const error = await failure(s3Attachments()(at("2026/report.pdf")));
    expect(error).toBeInstanceOf(AttachmentError);
    expect(error).toMatchObject({ code: expected, retryable });
    expect(error.message).toContain("s3://files/2026/report.pdf");
  });

  test.each([
    [404, "NoSuchKey", "attachment_missing", false],
    [403, "AccessDenied", "attachment_forbidden", false],
    [403, "InvalidObjectState", "attachment_unavailable", false],
    [503, "SlowDown", "attachment_unavailable", true],
  ])("when it is read: %i %s is %s", async (status, code, expected, retryable) => {
    const source = await s3Attachments()(at("2026/report.pdf"));
    objects.fail({ status, code }, "GET");
    expect(await failure(octets(source))).toMatchObject({ code: expected, retryable });
  });

  test("because there is none, or no such version", async () => {
    const attachments = s3Attachments();
    expect(await failure(attachments(at("nothing")))).toMatchObject({ code: "attachment_missing" });
    const error = await failure(attachments(at("2026/report.pdf", "of-old")));
    expect(error.message).toBe("There is no s3://files/2026/report.pdf (version of-old).");
  });

  test("says that 403 may mean either", async () => {
    objects.fail({ status: 403, code: "AccessDenied" });
    const error = await failure(s3Attachments()(at("x")));
    expect(error.message).toMatch(/or is not there.*s3:ListBucket.*s3:GetObject/);
  });

  test("because it is archived, which GET alone would tell", async () => {
    objects.put("files/old", { body: "x", storageClass: "GLACIER" });
    const error = await failure(s3Attachments()(at("old")));
    expect(error).toMatchObject({ code: "attachment_unavailable", retryable: false });
    expect(error.message).toContain("archived (GLACIER)");
  });

  test("because nobody answers", async () => {
    const gone = await startObjects();
    await gone.close();
    vi.stubEnv("AWS_ENDPOINT_URL_S3", gone.url);
    const attachments = s3Attachments();
    const error = await failure(attachments(at("x")));
    vi.stubEnv("AWS_ENDPOINT_URL_S3", objects.url);
    expect(error).toMatchObject({ code: "attachment_unavailable", retryable: true });
  });
});

describe("the file name in Content-Disposition", () => {
  test.each([
    [undefined, undefined],
    ["inline", undefined],
    ['attachment; filename=""', undefined],
    ["attachment; filename=a.txt", "a.txt"],
    ['attachment; filename="a \\"b\\"; c.txt"', 'a "b"; c.txt'],
    ["attachment; filename*=UTF-8''na%C3%AFve%20file.txt", "naïve file.txt"],
    ["attachment; filename*=utf-8'en'%e2%82%ac.txt; filename=\"EUR.txt\"", "€.txt"],
    ["attachment; filename*=ISO-8859-1''%A3.txt", "£.txt"],
    ["attachment; filename*=UTF-8''%zz; filename=b.txt", "b.txt"],
    [`attachment; filename="${Buffer.from("名.pdf").toString("latin1")}"`, "名.pdf"],
    ['attachment; filename="caf\u00e9.txt"', "café.txt"],
  ])("%s", (header, expected) => expect(filenameOf(header)).toBe(expected));
});
