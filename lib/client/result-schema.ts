/**
 * What the functions answer, as schemas, for those who write in another language: the result, a
 * problem (RFC 9457), the state of a message. The compiler holds the result against the type that the
 * functions are written with, so neither can change alone. No function's bundle carries this file.
 */
import * as z from "zod/mini";
import type { Result } from "../submission/outcome.ts";

const list = <T extends z.ZodMiniType>(item: T) => z.readonly(z.array(item));
const RECIPIENT = ["accepted", "rejected", "deferred", "uncertain"] as const;

const reply = z.strictObject({
  code: z.int().check(z.minimum(200), z.maximum(599)),
  enhanced: z.exactOptional(z.string()).check(z.describe("RFC 3463.")),
  text: z.string(),
});

const recipient = z.strictObject({
  address: z.string(),
  outcome: z.enum(RECIPIENT),
  reply: z
    .nullable(reply)
    .check(z.describe("The one that settled this recipient; null if none came.")),
});

const issue = z.strictObject({
  code: z.exactOptional(z.string()),
  path: z.string().check(z.describe("Where in the request, with dots; empty: the request itself.")),
  message: z.string(),
});

const error = z.strictObject({
  code: z.string().check(z.describe("What went wrong; lib/REFERENCE.md has the list.")),
  phase: z.string().check(z.describe("Where in the conversation, or before it.")),
  message: z.string(),
  issues: z
    .exactOptional(list(issue))
    .check(z.describe("Every reason, where there is more than one.")),
});

const server = z.strictObject({
  host: z.string(),
  port: z.int(),
  tls: z.nullable(z.strictObject({ protocol: z.string(), cipher: z.string() })),
  auth: z.nullable(z.string()).check(z.describe("The mechanism that logged in.")),
  extensions: list(z.string()),
});

const milliseconds = () => z.number().check(z.minimum(0));

const timing = z.strictObject({
  totalMs: milliseconds(),
  connectMs: milliseconds(),
  tlsMs: milliseconds(),
  authMs: milliseconds().check(z.describe("0 where the login shared the envelope's group.")),
  transactionMs: milliseconds(),
  roundTrips: milliseconds(),
});

const entry = z.strictObject({
  at: milliseconds().check(z.describe("Milliseconds since the session began.")),
  from: z.enum(["S", "C"]).check(z.describe("Server or client.")),
  text: z.string(),
});

/** Of one message, whatever became of it. */
export const resultSchema = z.strictObject({
  id: z
    .string()
    .check(z.describe("The idempotency key, or the one that was given to the message.")),
  outcome: z
    .enum([...RECIPIENT, "partial"])
    .check(
      z.describe("deferred: certainly not taken. uncertain: handed over, and no answer came."),
    ),
  retryable: z.boolean().check(z.describe("Trying again unattended may succeed.")),
  reply: z.nullable(reply).check(z.describe("The one that decided; null if none came.")),
  queueId: z.exactOptional(z.string()).check(z.describe("Where the reply names one.")),
  messageId: z.nullable(z.string()),
  envelope: z.nullable(z.strictObject({ from: z.string(), to: list(z.string()) })),
  recipients: list(recipient),
  server: z.nullable(server).check(z.describe("Null where no server was asked.")),
  timing,
  transcript: list(entry),
  notes: z
    .exactOptional(list(z.string()))
    .check(z.describe("What was asked for, is lacking, and changes nothing that was promised.")),
  error: z.exactOptional(error).check(z.describe("Absent when accepted.")),
});

type Same<A, B> = [A, B] extends [B, A] ? true : { readonly schema: A; readonly type: B };
/** Does not compile where schema and type differ. */
export const sameAsTheType: Same<z.infer<typeof resultSchema>, Result> = true;

/** RFC 9457, with what we add to it. */
export const problemSchema = z.strictObject({
  type: z.string().check(z.describe("urn:posthaste:problem:<code>")),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  issues: z.exactOptional(list(issue)),
  result: z.exactOptional(resultSchema),
});

export const queuedSchema = z.strictObject({ id: z.string(), state: z.literal("queued") });

export const messageSchema = z.strictObject({
  id: z.string(),
  state: z.enum(["queued", "sending", "deferred", "settled"]),
  date: z.string().check(z.describe("When it was first asked for (ISO 8601).")),
  result: z.nullable(resultSchema).check(z.describe("The last one, where there is one.")),
});
