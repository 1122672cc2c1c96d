/**
 * Connections by address, opened when first needed and shared by all callers. Where that is asked for, one
 * that is in use and whose peer says nothing any more is given up, so that its callers try another. Who
 * did not answer at all is remembered for a moment.
 */

import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { type Micros, micros, seconds } from '../base/units.ts';
import type { Clock, Connection, ConnectOptions, Timer, TransferCounts, Transport } from './ports.ts';
import { LOOK_MICROS, SilenceWatch } from './silence.ts';

/** Connections kept at once; the one that has been idle for longest makes room, one in use never does. */
export const CONNECTIONS_MAX = 256;
/** So long others are chosen before one that did not answer: a coordinator finds out in less. */
export const DOUBT_MICROS: Micros = seconds(5);

const NO_COUNTS: TransferCounts = {
  datagramsSent: 0,
  datagramsReceived: 0,
  segmentsSent: 0,
  segmentsResent: 0,
  bytesSent: 0,
  bytesReceived: 0,
};

/** A connection, and that somebody needs it: disposed of when its calls and flows have ended. */
export interface Lease extends Disposable {
  readonly connection: Connection;
}

/** An open connection, and how many leases of it are out. */
interface Entry {
  readonly connection: Connection;
  uses: number;
  readonly silence: SilenceWatch | undefined;
}

export interface ConnectionCacheOptions {
  readonly clock: Clock;
  /** After how much silence a connection in use is asked for a sign of life; default: peers are left to their sessions. */
  readonly silenceMicros?: Micros | undefined;
}

/** A connection that is being made, and how many callers wait for it. */
interface Opening {
  readonly made: Promise<Entry>;
  readonly waiting: { uses: number };
}

export class ConnectionCache {
  readonly #transport: Transport;
  /** Least recently used first. */
  readonly #open = new Map<string, Entry>();
  /** Those that all callers for an address may share. */
  readonly #opening = new Map<string, Opening>();
  /** Connections that are being made, shared or not. */
  #openingCount = 0;
  /** All that is being opened or closed: the end waits for it. */
  readonly #underWay = new Set<Promise<unknown>>();
  /** What connections that have ended had counted. */
  #past: TransferCounts = NO_COUNTS;
  /** Where nothing answered, and when: oldest first. */
  readonly #unanswered = new Map<string, Micros>();
  #closed = false;
  readonly #options: ConnectionCacheOptions;
  #looking: Timer | undefined;

  constructor(transport: Transport, options: ConnectionCacheOptions) {
    this.#transport = transport;
    this.#options = options;
  }

