/**
 * The function that one would write with nodemailer: the request checked, the secret read, the message
 * sent, an outcome told. Bundled by the same build, from the same packages, for the cold start.
 */
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { createTransport } from "nodemailer";
import * as z from "zod/mini";

const request = z.strictObject({ to: z.string(), subject: z.string(), text: z.string() });
const mailbox = z.object({
  host: z.string(),
  port: z.number(),
  username: z.string(),
  password: z.string(),
  tls: z.object({ ca: z.string() }),
});

const client = new SecretsManagerClient({ maxAttempts: 3 });

export async function handler(event: unknown): Promise<{ outcome: string; response: string }> {
  const message = request.parse(event);
  const SecretId = process.env["MAILBOX_SECRET_ID"];
  const { SecretString } = await client.send(new GetSecretValueCommand({ SecretId }));
  const { host, port, username, password, tls } = mailbox.parse(JSON.parse(SecretString ?? ""));
  const transport = createTransport({
    host,
    port,
    secure: true,
    auth: { user: username, pass: password },
    tls,
  });
  const { response } = await transport.sendMail({ from: username, ...message });
  return { outcome: "accepted", response };
}
