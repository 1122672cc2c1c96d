/**
 * An object store in memory, for the simulator: the same port and the same refusals as the one on
 * disk, with faults that a test asks for.
 *
 * What would be on disk lives in a {@link MemoryFiles}, which outlasts the store: `crash` loses what
 * was not finished, and, where the power failed, what was not flushed; `reopen` starts again on the
 * same files. The order of writes, flushes and what is visible is that of `store/object-store.ts`.
 */

import { assert } from '../src/base/assert.ts';
import { concatBytes, equalBytes, toHex } from '../src/base/bytes.ts';
import { GramlineError } from '../src/base/errors.ts';
import type {
  InventoryEntry,
  ObjectReader,
  ObjectStore,
  ObjectWriter,
  PendingObject,
} from '../src/nodes/ports.ts';
import { nodeHashing } from '../src/store/hashing.ts';
import { CHUNK_BYTES, quotaBytesOf } from '../src/store/object-file.ts';
import { ObjectLanes } from '../src/store/object-lanes.ts';
import { readBytes, readerClosed } from '../src/store/object-reader.ts';
import { AnnouncedWriter, type ObjectSink } from '../src/store/object-writer.ts';
import {
  checkCreate,
  noSpace,
  otherObject,
  READERS_MAX,
  storeClosed,
  tooManyReaders,
  tooManyWriters,
  WRITERS_MAX,
} from '../src/store/store-limits.ts';
import { type DiskStep, type SimDisk, WriteCache } from './disk.ts';

export interface MemoryObjectStoreOptions {
  /** 16 bytes. */
  readonly nodeId: Uint8Array;
  readonly quotaBytes: number;
  readonly wallMillis: () => number;
  /** What takes time, and forgets what was not flushed; default: nothing takes time. */
  readonly disk?: SimDisk;
}

interface StoredObject {
  readonly hash: Uint8Array;
  readonly payload: Uint8Array;
  /** Chunks that no longer match their checksum. */
  readonly damagedChunks: Set<number>;
  /** Whether the store that runs knows of it: the file is there a little sooner. */
  isVisible: boolean;
}

/** What outlasts a crash. */
interface MemoryFiles {
  incarnation: number;
  readonly objects: Map<string, StoredObject>;
  readonly pending: Map<string, PendingObject>;
  readonly quarantined: Map<string, StoredObject>;
  isFull: boolean;
}

export class MemoryObjectStore implements ObjectStore {
  readonly #options: MemoryObjectStoreOptions;
  readonly #disk: MemoryFiles;
  readonly #cache: WriteCache;
  readonly #lanes = new ObjectLanes();
  readonly #writers = new Set<ObjectWriter>();
  readonly #readers = new Set<MemoryReader>();
  #storedBytes = 0;
  #reservedBytes = 0;
  #isDiskSeenFull: boolean;
  #full = false;
  #state: 'open' | 'closed' | 'crashed' = 'open';

  constructor(options: MemoryObjectStoreOptions, disk: MemoryFiles = emptyDisk()) {
    this.#options = options;
    this.#disk = disk;
    this.#cache = options.disk?.cache ?? new WriteCache();
    disk.incarnation++;
    this.#isDiskSeenFull = disk.isFull;
    for (const object of disk.objects.values()) {
      object.isVisible = true;
      this.#storedBytes += quotaBytesOf(object.payload.length);
    }
    // Markers of objects that never became visible are removed at the start.
    for (const name of disk.pending.keys()) if (!disk.objects.has(name)) disk.pending.delete(name);
  }

  get incarnation(): number {
    return this.#disk.incarnation;
  }

  async renew(): Promise<void> {
    this.#disk.incarnation += 1;
  }

  // ---------------------------------------------------------------- faults

