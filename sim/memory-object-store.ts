/**
 * An object store in memory, for the simulator: the same port and the same refusals as the one on
 * disk, without clock or chance, and with faults that a test asks for.
 *
 * What would be on disk lives in a {@link MemoryDisk}, which outlasts the store: `crash` loses what
 * was not finished, `reopen` starts again on the same disk.
 */

import { assert } from '../src/base/assert.ts';
import { concatBytes, toHex } from '../src/base/bytes.ts';
import { GramlineError } from '../src/base/errors.ts';
import type {
  InventoryEntry,
  ObjectReader,
  ObjectStore,
  ObjectWriter,
  PendingObject,
  StreamingHash,
} from '../src/nodes/ports.ts';
import { nodeHashing } from '../src/store/hashing.ts';
import { CHUNK_BYTES, quotaBytesOf } from '../src/store/object-file.ts';
import { readBytes, readerClosed } from '../src/store/object-reader.ts';
import { AnnouncedWriter, type ObjectSink } from '../src/store/object-writer.ts';
import {
  checkCreate,
  noSpace,
  READERS_MAX,
  storeClosed,
  tooManyReaders,
  tooManyWriters,
  WRITERS_MAX,
} from '../src/store/store-limits.ts';

export interface MemoryObjectStoreOptions {
  /** 16 bytes. */
  readonly nodeId: Uint8Array;
  readonly quotaBytes: number;
  readonly wallMillis: () => number;
}

interface StoredObject {
  readonly hash: Uint8Array;
  readonly payload: Uint8Array;
  /** Chunks that no longer match their checksum. */
  readonly damagedChunks: Set<number>;
}

/** What outlasts a crash. */
interface MemoryDisk {
  incarnation: number;
  readonly objects: Map<string, StoredObject>;
  readonly pending: Map<string, PendingObject>;
  readonly quarantined: Map<string, StoredObject>;
  isFull: boolean;
}

export class MemoryObjectStore implements ObjectStore {
  readonly incarnation: number;
  readonly #options: MemoryObjectStoreOptions;
  readonly #disk: MemoryDisk;
  readonly #writers = new Set<ObjectWriter>();
  readonly #readers = new Set<MemoryReader>();
  #storedBytes = 0;
  #reservedBytes = 0;
  #isDiskSeenFull: boolean;
  #full = false;
  #state: 'open' | 'closed' | 'crashed' = 'open';

  constructor(options: MemoryObjectStoreOptions, disk: MemoryDisk = emptyDisk()) {
    this.#options = options;
    this.#disk = disk;
    disk.incarnation++;
    this.incarnation = disk.incarnation;
    this.#isDiskSeenFull = disk.isFull;
    for (const { payload } of disk.objects.values()) this.#storedBytes += quotaBytesOf(payload.length);
  }

  // ---------------------------------------------------------------- faults

