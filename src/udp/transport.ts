/**
 * Sessions over UDP: opens front ports, accepts and makes connections. One code for the machine
 * and for the simulator, which differ in `DatagramHost`, `Clock`, `Entropy` and `defer`.
 */

import { formatAddress, parseAddress } from '../base/address.ts';
import { assert } from '../base/assert.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { MIB, type Micros, micros } from '../base/units.ts';
import type { Suite } from '../crypto/index.ts';
import type {
  Clock,
  Connection,
  ConnectOptions,
  Entropy,
  Listener,
  ListenOptions,
  Log,
  Rights,
  Timer,
  Transport,
} from '../nodes/ports.ts';
import { CreditPool } from '../reliability/index.ts';
import {
  type Acceptance,
  FRONT_SESSIONS_MAX,
  Front,
  type FrontSecret,
  IDLE_MICROS,
  Initiator,
  type InitiatorOutcome,
  type KeyLog,
  type SessionParameters,
} from '../session/index.ts';
import { DATAGRAM_BYTES_MIN, ResultCode, Role, WIRE_VERSIONS } from '../wire/index.ts';
import { BufferPool } from './buffers.ts';
import { SessionConnection } from './connection.ts';
import type { DatagramHost, DatagramSocket, DatagramSocketOptions } from './host.ts';

/** Largest UDP payload that this end takes in: what fits a loopback datagram. */
const DATAGRAM_BYTES_MAX = 62_000;
/** Largest UDP payload where the interface's MTU is not known: what every Ethernet carries. */
const DATAGRAM_BYTES_UNKNOWN = 1_472;
/** Ports of a configured range that are tried for one session. */
const PORT_TRIES_MAX = 32;
/** Window where the socket's buffer is not known. */
const WINDOW_BYTES_DEFAULT: number = MIB;
/** Receive memory of one endpoint, for all its flows. */
const RECEIVE_BYTES_MAX: number = 80 * MIB;
/** Send buffers of one endpoint. */
const SEND_BUFFERS_MAX = 64;

export interface TransportOptions {
  readonly host: DatagramHost;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly suite: Suite;
  /** All that the front port accepts; the first one is used to connect. */
  readonly secrets: readonly FrontSecret[];
  readonly defer: (run: () => void) => void;
  /** Runs a function after other sockets and timers had their turn; `defer` by default. */
  readonly turn?: (run: () => void) => void;
  /** Names to IP addresses. */
  readonly resolve: (host: string) => Promise<string>;
  readonly log: Log;
  readonly idleMicros?: Micros;
  /** Range of UDP ports for sessions, both ends included, for firewalls; any free port by default [SES-1]. */
  readonly sessionPorts?: { readonly first: number; readonly last: number };
  /** Where the keys of all sessions are logged, because an operator asked for it; nowhere by default [LOG-1]. */
  readonly keyLog?: KeyLog | undefined;
  /** Versions of the wire that are spoken, the highest last; default all that this code knows. */
  readonly versions?: readonly number[] | undefined;
  /** Largest UDP payload to send or take in; less where a test wants it. */
  readonly datagramBytesMax?: number;
  /** Sessions that a front port keeps open; fewer where a test wants it. */
  readonly sessionsMax?: number;
  /** Sealings after which keys are updated; fewer where a test wants it. */
  readonly keySealingsMax?: number;
}

export class UdpTransport implements Transport {
  readonly #options: TransportOptions;
  readonly #pool = new CreditPool(RECEIVE_BYTES_MAX);
  readonly #buffers = new BufferPool(SEND_BUFFERS_MAX);
  readonly #connections = new Set<SessionConnection>();

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  get offload(): boolean {
    return this.#options.host.offload;
  }

  /** Sessions that are open now, of both directions. */
  get connections(): ReadonlySet<SessionConnection> {
    return this.#connections;
  }

  get creditTakenBytes(): number {
    return this.#pool.takenBytes;
  }

