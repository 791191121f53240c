/**
 * Peak memory and speed of a message with an attachment of 1, 10 and 100 MB, streamed from S3 (the
 * real SDK, an endpoint on loopback) to a relay (a sink on loopback), beside nodemailer sending the
 * same. Each send is a process of its own with Node's default heap; endpoint and sink live in this
 * one, so that their memory is not counted.
 *
 * `node test/bench/memory.ts` prints a table, then JSON; exits 1 where memory grows with the object.
 */
import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startObjects } from "../support/objects.ts";

const MEGABYTE = 1024 * 1024;
const SIZES = [1, 10, 100];
const RUNS = 3;
/** What the peak at the largest object may lie above that at the smallest, in MiB. */
const ALLOWED = 16;
const SENDERS = ["posthaste", "posthaste+dkim", "nodemailer", "nodemailer+dkim"] as const;

type Sender = (typeof SENDERS)[number];

export interface Measure {
  readonly sender: Sender;
  /** MiB of the attachment. */
  readonly size: number;
  /** MiB; of several runs the highest. */
  readonly peak: number;
  /** MiB of attachment in a second, process start and imports not counted; of several the median. */
  readonly speed: number;
}

/** What one send measures of itself. */
interface Sample {
  /** KiB. */
  readonly peak: number;
  readonly milliseconds: number;
}

export async function measure(runs = RUNS): Promise<readonly Measure[]> {
  const objects = await startObjects(
    Object.fromEntries(SIZES.map((size) => [`files/${size}.bin`, size * MEGABYTE])),
  );
  const sink = await startSink();
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const environment = {
    AWS_ENDPOINT_URL_S3: objects.url,
    AWS_REGION: "eu-central-1",
    AWS_ACCESS_KEY_ID: "local",
    AWS_SECRET_ACCESS_KEY: "local",
    BENCH_PORT: String(sink.port),
    BENCH_KEY: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
  try {
    const measures: Measure[] = [];
    for (const sender of SENDERS) {
      for (const size of SIZES) {
        const samples: Sample[] = [];
        for (let run = 0; run < runs; run += 1) {
          const before = sink.received();
          samples.push(await child(sender, size, environment));
          const came = sink.received() - before;
          // Base64 is a third more, and a message that did not arrive was not measured.
          if (came < size * MEGABYTE * 1.33) throw new Error(`${sender}: only ${came} octets came`);
        }
        const times = samples.map(({ milliseconds }) => milliseconds).sort((a, b) => a - b);
        measures.push({
          sender,
          size,
          peak: Math.max(...samples.map(({ peak }) => peak)) / 1024,
          speed: size / ((times[Math.floor(runs / 2)] as number) / 1000),
        });
      }
    }
    return measures;
  } finally {
    await Promise.all([objects.close(), sink.close()]);
  }
}

/** For each sender, how much higher the peak is at the largest object than at the smallest, in MiB. */
export function growth(measures: readonly Measure[]): ReadonlyMap<Sender, number> {
  const peak = (sender: Sender, size: number | undefined) =>
    measures.find((one) => one.sender === sender && one.size === size)?.peak ?? Number.NaN;
  return new Map(
    SENDERS.map((sender) => [sender, peak(sender, SIZES.at(-1)) - peak(sender, SIZES[0])]),
  );
}

async function child(sender: Sender, size: number, environment: object): Promise<Sample> {
  const { NODE_OPTIONS: _unset, ...inherited } = process.env;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [fileURLToPath(import.meta.url), sender, String(size)],
    { env: { ...inherited, ...environment } },
  );
  return JSON.parse(stdout) as Sample;
}

interface Sink {
  readonly port: number;
  /** Octets of content so far. */
  received(): number;
  close(): Promise<void>;
}

