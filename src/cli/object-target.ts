/**
 * Where `get` writes to. A file appears under its name when it is whole, checked and on the disk:
 *
 *   open --> .NAME.XXXX.part beside it -- all written --> fsync --> rename --> fsync of the directory
 *                                      -- anything else --> removed
 */

import { randomBytes } from 'node:crypto';
import { unlinkSync } from 'node:fs';
import { type FileHandle, open, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { GatheringWriter } from '../store/gathering-writer.ts';
import { refused } from './failures.ts';

const STANDARD_STREAM = '-';

export interface ObjectTarget extends AsyncDisposable {
  /** Takes `piece`, borrowed until the promise resolves; several may be under way. */
  write(piece: Uint8Array): Promise<void>;
  /** Makes what was written visible; without it, disposing leaves nothing behind. */
  finish(): Promise<void>;
}

/** A target for `path`; `-` is standard output. Throws when `path` is a directory. */
export async function openObjectTarget(path: string): Promise<ObjectTarget> {
  if (path === STANDARD_STREAM) return new StreamTarget(process.stdout);
  const known = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (known?.isDirectory() === true) throw refused(`${path} is a directory: name a file in it`);
  // A device or a pipe must not be replaced by a file.
  if (known !== undefined && !known.isFile()) return new DeviceTarget(await open(path, 'w'));
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.part`);
  const handle = await open(temporary, 'wx').catch((error: NodeJS.ErrnoException) => {
    throw refused(
      `cannot write in ${dirname(path)} (${error.code}): check that it exists and is yours`,
      error,
    );
  });
  return new FileTarget(handle, temporary, path);
}

class StreamTarget implements ObjectTarget {
  readonly #stream: NodeJS.WriteStream;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  write(piece: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#stream.write(piece, (error) => (error ? reject(error) : resolve()));
    });
  }

  async finish(): Promise<void> {
    await new Promise<void>((resolve) => this.#stream.write('', () => resolve()));
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class DeviceTarget implements ObjectTarget {
  readonly #handle: FileHandle;
  readonly #writer: GatheringWriter;

  constructor(handle: FileHandle) {
    this.#handle = handle;
    this.#writer = new GatheringWriter(handle, 'as they come');
  }

  write(piece: Uint8Array): Promise<void> {
    return this.#writer.append(piece);
  }

  finish(): Promise<void> {
    return this.#writer.drained();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.drained().catch(() => undefined);
    await this.#handle.close();
  }
}

class FileTarget implements ObjectTarget {
  readonly #handle: FileHandle;
  readonly #writer: GatheringWriter;
  readonly #temporary: string;
  readonly #path: string;
  readonly #removeNow: () => void;
  #isFinished = false;

  constructor(handle: FileHandle, temporary: string, path: string) {
    this.#handle = handle;
    this.#writer = new GatheringWriter(handle);
    this.#temporary = temporary;
    this.#path = path;
    // Also when a second Ctrl-C leaves no time for anything else.
    this.#removeNow = () => {
      try {
        unlinkSync(temporary);
      } catch {
        // It is gone, or as gone as it will be.
      }
    };
    process.on('exit', this.#removeNow);
  }

  write(piece: Uint8Array): Promise<void> {
    return this.#writer.append(piece);
  }

  async finish(): Promise<void> {
    await this.#writer.drained();
    await this.#handle.sync();
    await rename(this.#temporary, this.#path);
    this.#isFinished = true;
    await syncDirectory(dirname(this.#path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.drained().catch(() => undefined);
    await this.#handle.close();
    process.off('exit', this.#removeNow);
    if (!this.#isFinished) await unlink(this.#temporary).catch(() => undefined);
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
