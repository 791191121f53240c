/**
 * What `RELAY` is worth at a distance: a cold start whose secret takes a while and whose relay is far,
 * with and without it, and nodemailer's. Once to a server that offers PIPELINING and once to one that
 * does not, as Amazon SES: there overlap is all there is to gain.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startMailServer } from "../../infra/local/mailserver.ts";
import { startDelayProxy } from "../support/proxy.ts";
import { bundles, EVENT } from "./cold.ts";
import { coldStart, type Start } from "./lambda.ts";
import { alternate, type Figure, figure, ratio, shown, table } from "./stats.ts";
import { startStore } from "./store.ts";

/** Milliseconds: Secrets Manager's answer, and to the relay and back. */
const SECRET_MS = 30;
const RTTS = [20, 100] as const;
const USER = "shop@example.com";
const PASSWORD = "p@ss:w0rd/%41+";
const THEIRS = "nodemailer";

export interface Early {
  readonly pipelining: boolean;
  readonly rttMs: number;
  readonly contender: string;
  /** From the process's making to its result. */
  readonly total: Figure;
  /** Of nodemailer's median. */
  readonly ratio: number;
}

export async function early(
  runs: number,
  rtts: readonly number[] = RTTS,
): Promise<readonly Early[]> {
  const outside = await mkdtemp(join(tmpdir(), "posthaste-bench-"));
  try {
    const { contenders } = await bundles(outside);
    const measures: Early[] = [];
    for (const pipelining of [true, false]) {
      for (const rttMs of rtts) {
        measures.push(...(await compare(outside, contenders, { pipelining, rttMs, runs })));
      }
    }
    return measures;
  } finally {
    await rm(outside, { recursive: true, force: true });
  }
}

interface Setting {
  readonly pipelining: boolean;
  readonly rttMs: number;
  readonly runs: number;
}

async function compare(
  outside: string,
  built: Readonly<Record<string, { readonly folder: string; readonly name: string }>>,
  { pipelining, rttMs, runs }: Setting,
): Promise<readonly Early[]> {
  const users = { [USER]: PASSWORD };
  const mail = await startMailServer({ users, server: { hidePIPELINING: !pipelining } });
  // STARTTLS: what any port but 465 is taken for.
  const target = { host: "127.0.0.1", port: mail.ports.starttls };
  const proxy = await startDelayProxy({ target, rttMs });
  const store = await startStore(outside, [mail.ca]);
  store.delay(SECRET_MS);
  const where = { host: proxy.host, port: proxy.port, security: "starttls" };
  store.put("box", JSON.stringify({ ...where, username: USER, password: PASSWORD }));
  const start =
    (name: string, more: Readonly<Record<string, string>> = {}) =>
    () =>
      coldStart({
        ...(built[name] as { readonly folder: string; readonly name: string }),
        event: EVENT,
        environment: { ...store.environment, ...more },
      });
  const RELAY = `${proxy.host}:${proxy.port}`;
  try {
    const samples = await alternate<Start>(
      {
        posthaste: start("posthaste"),
        "posthaste, RELAY": start("posthaste", { RELAY }),
        "posthaste, RELAY, code cache": start("posthaste, code cache", { RELAY }),
        [THEIRS]: start(THEIRS),
      },
      runs,
      1,
    );
    const totals = new Map(
      [...samples].map(([name, list]) => [name, figure(list.map(({ total }) => total))]),
    );
    return [...totals].map(([contender, total]) => ({
      ...{ pipelining, rttMs, contender, total },
      ratio: ratio(total, totals.get(THEIRS)),
    }));
  } finally {
    await Promise.all([proxy.close(), store.close(), mail.close()]);
  }
}

export function earlyTable(measures: readonly Early[]): string {
  return table(
    ["server, STARTTLS", "RTT ms", "contender", "to result ms (quartiles)", "of nodemailer"],
    measures.map(({ pipelining, rttMs, contender, total, ratio: of }) => [
      pipelining ? "PIPELINING" : "no PIPELINING, as Amazon SES",
      String(rttMs),
      contender,
      shown(total),
      of.toFixed(2),
    ]),
  );
}
