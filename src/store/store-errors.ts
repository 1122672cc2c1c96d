/** How failures of the operating system become errors for callers. */

import { AssertionError } from '../base/assert.ts';
import { GramlineError } from '../base/errors.ts';

const DISK_FULL_CODES: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);
const DISK_FAILING_CODES: ReadonlySet<string> = new Set(['EIO', 'EROFS', 'ENXIO']);
const TOO_MANY_FILES_CODES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE']);

/** The `errno` name of an error of the operating system, or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Whether `error` says that the disk is full or fails, so that further writes will fail too. */
export function isDiskTrouble(error: unknown): boolean {
  const code = systemCode(error);
  return code !== undefined && (DISK_FULL_CODES.has(code) || DISK_FAILING_CODES.has(code));
}

/** Whether `error` is a bug of ours rather than a failure of the disk: it must not pass for one. */
export function isOwnBug(error: unknown): error is Error {
  return error instanceof AssertionError || error instanceof TypeError || error instanceof ReferenceError;
}

/**
 * `error` as an error for callers; a GramlineError passes unchanged, and so does a bug of ours.
 *
 * @param attempt what was tried, as in "store an object in /data": it completes "Cannot ...".
 */
export function storeError(error: unknown, attempt: string): Error {
  if (error instanceof GramlineError || isOwnBug(error)) return error;
  const code = systemCode(error);
  if (code !== undefined && DISK_FULL_CODES.has(code)) {
    return new GramlineError(
      'GRAMLINE_NO_SPACE',
      `Cannot ${attempt}: the disk is full (${code}). Free space there, or lower the quota.`,
      { cause: error },
    );
  }
  if (code !== undefined && TOO_MANY_FILES_CODES.has(code)) {
    return new GramlineError(
      'GRAMLINE_BUSY',
      `Cannot ${attempt}: too many files are open (${code}). Retry later, or raise the limit (ulimit -n).`,
      { cause: error, retryable: true },
    );
  }
  const reason = code ?? (error instanceof Error ? error.message : String(error));
  return new GramlineError(
    'GRAMLINE_IO',
    `Cannot ${attempt}: ${reason}. Check the disk and the permissions of the directory.`,
    { cause: error },
  );
}
