/**
 * Reading a stored object: every chunk that a read touches is checked against its checksum first.
 *
 * A reader keeps two chunks: the one that is being read, in records that borrow from it, and the next,
 * which is read and checked meanwhile. How many readers keep any is bounded by {@link KeptChunks}.
 */

import type { FileHandle } from 'node:fs/promises';
import { GramlineError } from '../base/errors.ts';
import { MIB } from '../base/units.ts';
import type { ObjectReader } from '../nodes/ports.ts';
import { type FileSystem, isMissing } from './durable-files.ts';
import { CHUNK_BYTES, chunkHolds, trailerBytesOf, trailerFault } from './object-file.ts';
import { storeError } from './store-errors.ts';

/** Most bytes that one `read` returns. */
export const READ_BYTES_MAX = 64 * MIB;

/** Most readers that keep checked chunks (up to 2 MiB each); the least recently used one lets go. */
export const KEPT_CHUNKS_MAX = 64;

/** Bounds how many readers keep chunks. */
export class KeptChunks {
  /** In order of use, the oldest first. */
  readonly #keepers = new Set<{ dropChunks(): void }>();

  get count(): number {
    return this.#keepers.size;
  }

  /** Notes that `keeper` uses its chunks now. */
  touch(keeper: { dropChunks(): void }): void {
    this.#keepers.delete(keeper);
    this.#keepers.add(keeper);
    if (this.#keepers.size <= KEPT_CHUNKS_MAX) return;
    for (const oldest of this.#keepers) {
      this.forget(oldest);
      oldest.dropChunks();
      return;
    }
  }

  forget(keeper: { dropChunks(): void }): void {
    this.#keepers.delete(keeper);
  }
}

interface ReaderParts {
  readonly fs: FileSystem;
  readonly path: string;
  readonly hash: Uint8Array;
  /** Payload bytes, as the index has them. */
  readonly bytes: number;
  readonly kept: KeptChunks;
  readonly onClose: (reader: FileReader) => void;
}

/** A chunk that is being read, or was read and checked. */
interface KeptChunk {
  readonly index: number;
  readonly bytes: Promise<Uint8Array>;
  /** Memory that serves again when this chunk is not needed any more; none while it is being read. */
  memory: Uint8Array | undefined;
}

/** An {@link ObjectReader} over a file. Reads that are asked for at once are served one by one. */
export class FileReader implements ObjectReader {
  readonly bytes: number;
  readonly #parts: ReaderParts;
  readonly #handle: FileHandle;
  readonly #trailer: Uint8Array;
  #tail: Promise<unknown> = Promise.resolve();
  /** The chunk that was read from last, and the other: the next one, or the one before. */
  #current: KeptChunk | undefined;
  #other: KeptChunk | undefined;
  #isClosed = false;

  private constructor(parts: ReaderParts, handle: FileHandle, trailer: Uint8Array) {
    this.#parts = parts;
    this.bytes = parts.bytes;
    this.#handle = handle;
    this.#trailer = trailer;
  }

  /** Opens the file and checks its trailer. */
  static async open(parts: ReaderParts): Promise<FileReader> {
    let handle: FileHandle | undefined;
    try {
      handle = await parts.fs.open(parts.path, 'r');
      const trailer = Buffer.allocUnsafeSlow(trailerBytesOf(parts.bytes));
      const { size } = await handle.stat();
      if (size !== parts.bytes + trailer.length) throw corrupt(parts.path, 'its length is wrong');
      if (!(await readFully(handle, trailer, parts.bytes))) throw corrupt(parts.path, 'it is cut short');
      const fault = trailerFault(trailer, parts.hash, parts.bytes);
      if (fault !== undefined) throw corrupt(parts.path, fault);
      return new FileReader(parts, handle, trailer);
    } catch (error) {
      await handle?.close().catch(() => {});
      if (isMissing(error)) throw corrupt(parts.path, 'it is missing');
      throw storeError(error, `read the object ${parts.path}`);
    }
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    const read = this.#tail.then(() => this.#read(offset, length));
    this.#tail = read.catch(() => {});
    return read;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#tail;
    // The handle is not closed under a read that nobody asked for yet.
    await this.#other?.bytes.catch(() => {});
    this.#parts.kept.forget(this);
    this.dropChunks();
    await this.#handle.close().catch(() => {});
    this.#parts.onClose(this);
  }

