/**
 * The mailbox's `maxPerMinute`: providers close accounts that send too fast. Counted by the minute in
 * the shared table; an instance without one, or that cannot reach it, counts its own messages.
 */
import type { SharedState } from "./ports.ts";

const MINUTE_MS = 60_000;

export class RateLimit {
  readonly #shared: (() => Promise<SharedState>) | undefined;
  readonly #own = new Map<string, number>();

  constructor(shared?: () => Promise<SharedState>) {
    this.#shared = shared;
  }

  /** Count one message of this mailbox now; false where this minute's allowance is used up. */
  async take(secretId: string, most: number, now: number = Date.now()): Promise<boolean> {
    const minute = Math.floor(now / MINUTE_MS);
    const key = `rate#${secretId}#${minute}`;
    try {
      const shared = await this.#shared?.();
      if (shared) return await shared.count(key, 1, most, (minute + 2) * (MINUTE_MS / 1000));
    } catch {
      // The table is out of reach: better a bound for each instance than none.
    }
    const used = this.#own.get(key) ?? 0;
    if (used >= most) return false;
    // Minutes gone by are of no interest.
    if (used === 0) {
      for (const old of this.#own.keys()) if (!old.endsWith(`#${minute}`)) this.#own.delete(old);
    }
    this.#own.set(key, used + 1);
    return true;
  }
}
