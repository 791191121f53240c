/**
 * One socket: connect, upgrade, write with backpressure, read replies. Certificates are always
 * verified, whatever the environment says (`NODE_TLS_REJECT_UNAUTHORIZED`), and nothing outlives
 * {@link Connection.close}.
 */
import type { X509Certificate } from "node:crypto";
import { isIP, type Socket } from "node:net";
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from "node:tls";
import { SmtpError } from "../error.ts";
import { type Reply, ReplyDecoder } from "../reply.ts";
import type { Channel, Phase } from "../step.ts";
import { bindingsOf } from "./binding.ts";
import { BLOCK_TIMEOUT, demandTime, type Limits, PHASE_TIMEOUTS, within } from "./deadline.ts";
import { AddressBook, dial, type Endpoint } from "./dns.ts";
import { dialThrough, type Tunnel } from "./proxy.ts";
import {
  CLIENT_CERTIFICATE,
  clientCertificateRefused,
  tlsError,
  tlsFailed,
  unusable,
} from "./tls-error.ts";

export interface TlsSettings {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly servername?: string | undefined;
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined;
}

/** Octets of replies held and not asked for, beyond which a server is flooding. */
const MAX_UNREAD = 1024 * 1024;
/** How long a farewell may take to leave before the socket is cut, in milliseconds. */
const LINGER = 250;

