/**
 * CPU that a message costs a warm function, TLS and login included: what it pays for beside waiting. No
 * proxy, and Postfix is a process of its own, so that this process's CPU is the sender's alone.
 */
import { mailsOf } from "./latency.ts";
import { viaPosthaste } from "./ours.ts";
import { PEERS } from "./peers.ts";
import { startServer } from "./server.ts";
import { alternate, type Figure, figure, ratio, shown, table } from "./stats.ts";

export interface Cpu {
  readonly contender: string;
  /** In one session. */
  readonly messages: number;
  /** Milliseconds of CPU for one session. */
  readonly cpuMs: Figure;
  /** Of nodemailer's median. */
  readonly ratio: number;
}

const THEIRS = "nodemailer";
const BATCHES = [1, 10] as const;
/** Messages that a sample adds up: the clock of CPU time is coarse. */
const SAMPLE = 20;
/** Rounds until nothing is compiled any more. */
const WARM_UPS = 3;

export async function cpu(runs: number): Promise<readonly Cpu[]> {
  const server = await startServer();
  const { username, password, ca, to } = server;
  const port = server.ports.implicit;
  const account = { security: "implicit", username, password, ca, mechanism: "PLAIN" } as const;
  const ours = {
    ...{ host: "127.0.0.1", port, security: "implicit", tls: { ca } },
    ...{ username, password, auth: ["PLAIN"], chunking: "off" },
  };
  try {
    const measures: Cpu[] = [];
    for (const messages of BATCHES) {
      const mails = mailsOf(username, to, messages);
      const contenders = {
        posthaste: () => of(messages, () => viaPosthaste(ours, mails)),
        ...Object.fromEntries(
          PEERS.map(({ name, send }) => [
            name,
            () => of(messages, () => send(account, port, mails)),
          ]),
        ),
      };
      const samples = await alternate(contenders, runs, WARM_UPS);
      const figures = new Map([...samples].map(([name, list]) => [name, figure(list)]));
      for (const [contender, cpuMs] of figures) {
        measures.push({ contender, messages, cpuMs, ratio: ratio(cpuMs, figures.get(THEIRS)) });
      }
    }
    return measures;
  } finally {
    await server.stop();
  }
}

async function of(messages: number, session: () => Promise<unknown>): Promise<number> {
  const sessions = SAMPLE / messages;
  const before = process.cpuUsage();
  for (let count = 0; count < sessions; count += 1) await session();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / sessions;
}

export function cpuTable(measures: readonly Cpu[]): string {
  return table(
    ["messages in a session", "contender", "CPU ms a session", "of nodemailer"],
    measures.map(({ messages, contender, cpuMs, ratio: of }) => [
      String(messages),
      contender,
      shown(cpuMs),
      of.toFixed(2),
    ]),
  );
}