/** Takes everything as fast as it comes, and holds nothing of it. No PIPELINING: the dot comes last. */
async function startSink(): Promise<Sink> {
  let received = 0;
  const server = createServer((socket) => {
    let content = false;
    let tail = "";
    socket.on("error", () => socket.destroy());
    socket.write("220 sink\r\n");
    socket.on("data", (chunk) => {
      if (content) {
        received += chunk.length;
        tail = (tail + chunk.toString("latin1", Math.max(0, chunk.length - 5))).slice(-5);
        if (tail !== "\r\n.\r\n") return;
        content = false;
        socket.write("250 taken\r\n");
        return;
      }
      for (const line of chunk.toString("latin1").split("\r\n").slice(0, -1)) {
        if (/^EHLO/i.test(line)) socket.write("250-sink\r\n250 8BITMIME\r\n");
        else if (/^DATA/i.test(line)) {
          content = true;
          tail = "";
          socket.write("354 go on\r\n");
        } else if (/^QUIT/i.test(line)) socket.end("221 bye\r\n");
        else socket.write("250 ok\r\n");
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port was given");
  return {
    port: address.port,
    received: () => received,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

const FROM = "shop@example.com";
const TO = "a@example.net";

async function sendOurs(size: number, key: string | undefined): Promise<number> {
  const { compose } = await import("../../lib/message/compose.ts");
  const { parseRequest } = await import("../../lib/message/schema.ts");
  const { Relay } = await import("../../lib/smtp/io/relay.ts");
  const { s3Attachments } = await import("../../lib/aws/s3.ts");
  const { signContent } = await import("../../lib/message/dkim.ts");
  const s3 = { bucket: "files", key: `${size}.bin` };
  const parsed = parseRequest({ to: TO, subject: "x", text: "x", attachments: [{ s3 }] });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  const begun = performance.now();
  const { content } = await compose(parsed.request, {
    from: { address: FROM },
    date: new Date(),
    messageId: "<1@example.com>",
    resolveAttachment: s3Attachments(),
  });
  const keys = key === undefined ? [] : [{ domain: "example.com", selector: "s", privateKey: key }];
  const signed = await signContent(content, keys);
  const { report } = await new Relay().send(
    {
      endpoints: [{ host: "127.0.0.1", port: Number(process.env["BENCH_PORT"]), security: "none" }],
      tls: {},
      ehloName: "[127.0.0.1]",
      allowPlaintextAuth: false,
      chunking: "off",
      secrets: [],
    },
    [{ from: FROM, recipients: [TO], content: signed, partial: "accept", smtputf8: false }],
    { timeLeft: 60_000 },
  );
  const fate = report.messages[0]?.recipients[0]?.fate.is;
  if (fate !== "taken") throw new Error(`not taken: ${fate} ${report.error?.message}`);
  return performance.now() - begun;
}

async function sendTheirs(size: number, key: string | undefined): Promise<number> {
  const { createTransport } = await import("nodemailer");
  const { GetObjectCommand, S3Client } = await import("@aws-sdk/client-s3");
  const dkim = key && { domainName: "example.com", keySelector: "s", privateKey: key };
  const begun = performance.now();
  const client = new S3Client({ responseChecksumValidation: "WHEN_REQUIRED" });
  const { Body } = await client.send(new GetObjectCommand({ Bucket: "files", Key: `${size}.bin` }));
  const transport = createTransport({
    host: "127.0.0.1",
    port: Number(process.env["BENCH_PORT"]),
    ignoreTLS: true,
    ...(dkim && { dkim }),
  });
  const content = Body as NodeJS.ReadableStream & import("node:stream").Readable;
  await transport.sendMail({
    from: FROM,
    to: TO,
    subject: "x",
    text: "x",
    attachments: [{ filename: `${size}.bin`, content }],
  });
  return performance.now() - begun;
}

async function send(sender: string, size: number): Promise<void> {
  const key = sender.endsWith("+dkim") ? process.env["BENCH_KEY"] : undefined;
  const way = sender.startsWith("posthaste") ? sendOurs : sendTheirs;
  const milliseconds = await way(size, key);
  const sample: Sample = { peak: process.resourceUsage().maxRSS, milliseconds };
  process.stdout.write(JSON.stringify(sample), () => process.exit());
}

/** A line for each sender and size, then what the peak grew by. */
export function table(measures: readonly Measure[]): string {
  const row = (cells: readonly string[]) =>
    cells.map((cell, index) => (index === 0 ? cell.padEnd(16) : cell.padStart(10))).join("");
  return [
    row(["sender", "MiB", "peak MiB", "MiB/s"]),
    ...measures.map(({ sender, size, peak, speed }) =>
      row([sender, String(size), peak.toFixed(1), speed.toFixed(1)]),
    ),
    "",
    ...[...growth(measures)].map(([sender, grown]) => row([sender, "grew by", grown.toFixed(1)])),
  ].join("\n");
}

if (import.meta.main) {
  const [sender, size] = process.argv.slice(2);
  if (sender !== undefined) await send(sender, Number(size));
  else {
    const measures = await measure();
    console.log(`${table(measures)}\n\n${JSON.stringify(measures)}`);
    const ours = [...growth(measures)].filter(([name]) => name.startsWith("posthaste"));
    process.exitCode = ours.every(([, grown]) => grown <= ALLOWED) ? 0 : 1;
  }
}
