/**
 * The function that one would write with nodemailer: middy around it, the request checked, the secret
 * read, the message sent, an outcome told. Bundled from the same packages, for the cold start.
 */
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import middy from "@middy/core";
import { createTransport } from "nodemailer";
import * as z from "zod/mini";

const request = z.strictObject({ to: z.string(), subject: z.string(), text: z.string() });
const mailbox = z.object({
  host: z.string(),
  port: z.number(),
  security: z.enum(["implicit", "starttls"]),
  username: z.string(),
  password: z.string(),
  tls: z.optional(z.object({ ca: z.string() })),
});

const client = new SecretsManagerClient({ maxAttempts: 3 });

async function send(event: unknown): Promise<{ outcome: string; response: string }> {
  const message = request.parse(event);
  const SecretId = process.env["MAILBOX_SECRET_ID"];
  const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId }));
  const found = mailbox.parse(JSON.parse(SecretString ?? ""));
  const { host, port, security, username, password, tls } = found;
  const transport = createTransport({
    host,
    port,
    secure: security === "implicit",
    requireTLS: security === "starttls",
    auth: { user: username, pass: password },
    ...(tls && { tls }),
  });
  const { response } = await transport.sendMail({ from: username, ...message });
  return { outcome: "accepted", response };
}

export const handler = middy(send);
