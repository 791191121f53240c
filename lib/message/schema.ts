/**
 * The request: one message (RFC 5322) and how to submit it. The only source of its types. Unknown
 * fields are refused by name, and everything wrong is told at once, without repeating any value.
 *
 * What comes out is normalised (mailboxes parsed, lone surrogates replaced, dates in UTC) and is
 * itself a valid request that parses to itself, so it may wait in a queue as JSON.
 */
import * as z from "zod/mini";
import { parseAddress, parseMailbox } from "./address.ts";
import { parseDate } from "./date.ts";
import * as field from "./field.ts";
import { atMost, type Issue, report } from "./issue.ts";
import { onDemand } from "./on-demand.ts";
import { rules } from "./rules.ts";
import { bodyText, CONTROL, wellFormed } from "./text.ts";

const check = (rule: field.Rule) =>
  z.superRefine<string>((value, context) => {
    const message = rule(value);
    if (message !== undefined) context.addIssue({ code: "custom", message });
  });

const text = (rule: field.Rule) => z.string().check(z.overwrite(wellFormed), check(rule));
const body = () => z.string().check(z.overwrite(bodyText));
const base64 = () => z.string().check(check(field.base64), z.overwrite(field.packed));

/** As in a `Name <a@b>` string: no control at all, the tab included. */
const displayName: field.Rule = (value) =>
  CONTROL.test(value) ? "must not have control characters, nor line breaks" : undefined;

const mailboxText = () =>
  z.pipe(
    z.string(),
    z.transform((value, context) => {
      const result = parseMailbox(value);
      if (result.ok) return result.value;
      context.issues.push({ code: "custom", input: value, message: result.reason });
      return z.NEVER;
    }),
  );

const mailboxObject = () =>
  z.pipe(
    z.strictObject({
      name: z.optional(text(displayName)),
      address: z.string().check(
        z.superRefine<string>((value, context) => {
          const result = parseAddress(value);
          if (!result.ok) context.addIssue({ code: "custom", message: result.reason });
        }),
      ),
    }),
    z.transform(({ name, address }) => {
      const result = parseAddress(address);
      const shown = name?.trim();
      return { address: result.ok ? result.value : address, ...(shown ? { name: shown } : {}) };
    }),
  );

const mailbox = () => z.union([mailboxText(), mailboxObject()]);
const mailboxes = () => {
  const one = mailbox();
  return z.union([
    z.pipe(
      one,
      z.transform((alone) => [alone]),
    ),
    z.array(one),
  ]);
};

const s3 = () =>
  z.strictObject({
    bucket: z.string().check(z.minLength(1), z.maxLength(2048)),
    key: z.string().check(z.minLength(1), z.maxLength(1024)),
    versionId: z.optional(z.string().check(z.minLength(1), z.maxLength(1024))),
  });

const attachment = () =>
  z.strictObject({
    filename: z.optional(text(field.filename)),
    contentType: z.optional(z.string().check(check(field.contentType))),
    contentId: z.optional(z.string().check(check(field.contentId))),
    content: z.optional(base64()),
    s3: z.optional(s3()),
  });

/** A list, or the value of a References field as it stands in a message (RFC 5322 §3.6.4). */
const references = () =>
  z.pipe(
    z.custom<string | string[]>(
      (value) => typeof value === "string" || Array.isArray(value),
      "must be a list of message-ids",
    ),
    z.pipe(
      z.transform((value: string | string[]) =>
        typeof value === "string" ? value.split(/[ \t]+/).filter((id) => id !== "") : value,
      ),
      z.array(z.string().check(check(field.reference))),
    ),
  );

const seconds = (least: number) => z.int().check(z.minimum(least), z.maximum(999_999_999));

