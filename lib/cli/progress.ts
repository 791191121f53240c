/**
 * How far a long piece of work is, on standard error, and only where somebody looks: on a terminal.
 */
import type { Content } from "../smtp/data.ts";
import type { Relay } from "../submission/ports.ts";

/** What is smaller is gone at once, in octets. */
const LARGE = 1_000_000;
const REDRAW_MS = 100;

export class Progress {
  readonly #shown = process.stderr.isTTY === true;
  #drawn = 0;

  draw(text: string): void {
    const now = performance.now();
    if (!this.#shown || now - this.#drawn < REDRAW_MS) return;
    this.#drawn = now;
    process.stderr.write(`\r\x1b[K${text}`);
  }

  clear(): void {
    if (this.#drawn > 0) process.stderr.write("\r\x1b[K");
    this.#drawn = 0;
  }
}

/** A relay whose content tells how much of it has left. */
export function watched(relay: Relay, progress: Progress): Relay {
  return {
    send: async (target, submissions, options) => {
      const counted = submissions.map((submission) => ({
        ...submission,
        content:
          submission.content.size < LARGE
            ? submission.content
            : counting(submission.content, progress),
      }));
      const sent = await relay.send(target, counted, options);
      progress.clear();
      return sent;
    },
  };
}

function counting(content: Content, progress: Progress): Content {
  const { size, eightBit, utf8Header } = content;
  return {
    size,
    eightBit,
    utf8Header,
    open: async function* () {
      let sent = 0;
      for await (const piece of content.open()) {
        yield piece;
        sent += piece.length;
        const share = Math.floor((sent / Math.max(1, size)) * 100);
        progress.draw(`sent ${megabytes(sent)} of ${megabytes(size)} MB (${share} %)`);
      }
    },
  };
}

function megabytes(octets: number): string {
  return (octets / 1e6).toFixed(1);
}
