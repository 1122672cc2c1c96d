/**
 * The objects of one node as files: content-addressed, checked when read, bounded by a quota.
 *
 * Here are the index, the accounting and the order of steps; the layout of a file is in
 * `object-file.ts`, that of the directory in `store-directory.ts`, one writer's life in
 * `object-writer.ts`.
 *
 * Storing an object: its file is written and flushed under a temporary name; a marker says
 * durably that the object of this hash waits to be settled; the file is renamed to its final name.
 * A crash leaves a temporary (removed at the next start), or a marker without an object (the
 * same), or a pending object. Nothing else.
 */

import { equalBytes, fromHex, toHex } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import { KIB } from '../base/units.ts';
import type {
  InventoryEntry,
  Log,
  ObjectReader,
  ObjectStore,
  ObjectWriter,
  PendingObject,
} from '../nodes/ports.ts';
import { NODE_ID_BYTES } from '../wire/constants.ts';
import { type DirectoryLock, lockDirectory } from './directory-lock.ts';
import { type FileSystem, nodeFileSystem, removeIfPresent } from './durable-files.ts';
import { trailerBytesOf } from './object-file.ts';
import { ObjectIndex } from './object-index.ts';
import { ObjectLanes } from './object-lanes.ts';
import { FileReader, KeptChunks } from './object-reader.ts';
import { AnnouncedWriter, type ObjectSink } from './object-writer.ts';
import { type Reservation, SpaceAccount } from './space-account.ts';
import { type NodeIdentity, StoreDirectory } from './store-directory.ts';
import { storeError } from './store-errors.ts';
import {
  checkCreate,
  OBJECTS_MAX,
  otherObject,
  READERS_MAX,
  storeClosed,
  tooManyObjects,
  tooManyReaders,
  tooManyWriters,
  WRITERS_MAX,
} from './store-limits.ts';
import { TemporaryObject } from './temporary-object.ts';

/** What `probe` writes to see whether the disk takes anything. */
const PROBE_BYTES = 64 * KIB;

export interface ObjectStoreOptions {
  /** Where the objects stand; made if it is missing. One process at a time may use it. */
  readonly directory: string;
  /** Most bytes of all objects together, each rounded up to a KiB. */
  readonly quotaBytes: number;
  /** Wall-clock milliseconds, for the time in the markers of pending objects. */
  readonly wallMillis: () => number;
  /** `count` unpredictable bytes: for the node's id. */
  readonly entropy: (count: number) => Uint8Array;
  readonly log?: Log | undefined;
  /** @internal File operations that a test makes fail. */
  readonly fs?: FileSystem;
  /** @internal Most objects, for the test at the maximum. */
  readonly objectsMax?: number;
}

/**
 * Opens the object store in `directory`, for this process alone.
 *
 * @throws GramlineError `GRAMLINE_IN_USE` when a living process holds the directory,
 *   `GRAMLINE_INVALID` when a newer Gramline wrote it, `GRAMLINE_CORRUPT` when its `node.json` is
 *   unreadable, `GRAMLINE_IO` or `GRAMLINE_NO_SPACE` when the disk refuses.
 */
export async function openObjectStore(options: ObjectStoreOptions): Promise<ObjectStore> {
  if (!Number.isSafeInteger(options.quotaBytes) || options.quotaBytes < 0) {
    throw new GramlineError('GRAMLINE_INVALID', 'quotaBytes must be a whole number of bytes, 0 or more.');
  }
  const lock = await lockDirectory(options.directory);
  try {
    const directory = new StoreDirectory(options.directory, options.fs ?? nodeFileSystem, options.log);
    const known = await directory.readIdentity();
    await directory.prepare();
    const identity = {
      nodeId: known?.nodeId ?? options.entropy(NODE_ID_BYTES),
      incarnation: (known?.incarnation ?? 0) + 1,
    };
    await directory.writeIdentity(identity);
    const store = new DiskObjectStore(options, directory, lock, identity);
    await store.load();
    return store;
  } catch (error) {
    await lock.release();
    throw storeError(error, `open the objects in ${options.directory}`);
  }
}

class DiskObjectStore implements ObjectStore {
  #identity: NodeIdentity;
  readonly #options: ObjectStoreOptions;
  readonly #directory: StoreDirectory;
  readonly #lock: DirectoryLock;
  readonly #lanes = new ObjectLanes();
  readonly #kept = new KeptChunks();
  /** At most OBJECTS_MAX. */
  readonly #index = new ObjectIndex();
  /** At most WRITERS_MAX and READERS_MAX. */
  readonly #writers = new Set<AnnouncedWriter>();
  readonly #readers = new Set<FileReader>();
  #writersOpening = 0;
  #readersOpening = 0;
  readonly #space: SpaceAccount;
  #closed: Promise<void> | undefined;

