/**
 * What the contenders send to: Postfix and its smtp-sink where `test/mta/install.sh` put them, else
 * the embedded server for what needs no more than a server.
 */
import { existsSync } from "node:fs";
import { startMailServer } from "../../infra/local/mailserver.ts";
import { libraryPath, mtaMissing, unpacked } from "../mta/available.ts";
import { discard, freePorts, greeted, makeFolder, startDaemon } from "../mta/mta.ts";
import { startPostfix } from "../mta/servers.ts";

export interface BenchServer {
  readonly name: string;
  readonly ports: { readonly implicit: number; readonly starttls: number };
  readonly ca: string;
  readonly username: string;
  readonly password: string;
  readonly to: string;
  readonly chunking: boolean;
  readonly mechanisms: readonly string[];
  stop(): Promise<void>;
}

export async function startServer(): Promise<BenchServer> {
  const missing = mtaMissing("postfix");
  if (missing === undefined) {
    const mta = await startPostfix();
    const { smtps: implicit, submission: starttls } = mta.ports;
    return {
      name: `Postfix ${mta.version}`,
      ports: { implicit, starttls },
      ca: mta.ca,
      ...mta.users[0],
      to: `carol@${mta.domain}`,
      chunking: true,
      mechanisms: ["PLAIN", "LOGIN", "SCRAM-SHA-256"],
      stop: () => mta.stop(),
    };
  }
  console.log(
    `No Postfix (${missing}). The embedded server takes its place; it has no CHUNKING.\n`,
  );
  const username = "shop@example.com";
  const password = "p@ss:w0rd/%41+";
  const mail = await startMailServer({ users: { [username]: password } });
  return {
    name: "smtp-server (npm)",
    ports: mail.ports,
    ca: mail.ca,
    username,
    password,
    to: "a@example.net",
    chunking: false,
    mechanisms: ["PLAIN", "LOGIN"],
    stop: () => mail.close(),
  };
}

export interface Sink {
  readonly port: number;
  /** Postfix's own client, and the environment that it and the sink run with. */
  readonly source: string;
  readonly environment: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** Undefined, and why is printed, where it is not installed. */
export async function startSink(): Promise<Sink | undefined> {
  const program = unpacked("postfix", "usr/sbin/smtp-sink");
  if (mtaMissing("postfix") !== undefined || !existsSync(program)) {
    console.log(`Throughput is not measured: ${mtaMissing("postfix") ?? `no ${program}`}.\n`);
    return undefined;
  }
  const folder = makeFolder("ph-sink");
  const [port] = (await freePorts(1)) as [number];
  const environment = { LD_LIBRARY_PATH: libraryPath("postfix") };
  const daemon = startDaemon(
    folder,
    program,
    ["-4", "-u", "nobody", `inet:127.0.0.1:${port}`, "64"],
    environment,
  );
  await greeted(port, daemon, () => "");
  return {
    port,
    source: unpacked("postfix", "usr/sbin/smtp-source"),
    environment,
    stop: async () => {
      await daemon.kill();
      await discard(folder);
    },
  };
}
