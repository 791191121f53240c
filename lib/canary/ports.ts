/** What a delivery check needs from outside: the watched mailbox, and a memory between its runs. */

/** Why the watched mailbox could not be looked into; nothing is judged then. */
export class WatchError extends Error {
  override readonly name = "WatchError";
  /**
   * `watch_login_refused`: the password. `watch_certificate_invalid`: its certificate is not trusted.
   * `watch_unreachable`: no connection, no TLS. `watch_timeout`: it is slow. `watch_failed`: anything
   * else that the server said or did.
   */
  readonly code:
    | "watch_login_refused"
    | "watch_certificate_invalid"
    | "watch_unreachable"
    | "watch_timeout"
    | "watch_failed";

  constructor(code: WatchError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** A probe that lies in the watched mailbox. */
export interface Sighting {
  readonly id: string;
  readonly folder: string;
  /** It lies where spam goes. */
  readonly spam: boolean;
  /** When the server took it in, in milliseconds since the epoch; servers tell whole seconds. */
  readonly arrivedAt: number;
  readonly uid: number;
}

export interface Inbox {
  /** All probes in the inbox and in folders for spam. @throws WatchError */
  look(since: Date): Promise<readonly Sighting[]>;
  /** Delete them for good. @throws WatchError */
  remove(found: readonly Sighting[]): Promise<void>;
  /** Until something arrives, or so many milliseconds. @throws WatchError */
  wait(milliseconds: number): Promise<void>;
  close(): Promise<void>;
}

/** A probe on its way, as it is remembered from one run to the next. */
export interface Probe {
  readonly id: string;
  /** When it was sent, in milliseconds since the epoch. */
  readonly sentAt: number;
  /** It was late before it was found, and counted as that. */
  readonly late?: boolean;
  /** It was found: what comes of it now is another copy. */
  readonly found?: boolean;
}

export interface Memory {
  read(): Promise<readonly Probe[]>;
  write(probes: readonly Probe[]): Promise<void>;
}
