/**
 * The driver effect by effect, over a connection in memory: what leaves in which write, what is heard
 * when, and what an error is known to mean. Nothing here waits for anything.
 */
import { describe, expect, it } from "vitest";
import { type Content, contentOf } from "../../lib/smtp/data.ts";
import { SmtpError } from "../../lib/smtp/error.ts";
import type { Connection } from "../../lib/smtp/io/connection.ts";
import { begin, type DriverOptions, drive } from "../../lib/smtp/io/driver.ts";
import type { Stopwatch } from "../../lib/smtp/io/stopwatch.ts";
import { Redactor } from "../../lib/smtp/redact.ts";
import type { Reply } from "../../lib/smtp/reply.ts";
import type { Answer, Effect, Phase, Step } from "../../lib/smtp/step.ts";
import { Transcript } from "../../lib/smtp/transcript.ts";

const BLOCK = 64 * 1024;
const channel = { protocol: "TLSv1.3", cipher: "x", bindings: [] };

/** Answers as it is told to; everything done to it is kept. */
class Scripted {
  readonly replies: Reply[];
  readonly written: { readonly octets: Uint8Array; readonly phase: Phase }[] = [];
  /** What lies in the buffer at each look, in order; then nothing. */
  readonly unasked: (Reply | "partial" | undefined)[] = [];
  /** Thrown at the write or the demand of this number, from 0. */
  readonly failWrite = new Map<number, Error>();
  readonly failDemand = new Map<number, Error>();
  looks = 0;
  demands = 0;
  closed: boolean | undefined;
  tls = { protocol: "TLSv1.3", resumed: false };

  constructor(...replies: Reply[]) {
    this.replies = replies;
  }
  async read(phase: Phase): Promise<Reply> {
    const reply = this.replies.shift();
    if (reply) return reply;
    throw new SmtpError("connection_lost", "The server closed the connection.", { phase });
  }
  async write(octets: Uint8Array, phase: Phase): Promise<void> {
    const failure = this.failWrite.get(this.written.length);
    this.written.push({ octets, phase });
    if (failure) throw failure;
  }
  unsolicited(): Reply | "partial" | undefined {
    this.looks += 1;
    return this.unasked.shift();
  }
  demandOpen(): void {
    const failure = this.failDemand.get(this.demands);
    this.demands += 1;
    if (failure) throw failure;
  }
  async secure() {
    return channel;
  }
  close(clean: boolean): void {
    this.closed = clean;
  }
  get wire(): readonly string[] {
    return this.written.map(({ octets }) => Buffer.from(octets).toString("latin1"));
  }
}

/** Every call, by name and arguments. */
function recording() {
  const calls: unknown[][] = [];
  const keep =
    (name: string) =>
    (...args: unknown[]) => {
      calls.push([name, ...args]);
    };
  const watch = {
    elapsed: () => 1,
    sending: keep("sending"),
    awaiting: keep("awaiting"),
    answered: keep("answered"),
    secured: keep("secured"),
  };
  return { calls, watch: watch as unknown as Stopwatch };
}

function prepared(more: Partial<DriverOptions> = {}) {
  const redactor = new Redactor();
  redactor.learn("pencil-case");
  const transcript = new Transcript(redactor);
  const { calls, watch } = recording();
  const options: DriverOptions = { tls: {}, transcript, redactor, watch, ...more };
  const shown = () => transcript.entries().map(({ from, text }) => `${from}: ${text}`);
  return { options, calls, shown };
}

const as = (connection: Scripted) => connection as unknown as Connection;
const ok: Reply = { code: 250, lines: ["ok"] };
const write = (text: string): Effect => ({
  do: "write",
  line: { bytes: Buffer.from(`${text}\r\n`), shown: text },
});
const read = (phase: Phase): Effect => ({ do: "read", phase });
const commit: Effect = { do: "commit", message: 0 };
const pump = (content: Content, framing: "data" | "bdat" = "data"): Effect => ({
  do: "pump",
  content,
  framing,
});
const hello = contentOf(Buffer.from("hello\r\n"));

/** Yields these, and comes to their answers; an error in place of one ends it. */
function* saying(...effects: readonly Effect[]): Step<readonly (Answer | SmtpError)[]> {
  const answers: (Answer | SmtpError)[] = [];
  for (const effect of effects) {
    try {
      answers.push(yield effect);
    } catch (error) {
      answers.push(error as SmtpError);
      break;
    }
  }
  return answers;
}

/** Content that gives these pieces, announced by their size or another. */
function pieces(lengths: readonly number[], size?: number): Content & { given: number } {
  const content = {
    size: size ?? lengths.reduce((sum, length) => sum + length, 0),
    eightBit: false,
    utf8Header: false,
    given: 0,
    *open() {
      for (const length of lengths) {
        content.given += 1;
        yield Buffer.from("x".repeat(length - 2).concat("\r\n"));
      }
    },
  };
  return content;
}

