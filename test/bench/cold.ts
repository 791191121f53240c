/**
 * What a cold start costs: how large the bundles are, how much of them one plain message loads, and
 * how long a fresh process takes to its first result. The secret store and the mail server (implicit
 * TLS, on loopback) live in this process.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "../../infra/build.ts";
import { startSecrets } from "../../infra/local/secrets.ts";
import { startBdatServer } from "./bdat-server.ts";
import { type Fresh, type FreshOptions, fresh } from "./fresh.ts";
import { alternate, type Figure, figure, ratio, shown, table } from "./stats.ts";

const OURS = "posthaste";
const THEIRS = "nodemailer";
const USER = "shop@example.com";
const PASSWORD = "p@ss:w0rd/%41+";

export interface Size {
  readonly name: string;
  /** Octets of the entry and what it imports statically. */
  readonly startup: number;
  /** Octets of what dynamic imports may load. */
  readonly lazy: number;
}

export interface Cold {
  readonly contender: string;
  /** Octets of code that one plain message loads. */
  readonly loaded: number;
  /** From the process's making to its result, and of that from the import on. */
  readonly total: Figure;
  readonly inside: Figure;
  readonly importing: Figure;
  readonly cpuMs: Figure;
  readonly peakMiB: Figure;
  /** Of nodemailer's medians. */
  readonly ratio: { readonly total: number; readonly inside: number; readonly cpuMs: number };
}

export interface ColdStart {
  readonly sizes: readonly Size[];
  readonly starts: readonly Cold[];
}

export async function cold(runs: number): Promise<ColdStart> {
  const outside = await mkdtemp(join(tmpdir(), "posthaste-bench-"));
  const mail = await startBdatServer();
  const secrets = await startSecrets({
    box: JSON.stringify({
      host: "127.0.0.1",
      port: mail.port,
      security: "implicit",
      username: USER,
      password: PASSWORD,
      tls: { ca: mail.ca },
    }),
  });
  try {
    const own = await build({ outdir: join(outside, "own") });
    const source = fileURLToPath(new URL("peer.ts", import.meta.url));
    const peer = await build({ entries: [source], outdir: join(outside, "peer") });
    const common = {
      event: { to: "a@example.net", subject: "订单 1", text: "Grüße aus dem Takt." },
      environment: { MAILBOX_SECRET_ID: "box", AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url },
    };
    const contenders = {
      [OURS]: { ...common, bundle: join(own.outdir, "invoke.mjs") },
      [THEIRS]: { ...common, bundle: join(peer.outdir, "peer.mjs") },
    };
    return {
      sizes: [...own.functions, ...peer.functions].map(({ name, startupBytes, lazyBytes }) => ({
        name: name === basename(source, ".ts") ? `(${THEIRS})` : name,
        startup: startupBytes,
        lazy: lazyBytes,
      })),
      starts: await compare(contenders, runs),
    };
  } finally {
    await Promise.all([mail.close(), secrets.close()]);
    await rm(outside, { recursive: true, force: true });
  }
}

async function compare(
  contenders: Readonly<Record<string, FreshOptions>>,
  runs: number,
): Promise<readonly Cold[]> {
  const entries = Object.entries(contenders);
  const loaded = new Map<string, number>();
  for (const [name, options] of entries) {
    const { loaded: files } = await fresh({ ...options, count: true });
    loaded.set(
      name,
      Object.values(files).reduce((sum, octets) => sum + octets, 0),
    );
  }
  const timed = entries.map(([name, options]) => [name, () => fresh(options)] as const);
  const samples = await alternate<Fresh>(Object.fromEntries(timed), runs, 1);
  const figures = new Map([...samples].map(([name, list]) => [name, summary(list)]));
  const other = figures.get(THEIRS);
  return [...figures].map(([contender, own]) => ({
    contender,
    loaded: loaded.get(contender) ?? Number.NaN,
    ...own,
    ratio: {
      total: ratio(own.total, other?.total),
      inside: ratio(own.inside, other?.inside),
      cpuMs: ratio(own.cpuMs, other?.cpuMs),
    },
  }));
}

function summary(samples: readonly Fresh[]) {
  const of = (value: (sample: Fresh) => number) => figure(samples.map(value));
  return {
    total: of(({ total }) => total),
    inside: of(({ inside }) => inside),
    importing: of(({ importing }) => importing),
    cpuMs: of(({ cpu }) => cpu),
    peakMiB: of(({ peak }) => peak),
  };
}

export function coldTable({ sizes, starts }: ColdStart): string {
  const octets = (value: number) => value.toLocaleString("en-US");
  return [
    table(
      ["bundle", "at start", "later, octets"],
      sizes.map(({ name, startup, lazy }) => [name, octets(startup), octets(lazy)]),
    ),
    "",
    table(
      ["fresh process", "loads octets", "to result ms", "ratio", "inside ms", "ratio"].concat(
        "import ms",
        "CPU ms",
        "ratio",
        "peak MiB",
      ),
      starts.map((one) => [
        ...[one.contender, octets(one.loaded)],
        ...[shown(one.total), one.ratio.total.toFixed(2)],
        ...[shown(one.inside), one.ratio.inside.toFixed(2), shown(one.importing)],
        ...[shown(one.cpuMs), one.ratio.cpuMs.toFixed(2), shown(one.peakMiB)],
      ]),
    ),
  ].join("\n");
}
