/**
 * An object's file while it is written: bytes in, hashed and checksummed, out to the disk in
 * whole chunks. While one chunk is on its way to the disk the next is hashed and filled.
 *
 * It knows nothing of names, quotas or markers: see `object-store.ts`.
 */

import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { assert } from '../base/assert.ts';
import { type FileSystem, removeIfPresent } from './durable-files.ts';
import { CHUNK_BYTES, TrailerBuilder } from './object-file.ts';

export class TemporaryObject {
  readonly path: string;
  readonly #fs: FileSystem;
  readonly #handle: FileHandle;
  readonly #objectBytes: number;
  readonly #hash = createHash('sha256');
  readonly #trailer: TrailerBuilder;
  #filling: Uint8Array;
  #filled = 0;
  /** The other buffer: on its way to the disk, or free. Made when a second chunk comes. */
  #spare: Uint8Array | undefined;
  #diskWrite: Promise<void> = Promise.resolve();
  #writtenBytes = 0;
  #isClosed = false;

  private constructor(fs: FileSystem, path: string, handle: FileHandle, objectBytes: number) {
    this.#fs = fs;
    this.path = path;
    this.#handle = handle;
    this.#objectBytes = objectBytes;
    this.#trailer = new TrailerBuilder(objectBytes);
    this.#filling = Buffer.allocUnsafeSlow(Math.min(objectBytes, CHUNK_BYTES));
  }

  /** Makes the file at `path`, which must be free, for exactly `objectBytes` bytes. */
  static async open(fs: FileSystem, path: string, objectBytes: number): Promise<TemporaryObject> {
    const handle = await fs.open(path, 'wx');
    return new TemporaryObject(fs, path, handle, objectBytes);
  }

  /** Payload bytes that were handed to the disk. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Takes `bytes` in (copied). The caller waits before it appends again, and never exceeds the size. */
  async append(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    let at = 0;
    while (at < bytes.length) {
      const count = Math.min(bytes.length - at, this.#filling.length - this.#filled);
      assert(count > 0, 'more bytes than the object has');
      this.#filling.set(bytes.subarray(at, at + count), this.#filled);
      this.#filled += count;
      at += count;
      if (this.#filled === CHUNK_BYTES) await this.#flushChunk();
    }
  }

  /** Makes the file complete and durable, closes it, and returns the SHA-256 of the payload. */
  async seal(): Promise<Uint8Array> {
    if (this.#filled > 0) await this.#flushChunk();
    await this.#diskWrite;
    const hash = new Uint8Array(this.#hash.digest());
    await this.#writeFully(this.#trailer.finish(hash), this.#objectBytes);
    await this.#handle.sync();
    this.#isClosed = true;
    await this.#handle.close();
    return hash;
  }

  /** Closes and removes the file. Harmless when `seal` has closed it or it was moved away. */
  async discard(): Promise<void> {
    await this.#diskWrite.catch(() => {});
    if (!this.#isClosed) {
      this.#isClosed = true;
      await this.#handle.close().catch(() => {});
    }
    await removeIfPresent(this.#fs, this.path);
  }

  async #flushChunk(): Promise<void> {
    const chunk = this.#filling.subarray(0, this.#filled);
    this.#trailer.addChunk(chunk);
    await this.#diskWrite;
    const full = this.#filling;
    this.#filling = this.#spare ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
    this.#spare = full;
    this.#filled = 0;
    const position = this.#writtenBytes;
    this.#writtenBytes += chunk.length;
    this.#diskWrite = this.#writeFully(chunk, position);
    // Whoever comes next awaits it and gets the failure; until then it must not count as unhandled.
    this.#diskWrite.catch(() => {});
  }

  async #writeFully(bytes: Uint8Array, position: number): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, position + done);
      assert(bytesWritten > 0, 'a write to a file took no bytes');
      done += bytesWritten;
    }
  }
}
