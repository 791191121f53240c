/**
 * Name resolution once per warm instance: addresses are kept for a short life, since the system
 * resolver tells no TTL. A failure is never kept.
 */
import { type LookupAddress, lookup } from "node:dns";
import type { LookupFunction } from "node:net";

const LIFE_MS = 60_000;

export function cachedLookup(life: number = LIFE_MS): LookupFunction {
  const known = new Map<string, { readonly until: number; readonly found: LookupAddress[] }>();
  return (hostname, options, callback) => {
    const answer = (found: LookupAddress[]) => {
      const fitting = options.family ? found.filter((a) => a.family === options.family) : found;
      const first = fitting[0] ?? (found[0] as LookupAddress);
      if (options.all) callback(null, fitting.length > 0 ? fitting : found);
      else callback(null, first.address, first.family);
    };
    const held = known.get(hostname);
    if (held !== undefined && held.until > performance.now()) {
      // Always asynchronous: net.Socket expects its lookup to be.
      process.nextTick(answer, held.found);
      return;
    }
    lookup(hostname, { all: true, verbatim: true }, (error, found) => {
      if (error !== null || found.length === 0) {
        callback(error ?? new Error(`no address for ${hostname}`), "", 0);
        return;
      }
      known.set(hostname, { until: performance.now() + life, found });
      answer(found);
    });
  };
}