  get counts(): TransferCounts {
    return [...this.#open.values()].reduce((sum, { connection }) => add(sum, connection.counts), this.#past);
  }

  /** A lease of the connection with `address`, if there is one: at once, without a promise. */
  lend(address: string): Lease | undefined {
    const open = this.#open.get(address);
    if (this.#closed || open?.connection.isOpen !== true) return undefined;
    // Least recently used first; one that is the only one is that already.
    if (this.#open.size > 1) {
      this.#open.delete(address);
      this.#open.set(address, open);
    }
    open.uses += 1;
    this.#lookLater();
    return leaseOf(open);
  }

  /**
   * A lease of the connection with `options.address`, which is made first where there is none.
   *
   * @throws GRAMLINE_BUSY when there are {@link CONNECTIONS_MAX} and all are in use, GRAMLINE_CLOSED,
   *   and what the transport throws
   */
  async connect(options: ConnectOptions): Promise<Lease> {
    const lent = this.lend(options.address);
    if (lent !== undefined) return lent;
    if (this.#closed) throw closedError();
    const { address } = options;
    // Callers that come while a connection is being made share it, unless one may abort it.
    const shared = options.signal === undefined ? this.#opening.get(address) : undefined;
    if (shared !== undefined) {
      shared.waiting.uses += 1;
      return leaseOf(await shared.made);
    }
    this.#makeRoom();
    const waiting = { uses: 1 };
    const made = this.#connect(options, waiting);
    this.#await(made);
    if (options.signal === undefined) {
      this.#opening.set(address, { made, waiting });
      const forget = (): boolean => this.#opening.delete(address);
      made.then(forget, forget);
    }
    return leaseOf(await made);
  }

  /** Whether nothing answered at `address` a moment ago, so that another one is the better choice. */
  isDoubtful(address: string): boolean {
    const at = this.#unanswered.get(address);
    return at !== undefined && this.#options.clock.now() < micros(at + DOUBT_MICROS);
  }

  /** Ends a connection that misbehaved; the next caller gets a new one. */
  drop(address: string, connection: Connection): void {
    this.#forget(address, connection);
    this.#await(connection.close());
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#looking?.cancel();
    await Promise.all([...this.#open.values()].map(({ connection }) => connection.close()));
    while (this.#underWay.size > 0) await Promise.allSettled([...this.#underWay]);
  }

  async #connect(options: ConnectOptions, waiting: { readonly uses: number }): Promise<Entry> {
    const { address } = options;
    this.#openingCount += 1;
    let connection: Connection;
    try {
      connection = await this.#transport.connect(options);
      this.#unanswered.delete(address);
    } catch (error) {
      if (isGramlineError(error, 'GRAMLINE_NO_COORDINATOR')) this.#doubt(address);
      throw error;
    } finally {
      this.#openingCount -= 1;
    }
    if (this.#closed) {
      await connection.close();
      throw closedError();
    }
    const known = this.#open.get(address);
    // Two callers that may abort connected at the same time: one session with a peer is enough.
    if (known?.connection.isOpen === true) {
      this.#await(connection.close());
      known.uses += waiting.uses;
      return known;
    }
    if (known !== undefined) this.#forget(address, known.connection);
    // Counted before the waiting callers run: nobody may take it for idle in between.
    const { silenceMicros } = this.#options;
    const silence = silenceMicros === undefined ? undefined : new SilenceWatch(connection, silenceMicros);
    const entry = { connection, uses: waiting.uses, silence };
    this.#open.set(address, entry);
    this.#lookLater();
    void connection.closed.then(() => this.#forget(address, connection));
    return entry;
  }

  /** Looks after the connections for as long as one of them is in use. */
  #lookLater(): void {
    const { clock, silenceMicros } = this.#options;
    if (silenceMicros === undefined || this.#looking !== undefined || this.#closed) return;
    this.#looking = clock.setTimer(micros(clock.now() + LOOK_MICROS), () => {
      this.#looking = undefined;
      let isInUse = false;
      for (const [address, { connection, uses, silence }] of this.#open) {
        if (uses === 0) continue;
        isInUse = true;
        if (silence?.isSilent(clock.now()) !== true) continue;
        mark('coordinator-silent');
        this.#forget(address, connection);
        connection.abandon();
      }
      if (isInUse) this.#lookLater();
    });
  }

  /** Makes room for one more connection. Throws GRAMLINE_BUSY when all are in use. */
  #makeRoom(): void {
    if (this.#open.size + this.#openingCount < CONNECTIONS_MAX) return;
    for (const [address, { connection, uses }] of this.#open) {
      if (uses === 0) return this.drop(address, connection);
    }
    throw new GramlineError(
      'GRAMLINE_BUSY',
      `this client uses ${CONNECTIONS_MAX} connections, the most it may: try again when a transfer has ended`,
      { retryable: true },
    );
  }

  #doubt(address: string): void {
    this.#unanswered.delete(address);
    this.#unanswered.set(address, this.#options.clock.now());
    if (this.#unanswered.size <= CONNECTIONS_MAX) return;
    for (const oldest of this.#unanswered.keys()) return void this.#unanswered.delete(oldest);
  }

  #await(work: Promise<unknown>): void {
    this.#underWay.add(work);
    const forget = (): boolean => this.#underWay.delete(work);
    work.then(forget, forget);
  }

  #forget(address: string, connection: Connection): void {
    if (this.#open.get(address)?.connection !== connection) return;
    this.#open.delete(address);
    this.#past = add(this.#past, connection.counts);
  }
}

function leaseOf(entry: Entry): Lease {
  let isOut = true;
  return {
    connection: entry.connection,
    [Symbol.dispose]() {
      if (isOut) entry.uses -= 1;
      isOut = false;
    },
  };
}

export function closedError(): GramlineError {
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
