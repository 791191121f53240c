/** A clock that stands still until it is told to go on, for `performance.now` and for timers. */
import { vi } from "vitest";

export interface Timer {
  readonly at: number;
  readonly act: () => void;
}

/** From now on, until the mocks are restored. */
export function stillClock(start: number) {
  let now = start;
  const timers = new Set<Timer>();
  vi.spyOn(performance, "now").mockImplementation(() => now);
  const set = (act: () => void, milliseconds: number) => {
    const timer = { at: now + milliseconds, act };
    timers.add(timer);
    return timer;
  };
  vi.spyOn(globalThis, "setTimeout").mockImplementation(set as unknown as typeof setTimeout);
  const clear = (timer: unknown) => {
    timers.delete(timer as Timer);
  };
  vi.spyOn(globalThis, "clearTimeout").mockImplementation(clear as typeof clearTimeout);
  return {
    timers,
    pass(milliseconds: number) {
      now += milliseconds;
      for (const timer of timers) if (timer.at <= now) timers.delete(timer) && timer.act();
    },
  };
}
