/**
 * Where `get` writes to. A file appears under its name when it is whole, checked and on the disk:
 *
 *   open --> .NAME.XXXX.part beside it -- all written --> fsync --> rename --> fsync of the directory
 *                                      -- anything else --> removed
 */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { unlinkSync } from 'node:fs';
import { type FileHandle, open, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { refused } from './failures.ts';

/** Pieces are gathered to writes of about this size; one is under way while the next is gathered. */
const WRITE_BYTES = 1024 * 1024;
const STANDARD_STREAM = '-';

export interface ObjectTarget extends AsyncDisposable {
  /** Takes `piece`, which is the target's from here on. */
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

  async write(piece: Uint8Array): Promise<void> {
    if (!this.#stream.write(piece)) await once(this.#stream, 'drain');
  }

  async finish(): Promise<void> {
    await new Promise<void>((resolve) => this.#stream.write('', () => resolve()));
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class GatheringWriter {
  readonly handle: FileHandle;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #underWay: Promise<void> = Promise.resolve();

  constructor(handle: FileHandle) {
    this.handle = handle;
  }

  async write(piece: Uint8Array): Promise<void> {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes >= WRITE_BYTES) await this.#flush();
  }

  /** Resolves when everything is with the kernel. */
  async drain(): Promise<void> {
    if (this.#bytes > 0) await this.#flush();
    await this.#underWay;
  }

  async #flush(): Promise<void> {
    const [pieces, bytes] = [this.#pieces, this.#bytes];
    [this.#pieces, this.#bytes] = [[], 0];
    await this.#underWay;
    this.#underWay = writeAll(this.handle, pieces, bytes);
    // Whoever waits for it next sees the failure.
    this.#underWay.catch(() => undefined);
  }
}

async function writeAll(handle: FileHandle, pieces: readonly Uint8Array[], bytes: number): Promise<void> {
  const { bytesWritten } = await handle.writev([...pieces]);
  if (bytesWritten === bytes) return;
  const left = Buffer.concat(pieces).subarray(bytesWritten);
  for (let at = 0; at < left.length; ) at += (await handle.write(left, at)).bytesWritten;
}

class DeviceTarget implements ObjectTarget {
  readonly #writer: GatheringWriter;

  constructor(handle: FileHandle) {
    this.#writer = new GatheringWriter(handle);
  }

  write(piece: Uint8Array): Promise<void> {
    return this.#writer.write(piece);
  }

  finish(): Promise<void> {
    return this.#writer.drain();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.handle.close();
  }
}

class FileTarget implements ObjectTarget {
  readonly #writer: GatheringWriter;
  readonly #temporary: string;
  readonly #path: string;
  readonly #removeNow: () => void;
  #isFinished = false;

  constructor(handle: FileHandle, temporary: string, path: string) {
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
    return this.#writer.write(piece);
  }

  async finish(): Promise<void> {
    await this.#writer.drain();
    await this.#writer.handle.sync();
    await rename(this.#temporary, this.#path);
    this.#isFinished = true;
    await syncDirectory(dirname(this.#path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.drain().catch(() => undefined);
    await this.#writer.handle.close();
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
