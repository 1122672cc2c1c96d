/** What `put` reads: a file, or a stream that is kept in a temporary file until its size is known. */

import { randomBytes } from 'node:crypto';
import { constants, createReadStream, createWriteStream, rmSync } from 'node:fs';
import { access, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { refused } from './failures.ts';

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

function readFrom(path: string): AsyncIterable<Uint8Array> {
  return createReadStream(path, { highWaterMark: READ_BYTES });
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
