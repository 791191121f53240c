/**
 * The certificate of a server that was turned down for it: what is wrong can only be seen on it. The
 * handshake is made once more, without a verdict, and broken off at once: nothing is sent through it.
 */
import type { X509Certificate } from "node:crypto";
import { connect, isIP, type Socket } from "node:net";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import { Wire } from "./wire.ts";

interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly security: "implicit" | "starttls" | "none";
}

const TIMEOUT_MS = 5_000;

/** `undefined` where it cannot be had. */
export async function presentedCertificate(
  { host, port, security }: Endpoint,
  servername = host,
): Promise<X509Certificate | undefined> {
  const socket = connect({ host, port });
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
  socket.on("error", () => {});
  try {
    if (security === "starttls") await askForTls(socket);
    return await handshake(socket, servername);
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}

async function askForTls(socket: Socket): Promise<void> {
  const wire = new Wire(socket);
  const reply = async () => {
    let line: string;
    do line = await wire.line();
    while (/^\d{3}-/.test(line));
    if (!line.startsWith("2")) throw new Error("refused");
  };
  await reply();
  wire.write(Buffer.from("EHLO localhost\r\n"));
  await reply();
  wire.write(Buffer.from("STARTTLS\r\n"));
  await reply();
  socket.removeAllListeners("data");
}

function handshake(socket: Socket, servername: string): Promise<X509Certificate | undefined> {
  return new Promise((resolve, reject) => {
    const secure: TLSSocket = tlsConnect({
      socket,
      // Looked at, never used: the session that sends verifies it always.
      rejectUnauthorized: false,
      ...(isIP(servername) === 0 && { servername }),
    });
    secure.once("secureConnect", () => {
      resolve(secure.getPeerX509Certificate());
      secure.destroy();
    });
    secure.on("error", reject);
    secure.once("close", () => reject(new Error("closed")));
  });
}
