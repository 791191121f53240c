/**
 * Mailboxes of a warm instance: each secret is read once in a while, by one caller at a time, and its
 * last good content serves while Secrets Manager does not answer. Credentials that a server refused
 * are remembered, so that no account is ever locked by trying again.
 */
import { inTime } from "./in-time.ts";
import { type Mailbox, MailboxError, parseMailboxSecret } from "./mailbox.ts";
import { SecretError, type SecretReader, type SharedState } from "./ports.ts";

/** How long refused credentials rest, in milliseconds. */
const REFUSED_REST_MS = 15 * 60_000;
/** While credentials rest, the secret is looked at this often: it may have been mended. */
const REFUSED_LOOK_MS = 10_000;
/** How long a read ahead may take by the wall clock before it counts as lost. */
const AHEAD_MS = 5_000;

interface Held {
  readonly mailbox: Mailbox;
  readonly readAt: number;
}

export interface MailboxesOptions {
  readonly secrets: SecretReader;
  readonly cacheSeconds: number;
  /** Milliseconds on a clock that does not jump. */
  readonly now: () => number;
  /** Where other instances say which credentials were refused; absent: this one knows only its own. */
  readonly shared?: (() => Promise<SharedState>) | undefined;
}

export class Mailboxes {
  readonly #options: MailboxesOptions;
  readonly #held = new Map<string, Held>();
  readonly #flights = new Map<string, Promise<Mailbox>>();
  readonly #refused = new Map<string, { readonly until: number; readonly message: string }>();
  readonly #proven = new Set<string>();
  readonly #trials = new Map<string, Promise<void>>();
  /** Reads that nobody has asked for yet: when they began, by the wall clock. */
  readonly #ahead = new Map<string, number>();

  constructor(options: MailboxesOptions) {
    this.#options = options;
  }

  /** Reads a secret before anybody asks for it; a failure is told to whoever does. */
  prefetch(id: string): void {
    this.#ahead.set(id, Date.now());
    this.#read(id).catch(() => {});
  }

  /**
   * @param milliseconds how long it may take
   * @throws MailboxError
   */
  async load(id: string, milliseconds = Number.POSITIVE_INFINITY): Promise<Mailbox> {
    this.#dropLost(id);
    const held = this.#held.get(id);
    if (held === undefined) return this.#readIn(milliseconds, id);
    const age = this.#options.now() - held.readAt;
    const life = this.#options.cacheSeconds * 1000;
    const limit = this.refusal(held.mailbox) ? Math.min(REFUSED_LOOK_MS, life) : life;
    if (age < limit) return held.mailbox;
    return this.#readOrStale(id, held.mailbox, milliseconds);
  }

  /** Read the secret now: has it changed? Its last good content where it cannot be read. */
  async refresh(
    id: string,
    refused: Mailbox,
    milliseconds = Number.POSITIVE_INFINITY,
  ): Promise<Mailbox> {
    const held = this.#held.get(id)?.mailbox;
    // Another submission may have seen the rotation first.
    if (held !== undefined && held.fingerprint !== refused.fingerprint) return held;
    return this.#readOrStale(id, refused, milliseconds);
  }

  /** Remember that a server refused these credentials, and let other instances know. */
  async refuse(mailbox: Mailbox, message: string): Promise<void> {
    this.#proven.delete(mailbox.fingerprint);
    const until = this.#options.now() + REFUSED_REST_MS;
    this.#refused.set(mailbox.fingerprint, { until, message });
    const expires = Math.floor((Date.now() + REFUSED_REST_MS) / 1000);
    await this.#ask((shared) => shared.note(refusedKey(mailbox), message, expires));
  }

