/**
 * From a name to a connected socket. Addresses are looked up once per warm instance and kept for a
 * short life, since the system resolver tells no TTL; a failure is never kept. Several addresses race
 * (RFC 8305): Node's own `autoSelectFamily` drops an attempt once its 250 ms are over, so that a
 * distant server beside one dead address is never reached; here an attempt, once begun, may still win.
 */
import { type LookupAddress, promises } from "node:dns";
import { isIP, Socket } from "node:net";
import { SmtpError } from "../error.ts";
import { type Limits, PHASE_TIMEOUTS, within } from "./deadline.ts";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** All addresses of a name, in the order of preference. */
export type Lookup = (host: string) => Promise<readonly LookupAddress[]>;

const LIFE_MS = 60_000;
/** RFC 8305 §5, "Connection Attempt Delay". */
const ATTEMPT_DELAY_MS = 250;

const systemLookup: Lookup = (host) => promises.lookup(host, { all: true, order: "verbatim" });

/** What a warm instance knows of addresses. */
export class AddressBook {
  readonly #lookup: Lookup;
  readonly #life: number;
  readonly #known = new Map<
    string,
    { readonly until: number; readonly found: readonly LookupAddress[] }
  >();

  /** @param life milliseconds for which an answer holds */
  constructor(lookup: Lookup = systemLookup, life: number = LIFE_MS) {
    this.#lookup = lookup;
    this.#life = life;
  }

  async resolve(host: string): Promise<readonly LookupAddress[]> {
    const family = isIP(host);
    if (family !== 0) return [{ address: host, family }];
    const held = this.#known.get(host);
    // The wall clock: a monotonic one may stand still while the instance is frozen.
    if (held !== undefined && held.until > Date.now()) return held.found;
    this.#known.delete(host);
    const found = interleaved(await this.#lookup(host));
    if (found.length === 0) throw Object.assign(new Error("no address"), { code: "ENODATA" });
    this.#known.set(host, { until: Date.now() + this.#life, found });
    return found;
  }

  /** None of the addresses answered: the next send asks anew. */
  forget(host: string): void {
    this.#known.delete(host);
  }
}

/** Families take turns, the preferred one first (RFC 8305 §4). */
function interleaved(found: readonly LookupAddress[]): readonly LookupAddress[] {
  const first = found.filter(({ family }) => family === found[0]?.family);
  const second = found.filter(({ family }) => family !== found[0]?.family);
  const turns = Array.from({ length: Math.max(first.length, second.length) }, (_, i) => i);
  return turns.flatMap((turn) => [first[turn], second[turn]].filter((a) => a !== undefined));
}

/**
 * Connect to the first address that answers; the others are released.
 * @throws SmtpError `dns_failed`, `connect_failed`, `timeout`, `aborted`.
 */
export function dial(endpoint: Endpoint, limits: Limits, addresses: AddressBook): Promise<Socket> {
  const { host, port } = endpoint;
  return within<Socket>(limits, "connect", PHASE_TIMEOUTS.connect, ({ resolve, reject }) => {
    const racing = new Set<Socket>();
    const failures: Error[] = [];
    let waiting: readonly LookupAddress[] = [];
    let timer: NodeJS.Timeout | undefined;
    let over = false;
    const attempt = ({ address }: LookupAddress) => {
      const socket = new Socket();
      racing.add(socket);
      // For the socket's whole life: a late reset must not become an unhandled 'error' event.
      socket.on("error", () => {});
      const settled = () => {
        racing.delete(socket);
        socket.off("error", failed);
        socket.off("connect", connected);
      };
      const failed = (error: Error) => {
        settled();
        failures.push(error);
        next();
      };
      const connected = () => {
        settled();
        resolve(socket);
      };
      socket.once("error", failed);
      socket.once("connect", connected);
      socket.connect({ host: address, port });
    };
    const next = () => {
      clearTimeout(timer);
      const [address, ...others] = waiting;
      waiting = others;
      if (address !== undefined) {
        if (others.length > 0) timer = setTimeout(next, ATTEMPT_DELAY_MS);
        attempt(address);
      } else if (racing.size === 0) {
        addresses.forget(host);
        reject(unreachable(failures, endpoint));
      }
    };
    addresses.resolve(host).then(
      (found) => {
        waiting = found;
        if (!over) next();
      },
      (error: Error) => reject(unresolved(error, host)),
    );
    return () => {
      over = true;
      clearTimeout(timer);
      for (const socket of racing) socket.destroy();
    };
  });
}

function unresolved(error: Error, host: string): SmtpError {
  return new SmtpError("dns_failed", `The name ${host} could not be resolved (${codeOf(error)}).`, {
    phase: "connect",
  });
}

function unreachable(failures: readonly Error[], { host, port }: Endpoint): SmtpError {
  const codes = [...new Set(failures.map(codeOf))].join(", ");
  return new SmtpError("connect_failed", `No connection to ${host} port ${port} (${codes}).`, {
    phase: "connect",
  });
}

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.name;
}