  /** Ends the store as `kill -9` would: what was not finished is lost, calls under way reject. */
  crash(): void {
    this.#state = 'crashed';
    for (const reader of this.#readers) reader.isClosed = true;
  }

  /** Flips one byte of a stored object: reads of its chunk reject with GRAMLINE_CORRUPT from now on. */
  corrupt(hash: Uint8Array, offset = 0): void {
    const object = this.#disk.objects.get(toHex(hash));
    assert(object !== undefined, 'no such object to corrupt');
    if (offset < object.payload.length) object.payload[offset]! ^= 1;
    object.damagedChunks.add(Math.floor(offset / CHUNK_BYTES));
  }

  /** Makes the disk full, or gives it room again. */
  fail(full: boolean): void {
    this.#disk.isFull = full;
  }

  /** The next start on the same disk, after `crash` or `close`. */
  reopen(): MemoryObjectStore {
    if (this.#state === 'open') {
      throw new GramlineError('GRAMLINE_IN_USE', 'The memory store is open: close it, or let it crash.');
    }
    return new MemoryObjectStore(this.#options, this.#disk);
  }

  // ---------------------------------------------------------------- port

  get nodeId(): Uint8Array {
    return this.#options.nodeId.slice();
  }

  get quotaBytes(): number {
    return this.#options.quotaBytes;
  }

  get freeBytes(): number {
    if (this.#isDiskSeenFull) return 0;
    return Math.max(0, this.quotaBytes - this.#storedBytes - this.#reservedBytes);
  }

  get objects(): number {
    return this.#disk.objects.size;
  }

  get full(): boolean {
    return this.#full;
  }

  async probe(): Promise<void> {
    this.#requireOpen();
    this.#full = this.#disk.isFull;
    this.#isDiskSeenFull = this.#disk.isFull;
  }

  async create(token: Uint8Array, bytes: number): Promise<ObjectWriter> {
    this.#requireOpen();
    checkCreate(token, bytes);
    if (this.#writers.size >= WRITERS_MAX) throw tooManyWriters();
    this.#isDiskSeenFull = this.#disk.isFull;
    const quotaBytes = quotaBytesOf(bytes);
    if (quotaBytes > this.freeBytes) throw noSpace(quotaBytes, this.freeBytes);
    this.#reservedBytes += quotaBytes;
    const end = () => {
      this.#reservedBytes -= quotaBytes;
      this.#writers.delete(writer);
    };
    const sink = new MemorySink({
      requireDisk: () => this.#requireDisk(),
      publish: (hash, payload) => {
        this.#publish(hash, payload, token.slice());
        end();
      },
      end,
    });
    const writer = new AnnouncedWriter(sink, bytes);
    this.#writers.add(writer);
    return writer;
  }

  async open(hash: Uint8Array): Promise<ObjectReader | undefined> {
    this.#requireOpen();
    const object = this.#disk.objects.get(toHex(hash));
    if (object === undefined) return undefined;
    if (this.#readers.size >= READERS_MAX) throw tooManyReaders();
    if (object.payload.length === 0 && object.damagedChunks.size > 0) throw corrupt(hash);
    const reader = new MemoryReader(object, (closed) => this.#readers.delete(closed));
    this.#readers.add(reader);
    return reader;
  }

  async remove(hash: Uint8Array): Promise<boolean> {
    this.#requireOpen();
    return this.#forget(hash) !== undefined;
  }

  async quarantine(hash: Uint8Array): Promise<void> {
    this.#requireOpen();
    const object = this.#forget(hash);
    if (object !== undefined) this.#disk.quarantined.set(toHex(hash), object);
  }

  *inventory(): Iterable<InventoryEntry> {
    for (const { hash, payload } of this.#disk.objects.values())
      yield { hash: hash.slice(), bytes: payload.length };
  }

  pending(): readonly PendingObject[] {
    return Array.from(this.#disk.pending.values(), ({ token, hash, storedMillis }) => ({
      token: token.slice(),
      hash: hash.slice(),
      storedMillis,
    }));
  }

  async settle(hash: Uint8Array, keep: boolean): Promise<void> {
    this.#requireOpen();
    if (!this.#disk.pending.has(toHex(hash))) return;
    if (keep) this.#disk.pending.delete(toHex(hash));
    else this.#forget(hash);
  }

  async close(): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'closed';
    await Promise.all(Array.from(this.#writers, (writer) => writer.abort()));
    await Promise.all(Array.from(this.#readers, (reader) => reader.close()));
  }

  #publish(hash: Uint8Array, payload: Uint8Array, token: Uint8Array): void {
    const name = toHex(hash);
    const isStored = this.#disk.objects.has(name);
    if (!isStored || this.#disk.pending.has(name))
      this.#disk.pending.set(name, { token, hash, storedMillis: this.#options.wallMillis() });
    // As on a real disk, the new bytes replace those that are there, which may have rotted unseen.
    this.#disk.objects.set(name, { hash, payload, damagedChunks: new Set() });
    if (!isStored) this.#storedBytes += quotaBytesOf(payload.length);
    this.#full = false;
  }

  #forget(hash: Uint8Array): StoredObject | undefined {
    const name = toHex(hash);
    const object = this.#disk.objects.get(name);
    if (object === undefined) return undefined;
    this.#disk.objects.delete(name);
    this.#disk.pending.delete(name);
    this.#storedBytes -= quotaBytesOf(object.payload.length);
    return object;
  }

  /** Rejects what a crashed process or a full disk would not take. */
  #requireDisk(): void {
    if (this.#state === 'crashed') throw storeClosed();
    if (!this.#disk.isFull) return;
    this.#full = true;
    this.#isDiskSeenFull = true;
    throw new GramlineError(
      'GRAMLINE_NO_SPACE',
      'The simulated disk is full. Call fail(false) to give it room.',
    );
  }

  #requireOpen(): void {
    if (this.#state !== 'open') throw storeClosed();
  }
}

interface SinkOwner {
  requireDisk(): void;
  publish(hash: Uint8Array, payload: Uint8Array): void;
  end(): void;
}

class MemorySink implements ObjectSink {
  readonly #owner: SinkOwner;
  readonly #parts: Uint8Array[] = [];
  readonly #hash: StreamingHash = nodeHashing.sha256();

  constructor(owner: SinkOwner) {
    this.#owner = owner;
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#owner.requireDisk();
    // As on a real disk, the bytes are looked at a while later: whoever takes them back too early is found.
    await Promise.resolve();
    this.#parts.push(bytes.slice());
    this.#hash.update(bytes);
  }

  async publish(): Promise<Uint8Array> {
    // A crash in the same turn comes before the object is durable.
    await Promise.resolve();
    this.#owner.requireDisk();
    const hash = this.#hash.digest();
    this.#owner.publish(hash, concatBytes(...this.#parts));
    return hash;
  }

  async discard(): Promise<void> {
    this.#owner.end();
  }
}

class MemoryReader implements ObjectReader {
  readonly bytes: number;
  readonly #object: StoredObject;
  readonly #onClose: (reader: MemoryReader) => void;
  isClosed = false;
  /** What the last two reads returned, the older first. */
  #borrowed: Uint8Array[] = [];

  constructor(object: StoredObject, onClose: (reader: MemoryReader) => void) {
    this.bytes = object.payload.length;
    this.#object = object;
    this.#onClose = onClose;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (this.isClosed) throw readerClosed();
    const chunk = Math.floor(offset / CHUNK_BYTES);
    const count = Math.min(readBytes(this.bytes, offset, length), (chunk + 1) * CHUNK_BYTES - offset);
    if (count > 0 && this.#object.damagedChunks.has(chunk)) throw corrupt(this.#object.hash);
    const bytes = this.#object.payload.slice(offset, offset + count);
    // Borrowed until the second read from theirs on: whoever looks later is found.
    if (this.#borrowed.length === 2) this.#borrowed.shift()!.fill(0xdd);
    this.#borrowed.push(bytes);
    return bytes;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.#onClose(this);
  }
}

function emptyDisk(): MemoryDisk {
  return { incarnation: 0, objects: new Map(), pending: new Map(), quarantined: new Map(), isFull: false };
}

function corrupt(hash: Uint8Array): GramlineError {
  return new GramlineError(
    'GRAMLINE_CORRUPT',
    `The object ${toHex(hash)} is corrupt. Read it from another node, and quarantine this copy.`,
  );
}
