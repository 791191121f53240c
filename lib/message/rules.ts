/**
 * What the fields of a request ask of one another. These rules look at the request as given, so
 * that they speak up together with those for single fields, however wrong the rest is.
 */
import * as field from "./field.ts";
import { type Issue, pathOf } from "./issue.ts";
import { parseRaw } from "./raw.ts";
import { bodyText } from "./text.ts";

type Fields = Readonly<Record<string, unknown>>;

/** What a raw message holds in itself. */
const IN_RAW = [
  "subject",
  "text",
  "html",
  "attachments",
  "headers",
  "inReplyTo",
  "references",
  "messageId",
  "date",
  "importance",
  "listUnsubscribe",
  "calendar",
] as const;

export function rules(input: unknown): readonly Issue[] {
  const request = fieldsOf(input);
  if (request === undefined) return [];
  return [
    ...recipients(request),
    ...raw(request),
    ...attachments(request),
    ...headers(request),
    ...unsubscribe(request),
    ...calendar(request),
    ...dsn(request),
  ];
}

function recipients(request: Fields): Issue[] {
  if (request.raw !== undefined || names(request)) return [];
  return [{ path: "to", message: "at least one recipient is needed in to, cc or bcc" }];
}

function names(request: Fields): boolean {
  return ["to", "cc", "bcc"].some((key) => {
    const value = request[key];
    return value !== undefined && !(Array.isArray(value) && value.length === 0);
  });
}

function raw(request: Fields): Issue[] {
  const value = request.raw;
  if (value === undefined) return [];
  const issues: Issue[] = IN_RAW.filter((key) => request[key] !== undefined).map((key) => ({
    path: key,
    message: 'must not stand beside "raw", which is the whole message',
  }));
  if (typeof value !== "string" || field.base64(value) !== undefined) return issues;
  const message = parseRaw(value);
  if (!message.ok) {
    for (const reason of message.reasons) issues.push({ path: "raw", message: reason });
  } else if (!names(request)) {
    const found = message.value.recipients;
    if (!found.ok) issues.push({ path: "raw", message: found.reason });
    else if (found.value.length === 0) {
      issues.push({ path: "raw", message: "names no recipient, and to, cc and bcc are empty" });
    }
  }
  return issues;
}

function attachments(request: Fields): Issue[] {
  const list = request.attachments;
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: unknown, index) => {
    const one = fieldsOf(entry);
    if (one === undefined || (one.content === undefined) !== (one.s3 === undefined)) return [];
    return [{ path: pathOf(["attachments", index]), message: 'needs either "content" or "s3"' }];
  });
}

function headers(request: Fields): Issue[] {
  return Object.keys(fieldsOf(request.headers) ?? {}).flatMap((name) => {
    // Named here because parsers of objects pass over this key in silence.
    const message = name === "__proto__" ? "is no header name" : field.headerName(name);
    return message === undefined ? [] : [{ path: pathOf(["headers", name]), message }];
  });
}

function unsubscribe(request: Fields): Issue[] {
  const list = fieldsOf(request.listUnsubscribe);
  if (list === undefined) return [];
  if (list.oneClick === true && list.url === undefined) {
    return [{ path: "listUnsubscribe.url", message: "is needed for oneClick (RFC 8058 §3.1)" }];
  }
  if (list.url !== undefined || list.mailto !== undefined) return [];
  return [{ path: "listUnsubscribe", message: 'needs "url", "mailto" or both' }];
}

/** RFC 6047 §2.4: the method of the part is that of the object, or receivers ignore it. */
function calendar(request: Fields): Issue[] {
  const event = fieldsOf(request.calendar);
  const { method, content } = event ?? {};
  if (typeof method !== "string" || typeof content !== "string") return [];
  const inside = /^METHOD:([A-Za-z-]+)[ \t]*$/im.exec(bodyText(content))?.[1];
  if (inside === undefined || inside.toUpperCase() === method.toUpperCase()) return [];
  return [{ path: "calendar.method", message: "must be the METHOD that the content has" }];
}

/** RFC 3461 §4.1: NEVER stands alone; each of the others once. */
function dsn(request: Fields): Issue[] {
  const notify = fieldsOf(request.dsn)?.notify;
  if (!Array.isArray(notify)) return [];
  if (notify.includes("never") && notify.length > 1) {
    return [{ path: "dsn.notify", message: '"never" must stand alone (RFC 3461 §4.1)' }];
  }
  const twice = new Set(notify).size < notify.length;
  return twice ? [{ path: "dsn.notify", message: "must name each once" }] : [];
}

function fieldsOf(value: unknown): Fields | undefined {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as Fields) : undefined;
}
