/**
 * Arguments become a request. What is wrong with it is told by the one parser that every request
 * passes, in the result; here only files are read and put in their places.
 */
import { basename } from "node:path";
import type { MailRequestInput } from "../message/schema.ts";
import { EXIT, Stop } from "./exit.ts";
import { readInput } from "./files.ts";
import { note } from "./terminal.ts";

export interface MessageOptions {
  readonly to?: readonly string[];
  readonly cc?: readonly string[];
  readonly bcc?: readonly string[];
  readonly replyTo?: readonly string[];
  readonly from?: string;
  readonly subject?: string;
  readonly text?: string;
  readonly textFile?: string;
  readonly html?: string;
  readonly htmlFile?: string;
  readonly attach?: readonly string[];
  readonly header?: readonly string[];
  readonly mailbox?: string;
  readonly key?: string;
}

/**
 * @param file a request's JSON or a whole message (.eml), told apart by their first character
 * @throws Stop
 */
export async function composeRequest(
  file: string | undefined,
  options: MessageOptions,
): Promise<MailRequestInput> {
  const given = file === undefined ? {} : await read(file);
  const own = await fromOptions(options);
  const whole = { ...given, ...own };
  // As mail(1) has it: a message that is given nothing to say is said on standard input.
  const said = ["text", "html", "raw", "calendar", "attachments"].some((name) => name in whole);
  if (said || file !== undefined) return whole;
  if (process.stdin.isTTY) note("Type the text; Ctrl-D ends it.");
  return { ...whole, text: (await readInput("-", "the text")).toString("utf8") };
}

async function read(file: string): Promise<MailRequestInput> {
  const octets = await readInput(file, "the message file");
  const text = octets.toString("utf8");
  if (!text.trimStart().startsWith("{")) return { raw: octets.toString("base64") };
  try {
    return JSON.parse(text) as MailRequestInput;
  } catch {
    throw new Stop(EXIT.malformed, `The request in ${file} is not JSON.`);
  }
}

async function fromOptions(options: MessageOptions): Promise<MailRequestInput> {
  const { to, cc, bcc, replyTo, from, subject, mailbox, key, attach, header } = options;
  const text = await textOf(options.text, options.textFile, "--text-file");
  const html = await textOf(options.html, options.htmlFile, "--html-file");
  const attachments = attach && (await Promise.all(attach.map(attachment)));
  const headers = header && Object.fromEntries(header.map(field));
  return {
    ...(to && { to: [...to] }),
    ...(cc && { cc: [...cc] }),
    ...(bcc && { bcc: [...bcc] }),
    ...(replyTo && { replyTo: [...replyTo] }),
    ...(from !== undefined && { from }),
    ...(subject !== undefined && { subject }),
    ...(text !== undefined && { text }),
    ...(html !== undefined && { html }),
    ...(attachments && { attachments }),
    ...(headers && { headers }),
    ...(mailbox !== undefined && { mailbox }),
    ...(key !== undefined && { idempotencyKey: key }),
  };
}

async function textOf(given: string | undefined, file: string | undefined, option: string) {
  if (file === undefined) return given;
  return (await readInput(file, `the file of ${option}`)).toString("utf8");
}

async function attachment(path: string) {
  const octets = await readInput(path, "the attachment");
  return { filename: basename(path), content: octets.toString("base64") };
}

function field(line: string): readonly [string, string] {
  const colon = line.indexOf(":");
  if (colon < 1) throw new Stop(EXIT.usage, 'A --header is written "Name: value".');
  return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
}
