/**
 * What has arrived at one connected socket and is not yet looked at.
 *
 * ```text
 *   kernel --fetch--> waiting --slice, once a turn--> onDatagram ... onDrained
 * ```
 *
 * Fetching empties the kernel's queue in few calls, so that the event loop stops reading for us: what
 * `dgram` reads costs 64 KiB of memory for each datagram, and it reads up to 32 of them before other sockets
 * get their turn. Looking at what was fetched goes slice by slice, with a turn of the event loop between:
 * an answer on another socket waits for one slice, not for a window full of bulk.
 */

import { KIB } from '../base/units.ts';
import { DatagramBuffer, IncomingBatch, type LibC } from '../native/index.ts';

/** Room for one datagram, or for many that the kernel glued together. */
const BUFFER_BYTES = 64 * KIB;
/** Datagrams of one receive call. */
const BATCH_DATAGRAMS = 32;
/** Receive calls of one fetch. */
const FETCH_CALLS_MAX = 16;
/** Buffers with what was fetched and not looked at, of one socket: 8 MiB, then the kernel's queue holds the rest. */
const BUFFERS_WAITING_MAX = 128;
/** Datagrams up to this size are moved together, many to a buffer: one to a buffer would fill it by a fortieth. */
const GATHERED_BYTES_MAX = 8 * KIB;
/**
 * With those that the event loop has read for us at most this many, then one more is lost: far more than a
 * peer may have under way, so that only a flood meets it.
 */
export const WAITING_READ_MAX = 1_024;
/** Bytes of one slice. */
const SLICE_BYTES = 128 * KIB;
/** Buffers kept for later, of all sockets: at most 32 MiB. */
const BUFFERS_KEPT_MAX = 512;

/** What all sockets share: the memory, and the description of a receive call. */
export class InboxMemory {
  readonly libc: LibC;
  readonly batch: IncomingBatch;
  readonly #free: DatagramBuffer[] = [];

  constructor(libc: LibC) {
    this.libc = libc;
    this.batch = new IncomingBatch(libc, BATCH_DATAGRAMS, () => this.take());
  }

  take(): DatagramBuffer {
    return this.#free.pop() ?? new DatagramBuffer(this.libc, BUFFER_BYTES);
  }

  give(buffer: DatagramBuffer): void {
    if (this.#free.length < BUFFERS_KEPT_MAX) this.#free.push(buffer);
  }
}

interface Waiting {
  readonly bytes: Uint8Array;
  /** To be given back after this one; undefined where others in it follow, and where the bytes are the collector's. */
  buffer: DatagramBuffer | undefined;
}

export interface InboxOwner {
  /** The bytes are borrowed for the call. */
  onDatagram(bytes: Uint8Array): void;
  /** A slice was handed in; `hasMore` says that another waits. */
  onDrained(hasMore: boolean): void;
  /** A receive call failed: ask libc why. */
  onFailure(): void;
  readonly isClosed: boolean;
}

export class Inbox {
  readonly #memory: InboxMemory;
  readonly #fd: number;
  readonly #owner: InboxOwner;
  readonly #waiting: Waiting[] = [];
  #buffersWaiting = 0;
  /** Where small datagrams are gathered during a fetch, and how far it is full. */
  #gathering: DatagramBuffer | undefined;
  #gatheredBytes = 0;
  #isDue = false;

  constructor(memory: InboxMemory, fd: number, owner: InboxOwner) {
    this.#memory = memory;
    this.#fd = fd;
    this.#owner = owner;
  }

  /** Whether nothing waits: only then may a datagram pass it by. */
  get isIdle(): boolean {
    return !this.#isDue;
  }

  /** The event loop has read a datagram that may have others behind it. */
  take(bytes: Uint8Array): void {
    if (this.#isDue) {
      if (this.#waiting.length < WAITING_READ_MAX) this.#waiting.push({ bytes, buffer: undefined });
      this.#fetch();
      return;
    }
    this.#owner.onDatagram(bytes);
    this.#fetch();
    this.#slice(bytes.length);
  }

  /** Gives all memory back. */
  close(): void {
    for (const { buffer } of this.#waiting) this.#give(buffer);
    this.#waiting.length = 0;
  }

  #fetch(): void {
    // Its number may be another socket's by now.
    if (this.#owner.isClosed) return;
    const { libc, batch } = this.#memory;
    for (let calls = 0; calls < FETCH_CALLS_MAX && this.#hasRoom; calls++) {
      const count = libc.receiveMessages(this.#fd, batch);
      if (count < 0) {
        this.#owner.onFailure();
        break;
      }
      for (let index = 0; index < count; index++) this.#keep(batch, index);
      if (count < batch.size) break;
    }
    this.#finishGathering();
  }

  get #hasRoom(): boolean {
    return this.#buffersWaiting < BUFFERS_WAITING_MAX && this.#waiting.length < WAITING_READ_MAX;
  }

  #keep(batch: IncomingBatch, index: number): void {
    const bytes = batch.bytesAt(index);
    if (bytes > GATHERED_BYTES_MAX) {
      this.#finishGathering();
      const buffer = batch.take(index);
      this.#buffersWaiting += 1;
      this.#waiting.push({ bytes: buffer.bytes.subarray(0, bytes), buffer });
      return;
    }
    if (this.#gatheredBytes + bytes > BUFFER_BYTES) this.#finishGathering();
    this.#gathering ??= this.#memory.take();
    const kept = this.#gathering.bytes.subarray(this.#gatheredBytes, this.#gatheredBytes + bytes);
    kept.set(batch.borrow(index, bytes));
    this.#gatheredBytes += bytes;
    this.#waiting.push({ bytes: kept, buffer: undefined });
  }

  /** The buffer goes back with the last datagram in it. */
  #finishGathering(): void {
    if (this.#gathering === undefined) return;
    this.#waiting[this.#waiting.length - 1]!.buffer = this.#gathering;
    this.#buffersWaiting += 1;
    this.#gathering = undefined;
    this.#gatheredBytes = 0;
  }

  #give(buffer: DatagramBuffer | undefined): void {
    if (buffer === undefined) return;
    this.#buffersWaiting -= 1;
    this.#memory.give(buffer);
  }

  /** Hands in the next slice, of which `bytes` are through already, and sees to the one after it. */
  #slice(bytes: number): void {
    const { isClosed } = this.#owner;
    if (isClosed) return this.close();
    let count = 0;
    for (let sliced = bytes; sliced < SLICE_BYTES && count < this.#waiting.length; ) {
      const { bytes: datagram, buffer } = this.#waiting[count]!;
      // Off the list before its memory is given back: `close` gives back what is on it.
      count += 1;
      sliced += datagram.length;
      this.#owner.onDatagram(datagram);
      this.#give(buffer);
      if (this.#owner.isClosed) break;
    }
    this.#waiting.splice(0, count);
    this.#owner.onDrained(this.#waiting.length > 0);
    if (this.#owner.isClosed) return this.close();
    if (this.#waiting.length === 0 && count === 0) return;
    this.#isDue = true;
    setImmediate(this.#next);
    setImmediate(this.#fetchLate);
  }

  readonly #next = (): void => {
    this.#isDue = false;
    if (this.#owner.isClosed) return this.close();
    if (this.#waiting.length === 0) this.#fetch();
    if (this.#waiting.length > 0) this.#slice(0);
  };

  /** What came while this turn's slice was worked on, before the event loop reads it for us. */
  readonly #fetchLate = (): void => {
    if (this.#isDue && !this.#owner.isClosed) this.#fetch();
  };
}
