/**
 * An object's file while it is written: bytes in, hashed and checksummed at once, and on their way to
 * the disk while the next ones come.
 *
 * It knows nothing of names, quotas or markers: see `object-store.ts`.
 */

import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { type FileSystem, removeIfPresent } from './durable-files.ts';
import { GatheringWriter } from './gathering-writer.ts';
import { TrailerBuilder } from './object-file.ts';

export class TemporaryObject {
  readonly path: string;
  readonly #fs: FileSystem;
  readonly #handle: FileHandle;
  readonly #hash = createHash('sha256');
  readonly #trailer: TrailerBuilder;
  readonly #writer: GatheringWriter;
  #isClosed = false;

  private constructor(fs: FileSystem, path: string, handle: FileHandle, objectBytes: number) {
    this.#fs = fs;
    this.path = path;
    this.#handle = handle;
    this.#trailer = new TrailerBuilder(objectBytes);
    this.#writer = new GatheringWriter(handle);
  }

  /** Makes the file at `path`, which must be free, for exactly `objectBytes` bytes. */
  static async open(fs: FileSystem, path: string, objectBytes: number): Promise<TemporaryObject> {
    const handle = await fs.open(path, 'wx');
    return new TemporaryObject(fs, path, handle, objectBytes);
  }

  /** Payload bytes that were handed to the disk. */
  get writtenBytes(): number {
    return this.#writer.handedBytes;
  }

  /** Takes `bytes`, which are borrowed until the promise resolves. Several may be under way. */
  append(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    this.#trailer.add(bytes);
    return this.#writer.append(bytes);
  }

  /** Makes the file complete and durable, closes it, and returns the SHA-256 of the payload. */
  async seal(): Promise<Uint8Array> {
    const hash = new Uint8Array(this.#hash.digest());
    await this.#writer.append(this.#trailer.finish(hash));
    await this.#handle.sync();
    this.#isClosed = true;
    await this.#handle.close();
    return hash;
  }

  /** Closes and removes the file. Harmless when `seal` has closed it or it was moved away. */
  async discard(): Promise<void> {
    await this.#writer.drained().catch(() => {});
    if (!this.#isClosed) {
      this.#isClosed = true;
      await this.#handle.close().catch(() => {});
    }
    await removeIfPresent(this.#fs, this.path);
  }
}