  constructor(
    options: ObjectStoreOptions,
    directory: StoreDirectory,
    lock: DirectoryLock,
    identity: NodeIdentity,
  ) {
    this.#options = options;
    this.#directory = directory;
    this.#lock = lock;
    this.#identity = identity;
    this.#space = new SpaceAccount(directory.fs, directory.path, options.quotaBytes, options.log);
  }

  /** Reads what the directory holds. */
  async load(): Promise<void> {
    const objectsMax = this.#objectsMax;
    await this.#directory.listObjects((name, bytes) => {
      if (this.#index.size >= objectsMax) throw tooManyObjects(objectsMax);
      this.#index.add(fromHex(name)!, bytes);
      this.#space.addStored(bytes);
    });
    const markers = await this.#directory.readMarkers((name) => this.#index.hasName(name));
    for (const [name, marker] of markers) this.#index.setMarker(fromHex(name)!, marker);
    await this.#space.refresh();
    this.#options.log?.info('opened the object store', {
      directory: this.#options.directory,
      objects: this.#index.size,
      storedBytes: this.#space.storedBytes,
      pending: this.#index.pendingCount,
    });
  }

  get nodeId(): Uint8Array {
    return this.#identity.nodeId.slice();
  }

  get incarnation(): number {
    return this.#identity.incarnation;
  }

  async renew(): Promise<void> {
    const next = { ...this.#identity, incarnation: this.#identity.incarnation + 1 };
    await this.#directory.writeIdentity(next);
    this.#identity = next;
  }

  get quotaBytes(): number {
    return this.#space.quotaBytes;
  }

  get freeBytes(): number {
    return this.#space.freeBytes;
  }

  get objects(): number {
    return this.#index.size;
  }

  get full(): boolean {
    return this.#space.full;
  }

  async probe(): Promise<void> {
    this.#requireOpen();
    const path = this.#directory.temporaryPath();
    const { fs } = this.#directory;
    try {
      const handle = await fs.open(path, 'wx');
      try {
        await handle.writeFile(Buffer.alloc(PROBE_BYTES));
        await handle.sync();
      } finally {
        await handle.close();
      }
      this.#space.noteSuccess();
    } catch (error) {
      this.#space.noteTrouble(error);
    } finally {
      await removeIfPresent(fs, path).catch(() => false);
    }
    await this.#space.refresh();
  }

  async create(token: Uint8Array, bytes: number): Promise<ObjectWriter> {
    this.#requireOpen();
    checkCreate(token, bytes);
    // The disk may have gained room that nobody told us of: look again before refusing.
    if (!this.#space.hasRoomFor(bytes)) await this.#space.refresh();
    this.#requireOpen();
    // From here to the reservation nothing waits, so that writers cannot take the same room.
    const writers = this.#writers.size + this.#writersOpening;
    if (writers >= WRITERS_MAX) throw tooManyWriters();
    if (this.#index.size + writers >= this.#objectsMax) throw tooManyObjects(this.#objectsMax);
    const room = this.#space.reserve(bytes);
    this.#writersOpening++;
    try {
      const path = this.#directory.temporaryPath();
      const temporary = await TemporaryObject.open(this.#directory.fs, path, bytes);
      if (this.#closed !== undefined) {
        await temporary.discard();
        throw storeClosed();
      }
      const sink = this.#sink(temporary, token.slice(), bytes, room, () => this.#writers.delete(writer));
      const writer = new AnnouncedWriter(sink, bytes);
      this.#writers.add(writer);
      return writer;
    } catch (error) {
      room.release();
      throw this.#failure(error);
    } finally {
      this.#writersOpening--;
    }
  }

  async open(hash: Uint8Array): Promise<ObjectReader | undefined> {
    this.#requireOpen();
    const bytes = this.#index.bytesOf(hash);
    if (bytes === undefined) return undefined;
    if (this.#readers.size + this.#readersOpening >= READERS_MAX) throw tooManyReaders();
    this.#readersOpening++;
    try {
      const reader = await FileReader.open({
        fs: this.#directory.fs,
        path: this.#directory.objectPath(toHex(hash)),
        hash: hash.slice(),
        bytes,
        kept: this.#kept,
        onClose: (closed) => this.#readers.delete(closed),
      });
      this.#readers.add(reader);
      if (this.#closed !== undefined) {
        await reader.close();
        throw storeClosed();
      }
      return reader;
    } catch (error) {
      // Removed while it was being opened: then it is not there, rather than corrupt.
      if (!this.#index.has(hash)) return undefined;
      throw error;
    } finally {
      this.#readersOpening--;
    }
  }

  remove(hash: Uint8Array): Promise<boolean> {
    return this.#change(hash, 'remove an object', () => this.#removeVisible(hash));
  }

  quarantine(hash: Uint8Array): Promise<void> {
    return this.#change(hash, 'quarantine an object', async () => {
      const name = toHex(hash);
      if (!this.#index.has(hash)) return;
      await this.#directory.quarantineObject(name);
      this.#forget(hash);
      await this.#directory.removeMarker(name);
      this.#options.log?.warn('quarantined an object', {
        hash: name,
        directory: this.#directory.quarantinePath,
      });
    });
  }

  inventory(): Iterable<InventoryEntry> {
    return this.#index.inventory();
  }

  pending(): readonly PendingObject[] {
    return this.#index.pending();
  }

  settle(hash: Uint8Array, keep: boolean): Promise<void> {
    return this.#change(hash, 'settle an object', async () => {
      // An object that is settled already stays, whatever a late answer says.
      if (!this.#index.isPending(hash)) return;
      if (!keep) {
        await this.#removeVisible(hash);
        return;
      }
      await this.#directory.removeMarker(toHex(hash));
      this.#index.dropMarker(hash);
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    // A writer that is finishing is waited for, since calls of a writer run in order.
    await Promise.all(Array.from(this.#writers, (writer) => writer.abort().catch(() => {})));
    await Promise.all(Array.from(this.#readers, (reader) => reader.close()));
    await this.#lanes.idle();
    await this.#lock.release();
  }

  get #objectsMax(): number {
    return this.#options.objectsMax ?? OBJECTS_MAX;
  }

  /** What one writer writes to: its temporary file, and then the index. */
  #sink(
    temporary: TemporaryObject,
    token: Uint8Array,
    bytes: number,
    room: Reservation,
    onEnd: () => void,
  ): ObjectSink {
    return {
      append: async (part) => {
        const appended = temporary.append(part);
        room.noteWritten(temporary.writtenBytes);
        try {
          await appended;
        } catch (error) {
          throw this.#failure(error);
        }
      },
      publish: async (expected) => {
        try {
          const hash = await temporary.seal();
          if (expected !== undefined && !equalBytes(hash, expected)) throw otherObject(hash);
          room.noteWritten(bytes + trailerBytesOf(bytes));
          await this.#lanes.run(hash, () => this.#publish(hash, temporary, token, bytes));
          room.release();
          onEnd();
          this.#space.noteSuccess();
          await this.#space.refresh();
          return hash;
        } catch (error) {
          throw this.#failure(error);
        }
      },
      discard: async () => {
        try {
          await temporary.discard();
        } catch (error) {
          throw this.#failure(error);
        } finally {
          room.release();
          onEnd();
          await this.#space.refresh();
        }
      },
    };
  }

  async #publish(
    hash: Uint8Array,
    temporary: TemporaryObject,
    token: Uint8Array,
    bytes: number,
  ): Promise<void> {
    const name = toHex(hash);
    const marker = { token, storedMillis: this.#options.wallMillis() };
    if (this.#index.has(hash)) {
      // A pending object waits for its latest storer; one that is settled needs no marker any more.
      if (this.#index.isPending(hash)) {
        await this.#directory.writeMarker(name, marker);
        this.#index.setMarker(hash, marker);
      }
      // The bytes that were just checked replace those on the disk, which may have rotted unseen: what
      // is acknowledged is what was written now.
      await this.#directory.publish(name, temporary.path);
      return;
    }
    try {
      await this.#directory.writeMarker(name, marker);
      await this.#directory.publish(name, temporary.path);
    } catch (error) {
      await this.#directory.removeObject(name).catch(() => {});
      await this.#directory.removeMarker(name).catch(() => {});
      throw error;
    }
    this.#index.add(hash, bytes);
    this.#index.setMarker(hash, marker);
    this.#space.addStored(bytes);
  }

  /** Runs a change of a visible object in its lane. */
  async #change<T>(hash: Uint8Array, attempt: string, task: () => Promise<T>): Promise<T> {
    this.#requireOpen();
    try {
      return await this.#lanes.run(hash, task);
    } catch (error) {
      throw storeError(error, `${attempt} in ${this.#options.directory}`);
    }
  }

  /** Called inside the lane of `hash`. */
  async #removeVisible(hash: Uint8Array): Promise<boolean> {
    if (!this.#index.has(hash)) return false;
    const name = toHex(hash);
    await this.#directory.removeObject(name);
    this.#forget(hash);
    await this.#directory.removeMarker(name);
    await this.#space.refresh();
    return true;
  }

  #forget(hash: Uint8Array): void {
    this.#space.removeStored(this.#index.bytesOf(hash) ?? 0);
    this.#index.delete(hash);
  }

  /** `error` of a write, for the caller. */
  #failure(error: unknown): Error {
    this.#space.noteTrouble(error);
    return storeError(error, `store an object in ${this.#options.directory}`);
  }

  #requireOpen(): void {
    if (this.#closed !== undefined) throw storeClosed();
  }
}
