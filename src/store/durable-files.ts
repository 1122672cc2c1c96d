/**
 * The file operations of this room, and the steps that make a change survive a loss of power:
 * write beside, flush the file, rename, flush the directory.
 */

import * as promises from 'node:fs/promises';
import { dirname } from 'node:path';

/** The part of `node:fs/promises` that the object store uses; tests give one that fails. */
export type FileSystem = Pick<
  typeof promises,
  'open' | 'rename' | 'unlink' | 'mkdir' | 'readdir' | 'readFile' | 'stat' | 'statfs'
>;

export const nodeFileSystem: FileSystem = promises;

/** Flushes the entries of `directory`: what was created, renamed or removed in it is durable then. */
export async function syncDirectory(fs: FileSystem, directory: string): Promise<void> {
  // Windows cannot open directories, and its renames are journaled.
  if (process.platform === 'win32') return;
  const handle = await fs.open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Makes `contents` the file at `path`, durably and at once: afterwards, and after a crash at any
 * moment, `path` is either as it was before or complete.
 *
 * @param temporaryPath a free name on the same file system, for the file while it is written.
 */
export async function replaceFile(
  fs: FileSystem,
  path: string,
  temporaryPath: string,
  contents: string | Uint8Array,
): Promise<void> {
  try {
    const handle = await fs.open(temporaryPath, 'w');
    try {
      await handle.writeFile(contents);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.rename(temporaryPath, path);
  } catch (error) {
    await removeIfPresent(fs, temporaryPath).catch(() => false);
    throw error;
  }
  await syncDirectory(fs, dirname(path));
}

/** Removes the file at `path`; says whether there was one. */
export async function removeIfPresent(fs: FileSystem, path: string): Promise<boolean> {
  try {
    await fs.unlink(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Whether `error` says that a file or directory does not exist. */
export function isMissing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT';
}
