/**
 * Where the time of a send goes, and how many round trips it takes: a round trip is a flight of ours
 * followed by waiting for the answer. The TCP handshake counts one, a full TLS 1.2 handshake two, any
 * other handshake one, the greeting one; QUIT none, since nobody waits for it.
 */
import type { Timing } from "../report.ts";
import type { Phase } from "../step.ts";
import { tenth } from "../transcript.ts";
import { FAREWELL } from "./deadline.ts";

const TRANSACTION: ReadonlySet<Phase> = new Set(["mail", "rcpt", "data", "content"]);

export class Stopwatch {
  /** `performance.now()` at the start. */
  readonly begun: number;
  #settledAt: number | undefined;
  #connectMs: number;
  #tlsMs: number;
  #authMs: number;
  #transactionFrom: number | undefined;
  #transactionTo: number | undefined;
  #sentAt = 0;
  /** Something was sent, or is due by itself, that no reply has answered yet. */
  #flight = false;
  /** Something has begun that is not answered yet: if it never is, this is where the time went. */
  #open = false;
  #roundTrips: number;

  /** @param before what an earlier session of the same send took, where this one goes on from it */
  constructor(begun: number = performance.now(), before?: Timing) {
    this.begun = begun;
    this.#connectMs = before?.connectMs ?? 0;
    this.#tlsMs = before?.tlsMs ?? 0;
    this.#authMs = before?.authMs ?? 0;
    this.#roundTrips = before?.roundTrips ?? 0;
  }

  /** Milliseconds since the start. */
  elapsed(): number {
    return performance.now() - this.begun;
  }

  connecting(): void {
    this.#open = true;
  }

  connected(milliseconds: number): void {
    this.#connectMs += milliseconds;
    this.#roundTrips += 1;
    this.#flight = true;
  }

  /** A handshake is done; on an implicit-TLS port the greeting is still to come. */
  secured(milliseconds: number, tls: { protocol: string; resumed: boolean } | undefined): void {
    this.#tlsMs += milliseconds;
    const short = tls === undefined || tls.protocol === "TLSv1.3" || tls.resumed;
    this.#roundTrips += short ? 1 : 2;
  }

  sending(): void {
    this.#sentAt = performance.now();
    this.#flight = true;
  }

  awaiting(phase: Phase): void {
    if (this.#flight && !FAREWELL.has(phase)) this.#roundTrips += 1;
    this.#flight = false;
    this.#open = !FAREWELL.has(phase);
  }

  /** @param shared whether the envelope left in the same group: then its time is the transaction's */
  answered(phase: Phase, shared: boolean): void {
    const now = performance.now();
    this.#open = false;
    if (phase === "auth" && !shared) this.#authMs += now - this.#sentAt;
    if (TRANSACTION.has(phase)) {
      this.#transactionFrom ??= this.#sentAt;
      this.#transactionTo = now;
    }
    if (!FAREWELL.has(phase)) this.#settledAt = now;
  }

  timing(): Timing {
    const from = this.#transactionFrom;
    const to = this.#transactionTo;
    const now = performance.now();
    return {
      totalMs: tenth((this.#open ? now : (this.#settledAt ?? now)) - this.begun),
      connectMs: tenth(this.#connectMs),
      tlsMs: tenth(this.#tlsMs),
      authMs: tenth(this.#authMs),
      transactionMs: from !== undefined && to !== undefined ? tenth(to - from) : 0,
      roundTrips: this.#roundTrips,
    };
  }
}
