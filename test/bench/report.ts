/**
 * `node test/bench/report.ts`: the pages and charts that show `results.json`, written from it and from
 * nothing else: `test/bench/README.md`, `test/bench/charts/*.svg`, and between their marks the figures of
 * the README in each of its languages. test/docs/bench.test.ts holds them to it.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { type Chart, chart } from "./charts.ts";
import type { Cold } from "./cold.ts";
import { BATCHES, costs, MEMORIES, PRICE, RTTS } from "./cost.ts";
import type { Cpu } from "./cpu.ts";
import type { Early } from "./early.ts";
import { FIT_COLUMNS, fitRows, type Growth } from "./growth.ts";
import type { Latency } from "./latency.ts";
import type { Stalls } from "./stalls.ts";
import type { Figure } from "./stats.ts";
import type { Throughput } from "./throughput.ts";

interface Near<T> {
  readonly usual: T;
  readonly acknowledgedAtOnce?: T;
}

/** Sections that a run did not measure are absent, and so are their pages. */
export interface Results {
  readonly commit: string;
  readonly node: string;
  readonly cpu: string;
  readonly date: string;
  readonly load: number;
  readonly latency?: Near<readonly Latency[]>;
  readonly batch?: Near<readonly Latency[]>;
  readonly throughput?: Near<readonly Throughput[]>;
  readonly growth?: readonly Growth[];
  readonly stalls?: readonly Stalls[] | string;
  readonly session?: readonly Cpu[];
  readonly size?: { readonly starts: readonly Cold[] };
  readonly early?: readonly Early[];
}

const ROOT = new URL("../../", import.meta.url);
const MARKS = ["<!-- bench -->", "<!-- /bench -->"] as const;

/** What is to be written, by path below the repository. */
export async function report(results: Results): Promise<ReadonlyMap<string, string>> {
  const charts = chartsOf(results);
  const files = new Map<string, string>();
  for (const [name, one] of Object.entries(charts)) {
    files.set(`test/bench/charts/${name}.svg`, chart(one));
  }
  files.set("test/bench/README.md", page(results, charts));
  for (const words of [ENGLISH, CHINESE]) {
    const readme = await readFile(new URL(words.file, ROOT), "utf8");
    files.set(words.file, marked(readme, summary(results, charts, words), words.file));
  }
  return files;
}

function marked(readme: string, body: string, file: string): string {
  const [start, end] = MARKS.map((mark) => readme.indexOf(mark)) as [number, number];
  if (start < 0 || end < start) throw new Error(`${file} lacks ${MARKS.join(" … ")}`);
  return `${readme.slice(0, start + MARKS[0].length)}\n\n${body}\n\n${readme.slice(end)}`;
}

const plain = (one: Latency): boolean => (one.mechanism ?? "PLAIN") === "PLAIN";
const bar = (name: string, { median: value, low, high }: Figure) => ({ name, value, low, high });

function chartsOf({ latency, batch, size, early }: Results): Readonly<Record<string, Chart>> {
  const charts: Record<string, Chart> = {};
  const grouped = (list: readonly Latency[], label: (one: Latency) => string) => {
    const groups = new Map<string, Latency[]>();
    for (const one of list) groups.set(label(one), [...(groups.get(label(one)) ?? []), one]);
    return [...groups].map(([name, ones]) => ({
      label: name,
      bars: ones.map(({ contender, milliseconds }) => bar(contender, milliseconds)),
    }));
  };
  if (latency) {
    const list = latency.usual.filter((one) => plain(one) && one.security === "implicit");
    charts["latency"] = {
      title: "One message, implicit TLS and AUTH PLAIN, into Postfix",
      unit: "milliseconds to the end of the call, median and quartiles; less is better",
      groups: grouped(list, ({ rttMs }) => `round trip ${rttMs} ms`),
    };
  }
  if (batch) {
    charts["batch"] = {
      title: "Several messages in one session",
      unit: "milliseconds in all, median and quartiles; less is better",
      groups: grouped(
        batch.usual.filter(({ messages }) => messages === 10),
        ({ messages, rttMs }) => `${messages} messages, round trip ${rttMs} ms`,
      ),
    };
  }
  if (size) {
    charts["cold"] = {
      title: "A cold start, to its first result",
      unit: "milliseconds of CPU, median and quartiles; less is better",
      groups: [
        {
          label: "on loopback, secret within TLS",
          bars: size.starts.map(({ contender, cpuMs }) => bar(contender, cpuMs)),
        },
      ],
    };
  }
  if (early) {
    charts["early"] = {
      title: "A cold start at a distance, STARTTLS, the secret after 30 ms",
      unit: "milliseconds to the first result, median and quartiles; less is better",
      groups: [true, false].flatMap((offered) =>
        [...new Set(early.map(({ rttMs }) => rttMs))].map((rtt) => ({
          label: `${offered ? "PIPELINING" : "no PIPELINING, as Amazon SES"}, round trip ${rtt} ms`,
          bars: early
            .filter(({ pipelining, rttMs }) => pipelining === offered && rttMs === rtt)
            .map(({ contender, total }) => bar(contender, total)),
        })),
      ),
    };
  }
  return charts;
}

