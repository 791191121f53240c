/**
 * Mailboxes whose server is broken: each is a secret, and where need be a server of its own.
 *
 * Rule guarded here: nothing is pretended. The password is refused by the server that holds another
 * one, nothing listens where the server is down, and the certificate has truly expired.
 */
import { randomBytes } from "node:crypto";
import { createServer } from "node:net";
import { makeAuthority, makeCertificate } from "./certificate.ts";
import { WRONG_PASSWORD } from "./faults.ts";
import { type MailServer, startMailServer } from "./mailserver.ts";
import { LOCAL_PREFIX, LOCAL_SENDER, type Stack } from "./stack.ts";

export interface FaultMailboxes {
  /**
   * The administrator changes the password at the server (`false`), or somebody stores the new one in
   * the secret (`true`). Twice the same changes nothing.
   */
  mend(mended: boolean): void;
  close(): Promise<void>;
}

export async function startFaultMailboxes({ mail, secrets }: Stack): Promise<FaultMailboxes> {
  const authority = await makeAuthority();
  const users: Record<string, string> = { [LOCAL_SENDER]: newPassword() };
  const [guarded, expired, stripped] = await Promise.all([
    startMailServer({ users, inbox: mail.inbox }),
    startMailServer({
      users,
      certificate: await makeCertificate({ ca: authority, expired: true }),
    }),
    startMailServer({ users, server: { hideSTARTTLS: true } }),
  ]);
  const put = (name: string, server: MailServer, changed: Readonly<Record<string, unknown>> = {}) =>
    secrets.put(
      `${LOCAL_PREFIX}${name}`,
      JSON.stringify({
        host: server.host,
        port: server.ports.implicit,
        security: "implicit",
        username: LOCAL_SENDER,
        password: users[LOCAL_SENDER],
        tls: { ca: server.ca },
        ...changed,
      }),
    );

  let mended = true;
  const mend = (wanted: boolean): void => {
    if (wanted === mended) return;
    mended = wanted;
    // What the secret holds now is what was right until the server was given another.
    if (wanted) put(WRONG_PASSWORD, guarded);
    else users[LOCAL_SENDER] = newPassword();
  };
  put(WRONG_PASSWORD, guarded);
  put("bad-certificate", expired);
  put("server-down", mail, { port: await closedPort() });
  put("stripped", stripped, { port: stripped.ports.starttls, security: "starttls" });
  mend(false);
  return {
    mend,
    close: async () => {
      await Promise.all([guarded, expired, stripped].map((server) => server.close()));
    },
  };
}

const newPassword = (): string => `p@ss:wörd/${randomBytes(6).toString("hex")}%`;

/** The port of a server that has just gone. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 1;
}
