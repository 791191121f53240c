/**
 * What a cold start costs: how large the bundles are, how much of them one plain message loads, and
 * how long a fresh process takes to its first result, under Lambda's runtime interface client. The secret
 * store (TLS) and the mail server (implicit TLS, on loopback) live in this process.
 *
 * The function with nodemailer is built twice: with esbuild's settings alone, as one would, and by our
 * own build, which joins what a start loads into scripts (infra/starter.ts).
 */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build as esbuild } from "esbuild";
import { build, ESBUILD } from "../../infra/build.ts";
import { addCodeCache } from "../../infra/code-cache.ts";
import { startBdatServer } from "./bdat-server.ts";
import { fresh } from "./fresh.ts";
import { coldStart, type Start, type StartOptions } from "./lambda.ts";
import { alternate, type Figure, figure, ratio, shown, table } from "./stats.ts";
import { startStore } from "./store.ts";

const OURS = "posthaste";
const CACHED = "posthaste, code cache";
const THEIRS = "nodemailer";
const JOINED = "nodemailer, built by ours";
const USER = "shop@example.com";
const PASSWORD = "p@ss:w0rd/%41+";
export const EVENT = { to: "a@example.net", subject: "订单 1", text: "Grüße aus dem Takt." };

export interface Size {
  readonly name: string;
  /** Octets of the entry and what it imports statically. */
  readonly startup: number;
  /** Octets of what dynamic imports may load. */
  readonly lazy: number;
}

export interface Cold {
  readonly contender: string;
  /** Octets of code that one plain message loads; the code cache is none. */
  readonly loaded: number;
  /** From the process's making to its result, and of that the init phase. */
  readonly total: Figure;
  readonly init: Figure;
  readonly cpuMs: Figure;
  readonly peakMiB: Figure;
  /** Of nodemailer's medians. */
  readonly ratio: { readonly total: number; readonly cpuMs: number };
  /** Of those of nodemailer in our own build. */
  readonly ofJoined: { readonly total: number; readonly cpuMs: number };
}

export interface ColdStart {
  readonly sizes: readonly Size[];
  readonly starts: readonly Cold[];
}

export interface Bundles {
  readonly sizes: readonly Size[];
  readonly contenders: Readonly<Record<string, Pick<StartOptions, "folder" | "name">>>;
}

/** All contenders, built into a folder. */
export async function bundles(outside: string): Promise<Bundles> {
  const folder = (name: string) => join(outside, name);
  const own = await build({ outdir: folder("own") });
  await cp(folder("own"), folder("cached"), { recursive: true });
  await addCodeCache(folder("cached"));
  const source = fileURLToPath(new URL("peer.ts", import.meta.url));
  const joined = await build({ entries: [source], outdir: folder("joined") });
  await esbuild({ ...ESBUILD, entryPoints: [source], outdir: folder("peer") });
  return {
    sizes: [...own.functions, ...joined.functions].map(({ name, startupBytes, lazyBytes }) => ({
      name: name === "peer" ? `(${THEIRS})` : name,
      startup: startupBytes,
      lazy: lazyBytes,
    })),
    contenders: {
      [OURS]: { folder: folder("own"), name: "invoke" },
      [CACHED]: { folder: folder("cached"), name: "invoke" },
      [THEIRS]: { folder: folder("peer"), name: "peer" },
      [JOINED]: { folder: folder("joined"), name: "peer" },
    },
  };
}

export async function cold(runs: number): Promise<ColdStart> {
  const outside = await mkdtemp(join(tmpdir(), "posthaste-bench-"));
  const mail = await startBdatServer();
  const store = await startStore(outside, []);
  store.put(
    "box",
    JSON.stringify({
      host: "127.0.0.1",
      port: mail.port,
      security: "implicit",
      username: USER,
      password: PASSWORD,
      tls: { ca: mail.ca },
    }),
  );
  try {
    const { sizes, contenders } = await bundles(outside);
    const starts = Object.entries(contenders).map(
      ([name, bundle]) =>
        [name, { ...bundle, event: EVENT, environment: store.environment }] as const,
    );
    return { sizes, starts: await compare(Object.fromEntries(starts), runs) };
  } finally {
    await Promise.all([mail.close(), store.close()]);
    await rm(outside, { recursive: true, force: true });
  }
}

async function compare(
  contenders: Readonly<Record<string, StartOptions>>,
  runs: number,
): Promise<readonly Cold[]> {
  const entries = Object.entries(contenders);
  const loaded = new Map<string, number>();
  for (const [contender, { folder, name, event, environment }] of entries) {
    const bundle = join(folder, `${name}.mjs`);
    const { loaded: files } = await fresh({ bundle, event, environment, count: true });
    const code = Object.entries(files).filter(([file]) => /\.[mc]js$/.test(file));
    loaded.set(
      contender,
      code.reduce((sum, [, octets]) => sum + octets, 0),
    );
  }
  const timed = entries.map(([name, options]) => [name, () => coldStart(options)] as const);
  const samples = await alternate<Start>(Object.fromEntries(timed), runs, 1);
  const figures = new Map([...samples].map(([name, list]) => [name, summary(list)]));
  const against = (one: ReturnType<typeof summary>, other: string) => ({
    total: ratio(one.total, figures.get(other)?.total),
    cpuMs: ratio(one.cpuMs, figures.get(other)?.cpuMs),
  });
  return [...figures].map(([contender, own]) => ({
    contender,
    loaded: loaded.get(contender) ?? Number.NaN,
    ...own,
    ratio: against(own, THEIRS),
    ofJoined: against(own, JOINED),
  }));
}

function summary(samples: readonly Start[]) {
  const of = (value: (sample: Start) => number) => figure(samples.map(value));
  return {
    total: of(({ total }) => total),
    init: of(({ init }) => init),
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
      ["cold start", "loads octets", "to result ms", "ratio", "init ms", "CPU ms", "ratio"].concat(
        "of ours' build: ms",
        "CPU",
        "peak MiB",
      ),
      starts.map((one) => [
        ...[one.contender, octets(one.loaded)],
        ...[shown(one.total), one.ratio.total.toFixed(2), shown(one.init)],
        ...[shown(one.cpuMs), one.ratio.cpuMs.toFixed(2)],
        ...[one.ofJoined.total.toFixed(2), one.ofJoined.cpuMs.toFixed(2), shown(one.peakMiB)],
      ]),
    ),
  ].join("\n");
}
