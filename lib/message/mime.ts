/**
 * The MIME tree (RFC 2045, RFC 2046): which part stands in which, and every text encoded so that it
 * survives any relay. What comes out is text, cut only where an attachment's body streams into its
 * place, so that what is in memory is copied once and the size is known beforehand.
 */
import { createHash } from "node:crypto";
import { encode, wrap } from "nodemailer/lib/qp";
import type { Part } from "./attachment.ts";

/** One of the ways to read the message: canonical line ends, and nothing that cannot be sent. */
export interface Text {
  readonly contentType: string;
  readonly content: string;
}

/** A part with the header fields that label it, each with its CRLF. */
export interface Labelled {
  readonly part: Part;
  readonly fields: string;
}

/** What follows the header fields of a message: text, and the parts that stream into their places. */
export type Piece = string | Part;

interface Leaf {
  readonly fields: string;
  readonly body: Piece;
}

interface Multipart {
  readonly type: string;
  readonly children: readonly Entity[];
}

type Entity = Leaf | Multipart;

/**
 * A message from the fields of its structure to its end; what comes before them joins the first piece.
 *
 * @param texts least faithful first (RFC 2046 §5.1.4), at least one
 * @param messageId makes the boundaries: the same message gives the same octets
 */
export function tree(
  texts: readonly Text[],
  parts: readonly Labelled[],
  messageId: string,
): readonly [string, ...Piece[]] {
  const hasHtml = texts.some(isHtml);
  const related = parts.filter(({ part }) => hasHtml && part.contentId !== undefined);
  const attached = parts.filter((labelled) => !related.includes(labelled));
  const ways = texts.map((text) =>
    related.length > 0 && isHtml(text)
      ? { type: 'related; type="text/html"', children: [leaf(text), ...related.map(leafOf)] }
      : leaf(text),
  );
  const [only] = ways as [Entity];
  const body = ways.length > 1 ? { type: "alternative", children: ways } : only;
  if (attached.length > 0) {
    const mixed = { type: "mixed", children: [body, ...attached.map(leafOf)] };
    return new Writer(boundary(messageId, texts, parts)).root(mixed);
  }
  return new Writer("type" in body ? boundary(messageId, texts, parts) : "").root(body);
}

export const isHtml = ({ contentType }: Text): boolean => contentType.startsWith("text/html");

function leafOf({ part, fields }: Labelled): Leaf {
  return { fields, body: part };
}

function leaf({ contentType, content }: Text): Leaf {
  const type = `Content-Type: ${contentType}\r\n`;
  if (content === "") return { fields: type, body: "" };
  const encoding = transferEncoding(content);
  return {
    fields: `${type}Content-Transfer-Encoding: ${encoding}\r\n`,
    body: ENCODERS[encoding](content),
  };
}

/** Characters from which on a text is not looked at line by line. */
const LONG = 128 * 1024;

/**
 * As it is where every relay takes it so; else whatever leaves more of it readable (RFC 2045 §6).
 * Relays may take white space off the end of a line: quoted-printable keeps it (§6.7).
 */
function transferEncoding(text: string): "7bit" | "quoted-printable" | "base64" {
  if (/^[\t\r\n\x20-\x7f]*$/.test(text)) {
    return text.length > LONG || /[ \t]\r?$|^.{77}/m.test(text) ? "quoted-printable" : "7bit";
  }
  return mostlyLatin(text) ? "quoted-printable" : "base64";
}

/** Whether more of its characters are Latin letters than would have to be escaped. */
export function mostlyLatin(text: string): boolean {
  let letters = 0;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if ((code >= 65 && code <= 90) || (code >= 97 && code <= 122)) letters += 1;
    else if (code > 127 || (code < 32 && (code < 9 || code > 13 || code === 11 || code === 12))) {
      letters -= 1;
    }
  }
  return letters > 0;
}

const ENCODERS = {
  "7bit": (text: string) => text,
  "quoted-printable": (text: string) => wrap(encode(text), 76),
  base64: (text: string) =>
    Buffer.from(text)
      .toString("base64")
      .replace(/.{76}(?!$)/g, "$&\r\n"),
} as const;

/**
 * "=_" cannot occur in base64 or quoted-printable (RFC 2045 §6.7); what stands in the message as it
 * is has a part in the hash, so it cannot hold a boundary that depends on it.
 */
function boundary(messageId: string, texts: readonly Text[], parts: readonly Labelled[]): string {
  const hash = createHash("sha256").update(messageId);
  for (const { content } of texts) hash.update("\0").update(content);
  for (const { part } of parts) hash.update("\0").update(part.verbatim ?? "");
  return `=_-${hash.digest("hex").slice(0, 32)}`;
}

class Writer {
  readonly #boundary: string;
  readonly #pieces: Piece[] = [];
  #text = "";
  #entities = 0;

  constructor(boundary: string) {
    this.#boundary = boundary;
  }

  root(entity: Entity): readonly [string, ...Piece[]] {
    this.#entity(entity);
    // A message ends with a line end (RFC 5322 §2.3); a part's last one belongs to the boundary.
    if (!this.#text.endsWith("\r\n")) this.#text += "\r\n";
    // Text comes before every part, and behind the last one.
    return [...this.#pieces, this.#text] as unknown as [string, ...Piece[]];
  }

  #entity(entity: Entity): void {
    this.#entities += 1;
    if (!("type" in entity)) {
      this.#text += `${entity.fields}\r\n`;
      this.#body(entity.body);
      return;
    }
    const own = `${this.#boundary}-Part_${this.#entities}`;
    this.#text += `Content-Type: multipart/${entity.type};\r\n boundary="${own}"\r\n`;
    for (const child of entity.children) {
      this.#text += `\r\n--${own}\r\n`;
      this.#entity(child);
    }
    this.#text += `\r\n--${own}--\r\n`;
  }

  #body(body: Piece): void {
    if (typeof body === "string") {
      this.#text += body;
      return;
    }
    this.#pieces.push(this.#text, body);
    this.#text = "";
  }
}
