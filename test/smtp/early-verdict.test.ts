/** What the conversation makes of content that the driver could not hand over to its end. */
import { describe, expect, it } from "vitest";
import { contentOf } from "../../lib/smtp/data.ts";
import { SmtpError } from "../../lib/smtp/error.ts";
import type { Reply } from "../../lib/smtp/reply.ts";
import { session } from "../../lib/smtp/session.ts";
import { fates } from "../support/dialogue.ts";

const replies: readonly Reply[] = [
  { code: 220, lines: ["server.test"] },
  { code: 250, lines: ["server.test", "PIPELINING"] },
  { code: 250, lines: ["ok"] },
  { code: 250, lines: ["ok"] },
  { code: 550, lines: ["no"] },
  { code: 354, lines: ["go on"] },
];

/** One message to two recipients, of whom the second is refused; its content fails with this. */
function sent(fault: Error) {
  const conversation = session(
    {
      security: "none",
      ehloName: "client.test",
      host: "server.test",
      port: 25,
      allowPlaintextAuth: false,
      chunking: "off",
      nonce: () => "nonce",
    },
    [
      {
        from: "s@x.test",
        recipients: ["a@x.test", "b@x.test"],
        content: contentOf(new Uint8Array(9)),
        partial: "accept",
        smtputf8: false,
      },
    ],
  );
  const waiting = [...replies];
  const written: string[] = [];
  let step = conversation.next();
  while (!step.done) {
    const effect = step.value;
    if (effect.do === "write") written.push(effect.line.shown);
    step =
      effect.do === "pump"
        ? conversation.throw(fault)
        : conversation.next(effect.do === "read" ? waiting.shift() : undefined);
  }
  const { error } = step.value;
  const said = { code: error?.code, message: error?.message };
  return { fates: fates(step.value)[0], ...said, last: written.at(-1) };
}

const refused = (code: number) =>
  new SmtpError("content_refused", "The server refused the content before its end.", {
    phase: "content",
    reply: { code, lines: ["enough"] },
  });

describe("content that is not handed over to its end", () => {
  it.each([552, 452])("is refused where the server said so: %s", (code) => {
    expect(sent(refused(code))).toMatchObject({
      fates: [`refused:content:${code}`, "refused:rcpt:550"],
      code: "content_refused",
      // Neither a dot nor QUIT: both would be content.
      last: "DATA",
    });
  });

  it.each(["content_failed", "content_changed", "connection_lost"] as const)(
    "is unsent where it was our own fault, or the network's: %s",
    (code) => {
      expect(
        sent(new SmtpError(code, "Something went wrong.", { phase: "content" })),
      ).toMatchObject({
        fates: [`unsent:${code}`, "refused:rcpt:550"],
        code,
        last: "DATA",
      });
    },
  );

  it("is no verdict without a reply", () => {
    const fault = new SmtpError("content_refused", "Without a reply.", { phase: "content" });
    expect(sent(fault).fates).toEqual(["unsent:content_refused", "refused:rcpt:550"]);
  });

  it("ends with a report whatever went wrong", () => {
    expect(sent(new TypeError("a bug"))).toEqual({
      fates: ["unsent:internal_error", "refused:rcpt:550"],
      code: "internal_error",
      message: "Unexpected error (TypeError).",
      last: "DATA",
    });
  });
});
