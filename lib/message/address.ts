/**
 * Addresses (RFC 5322 §3.4, RFC 6532, RFC 5321 §4.1.2). One parse of our own decides who is
 * written to: what the envelope carries, what policy judges and what the header shows all come
 * from it, so no second parser can read another recipient out of the same text.
 *
 * One pass from left to right over the text; nothing is ever read twice, so time is linear.
 */
import { DECEPTIVE, normaliseDomain, normaliseLiteral } from "./domain.ts";
import { Fault, type Parsed, parsed } from "./fault.ts";
import { CONTROL, wellFormed } from "./text.ts";

/** One mailbox. `address` is its SMTP form: minimal quoting, the domain an A-label in lower case. */
export interface Mailbox {
  readonly address: string;
  readonly name?: string | undefined;
}

/** RFC 5321 §4.5.3.1.1 and .3 (256 octets with the angle brackets). */
const LOCAL_OCTETS = 64;
const PATH_OCTETS = 254;
/** Deep enough for anything written by a person. */
const COMMENT_DEPTH = 16;

const SPECIAL = '()<>[]:;@\\,"';

/**
 * One mailbox: `a@b`, `<a@b>`, `Name <a@b>` or `"Name" <a@b>`. Lists, groups, comments and source
 * routes are refused with the reason; white space around the whole is not significant.
 */
export function parseMailbox(text: string): Parsed<Mailbox> {
  return parsed(() => {
    if (CONTROL.test(text)) throw new Fault("an address cannot have control characters");
    const [mailbox] = new Reader(wellFormed(text), true).list();
    if (mailbox === undefined) throw new Fault("the address is empty");
    return mailbox;
  });
}

/** An addr-spec alone, without name or angle brackets, in its SMTP form. */
export function parseAddress(text: string): Parsed<string> {
  return parsed(() => {
    if (CONTROL.test(text)) throw new Fault("an address cannot have control characters");
    return new Reader(wellFormed(text.trim()), true).addrSpec();
  });
}

/**
 * Every mailbox of an address field (From, Sender, To, Cc, Bcc), groups opened, comments passed
 * over, the body unfolded or not. Names are given as written: encoded-words are not decoded.
 */
export function parseAddressList(body: string): Parsed<readonly Mailbox[]> {
  return parsed(() => {
    const unfolded = body.replace(/\r\n(?=[ \t])/g, "").replaceAll("\t", " ");
    if (CONTROL.test(unfolded)) throw new Fault("an address field cannot have control characters");
    return new Reader(wellFormed(unfolded), false).list();
  });
}

/** Whether an address needs SMTPUTF8 (RFC 6531 §3.3): its local part is not ASCII. */
export function needsSmtputf8(address: string): boolean {
  return /[^ -~]/.test(address);
}

/** The domain as A-labels in lower case, or the address literal; empty where it is no address. */
export function domainOf(address: string): string {
  const result = parseAddress(address);
  return result.ok ? result.value.slice(result.value.lastIndexOf("@") + 1) : "";
}

interface Word {
  readonly text: string;
  readonly quoted: boolean;
  /** Where the reader stood behind it. */
  readonly end: number;
}

class Reader {
  readonly #text: string;
  /** One mailbox, as a person writes it; otherwise a list, as programs fold it into a header. */
  readonly #single: boolean;
  #at = 0;

  constructor(text: string, single: boolean) {
    this.#text = text;
    this.#single = single;
  }

  list(): Mailbox[] {
    const found: Mailbox[] = [];
    this.#members(found, false);
    return found;
  }

