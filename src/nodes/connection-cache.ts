/** Connections by address, opened when first needed and shared by all callers. */

import { GramlineError } from '../base/errors.ts';
import type { Connection, ConnectOptions, TransferCounts, Transport } from './ports.ts';

/** Connections kept at once; the one unused for longest makes room. */
export const CONNECTIONS_MAX = 256;

const NO_COUNTS: TransferCounts = {
  datagramsSent: 0,
  datagramsReceived: 0,
  segmentsSent: 0,
  segmentsResent: 0,
  bytesSent: 0,
  bytesReceived: 0,
};

export class ConnectionCache {
  readonly #transport: Transport;
  /** Least recently used first. */
  readonly #open = new Map<string, Connection>();
  readonly #opening = new Map<string, Promise<Connection>>();
  /** All that is being opened or closed: the end waits for it. */
  readonly #underWay = new Set<Promise<unknown>>();
  /** What connections that have ended had counted. */
  #past: TransferCounts = NO_COUNTS;
  #closed = false;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  get counts(): TransferCounts {
    return [...this.#open.values()].reduce((sum, connection) => add(sum, connection.counts), this.#past);
  }

  async connect(options: ConnectOptions): Promise<Connection> {
    if (this.#closed) throw closedError();
    const { address } = options;
    const open = this.#open.get(address);
    if (open?.isOpen === true) {
      this.#open.delete(address);
      this.#open.set(address, open);
      return open;
    }
    // Callers that come while a connection is being made share it, unless one may abort it.
    const opening = options.signal === undefined ? this.#opening.get(address) : undefined;
    if (opening !== undefined) return opening;
    const attempt = this.#connect(options);
    this.#await(attempt);
    if (options.signal === undefined) {
      this.#opening.set(address, attempt);
      const forget = (): boolean => this.#opening.delete(address);
      attempt.then(forget, forget);
    }
    return attempt;
  }

  /** Ends a connection that misbehaved; the next caller gets a new one. */
  drop(address: string, connection: Connection): void {
    this.#forget(address, connection);
    this.#await(connection.close());
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#open.values()].map((connection) => connection.close()));
    while (this.#underWay.size > 0) await Promise.allSettled([...this.#underWay]);
  }

  async #connect(options: ConnectOptions): Promise<Connection> {
    const { address } = options;
    const connection = await this.#transport.connect(options);
    if (this.#closed) {
      await connection.close();
      throw closedError();
    }
    const known = this.#open.get(address);
    // Two callers that may abort connected at the same time: one session with a peer is enough.
    if (known?.isOpen === true) {
      this.#await(connection.close());
      return known;
    }
    if (known !== undefined) this.#forget(address, known);
    this.#open.set(address, connection);
    void connection.closed.then(() => this.#forget(address, connection));
    if (this.#open.size > CONNECTIONS_MAX) {
      for (const [oldest, unused] of this.#open) {
        this.drop(oldest, unused);
        break;
      }
    }
    return connection;
  }

  #await(work: Promise<unknown>): void {
    this.#underWay.add(work);
    const forget = (): boolean => this.#underWay.delete(work);
    work.then(forget, forget);
  }

  #forget(address: string, connection: Connection): void {
    if (this.#open.get(address) !== connection) return;
    this.#open.delete(address);
    this.#past = add(this.#past, connection.counts);
  }
}

function closedError(): GramlineError {
  return new GramlineError('GRAMLINE_CLOSED', 'this client is closed: open another one');
}

function add(left: TransferCounts, right: TransferCounts): TransferCounts {
  return {
    datagramsSent: left.datagramsSent + right.datagramsSent,
    datagramsReceived: left.datagramsReceived + right.datagramsReceived,
    segmentsSent: left.segmentsSent + right.segmentsSent,
    segmentsResent: left.segmentsResent + right.segmentsResent,
    bytesSent: left.bytesSent + right.bytesSent,
    bytesReceived: left.bytesReceived + right.bytesReceived,
  };
}
