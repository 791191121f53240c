/**
 * The vocabulary between the protocol and the driver. The conversation is a generator that yields
 * an {@link Effect} and is resumed with its answer; it never sees a socket, a clock or a secret's
 * plain text in anything it shows. The driver (io/driver.ts) is the only interpreter in production,
 * test/support/player.ts the only one in tests.
 */
import type { Content } from "./data.ts";
import type { Reply } from "./reply.ts";

/** Where in the conversation a reply is awaited; it picks the deadline and, later, the verdict. */
export type Phase =
  | "connect"
  | "tls"
  | "greeting"
  | "ehlo"
  | "starttls"
  | "auth"
  | "mail"
  | "rcpt"
  | "data"
  | "content"
  | "rset"
  /** The answer to a QUIT that left with content. */
  | "quit"
  /** The answer to a QUIT that left by itself. */
  | "farewell";

/** Bytes for the wire beside the text the transcript may show of them: redacted where it is born. */
export interface Line {
  readonly bytes: Uint8Array;
  readonly shown: string;
  /** The part of `bytes` that must never be seen again, not even if the server echoes it. */
  readonly secret?: string;
}

/** What is known of a TLS channel once its handshake has been verified. */
export interface Channel {
  readonly protocol: string;
  readonly cipher: string;
  /** Channel bindings this channel can offer, strongest first (RFC 9266, RFC 5929 §4). */
  readonly bindings: readonly ChannelBinding[];
}

export interface ChannelBinding {
  readonly type: "tls-exporter" | "tls-server-end-point";
  readonly data: Uint8Array;
}

export type Effect =
  /** Append to the current group. Nothing leaves before the next `read`, so a group is one write. */
  | { readonly do: "write"; readonly line: Line }
  /** Send the group, then await one reply. */
  | { readonly do: "read"; readonly phase: Phase }
  /** Append content; the driver may send early where it is large, and owns backpressure. */
  | { readonly do: "pump"; readonly content: Content; readonly framing: "data" | "bdat" }
  /** Await the ledger for this message: the terminator (or the last octet of BDAT LAST) follows. */
  | { readonly do: "commit"; readonly message: number }
  /** Upgrade to TLS; refused if undecoded bytes remain (RFC 3207 §4.2, response injection). */
  | { readonly do: "secure" };

export type Answer = Reply | Channel | undefined;

export type Step<T> = Generator<Effect, T, Answer>;

export function* read(phase: Phase): Step<Reply> {
  return (yield { do: "read", phase }) as Reply;
}

export function* secure(): Step<Channel> {
  return (yield { do: "secure" }) as Channel;
}