  /**
   * Ends the store: what was not finished is lost, calls under way reject. `process` is `kill -9`; at
   * `machine` the power fails, and what was not flushed is lost, too. Returns how many changes that were.
   */
  crash(kind: 'machine' | 'process' = 'process'): number {
    this.#state = 'crashed';
    for (const reader of this.#readers) reader.isClosed = true;
    if (kind === 'machine') return this.#cache.lose();
    this.#cache.keep();
    return 0;
  }

  /** Flips one byte of a stored object: reads of its chunk reject with GRAMLINE_CORRUPT from now on. */
  corrupt(hash: Uint8Array, offset = 0): void {
    const object = this.#disk.objects.get(toHex(hash));
    assert(object !== undefined, 'no such object to corrupt');
    if (offset < object.payload.length) object.payload[offset]! ^= 1;
    object.damagedChunks.add(Math.floor(offset / CHUNK_BYTES));
  }

  /** A stored object's file is gone, as after a repair of the file system: the store that runs does not know yet. */
  lose(hash: Uint8Array): void {
    this.#disk.objects.delete(toHex(hash));
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
    let count = 0;
    for (const { isVisible } of this.#disk.objects.values()) if (isVisible) count += 1;
    return count;
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
      step: (kind) => this.#options.disk?.step(kind),
      requireDisk: () => this.#requireDisk(),
      publish: async (hash, payload) => {
        await this.#lanes.run(hash, () => this.#publish(hash, payload, token.slice()));
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
    await this.#options.disk?.step('read');
    this.#requireOpen();
    const object = this.#visible(hash);
    if (object === undefined) return undefined;
    if (this.#readers.size >= READERS_MAX) throw tooManyReaders();
    if (object.payload.length === 0 && object.damagedChunks.size > 0) throw corrupt(hash);
    const reader = new MemoryReader(object, {
      step: () => this.#options.disk?.step('read'),
      onClose: (closed) => this.#readers.delete(closed),
    });
    this.#readers.add(reader);
    return reader;
  }

  async remove(hash: Uint8Array): Promise<boolean> {
    this.#requireOpen();
    return this.#lanes.run(hash, async () => (await this.#forget(hash)) !== undefined);
  }

  async quarantine(hash: Uint8Array): Promise<void> {
    this.#requireOpen();
    await this.#lanes.run(hash, async () => {
      const object = await this.#forget(hash);
      if (object !== undefined) this.#disk.quarantined.set(toHex(hash), object);
    });
  }

  *inventory(): Iterable<InventoryEntry> {
    for (const { hash, payload, isVisible } of this.#disk.objects.values()) {
      if (isVisible) yield { hash: hash.slice(), bytes: payload.length };
    }
  }

  pending(): readonly PendingObject[] {
    const known = [...this.#disk.pending.values()].filter(({ hash }) => this.#visible(hash) !== undefined);
    return known.map(({ token, hash, storedMillis }) => ({
      token: token.slice(),
      hash: hash.slice(),
      storedMillis,
    }));
  }

  async settle(hash: Uint8Array, keep: boolean): Promise<void> {
    this.#requireOpen();
    await this.#lanes.run(hash, async () => {
      const name = toHex(hash);
      if (!this.#disk.pending.has(name)) return;
      if (keep) await this.#flush(this.#putMarker(name, undefined));
      else await this.#forget(hash);
    });
  }

  async close(): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'closed';
    await Promise.all(Array.from(this.#writers, (writer) => writer.abort()));
    await Promise.all(Array.from(this.#readers, (reader) => reader.close()));
  }

  /** Inside the lane of `hash`: the marker first, then the file, then what is visible. */
  async #publish(hash: Uint8Array, payload: Uint8Array, token: Uint8Array): Promise<void> {
    this.#requireDisk();
    const name = toHex(hash);
    const { objects, pending } = this.#disk;
    const earlier = objects.get(name);
    if (earlier === undefined || pending.has(name)) {
      await this.#flush(this.#putMarker(name, { token, hash, storedMillis: this.#options.wallMillis() }));
      this.#requireDisk();
    }
    // As on a real disk, the new bytes replace those that are there, which may have rotted unseen.
    const object = { hash, payload, damagedChunks: new Set<number>(), isVisible: earlier !== undefined };
    objects.set(name, object);
    await this.#flush(() => putBack(objects, name, earlier));
    object.isVisible = true;
    if (earlier === undefined) this.#storedBytes += quotaBytesOf(payload.length);
    this.#full = false;
  }

  /** Inside the lane of `hash`. */
  async #forget(hash: Uint8Array): Promise<StoredObject | undefined> {
    this.#requireOpen();
    const name = toHex(hash);
    const object = this.#visible(hash);
    if (object === undefined) return undefined;
    const { objects } = this.#disk;
    objects.delete(name);
    const undoMarker = this.#putMarker(name, undefined);
    await this.#flush(() => {
      putBack(objects, name, object);
      undoMarker();
    });
    this.#storedBytes -= quotaBytesOf(object.payload.length);
    return object;
  }

  #visible(hash: Uint8Array): StoredObject | undefined {
    const object = this.#disk.objects.get(toHex(hash));
    return object?.isVisible === true ? object : undefined;
  }

