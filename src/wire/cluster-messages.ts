/**
 * Messages by which several coordinators are one cluster: who leads, who is there, what a node holds in
 * short, locks, user sessions, copies. What they mean is `spec/11-coordinators.md`.
 */

import { assert } from '../base/assert.ts';
import {
  BUCKET_DIGEST_BYTES,
  BUCKET_MAP_BYTES,
  BUCKETS,
  HASH_BYTES,
  HOLDER_TOKEN_BYTES,
  NODE_ID_BYTES,
  TOKEN_BYTES,
  USER_SESSION_ID_BYTES,
} from './constants.ts';
import {
  address,
  type Codec,
  decodeList,
  decodeLocations,
  encodeAddress,
  encodeList,
  encodeLocations,
  encodeOneOf,
  flag,
  type Location,
  locationsSize,
  oneOf,
} from './message-parts.ts';
import { NodeState } from './messages.ts';
import type { Reader } from './reader.ts';
import { text8Size, type Writer } from './writer.ts';

/** Most members on one page of a MEMBERS reply: none is smaller than 31 bytes. */
export const MEMBERS_MAX = 32;
/** Most bytes of the data of a user session [USR-2]. */
export const USER_DATA_BYTES_MAX = 640;

/** Body of the reply code NOT_LEADER [LEAD-5]. */
export interface NotLeaderReply {
  /** Of the leader that is named; 0 when none is known. */
  readonly epoch: number;
  /** `host:port` of the leader's front port; empty when none is known. */
  readonly address: string;
}

/** Who has come, gone or changed behind this place in the order of changes [MEM-3]. */
export interface MembersQuery {
  readonly after: number;
  readonly afterId: Uint8Array;
  /** How long the answer may wait for a change. */
  readonly waitMillis: number;
}
export interface MemberChange {
  /** Revision of the state at which it changed. */
  readonly changed: number;
  readonly nodeId: Uint8Array;
  readonly incarnation: number;
  readonly state: NodeState;
  readonly name: string;
  readonly address: string;
}
export interface MembersReply {
  readonly revision: number;
  /** Told from the beginning: who is named on no page from here on is gone. */
  readonly full: boolean;
  readonly members: readonly MemberChange[];
}

/** What a node holds, in short [DIG-1]. */
export interface DigestQuery {
  readonly entries: number;
  /** One digest a bucket, one behind the other. */
  readonly digests: Uint8Array;
}
export interface DigestReply {
  /** The buckets that differ, a bit each. */
  readonly differs: Uint8Array;
}

export interface LockQuery {
  readonly name: string;
  /** Chosen at random by the asker: the same again keeps its place in the queue. */
  readonly token: Uint8Array;
  readonly shared: boolean;
  readonly leaseMillis: number;
  /** How long the answer may wait until the lock is held. */
  readonly waitMillis: number;
}
export interface LockReply {
  readonly held: boolean;
  /** Greater than that of every holder before [LOCK-4]; 0 while it waits. */
  readonly fencing: number;
  readonly leaseMillis: number;
  /** How many stand before it in the queue. */
  readonly ahead: number;
}
export interface UnlockQuery {
  readonly name: string;
  readonly token: Uint8Array;
  /** Of the lock that is given up; 0 = whatever is held or waited for under this token. */
  readonly fencing: number;
}

export interface SessionWriteQuery {
  readonly id: Uint8Array;
  /** Who resumes the session must know it. */
  readonly token: Uint8Array;
  /** Counts the writes of one session from 1: one that is not greater than the last has no effect. */
  readonly number: number;
  /** How long the session lasts from this write on. */
  readonly lifetimeSeconds: number;
  readonly data: Uint8Array;
}
/** SESSION_READ and SESSION_END. */
export interface SessionQuery {
  readonly id: Uint8Array;
  readonly token: Uint8Array;
}
export interface SessionReply {
  /** Of the last write. */
  readonly number: number;
  readonly remainingSeconds: number;
  readonly stale: boolean;
  readonly data: Uint8Array;
}

