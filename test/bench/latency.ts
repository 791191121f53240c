/**
 * What distance costs: one message, and ten in one session, through a proxy that delays and counts.
 * The times are those to the end of the call, which is what a function pays for.
 */
import { type Account, type Counted, counted, viaNodemailer } from "./counted.ts";
import { viaPosthaste } from "./ours.ts";
import { type BenchServer, startServer } from "./server.ts";
import { alternate, type Contenders, type Figure, figure, ratio, shown, table } from "./stats.ts";

export interface Latency {
  readonly server: string;
  readonly security: "implicit" | "starttls";
  readonly rttMs: number;
  readonly messages: number;
  readonly contender: string;
  readonly milliseconds: Figure;
  /** The same in each run, or the lowest and the highest. */
  readonly roundTrips: string;
  /** Of nodemailer's median. */
  readonly ratio: number;
}

const SECURITIES = ["implicit", "starttls"] as const;
const NODEMAILER = "nodemailer";

export async function latency(runs: number, rtts = [0, 20, 50, 100]): Promise<readonly Latency[]> {
  return against(async (server) => {
    const measures: Latency[] = [];
    for (const security of SECURITIES) {
      for (const rttMs of rtts) {
        measures.push(...(await compare(server, { security, rttMs, messages: 1, runs })));
      }
    }
    return measures;
  });
}

/** Beside nodemailer's pool with one connection. */
export async function batch(runs: number, rtts = [0, 20, 50]): Promise<readonly Latency[]> {
  return against(async (server) => {
    const measures: Latency[] = [];
    for (const rttMs of rtts) {
      measures.push(
        ...(await compare(server, { security: "implicit", rttMs, messages: 10, runs })),
      );
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
  readonly rttMs: number;
  readonly messages: number;
  readonly runs: number;
}

async function compare(server: BenchServer, setting: Setting): Promise<readonly Latency[]> {
  const { security, rttMs, messages, runs } = setting;
  const { username, password, ca, to } = server;
  const account: Account = { security, username, password, ca };
  const mails = Array.from({ length: messages }, (_, index) => ({
    from: username,
    to,
    subject: `订单 ${index}`,
    text: "Grüße aus dem Takt.\n".repeat(20),
  }));
  const through = (run: (port: number) => Promise<unknown>) => () =>
    counted({ host: "127.0.0.1", port: server.ports[security] }, rttMs, ({ port }) => run(port));
  const ours = (chunking: "auto" | "off") =>
    through((port) => {
      const where = { host: "127.0.0.1", port, security, tls: { ca } };
      return viaPosthaste({ ...where, username, password, auth: ["PLAIN"], chunking }, mails);
    });
  const contenders: Contenders<Counted<unknown>> = {
    "posthaste, chunking off": ours("off"),
    ...(server.chunking && { "posthaste, chunking auto": ours("auto") }),
    [NODEMAILER]: through((port) => viaNodemailer(account, port, mails, { pool: messages > 1 })),
  };
  const samples = await alternate(contenders, runs, 1);
  const times = new Map(
    [...samples].map(([name, list]) => [name, figure(list.map((one) => one.milliseconds))]),
  );
  return [...samples].map(([contender, list]) => {
    const trips = list.map(({ roundTrips }) => roundTrips);
    const [least, most] = [Math.min(...trips), Math.max(...trips)];
    const milliseconds = times.get(contender) as Figure;
    return {
      server: server.name,
      ...{ security, rttMs, messages, contender, milliseconds },
      roundTrips: least === most ? String(least) : `${least}–${most}`,
      ratio: ratio(milliseconds, times.get(NODEMAILER)),
    };
  });
}

export function latencyTable(measures: readonly Latency[]): string {
  return table(
    ["security, messages", "RTT ms", "contender", "round trips", "ms (quartiles)", "of nodemailer"],
    measures.map((one) => [
      `${one.security}, ${one.messages}`,
      String(one.rttMs),
      one.contender,
      one.roundTrips,
      shown(one.milliseconds),
      one.ratio.toFixed(2),
    ]),
  );
}
