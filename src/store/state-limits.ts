/** The named maxima of a state store, and the refusals that belong to them. */

import { GramlineError } from '../base/errors.ts';
import { MIB } from '../base/units.ts';
import type { Comparison, StateOperation } from '../nodes/ports.ts';

/** Longest key; the shortest is 1 byte. */
export const STATE_KEY_BYTES_MAX = 1024;

/** Most bytes of keys and values of one commit together. */
export const COMMIT_BYTES_MAX = MIB;

/** Most comparisons and operations of one commit together. */
export const COMMIT_PARTS_MAX = 4096;

/** Most commits that wait for the disk. */
export const COMMITS_QUEUED_MAX = 65_536;

/**
 * Bytes of all keys and values of a commit.
 *
 * @throws GramlineError `GRAMLINE_INVALID` when a key or the commit is too long.
 */
export function checkCommit(compare: readonly Comparison[], operations: readonly StateOperation[]): number {
  if (compare.length + operations.length > COMMIT_PARTS_MAX)
    throw invalid(`A commit has at most ${COMMIT_PARTS_MAX} comparisons and operations: cut it in parts.`);
  let bytes = 0;
  for (const { key, equals } of compare) bytes += checkKey(key) + (equals?.length ?? 0);
  for (const { key, value } of operations) bytes += checkKey(key) + (value?.length ?? 0);
  if (bytes > COMMIT_BYTES_MAX)
    throw invalid(`A commit has at most ${COMMIT_BYTES_MAX} bytes of keys and values: cut it in parts.`);
  return bytes;
}

/**
 * Refuses borders of a range that are longer than any key.
 *
 * @throws GramlineError `GRAMLINE_INVALID`.
 */
export function checkRange(start: Uint8Array, end: Uint8Array): void {
  if (start.length > STATE_KEY_BYTES_MAX || end.length > STATE_KEY_BYTES_MAX)
    throw invalid(`A border of a range has at most ${STATE_KEY_BYTES_MAX} bytes: use a shorter one.`);
}

export function stateBusy(): GramlineError {
  return new GramlineError(
    'GRAMLINE_BUSY',
    `${COMMITS_QUEUED_MAX} commits wait for the disk already. Retry when some are through.`,
    { retryable: true },
  );
}

export function stateClosed(): GramlineError {
  return new GramlineError('GRAMLINE_CLOSED', 'The state store is closed: open it again.');
}

function checkKey(key: Uint8Array): number {
  if (key.length === 0 || key.length > STATE_KEY_BYTES_MAX)
    throw invalid(`A key has 1 to ${STATE_KEY_BYTES_MAX} bytes: use such a key.`);
  return key.length;
}

function invalid(message: string): GramlineError {
  return new GramlineError('GRAMLINE_INVALID', message);
}
