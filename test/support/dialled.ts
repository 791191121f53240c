/** Which sockets a client connects, so that a test sees whether they are closed. */
import { Socket } from "node:net";
import { vi } from "vitest";

/** Those connected from now on, until the mocks are restored. */
export function dialled(): readonly Socket[] {
  const found: Socket[] = [];
  const connect = Socket.prototype.connect as (this: Socket, options: object) => Socket;
  vi.spyOn(Socket.prototype, "connect").mockImplementation(function (
    this: Socket,
    ...given: unknown[]
  ) {
    found.push(this);
    return connect.apply(this, given as [object]);
  });
  return found;
}
