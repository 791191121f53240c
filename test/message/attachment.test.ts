import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AttachmentSource, ContentChanged, partOf } from "../../lib/message/attachment.ts";
import { type ComposeOptions, compose } from "../../lib/message/compose.ts";
import type { Attachment, MailRequest } from "../../lib/message/schema.ts";

const OPTIONS: ComposeOptions = {
  from: { address: "a@example.com", smtputf8: false } as ComposeOptions["from"],
  date: new Date(0),
  messageId: "<m@example.com>",
};
const REFERENCE = { bucket: "b", key: "folder/file.bin" };

async function collect(part: { open(): Iterable<Uint8Array> | AsyncIterable<Uint8Array> }) {
  const pieces: Uint8Array[] = [];
  for await (const piece of part.open()) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

/** RFC 2045 §6.8, the plain way. */
function reference(octets: Uint8Array): string {
  const lines =
    Buffer.from(octets)
      .toString("base64")
      .match(/.{1,76}/g) ?? [];
  return lines.join("\r\n");
}

function sourceOf(octets: Uint8Array, cuts: readonly number[] = [], size = octets.length) {
  const at = [0, ...cuts.map((cut) => cut % (octets.length + 1)).sort((a, b) => a - b)];
  return {
    size,
    open: async function* () {
      for (const [index, start] of at.entries()) yield octets.subarray(start, at[index + 1]);
    },
  };
}

const streamed = (source: AttachmentSource, labels: Partial<Attachment> = {}) =>
  partOf({ ...labels, s3: REFERENCE } as Attachment, async () => source);
const inline = (octets: Uint8Array, labels: Partial<Attachment> = {}) =>
  partOf({ ...labels, content: Buffer.from(octets).toString("base64") } as Attachment, undefined);

describe("base64 bodies", () => {
  test("any octets, however cut, streamed or at hand, give the plain encoding", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 400 }),
        fc.array(fc.nat(400), { maxLength: 8 }),
        async (octets, cuts) => {
          const expected = reference(octets);
          for (const part of [await streamed(sourceOf(octets, cuts)), await inline(octets)]) {
            expect((await collect(part)).toString()).toBe(expected);
            expect(part.size).toBe(expected.length);
          }
        },
      ),
    );
  });

  test.each([0, 1, 56, 57, 58, 113, 114, 115, 57 * 4096 - 1, 57 * 4096, 57 * 8192, 57 * 8192 + 1])(
    "%i octets at once",
    async (length) => {
      const octets = Uint8Array.from({ length }, (_, i) => (i * 31) & 255);
      for (const part of [await streamed(sourceOf(octets)), await inline(octets)]) {
        const body = await collect(part);
        expect(body.equals(Buffer.from(reference(octets)))).toBe(true);
        expect(part.size).toBe(body.length);
      }
    },
  );

  test("bits that belong to no octet are not sent (RFC 4648 §3.5)", async () => {
    for (const [given, sent] of [
      ["QR==", "QQ=="],
      ["QUJDQUJ=", "QUJDQUI="],
    ]) {
      const part = await partOf({ content: given }, undefined);
      expect((await collect(part)).toString()).toBe(sent);
      expect(part.size).toBe(sent?.length);
    }
  });

  test("a body can be read again, and pieces stay small", async () => {
    const octets = new Uint8Array(3_000_000).fill(7);
    const part = await inline(octets);
    expect((await collect(part)).equals(await collect(part))).toBe(true);
    for (const piece of part.open() as Iterable<Uint8Array>) {
      expect(piece.length).toBeLessThan(400_000);
    }
  });
});

