/**
 * What a send waits for beside its server: the ledger, and content that is read from elsewhere. Both get
 * the time that is left and no more.
 */
import type { Submission } from "../envelope.ts";
import { type Limits, within } from "./deadline.ts";

/** The ledger gets the time that is left and no more: the terminator has not been written yet. */
export function recorded(committed: Promise<void>, limits: Limits): Promise<void> {
  const waiting = "The ledger did not record the send";
  return within(limits, "content", Number.POSITIVE_INFINITY, settling(committed), waiting);
}

/** Content that comes from elsewhere may stall there: then the time that is left is its limit too. */
export function inTime(submission: Submission, limits: Limits): Submission {
  const { content } = submission;
  return {
    ...submission,
    content: {
      size: content.size,
      eightBit: content.eightBit,
      utf8Header: content.utf8Header,
      open: () => {
        const pieces = content.open();
        return Symbol.asyncIterator in pieces ? piecesInTime(pieces, limits) : pieces;
      },
    },
  };
}

async function* piecesInTime(
  pieces: AsyncIterable<Uint8Array>,
  limits: Limits,
): AsyncGenerator<Uint8Array> {
  const iterator = pieces[Symbol.asyncIterator]();
  const waiting = "The content could not be read to its end";
  let ended = false;
  try {
    while (!ended) {
      const step = settling(iterator.next());
      const next = await within(limits, "content", Number.POSITIVE_INFINITY, step, waiting);
      ended = next.done === true;
      if (!next.done) yield next.value;
    }
  } finally {
    // Told to stop and not waited for: what stalls may stall at that, too.
    if (!ended) iterator.return?.().catch(() => {});
  }
}

function settling<T>(promise: Promise<T>) {
  return (settle: { resolve: (value: T) => void; reject: (error: unknown) => void }) => {
    promise.then(settle.resolve, settle.reject);
    return () => {};
  };
}