/** What ended it. */
async function failure(connection: Scripted, ...effects: readonly Effect[]) {
  const { options, shown, calls } = prepared();
  const answers = await drive(saying(...effects), as(connection), options);
  const error = answers.at(-1);
  if (!(error instanceof SmtpError)) throw new Error("nothing failed");
  return { error, shown: shown(), calls };
}

describe("a group", () => {
  it("is one write, and a single line is not copied for it", async () => {
    const connection = new Scripted(ok, ok);
    const { options } = prepared();
    const one = write("NOOP");
    await drive(
      saying(one, read("rset"), write("RSET"), write("QUIT"), read("quit")),
      as(connection),
      options,
    );
    expect(connection.wire).toEqual(["NOOP\r\n", "RSET\r\nQUIT\r\n"]);
    expect(connection.written.map(({ phase }) => phase)).toEqual(["rset", "quit"]);
    if (one.do === "write") expect(connection.written[0]?.octets).toBe(one.line.bytes);
  });

  it("leaves before the handshake too", async () => {
    const connection = new Scripted(ok);
    const { options, calls } = prepared();
    const from = performance.now();
    const answers = await drive(
      saying(write("STARTTLS"), read("starttls"), write("ODD"), { do: "secure" }),
      as(connection),
      options,
    );
    expect(connection.wire).toEqual(["STARTTLS\r\n", "ODD\r\n"]);
    expect(answers.at(-1)).toBe(channel);
    const [, took, tls] = calls.find(([name]) => name === "secured") ?? [];
    expect(took).toBeGreaterThanOrEqual(0);
    expect(took).toBeLessThanOrEqual(performance.now() - from);
    expect(tls).toBe(connection.tls);
  });

  it("has the clock told of its way, and whether a login in it shared it with an envelope", async () => {
    const { options, calls } = prepared();
    await drive(
      saying(
        read("greeting"),
        write("AUTH PLAIN x"),
        write("MAIL FROM:<a>"),
        write("RCPT TO:<MAIL >"),
        read("auth"),
        read("mail"),
        read("content"),
        write("NOT MAIL "),
        read("auth"),
      ),
      as(new Scripted(ok, ok, ok, ok, ok)),
      options,
    );
    expect(calls).toEqual([
      ["awaiting", "greeting"],
      ["answered", "greeting", false],
      ["sending"],
      ["awaiting", "auth"],
      ["answered", "auth", true],
      ["awaiting", "mail"],
      ["answered", "mail", true],
      ["awaiting", "content"],
      ["answered", "content", true],
      ["sending"],
      ["awaiting", "auth"],
      ["answered", "auth", false],
    ]);
  });

  it("learns what must not be seen again", async () => {
    const { options, shown } = prepared();
    const secret = "c2VjcmV0LXNlY3JldA";
    const line = { bytes: Buffer.from(`${secret}\r\n`), shown: "***", secret };
    const echo = { code: 535, lines: [`not ${secret}`] };
    await drive(saying({ do: "write", line }, read("auth")), as(new Scripted(echo)), options);
    expect(shown().join()).not.toContain(secret);
  });
});

describe("a reply", () => {
  it.each<[Phase, number, boolean]>([
    ["auth", 334, false],
    ["auth", 235, true],
    ["auth", 535, true],
    ["ehlo", 250, false],
    ["ehlo", 334, true],
    ["ehlo", 550, true],
    ["mail", 250, true],
    ["data", 354, true],
  ])("in phase %s with %i: masked %s", async (phase, code, does) => {
    const reply = { code, lines: ["pencil-case"] };
    const { options, shown } = prepared();
    const [answer] = await drive(saying(read(phase)), as(new Scripted(reply)), options);
    expect((answer as Reply).code).toBe(code);
    expect((answer as Reply).lines[0] !== "pencil-case").toBe(does);
    expect(shown().join()).not.toContain("pencil-case");
  });
});

