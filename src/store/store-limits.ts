/** The named maxima of an object store, and the refusals that belong to them. */

import { toHex } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import { OBJECT_BYTES_MAX } from './object-file.ts';

/** Most objects that are being stored at once; each holds up to two buffers of 1 MiB. */
export const WRITERS_MAX = 256;

/** Most objects that are open for reading at once; each holds a file descriptor. */
export const READERS_MAX = 1024;

/** Most objects of one store: its index is in memory, about 150 bytes each. */
export const OBJECTS_MAX = 10_000_000;

/** Longest token that a pending object keeps. */
export const TOKEN_BYTES_MAX = 64;

/** Refuses a writer that could never succeed, whatever room there is. */
export function checkCreate(token: Uint8Array, bytes: number): void {
  if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > OBJECT_BYTES_MAX) {
    throw new GramlineError(
      'GRAMLINE_INVALID',
      `An object has 0 to ${OBJECT_BYTES_MAX} bytes: announce such a size, or cut the object in parts.`,
    );
  }
  if (token.length > TOKEN_BYTES_MAX)
    throw new GramlineError(
      'GRAMLINE_INVALID',
      `A token has at most ${TOKEN_BYTES_MAX} bytes: use a shorter one.`,
    );
}

export function tooManyWriters(): GramlineError {
  return busy(`${WRITERS_MAX} objects are being stored already`);
}

export function tooManyReaders(): GramlineError {
  return busy(`${READERS_MAX} objects are open for reading already`);
}

export function tooManyObjects(objectsMax: number): GramlineError {
  return new GramlineError(
    'GRAMLINE_NO_SPACE',
    `The store holds ${objectsMax} objects, the most that one can. Remove some, or add a node.`,
  );
}

export function noSpace(neededBytes: number, freeBytes: number): GramlineError {
  return new GramlineError(
    'GRAMLINE_NO_SPACE',
    `The object takes ${neededBytes} bytes, and ${freeBytes} are free. Remove objects, or raise the quota.`,
  );
}

export function sizeMismatch(announcedBytes: number, problem: string): GramlineError {
  return new GramlineError(
    'GRAMLINE_INVALID',
    `The object was announced with ${announcedBytes} bytes, but ${problem} came. Store it again with its true size.`,
  );
}

export function otherObject(hash: Uint8Array): GramlineError {
  return new GramlineError(
    'GRAMLINE_CORRUPT',
    `What came is the object ${toHex(hash)}, and another one was asked for. Read it from another node.`,
  );
}

export function writerEnded(): GramlineError {
  return new GramlineError(
    'GRAMLINE_CLOSED',
    'The writer has ended: create another one to store the object.',
  );
}

export function storeClosed(): GramlineError {
  return new GramlineError('GRAMLINE_CLOSED', 'The object store is closed: open it again.');
}

function busy(reason: string): GramlineError {
  return new GramlineError('GRAMLINE_BUSY', `${reason}. Retry when one of them has ended.`, {
    retryable: true,
  });
}
