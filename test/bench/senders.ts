/**
 * The contenders on loopback without TLS, each by the means that its callers have for many messages:
 * ours with a session's worth of orders, nodemailer's pool, emailjs's queue, Upyo's sendMany. Each
 * gets an attachment as its callers have it, made beforehand: in base64, or as octets.
 */
import { createMessage } from "@upyo/core";
import { SmtpTransport } from "@upyo/smtp";
import { SMTPClient } from "emailjs";
import { createTransport } from "nodemailer";
import { viaPosthaste } from "./ours.ts";

export const FROM = "shop@example.com";
const HOST = "127.0.0.1";

/** What is to be sent, and how. */
export interface Job {
  readonly port: number;
  readonly messages: number;
  /** Of each message; they are all others'. */
  readonly recipients: number;
  /** Octets of the attachment; 0: there is none. */
  readonly attached: number;
  readonly connections: number;
}

/** Makes the messages, and gives what sends them all: that alone is to be measured. */
export type Sender = (job: Job) => () => Promise<void>;

export const SENDERS = {
  posthaste: (job) => {
    const content = octetsOf(job).toString("base64");
    const mails = mailsOf(job, (mail) => ({
      ...mail,
      ...(job.attached > 0 && { attachments: [{ filename: "a.bin", content }] }),
    }));
    const secret = {
      ...{ host: HOST, port: job.port, security: "none", from: FROM },
      ...{ maxMessageBytes: 1_000_000_000, maxRecipients: 10_000 },
    };
    return () => all(shares(mails, job), async (share) => void (await viaPosthaste(secret, share)));
  },
  nodemailer: (job) => {
    const content = octetsOf(job);
    const mails = mailsOf(job, (mail) => ({
      ...mail,
      ...(job.attached > 0 && { attachments: [{ filename: "a.bin", content }] }),
    }));
    return async () => {
      const pool = createTransport({
        ...{ host: HOST, port: job.port, ignoreTLS: true, pool: true },
        ...{ maxConnections: job.connections, maxMessages: Number.POSITIVE_INFINITY },
      });
      await all(mails, async (mail) => {
        const { accepted } = await pool.sendMail(mail);
        if (accepted.length !== job.recipients) throw new Error("nodemailer: not all accepted");
      });
      pool.close();
    };
  },
  emailjs: (job) => {
    const data = octetsOf(job).toString("base64");
    const mails = mailsOf(job, (mail) => ({
      ...mail,
      to: mail.to.join(", "),
      // It leaves line ends as they are; the others make them canonical.
      text: mail.text.replaceAll("\n", "\r\n"),
      ...(job.attached > 0 && { attachment: [{ name: "a.bin", data, encoded: true }] }),
    }));
    return () =>
      all(shares(mails, job), async (share) => {
        const client = new SMTPClient({ host: HOST, port: job.port });
        await all(share, async (mail) => void (await client.sendAsync(mail)));
        client.smtp.quit();
      });
  },
  upyo: (job) => {
    const content = octetsOf(job);
    const type = "application/octet-stream" as const;
    const attachments = [
      { inline: false, filename: "a.bin", content, contentType: type, contentId: "" },
    ];
    const mails = mailsOf(job, (mail) => ({
      ...{ from: mail.from, to: [...mail.to], subject: mail.subject },
      content: { text: mail.text },
      ...(job.attached > 0 && { attachments }),
    }));
    return async () => {
      const transport = new SmtpTransport({
        ...{ host: HOST, port: job.port, secure: false, poolSize: job.connections },
      });
      await all(shares(mails, job), async (share) => {
        for await (const receipt of transport.sendMany(share.map(createMessage))) {
          if (!receipt.successful) throw new Error(`upyo: ${receipt.errorMessages}`);
        }
      });
      await transport.closeAllConnections();
    };
  },
} as const satisfies Readonly<Record<string, Sender>>;
export type SenderName = keyof typeof SENDERS;

interface Mail {
  readonly from: string;
  readonly to: readonly string[];
  readonly subject: string;
  readonly text: string;
}

function mailsOf<T>(
  { messages, recipients }: Job,
  make: (mail: Mail & { to: string[] }) => T,
): T[] {
  const text = "Grüße aus dem Takt.\n".repeat(20);
  return Array.from({ length: messages }, (_, index) =>
    make({
      from: FROM,
      to: Array.from({ length: recipients }, (_, who) => `a${who}@example.net`),
      subject: `订单 ${index}`,
      text,
    }),
  );
}

function octetsOf({ attached }: Job): Buffer {
  return Buffer.alloc(attached, "posthaste!");
}

/** One share for each connection. */
function shares<T>(mails: readonly T[], { connections }: Job): readonly (readonly T[])[] {
  return Array.from({ length: connections }, (_, which) =>
    mails.filter((_, index) => index % connections === which),
  );
}

async function all<T>(these: readonly T[], run: (one: T) => Promise<void>): Promise<void> {
  await Promise.all(these.map(run));
}

export interface Sample {
  readonly milliseconds: number;
  /** Of this process, user and system together, in milliseconds; absent for other programs. */
  readonly cpu?: number;
}

export async function timed(run: () => Promise<void>): Promise<Required<Sample>> {
  const before = process.cpuUsage();
  const begun = performance.now();
  await run();
  const milliseconds = performance.now() - begun;
  const { user, system } = process.cpuUsage(before);
  return { milliseconds, cpu: (user + system) / 1000 };
}