/** A node is to fetch an object from others and keep it [REP-4]. */
export interface CopyQuery {
  readonly token: Uint8Array;
  readonly hash: Uint8Array;
  readonly bytes: number;
  /** Nodes that hold it, best first. */
  readonly sources: readonly Location[];
}

export const notLeaderReply: Codec<NotLeaderReply> = {
  size: (message) => 6 + text8Size(message.address),
  encode(message, writer) {
    writer.u48(message.epoch);
    encodeAddress(message.address, writer);
  },
  decode: (reader) => ({ epoch: reader.u48(), address: address(reader) }),
};

export const membersQuery: Codec<MembersQuery> = {
  size: () => 6 + NODE_ID_BYTES + 4,
  encode(message, writer) {
    writer.u48(message.after);
    writer.fixed(message.afterId, NODE_ID_BYTES);
    writer.u32(message.waitMillis);
  },
  decode: (reader) => ({
    after: reader.u48(),
    afterId: reader.bytes(NODE_ID_BYTES),
    waitMillis: reader.u32(),
  }),
};

/** Bytes that one member takes in a MEMBERS reply. */
export function memberChangeSize(member: MemberChange): number {
  return 6 + NODE_ID_BYTES + 6 + 1 + text8Size(member.name) + text8Size(member.address);
}
/** Bytes of a MEMBERS reply beside its members. */
export const MEMBERS_FIXED_BYTES = 6 + 1 + 1;

export const membersReply: Codec<MembersReply> = {
  size: (message) =>
    message.members.reduce((sum, member) => sum + memberChangeSize(member), MEMBERS_FIXED_BYTES),
  encode(message, writer) {
    writer.u48(message.revision);
    writer.u8(message.full ? 1 : 0);
    encodeList(message.members, MEMBERS_MAX, writer, (member) => {
      writer.u48(member.changed);
      writer.fixed(member.nodeId, NODE_ID_BYTES);
      writer.u48(member.incarnation);
      encodeOneOf(member.state, NodeState, writer);
      encodeAddress(member.name, writer);
      encodeAddress(member.address, writer);
    });
  },
  decode: (reader) => ({
    revision: reader.u48(),
    full: flag(reader),
    members: decodeList(reader, MEMBERS_MAX, () => ({
      changed: reader.u48(),
      nodeId: reader.bytes(NODE_ID_BYTES),
      incarnation: reader.u48(),
      state: oneOf(reader, NodeState),
      name: address(reader),
      address: address(reader),
    })),
  }),
};

export const digestQuery: Codec<DigestQuery> = {
  size: () => 6 + BUCKETS * BUCKET_DIGEST_BYTES,
  encode(message, writer) {
    writer.u48(message.entries);
    writer.fixed(message.digests, BUCKETS * BUCKET_DIGEST_BYTES);
  },
  decode: (reader) => ({ entries: reader.u48(), digests: reader.bytes(BUCKETS * BUCKET_DIGEST_BYTES) }),
};

export const digestReply: Codec<DigestReply> = {
  size: () => BUCKET_MAP_BYTES,
  encode: (message, writer) => writer.fixed(message.differs, BUCKET_MAP_BYTES),
  decode: (reader) => ({ differs: reader.bytes(BUCKET_MAP_BYTES) }),
};

export const lockQuery: Codec<LockQuery> = {
  size: (message) => text8Size(message.name) + HOLDER_TOKEN_BYTES + 1 + 4 + 4,
  encode(message, writer) {
    encodeName(message.name, writer);
    writer.fixed(message.token, HOLDER_TOKEN_BYTES);
    writer.u8(message.shared ? 1 : 0);
    writer.u32(message.leaseMillis);
    writer.u32(message.waitMillis);
  },
  decode: (reader) => ({
    name: decodeName(reader),
    token: reader.bytes(HOLDER_TOKEN_BYTES),
    shared: flag(reader),
    leaseMillis: reader.u32(),
    waitMillis: reader.u32(),
  }),
};

