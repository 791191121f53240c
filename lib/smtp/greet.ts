/**
 * From the greeting to usable capabilities: EHLO with HELO behind it (RFC 5321 §3.2, §4.1.1.1), and
 * TLS by STARTTLS where it is asked for, which is then required (RFC 3207, RFC 8314 §3).
 */
import { type Capabilities, capabilities } from "./capabilities.ts";
import { command } from "./command.ts";
import { SmtpError } from "./error.ts";
import { refuseIntermediate } from "./group.ts";
import { classOf } from "./reply.ts";
import { type Channel, read, type Step, secure } from "./step.ts";

export type Security = "implicit" | "starttls" | "none";

export interface Welcome {
  readonly capabilities: Capabilities;
  readonly channel: Channel | undefined;
}

export function* greet(security: Security, ehloName: string): Step<Welcome> {
  let channel = security === "implicit" ? yield* secure() : undefined;
  const greeting = yield* read("greeting");
  if (classOf(greeting) !== "success") {
    throw new SmtpError("greeting_refused", "The server refused the session in its greeting.", {
      phase: "greeting",
      reply: greeting,
    });
  }
  let offered = yield* ehlo(ehloName);
  if (security === "starttls") {
    channel = yield* starttls(offered);
    // RFC 3207 §4.2: everything learned before the handshake is dropped.
    offered = yield* ehlo(ehloName);
  }
  return { capabilities: offered, channel };
}

function* ehlo(name: string): Step<Capabilities> {
  yield { do: "write", line: command("EHLO", name) };
  const reply = yield* read("ehlo");
  refuseIntermediate(reply, "ehlo");
  if (classOf(reply) === "success") return capabilities(reply);
  if (classOf(reply) === "permanent") {
    // RFC 5321 §3.2: a server without extensions refuses EHLO and takes HELO.
    yield { do: "write", line: command("HELO", name) };
    const plain = yield* read("ehlo");
    refuseIntermediate(plain, "ehlo");
    if (classOf(plain) === "success") return capabilities(undefined);
  }
  throw new SmtpError("ehlo_refused", "The server refused EHLO.", { phase: "ehlo", reply });
}

function* starttls(offered: Capabilities): Step<Channel> {
  if (!offered.has("STARTTLS")) {
    throw new SmtpError(
      "starttls_unavailable",
      'The server does not offer STARTTLS, which the mailbox requires. Check "host" and "port"; "security" may have to be "implicit".',
      { phase: "starttls" },
    );
  }
  yield { do: "write", line: command("STARTTLS") };
  const reply = yield* read("starttls");
  if (classOf(reply) !== "success") {
    throw new SmtpError("starttls_refused", "The server offered STARTTLS and then refused it.", {
      phase: "starttls",
      reply,
    });
  }
  return yield* secure();
}
