/**
 * Delayed acknowledgements: a receiver with nothing to say holds back its acknowledgement for 40 ms, and a
 * sender with Nagle's algorithm on holds back a small write until the one before it is acknowledged.
 * Where both meet, everybody waits. Counted by the kernel itself (`DelayedACKs`: how often that time ran
 * out), in a network namespace where nobody else sends; so on Linux, as root, against Postfix, and
 * through no proxy.
 */
import { readFileSync } from "node:fs";
import { mailsOf } from "./latency.ts";
import { viaPosthaste } from "./ours.ts";
import { PEERS } from "./peers.ts";
import { startServer } from "./server.ts";
import { alternate, type Figure, figure, shown, table } from "./stats.ts";

export interface Stalls {
  readonly security: "implicit" | "starttls";
  readonly contender: string;
  /** In one session. */
  readonly messages: number;
  /** For the whole session, from connecting to the end of the call. */
  readonly delayedAcks: Figure;
  readonly milliseconds: Figure;
}

/** Times that a delayed acknowledgement's timer ran out, on any socket of this namespace. */
function delayedAcks(): number {
  const lines = readFileSync("/proc/net/netstat", "utf8").split("\n");
  const [names, values] = lines
    .filter((line) => line.startsWith("TcpExt:"))
    .map((line) => line.split(" "));
  return Number(values?.[names?.indexOf("DelayedACKs") ?? -1]);
}

const SETTINGS = [
  ["implicit", 1],
  ["starttls", 1],
  ["implicit", 10],
] as const;

export async function stalls(runs: number): Promise<readonly Stalls[]> {
  const server = await startServer();
  try {
    const measures: Stalls[] = [];
    const { username, password, ca, to } = server;
    for (const [security, messages] of SETTINGS) {
      const port = server.ports[security];
      const mails = mailsOf(username, to, messages);
      const account = { security, username, password, ca, mechanism: "PLAIN" } as const;
      const where = { host: "127.0.0.1", port, security, tls: { ca } };
      const ours = { ...where, username, password, auth: ["PLAIN"] };
      const contenders = {
        "posthaste, chunking off": () => viaPosthaste({ ...ours, chunking: "off" }, mails),
        ...(server.chunking && {
          "posthaste, chunking auto": () => viaPosthaste({ ...ours, chunking: "auto" }, mails),
        }),
        ...Object.fromEntries(
          PEERS.map(({ name, send }) => [name, () => send(account, port, mails)]),
        ),
      };
      const counted = Object.entries(contenders).map(
        ([name, run]) => [name, () => settled(run)] as const,
      );
      const samples = await alternate(Object.fromEntries(counted), runs, 1);
      for (const [contender, list] of samples) {
        measures.push({
          ...{ security, messages, contender },
          delayedAcks: figure(list.map((one) => one.delayedAcks)),
          milliseconds: figure(list.map((one) => one.milliseconds)),
        });
      }
    }
    return measures;
  } finally {
    await server.stop();
  }
}

/** What is left of the farewell has run its time by then. */
const SETTLED_MS = 120;

async function settled(run: () => Promise<unknown>) {
  const before = delayedAcks();
  const begun = performance.now();
  await run();
  const milliseconds = performance.now() - begun;
  const during = delayedAcks() - before;
  await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
  return { delayedAcks: during, milliseconds };
}

export function stallsTable(measures: readonly Stalls[]): string {
  return table(
    ["security, messages", "contender", "delayed acknowledgements", "ms (quartiles)"],
    measures.map(({ security, messages, contender, delayedAcks: count, milliseconds }) => [
      `${security}, ${messages}`,
      contender,
      shown(count),
      shown(milliseconds),
    ]),
  );
}
