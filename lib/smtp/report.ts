/**
 * What became of each recipient of each message, as facts and not as verdicts: which reply to which
 * command settled it, or which fault left it open. Whether the terminator was written is known here,
 * so "lost" is never a guess.
 */
import type { Capabilities } from "./capabilities.ts";
import type { Obstacle } from "./envelope.ts";
import type { SmtpError } from "./error.ts";
import type { Learnt } from "./login.ts";
import type { Reply } from "./reply.ts";
import type { Channel } from "./step.ts";

export type Fate =
  /** The content was accepted with this recipient. */
  | { readonly is: "taken"; readonly reply: Reply }
  /** A 4xx or 5xx, and to what. */
  | {
      readonly is: "refused";
      readonly by: "mail" | "rcpt" | "data" | "content";
      readonly reply: Reply;
    }
  /** Was accepted by RCPT, then withdrawn with RSET since another recipient was refused. */
  | { readonly is: "withheld"; readonly reply: Reply }
  /** This server cannot carry the message as promised; nothing was sent. */
  | { readonly is: "impossible"; readonly obstacle: Obstacle }
  /** The terminator was handed over and no valid reply to it was read. */
  | { readonly is: "lost"; readonly error: SmtpError }
  /** Certainly not taken: the session ended before, or `error` is absent and another session may. */
  | { readonly is: "unsent"; readonly error?: SmtpError };

export interface RecipientReport {
  readonly address: string;
  readonly fate: Fate;
  /** The reply to this recipient's own RCPT, where one came. */
  readonly rcpt?: Reply;
}

export interface MessageReport {
  readonly recipients: readonly RecipientReport[];
  readonly notes: readonly string[];
}

export interface SessionReport {
  readonly capabilities: Capabilities | undefined;
  readonly channel: Channel | undefined;
  /** The mechanism that logged in. */
  readonly mechanism: string | undefined;
  /** Set where another session should go on with the messages, and heed this. */
  readonly learnt?: Learnt | undefined;
  /** One for each message, in their order. */
  readonly messages: readonly MessageReport[];
  /** What ended the session early. */
  readonly error: SmtpError | undefined;
}

/** Where the time of a send went. */
export interface Timing {
  /** Milliseconds from the start to the reply that settled the content, or to the fault. */
  readonly totalMs: number;
  readonly connectMs: number;
  readonly tlsMs: number;
  /** Login on its own; 0 where it shared the envelope's group. */
  readonly authMs: number;
  /** From the first MAIL to the last reply that settled content. */
  readonly transactionMs: number;
  readonly roundTrips: number;
}