const picture = (path: string, title: string): string => `![${title}](${path})`;

/** What a README says of the figures in its own language; the charts are drawn once, in English. */
interface Words {
  readonly file: string;
  readonly measured: (node: string, cpu: string, date: string) => string;
  readonly caption: (name: (typeof SHOWN)[number], chart: Chart) => string;
}

const SHOWN = ["latency", "batch", "cold"] as const;

const ENGLISH: Words = {
  file: "README.md",
  measured: (node, cpu, date) =>
    `Measured with Node ${node} on ${cpu}, ${date}, all in one run and in turns.`,
  caption: (_, { title }) => title,
};

const CAPTIONS = {
  latency: "向 Postfix 发一封邮件，隐式 TLS 加 AUTH PLAIN：到调用结束的毫秒数，越短越好",
  batch: "一次会话发多封邮件：总毫秒数，越短越好",
  cold: "冷启动到得出第一个结果：CPU 毫秒数，越短越好",
};
const CHINESE: Words = {
  file: "README.zh-CN.md",
  measured: (node, cpu, date) =>
    `测试环境：Node ${node}，${cpu}，${date}；所有数据出自同一次运行，各方轮流测试。图中数值为中位数和四分位数。`,
  caption: (name) => CAPTIONS[name],
};

/** For the README: what a reader asks first. */
function summary(
  { node, cpu, date }: Results,
  charts: Readonly<Record<string, Chart>>,
  { measured, caption }: Words,
): string {
  const shown = SHOWN.flatMap((name) => {
    const one = charts[name];
    return one ? [picture(`test/bench/charts/${name}.svg`, caption(name, one))] : [];
  });
  return [measured(node.replace("v", ""), cpu, date.slice(0, 10)), ...shown].join("\n\n");
}

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

const ms = ({ median, low, high }: Figure): string => `${median} (${low}–${high})`;
const times = (value: number | null | undefined): string =>
  typeof value === "number" && Number.isFinite(value) ? value.toFixed(2) : "–";

