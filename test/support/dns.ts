/** A name server on loopback, over UDP: answers what it was given, and NXDOMAIN for other names. */
import { createSocket } from "node:dgram";
import { type Answer, decode, encode, type RecordType } from "dns-packet";

export type Zone = Readonly<
  Record<string, Readonly<Partial<Record<RecordType, readonly string[]>>>>
>;

export interface NameServer {
  /** For a resolver: `127.0.0.1:5353`. */
  readonly address: string;
  /** Names that were asked for, with their types: `example.test TXT`. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

/** @param zone from a name to its records; a name without a record of the type is NODATA */
export async function startNameServer(zone: Zone): Promise<NameServer> {
  const socket = createSocket("udp4");
  const asked: string[] = [];
  socket.on("message", (message, peer) => {
    const { id, questions = [] } = decode(message);
    const [question] = questions;
    if (question === undefined) return;
    const { type } = question;
    const name = question.name.toLowerCase();
    asked.push(`${name} ${type}`);
    const found = zone[name]?.[type] ?? [];
    const exists = Object.keys(zone).some((known) => known === name || known.endsWith(`.${name}`));
    const answers = found.map(
      (data) => ({ type, name, ttl: 60, data: type === "TXT" ? strings(data) : data }) as Answer,
    );
    // RFC 1035 §4.1.1: RCODE 3, the name does not exist.
    const flags = exists ? 0x0180 : 0x0183;
    socket.send(
      encode({ type: "response", id, flags, questions, answers }),
      peer.port,
      peer.address,
    );
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${socket.address().port}`,
    asked,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

/** RFC 1035 §3.3.14: a text is character-strings, each of at most 255 octets. */
function strings(text: string): readonly string[] {
  return text.match(/.{1,255}/g) ?? [""];
}
