/**
 * What a submission waits for beside its server (secret, ledger, attachments) gets the time that is
 * left and no more: a function that Lambda ends by its own timeout has said nothing to anybody.
 */

/** What a timer can hold, in milliseconds. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * @param late what is thrown when the time is up; `work` goes on, and nobody hears of it
 */
export async function inTime<T>(
  work: Promise<T>,
  milliseconds: number,
  late: () => Error,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), Math.min(milliseconds, LONGEST_MS));
  });
  try {
    return await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
  }
}

/** The same, for what takes a signal. The timer is gone with the work: nothing outlives a send. */
export async function withSignal<T>(
  milliseconds: number,
  work: (signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const over = new AbortController();
  const end = () => over.abort(new DOMException("The time is up.", "TimeoutError"));
  const timer = setTimeout(end, Math.min(Math.ceil(milliseconds), LONGEST_MS));
  try {
    return await work(signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]));
  } finally {
    clearTimeout(timer);
  }
}