  /** Lets go of the chunks that are kept. Who borrows from them still may: their memory is not used again. */
  dropChunks(): void {
    this.#current = undefined;
    this.#other = undefined;
  }

  async #read(offset: number, length: number): Promise<Uint8Array> {
    if (this.#isClosed) throw readerClosed();
    const count = readBytes(this.bytes, offset, length);
    if (count === 0) return NOTHING;
    const index = Math.floor(offset / CHUNK_BYTES);
    const start = offset - index * CHUNK_BYTES;
    const chunk = await this.#checkedChunk(index);
    return chunk.subarray(start, Math.min(chunk.length, start + count));
  }

  #checkedChunk(index: number): Promise<Uint8Array> {
    if (this.#current?.index === index) {
      // Nobody borrows from the chunk before by now: its memory is free for the next one.
      const next = index + 1;
      const isWanted = next * CHUNK_BYTES < this.bytes && this.#other?.index !== next;
      if (isWanted) this.#other = this.#load(next, this.#other?.memory);
    } else {
      const free = this.#other;
      const loaded = free?.index === index ? free : this.#load(index, free?.memory);
      this.#other = this.#current;
      this.#current = loaded;
    }
    this.#parts.kept.touch(this);
    return this.#current!.bytes;
  }

  /** Starts to read a chunk, into `memory` where that has room. */
  #load(index: number, memory: Uint8Array | undefined): KeptChunk {
    const chunkBytes = Math.min(CHUNK_BYTES, this.bytes - index * CHUNK_BYTES);
    const buffer =
      memory !== undefined && memory.length >= chunkBytes
        ? memory
        : new Uint8Array(Buffer.allocUnsafeSlow(chunkBytes).buffer);
    const bytes = this.#readChunk(index, buffer.subarray(0, chunkBytes));
    const chunk: KeptChunk = { index, bytes, memory: undefined };
    // Whoever asks for the chunk gets the failure.
    bytes.then(
      () => {
        chunk.memory = buffer;
      },
      () => {},
    );
    return chunk;
  }

  async #readChunk(index: number, chunk: Uint8Array): Promise<Uint8Array> {
    try {
      if (!(await readFully(this.#handle, chunk, index * CHUNK_BYTES)))
        throw corrupt(this.#parts.path, 'it is cut short');
    } catch (error) {
      throw storeError(error, `read the object ${this.#parts.path}`);
    }
    if (!chunkHolds(this.#trailer, index, chunk))
      throw corrupt(this.#parts.path, `chunk ${index} does not match its checksum`);
    return chunk;
  }
}

const NOTHING = new Uint8Array(0);

/**
 * How many bytes a read of `length` bytes at `offset` returns.
 *
 * @throws GramlineError `GRAMLINE_INVALID` when the range is none or too long.
 */
export function readBytes(objectBytes: number, offset: number, length: number): number {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0)
    throw new GramlineError(
      'GRAMLINE_INVALID',
      'Offset and length of a read must be whole and not negative.',
    );
  const count = Math.max(0, Math.min(length, objectBytes - offset));
  if (count > READ_BYTES_MAX)
    throw new GramlineError(
      'GRAMLINE_INVALID',
      `One read returns at most ${READ_BYTES_MAX} bytes: ask for less.`,
    );
  return count;
}

/** What a read of a closed reader rejects with. */
export function readerClosed(): GramlineError {
  return new GramlineError('GRAMLINE_CLOSED', 'The reader is closed: open the object again.');
}

function corrupt(path: string, fault: string): GramlineError {
  return new GramlineError(
    'GRAMLINE_CORRUPT',
    `The object file ${path} is corrupt: ${fault}. Read the object from another node, and quarantine this copy.`,
  );
}

/** Fills `buffer` from `position`; false when the file ends before. */
async function readFully(handle: FileHandle, buffer: Uint8Array, position: number): Promise<boolean> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await handle.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}
