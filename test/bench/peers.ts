/**
 * The others, each as its documentation has it: one message by itself, several over one connection. What
 * one of them cannot do, it says, and it is left out there.
 *
 * Postfix's `smtp-source` knows neither TLS nor AUTH, so it is a yardstick for throughput alone.
 */
import { createMessage } from "@upyo/core";
import { SmtpTransport } from "@upyo/smtp";
import { SMTPClient } from "emailjs";
import { type Account, type Mail, viaNodemailer } from "./counted.ts";

export const MECHANISMS = ["PLAIN", "LOGIN", "SCRAM-SHA-256"] as const;
export type Mechanism = (typeof MECHANISMS)[number];

export interface Peer {
  readonly name: string;
  readonly mechanisms: readonly Mechanism[];
  /** Resolves when the last is taken; rejects where one is not. */
  send(
    account: Account & { readonly mechanism: Mechanism },
    port: number,
    mails: readonly Mail[],
  ): Promise<void>;
}

const OLD: readonly Mechanism[] = ["PLAIN", "LOGIN"];

export const PEERS: readonly Peer[] = [
  {
    name: "nodemailer",
    mechanisms: OLD,
    send: (account, port, mails) => viaNodemailer(account, port, mails, { pool: mails.length > 1 }),
  },
  {
    name: "emailjs",
    mechanisms: OLD,
    async send({ security, username, password, ca, mechanism }, port, mails) {
      const trusted = ca === undefined ? {} : { ca };
      const client = new SMTPClient({
        host: "127.0.0.1",
        port,
        user: username ?? "",
        password: password ?? "",
        ssl: security === "implicit" ? trusted : false,
        tls: security === "starttls" ? trusted : false,
        authentication: [mechanism as "PLAIN" | "LOGIN"],
        timeout: 60_000,
      });
      try {
        const sent = mails.map(({ from, to, subject, text }) =>
          // It leaves line ends as they are, and Postfix refuses bare line feeds.
          client.sendAsync({ from, to, subject, text: text.replaceAll("\n", "\r\n") }),
        );
        await Promise.all(sent);
      } finally {
        client.smtp.close();
      }
    },
  },
  {
    name: "@upyo/smtp",
    mechanisms: OLD,
    async send({ security, username, password, ca, mechanism }, port, mails) {
      const method = mechanism === "LOGIN" ? "login" : "plain";
      const transport = new SmtpTransport({
        host: "127.0.0.1",
        port,
        secure: security === "implicit",
        auth: { user: username ?? "", pass: password ?? "", method },
        poolSize: 1,
        ...(ca !== undefined && { tls: { ca: [ca] } }),
      });
      const messages = mails.map(({ from, to, subject, text }) =>
        createMessage({ from, to, subject, content: { text } }),
      );
      try {
        for await (const receipt of transport.sendMany(messages)) {
          if (!receipt.successful)
            throw new Error(`@upyo/smtp: ${receipt.errorMessages.join("; ")}`);
        }
      } finally {
        await transport.closeAllConnections();
      }
    },
  },
];
