/** The name by which a client introduces itself, where the mailbox gives none. */
import { hostname, networkInterfaces } from "node:os";

/**
 * RFC 5321 §4.1.1.1: the host's full name, or the address literal of a host that has none, as
 * functions do.
 */
export function ownName(): string {
  const name = hostname();
  if (/^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$/.test(name) && !/^[\d.]+$/.test(name)) return name;
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { family, internal, address } of addresses ?? []) {
      if (family === "IPv4" && !internal) return `[${address}]`;
    }
  }
  return "[127.0.0.1]";
}