function page(results: Results, charts: Readonly<Record<string, Chart>>): string {
  const { latency, batch, throughput, growth, stalls, size, early, session } = results;
  const drawn = (name: string) =>
    charts[name] ? [picture(`charts/${name}.svg`, charts[name].title)] : [];
  const parts: string[] = [
    "# Benchmarks",
    "Written by `node test/bench/report.ts` from [results.json](results.json), which `npm run bench` writes: do not edit. " +
      `Commit ${results.commit.slice(0, 12)}, Node ${results.node}, ${results.cpu}, load ${results.load} at the start, ${results.date.slice(0, 10)}. ` +
      "Contenders take turns; figures are medians with quartiles, ratios are of nodemailer's median in the same run.",
  ];
  const rows = (list: readonly Latency[]) =>
    list.map((one) => [
      one.security,
      one.mechanism ?? "PLAIN",
      String(one.messages),
      String(one.rttMs),
      one.contender,
      one.roundTrips,
      ms(one.milliseconds),
      times(one.ratio),
    ]);
  const head = [
    "security",
    "login",
    "messages",
    "RTT ms",
    "contender",
    "round trips",
    "ms",
    "ratio",
  ];
  if (latency) {
    parts.push(
      "## One message",
      ...drawn("latency"),
      "Through a proxy that delays and counts. nodemailer, emailjs and @upyo/smtp have no SCRAM.",
      markdown(head, rows(latency.usual)),
    );
    const near = latency.acknowledgedAtOnce;
    if (near)
      parts.push("Where every segment is acknowledged at once:", markdown(head, rows(near)));
  }
  if (batch) {
    parts.push(
      "## Several messages in one session",
      ...drawn("batch"),
      "nodemailer: its pool with one connection. emailjs and @upyo/smtp keep one connection too.",
      markdown(head, rows(batch.usual)),
    );
    const near = batch.acknowledgedAtOnce;
    if (near)
      parts.push("Where every segment is acknowledged at once:", markdown(head, rows(near)));
  }
  if (stalls !== undefined) parts.push("## Delayed acknowledgements", STALLS);
  if (typeof stalls === "object") {
    parts.push(
      markdown(
        ["security", "messages in the session", "contender", "delayed acknowledgements", "ms"],
        stalls.map((one) => [
          one.security,
          String(one.messages),
          one.contender,
          ms(one.delayedAcks),
          ms(one.milliseconds),
        ]),
      ),
    );
  }
  if (throughput) {
    const cells = (list: readonly Throughput[]) =>
      list.map((one) => [
        one.kind,
        one.contender,
        `${ms(one.speed)} ${one.unit}`,
        times(one.ratio),
        one.cpuMs ? ms(one.cpuMs) : "",
      ]);
    const columns = ["what", "contender", "speed", "ratio", "CPU ms a message"];
    parts.push(
      "## Throughput on loopback",
      "Into Postfix's `smtp-sink`, composition included; `smtp-source` is the yardstick in C: it composes nothing, and knows neither TLS nor AUTH.",
      markdown(columns, cells(throughput.usual)),
    );
    const near = throughput.acknowledgedAtOnce;
    if (near)
      parts.push("Where every segment is acknowledged at once:", markdown(columns, cells(near)));
  }
  if (growth) parts.push("## How cost grows", GROWTH, markdown(FIT_COLUMNS, fitRows(growth)));
  if (size) {
    parts.push(
      "## Cold start",
      ...drawn("cold"),
      COLD,
      markdown(
        ["bundle", "octets of code", "to result ms", "ratio", "CPU ms", "ratio", "peak MiB"],
        size.starts.map((one) => [
          one.contender,
          one.loaded.toLocaleString("en-US"),
          ms(one.total),
          times(one.ratio.total),
          ms(one.cpuMs),
          times(one.ratio.cpuMs),
          ms(one.peakMiB),
        ]),
      ),
    );
  }
  if (early) {
    parts.push(
      "## Connecting early",
      ...drawn("early"),
      markdown(
        ["server", "RTT ms", "contender", "to result ms", "ratio"],
        early.map((one) => [
          one.pipelining ? "PIPELINING" : "no PIPELINING",
          String(one.rttMs),
          one.contender,
          ms(one.total),
          times(one.ratio),
        ]),
      ),
    );
  }
  if (session) {
    parts.push(
      "## What a thousand messages cost",
      COST,
      markdown(
        ["messages in a session", "contender", "CPU ms a session", "ratio"],
        session.map((one) => [
          String(one.messages),
          one.contender,
          ms(one.cpuMs),
          times(one.ratio),
        ]),
      ),
      costTable(results),
    );
  }
  return `${parts.join("\n\n")}\n`;
}