describe("the connection's end", () => {
  it("is clean where all went well, or only the farewell did not", async () => {
    for (const replies of [[ok, ok], [ok]]) {
      const connection = new Scripted(...replies);
      await drive(saying(read("mail"), read("quit")), as(connection), prepared().options);
      expect(connection.closed).toBe(true);
    }
  });

  it("is not clean after a fault, whatever follows", async () => {
    const connection = new Scripted();
    function* stubborn(): Step<string> {
      for (const phase of ["mail", "farewell"] as const) {
        try {
          yield read(phase);
        } catch {}
      }
      return "over";
    }
    expect(await drive(stubborn(), as(connection), prepared().options)).toBe("over");
    expect(connection.closed).toBe(false);
  });

  it("comes at once where a program is at fault, and that is told as it is", async () => {
    const fault = new TypeError("of our own");
    const connection = new Scripted();
    connection.read = () => Promise.reject(fault);
    await expect(drive(saying(read("mail")), as(connection), prepared().options)).rejects.toBe(
      fault,
    );
    expect(connection.closed).toBe(false);
    const other = new Scripted(ok);
    const faulty = function* (): Step<void> {
      yield read("mail");
      throw fault;
    };
    await expect(drive(faulty(), as(other), prepared().options)).rejects.toBe(fault);
    expect(other.closed).toBe(false);
  });
});

describe("a beginning", () => {
  it("is performed, left open, and gone on with", async () => {
    const connection = new Scripted(ok, { code: 251, lines: ["too"] }, { code: 252, lines: [] });
    const { options } = prepared();
    const effects = [read("greeting"), write("EHLO a"), read("ehlo")];
    const said = await begin(saying(...effects), as(connection), options);
    expect(said).toMatchObject([{ code: 250 }, undefined, { code: 251 }]);
    expect(said[1]).toBeUndefined();
    expect(connection.closed).toBeUndefined();
    const answers = await drive(saying(...effects, read("mail")), as(connection), {
      ...options,
      said,
    });
    expect(answers).toMatchObject([{ code: 250 }, undefined, { code: 251 }, { code: 252 }]);
    expect(connection.wire).toEqual(["EHLO a\r\n"]);
  });
});

describe("what nobody asked for", () => {
  const before = [read("greeting"), write("EHLO a"), read("ehlo")];

  it.each<[string, Reply | "partial", string, number | undefined]>([
    ["a reply", { code: 250, lines: ["x"] }, "a reply (250)", undefined],
    ["a refusal", { code: 550, lines: ["pencil-case"] }, "a reply (550)", 550],
    ["half a reply", "partial", "part of a reply", undefined],
  ])("ends the session before a group leaves: %s", async (_, found, what, code) => {
    const connection = new Scripted(ok, ok, ok);
    connection.unasked.push(undefined, found);
    const { error, shown } = await failure(connection, ...before, write("MAIL"), read("mail"));
    expect(error).toMatchObject({ code: "protocol_error", phase: "mail", unsent: false });
    expect(error.message).toBe(`The server sent ${what} that answers no command.`);
    expect(error.reply?.code).toBe(code);
    expect(JSON.stringify(error.reply ?? "")).not.toContain("pencil-case");
    expect(connection.wire).toEqual(["EHLO a\r\n"]);
    expect(shown.at(-1)?.startsWith("S: ")).toBe(found !== "partial");
  });

  it("may be 421 (RFC 5321 §3.8), even to the first group", async () => {
    const connection = new Scripted(ok);
    connection.unasked.push({ code: 421, lines: ["bye"] });
    const { error, shown } = await failure(connection, write("EHLO a"), read("ehlo"));
    expect(error).toMatchObject({ code: "connection_lost", phase: "ehlo", reply: { code: 421 } });
    expect(error.message).toBe("The server closed the session (421).");
    expect(shown.at(-1)).toBe("S: 421 bye");
  });
});

describe("whether a terminator may have left", () => {
  const gone = () => new SmtpError("connection_lost", "gone", { phase: "content" });

  async function unsent(demand: number, ...effects: readonly Effect[]): Promise<boolean> {
    const connection = new Scripted(ok, ok, ok);
    connection.failDemand.set(demand, gone());
    return (await failure(connection, ...effects, read("content"))).error.unsent;
  }
  const large = pieces([BLOCK + 2]);

  it("no: it waited in the group", async () => {
    expect(await unsent(0, pump(hello), commit, write("."))).toBe(true);
  });
  it("no: part of the content had left, and no terminator", async () => {
    // One block, then the end in the group of the terminator.
    expect(await unsent(1, pump(large), commit, write("."))).toBe(true);
  });
  it("nobody can say: there was none", async () => {
    expect(await unsent(0, write("NOOP"))).toBe(false);
    expect(await unsent(0, pump(hello))).toBe(false);
  });
  it("nobody can say: an earlier one of the same flight had left", async () => {
    const two = [pump(hello), commit, write("."), pump(large), commit, write(".")];
    expect(await unsent(1, ...two)).toBe(false);
  });
  it("a group that has left counts no more", async () => {
    const first = [pump(hello), commit, write("."), read("content")];
    expect(await unsent(1, ...first, write("NOOP"))).toBe(false);
    expect(await unsent(2, ...first, pump(large), commit, write("."))).toBe(true);
  });
  it("a fault of our own is not marked", async () => {
    const connection = new Scripted();
    const fault = new TypeError("of our own");
    connection.failDemand.set(0, fault);
    const effects = [pump(hello), commit, write("."), read("content")];
    await expect(drive(saying(...effects), as(connection), prepared().options)).rejects.toBe(fault);
    expect(fault).not.toHaveProperty("unsent");
  });
});

