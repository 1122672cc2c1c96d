/** A node as the shared state keeps it [MEM-1]: written by the leader, read by all coordinators. */

import { concatBytes } from '../base/bytes.ts';
import { NODE_ID_BYTES, Reader, text8Size, Writer } from '../wire/index.ts';
import { NODE_PREFIX } from './state-keys.ts';

/** How a node stands: it is there; it said that it leaves; it was lost [MEM-2]. */
export const Standing = { UP: 0, DOWN: 1, FAILED: 2 } as const;
export type Standing = (typeof Standing)[keyof typeof Standing];

export interface MemberRecord {
  readonly nodeId: Uint8Array;
  readonly incarnation: number;
  readonly standing: Standing;
  readonly draining: boolean;
  readonly full: boolean;
  readonly offload: boolean;
  /** Wall-clock milliseconds since which it stands so. */
  readonly sinceMillis: number;
  /** Number of the change by which it became what it is: of all that is news, and not of free space [MEM-3]. */
  readonly changed: number;
  readonly quotaBytes: number;
  readonly freeBytes: number;
  readonly objects: number;
  readonly name: string;
  readonly address: string;
}

const RECORD_VERSION = 1;
const FIXED_BYTES = 1 + 6 + 1 + 1 + 6 + 6 + 6 + 6 + 6;
const DRAINING = 1;
const FULL = 2;
const OFFLOAD = 4;

/** How many changes of members there have been, as the state keeps it; 0 at first. */
export function decodeMemberOrder(value: Uint8Array | undefined): number {
  return value === undefined ? 0 : new Reader(value).u48();
}

export function encodeMemberOrder(order: number): Uint8Array {
  const writer = new Writer(new Uint8Array(6));
  writer.u48(order);
  return writer.buffer;
}

export function memberKey(nodeId: Uint8Array): Uint8Array {
  return concatBytes(NODE_PREFIX, nodeId);
}

export function encodeMember(record: MemberRecord): Uint8Array {
  const bytes = FIXED_BYTES + text8Size(record.name) + text8Size(record.address);
  const writer = new Writer(new Uint8Array(bytes));
  writer.u8(RECORD_VERSION);
  writer.u48(record.incarnation);
  writer.u8(record.standing);
  writer.u8((record.draining ? DRAINING : 0) | (record.full ? FULL : 0) | (record.offload ? OFFLOAD : 0));
  writer.u48(record.sinceMillis);
  writer.u48(record.changed);
  writer.u48(record.quotaBytes);
  writer.u48(record.freeBytes);
  writer.u48(record.objects);
  writer.text8(record.name);
  writer.text8(record.address);
  return writer.buffer;
}

/** The record under `key`, or undefined when this version cannot read it. */
export function decodeMember(key: Uint8Array, value: Uint8Array): MemberRecord | undefined {
  const reader = new Reader(value);
  const version = reader.u8();
  const incarnation = reader.u48();
  const standing = reader.u8();
  const flags = reader.u8();
  const record = {
    nodeId: key.slice(1),
    incarnation,
    standing: standing as Standing,
    draining: (flags & DRAINING) !== 0,
    full: (flags & FULL) !== 0,
    offload: (flags & OFFLOAD) !== 0,
    sinceMillis: reader.u48(),
    changed: reader.u48(),
    quotaBytes: reader.u48(),
    freeBytes: reader.u48(),
    objects: reader.u48(),
    name: reader.text8(),
    address: reader.text8(),
  };
  reader.end();
  const isFit = version === RECORD_VERSION && reader.failure === undefined && standing <= Standing.FAILED;
  return isFit && record.nodeId.length === NODE_ID_BYTES ? record : undefined;
}
