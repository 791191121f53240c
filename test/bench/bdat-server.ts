/**
 * A server that takes BDAT (RFC 3030), over TLS, with PLAIN: no server from npm does. It says yes to
 * everything, at once (others wait a while before they greet), and keeps nothing.
 */
import { createServer, type TLSSocket } from "node:tls";
import { makeCertificate } from "../../infra/local/certificate.ts";

export interface BdatServer {
  readonly port: number;
  /** PEM. */
  readonly ca: string;
  /** Messages taken. */
  taken(): number;
  close(): Promise<void>;
}

const EHLO = ["bdat", "PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "AUTH PLAIN"];

export async function startBdatServer(): Promise<BdatServer> {
  const { cert, key, ca } = await makeCertificate();
  let taken = 0;
  const converse = (socket: TLSSocket) => {
    let held = Buffer.alloc(0);
    let content = false;
    const next = () => held.indexOf(content ? "\r\n.\r\n" : "\r\n");
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    socket.write("220 bdat ESMTP\r\n");
    socket.on("data", (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      const answers: string[] = [];
      for (let end = next(); end !== -1; end = next()) {
        if (content) {
          content = false;
          taken += 1;
          held = held.subarray(end + 5);
          answers.push("250 2.0.0 Ok: queued as B1\r\n");
          continue;
        }
        const line = held.toString("latin1", 0, end);
        const [, size, last] = /^BDAT (\d+)( LAST)?$/i.exec(line) ?? [];
        const used = end + 2 + Number(size ?? 0);
        if (held.length < used) break;
        held = held.subarray(used);
        if (last !== undefined) taken += 1;
        content = /^DATA$/i.test(line);
        answers.push(answerTo(line));
      }
      // One write for what came at once, as real servers do.
      if (answers.length > 0) socket.write(answers.join(""));
      if (answers.at(-1)?.startsWith("221")) socket.end();
    });
  };
  const server = createServer({ cert, key }, converse);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port was given");
  return {
    port: address.port,
    ca,
    taken: () => taken,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

function answerTo(line: string): string {
  switch (line.split(" ")[0]?.toUpperCase()) {
    case "EHLO":
      return EHLO.map((text, at) => `250${at === EHLO.length - 1 ? " " : "-"}${text}\r\n`).join("");
    case "AUTH":
      return "235 2.7.0 welcome\r\n";
    case "DATA":
      return "354 go on\r\n";
    case "QUIT":
      return "221 2.0.0 bye\r\n";
    default:
      return "250 2.0.0 Ok: queued as B1\r\n";
  }
}