  /** Why these credentials must rest, by this instance's knowledge or, unproven, by any other's. */
  async resting(mailbox: Mailbox): Promise<string | undefined> {
    const own = this.refusal(mailbox);
    if (own !== undefined || this.#proven.has(mailbox.fingerprint)) return own;
    return this.#ask((shared) => shared.recall(refusedKey(mailbox)));
  }

  /** Why these credentials must rest, or `undefined`. */
  refusal(mailbox: Mailbox): string | undefined {
    const found = this.#refused.get(mailbox.fingerprint);
    if (found === undefined) return undefined;
    if (found.until > this.#options.now()) return found.message;
    this.#refused.delete(mailbox.fingerprint);
    return undefined;
  }

  /**
   * Run `attempt` with these credentials. Until they have worked once, one attempt runs at a time:
   * a wrong password then costs one login however many submissions wait.
   */
  async guarded<T>(
    mailbox: Mailbox,
    attempt: () => Promise<{ value: T; proven: boolean }>,
  ): Promise<T> {
    const key = mailbox.fingerprint;
    for (let trial = this.#trials.get(key); trial; trial = this.#trials.get(key)) await trial;
    if (this.#proven.has(key)) return (await attempt()).value;
    const run = attempt();
    const ended = run.then(
      ({ proven }) => {
        if (proven) this.#proven.add(key);
      },
      () => {},
    );
    this.#trials.set(key, ended);
    try {
      return (await run).value;
    } finally {
      await ended;
      this.#trials.delete(key);
    }
  }

  /** The table is a help here, not a condition: without it an instance goes by what it knows. */
  async #ask<T>(question: (shared: SharedState) => Promise<T>): Promise<T | undefined> {
    try {
      const shared = await this.#options.shared?.();
      return shared && (await question(shared));
    } catch {
      return undefined;
    }
  }

  /**
   * An instance may be frozen between its init and its first invocation, for hours: an answer that had
   * not come by then never will, one that had may be old, and the monotonic clock may have stood still.
   */
  #dropLost(id: string): void {
    const begun = this.#ahead.get(id);
    if (begun === undefined) return;
    this.#ahead.delete(id);
    const life = this.#held.has(id) ? this.#options.cacheSeconds * 1000 : AHEAD_MS;
    if (Date.now() - begun < life) return;
    this.#held.delete(id);
    this.#flights.delete(id);
  }

  async #readOrStale(id: string, last: Mailbox, milliseconds: number): Promise<Mailbox> {
    try {
      return await this.#readIn(milliseconds, id);
    } catch (error) {
      if (error instanceof MailboxError && error.retryable) return last;
      throw error;
    }
  }

  #readIn(milliseconds: number, id: string): Promise<Mailbox> {
    const flight = this.#read(id);
    return inTime(flight, milliseconds, () => {
      // The instance may be frozen before it ends: whoever asks next asks anew.
      if (this.#flights.get(id) === flight) this.#flights.delete(id);
      const why = "could not be read in the time that this invocation had left";
      return new MailboxError("mailbox_unavailable", `The secret ${id} ${why}.`, true);
    });
  }

  #read(id: string): Promise<Mailbox> {
    const under = this.#flights.get(id);
    if (under !== undefined) return under;
    const flight = this.#fetch(id).finally(() => {
      if (this.#flights.get(id) === flight) this.#flights.delete(id);
    });
    this.#flights.set(id, flight);
    return flight;
  }

  async #fetch(id: string): Promise<Mailbox> {
    let found: { readonly secret: string; readonly version: string };
    try {
      found = await this.#options.secrets.read(id);
    } catch (error) {
      if (!(error instanceof SecretError)) throw error;
      if (error.kind === "missing") throw new MailboxError("mailbox_unknown", error.message);
      throw new MailboxError("mailbox_unavailable", error.message, error.kind === "unavailable");
    }
    const mailbox = parseMailboxSecret(found.secret, `${id}#${found.version}`);
    this.#held.set(id, { mailbox, readAt: this.#options.now() });
    return mailbox;
  }
}

function refusedKey(mailbox: Mailbox): string {
  return `refused#${mailbox.source}`;
}