  async connect(options: ConnectOptions): Promise<Connection> {
    options.signal?.throwIfAborted();
    const { host, port } = parseAddress(options.address);
    const peerHost = await this.#options.resolve(host);
    let connection: SessionConnection | undefined;
    let attempt: ConnectAttempt | undefined;
    const socket = await this.#openSessionSocket({
      host: anyAddress(peerHost),
      onDatagram: (bytes, fromHost, fromPort) => {
        if (connection !== undefined) connection.handleDatagram(bytes);
        else if (fromHost === peerHost && fromPort === port) attempt?.handleDatagram(bytes);
      },
      onDrained: (hasMore) => connection?.handleDrained(hasMore),
      onRefused: () => connection?.handleRefused(),
    });
    try {
      // [VER-3] The highest version first; a lower one only where the peer says that it does not speak that.
      const versions = [...(this.#options.versions ?? WIRE_VERSIONS)].reverse();
      let outcome: InitiatorOutcome | undefined;
      for (const [index, version] of versions.entries()) {
        if (index > 0) mark('version-lower');
        const initiator = this.#initiator(options, socket, peerHost, version);
        attempt = new ConnectAttempt(this.#options, socket, initiator, peerHost, port);
        outcome = await attempt.run(options);
        if (outcome.kind !== 'refused' || outcome.code !== ResultCode.UNSUPPORTED) break;
      }
      assert(outcome !== undefined, 'no version of the wire is spoken');
      if (outcome.kind !== 'established') throw refusalError(outcome, options.address);
      await socket.connect(peerHost, outcome.port);
      connection = this.#adopt(outcome.session, socket, peerHost, outcome.port, Role.COORDINATOR, ALL_RIGHTS);
      return connection;
    } catch (error) {
      await socket.close();
      throw error;
    }
  }

  async listen(options: ListenOptions): Promise<Listener> {
    const { host, port } = parseAddress(options.address);
    const bound = await this.#options.resolve(host);
    const front = new Front({
      suite: this.#options.suite,
      secrets: this.#options.secrets,
      entropy: this.#options.entropy.bytes,
      clusterId: options.clusterId,
      versions: this.#options.versions,
      keyLog: this.#options.keyLog,
    });
    const accepted = new Set<SessionConnection>();
    let closed = false;
    const socket = await this.#options.host.open({
      host: bound,
      port,
      onDatagram: (bytes, fromHost, fromPort) => {
        const outcome = front.handleDatagram(this.#options.clock.now(), fromHost, fromPort, bytes);
        if (outcome === undefined || closed) return;
        const to = { host: fromHost, port: fromPort };
        if (outcome.kind === 'reply') sendOne(socket, outcome.bytes, to);
        else void this.#accept(outcome.acceptance, socket, to, accepted, options, () => closed);
      },
      onRefused: () => undefined,
    });
    return {
      address: formatAddress(host, socket.port),
      get clusterId() {
        return front.clusterId;
      },
      set clusterId(id) {
        front.clusterId = id;
      },
      close: async () => {
        closed = true;
        await Promise.all([...accepted].map((connection) => connection.close()));
        await socket.close();
      },
    };
  }

  async #accept(
    acceptance: Acceptance,
    front: DatagramSocket,
    to: { readonly host: string; readonly port: number },
    accepted: Set<SessionConnection>,
    options: ListenOptions,
    isClosed: () => boolean,
  ): Promise<void> {
    const { sessionsMax = FRONT_SESSIONS_MAX, keySealingsMax } = this.#options;
    if (accepted.size >= sessionsMax) {
      mark('refused-busy');
      return sendOne(front, acceptance.refuse(ResultCode.BUSY), to);
    }
    let connection: SessionConnection | undefined;
    let opened: DatagramSocket | undefined;
    try {
      // [SES-1] A random port of its own for every session.
      const socket = await this.#openSessionSocket({
        host: front.host,
        onDatagram: (bytes) => connection?.handleDatagram(bytes),
        onDrained: (hasMore) => connection?.handleDrained(hasMore),
        onRefused: () => connection?.handleRefused(),
      });
      opened = socket;
      await socket.connect(to.host, to.port);
      // The front port closed meanwhile, and with it all that it knew of.
      if (isClosed()) return await socket.close();
      const { bytes, session } = acceptance.welcome({
        now: this.#options.clock.now(),
        port: socket.port,
        local: this.#parameters(socket, to.host),
        pool: this.#pool,
        keySealingsMax,
      });
      // The answer leaves first: the client computes while this end sets up.
      sendOne(front, bytes, to);
      connection = this.#adopt(session, socket, to.host, to.port, acceptance.role, acceptance.rights, {
        onLive: options.onConnection,
        onClosed: (ended) => accepted.delete(ended),
      });
      accepted.add(connection);
    } catch (error) {
      this.#options.log.warn('a session could not be opened', { reason: String(error) });
      // A socket that no session took is nobody else's to close.
      if (connection === undefined) await opened?.close();
      sendOne(front, acceptance.refuse(ResultCode.BUSY), to);
    }
  }

  /** A socket on a port of the configured range, or on any free one. */
  async #openSessionSocket(options: Omit<DatagramSocketOptions, 'port'>): Promise<DatagramSocket> {
    const { host, entropy, sessionPorts } = this.#options;
    if (sessionPorts === undefined) return host.open({ ...options, port: 0 });
    const { first, last } = sessionPorts;
    for (let attempt = 1; ; attempt++) {
      const port = first + Math.floor(entropy.fraction() * (last - first + 1));
      try {
        return await host.open({ ...options, port });
      } catch (error) {
        if (!isGramlineError(error, 'GRAMLINE_IN_USE') || attempt >= PORT_TRIES_MAX) throw error;
      }
    }
  }

  #initiator(options: ConnectOptions, socket: DatagramSocket, peerHost: string, version: number): Initiator {
    return new Initiator({
      suite: this.#options.suite,
      keys: this.#options.secrets[0]!.keys,
      entropy: this.#options.entropy.bytes,
      now: this.#options.clock.now(),
      role: options.role as Role,
      local: this.#parameters(socket, peerHost),
      pool: this.#pool,
      clusterId: options.clusterId,
      version,
      keyLog: this.#options.keyLog,
      keySealingsMax: this.#options.keySealingsMax,
    });
  }

  #parameters(socket: DatagramSocket, peerHost: string): SessionParameters {
    const { host, datagramBytesMax = DATAGRAM_BYTES_MAX } = this.#options;
    const carried =
      host.payloadBytesTo === undefined
        ? DATAGRAM_BYTES_MAX
        : (host.payloadBytesTo(peerHost) ?? DATAGRAM_BYTES_UNKNOWN);
    return {
      datagramBytesMax: Math.max(DATAGRAM_BYTES_MIN, Math.min(datagramBytesMax, carried)),
      windowBytes: socket.receiveBufferBytes ?? WINDOW_BYTES_DEFAULT,
      idleMicros: this.#options.idleMicros ?? IDLE_MICROS,
    };
  }

  #adopt(
    session: SessionConnection['session'],
    socket: DatagramSocket,
    peerHost: string,
    peerPort: number,
    peerRole: number,
    rights: Rights,
    hooks?: { onLive: (connection: Connection) => void; onClosed: (connection: SessionConnection) => void },
  ): SessionConnection {
    const connection = new SessionConnection({
      session,
      socket,
      clock: this.#options.clock,
      defer: this.#options.defer,
      turn: this.#options.turn ?? this.#options.defer,
      buffers: this.#buffers,
      peerHost,
      peerPort,
      peerRole,
      rights,
      onLive: (live) => hooks?.onLive(live),
      onClosed: (ended) => {
        this.#connections.delete(ended);
        hooks?.onClosed(ended);
      },
    });
    this.#connections.add(connection);
    return connection;
  }
}