describe("content", () => {
  it("of which the end has none gets its line's end", async () => {
    const connection = new Scripted(ok);
    const content = { ...hello, size: 7, open: () => [Buffer.from("hello")] };
    const { options, shown } = prepared();
    await drive(saying(pump(content), write("."), read("content")), as(connection), options);
    expect(connection.wire).toEqual(["hello\r\n.\r\n"]);
    expect(shown()[0]).toBe("C: [7 octets of message content]");
  });

  it("leaves as it is read, in blocks, and its last one with the terminator", async () => {
    const connection = new Scripted(ok);
    const { options } = prepared();
    const content = pieces([2 * BLOCK]);
    await drive(saying(pump(content), write("."), read("content")), as(connection), options);
    expect(connection.written.map(({ octets }) => octets.length)).toEqual([BLOCK, BLOCK + 3]);
  });

  it("that has more than was announced is read no further", async () => {
    const content = pieces([10, 10, 10, 10], 15);
    const { error } = await failure(new Scripted(), pump(content));
    expect(error.message).toBe("The content was announced with 15 octets and has more.");
    expect(content.given).toBe(2);
  });

  it("of which an error is known keeps it", async () => {
    const known = new SmtpError("timeout", "Late.", { phase: "content" });
    const content: Content = {
      ...hello,
      open() {
        throw known;
      },
    };
    expect((await failure(new Scripted(), pump(content))).error).toBe(known);
  });
});

describe("a verdict before the content's end", () => {
  const content = () => pieces([BLOCK, BLOCK, BLOCK, BLOCK]);
  const early = { code: 552, lines: ["enough of pencil-case"] };

  it.each([
    [552, "content_refused", "The server refused the content before its end."],
    [400, "content_refused", "The server refused the content before its end."],
    [399, "protocol_error", "The server answered 399 before the content's end."],
  ])("%i counts as %s", async (code, kind, message) => {
    const connection = new Scripted(ok);
    connection.unasked.push(undefined, { ...early, code });
    const { error, shown } = await failure(connection, pump(content()), read("content"));
    expect(error).toMatchObject({ code: kind, phase: "content", message });
    expect(connection.written).toHaveLength(1);
    expect(shown.at(-1)).toMatch(new RegExp(`^S: ${code} enough`));
    expect(JSON.stringify([shown, error.reply ?? ""])).not.toContain("pencil-case");
    expect(error.reply?.code).toBe(kind === "content_refused" ? code : undefined);
  });

  it("is none while only half of it is there", async () => {
    const connection = new Scripted(ok);
    connection.unasked.push(undefined, "partial", "partial", "partial");
    const { options } = prepared();
    const answers = await drive(saying(pump(content()), read("content")), as(connection), options);
    expect(answers.at(-1)).toEqual(ok);
  });

  it("is none before any of it has left", async () => {
    const connection = new Scripted(ok);
    connection.unasked.push(early);
    const { error } = await failure(connection, pump(content()), read("content"));
    expect(error.code).toBe("protocol_error");
    expect(connection.written).toHaveLength(0);
  });

  it("is not looked for between chunks: BDAT has a reply each (RFC 3030 §2)", async () => {
    const connection = new Scripted(ok);
    connection.unasked.push(undefined, early, early, early);
    const { options } = prepared();
    const answers = await drive(
      saying(pump(content(), "bdat"), read("content")),
      as(connection),
      options,
    );
    expect(answers.at(-1)).toEqual(ok);
    expect(connection.looks).toBe(1);
  });

  it("tells why a write failed", async () => {
    const gone = new SmtpError("connection_lost", "gone", { phase: "content" });
    const failed = async (framing: "data" | "bdat", found: Reply | "partial" | undefined) => {
      const connection = new Scripted(ok);
      connection.failWrite.set(1, gone);
      if (framing === "data") connection.unasked.push(undefined, undefined, found);
      else connection.unasked.push(undefined, found);
      return (await failure(connection, pump(content(), framing), read("content"))).error;
    };
    expect(await failed("data", early)).toMatchObject({ code: "content_refused" });
    expect(await failed("data", "partial")).toBe(gone);
    expect(await failed("data", undefined)).toBe(gone);
    expect(await failed("bdat", early)).toBe(gone);
  });
});