const fields = {
  mailbox: () => z.optional(z.string().check(check(field.mailboxName))),
  from: () => z.optional(mailbox()),
  to: () => z.optional(mailboxes()),
  cc: () => z.optional(mailboxes()),
  bcc: () => z.optional(mailboxes()),
  replyTo: () => z.optional(mailboxes()),
  subject: () => z.optional(text(field.line)),
  text: () => z.optional(body()),
  html: () => z.optional(body()),
  attachments: () => z.optional(z.array(attachment())),
  headers: () => z.optional(z.record(z.string(), text(field.headerValue))),
  inReplyTo: () => z.optional(z.string().check(check(field.reference))),
  references: () => z.optional(references()),
  messageId: () => z.optional(z.string().check(check(field.messageId))),
  date: () =>
    z.optional(
      z.pipe(
        z.string(),
        z.transform((value, context) => {
          const date = parseDate(value);
          if (date !== undefined) return date.toISOString();
          context.issues.push({ code: "custom", input: value, message: DATE });
          return z.NEVER;
        }),
      ),
    ),
  importance: () => z.optional(z.enum(["high", "normal", "low"])),
  listUnsubscribe: () =>
    z.optional(
      z.strictObject({
        url: z.optional(z.string().check(check(field.unsubscribeUrl))),
        mailto: z.optional(z.string().check(check(field.unsubscribeMailto))),
        oneClick: z.optional(z.boolean()),
      }),
    ),
  calendar: () =>
    z.optional(
      z.strictObject({
        /** RFC 5546 §1.4. */
        method: z.pipe(
          z.string().check(z.toUpperCase()),
          z.enum([
            "PUBLISH",
            "REQUEST",
            "REPLY",
            "ADD",
            "CANCEL",
            "REFRESH",
            "COUNTER",
            "DECLINECOUNTER",
          ]),
        ),
        content: body().check(check(field.icalendar)),
      }),
    ),
  /** Base64 of a whole message (RFC 5322), in place of subject to calendar. */
  raw: () => z.optional(base64()),
  /** RFC 3461. */
  dsn: () =>
    z.optional(
      z.strictObject({
        notify: z.optional(
          z.array(z.enum(["success", "failure", "delay", "never"])).check(z.minLength(1)),
        ),
        return: z.optional(z.enum(["headers", "full"])),
        envelopeId: z.optional(z.string().check(check(field.envelopeId))),
      }),
    ),
  /** RFC 8689. */
  requireTls: () => z.optional(z.boolean()),
  /** RFC 6710 §2. */
  priority: () => z.optional(z.int().check(z.minimum(-9), z.maximum(9))),
  /** RFC 2852 §4, in seconds. */
  deliverBy: () =>
    z.optional(
      z.strictObject({
        seconds: seconds(1),
        /** Too late is as good as never, unless the caller says otherwise. */
        mode: z._default(z.enum(["return", "notify"]), "return"),
      }),
    ),
  /** RFC 4865 §4, in seconds; 0 is no delay. */
  holdFor: () => z.optional(seconds(0)),
  partial: () => z._default(z.enum(["accept", "refuse"]), "accept"),
  idempotencyKey: () => z.optional(z.string().check(check(field.idempotencyKey))),
};

/** The schema of what an input gives; of every field, without an input. */
export const requestSchema = onDemand(fields, (shape) => z.strictObject(shape), ["partial"]);

const DATE =
  "must be a date with a zone, such as 2025-07-01T10:00:00Z or Tue, 1 Jul 2025 10:00:00 +0000";

/** A checked request. */
export type MailRequest = z.infer<ReturnType<typeof requestSchema>>;
/** What a caller may write. */
export type MailRequestInput = z.input<ReturnType<typeof requestSchema>>;
export type Attachment = NonNullable<MailRequest["attachments"]>[number];
export type S3Reference = NonNullable<Attachment["s3"]>;

export type RequestResult =
  | { readonly ok: true; readonly request: MailRequest }
  | { readonly ok: false; readonly issues: readonly Issue[] };

/** Checks a request whole: its shape, each value, and what its fields ask of one another. */
export function parseRequest(input: unknown): RequestResult {
  const result = requestSchema(input).safeParse(input);
  const issues = [...report(result.error?.issues ?? []), ...rules(input)];
  if (result.success && issues.length === 0) return { ok: true, request: result.data };
  return { ok: false, issues: atMost(issues) };
}
