/**
 * One socket: connect, upgrade, write with backpressure, read replies. Certificates are always
 * verified, whatever the environment says (`NODE_TLS_REJECT_UNAUTHORIZED`), and nothing outlives
 * {@link Connection.close}.
 */
import { isIP, type LookupFunction, Socket } from "node:net";
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from "node:tls";
import { SmtpError } from "../error.ts";
import { type Reply, ReplyDecoder } from "../reply.ts";
import type { Channel, Phase } from "../step.ts";
import { bindingsOf } from "./binding.ts";
import { BLOCK_TIMEOUT, type Limits, PHASE_TIMEOUTS, within } from "./deadline.ts";

export interface TlsSettings {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly servername?: string | undefined;
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined;
}

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** Replies held and not asked for, beyond which a server is flooding. */
const MAX_UNREAD = 4096;

export class Connection {
  #socket: Socket | TLSSocket;
  readonly #endpoint: Endpoint;
  readonly #limits: Limits;
  #decoder = new ReplyDecoder();
  #ended: SmtpError | undefined;
  #wake: (() => void) | undefined;
  /** Set once TLS is up. */
  tls:
    | { readonly protocol: string; readonly cipher: string; readonly resumed: boolean }
    | undefined;

  private constructor(socket: Socket, endpoint: Endpoint, limits: Limits) {
    this.#socket = socket;
    this.#endpoint = endpoint;
    this.#limits = limits;
    this.#listen();
  }

  /**
   * @throws SmtpError `dns_failed`, `connect_failed`, `timeout`, `aborted`.
   */
  static async open(
    endpoint: Endpoint,
    limits: Limits,
    options: {
      lookup?: LookupFunction | undefined;
      tunnel?: (() => Promise<Socket>) | undefined;
    } = {},
  ): Promise<Connection> {
    const socket = options.tunnel
      ? await tunnelled(options.tunnel, limits)
      : await dial(endpoint, limits, options.lookup);
    socket.setNoDelay(true);
    return new Connection(socket, endpoint, limits);
  }

