/**
 * The request as JSON Schema (2020-12), for documents and editors. It is derived, so it cannot
 * differ from what is checked; rules that JSON Schema cannot state are left to {@link parseRequest}.
 * In a file of its own, so that no function's bundle carries the generator.
 */
import * as z from "zod/mini";
import { type MailRequest, requestSchema } from "./schema.ts";

/** A sentence for every field: one that is added without does not compile. */
const ABOUT: Readonly<Record<keyof MailRequest, string>> = {
  mailbox: "Name of the mailbox that sends: 1 to 64 of A-Z a-z 0-9 _ -. Default: the deployment's.",
  from: "Must be allowed by the mailbox. Default: the mailbox's.",
  to: 'One mailbox ("a@b", "Name <a@b>" or an object) or an array of them.',
  cc: "As to.",
  bcc: "As to; never part of the message.",
  replyTo: "As to.",
  subject: "One line of text.",
  text: "The body as plain text; made from html where that stands alone.",
  html: "The body as HTML.",
  attachments: "Each has content (base64) or s3; contentId makes it inline.",
  headers: "Further fields of the header, one line each.",
  inReplyTo: "Message-id in angle brackets.",
  references: "Message-ids in angle brackets: an array, or one string of them.",
  messageId: "<id@domain>. Default: derived from the id of the result.",
  date: "RFC 3339 or RFC 5322, with a zone. Default: now.",
  importance: "Default: none.",
  listUnsubscribe: "RFC 2369; oneClick (RFC 8058) needs a url.",
  calendar: "An invitation (RFC 6047).",
  raw: "Base64 of a whole message (RFC 5322), in place of subject to calendar.",
  dsn: "Delivery status notifications (RFC 3461).",
  requireTls: "REQUIRETLS (RFC 8689).",
  priority: "MT-PRIORITY (RFC 6710).",
  deliverBy: "DELIVERBY (RFC 2852).",
  holdFor: "FUTURERELEASE (RFC 4865), in seconds.",
  partial: "accept: send to those whom the server accepts. refuse: to all or to none.",
  idempotencyKey: "1 to 255 printable ASCII characters. HTTP: the Idempotency-Key header.",
};

/** JSON Schema of what a caller may write. */
export function requestJsonSchema() {
  const schema = z.toJSONSchema(requestSchema(), {
    io: "input",
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema }) => {
      // The one custom type: a list of message-ids, or one string of them.
      if (zodSchema._zod.def.type !== "custom") return;
      jsonSchema.anyOf = [{ type: "array", items: { type: "string" } }, { type: "string" }];
    },
  });
  const described = Object.entries(schema.properties ?? {}).map(([name, property]) => [
    name,
    { description: ABOUT[name as keyof typeof ABOUT], ...(property as object) },
  ]);
  return { ...schema, properties: Object.fromEntries(described) };
}
