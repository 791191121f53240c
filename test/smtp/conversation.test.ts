/** A transcript as text, read back: each form to the line, and each octet that a line stands for. */
import { describe, expect, it } from "vitest";
import { dialogueLine, matches, readConversation } from "../../lib/smtp/dialogue.ts";

const octets = (line: string) =>
  Buffer.from(dialogueLine(line, 1)?.octets ?? []).toString("latin1");
const said = (text: string, tls = false) =>
  readConversation(text, tls).map(({ from, text: line }) => `${from}: ${line}`);

describe("a line", () => {
  it("says who spoke, and where it stands", () => {
    expect(dialogueLine("S: 220 hi", 7)).toMatchObject({ from: "S", text: "220 hi", number: 7 });
    expect(dialogueLine("C:EHLO a", 1)).toMatchObject({ from: "C", text: "EHLO a" });
    expect(dialogueLine("C: ", 1)).toMatchObject({ from: "C", text: "" });
    expect(dialogueLine("X: TLS", 1)).toMatchObject({ from: "X", text: "TLS" });
  });

  it.each(["", "# S: 220", "@ set S: 220", "see S: 220 hi", "D: x", "S 220", "S: 220\nS: 221"])(
    "%j is none",
    (line) => {
      expect(dialogueLine(line, 1)).toBeUndefined();
    },
  );

  it.each([
    ["S: 220 hi", "220 hi\r\n"],
    ["S: 220 hi\\x0A", "220 hi\n"],
    ["S: 220 hi\\z", "220 hi"],
    ["S: \\z220 hi", "\\z220 hi\r\n"],
    ["S: \\xff\\x00 é\\z", "\xff\x00 \xc3\xa9"],
    ["S: \\xfg", "\\xfg\r\n"],
  ])("%j is %j on the wire", (line, wire) => {
    expect(octets(line)).toBe(wire);
  });
});

describe("what a client said, held against what it should", () => {
  it.each([
    ["MAIL FROM:<a>", "MAIL FROM:<a>", true],
    ["MAIL FROM:<a>", "MAIL FROM:<b>", false],
    ["AUTH PLAIN ***", "AUTH PLAIN abc", true],
    ["AUTH PLAIN ***", "AUTH PLAIN ", false],
    ["AUTH PLAIN ***", "AUTH LOGIN abc", false],
    ["***", "abc", true],
    ["***", "", false],
    ["MAIL *** SIZE=1", "MAIL <a> SIZE=1", true],
    ["MAIL *** SIZE=1", "MAIL <a> SIZE=2", false],
    ["MAIL *** SIZE=1", "RCPT <a> SIZE=1", false],
    ["MAIL *** SIZE=1", "SIZE=1 MAIL ", false],
  ])("%j and %j: %s", (expected, actual, does) => {
    expect(matches(expected, actual)).toBe(does);
  });
});