export const lockReply: Codec<LockReply> = {
  size: () => 1 + 6 + 4 + 4,
  encode(message, writer) {
    writer.u8(message.held ? 1 : 0);
    writer.u48(message.fencing);
    writer.u32(message.leaseMillis);
    writer.u32(message.ahead);
  },
  decode: (reader) => ({
    held: flag(reader),
    fencing: reader.u48(),
    leaseMillis: reader.u32(),
    ahead: reader.u32(),
  }),
};

export const unlockQuery: Codec<UnlockQuery> = {
  size: (message) => text8Size(message.name) + HOLDER_TOKEN_BYTES + 6,
  encode(message, writer) {
    encodeName(message.name, writer);
    writer.fixed(message.token, HOLDER_TOKEN_BYTES);
    writer.u48(message.fencing);
  },
  decode: (reader) => ({
    name: decodeName(reader),
    token: reader.bytes(HOLDER_TOKEN_BYTES),
    fencing: reader.u48(),
  }),
};

export const sessionWriteQuery: Codec<SessionWriteQuery> = {
  size: (message) => USER_SESSION_ID_BYTES + HOLDER_TOKEN_BYTES + 6 + 4 + 2 + message.data.length,
  encode(message, writer) {
    writer.fixed(message.id, USER_SESSION_ID_BYTES);
    writer.fixed(message.token, HOLDER_TOKEN_BYTES);
    writer.u48(message.number);
    writer.u32(message.lifetimeSeconds);
    encodeData(message.data, writer);
  },
  decode: (reader) => ({
    id: reader.bytes(USER_SESSION_ID_BYTES),
    token: reader.bytes(HOLDER_TOKEN_BYTES),
    number: reader.u48(),
    lifetimeSeconds: reader.u32(),
    data: decodeData(reader),
  }),
};

export const sessionQuery: Codec<SessionQuery> = {
  size: () => USER_SESSION_ID_BYTES + HOLDER_TOKEN_BYTES,
  encode(message, writer) {
    writer.fixed(message.id, USER_SESSION_ID_BYTES);
    writer.fixed(message.token, HOLDER_TOKEN_BYTES);
  },
  decode: (reader) => ({
    id: reader.bytes(USER_SESSION_ID_BYTES),
    token: reader.bytes(HOLDER_TOKEN_BYTES),
  }),
};

export const sessionReply: Codec<SessionReply> = {
  size: (message) => 6 + 4 + 1 + 2 + message.data.length,
  encode(message, writer) {
    writer.u48(message.number);
    writer.u32(message.remainingSeconds);
    writer.u8(message.stale ? 1 : 0);
    encodeData(message.data, writer);
  },
  decode: (reader) => ({
    number: reader.u48(),
    remainingSeconds: reader.u32(),
    stale: flag(reader),
    data: decodeData(reader),
  }),
};

export const copyQuery: Codec<CopyQuery> = {
  size: (message) => TOKEN_BYTES + HASH_BYTES + 6 + locationsSize(message.sources),
  encode(message, writer) {
    writer.fixed(message.token, TOKEN_BYTES);
    writer.fixed(message.hash, HASH_BYTES);
    writer.u48(message.bytes);
    encodeLocations(message.sources, writer);
  },
  decode: (reader) => ({
    token: reader.bytes(TOKEN_BYTES),
    hash: reader.bytes(HASH_BYTES),
    bytes: reader.u48(),
    sources: decodeLocations(reader),
  }),
};

/** [LOCK-1] A name has 1 to 80 bytes. */
function encodeName(name: string, writer: Writer): void {
  assert(name.length > 0, 'a lock without a name');
  encodeAddress(name, writer);
}

function decodeName(reader: Reader): string {
  const name = address(reader);
  if (name.length === 0) reader.refuse('length');
  return name;
}

function encodeData(data: Uint8Array, writer: Writer): void {
  assert(data.length <= USER_DATA_BYTES_MAX, 'too much data of a user session');
  writer.u16(data.length);
  writer.bytes(data);
}

/** [USR-2] At most 640 bytes. */
function decodeData(reader: Reader): Uint8Array {
  const length = reader.u16();
  if (length > USER_DATA_BYTES_MAX) reader.refuse('length');
  return reader.bytes(reader.failure === undefined ? length : 0);
}