describe("a source that does not keep its word", () => {
  test.each([
    ["more", 99],
    ["fewer", 101],
  ])("%s octets than stated end the reading", async (_what, size) => {
    const part = await streamed(sourceOf(new Uint8Array(100), [40], size));
    const error: unknown = await collect(part).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(ContentChanged);
    expect((error as Error).name).toBe("ContentChanged");
  });

  test("never an octet more than the size is passed on", async () => {
    const part = await streamed(sourceOf(new Uint8Array(1000), [], 100));
    let passed = 0;
    await expect(
      (async () => {
        for await (const piece of part.open()) passed += piece.length;
      })(),
    ).rejects.toThrow(ContentChanged);
    expect(passed).toBeLessThanOrEqual(part.size);
  });

  test("its own error is handed on", async () => {
    const open = async function* (): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(10);
      throw new Error("connection lost");
    };
    await expect(collect(await streamed({ size: 100, open }))).rejects.toThrow("connection lost");
  });

  test("nothing is opened before the content is read", async () => {
    let opened = 0;
    const source = {
      size: 3,
      open: async function* () {
        opened += 1;
        yield Uint8Array.of(1, 2, 3);
      },
    };
    const request = {
      to: [{ address: "b@example.com", smtputf8: false }],
      text: "t",
      attachments: [{ s3: REFERENCE }],
      partial: "accept",
    } as unknown as MailRequest;
    const { content } = await compose(request, {
      ...OPTIONS,
      resolveAttachment: async () => source,
    });
    expect(opened).toBe(0);
    const first = await collect(content);
    expect(first.length).toBe(content.size);
    expect((await collect(content)).equals(first)).toBe(true);
    expect(opened).toBe(2);
  });
});

describe("labels", () => {
  const octets = Buffer.from("%PDF");

  test("the request's come first, then the source's, then the key's", async () => {
    const source = { ...sourceOf(octets), contentType: "application/pdf", filename: "theirs.pdf" };
    expect(await streamed(source, { filename: "mine.x", contentType: "text/csv" })).toMatchObject({
      filename: "mine.x",
      contentType: "text/csv",
    });
    expect(await streamed(source)).toMatchObject({
      filename: "theirs.pdf",
      contentType: "application/pdf",
    });
    expect(await streamed(sourceOf(octets))).toMatchObject({
      filename: "file.bin",
      contentType: undefined,
    });
  });

  test.each(["binary/octet-stream", "nonsense", "text/plain\r\nBcc: x@y", "multipart/mixed"])(
    "a source's type %j is not believed",
    async (contentType) => {
      const part = await streamed({ ...sourceOf(octets), contentType }, { filename: "a.pdf" });
      expect(part.contentType).toBeUndefined();
    },
  );
});

describe("attached messages (RFC 2046 §5.2.1)", () => {
  const message = Buffer.from("From: a@example.com\nSubject: x\n\nhello\n");

  test("7-bit: as it is, with canonical line ends", async () => {
    const part = await inline(message, { contentType: "message/rfc822", filename: "m.eml" });
    const body = await collect(part);
    expect(part.encoding).toBe("7bit");
    expect(body.toString()).toBe(message.toString().replaceAll("\n", "\r\n"));
    expect(part.size).toBe(body.length);
  });

  test.each([
    ["8-bit", Buffer.from("Subject: x\n\nhé\n")],
    ["NUL", Buffer.from("Subject: x\n\n\0\n")],
    ["long lines", Buffer.from(`Subject: x\n\n${"x".repeat(999)}\n`)],
  ])("%s: as a file, octet for octet", async (_what, octets) => {
    const part = await inline(octets, { contentType: "message/rfc822", filename: "m.eml" });
    expect(part).toMatchObject({ encoding: "base64", contentType: "application/octet-stream" });
    expect(Buffer.from((await collect(part)).toString(), "base64").equals(octets)).toBe(true);
  });

  test("streamed: as a file, since nobody has seen it yet", async () => {
    const source = { ...sourceOf(message), contentType: "message/rfc822" };
    expect(await streamed(source)).toMatchObject({
      encoding: "base64",
      contentType: "application/octet-stream",
    });
  });

  test("the name alone makes no message or multipart that is base64", async () => {
    expect(await inline(message, { filename: "m.EML" })).toMatchObject({ encoding: "7bit" });
    for (const filename of ["a.mht", "a.gzip"]) {
      const part = await inline(octetsOf8Bit(), { filename });
      expect(part.contentType).toMatch(/^application\/(octet-stream|gzip)$/);
    }
  });

  test("message/global may be encoded (RFC 6532 §3.7)", async () => {
    const part = await inline(octetsOf8Bit(), { contentType: "message/global" });
    expect(part).toMatchObject({ encoding: "base64", contentType: "message/global" });
  });
});

function octetsOf8Bit(): Buffer {
  return Buffer.from("Subject: é\n\né\n");
}