  /**
   * TLS over this connection.
   * @throws SmtpError `protocol_error` when the server sent more than it was asked for before the
   * handshake (RFC 3207 §4.2: such octets could pass for protected ones), `certificate_invalid`,
   * `tls_failed`, `timeout`.
   */
  async secure(settings: TlsSettings, session?: TlsSessions): Promise<Channel> {
    if (this.#decoder.pending) {
      throw new SmtpError("protocol_error", "The server sent data ahead of the TLS handshake.", {
        phase: "tls",
      });
    }
    const plain = this.#socket;
    this.#silence();
    const { host } = this.#endpoint;
    const name = settings.servername ?? host;
    const options: ConnectionOptions = {
      socket: plain,
      // Used for the identity check; SNI takes no IP addresses (RFC 6066 §3).
      host: name,
      ...(isIP(name) === 0 && { servername: name }),
      rejectUnauthorized: true,
      minVersion: settings.minVersion ?? "TLSv1.2",
      ...(settings.ca !== undefined && { ca: settings.ca }),
      ...(settings.cert !== undefined && { cert: settings.cert }),
      ...(settings.key !== undefined && { key: settings.key }),
      ...session?.resume(),
    };
    const secured = await within<TLSSocket>(
      this.#limits,
      "tls",
      PHASE_TIMEOUTS.tls,
      ({ resolve, reject }) => {
        let socket: TLSSocket;
        const failed = (error: Error) => reject(tlsError(error, this.#endpoint));
        const closed = () =>
          reject(
            new SmtpError("tls_failed", "The server closed the connection in the TLS handshake.", {
              phase: "tls",
            }),
          );
        const done = () => resolve(socket);
        try {
          socket = tlsConnect(options);
        } catch (error) {
          // A certificate or key in the mailbox that is no PEM.
          failed(error as Error);
          return () => {};
        }
        this.#socket = socket;
        socket.on("error", ignore);
        socket.once("error", failed);
        socket.once("close", closed);
        socket.once("secureConnect", done);
        return () => {
          socket.off("error", failed);
          socket.off("close", closed);
          socket.off("secureConnect", done);
        };
      },
    );
    session?.keep(secured);
    this.#decoder = new ReplyDecoder();
    this.#listen();
    const protocol = secured.getProtocol() ?? "unknown";
    const cipher = secured.getCipher().standardName;
    this.tls = { protocol, cipher, resumed: secured.isSessionReused() };
    return { protocol, cipher, bindings: bindingsOf(secured) };
  }

  /** What lies in the buffer unasked: `undefined` if nothing, else the reply, if it is whole. */
  unsolicited(phase: Phase): Reply | "partial" | undefined {
    if (!this.#decoder.pending) return undefined;
    try {
      return this.#decoder.take() ?? "partial";
    } catch (error) {
      throw error instanceof SmtpError ? at(error, phase) : error;
    }
  }

  /** The next reply. @throws SmtpError `protocol_error`, `connection_lost`, `timeout`, `aborted`. */
  async read(phase: Phase): Promise<Reply> {
    const held = this.#take(phase);
    if (held !== undefined) return held;
    return within<Reply>(this.#limits, phase, PHASE_TIMEOUTS[phase], ({ resolve, reject }) => {
      const look = () => {
        try {
          const reply = this.#take(phase);
          if (reply !== undefined) resolve(reply);
        } catch (error) {
          reject(error);
        }
      };
      this.#wake = look;
      look();
      return () => {
        this.#wake = undefined;
      };
    });
  }

  /** Hand octets to the socket; resolves at once unless its buffer is full. */
  async write(octets: Uint8Array, phase: Phase): Promise<void> {
    this.demandOpen(phase);
    const socket = this.#socket;
    if (socket.write(octets)) return;
    await within<void>(this.#limits, phase, BLOCK_TIMEOUT, ({ resolve, reject }) => {
      const drained = () => resolve();
      const look = () => {
        if (this.#ended !== undefined) reject(at(this.#ended, phase));
      };
      socket.once("drain", drained);
      this.#wake = look;
      look();
      return () => {
        this.#wake = undefined;
        socket.off("drain", drained);
      };
    });
  }

  /** @throws SmtpError `connection_lost` where nothing can be sent any more. */
  demandOpen(phase: Phase): void {
    if (this.#ended !== undefined) throw at(this.#ended, phase);
  }

  /** Whether the peer is gone. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** Release everything. `clean` sends what is queued and a close_notify first. */
  close(clean: boolean): void {
    this.#silence();
    if (clean) this.#socket.destroySoon();
    else this.#socket.destroy();
  }

  #take(phase: Phase): Reply | undefined {
    try {
      const reply = this.#decoder.take();
      if (reply !== undefined) {
        if (this.#decoder.ready === 0 && this.#socket.isPaused()) this.#socket.resume();
        return reply;
      }
    } catch (error) {
      throw error instanceof SmtpError ? at(error, phase) : error;
    }
    if (this.#ended !== undefined) throw at(this.#ended, phase);
    return undefined;
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("close", this.#onEnd);
    socket.on("error", this.#onError);
    if (socket.destroyed || socket.readableEnded) this.#onEnd();
  }

  #silence(): void {
    const socket = this.#socket;
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    socket.off("close", this.#onEnd);
    socket.off("error", this.#onError);
    // A late reset must not become an unhandled 'error' event.
    socket.on("error", ignore);
  }

  readonly #onData = (chunk: Uint8Array): void => {
    this.#decoder.push(chunk);
    // Nobody asked for that much; stop reading and let TCP push back.
    if (this.#decoder.ready > MAX_UNREAD) this.#socket.pause();
    this.#wake?.();
  };

  readonly #onEnd = (): void => {
    this.#ended ??= new SmtpError("connection_lost", "The server closed the connection.");
    this.#wake?.();
  };

  readonly #onError = (error: Error): void => {
    const code = (error as NodeJS.ErrnoException).code ?? error.name;
    this.#ended ??= new SmtpError("connection_lost", `The connection was lost (${code}).`);
    this.#wake?.();
  };
}

/** Where TLS sessions are kept between connections to the same server. */
export interface TlsSessions {
  resume(): { readonly session?: Buffer };
  keep(socket: TLSSocket): void;
}

function dial(
  endpoint: Endpoint,
  limits: Limits,
  lookup: LookupFunction | undefined,
): Promise<Socket> {
  return within<Socket>(limits, "connect", PHASE_TIMEOUTS.connect, ({ resolve, reject }) => {
    const socket = new Socket();
    const failed = (error: Error) => reject(connectError(error, endpoint));
    const done = () => {
      connected = true;
      resolve(socket);
    };
    let connected = false;
    socket.once("error", failed);
    socket.once("connect", done);
    socket.connect({
      host: endpoint.host,
      port: endpoint.port,
      // RFC 8305: the other address family gets its turn while the first is still silent.
      autoSelectFamily: true,
      ...(lookup && { lookup }),
    });
    return () => {
      socket.off("error", failed);
      socket.off("connect", done);
      if (!connected) {
        socket.on("error", ignore);
        socket.destroy();
      }
    };
  });
}

async function tunnelled(tunnel: () => Promise<Socket>, limits: Limits): Promise<Socket> {
  return within<Socket>(limits, "connect", PHASE_TIMEOUTS.connect, ({ resolve, reject }) => {
    let over = false;
    tunnel().then(
      (socket) => {
        if (over) socket.destroy();
        else resolve(socket);
      },
      (error: Error) =>
        reject(
          new SmtpError("connect_failed", `The proxy did not open a tunnel: ${error.message}`, {
            phase: "connect",
          }),
        ),
    );
    return () => {
      over = true;
    };
  });
}

function connectError(error: Error, { host, port }: Endpoint): SmtpError {
  // Happy eyeballs report every address they tried.
  const first = error instanceof AggregateError ? (error.errors[0] as Error) : error;
  const code = (first as NodeJS.ErrnoException).code ?? first.name;
  if ((first as NodeJS.ErrnoException).syscall?.startsWith("getaddrinfo")) {
    return new SmtpError("dns_failed", `The name ${host} could not be resolved (${code}).`, {
      phase: "connect",
    });
  }
  return new SmtpError("connect_failed", `No connection to ${host} port ${port} (${code}).`, {
    phase: "connect",
  });
}

const CERTIFICATE =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|CRL_)/;

function tlsError(error: Error, { host, port }: Endpoint): SmtpError {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (CERTIFICATE.test(code)) {
    return new SmtpError(
      "certificate_invalid",
      `The certificate of ${host} is not valid for this mailbox (${code}). A private CA belongs in "tls.ca", another name in "tls.servername".`,
      { phase: "tls" },
    );
  }
  const hint = /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG/.test(code)
    ? ` Port ${port} does not begin with TLS: "security" may have to be "starttls".`
    : "";
  return new SmtpError("tls_failed", `TLS with ${host} failed (${code || error.message}).${hint}`, {
    phase: "tls",
  });
}

function at(error: SmtpError, phase: Phase): SmtpError {
  error.phase ??= phase;
  return error;
}

function ignore(): void {}
