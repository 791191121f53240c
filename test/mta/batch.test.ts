/**
 * What a batch of ten from a queue costs the network: the built handler of SQS, one session, counted
 * by a proxy that delays, beside nodemailer's pool with one connection sending the same ten.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";
import { COUNTING_RTT_MS, counted, viaNodemailer } from "../bench/counted.ts";
import { type LambdaFunction, startFunction } from "../support/lambda.ts";
import { mtaAvailable } from "./available.ts";
import { mailboxOf } from "./functions.ts";
import { domain, type Mta, startPostfix } from "./servers.ts";

const SIZE = 10;
const TO = `carol@${domain}`;

const table: Record<string, Record<string, number>> = {};
const note = (row: string, roundTrips: number) => {
  table[row] = { [`round trips, batch of ${SIZE}`]: roundTrips };
};

let mta: Mta;
let secrets: Secrets;
let sqs: LambdaFunction;

const mails = Array.from({ length: SIZE }, (_, index) => ({
  from: `alice@${domain}`,
  to: TO,
  subject: `订单 ${index}`,
  text: "Grüße.\n.\nsincerely\n",
}));

/** As the event source mapping hands them over; standard queue, first receive. */
function eventOf(mailbox: string, ids: readonly string[]) {
  const sent = String(Date.now());
  return {
    Records: mails.map(({ to, subject, text }, index) => ({
      messageId: crypto.randomUUID(),
      receiptHandle: `receipt-${index}`,
      body: JSON.stringify({ mailbox, to, subject, text, messageId: ids[index] }),
      attributes: {
        ApproximateReceiveCount: "1",
        SentTimestamp: sent,
        SenderId: "AIDA",
        ApproximateFirstReceiveTimestamp: sent,
      },
      messageAttributes: {},
      md5OfBody: "",
      eventSource: "aws:sqs",
      eventSourceARN: "arn:aws:sqs:us-east-1:000000000000:requests",
      awsRegion: "us-east-1",
    })),
  };
}

describe.skipIf(!mtaAvailable("postfix"))("an SQS batch of ten to Postfix", () => {
  beforeAll(async () => {
    [mta, secrets] = await Promise.all([startPostfix(), startSecrets()]);
    sqs = await startFunction("sqs", {
      MAILBOX_SECRET_PREFIX: "batch/",
      AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
    });
  });
  afterAll(async () => {
    await Promise.all([sqs?.stop(), secrets?.close(), mta?.stop()]);
    console.log("\nconnect to the reply that settles the last content, implicit TLS, PLAIN");
    console.table(table);
  });

  it.each([
    { chunking: "off", most: 15 },
    { chunking: "auto", most: 6 },
  ])("chunking $chunking: at most $most round trips, one connection", async (given) => {
    const { chunking, most } = given;
    const ids = mails.map(() => `<${crypto.randomUUID()}@${domain}>`);
    const target = { host: mta.host, port: mta.ports.smtps };
    const { value, roundTrips, connections } = await counted(target, COUNTING_RTT_MS, (proxy) => {
      const secret = mailboxOf(mta, "implicit", { port: proxy.port, auth: ["PLAIN"], chunking });
      secrets.put(`batch/${chunking}`, JSON.stringify(secret));
      return sqs.invoke(eventOf(chunking, ids));
    });
    expect(value).toEqual({ batchItemFailures: [] });
    expect(connections).toBe(1);
    for (const id of ids) expect(await mta.readMail(TO, { messageId: id })).toHaveLength(1);
    note(`posthaste, chunking ${chunking}`, roundTrips);
    expect(roundTrips).toBeLessThanOrEqual(most);
  });

  it("nodemailer's pool with one connection: 25", async () => {
    const { username, password } = mta.users[0];
    const account = { security: "implicit", username, password, ca: mta.ca } as const;
    const target = { host: mta.host, port: mta.ports.smtps };
    const { roundTrips, connections } = await counted(target, COUNTING_RTT_MS, ({ port }) =>
      viaNodemailer(account, port, mails, { pool: true }),
    );
    expect(connections).toBe(1);
    note("nodemailer, pool of one connection", roundTrips);
    expect(roundTrips).toBe(25);
  });
});
