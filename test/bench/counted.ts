/** Round trips as the network sees them: whatever runs, runs through a proxy that counts and delays. */
import { createTransport } from "nodemailer";
import { type DelayProxy, startDelayProxy } from "../support/proxy.ts";

export interface Counted<T> {
  readonly value: T;
  /** From the connection to the reply that settles the content; the answer to QUIT not counted. */
  readonly roundTrips: number;
  readonly connections: number;
  /** To the end of what ran, in milliseconds. */
  readonly milliseconds: number;
}

/** Long enough that session tickets and the next command always cross; see the proxy. */
export const COUNTING_RTT_MS = 12;
/** Octets of two TLS 1.3 records, QUIT and the alert that closes; no content is so short. */
const FAREWELL = 28 + 24;

/** Runs it through a proxy of its own, so that nothing but its connections is counted. */
export async function counted<T>(
  target: { readonly host: string; readonly port: number },
  rttMs: number,
  run: (proxy: DelayProxy) => Promise<T>,
): Promise<Counted<T>> {
  const proxy = await startDelayProxy({ target, rttMs });
  try {
    const begun = performance.now();
    const value = await run(proxy);
    const milliseconds = performance.now() - begun;
    const { trips, connections } = proxy.stats();
    // Whether QUIT is answered before the proxy is asked is a matter of luck, so it counts for none.
    const farewell = (trips.at(-1)?.up ?? 0) <= FAREWELL ? 1 : 0;
    return { value, roundTrips: trips.length - farewell, connections, milliseconds };
  } finally {
    await proxy.close();
  }
}

export interface Account {
  readonly security: "implicit" | "starttls" | "none";
  readonly username?: string;
  readonly password?: string;
  readonly ca?: string;
  /** Default: PLAIN. */
  readonly mechanism?: string;
}

export interface Mail {
  readonly from: string;
  readonly to: string;
  readonly subject: string;
  readonly text: string;
}

/**
 * nodemailer sending the same messages: one by itself, several by its pool with one connection.
 * Resolves when the last is taken.
 */
export async function viaNodemailer(
  { security, username: user, password: pass, ca, mechanism = "PLAIN" }: Account,
  port: number,
  mails: readonly Mail[],
  options: { readonly pool?: boolean } = {},
): Promise<void> {
  const common = {
    host: "127.0.0.1",
    port,
    secure: security === "implicit",
    requireTLS: security === "starttls",
    ignoreTLS: security === "none",
    authMethod: mechanism,
    ...(user !== undefined && { auth: { user, pass: pass ?? "" } }),
    ...(ca !== undefined && { tls: { ca } }),
  };
  const transport =
    options.pool === true
      ? createTransport({
          ...common,
          pool: true,
          maxConnections: 1,
          // Its default of 100 would open a second connection.
          maxMessages: Number.POSITIVE_INFINITY,
        })
      : createTransport(common);
  try {
    const sent = await Promise.all(mails.map((mail) => transport.sendMail(mail)));
    const taken = sent.filter(({ accepted }) => accepted?.length === 1).length;
    if (taken !== mails.length) throw new Error(`nodemailer: ${taken} of ${mails.length} taken`);
  } finally {
    transport.close();
  }
}
