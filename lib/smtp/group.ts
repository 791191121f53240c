/**
 * Command groups (RFC 2920 §3.1). Commands are written, their replies expected in order; nothing is
 * sent until the group settles. Every status is checked, by the handler given with its command.
 */
import { SmtpError } from "./error.ts";
import { classOf, type Reply } from "./reply.ts";
import { type Line, type Phase, read, type Step } from "./step.ts";

interface Expected {
  readonly phase: Phase;
  readonly on: (reply: Reply) => void;
}

export class Group {
  /** Whether the server takes several commands at once; without it every command settles alone. */
  pipelining = false;
  readonly #expected: Expected[] = [];
  #closing: Reply | undefined;

  /** Queue a command that awaits one reply. */
  *send(line: Line, phase: Phase, on: (reply: Reply) => void): Step<void> {
    yield { do: "write", line };
    this.#expected.push({ phase, on });
    if (!this.pipelining) yield* this.settle();
  }

  /** Expect a reply to what was written by other means (content). */
  expect(phase: Phase, on: (reply: Reply) => void): void {
    this.#expected.push({ phase, on });
  }

  /**
   * Send the group and read every reply that it awaits.
   * @throws SmtpError when the conversation cannot go on; what was not read is then unknown.
   */
  *settle(): Step<void> {
    for (let next = this.#expected.shift(); next; next = this.#expected.shift()) {
      const reply: Reply = yield* this.#read(next.phase);
      // RFC 5321 §3.8: 421 may answer any command, and the server closes after it.
      if (reply.code === 421) this.#closing = reply;
      next.on(reply);
      if (this.#closing === undefined) continue;
      // Only a reply to content is still worth waiting for: it alone decides between "taken" and "lost".
      const awaitsContent = this.#expected.some(({ phase }) => phase === "content");
      if (!awaitsContent) throw closed(next.phase, this.#closing);
    }
  }

  *#read(phase: Phase): Step<Reply> {
    try {
      return yield* read(phase);
    } catch (error) {
      if (error instanceof SmtpError && this.#closing !== undefined) {
        throw closed(phase, this.#closing);
      }
      throw error;
    }
  }
}

/** A reply that is neither success nor failure where only these make sense. */
export function refuseIntermediate(reply: Reply, phase: Phase): void {
  if (classOf(reply) === "intermediate") {
    throw new SmtpError("protocol_error", `The server answered ${reply.code} in phase ${phase}.`, {
      phase,
      reply,
    });
  }
}

function closed(phase: Phase, reply: Reply): SmtpError {
  return new SmtpError("connection_lost", "The server closed the session (421).", { phase, reply });
}
