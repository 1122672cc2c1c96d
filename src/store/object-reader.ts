/**
 * Reading a stored object: every chunk that a read touches is checked against its checksum first.
 *
 * A reader keeps the chunk that it checked last, so that reading a chunk in records costs one
 * check. How many readers keep one is bounded by {@link KeptChunks}.
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

/** Most readers that keep a checked chunk (up to 1 MiB each); the least recently used one lets go. */
export const KEPT_CHUNKS_MAX = 128;

/** Bounds how many readers keep a chunk. */
export class KeptChunks {
  /** In order of use, the oldest first. */
  readonly #keepers = new Set<{ dropChunk(): void }>();

  get count(): number {
    return this.#keepers.size;
  }

  /** Notes that `keeper` uses its chunk now. */
  touch(keeper: { dropChunk(): void }): void {
    this.#keepers.delete(keeper);
    this.#keepers.add(keeper);
    if (this.#keepers.size <= KEPT_CHUNKS_MAX) return;
    for (const oldest of this.#keepers) {
      this.forget(oldest);
      oldest.dropChunk();
      return;
    }
  }

  forget(keeper: { dropChunk(): void }): void {
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

/** An {@link ObjectReader} over a file. Reads that are asked for at once are served one by one. */
export class FileReader implements ObjectReader {
  readonly bytes: number;
  readonly #parts: ReaderParts;
  readonly #handle: FileHandle;
  readonly #trailer: Uint8Array;
  #tail: Promise<unknown> = Promise.resolve();
  #chunk: Uint8Array | undefined;
  #chunkIndex = -1;
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
    this.#parts.kept.forget(this);
    this.dropChunk();
    await this.#handle.close().catch(() => {});
    this.#parts.onClose(this);
  }

  /** Lets go of the chunk that is kept. */
  dropChunk(): void {
    this.#chunk = undefined;
    this.#chunkIndex = -1;
  }

  async #read(offset: number, length: number): Promise<Uint8Array> {
    if (this.#isClosed) throw readerClosed();
    const count = readBytes(this.bytes, offset, length);
    const result = new Uint8Array(Buffer.allocUnsafeSlow(count).buffer);
    let done = 0;
    while (done < count) {
      const at = offset + done;
      const index = Math.floor(at / CHUNK_BYTES);
      const chunk = await this.#checkedChunk(index);
      const start = at - index * CHUNK_BYTES;
      const part = chunk.subarray(start, Math.min(chunk.length, start + count - done));
      result.set(part, done);
      done += part.length;
    }
    return result;
  }

  async #checkedChunk(index: number): Promise<Uint8Array> {
    const kept = this.#chunk;
    if (index === this.#chunkIndex && kept !== undefined) {
      this.#parts.kept.touch(this);
      return kept;
    }
    const chunkBytes = Math.min(CHUNK_BYTES, this.bytes - index * CHUNK_BYTES);
    // What is returned to callers is copied out, so the buffer of the last chunk serves again.
    const chunk =
      kept !== undefined && kept.buffer.byteLength >= chunkBytes
        ? new Uint8Array(kept.buffer, 0, chunkBytes)
        : Buffer.allocUnsafeSlow(chunkBytes);
    this.dropChunk();
    try {
      if (!(await readFully(this.#handle, chunk, index * CHUNK_BYTES)))
        throw corrupt(this.#parts.path, 'it is cut short');
    } catch (error) {
      throw storeError(error, `read the object ${this.#parts.path}`);
    }
    if (!chunkHolds(this.#trailer, index, chunk))
      throw corrupt(this.#parts.path, `chunk ${index} does not match its checksum`);
    this.#chunk = chunk;
    this.#chunkIndex = index;
    this.#parts.kept.touch(this);
    return chunk;
  }
}

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
