/** What the catalog keeps under its keys: entries and tombstones, as bytes of the state store. */

import { equalBytes } from '../base/bytes.ts';
import { NODE_ID_BYTES, Reader, TOKEN_BYTES, Writer } from '../wire/index.ts';

export interface CatalogEntry {
  readonly bytes: number;
  readonly createdMillis: number;
  /** Revision of the catalog after which this entry was written. */
  readonly revision: number;
  /** How often it was asked for, and until when it is kept: 0 = for ever. */
  readonly requests: number;
  readonly expiresMillis: number;
  /** How many replicas it is to have: what repair restores [REP-1]; {@link WANTED_UNKNOWN} where nobody has said. */
  readonly wanted: number;
  /** Token of the put that made it; {@link NO_TOKEN} where that is not known. */
  readonly madeBy: Uint8Array;
  readonly replicas: readonly Uint8Array[];
}

/** What is remembered of an object that was removed, also when it is there again. */
export interface Tombstone {
  /** Wall-clock time of the last removal. */
  readonly removedMillis: number;
  /** Of puts that made the object and removals that took it away: those that were done last, oldest first. */
  readonly done: readonly Uint8Array[];
}

export interface CatalogTotals {
  readonly objects: number;
  readonly bytes: number;
}

/** Of an object that inventories told of, and no commit: the catalog was lost. */
export const WANTED_UNKNOWN = 0;
const WANTED_WHERE_UNKNOWN = 2;

/** How many replicas repair restores. */
export function wantedReplicas({ wanted }: CatalogEntry): number {
  return wanted === WANTED_UNKNOWN ? WANTED_WHERE_UNKNOWN : wanted;
}

/** The maker of objects that inventories told of. */
export const NO_TOKEN: Uint8Array = new Uint8Array(TOKEN_BYTES);
/** Tokens that a tombstone remembers: a query that is repeated behind so many others of its object is done again. */
export const DONE_MAX = 8;

const ENTRY_VERSION = 3;
const ENTRY_FIXED_BYTES = 1 + 6 + 6 + 6 + 4 + 6 + TOKEN_BYTES + 1 + 1;

export function hasReplica(entry: CatalogEntry, nodeId: Uint8Array): boolean {
  return entry.replicas.some((replica) => equalBytes(replica, nodeId));
}

export function encodeEntry(entry: CatalogEntry): Uint8Array {
  const writer = new Writer(new Uint8Array(ENTRY_FIXED_BYTES + entry.replicas.length * NODE_ID_BYTES));
  writer.u8(ENTRY_VERSION);
  writer.u48(entry.bytes);
  writer.u48(entry.createdMillis);
  writer.u48(entry.revision);
  writer.u32(entry.requests);
  writer.u48(entry.expiresMillis);
  writer.fixed(entry.madeBy, TOKEN_BYTES);
  writer.u8(entry.wanted);
  writer.u8(entry.replicas.length);
  for (const replica of entry.replicas) writer.fixed(replica, NODE_ID_BYTES);
  return writer.buffer;
}

export function decodeEntry(value: Uint8Array): CatalogEntry {
  const reader = new Reader(value);
  const version = reader.u8();
  const entry = {
    bytes: reader.u48(),
    createdMillis: reader.u48(),
    revision: reader.u48(),
    requests: reader.u32(),
    expiresMillis: reader.u48(),
    madeBy: reader.bytes(TOKEN_BYTES),
    wanted: reader.u8(),
  };
  const replicas: Uint8Array[] = [];
  for (let count = reader.u8(); count > 0 && reader.failure === undefined; count--) {
    replicas.push(reader.bytes(NODE_ID_BYTES));
  }
  reader.end();
  if (version !== ENTRY_VERSION || reader.failure !== undefined) throw unreadable();
  return { ...entry, replicas };
}

/**
 * The parts of an entry that say where an object is, read in place: `onReplica` hears where each
 * node's id starts. The object's size.
 */
export function scanEntry(value: Uint8Array, onReplica: (at: number) => void): number {
  const replicas = value[ENTRY_FIXED_BYTES - 1] ?? 0;
  const isWhole = value.length === ENTRY_FIXED_BYTES + replicas * NODE_ID_BYTES;
  if (value[0] !== ENTRY_VERSION || !isWhole) throw unreadable();
  for (let at = ENTRY_FIXED_BYTES; at < value.length; at += NODE_ID_BYTES) onReplica(at);
  return new Reader(value, 1).u48();
}

/** Whether an entry has another number of replicas than it is to have, read in place. */
export function hasOtherCount(value: Uint8Array): boolean {
  return value[ENTRY_FIXED_BYTES - 2] !== value[ENTRY_FIXED_BYTES - 1];
}

export function encodeTombstone({ removedMillis, done }: Tombstone): Uint8Array {
  const writer = new Writer(new Uint8Array(6 + done.length * TOKEN_BYTES));
  writer.u48(removedMillis);
  for (const token of done) writer.fixed(token, TOKEN_BYTES);
  return writer.buffer;
}

export function decodeTombstone(value: Uint8Array): Tombstone {
  const reader = new Reader(value);
  const removedMillis = reader.u48();
  const done: Uint8Array[] = [];
  while (reader.remaining >= TOKEN_BYTES) done.push(reader.bytes(TOKEN_BYTES));
  return { removedMillis, done };
}

/** When something was noted; the first bytes of a tombstone, too. */
export function encodeMillis(millis: number): Uint8Array {
  const writer = new Writer(new Uint8Array(6));
  writer.u48(millis);
  return writer.buffer;
}

export function decodeMillis(value: Uint8Array): number {
  return new Reader(value).u48();
}

function unreadable(): Error {
  return new Error('the catalog holds an entry that this version cannot read: it was damaged, or is newer');
}
