/**
 * The secret store as a function in Lambda finds it: within TLS, whose authority the process has to
 * trust. Plain HTTP would spare both sides what every cold start pays.
 */
import { writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { createServer } from "node:tls";
import { makeCertificate } from "../../infra/local/certificate.ts";
import { type Secrets, startSecrets } from "../../infra/local/secrets.ts";

export interface Store extends Pick<Secrets, "put" | "delay"> {
  /** Region, address and authority, for a function's environment. */
  readonly environment: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** @param trusted further authorities, PEM @param folder where the file with them is written */
export async function startStore(folder: string, trusted: readonly string[]): Promise<Store> {
  const secrets = await startSecrets();
  const { cert, key, ca } = await makeCertificate();
  const inner = Number(new URL(secrets.url).port);
  const server = createServer({ cert, key }, (outside) => {
    const inside = connect({ port: inner, host: "127.0.0.1", noDelay: true });
    outside.setNoDelay(true);
    outside.pipe(inside).pipe(outside);
    outside.on("error", () => inside.destroy());
    inside.on("error", () => outside.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port was given");
  const file = join(folder, "authorities.pem");
  await writeFile(file, [ca, ...trusted].join("\n"));
  return {
    put: secrets.put,
    delay: secrets.delay,
    environment: {
      MAILBOX_SECRET_ID: "box",
      AWS_ENDPOINT_URL_SECRETS_MANAGER: `https://127.0.0.1:${address.port}`,
      NODE_EXTRA_CA_CERTS: file,
    },
    close: async () => {
      server.close();
      await secrets.close();
    },
  };
}
