/** What the diagram is drawn from: flights, phases and bands, of conversations written down here. */
import { describe, expect, it } from "vitest";
import { conversationOf, dialogueOf, stepOf } from "../../infra/local/page/conversation.ts";
import type { Entry } from "../../lib/smtp/transcript.ts";
import { parseDialogue } from "../support/dialogue.ts";

/** `12.5 S 220 hello`, a line each. */
function transcript(text: string): readonly Entry[] {
  return text
    .trim()
    .split("\n")
    .map((line) => {
      const [, at, from, said = ""] = /^\s*([\d.]+) ([SC]) (.*)$/.exec(line) ?? [];
      return { at: Number(at), from: from === "C" ? "C" : "S", text: said };
    });
}

const timing = (totalMs: number, connectMs = 0, tlsMs = 0) => ({
  ...{ totalMs, connectMs, tlsMs, authMs: 0, transactionMs: 0, roundTrips: 0 },
});

const PIPELINED = transcript(`
  10 S 220 server
  11 C EHLO client
  20 S 250-server
  20 S 250 PIPELINING
  21 C AUTH PLAIN ***
  21 C MAIL FROM:<a@x>
  21 C RCPT TO:<b@x>
  21 C DATA
  30 S 235 ok
  31 S 250 ok
  32 S 250 ok
  33 S 354 go on
  34 C [5 octets of message content]
  34 C .
  34 C QUIT
  50 S 250 queued
  51 S 221 bye`);

describe("a conversation", () => {
  it("has the client's lines of one write together", () => {
    const { flights } = conversationOf({ transcript: PIPELINED, timing: timing(50, 2, 5) });
    expect(flights.map(({ from, lines }) => `${from}${lines.length}`)).toEqual([
      ...["S1", "C1", "S2", "C4", "S4", "C3", "S2"],
    ]);
    expect(flights[3]).toMatchObject({ begins: 21, ends: 21 });
  });

  it("gives every reply the phase of its command, though they come together", () => {
    const { flights, unanswered } = conversationOf({ transcript: PIPELINED, timing: timing(50) });
    const phases = flights.flatMap(({ lines }) => lines.map(({ phase }) => phase));
    expect(phases).toEqual([
      ...["greeting", "ehlo", "ehlo", "ehlo"],
      ...["auth", "envelope", "envelope", "envelope", "auth", "envelope", "envelope", "envelope"],
      ...["content", "content", "quit", "content", "quit"],
    ]);
    expect(unanswered).toBe(false);
  });

  it("divides all of its time, without gaps", () => {
    const { bands, endsAt } = conversationOf({ transcript: PIPELINED, timing: timing(50, 2, 5) });
    expect(bands.slice(0, 4)).toEqual([
      { phase: "connect", from: 0, to: 2 },
      { phase: "tls", from: 2, to: 7 },
      { phase: "greeting", from: 7, to: 10 },
      { phase: "ehlo", from: 10, to: 20 },
    ]);
    for (const [index, band] of bands.entries()) {
      expect(band.from).toBe(bands[index - 1]?.to ?? 0);
    }
    expect(bands.at(-1)?.to).toBe(endsAt);
    expect(endsAt).toBe(51);
  });

  it("has the handshake of STARTTLS where it was", () => {
    const lines = transcript(`
      5 S 220 server
      6 C EHLO client
      7 S 250 STARTTLS
      8 C STARTTLS
      9 S 220 go
      20 C EHLO client
      22 S 250 ok`);
    const { bands } = conversationOf({ transcript: lines, timing: timing(22, 1, 10) });
    expect(bands).toContainEqual({ phase: "starttls", from: 7, to: 9 });
    expect(bands).toContainEqual({ phase: "tls", from: 9, to: 19 });
    expect(bands.filter(({ phase }) => phase === "tls")).toHaveLength(1);
  });

  it("takes an answer to 334 for what it is, and two sessions for two", () => {
    const lines = transcript(`
      1 S 220 server
      2 C AUTH LOGIN
      3 S 334 VXNlcm5hbWU6
      4 C ***
      5 S 535 no
      6 C QUIT
      7 S 221 bye
      8 S 220 server
      9 C EHLO client`);
    const { flights } = conversationOf({ transcript: lines, timing: timing(9) });
    const phases = flights.flatMap(({ lines: own }) => own.map(({ phase }) => phase));
    expect(phases).toEqual([
      ...["greeting", "auth", "auth", "auth", "auth", "quit", "quit", "greeting", "ehlo"],
    ]);
  });

  it("says that no reply came, and in which phase it was waited for", () => {
    const lost = PIPELINED.slice(0, -2);
    const { unanswered, bands } = conversationOf({ transcript: lost, timing: timing(90) });
    expect(unanswered).toBe(true);
    expect(bands.at(-1)).toMatchObject({ phase: "content", to: 90 });
    const parting = conversationOf({ transcript: PIPELINED.slice(0, -1), timing: timing(50) });
    expect(parting.unanswered).toBe(false);
  });

  it("without a line was still connecting, or in the handshake", () => {
    const bands = (connectMs: number) =>
      conversationOf({ transcript: [], timing: timing(8, connectMs) }).bands;
    expect(bands(0)).toEqual([{ phase: "connect", from: 0, to: 8 }]);
    expect(bands(3)).toEqual([
      { phase: "connect", from: 0, to: 3 },
      { phase: "tls", from: 3, to: 8 },
    ]);
    expect(conversationOf({ transcript: [], timing: timing(0) }).bands).toEqual([]);
  });

  it("copied, is a dialogue that the tests can read", () => {
    const { lines } = parseDialogue("copied", `# RFC 5321: copied\n${dialogueOf(PIPELINED)}`);
    expect(lines.map(({ from, text }) => `${from} ${text}`)).toEqual(
      PIPELINED.map(({ from, text }) => `${from} ${text}`),
    );
  });
});

describe("a ruler's step", () => {
  it.each([
    [100, 5, 20],
    [103, 6, 20],
    [8000, 6, 2000],
    [3, 6, 0.5],
    [0, 6, 0.001],
  ])("of %f in about %i is %f", (length, ticks, step) => {
    expect(stepOf(length, ticks)).toBeCloseTo(step, 6);
  });
});
