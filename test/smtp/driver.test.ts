/** What only a real socket can show: when the server is gone, and what it says before it should. */
import { createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { Content } from "../../lib/smtp/data.ts";
import { contentOf } from "../../lib/smtp/data.ts";
import type { Submission } from "../../lib/smtp/envelope.ts";
import { SmtpError } from "../../lib/smtp/error.ts";
import { Connection } from "../../lib/smtp/io/connection.ts";
import { drive } from "../../lib/smtp/io/driver.ts";
import { Stopwatch } from "../../lib/smtp/io/stopwatch.ts";
import { Redactor } from "../../lib/smtp/redact.ts";
import { type SessionPlan, session } from "../../lib/smtp/session.ts";
import { Transcript } from "../../lib/smtp/transcript.ts";
import { fates } from "../support/dialogue.ts";

const plan: SessionPlan = {
  security: "none",
  ehloName: "client.test",
  host: "server.test",
  port: 25,
  allowPlaintextAuth: false,
  chunking: "off",
  nonce: () => "nonce",
};

function message(content: Content): Submission {
  return {
    from: "s@x.test",
    recipients: ["r@x.test"],
    content,
    partial: "accept",
    smtputf8: false,
  };
}

const releases: (() => void)[] = [];
afterEach(() => {
  for (const release of releases.splice(0)) release();
});

/** A server that takes one message up to 354; what then happens, the test decides. */
async function invited(afterInvitation: (socket: Socket) => void, heard?: (text: string) => void) {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    releases.push(() => socket.destroy());
    socket.write("220 server.test\r\n");
    let content = false;
    socket.on("data", (octets) => {
      const text = octets.toString("latin1");
      heard?.(text);
      if (content) return;
      if (text.startsWith("EHLO")) socket.write("250-server.test\r\n250 PIPELINING\r\n");
      if (text.startsWith("MAIL")) {
        content = true;
        socket.write("250 ok\r\n250 ok\r\n354 go on\r\n");
        afterInvitation(socket);
      }
    });
  });
  releases.push(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const endsAt = performance.now() + 5000;
  return Connection.open({ host: "127.0.0.1", port }, { endsAt, helloBy: endsAt });
}

async function send(
  connection: Connection,
  content: Content,
  commit?: (message: number) => Promise<void>,
) {
  const redactor = new Redactor();
  const report = await drive(session(plan, [message(content)]), connection, {
    tls: {},
    transcript: new Transcript(redactor),
    redactor,
    watch: new Stopwatch(),
    commit,
  });
  // A person reads it.
  if (report.error) expect(report.error.message).toMatch(/^[A-Z].{20,}[^\s:]$/);
  return {
    fate: fates(report)[0]?.[0],
    code: report.error?.code,
    phase: report.error?.phase,
    message: report.error?.message,
  };
}

/** Until it holds: a turn of the loop at a time, no sleep. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

const hello = contentOf(Buffer.from("Subject: x\r\n\r\nhello\r\n"));

/** More than is held back, in pieces; the next is given once the test says so. */
function large(next: () => Promise<void>): Content {
  const piece = Buffer.from(`${"x".repeat(998)}\r\n`.repeat(100));
  return {
    size: piece.length * 10,
    eightBit: false,
    utf8Header: false,
    async *open() {
      for (let count = 0; count < 10; count += 1) {
        yield piece;
        if (count > 1) await next();
      }
    },
  };
}

describe("a server that goes before the dot leaves", () => {
  it("has certainly not taken the message", async () => {
    let heard = "";
    const connection = await invited(
      (socket) => socket.end(),
      (text) => {
        heard += text;
      },
    );
    const sent = await send(connection, hello, () => until(() => connection.ended));
    expect(sent).toMatchObject({
      fate: "unsent:connection_lost",
      code: "connection_lost",
      phase: "content",
    });
    expect(heard).not.toContain("hello");
  });

  it("has certainly not taken it though most of its content had left", async () => {
    const connection = await invited((socket) => socket.end());
    const content = large(async () => {});
    // All but the last piece and the dot may be gone when the server is.
    const sent = await send(connection, content, () => until(() => connection.ended));
    expect(sent.fate).toBe("unsent:connection_lost");
  });
});

describe("a server that speaks before the content's end", () => {
  async function early(reply: string) {
    let turns = 0;
    const connection = await invited((socket) => socket.on("data", () => socket.write(reply)));
    // The reply needs a few turns of the loop to come; ten thousand are plenty and no sleep.
    const content = large(() => until(() => ++turns % 500 === 0));
    return send(connection, content);
  }
  it.each([
    ["552 5.3.4 enough\r\n", "refused:content:552", "content_refused"],
    ["452 4.3.1 enough\r\n", "refused:content:452", "content_refused"],
    ["250 2.0.0 taken\r\n", "unsent:protocol_error", "protocol_error"],
    ["354 go on\r\n", "unsent:protocol_error", "protocol_error"],
    ["nonsense\r\n", "unsent:protocol_error", "protocol_error"],
  ])("%j: a verdict where it is one, and never a success", async (reply, fate, code) => {
    expect(await early(reply)).toMatchObject({ fate, code, phase: "content" });
  });
});

describe("content that is not what was announced", () => {
  it.each([
    ["shorter", 25],
    ["longer", 15],
  ])("is never ended with a dot: %s", async (_, size) => {
    let heard = "";
    const connection = await invited(
      () => {},
      (text) => {
        heard += text;
      },
    );
    const sent = await send(connection, { ...hello, size });
    expect(sent).toMatchObject({
      fate: "unsent:content_changed",
      phase: "content",
      message: `The content was announced with ${size} octets and has ${size === 25 ? 21 : "more"}.`,
    });
    expect(heard).not.toContain("\r\n.\r\n");
  });

  it("is never ended with a dot: it cannot be read", async () => {
    const connection = await invited(() => {});
    const content: Content = {
      ...hello,
      open() {
        throw new Error("gone");
      },
    };
    expect(await send(connection, content)).toMatchObject({
      code: "content_failed",
      phase: "content",
      message: "The content could not be read: gone",
    });
  });

  it("is never ended with a dot: whoever gives it says that it has changed", async () => {
    const connection = await invited(() => {});
    const changed = Object.assign(new Error("another version"), { name: "ContentChanged" });
    const content: Content = {
      ...hello,
      open() {
        throw changed;
      },
    };
    expect((await send(connection, content)).code).toBe("content_changed");
  });

  it("is never ended with a dot: the ledger did not record it", async () => {
    const connection = await invited(() => {});
    const sent = await send(connection, hello, () => Promise.reject(new Error("throttled")));
    expect(sent).toMatchObject({
      fate: "unsent:commit_failed",
      phase: "content",
      message: "The ledger did not record the send, so it was not made: throttled",
    });
  });

  it("is never ended with a dot: no time was left for the ledger", async () => {
    const connection = await invited(() => {});
    const late = new SmtpError("timeout", "The ledger did not record the send within 1 s.", {
      phase: "content",
    });
    const sent = await send(connection, hello, () => Promise.reject(late));
    expect(sent.fate).toBe("unsent:timeout");
  });
});
