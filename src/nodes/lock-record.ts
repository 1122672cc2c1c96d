/**
 * A place in the queue of a lock as the shared state keeps it [LOCK-2]. Its key is the lock's name behind its
 * length and the place's number, so that a range is in the order of the queues.
 */

import { concatBytes } from '../base/bytes.ts';
import { Reader, text8Size, Writer } from '../wire/index.ts';
import { LOCK_PREFIX } from './state-keys.ts';

export interface LockRecord {
  readonly name: string;
  /** The fencing token [LOCK-4]. */
  readonly number: number;
  /** SHA-256 of the token: the state does not know the token itself. */
  readonly tokenHash: Uint8Array;
  readonly shared: boolean;
  readonly leaseMillis: number;
}

const RECORD_VERSION = 1;
const TOKEN_HASH_BYTES = 32;
const VALUE_BYTES = 1 + TOKEN_HASH_BYTES + 1 + 4;

/** Where the last number stands that was given. No place has this key: a name is not empty. */
export const LOCK_NUMBER_KEY: Uint8Array = LOCK_PREFIX;

export function lockKey(name: string, number: number): Uint8Array {
  const writer = new Writer(new Uint8Array(text8Size(name) + 6));
  writer.text8(name);
  writer.u48(number);
  return concatBytes(LOCK_PREFIX, writer.buffer);
}

export function encodeLock(record: LockRecord): Uint8Array {
  const writer = new Writer(new Uint8Array(VALUE_BYTES));
  writer.u8(RECORD_VERSION);
  writer.fixed(record.tokenHash, TOKEN_HASH_BYTES);
  writer.u8(record.shared ? 1 : 0);
  writer.u32(record.leaseMillis);
  return writer.buffer;
}

/** Which place a key is of; undefined for a key of another kind. */
export function decodeLockKey(key: Uint8Array): Pick<LockRecord, 'name' | 'number'> | undefined {
  if (key.length <= LOCK_PREFIX.length || key[0] !== LOCK_PREFIX[0]) return undefined;
  const reader = new Reader(key.subarray(LOCK_PREFIX.length));
  const place = { name: reader.text8(), number: reader.u48() };
  reader.end();
  return reader.failure === undefined ? place : undefined;
}

/** The record under `key`, or undefined when this version cannot read it. */
export function decodeLock(key: Uint8Array, value: Uint8Array): LockRecord | undefined {
  const place = decodeLockKey(key);
  const reader = new Reader(value);
  const version = reader.u8();
  const tokenHash = reader.bytes(TOKEN_HASH_BYTES).slice();
  const shared = reader.u8() === 1;
  const leaseMillis = reader.u32();
  reader.end();
  const isFit = version === RECORD_VERSION && reader.failure === undefined && place !== undefined;
  return isFit ? { ...place, tokenHash, shared, leaseMillis } : undefined;
}

export function encodeLockNumber(number: number): Uint8Array {
  const writer = new Writer(new Uint8Array(6));
  writer.u48(number);
  return writer.buffer;
}

/** The last number that was given; 0 when none was. */
export function decodeLockNumber(value: Uint8Array | undefined): number {
  return value === undefined ? 0 : new Reader(value).u48();
}
