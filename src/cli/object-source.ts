/** What `put` reads: a file, or a stream that is kept in a temporary file until its size is known. */

import { randomBytes } from 'node:crypto';
import { constants, createReadStream, createWriteStream, rmSync } from 'node:fs';
import { access, mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { refused } from './failures.ts';

/** Bytes of one read, in two buffers that take turns. */
const READ_BYTES = 1024 * 1024;
const STANDARD_STREAM = '-';

export interface Source extends AsyncDisposable {
  readonly bytes: number;
  /** Opens it from its start; may be called again. */
  readonly open: () => AsyncIterable<Uint8Array>;
}

/**
 * Looks at `path` (`-` is standard input) and says how it can be read.
 *
 * @throws when it is missing, unreadable or a directory
 */
export async function openSource(path: string, signal?: AbortSignal): Promise<Source> {
  if (path === STANDARD_STREAM) return spool(process.stdin, signal);
  const { size, isDirectory, isFile } = await inspectFile(path);
  if (isDirectory) throw refused(`${path} is a directory: name one file, or pack it with tar first`);
  // A pipe or a device has no size before its end.
  if (!isFile) return spool(createReadStream(path), signal);
  return { bytes: size, open: () => readFrom(path), [Symbol.asyncDispose]: async () => undefined };
}

async function inspectFile(path: string) {
  const facts = await stat(path);
  await access(path, constants.R_OK);
  return { size: facts.size, isDirectory: facts.isDirectory(), isFile: facts.isFile() };
}

/** The bytes of a file, in pieces that are good until the next is asked for; it is read meanwhile. */
async function* readFrom(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  const file = await open(path, 'r');
  const buffers = [new Uint8Array(READ_BYTES), new Uint8Array(READ_BYTES)] as const;
  let turn: 0 | 1 = 0;
  let next = file.read(buffers[turn], 0, READ_BYTES, null);
  try {
    for (;;) {
      const { bytesRead, buffer } = await next;
      if (bytesRead === 0) return;
      turn = turn === 0 ? 1 : 0;
      next = file.read(buffers[turn], 0, READ_BYTES, null);
      // Whoever asks for that piece gets its failure.
      next.catch(() => undefined);
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    // The file is not closed under a read that nobody waits for.
    await next.catch(() => undefined);
    await file.close();
  }
}

async function spool(stream: NodeJS.ReadableStream, signal: AbortSignal | undefined): Promise<Source> {
  const directory = await mkdtemp(join(tmpdir(), 'gramline-put-'));
  const removeNow = (): void => rmSync(directory, { recursive: true, force: true });
  process.on('exit', removeNow);
  const dispose = async (): Promise<void> => {
    await rm(directory, { recursive: true, force: true });
    process.off('exit', removeNow);
  };
  try {
    const path = join(directory, randomBytes(8).toString('hex'));
    await pipeline(stream, createWriteStream(path, { mode: 0o600 }), signal === undefined ? {} : { signal });
    const { size } = await stat(path);
    return { bytes: size, open: () => readFrom(path), [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    signal?.throwIfAborted();
    throw error;
  }
}
