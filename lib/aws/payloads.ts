/**
 * Whole objects in S3: requests too large for the queue, and mail that somebody put into a bucket.
 * Read into memory, so what is larger than any mailbox would send is refused before it is read.
 */
import { randomUUID } from "node:crypto";
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import {
  ObjectError,
  type ObjectReference,
  type Objects,
  type Payloads,
} from "../submission/queue.ts";
import { settings } from "./settings.ts";

/** 25 MiB of message, a third more as base64 (RFC 2045 §6.8), and some room for the JSON about it. */
const MOST = 36 * 1024 * 1024;
const FOLDER = "requests/";

function client(): S3Client {
  return new S3Client({ ...settings("S3"), maxAttempts: 3, followRegionRedirects: true });
}

export function s3Objects(s3 = client()): Objects {
  return { read: (object) => read(s3, object) };
}

export function s3Payloads(bucket: string): Payloads {
  const s3 = client();
  return {
    async put(text) {
      const key = `${FOLDER}${randomUUID()}.json`;
      await s3.send(
        new PutObjectCommand({
          Bucket: bucket,
          Key: key,
          Body: text,
          ContentType: "application/json",
        }),
      );
      return key;
    },
    async get(key) {
      // Whoever may write to the queue names the key: not every object is a request.
      if (!key.startsWith(FOLDER)) throw new ObjectError("missing", "The key is none of ours.");
      return Buffer.from(await read(s3, { bucket, key })).toString("utf8");
    },
  };
}

async function read(s3: S3Client, { bucket, key, versionId }: ObjectReference) {
  const what = `s3://${bucket}/${key}`;
  try {
    const { Body: body, ContentLength: size = 0 } = await s3.send(
      new GetObjectCommand({
        Bucket: bucket,
        Key: key,
        ...(versionId !== undefined && { VersionId: versionId }),
      }),
    );
    if (size > MOST) {
      (body as { destroy?: () => void } | undefined)?.destroy?.();
      throw new ObjectError("too_large", `${what} has ${size} octets; at most ${MOST} are read.`);
    }
    return (await body?.transformToByteArray()) ?? new Uint8Array();
  } catch (error) {
    if (error instanceof ObjectError) throw error;
    const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
    const status = $metadata?.httpStatusCode;
    // 405: the version asked for marks a deletion.
    const missing = status === 404 || status === 405;
    throw new ObjectError(
      missing ? "missing" : "unavailable",
      missing
        ? `There is no ${what}.`
        : `${what} could not be read (${name}, ${status ?? "no answer"}).`,
    );
  }
}
