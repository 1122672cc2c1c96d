/**
 * A look at an lmdb file before lmdb does: given a file that is none, or one that was cut short,
 * lmdb 3.5 ends the process with a segmentation fault instead of an error.
 *
 * The layout is that of lmdb's data version 2: pages 0 and 1 each hold a header of 24 bytes and a
 * description of the database, the one of the later transaction valid. Damage further inside is
 * not looked for.
 */

import { type FileHandle, open } from 'node:fs/promises';
import { GramlineError } from '../base/errors.ts';
import { isMissing } from './durable-files.ts';

const LMDB_MAGIC = 0xbeefc0de;
const LMDB_DATA_VERSION = 2;
const MAGIC_OFFSET = 24;
const VERSION_OFFSET = 28;
const PAGE_BYTES_OFFSET = 48;
/** Root pages of the list of free pages and of the main table. */
const ROOT_OFFSETS = [88, 136] as const;
const TRANSACTION_OFFSET = 152;
const DESCRIPTION_BYTES = 160;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;

/**
 * Refuses what lmdb could not open; a file that is missing or empty is fine.
 *
 * @throws GramlineError `GRAMLINE_CORRUPT`, or an error of the operating system.
 */
export async function checkLmdbFile(path: string): Promise<void> {
  let file: FileHandle;
  try {
    file = await open(path, 'r+');
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  try {
    const { size } = await file.stat();
    if (size === 0) return;
    const first = await describe(file, 0, path);
    const pageBytes = first.readUInt32LE(PAGE_BYTES_OFFSET);
    if (pageBytes < DESCRIPTION_BYTES || size < 2 * pageBytes) throw corrupt(path);
    const second = await describe(file, pageBytes, path);
    const isFirstLater =
      first.readBigUInt64LE(TRANSACTION_OFFSET) > second.readBigUInt64LE(TRANSACTION_OFFSET);
    const valid = isFirstLater ? first : second;
    for (const offset of ROOT_OFFSETS) {
      const root = valid.readBigUInt64LE(offset);
      if (root !== NO_PAGE && (root + 1n) * BigInt(pageBytes) > BigInt(size)) throw corrupt(path);
    }
  } finally {
    await file.close();
  }
}

/** The start of the page at `position`, which must describe a database. */
async function describe(file: FileHandle, position: number, path: string): Promise<Buffer> {
  const page = Buffer.alloc(DESCRIPTION_BYTES);
  const { bytesRead } = await file.read(page, 0, page.length, position);
  if (
    bytesRead < page.length ||
    page.readUInt32LE(MAGIC_OFFSET) !== LMDB_MAGIC ||
    page.readUInt32LE(VERSION_OFFSET) !== LMDB_DATA_VERSION
  ) {
    throw corrupt(path);
  }
  return page;
}

function corrupt(path: string): GramlineError {
  return new GramlineError(
    'GRAMLINE_CORRUPT',
    `${path} is no database, or was cut short. Restore the directory from a backup, or choose another one.`,
  );
}

/** What made a transaction of lmdb fail: it hides the reason in a promise of its own. */
export async function commitFailure(error: unknown): Promise<unknown> {
  if (typeof error !== 'object' || error === null || !('commitError' in error)) return error;
  // Rejected in the same turn as `error`; if ever it is not, the first error has to do.
  return Promise.race([
    Promise.resolve(error.commitError).catch((reason: unknown) => reason),
    new Promise((resolve) => setImmediate(resolve, error)),
  ]);
}
