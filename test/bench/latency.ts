/**
 * What distance costs: one message, and ten in one session, through a proxy that delays and counts.
 * The times are those to the end of the call, which is what a function pays for.
 */
import { type Counted, counted } from "./counted.ts";
import { viaPosthaste } from "./ours.ts";
import { MECHANISMS, type Mechanism, PEERS } from "./peers.ts";
import { type BenchServer, startServer } from "./server.ts";
import { alternate, type Contenders, type Figure, figure, ratio, shown, table } from "./stats.ts";

export interface Latency {
  readonly server: string;
  readonly security: "implicit" | "starttls";
  readonly mechanism: Mechanism;
  readonly rttMs: number;
  readonly messages: number;
  readonly contender: string;
  readonly milliseconds: Figure;
  /** The same in each run, or the lowest and the highest. */
  readonly roundTrips: string;
  /** Of nodemailer's median; null where it has no such mechanism. */
  readonly ratio: number | null;
}

const SECURITIES = ["implicit", "starttls"] as const;
const NODEMAILER = "nodemailer";

export async function latency(
  runs: number,
  rtts: readonly number[] = [0, 20, 50, 100],
): Promise<readonly Latency[]> {
  return against(async (server) => {
    const measures: Latency[] = [];
    for (const security of SECURITIES) {
      for (const mechanism of MECHANISMS) {
        if (!server.mechanisms.includes(mechanism)) continue;
        for (const rttMs of rtts) {
          const setting = { security, mechanism, rttMs, messages: 1 };
          // PLAIN is what all are compared by.
          const times = mechanism === "PLAIN" ? runs : Math.min(runs, 3);
          measures.push(...(await compare(server, { ...setting, runs: times })));
        }
      }
    }
    return measures;
  });
}

/** Messages in one session, and at which distances, in milliseconds. */
const BATCHES: readonly (readonly [number, readonly number[]])[] = [
  [10, [0, 20, 50, 100]],
  [100, [0, 20]],
];

/** Beside nodemailer's pool with one connection. */
export async function batch(runs: number, most = 100): Promise<readonly Latency[]> {
  return against(async (server) => {
    const measures: Latency[] = [];
    for (const [messages, rtts] of BATCHES) {
      for (const rttMs of rtts.filter((rtt) => rtt <= most)) {
        const setting = { security: "implicit", mechanism: "PLAIN", rttMs, messages } as const;
        // A hundred messages take long, and their times spread little.
        const times = messages * rttMs >= 1_000 || messages >= 100 ? Math.min(runs, 2) : runs;
        measures.push(...(await compare(server, { ...setting, runs: times })));
      }
    }
    return measures;
  });
}

async function against<T>(run: (server: BenchServer) => Promise<T>): Promise<T> {
  const server = await startServer();
  try {
    return await run(server);
  } finally {
    await server.stop();
  }
}

interface Setting {
  readonly security: "implicit" | "starttls";
  readonly mechanism: Mechanism;
  readonly rttMs: number;
  readonly messages: number;
  readonly runs: number;
}

export function mailsOf(from: string, to: string, messages: number) {
  return Array.from({ length: messages }, (_, index) => ({
    from,
    to,
    subject: `订单 ${index}`,
    text: "Grüße aus dem Takt.\n".repeat(20),
  }));
}

async function compare(server: BenchServer, setting: Setting): Promise<readonly Latency[]> {
  const { security, mechanism, rttMs, messages, runs } = setting;
  const { username, password, ca, to } = server;
  const mails = mailsOf(username, to, messages);
  const through = (run: (port: number) => Promise<unknown>) => () =>
    counted({ host: "127.0.0.1", port: server.ports[security] }, rttMs, ({ port }) => run(port));
  const ours = (chunking: "auto" | "off") =>
    through((port) => {
      const where = { host: "127.0.0.1", port, security, tls: { ca } };
      return viaPosthaste({ ...where, username, password, auth: [mechanism], chunking }, mails);
    });
  const able = PEERS.filter(({ mechanisms }) => mechanisms.includes(mechanism));
  const account = { security, username, password, ca, mechanism };
  const contenders: Contenders<Counted<unknown>> = {
    "posthaste, chunking off": ours("off"),
    ...(server.chunking && { "posthaste, chunking auto": ours("auto") }),
    ...Object.fromEntries(
      able.map(({ name, send }) => [name, through((port) => send(account, port, mails))]),
    ),
  };
  // A hundred messages warm whatever sends them.
  const samples = await alternate(contenders, runs, messages >= 100 ? 0 : 1);
  const times = new Map(
    [...samples].map(([name, list]) => [name, figure(list.map((one) => one.milliseconds))]),
  );
  return [...samples].map(([contender, list]) => {
    const trips = list.map(({ roundTrips }) => roundTrips);
    const [least, most] = [Math.min(...trips), Math.max(...trips)];
    const milliseconds = times.get(contender) as Figure;
    const other = times.get(NODEMAILER);
    return {
      server: server.name,
      ...{ security, mechanism, rttMs, messages, contender, milliseconds },
      roundTrips: least === most ? String(least) : `${least}–${most}`,
      ratio: other === undefined ? null : ratio(milliseconds, other),
    };
  });
}

export function latencyTable(measures: readonly Latency[]): string {
  return table(
    [
      "security, login, messages",
      "RTT ms",
      "contender",
      "round trips",
      "ms (quartiles)",
      "of nodemailer",
    ],
    measures.map((one) => [
      `${one.security}, ${one.mechanism}, ${one.messages}`,
      String(one.rttMs),
      one.contender,
      one.roundTrips,
      shown(one.milliseconds),
      one.ratio?.toFixed(2) ?? "–",
    ]),
  );
}