function costTable({ latency, batch, session }: Results): string {
  const all = costs(latency?.usual ?? [], batch?.usual ?? [], session ?? []);
  const rows = RTTS.flatMap((rttMs) =>
    BATCHES.flatMap((messages) =>
      MEMORIES.flatMap((memory) => {
        const own = all.filter(
          (one) => one.rttMs === rttMs && one.messages === messages && one.memory === memory,
        );
        const [ours, theirs] = ["posthaste", "nodemailer"].map((name) =>
          own.find(({ contender }) => contender === name),
        );
        if (ours === undefined || theirs === undefined) return [];
        return [
          [
            String(rttMs),
            messages === 1 ? "one by one" : `${messages} in a session`,
            String(memory),
            ...[ours, theirs].flatMap(({ duration, gigabyteSeconds, dollars }) => [
              Math.round(duration).toString(),
              gigabyteSeconds.toPrecision(3),
              `$${dollars.toFixed(5)}`,
            ]),
            times(ours.dollars / theirs.dollars),
          ],
        ];
      }),
    ),
  );
  return markdown(
    ["RTT ms", "sent", "MB", "ms", "GB-s", "price", "nodemailer: ms", "GB-s", "price", "ratio"],
    rows,
  );
}

const STALLS =
  "Postfix leaves Nagle's algorithm on: what it writes behind a small write waits until that is acknowledged, " +
  "and the kernel that received it holds its acknowledgement back for some 40 ms where nobody answers. Counted by the kernel " +
  "(`DelayedACKs`) in a network namespace of its own, without a proxy. Our side writes each group once, has Nagle's " +
  "algorithm off, and waits for no answer to QUIT that is late; so none of these waits comes from a small write of ours " +
  "behind another. What is left is Postfix's own: in TLS 1.3 its session tickets are a small write that asks for no " +
  "answer, and the greeting (implicit TLS) or the answer to EHLO (STARTTLS) waits behind them. A client could only end that " +
  "by acknowledging at once (`TCP_QUICKACK`), which Node does not offer, or by speaking before the greeting, which " +
  "RFC 5321 §4.3.1 forbids. Through the delaying proxy of the other sections there are two more sockets whose kernel may wait so: its " +
  "figures at 0 ms tell more of these waits than of who sends, and those acknowledged at once are the ones to compare.";

const GROWTH =
  "Recipients 1 to 1,000, an attachment of 1 KB to 100 MB, 1 to 100 messages in a session, into `smtp-sink`. " +
  "A straight line through the medians, and the power with which cost grows over the last decade: 1 is linear, less is better.";

const COLD =
  "Under AWS's runtime interface client: from the making of the process to the answer, Secrets Manager (within TLS) and the " +
  "mail server on loopback. “nodemailer” is a function of the same job (middy, zod, the same SDK) bundled by the same settings of " +
  "esbuild; “built by ours” has it joined into scripts by our build as well. The code cache is V8's, made by the same Node " +
  "(`node infra/code-cache.ts`); it serves a Node that is known, so a deployment has it only where it was made for that. On two " +
  "shared cores CPU time tells more than the clock. From run to run the ratio lies between 0.7 and 0.8; what brings it below 0.7 is that cache. Without it most of what is left is Node's own: " +
  "starting, its modules for TLS, HTTPS and crypto, and Lambda's client take a third, and compiling the scripts a tenth; the SDK is half " +
  "of the code, and a signed request of our own in its place is not worth the keeping of it.";

const COST =
  "A model from the figures above, for a warm function: of the measured time, waiting takes as long whatever the memory, and CPU " +
  `time grows as 1,769 MB to the memory given, since Lambda hands out CPU in that proportion. Price: us-east-1, arm64, $${PRICE.gigabyteSecond.toFixed(10)} ` +
  "a GB-second and $0.20 a million requests, without the free tier; Secrets Manager, the queue and the log are not in it. Implicit TLS 1.3, PLAIN, chunking off.";

export async function write(results: Results): Promise<readonly string[]> {
  const files = await report(results);
  for (const [path, body] of files) {
    const file = new URL(path, ROOT);
    await mkdir(dirname(fileURLToPath(file)), { recursive: true });
    await writeFile(file, body);
  }
  return [...files.keys()];
}

if (import.meta.main) {
  const results = JSON.parse(await readFile(new URL("results.json", import.meta.url), "utf8"));
  for (const path of await write(results as Results)) console.log(path);
}
