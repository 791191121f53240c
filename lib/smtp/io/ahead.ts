/**
 * Connecting before it is known to whom: TCP, TLS and EHLO to the relay that the environment names, while
 * the secret is still being read. Nothing is lost if it fails (the send connects as ever, and tells
 * why that failed), and nothing goes over it that is secret: whether it may be used is decided once
 * the secret is there, and a connection that may not is closed before AUTH.
 */
import { greet, type Security } from "../greet.ts";
import { Redactor } from "../redact.ts";
import type { Answer } from "../step.ts";
import { type Entry, Transcript } from "../transcript.ts";
import { Connection, type TlsSettings } from "./connection.ts";
import { type Limits, within } from "./deadline.ts";
import type { AddressBook, Endpoint } from "./dns.ts";
import { begin } from "./driver.ts";
import { Stopwatch } from "./stopwatch.ts";
import type { TlsSessionStore } from "./tls-sessions.ts";

export interface AheadTarget {
  readonly endpoint: Endpoint & { readonly security: Security };
  readonly ehloName: string;
}

/** A connection that has said EHLO. */
export interface Greeted {
  readonly connection: Connection;
  /** What the conversation was answered so far. */
  readonly said: readonly Answer[];
  readonly transcript: readonly Entry[];
  readonly watch: Stopwatch;
  /** On that clock, when it was. */
  readonly readyMs: number;
}

/** Milliseconds for which a greeted connection is good: Amazon SES closes an idle one after 10 s. */
const GOOD_MS = 5_000;

/** One connection in the whole life of an instance, and never longer than an invocation. */
export class Ahead {
  readonly #target: AheadTarget;
  readonly #addresses: AddressBook;
  readonly #sessions: TlsSessionStore;
  readonly #abort = new AbortController();
  #pending: Promise<Greeted | undefined> | undefined;
  #connection: Connection | undefined;
  #begun = false;

  constructor(target: AheadTarget, addresses: AddressBook, sessions: TlsSessionStore) {
    this.#target = target;
    this.#addresses = addresses;
    this.#sessions = sessions;
  }

  /** Does nothing the second time. @param timeLeft milliseconds */
  begin(timeLeft: number): void {
    if (this.#begun) return;
    this.#begun = true;
    // It cannot reject: what goes wrong is told by the connection that the send then makes.
    this.#pending = this.#greet(timeLeft).catch(() => undefined);
  }

  /**
   * The connection, if it is to this endpoint as this mailbox would make it. Waits for one that is
   * under way: another would be no faster. Who gets it has to close it.
   */
  async take(
    {
      endpoint,
      ehloName,
      tls,
      proxy,
    }: AheadTarget & { tls: TlsSettings; proxy?: string | undefined },
    limits: Limits,
  ): Promise<Greeted | undefined> {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending === undefined) return undefined;
    const own = this.#target;
    const same =
      endpoint.host.toLowerCase() === own.endpoint.host.toLowerCase() &&
      endpoint.port === own.endpoint.port &&
      endpoint.security === own.endpoint.security &&
      ehloName === own.ehloName &&
      proxy === undefined &&
      Object.values(tls).every((setting) => setting === undefined);
    const greeted = same ? await inTime(pending, limits) : undefined;
    const good =
      greeted?.connection.quiet === true &&
      !this.#abort.signal.aborted &&
      greeted.watch.elapsed() < greeted.readyMs + GOOD_MS;
    if (greeted !== undefined && good) {
      // It is the send's from here on: others of the same invocation may be over before.
      this.#connection = undefined;
      return greeted;
    }
    await this.release();
    return undefined;
  }

  /** Closes what was opened and not taken; resolves once it is gone. */
  async release(): Promise<void> {
    const pending = this.#pending;
    this.#pending = undefined;
    this.#abort.abort();
    await pending;
    this.#connection?.close(false);
    await this.#connection?.released();
  }

  async #greet(timeLeft: number): Promise<Greeted> {
    const { endpoint, ehloName } = this.#target;
    const endsAt = performance.now() + timeLeft;
    const limits: Limits = { endsAt, helloBy: endsAt, signal: this.#abort.signal };
    const watch = new Stopwatch();
    const redactor = new Redactor();
    const transcript = new Transcript(redactor);
    watch.connecting();
    this.#connection = await Connection.open(endpoint, limits, this.#addresses);
    watch.connected(watch.elapsed());
    const said = await begin(greet(endpoint.security, ehloName), this.#connection, {
      tls: {},
      sessions: this.#sessions.for(endpoint, {}),
      transcript,
      redactor,
      watch,
    });
    const readyMs = watch.elapsed();
    return { connection: this.#connection, said, transcript: transcript.entries(), watch, readyMs };
  }
}

/** A relay among several has its share of the time here too. */
async function inTime<T>(pending: Promise<T>, limits: Limits): Promise<T | undefined> {
  try {
    return await within<T>(limits, "connect", Number.MAX_SAFE_INTEGER, ({ resolve, reject }) => {
      pending.then(resolve, reject);
      return () => {};
    });
  } catch {
    return undefined;
  }
}
