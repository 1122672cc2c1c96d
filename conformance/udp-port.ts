/**
 * A UDP socket with an inbox: what arrives waits until a case looks at it.
 *
 * Plain `node:dgram`, on purpose: nothing here is shared with the sockets of `src/udp`.
 */

import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';

/** Datagrams that wait in one inbox; more are passed over. */
const INBOX_MAX = 65_536;
/** How often a port notes that this process is not busy. */
const LOOK_MILLIS = 5;
/** What we ask the kernel to hold for us. It may give less. */
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;

export interface Datagram {
  readonly bytes: Uint8Array;
  readonly host: string;
  readonly port: number;
  /** When it was read, on the clock of `performance.now()`. */
  readonly atMillis: number;
  /** When it can have come at the earliest: this process may have been busy since. */
  readonly notBeforeMillis: number;
}

/** An address to send to. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export class UdpPort {
  readonly #socket: Socket;
  readonly #inbox: Datagram[] = [];
  readonly #wakers = new Set<() => void>();
  #closed = false;
  /** When this process last came round to its timers, and when before that: what came before then has been read. */
  #lookedMillis = performance.now();
  #lookedBeforeMillis = this.#lookedMillis;
  readonly #looking: NodeJS.Timeout;
  /** Called with each datagram; without it they wait in the inbox. */
  onDatagram: ((datagram: Datagram) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#looking = setInterval(() => {
      this.#lookedBeforeMillis = this.#lookedMillis;
      this.#lookedMillis = performance.now();
    }, LOOK_MILLIS);
    this.#looking.unref();
    socket.on('message', (bytes, { address, port }) => {
      const times = { atMillis: performance.now(), notBeforeMillis: this.#lookedBeforeMillis };
      const datagram = { bytes: new Uint8Array(bytes), host: address, port, ...times };
      if (this.onDatagram !== undefined) this.onDatagram(datagram);
      else if (this.#inbox.length < INBOX_MAX) this.#inbox.push(datagram);
      for (const wake of [...this.#wakers]) wake();
    });
    // A port that is closed at the other end is seen by the silence that follows.
    socket.on('error', () => undefined);
  }

  /** Opens a port from which `peerHost`, an IP address, can be reached; `port` 0 takes a free one. */
  static async open(peerHost: string, port = 0): Promise<UdpPort> {
    const socket = createSocket(isIPv6(peerHost) ? 'udp6' : 'udp4');
    const own = new UdpPort(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(port, localAddressFor(peerHost), () => {
        socket.off('error', reject);
        resolve();
      });
    });
    try {
      socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
    } catch {
      // The kernel's default has to do.
    }
    return own;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  send(bytes: Uint8Array, to: Endpoint): void {
    if (!this.#closed) this.#socket.send(bytes, to.port, to.host, () => undefined);
  }

  /** The next datagram, or undefined when none comes within `millis`. */
  async receive(millis: number): Promise<Datagram | undefined> {
    const deadline = performance.now() + millis;
    for (;;) {
      const next = this.#inbox.shift();
      if (next !== undefined) return next;
      const left = deadline - performance.now();
      if (left <= 0 || this.#closed) return undefined;
      await this.waitForNews(left);
    }
  }

  /** Resolves when a datagram has come, the port has closed, or `millis` have passed. */
  waitForNews(millis: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wakers.delete(done);
        resolve();
      };
      // Timers run before what has arrived is read: after a stall it counts all the same.
      const timer = setTimeout(() => setImmediate(done), millis);
      this.#wakers.add(done);
    });
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#looking);
    this.#socket.close();
    for (const wake of [...this.#wakers]) wake();
  }
}

/** Loopback stays on loopback; everything else is the system's choice. */
function localAddressFor(peerHost: string): string {
  if (peerHost.startsWith('127.')) return '127.0.0.1';
  if (peerHost === '::1') return '::1';
  return isIPv6(peerHost) ? '::' : '0.0.0.0';
}