  /** Writes or removes a marker; returns what takes that back. */
  #putMarker(name: string, marker: PendingObject | undefined): () => void {
    const { pending } = this.#disk;
    const earlier = pending.get(name);
    putBack(pending, name, marker);
    return () => putBack(pending, name, earlier);
  }

  /** Flushes a change that `undo` takes back. Rejects when the process died before that was through. */
  async #flush(undo: () => void): Promise<void> {
    const { disk } = this.#options;
    const step = disk?.step('sync');
    if (step === undefined) return;
    const done = this.#cache.add(undo);
    await step;
    if (this.#state === 'crashed') throw storeClosed();
    done();
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
  step(kind: DiskStep): Promise<void> | undefined;
  requireDisk(): void;
  publish(hash: Uint8Array, payload: Uint8Array): Promise<void>;
  end(): void;
}

class MemorySink implements ObjectSink {
  readonly #owner: SinkOwner;
  readonly #parts: Uint8Array[] = [];

  constructor(owner: SinkOwner) {
    this.#owner = owner;
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#owner.requireDisk();
    const part = this.#parts.length;
    this.#parts.push(bytes);
    // As on a real disk, the bytes are looked at a while later: whoever takes them back too early is found.
    await (this.#owner.step('write') ?? Promise.resolve());
    this.#parts[part] = bytes.slice();
    this.#owner.requireDisk();
  }

  async publish(expected?: Uint8Array): Promise<Uint8Array> {
    // A crash in the same turn comes before the object is durable.
    await (this.#owner.step('sync') ?? Promise.resolve());
    this.#owner.requireDisk();
    const payload = concatBytes(...this.#parts);
    const digest = nodeHashing.sha256();
    digest.update(payload);
    const hash = digest.digest();
    if (expected !== undefined && !equalBytes(hash, expected)) throw otherObject(hash);
    await this.#owner.publish(hash, payload);
    return hash;
  }

  async discard(): Promise<void> {
    this.#owner.end();
  }
}

interface ReaderOwner {
  step(): Promise<void> | undefined;
  onClose(reader: MemoryReader): void;
}

class MemoryReader implements ObjectReader {
  readonly bytes: number;
  readonly #object: StoredObject;
  readonly #owner: ReaderOwner;
  isClosed = false;
  /** What the last two reads returned, the older first. */
  #borrowed: Uint8Array[] = [];

  constructor(object: StoredObject, owner: ReaderOwner) {
    this.bytes = object.payload.length;
    this.#object = object;
    this.#owner = owner;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (this.isClosed) throw readerClosed();
    await this.#owner.step();
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
    this.#owner.onClose(this);
  }
}

function putBack<Value>(map: Map<string, Value>, name: string, value: Value | undefined): void {
  if (value === undefined) map.delete(name);
  else map.set(name, value);
}

function emptyDisk(): MemoryFiles {
  return { incarnation: 0, objects: new Map(), pending: new Map(), quarantined: new Map(), isFull: false };
}

function corrupt(hash: Uint8Array): GramlineError {
  return new GramlineError(
    'GRAMLINE_CORRUPT',
    `The object ${toHex(hash)} is corrupt. Read it from another node, and quarantine this copy.`,
  );
}
