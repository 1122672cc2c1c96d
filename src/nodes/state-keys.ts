/**
 * Whose keys begin how in the shared state: one letter each, so that a range is one kind. The letters `r` and `v`
 * are the stores' own (`state-moving.ts`).
 */

import { concatBytes, equalBytes, utf8 } from '../base/bytes.ts';

/** Hash -> entry of the catalog. */
export const OBJECT_PREFIX: Uint8Array = utf8('o');
export const OBJECT_END: Uint8Array = utf8('p');
/** Hash -> when the object was removed. */
export const TOMBSTONE_PREFIX: Uint8Array = utf8('t');
export const TOMBSTONE_END: Uint8Array = utf8('u');
/** Token of a put -> when it was decided that it will never be committed. */
export const DROPPED_PREFIX: Uint8Array = utf8('d');
export const DROPPED_END: Uint8Array = utf8('e');
/** Who leads; kept by its lease. */
export const LEADER_KEY: Uint8Array = utf8('l');
/** The last epoch. */
export const EPOCH_KEY: Uint8Array = utf8('e');
/** Id -> a coordinator that runs; kept by its lease. */
export const COORDINATOR_PREFIX: Uint8Array = utf8('m');
export const COORDINATOR_END: Uint8Array = utf8('n');
/** Node id -> a node. */
export const NODE_PREFIX: Uint8Array = utf8('n');
export const NODE_END: Uint8Array = utf8('o');
/** Number of the last change of a member. */
export const MEMBER_ORDER_KEY: Uint8Array = utf8('w');
/** What repair has to do, as the leader knows it. */
export const REPAIR_KEY: Uint8Array = utf8('c');
/** Name and place -> a place in the queue of a lock. */
export const LOCK_PREFIX: Uint8Array = utf8('k');
export const LOCK_END: Uint8Array = utf8('l');
/** Id -> a user session. */
export const USER_SESSION_PREFIX: Uint8Array = utf8('s');
export const USER_SESSION_END: Uint8Array = utf8('t');
/** A key and this: the least key behind it. */
export const KEY_STEP: Uint8Array = new Uint8Array(1);

export function objectKey(hash: Uint8Array): Uint8Array {
  return concatBytes(OBJECT_PREFIX, hash);
}

export function tombstoneKey(hash: Uint8Array): Uint8Array {
  return concatBytes(TOMBSTONE_PREFIX, hash);
}

export function droppedKey(token: Uint8Array): Uint8Array {
  return concatBytes(DROPPED_PREFIX, token);
}

/** Whether an entry is about its coordinator, and says nothing without it: who leads, who runs, what repair has to do. */
export function isPassing(key: Uint8Array): boolean {
  return equalBytes(key, LEADER_KEY) || equalBytes(key, REPAIR_KEY) || isBehind(key, COORDINATOR_PREFIX);
}

/** Whether `key` is one of those behind `prefix`, which is one letter. */
export function isBehind(key: Uint8Array, prefix: Uint8Array): boolean {
  return key[0] === prefix[0] && key.length > 1;
}