/** An initiator is not told what it may do; it finds out by asking. */
const ALL_RIGHTS: Rights = { read: true, write: true, node: true, admin: true };

/** Drives one handshake to its outcome. */
class ConnectAttempt {
  readonly #transport: TransportOptions;
  readonly #socket: DatagramSocket;
  readonly #initiator: Initiator;
  readonly #to: { readonly host: string; readonly port: number };
  #timer: Timer | undefined;
  #settle: ((outcome: InitiatorOutcome) => void) | undefined;

  constructor(
    transport: TransportOptions,
    socket: DatagramSocket,
    initiator: Initiator,
    host: string,
    port: number,
  ) {
    this.#transport = transport;
    this.#socket = socket;
    this.#initiator = initiator;
    this.#to = { host, port };
  }

  run(options: ConnectOptions): Promise<InitiatorOutcome> {
    const { signal, timeoutMicros } = options;
    const { clock } = this.#transport;
    return new Promise((resolve, reject) => {
      // Aborted while the name was looked up or the socket opened: no event will say so any more.
      if (signal?.aborted === true) return reject(signal.reason);
      const deadline =
        timeoutMicros === undefined
          ? undefined
          : clock.setTimer(micros(clock.now() + timeoutMicros), () => this.#settle?.({ kind: 'unanswered' }));
      const onAbort = (): void => {
        this.#settle = undefined;
        finish();
        reject(signal!.reason);
      };
      const finish = (): void => {
        deadline?.cancel();
        this.#timer?.cancel();
        signal?.removeEventListener('abort', onAbort);
      };
      this.#settle = (outcome) => {
        this.#settle = undefined;
        finish();
        resolve(outcome);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#step();
    });
  }

  handleDatagram(bytes: Uint8Array): void {
    this.#initiator.handleDatagram(this.#transport.clock.now(), bytes);
    this.#step();
  }

  #step(): void {
    const now = this.#transport.clock.now();
    this.#initiator.handleTimeout(now);
    const buffer = new Uint8Array(DATAGRAM_BYTES_MIN);
    const transmit = this.#initiator.pollTransmit(now, buffer);
    if (transmit !== undefined) {
      sendOne(this.#socket, buffer.subarray(0, transmit.bytes), this.#to);
      // While the cookie is under way, the key pair of the handshake is made.
      this.#initiator.prepare();
    }
    const { outcome } = this.#initiator;
    if (outcome !== undefined) return this.#settle?.(outcome);
    this.#timer?.cancel();
    const at = this.#initiator.nextTimeout();
    if (at !== undefined) this.#timer = this.#transport.clock.setTimer(at, () => this.#step());
  }
}

function sendOne(socket: DatagramSocket, bytes: Uint8Array, to: { host: string; port: number }): void {
  socket.send(bytes, bytes.length, bytes.length, to, undefined);
}

/** The address to bind so that `peerHost` can be reached: loopback stays on loopback. */
function anyAddress(peerHost: string): string {
  if (peerHost.startsWith('127.')) return '127.0.0.1';
  if (peerHost === '::1') return '::1';
  return peerHost.includes(':') ? '::' : '0.0.0.0';
}

function refusalError(
  outcome: Exclude<InitiatorOutcome, { kind: 'established' }>,
  address: string,
): GramlineError {
  switch (outcome.kind) {
    case 'unanswered':
      return new GramlineError(
        'GRAMLINE_NO_COORDINATOR',
        `nothing answered at ${address}: it does not run, or the secret differs`,
        { retryable: true },
      );
    case 'other-cluster':
      return new GramlineError('GRAMLINE_DENIED', `${address} belongs to another cluster: check the address`);
    case 'refused':
      if (outcome.code === ResultCode.BUSY) {
        return new GramlineError(
          'GRAMLINE_BUSY',
          `${address} is busy: try again in ${outcome.retryMillis} ms`,
          {
            retryable: true,
            retryAfterMillis: outcome.retryMillis,
          },
        );
      }
      return new GramlineError(
        'GRAMLINE_DENIED',
        `${address} refused: it speaks another version of the protocol`,
      );
  }
}