  addrSpec(): string {
    if (this.#peek() === "") throw new Fault("the address is empty");
    const word = this.#peek() === '"' ? this.#quoted() : this.#atoms();
    if (this.#peek() !== "@") {
      throw new Fault('the address is written as "a@b" here, without a name');
    }
    const address = this.#domain(this.#local(word));
    if (this.#peek() !== "") throw new Fault("there is text after the address");
    return address;
  }

  /** mailbox-list or group-list; obsolete empty elements are passed over (RFC 5322 §4.4). */
  #members(found: Mailbox[], inGroup: boolean): void {
    for (;;) {
      this.#space();
      const next = this.#peek();
      if (next === ";" && inGroup) return;
      if (next === "") {
        if (inGroup) throw new Fault("a group lacks its closing semicolon");
        return;
      }
      if (next === ",") {
        if (this.#single) throw new Fault(ONE);
        this.#at += 1;
        continue;
      }
      this.#member(found, inGroup);
      this.#space();
      const after = this.#peek();
      if (after === "" || after === "," || (after === ";" && inGroup)) continue;
      throw new Fault(after === ";" && this.#single ? ONE : "there is text after the address");
    }
  }

  #member(found: Mailbox[], inGroup: boolean): void {
    const words = this.#phrase();
    const next = this.#peek();
    if (next === "<") {
      const address = this.#angle();
      const name = words
        .map((word) => word.text)
        .join(" ")
        .trim();
      found.push(name === "" ? { address } : { address, name });
    } else if (next === "@") {
      const [word, ...rest] = words;
      if (word === undefined) throw new Fault("the local part is missing");
      if (rest.length > 0) throw new Fault('the address lacks its angle brackets: "Name <a@b>"');
      found.push({ address: this.#domain(this.#local(word)) });
    } else if (next === ":" && !inGroup && !this.#single) {
      this.#at += 1;
      this.#members(found, true);
      this.#at += 1;
    } else {
      throw new Fault(misplaced(next));
    }
  }

  #phrase(): Word[] {
    const words: Word[] = [];
    for (;;) {
      this.#space();
      const next = this.#peek();
      if (next === '"') words.push(this.#quoted());
      else if (next !== "" && !SPECIAL.includes(next)) words.push(this.#atoms());
      else return words;
    }
  }

  /** A run of atom text and dots; which of them are well placed only the local part cares about. */
  #atoms(): Word {
    const start = this.#at;
    while (this.#at < this.#text.length && !` ${SPECIAL}`.includes(this.#peek())) this.#at += 1;
    return { text: this.#text.slice(start, this.#at), quoted: false, end: this.#at };
  }

  #quoted(): Word {
    let text = "";
    let from = this.#at + 1;
    for (let i = from; i < this.#text.length; i += 1) {
      const character = this.#text[i];
      if (character === '"') {
        this.#at = i + 1;
        return { text: text + this.#text.slice(from, i), quoted: true, end: this.#at };
      }
      if (character === "\\") {
        text += this.#text.slice(from, i);
        i += 1;
        from = i;
      }
    }
    throw new Fault("a quotation mark is not closed");
  }

  #angle(): string {
    this.#at += 1;
    this.#inner();
    const next = this.#peek();
    if (next === "@") throw new Fault("source routes are obsolete and refused");
    if (next === ">") throw new Fault("the address is empty");
    const word = next === '"' ? this.#quoted() : this.#atoms();
    this.#inner();
    if (this.#peek() !== "@") throw new Fault("the address has no @ after its local part");
    const address = this.#domain(this.#local(word));
    this.#inner();
    if (this.#peek() !== ">") throw new Fault("the address lacks its closing >");
    this.#at += 1;
    return address;
  }

  /** The local part in its minimal quoting (RFC 5321 §4.1.2); the reader stands at the `@`. */
  #local(word: Word): string {
    if (this.#single && word.end !== this.#at) throw new Fault("white space before the @");
    if (word.text === "") throw new Fault("the local part is empty");
    const visible = word.quoted ? word.text.replaceAll(" ", "") : word.text;
    if (DECEPTIVE.test(visible)) throw new Fault("the local part has an invisible character");
    const atoms = word.text.split(".");
    const plain = atoms.every((atom) => atom !== "" && !/[\s()<>[\]:;@\\,"]/.test(atom));
    if (!plain && !word.quoted) throw new Fault("a dot at an end of, or twice in, the local part");
    const local = plain ? word.text : `"${word.text.replace(/["\\]/g, "\\$&")}"`;
    if (Buffer.byteLength(local) > LOCAL_OCTETS)
      throw new Fault("the local part exceeds 64 octets");
    return local;
  }

  #domain(local: string): string {
    this.#at += 1;
    this.#inner();
    const start = this.#at;
    let domain: string;
    if (this.#peek() === "[") {
      const close = this.#text.indexOf("]", start);
      if (close === -1) throw new Fault("the address literal is not closed");
      domain = normaliseLiteral(this.#text.slice(start + 1, close));
      this.#at = close + 1;
    } else {
      domain = normaliseDomain(this.#atoms().text);
    }
    const address = `${local}@${domain}`;
    if (Buffer.byteLength(address) > PATH_OCTETS) throw new Fault("the address exceeds 254 octets");
    return address;
  }

  /** White space and comments within an address: a program's folding, never a person's intent. */
  #inner(): void {
    if (!this.#single) this.#space();
    else if (this.#peek() === " ") throw new Fault("white space within the address");
  }

  #space(): void {
    for (;;) {
      const next = this.#peek();
      if (next === " ") this.#at += 1;
      else if (next === "(") this.#comment();
      else return;
    }
  }

  #comment(): void {
    if (this.#single)
      throw new Fault('comments are not taken: quote the name, as in "A (B)" <a@b>');
    let depth = 0;
    for (; this.#at < this.#text.length; this.#at += 1) {
      const character = this.#text[this.#at];
      if (character === "\\") this.#at += 1;
      else if (character === "(") depth += 1;
      else if (character === ")") depth -= 1;
      if (depth > COMMENT_DEPTH) throw new Fault("comments are nested too deeply");
      if (depth === 0) {
        this.#at += 1;
        return;
      }
    }
    throw new Fault("a comment is not closed");
  }

  #peek(): string {
    return this.#text[this.#at] ?? "";
  }
}

const ONE = "one mailbox a string: several go into an array";

/** Why no address can begin, or go on, with `next`. */
function misplaced(next: string): string {
  if (next === "") return "the address has no @";
  if (next === ":") return `a group or URL is no address; ${ONE}`;
  if (next === "," || next === ";") {
    return `no @ before a comma or semicolon; a name with one is quoted, as in "A, B" <a@b>; ${ONE}`;
  }
  return `an unquoted ${next === "@" ? "@" : JSON.stringify(next)} is not allowed here`;
}