export class Connection {
  #socket: Socket | TLSSocket;
  readonly #endpoint: Endpoint;
  #limits: Limits;
  #decoder = new ReplyDecoder();
  #ended: SmtpError | undefined;
  #wake: (() => void) | undefined;
  /** Octets received since no whole reply was held. */
  #unread = 0;
  /** Whether a reply has been read since the connection, or its TLS, was established. */
  #heard = false;
  /** Set once TLS is up. */
  tls:
    | {
        readonly protocol: string;
        readonly cipher: string;
        readonly resumed: boolean;
        /** The one that was verified. */
        readonly certificate: X509Certificate | undefined;
      }
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
    addresses: AddressBook = new AddressBook(),
    tunnel?: Tunnel,
  ): Promise<Connection> {
    const socket = tunnel
      ? await dialThrough(tunnel, limits, addresses)
      : await dial(endpoint, limits, addresses);
    socket.setNoDelay(true);
    return new Connection(socket, endpoint, limits);
  }

  /**
   * TLS over this connection.
   * @throws SmtpError `protocol_error` when the server sent more than it was asked for before the
   * handshake (RFC 3207 §4.2: such octets could pass for protected ones), `certificate_invalid`,
   * `tls_failed`, `connection_lost`, `timeout`.
   */
  async secure(settings: TlsSettings, session?: TlsSessions): Promise<Channel> {
    if (this.#decoder.pending) {
      if (!this.#heard) throw tlsFailed("plain text came instead", this.#endpoint, true);
      throw new SmtpError("protocol_error", "The server sent data ahead of the TLS handshake.", {
        phase: "tls",
      });
    }
    // TLS over a socket that is gone would wait for its limit.
    if (this.#ended !== undefined) throw at(this.#ended, "tls");
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
      ca: settings.ca,
      cert: settings.cert,
      key: settings.key,
      ...session?.resume(),
    };
    let certificate: X509Certificate | undefined;
    const secured = await within<TLSSocket>(
      this.#limits,
      "tls",
      PHASE_TIMEOUTS.tls,
      ({ resolve, reject }) => {
        let socket: TLSSocket;
        const failed = (error: Error) =>
          reject(tlsError(error, this.#endpoint, Boolean(socket.authorizationError)));
        const closed = () =>
          reject(
            new SmtpError("tls_failed", "The server closed the connection in the TLS handshake.", {
              phase: "tls",
            }),
          );
        const done = () => {
          // At once: a server may send its tickets along with the handshake's last flight.
          certificate = session?.keep(socket) ?? socket.getPeerX509Certificate();
          resolve(socket);
        };
        try {
          socket = tlsConnect(options);
        } catch (error) {
          reject(unusable(error as Error));
          return () => {};
        }
        this.#socket = socket;
        // Stays: once this is settled it changes nothing, and a late reset finds a listener.
        socket.on("error", failed);
        socket.once("close", closed);
        socket.once("secureConnect", done);
        // A handshake that ends too late leaves no session.
        return () => socket.off("secureConnect", done);
      },
    );
    this.#decoder = new ReplyDecoder();
    this.#heard = false;
    this.#listen();
    const protocol = secured.getProtocol() ?? "unknown";
    const cipher = secured.getCipher().standardName;
    this.tls = { protocol, cipher, resumed: secured.isSessionReused(), certificate };
    return { protocol, cipher, bindings: bindingsOf(secured, certificate) };
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
      return this.#watch(look);
    });
  }

  /** Hand octets to the socket; resolves at once unless its buffer is full. */
  async write(octets: Uint8Array, phase: Phase): Promise<void> {
    this.demandOpen(phase);
    const socket = this.#socket;
    if (socket.write(octets)) return;
    await within<void>(this.#limits, phase, BLOCK_TIMEOUT, ({ resolve, reject }) => {
      socket.once("drain", resolve);
      return this.#watch(() => {
        if (this.#ended !== undefined) reject(at(this.#ended, phase));
      });
    });
  }

  /** @throws SmtpError `connection_lost`, `timeout`, `aborted`: nothing can or may be sent any more. */
  demandOpen(phase: Phase): void {
    if (this.#ended !== undefined) throw at(this.#ended, phase);
    demandTime(this.#limits, phase);
  }

  /** From here on these limits hold: it was opened ahead of the send that uses it. */
  adopt(limits: Limits): void {
    this.#limits = limits;
  }

  /** Open, with nothing said that nobody asked for. */
  get quiet(): boolean {
    return this.#ended === undefined && !this.#decoder.pending;
  }

  /** Whether the peer is gone. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** Release everything. `clean` sends a close_notify first (RFC 8446 §6.1). */
  close(clean: boolean): void {
    this.#silence();
    const socket = this.#socket;
    // What has not left by now waits for a server that does not read: it never may.
    if (!clean || socket.writableLength > 0) {
      socket.destroy();
      return;
    }
    // Gone by itself already: no 'close' would come any more.
    if (socket.destroyed) return;
    const timer = setTimeout(() => socket.destroy(), LINGER);
    socket.once("close", () => clearTimeout(timer));
    socket.destroySoon();
  }

  /** Resolves once the closed socket is gone, so that nothing of it outlives the send. */
  released(): Promise<void> {
    const socket = this.#socket;
    if (socket.closed) return Promise.resolve();
    return new Promise((resolve) => socket.once("close", () => resolve()));
  }

  /** Calls `look` whenever something has come or the peer has gone. Returns what ends that. */
  #watch(look: () => void): () => void {
    this.#wake = look;
    return () => {
      this.#wake = undefined;
    };
  }

  #take(phase: Phase): Reply | undefined {
    try {
      const reply = this.#decoder.take();
      if (reply !== undefined) {
        this.#heard = true;
        if (this.#decoder.ready === 0) {
          this.#unread = 0;
          this.#socket.resume();
        }
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
    // A late reset must not become an unhandled 'error' event: dialling left a listener, and so did TLS.
    socket.off("error", this.#onError);
  }

  readonly #onData = (chunk: Uint8Array): void => {
    this.#decoder.push(chunk);
    this.#unread += chunk.length;
    // Nobody asked for that much; stop reading and let TCP push back.
    if (this.#unread > MAX_UNREAD) this.#socket.pause();
    this.#wake?.();
  };

  readonly #onEnd = (): void => {
    this.#ended ??= new SmtpError("connection_lost", "The server closed the connection.");
    this.#wake?.();
  };

  readonly #onError = (error: Error): void => {
    const code = (error as NodeJS.ErrnoException).code ?? error.name;
    // In TLS 1.3 the server judges the client's certificate after the handshake (RFC 8446 §4.4.2.4),
    // and says so with an alert where its greeting, or its answer to EHLO, would have been.
    this.#ended ??=
      CLIENT_CERTIFICATE.test(code) && !this.#heard
        ? clientCertificateRefused(code, this.#endpoint)
        : new SmtpError("connection_lost", `The connection was lost (${code}).`);
    this.#wake?.();
  };
}

/** Where TLS sessions are kept between connections to the same server. */
export interface TlsSessions {
  resume(): { readonly session?: Buffer };
  /** To be called as soon as the handshake is verified. Returns the certificate it rests on. */
  keep(socket: TLSSocket): X509Certificate | undefined;
}

function at(error: SmtpError, phase: Phase): SmtpError {
  error.phase ??= phase;
  return error;
}