describe("a conversation", () => {
  const spoken = ["S: 220 hi", "C: EHLO a", "S: 250 hi"];

  it("has its lines numbered as they stand in the text", () => {
    const text = `# of a server\n\n${spoken.join("\n")}`;
    expect(readConversation(text).map(({ number }) => number)).toEqual([3, 4, 5]);
  });

  it("keeps what only looks like what is printed around a line", () => {
    expect(said("S: 220 in 5 ms  S: x\nC: [3 lines cut here] is what I saw")).toEqual([
      "S: 220 in 5 ms  S: x",
      "C: [3 lines cut here] is what I saw",
    ]);
    expect(said("S: 220 hi\nC: no [3 lines cut here]")[1]).toBe("C: no [3 lines cut here]");
    expect(said("  1.0 ms  S:220 hi\r\n  2.0 ms C: EHLO a\r\n")).toEqual([
      "S: 220 hi",
      "C: EHLO a",
    ]);
  });

  it("may be coloured, and has no line with an end of its own in the middle", () => {
    const coloured = "\x1b[2m 1.0 ms\x1b[22m  \x1b[1;36mS: 220 hi\x1b[m";
    expect(said(coloured)).toEqual(["S: 220 hi"]);
    expect(said("S: 220 hi\nS: 250 a\rb")).toEqual(["S: 220 hi"]);
  });

  it.each(["C: EHLO a\nX: TLS\n", "", "{}", '{"transcript": []}', '{"result": null}'])(
    "in which no server speaks is none: %j",
    (text) => {
      expect(() => readConversation(text)).toThrow(
        "There is no conversation in it: no line begins with S:",
      );
    },
  );

  it("of which the middle was cut cannot be played", () => {
    expect(() => readConversation("S: 220 hi\nC: [12 lines cut here]\nS: 221 bye")).toThrow(
      "The middle of this conversation was cut, so it cannot be played.",
    );
  });

  it("that tells of the handshake itself has no other one", () => {
    expect(said(["X: TLS", ...spoken].join("\n"), true)).toEqual(["X: TLS", ...spoken]);
    expect(said(spoken.join("\n"), true)).toEqual(["X: TLS", ...spoken]);
    expect(said(spoken.join("\n"))).toEqual(spoken);
    expect(readConversation(spoken.join("\n"), true)[0]?.number).toBe(0);
  });

  describe("in a result", () => {
    const result = (lines: readonly string[], server?: object | null) =>
      ` \n${JSON.stringify({
        transcript: lines.map((line) => ({ from: line[0], text: line.slice(3) })),
        ...(server !== undefined && { server }),
      })}`;
    const upgrade = ["S: 220 hi", "C: STARTTLS", "S: 220 go", "C: EHLO a", "S: 250 hi"];

    it("is numbered by entry", () => {
      expect(readConversation(result(spoken)).map(({ number }) => number)).toEqual([1, 2, 3]);
    });

    it("begins with the handshake where there was one and no STARTTLS asked for it", () => {
      const tls = { tls: { protocol: "TLSv1.3" } };
      expect(said(result(spoken, tls))).toEqual(["X: TLS", ...spoken]);
      expect(said(result(spoken, null))).toEqual(spoken);
      expect(said(result(spoken))).toEqual(spoken);
      expect(said(result(upgrade, tls))).toEqual([
        ...upgrade.slice(0, 3),
        "X: TLS",
        ...upgrade.slice(3),
      ]);
      // The server names it, the client does not ask for it.
      const offered = ["S: STARTTLS", ...spoken];
      expect(said(result(offered, tls))).toEqual(["X: TLS", ...offered]);
    });
  });

  it.each([
    ["refused", ["C: STARTTLS", "S: 454 not now", "C: QUIT"]],
    ["answered with what only looks like success", ["C: STARTTLS", "S: 5220 no", "C: QUIT"]],
    ["the reply's first line of several", ["C: STARTTLS", "S: 220-go", "C: EHLO a"]],
    ["the last that was said", ["C: STARTTLS", "S: 220 go"]],
    ["followed by more of the server", ["C: STARTTLS", "S: 220 go", "S: 250 more"]],
    ["told of the server", ["S: STARTTLS", "S: 220 go", "C: EHLO a"]],
    ["not asked for", ["C: NOOP", "S: 220 go", "C: EHLO a"]],
    ["not answered", ["C: STARTTLS", "C: 220 go", "C: EHLO a"]],
  ])("STARTTLS %s: no handshake", (_, lines) => {
    const all = ["S: 220 hi", ...lines];
    expect(said(all.join("\n"))).toEqual(all);
  });

  it("STARTTLS may be answered by a code alone", () => {
    const all = ["S: 220 hi", "C: STARTTLS", "S: 220", "C: EHLO a"];
    expect(said(all.join("\n"))).toEqual([...all.slice(0, 3), "X: TLS", ...all.slice(3)]);
  });
});
