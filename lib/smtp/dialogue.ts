/**
 * A conversation as text, read back: what a failed send printed can be played again. One rule is
 * guarded here: whatever form it was pasted in (a dialogue file, the lines that a send or the demo
 * printed, a result's JSON), it becomes the same lines.
 *
 *     S: 220 hello                     the server
 *     C: EHLO client.test              the client; `***` stands for anything
 *     C: [12 octets of message content]
 *     X: TLS                           the handshake
 *     X: close                         the server closes; `X: reset`: it resets the connection
 *
 * A server's line ends with CRLF; one that ends with `\x0A` has its own end, one with `\z` none.
 */
export interface DialogueLine {
  readonly from: "S" | "C" | "X";
  readonly text: string;
  /** In the text that it was read from, counted from 1. */
  readonly number: number;
  /** What a server's line puts on the wire. */
  readonly octets: Uint8Array;
}

/** A line of a dialogue file, or `undefined` where it is none: a comment, a directive, nothing. */
export function dialogueLine(line: string, number: number): DialogueLine | undefined {
  const [, from, text = ""] = /^([SCX]): ?(.*)$/.exec(line) ?? [];
  return from === undefined ? undefined : spoken(from as "S" | "C" | "X", text, number);
}

/** Does what the client said match the line of the dialogue? */
export function matches(expected: string, actual: string): boolean {
  if (!expected.includes("***")) return expected === actual;
  const [before = "", after = ""] = expected.split("***");
  return actual.startsWith(before) && actual.endsWith(after) && actual.length > before.length;
}

/**
 * @param text of any of the three forms; what is not of the conversation is passed over
 * @param implicitTls for printed lines, which do not tell: the handshake comes first
 * @throws Error where the text holds no conversation, or one with its middle cut out
 */
export function readConversation(text: string, implicitTls = false): readonly DialogueLine[] {
  const read = text.trimStart().startsWith("{") ? fromResult(text) : fromLines(text);
  if (!read.lines.some(({ from }) => from === "S")) {
    throw new Error("There is no conversation in it: no line begins with S:");
  }
  if (read.lines.some(({ text: said }) => /^\[\d+ lines cut here\]$/.test(said))) {
    throw new Error("The middle of this conversation was cut, so it cannot be played.");
  }
  const lines = withHandshakes(read.lines);
  const first = implicitTls || read.implicitTls;
  return first && lines[0]?.from !== "X" ? [spoken("X", "TLS", 0), ...lines] : lines;
}

interface Read {
  readonly lines: readonly DialogueLine[];
  readonly implicitTls: boolean;
}

/** A dialogue file, or lines as they are printed: `   12.3 ms  S: 220 hello`, coloured or not. */
function fromLines(text: string): Read {
  const lines = text.split("\n").flatMap((line, index) => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a colour begins with
    const plain = line.replace(/\x1b\[[0-9;]*m/g, "").replace(/\r$/, "");
    const bare = plain.replace(/^\s*[\d.]+ ms {1,2}(?=[SCX]: ?)/, "");
    return dialogueLine(bare, index + 1) ?? [];
  });
  return { lines, implicitTls: false };
}

/** A result, or what holds one: a problem of the HTTP API, a message's state. */
function fromResult(text: string): Read {
  const given = JSON.parse(text) as Result & { readonly result?: Result | null };
  const { transcript = [], server } = given.result ?? given;
  const lines = transcript.map((entry, index) => spoken(entry.from, entry.text, index + 1));
  const starttls = lines.some((line) => line.from === "C" && line.text === "STARTTLS");
  return { lines, implicitTls: Boolean(server?.tls) && !starttls };
}

interface Result {
  readonly transcript?: readonly { readonly from: "S" | "C"; readonly text: string }[];
  readonly server?: { readonly tls?: unknown } | null;
}

/** A transcript does not show the handshake that follows the reply to STARTTLS. */
function withHandshakes(lines: readonly DialogueLine[]): readonly DialogueLine[] {
  return lines.flatMap((line, index) => {
    const asked = lines[index - 1];
    const starts =
      asked?.from === "C" &&
      asked.text === "STARTTLS" &&
      line.from === "S" &&
      /^2\d\d( |$)/.test(line.text) &&
      lines[index + 1]?.from === "C";
    return starts ? [line, spoken("X", "TLS", line.number)] : [line];
  });
}

function spoken(from: DialogueLine["from"], text: string, number: number): DialogueLine {
  return { from, text, number, octets: octetsOf(text) };
}

/** `\xNN` for octets that a text file cannot hold; the rest is UTF-8. */
function octetsOf(text: string): Uint8Array {
  const [line, open] = text.endsWith("\\z") ? [text.slice(0, -2), true] : [text, false];
  const octets = line
    .split(/\\x([0-9A-Fa-f]{2})/)
    .flatMap((part, index) =>
      index % 2 ? [Number.parseInt(part, 16)] : [...new TextEncoder().encode(part)],
    );
  return Uint8Array.from(open || octets.at(-1) === 10 ? octets : [...octets, 13, 10]);
}
