/**
 * The MIME tree beside the one of nodemailer's MailComposer, which had no part in it: over the whole
 * corpus and over requests made at random, the same octets. Only the two fields of a message that is
 * one text stand in the other order there.
 */
import fc from "fast-check";
import MailComposer from "nodemailer/lib/mail-composer";
import { expect, test } from "vitest";
import { partOf } from "../../lib/message/attachment.ts";
import { compose } from "../../lib/message/compose.ts";
import { type Attachment, type MailRequest, parseRequest } from "../../lib/message/schema.ts";
import { crlf } from "../../lib/message/text.ts";
import { canonicalise } from "../../lib/smtp/data.ts";
import { CORPUS } from "./corpus.ts";
import { OPTIONS, octetsOf } from "./support.ts";

/** Everything but the header fields that are no part of the tree. */
function structureOf(message: Uint8Array): { fields: string[]; body: string } {
  const text = Buffer.from(message).toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  const fields = text.slice(0, end + 2).match(/^Content-[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*/gim);
  return { fields: [...(fields ?? [])].sort(), body: text.slice(end) };
}

async function expectSame(input: object): Promise<void> {
  const result = parseRequest({ to: "a@example.com", ...input });
  if (!result.ok) throw new Error(`refused: ${JSON.stringify(result.issues)}`);
  const ours = await octetsOf((await compose(result.request, OPTIONS)).content);
  const boundary = /boundary="=_-([0-9a-f]{32})-Part_1"/.exec(ours.toString("latin1"))?.[1];
  expect(structureOf(ours)).toEqual(structureOf(await byMailComposer(result.request, boundary)));
}

async function byMailComposer(request: MailRequest, baseBoundary = ""): Promise<Uint8Array> {
  const { text, html, calendar } = request;
  const ways: [string, string | undefined][] = [
    ["text/plain; charset=utf-8", text],
    ["text/html; charset=utf-8", html],
    [`text/calendar; charset=utf-8; method=${calendar?.method}`, calendar?.content],
  ];
  const given = ways.flatMap(([type, content]) => (content ? [alternative(type, content)] : []));
  const attachments: Attachment[] = [...(request.attachments ?? [])];
  if (calendar !== undefined) {
    const content = Buffer.from(crlf(calendar.content)).toString("base64");
    attachments.push({ filename: "invite.ics", contentType: "application/ics", content });
  }
  const composer = new MailComposer({
    alternatives: given.length > 0 ? given : [alternative("text/plain; charset=utf-8", "")],
    attachments: await Promise.all(attachments.map((one, index) => attached(one, index, !!html))),
    ...{ boundaryPrefix: "=_", baseBoundary },
  } as object);
  return canonicalise(await composer.compile().build());
}

/** By itself it leaves white space at the ends of 7-bit lines to the relays. */
function alternative(contentType: string, text: string): object {
  const content = crlf(text);
  const exposed = /[ \t]\r?$/m.test(content) && /^[\t\r\n\x20-\x7f]*$/.test(content);
  return { contentType, content, ...(exposed && { contentTransferEncoding: "quoted-printable" }) };
}

/** What it may encode and show is our decision (attachment.ts), how that is written is its own. */
async function attached(one: Attachment, index: number, html: boolean): Promise<object> {
  const part = await partOf(one);
  const octets = Buffer.from(one.content ?? "", "base64");
  const known = part.contentType ?? (part.filename === undefined ? "octets" : "");
  const text =
    /^(text\/(plain|html)|message\/)/.test(known) || /\.(txt|html?)$/i.test(part.filename ?? "");
  const nameless = known === "octets" || known === "application/octet-stream";
  return {
    filename: part.filename ?? (nameless ? `attachment-${index + 1}.bin` : undefined),
    ...(part.contentType !== undefined && { contentType: part.contentType }),
    ...(part.contentId !== undefined && { cid: part.contentId }),
    contentDisposition: html && part.contentId !== undefined && !text ? "inline" : "attachment",
    contentTransferEncoding: part.encoding,
    content: part.encoding === "7bit" ? Buffer.from(part.verbatim ?? []) : octets,
  };
}

test.each(CORPUS.filter(({ input }) => input.raw === undefined && (!input.html || input.text)))(
  "$name",
  ({ input }) => expectSame(input),
);

const texts = fc.oneof(
  fc.string({ unit: "binary", maxLength: 300 }),
  fc.string({
    unit: fc.constantFrom("a", "é", "字", "🎉", " ", "\t", "\r", "\n", ".", "=", "\x7f"),
    maxLength: 300,
  }),
);
const names = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 90 })
  .filter((name) => name.trim() !== "");
const requests = fc.record(
  {
    text: texts,
    html: texts,
    attachments: fc.array(
      fc.record(
        {
          filename: names,
          contentType: fc.constantFrom(
            "image/png",
            'text/x; name="y z"',
            "application/pdf",
            "audio/x",
          ),
          contentId: fc.constantFrom("logo", "x".repeat(90)),
          content: fc
            .uint8Array({ minLength: 1, maxLength: 200 })
            .map((octets) => Buffer.from(octets).toString("base64")),
        },
        { requiredKeys: ["content"] },
      ),
      { maxLength: 3 },
    ),
  },
  { requiredKeys: ["text"] },
);

test("texts, html and files made at random", async () => {
  await fc.assert(
    fc.asyncProperty(requests, async (input) => {
      fc.pre(parseRequest({ to: "a@example.com", ...input }).ok);
      await expectSame(input);
    }),
    { numRuns: 300 },
  );
});
