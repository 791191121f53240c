/**
 * What a submission needs from outside, as the smallest interfaces that serve it. Adapters implement
 * them (lib/aws, lib/smtp/io); functions/wiring.ts hands them in.
 */
import type { X509Certificate } from "node:crypto";
import type { Submission } from "../smtp/envelope.ts";
import type { SessionReport, Timing } from "../smtp/report.ts";
import type { Entry } from "../smtp/transcript.ts";
import type { Mailbox } from "./mailbox.ts";
import type { OAuth2 } from "./token.ts";

export interface SecretReader {
  /**
   * The secret's current string, and the name of its version: not secret, and another one after
   * each change.
   * @throws SecretError
   */
  read(id: string): Promise<{ readonly secret: string; readonly version: string }>;
}

/** What instances must know of one another; kept beside the ledger. */
export interface SharedState {
  /**
   * Count `amount` more under `key`, unless that would exceed `most`. False where it would: nothing
   * is counted then.
   * @param expires seconds since the epoch
   */
  count(key: string, amount: number, most: number, expires: number): Promise<boolean>;
  /** Remember a text until then; nothing secret. @param expires seconds since the epoch */
  note(key: string, text: string, expires: number): Promise<void>;
  recall(key: string): Promise<string | undefined>;
}

/** Why a secret could not be read. `missing` will not mend itself. */
export class SecretError extends Error {
  override readonly name = "SecretError";
  readonly kind: "missing" | "denied" | "unavailable";

  constructor(kind: SecretError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}

export interface Target {
  readonly endpoints: Mailbox["endpoints"];
  readonly tls: Mailbox["tls"];
  readonly proxy?: string | undefined;
  readonly ehloName: string;
  readonly credentials?: {
    readonly username: string;
    readonly password?: string;
    readonly token?: string;
    readonly certificate?: boolean;
  };
  readonly auth?: readonly string[];
  readonly allowPlaintextAuth: boolean;
  readonly chunking: "auto" | "off";
  readonly secrets: readonly string[];
}

export interface Sent {
  readonly report: SessionReport;
  readonly endpoint: Mailbox["endpoints"][number];
  readonly tls:
    | {
        readonly protocol: string;
        readonly cipher: string;
        /** The one that was verified. */
        readonly certificate?: X509Certificate | undefined;
      }
    | undefined;
  readonly timing: Timing;
  readonly transcript: readonly Entry[];
  readonly scrub: (text: string) => string;
  /** `performance.now()` when it began. */
  readonly begun: number;
}

export interface SendOptions {
  /** The session before, of the same submission: transcript and clock go on from it. */
  readonly after?: Pick<Sent, "transcript" | "timing" | "begun"> | undefined;
  readonly timeLeft: number;
  readonly signal?: AbortSignal | undefined;
  readonly commit?: ((message: number) => Promise<void>) | undefined;
}

export interface Relay {
  /** Never rejects for what a server or the network does: the report tells. */
  send(target: Target, submissions: readonly Submission[], options: SendOptions): Promise<Sent>;
  /** Connects before the mailbox is known, where and when that may help. Never fails. */
  prepare?(options: Pick<SendOptions, "timeLeft">): void;
  /** Lets go of what was prepared and not used. */
  release?(): Promise<void>;
}

export interface TokenSource {
  /** @throws TokenError */
  get(oauth2: OAuth2, signal?: AbortSignal): Promise<string>;
  invalidate(oauth2: OAuth2, refused: string): void;
}
