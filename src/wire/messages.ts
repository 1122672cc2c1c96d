/**
 * Messages: the bodies of queries, replies and notices, and the parameters inside the handshake.
 *
 * One codec a message: `size`, `encode` and `decode` are exact inverses. What stands in a body is
 * `spec/06-messages.md`; who answers it, and how, is `nodes/`.
 */

import { assert } from '../base/assert.ts';
import {
  ADMISSION_NONCE_BYTES,
  ADMISSION_PROOF_BYTES,
  BODY_BYTES_MAX,
  BUCKET_MAP_BYTES,
  CLUSTER_ID_BYTES,
  HASH_BYTES,
  NODE_ID_BYTES,
  RECEIPT_BYTES,
  ResultCode,
  TOKEN_BYTES,
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
  REPLICAS_MAX,
} from './message-parts.ts';
import type { SessionTag } from './packets.ts';
import { type DecodeFailure, Reader } from './reader.ts';
import { text8Size, Writer } from './writer.ts';

/** The bytes of `message`, newly allocated. */
export function encodeMessage<Message>(codec: Codec<Message>, message: Message): Uint8Array {
  const bytes = codec.size(message);
  assert(bytes <= BODY_BYTES_MAX, 'message too long for a body');
  const body = new Uint8Array(bytes);
  const writer = new Writer(body);
  codec.encode(message, writer);
  assert(writer.at === body.length, 'message size and encoding disagree');
  return body;
}

/** The message that is exactly `bytes`, or why they are refused. */
export function decodeMessage<Message>(codec: Codec<Message>, bytes: Uint8Array): Message | DecodeFailure {
  const reader = new Reader(bytes);
  const message = codec.decode(reader);
  reader.end();
  return reader.failure ?? message;
}

/** Most coordinators that a STATUS reply names [MSG-13]. */
export const COORDINATORS_MAX = 8;
/** Most nodes on one page of a STATUS reply: none is smaller than 32 bytes. */
const STATUS_NODES_MAX = BODY_BYTES_MAX / 32;
/** Most entries of one SETTLE query [MSG-9]. */
export const SETTLE_ENTRIES_MAX = 20;
/** Most hashes of one WHERE_IS_MANY query: more do not fit into a body [MSG-11]. */
export const WHERE_IS_HASHES_MAX = 31;
/** Most locations of one WHERE_IS_MANY reply: none is smaller than 17 bytes [MSG-11]. */
export const WHERE_IS_LOCATIONS_MAX = 59;
/** Bytes of one entry of an inventory flow [MSG-8]. */
export const INVENTORY_ENTRY_BYTES = HASH_BYTES + 6 + 1;

/** What an endpoint is, as it says in the handshake [HS-15]. */
export const Role = { CLIENT: 1, NODE: 2, COORDINATOR: 3 } as const;
export type Role = (typeof Role)[keyof typeof Role];

/** Inside Noise message 1 [HS-15]. */
export interface InitiatorParameters {
  readonly role: Role;
  /** Largest UDP payload that the initiator takes in. */
  readonly datagramBytesMax: number;
  /** Bytes in flight that its socket buffer holds: the peer's congestion window stays below [FLOW-7]. */
  readonly windowBytes: number;
  readonly idleMillis: number;
}

/** Inside Noise message 2 [HS-16]. */
export interface ResponderParameters {
  /** The UDP port of this session at the responder. */
  readonly port: number;
  /** The responder's tag: what the initiator writes into its packets. */
  readonly tag: SessionTag;
  readonly datagramBytesMax: number;
  readonly windowBytes: number;
  readonly idleMillis: number;
}

export interface StatusQuery {
  /** Index of the first node to list. */
  readonly cursor: number;
}
export interface NodeStatus {
  readonly nodeId: Uint8Array;
  readonly name: string;
  readonly address: string;
  readonly state: NodeState;
  readonly quotaBytes: number;
  readonly freeBytes: number;
  readonly objects: number;
  readonly offload: boolean;
}
/** A node as the coordinator sees it [MSG-5]. */
export const NodeState = { UP: 0, DOWN: 1, FULL: 2, FAILED: 3, DRAINING: 4, GONE: 5 } as const;
export type NodeState = (typeof NodeState)[keyof typeof NodeState];
/** A coordinator that runs, as the one that answers knows it. */
export interface CoordinatorStatus {
  readonly address: string;
  readonly leads: boolean;
  /** Whether it is the one that answers. */
  readonly answers: boolean;
  readonly offload: boolean;
}
/** What a coordinator knows of repair [REP-7]. */
export const RepairKnown = { UNKNOWN: 0, ALL: 1, LOOKING: 2 } as const;
export type RepairKnown = (typeof RepairKnown)[keyof typeof RepairKnown];
export interface StatusReply {
  readonly revision: number;
  /** The answer may be old: the shared state is out of reach [LEAD-9]. */
  readonly stale: boolean;
  readonly objects: number;
  readonly bytes: number;
  /** Nodes in all; the page holds those from `cursor` on. */
  readonly nodesTotal: number;
  /** What is known of repair; without it the next three are 0. */
  readonly repair: RepairKnown;
  /** Objects that have fewer replicas than they are to have, and could have more. */
  readonly missing: number;
  /** Objects that are being copied or checked. */
  readonly copying: number;
  /** Objects with replicas to take away. */
  readonly surplus: number;
  /** On the first page. */
  readonly coordinators: readonly CoordinatorStatus[];
  readonly nodes: readonly NodeStatus[];
}

export interface WhereToQuery {
  /** Chosen at random by the asker: the same request again gets the same reservation. */
  readonly token: Uint8Array;
  readonly bytes: number;
  readonly replicas: number;
  /** With a hash the coordinator answers CONFLICT when it exists [DEFS-3]. */
  readonly hash: Uint8Array | undefined;
}
export interface WhereToReply {
  readonly leaseMillis: number;
  readonly revision: number;
  readonly locations: readonly Location[];
}
/** Body of the reply code NO_SPACE [DEFS-5]. */
export interface NoSpaceReply {
  /** Largest free space of one node. */
  readonly freeBytes: number;
  readonly nodesUp: number;
}

export interface HashQuery {
  readonly hash: Uint8Array;
}
export interface WhereIsReply {
  readonly bytes: number;
  readonly revision: number;
  /** The answer may be old: the shared state is out of reach [LEAD-9]. */
  readonly stale: boolean;
  readonly locations: readonly Location[];
}

/** Many hashes at once. */
export interface WhereIsManyQuery {
  readonly hashes: readonly Uint8Array[];
}
/** What became of one hash of a WHERE_IS_MANY query [DEFS-27]. */
export type WhereIsAnswer =
  | {
      readonly code: typeof ResultCode.OK;
      readonly bytes: number;
      /** Indices of its locations in the reply's table, ranked. */
      readonly replicas: readonly number[];
    }
  | { readonly code: typeof ResultCode.NOT_FOUND | typeof ResultCode.CORRUPT }
  | { readonly code: typeof ResultCode.BUSY; readonly retryMillis: number };
export interface WhereIsManyReply {
  readonly revision: number;
  readonly stale: boolean;
  /** Each location that an answer names, once. */
  readonly locations: readonly Location[];
  /** For the first so many hashes of the query, in their order [DEFS-28]. */
  readonly answers: readonly WhereIsAnswer[];
}

export interface Receipt {
  readonly nodeId: Uint8Array;
  /** The node's proof that it stored these bytes under this token [DEFS-8]. */
  readonly receipt: Uint8Array;
}
export interface CommitQuery {
  readonly token: Uint8Array;
  readonly hash: Uint8Array;
  readonly bytes: number;
  /** How many replicas the object is to have: what repair restores [REP-1]. */
  readonly replicas: number;
  readonly receipts: readonly Receipt[];
}
export interface RevisionReply {
  readonly revision: number;
}
export interface TokenQuery {
  readonly token: Uint8Array;
}
export interface RemoveQuery {
  /** Of this removal: it is carried out once. */
  readonly token: Uint8Array;
  readonly hash: Uint8Array;
}

export interface JoinQuery {
  readonly nodeId: Uint8Array;
  /** Grows with every start of the node. */
  readonly incarnation: number;
  readonly name: string;
  /** Where the node's front port is; the host may be empty: then as the coordinator sees it. */
  readonly address: string;
  readonly quotaBytes: number;
  readonly freeBytes: number;
  readonly offload: boolean;
  /** The node wants to leave for good: its objects are to be copied elsewhere [REP-6]. */
  readonly draining: boolean;
}
export interface JoinReply {
  /** The admission challenge [ADM-3]. */
  readonly nonce: Uint8Array;
}
export interface AdmitQuery {
  readonly proof: Uint8Array;
}
export interface AdmitReply {
  readonly clusterId: Uint8Array;
  /** The address under which the cluster knows the node. */
  readonly address: string;
  /** The coordinator's own proof that it knows the admission secret [ADM-8]. */
  readonly proof: Uint8Array;
}
export interface InventoryQuery {
  readonly entries: number;
  /** The parts of the inventory that are sent, a bit each [DIG-3]. */
  readonly buckets: Uint8Array;
}
export interface SettleEntry {
  readonly token: Uint8Array;
  readonly hash: Uint8Array;
}
export interface SettleQuery {
  readonly entries: readonly SettleEntry[];
}
/** What a node does with an object that was stored but perhaps never committed [DEFS-10]. */
export const Settlement = { WAIT: 0, KEEP: 1, DROP: 2 } as const;
export type Settlement = (typeof Settlement)[keyof typeof Settlement];
export interface SettleReply {
  readonly settlements: readonly Settlement[];
}

export interface StoreQuery {
  readonly token: Uint8Array;
  readonly bytes: number;
}
export interface StoreReply {
  /** What the node computed over what it wrote. */
  readonly hash: Uint8Array;
  readonly receipt: Uint8Array;
}
export interface ReadQuery {
  readonly hash: Uint8Array;
  readonly offset: number;
  /** 0 = to the end. */
  readonly length: number;
  /** Initial credit of the flow that answers. */
  readonly creditBytes: number;
  /** Largest record plaintext that the asker wants [REC-18]. */
  readonly recordBytes: number;
}
export interface ReadReply {
  /** Bytes of the whole object. */
  readonly bytes: number;
}

export interface LoadNotice {
  readonly freeBytes: number;
  readonly objects: number;
  /** The node takes no new objects: its disk is full or failing. */
  readonly full: boolean;
}

/** Body of the reply code BUSY [MSG-10]. */
export interface BusyReply {
  readonly retryMillis: number;
}

export const initiatorParameters: Codec<InitiatorParameters> = {
  size: () => 11,
  encode(message, writer) {
    encodeOneOf(message.role, Role, writer);
    writer.u16(message.datagramBytesMax);
    writer.u32(message.windowBytes);
    writer.u32(message.idleMillis);
  },
  decode: (reader) => ({
    role: oneOf(reader, Role),
    datagramBytesMax: reader.u16(),
    windowBytes: reader.u32(),
    idleMillis: reader.u32(),
  }),
};

export const responderParameters: Codec<ResponderParameters> = {
  size: () => 20,
  encode(message, writer) {
    writer.u16(message.port);
    writer.u32(message.tag.high);
    writer.u32(message.tag.low);
    writer.u16(message.datagramBytesMax);
    writer.u32(message.windowBytes);
    writer.u32(message.idleMillis);
  },
  decode: (reader) => ({
    port: reader.u16(),
    tag: { high: reader.u32(), low: reader.u32() },
    datagramBytesMax: reader.u16(),
    windowBytes: reader.u32(),
    idleMillis: reader.u32(),
  }),
};

export const emptyMessage: Codec<Record<never, never>> = {
  size: () => 0,
  encode() {},
  decode: () => ({}),
};

export const statusQuery: Codec<StatusQuery> = {
  size: () => 4,
  encode: (message, writer) => writer.u32(message.cursor),
  decode: (reader) => ({ cursor: reader.u32() }),
};

/** Bytes that one node takes in a STATUS reply. */
export function nodeStatusSize(node: NodeStatus): number {
  return NODE_ID_BYTES + text8Size(node.name) + text8Size(node.address) + 1 + 6 + 6 + 6 + 1;
}
/** Bytes of a STATUS reply beside its nodes. */
export const STATUS_FIXED_BYTES = 6 + 1 + 6 + 6 + 4 + (1 + 3 * 4) + 1 + 1;

/** Bytes that one coordinator takes in a STATUS reply. */
export function coordinatorStatusSize(coordinator: CoordinatorStatus): number {
  return text8Size(coordinator.address) + 1 + 1 + 1;
}

export const statusReply: Codec<StatusReply> = {
  size: ({ coordinators, nodes }) =>
    nodes.reduce((sum, node) => sum + nodeStatusSize(node), STATUS_FIXED_BYTES) +
    coordinators.reduce((sum, coordinator) => sum + coordinatorStatusSize(coordinator), 0),
  encode(message, writer) {
    writer.u48(message.revision);
    writer.u8(message.stale ? 1 : 0);
    writer.u48(message.objects);
    writer.u48(message.bytes);
    writer.u32(message.nodesTotal);
    encodeOneOf(message.repair, RepairKnown, writer);
    for (const count of [message.missing, message.copying, message.surplus]) writer.u32(count);
    encodeList(message.coordinators, COORDINATORS_MAX, writer, (coordinator) => {
      encodeAddress(coordinator.address, writer);
      writer.u8(coordinator.leads ? 1 : 0);
      writer.u8(coordinator.answers ? 1 : 0);
      writer.u8(coordinator.offload ? 1 : 0);
    });
    encodeList(message.nodes, STATUS_NODES_MAX, writer, (node) => {
      writer.fixed(node.nodeId, NODE_ID_BYTES);
      encodeAddress(node.name, writer);
      encodeAddress(node.address, writer);
      encodeOneOf(node.state, NodeState, writer);
      writer.u48(node.quotaBytes);
      writer.u48(node.freeBytes);
      writer.u48(node.objects);
      writer.u8(node.offload ? 1 : 0);
    });
  },
  decode: (reader) => ({
    revision: reader.u48(),
    stale: flag(reader),
    objects: reader.u48(),
    bytes: reader.u48(),
    nodesTotal: reader.u32(),
    repair: oneOf(reader, RepairKnown),
    missing: reader.u32(),
    copying: reader.u32(),
    surplus: reader.u32(),
    coordinators: decodeList(reader, COORDINATORS_MAX, () => ({
      address: address(reader),
      leads: flag(reader),
      answers: flag(reader),
      offload: flag(reader),
    })),
    nodes: decodeList(reader, STATUS_NODES_MAX, () => ({
      nodeId: reader.bytes(NODE_ID_BYTES),
      name: address(reader),
      address: address(reader),
      state: oneOf(reader, NodeState),
      quotaBytes: reader.u48(),
      freeBytes: reader.u48(),
      objects: reader.u48(),
      offload: flag(reader),
    })),
  }),
};

export const whereToQuery: Codec<WhereToQuery> = {
  size: (message) => TOKEN_BYTES + 6 + 1 + 1 + (message.hash === undefined ? 0 : HASH_BYTES),
  encode(message, writer) {
    writer.fixed(message.token, TOKEN_BYTES);
    writer.u48(message.bytes);
    encodeReplicas(message.replicas, writer);
    writer.u8(message.hash === undefined ? 0 : 1);
    if (message.hash !== undefined) writer.fixed(message.hash, HASH_BYTES);
  },
  decode(reader) {
    const token = reader.bytes(TOKEN_BYTES);
    const bytes = reader.u48();
    const replicas = decodeReplicas(reader);
    const hasHash = flag(reader);
    return { token, bytes, replicas, hash: hasHash ? reader.bytes(HASH_BYTES) : undefined };
  },
};

export const whereToReply: Codec<WhereToReply> = {
  size: (message) => 10 + locationsSize(message.locations),
  encode(message, writer) {
    writer.u32(message.leaseMillis);
    writer.u48(message.revision);
    encodeLocations(message.locations, writer);
  },
  decode: (reader) => ({
    leaseMillis: reader.u32(),
    revision: reader.u48(),
    locations: decodeLocations(reader),
  }),
};

export const noSpaceReply: Codec<NoSpaceReply> = {
  size: () => 8,
  encode(message, writer) {
    writer.u48(message.freeBytes);
    writer.u16(message.nodesUp);
  },
  decode: (reader) => ({ freeBytes: reader.u48(), nodesUp: reader.u16() }),
};

/** WHERE_IS, CORRUPT and DELETE ask with a hash. */
export const hashQuery: Codec<HashQuery> = {
  size: () => HASH_BYTES,
  encode: (message, writer) => writer.fixed(message.hash, HASH_BYTES),
  decode: (reader) => ({ hash: reader.bytes(HASH_BYTES) }),
};

export const whereIsReply: Codec<WhereIsReply> = {
  size: (message) => 13 + locationsSize(message.locations),
  encode(message, writer) {
    writer.u48(message.bytes);
    writer.u48(message.revision);
    writer.u8(message.stale ? 1 : 0);
    encodeLocations(message.locations, writer);
  },
  decode: (reader) => ({
    bytes: reader.u48(),
    revision: reader.u48(),
    stale: flag(reader),
    locations: decodeLocations(reader),
  }),
};

export const whereIsManyQuery: Codec<WhereIsManyQuery> = {
  size: (message) => 1 + message.hashes.length * HASH_BYTES,
  encode(message, writer) {
    assert(message.hashes.length > 0, 'no hash');
    encodeList(message.hashes, WHERE_IS_HASHES_MAX, writer, (hash) => writer.fixed(hash, HASH_BYTES));
  },
  decode(reader) {
    const hashes = decodeList(reader, WHERE_IS_HASHES_MAX, () => reader.bytes(HASH_BYTES));
    // [MSG-11] At least one.
    if (hashes.length === 0) reader.refuse('range');
    return { hashes };
  },
};

/** The plain codec; the roles use the one in `where-is-many.ts`, which makes no objects. */
export const whereIsManyReply: Codec<WhereIsManyReply> = {
  size: (message) =>
    message.answers.reduce((sum, found) => sum + answerSize(found), 8 + locationsSize(message.locations)),
  encode(message, writer) {
    writer.u48(message.revision);
    writer.u8(message.stale ? 1 : 0);
    encodeLocations(message.locations, writer, WHERE_IS_LOCATIONS_MAX);
    assert(message.answers.length > 0, 'no answer');
    encodeList(message.answers, WHERE_IS_HASHES_MAX, writer, (found) => {
      writer.u8(found.code);
      if (found.code === ResultCode.BUSY) writer.u32(found.retryMillis);
      if (found.code !== ResultCode.OK) return;
      writer.u48(found.bytes);
      encodeList(found.replicas, REPLICAS_MAX, writer, (replica) => {
        assert(replica < message.locations.length, 'index of no location');
        writer.u8(replica);
      });
    });
  },
  decode(reader) {
    const revision = reader.u48();
    const stale = flag(reader);
    const locations = decodeLocations(reader, WHERE_IS_LOCATIONS_MAX);
    const answers = decodeList(reader, WHERE_IS_HASHES_MAX, () => decodeAnswer(reader, locations.length));
    // [MSG-11] At least one.
    if (answers.length === 0) reader.refuse('range');
    return { revision, stale, locations, answers };
  },
};

export const commitQuery: Codec<CommitQuery> = {
  size: (message) =>
    TOKEN_BYTES + HASH_BYTES + 6 + 1 + 1 + message.receipts.length * (NODE_ID_BYTES + RECEIPT_BYTES),
  encode(message, writer) {
    writer.fixed(message.token, TOKEN_BYTES);
    writer.fixed(message.hash, HASH_BYTES);
    writer.u48(message.bytes);
    encodeReplicas(message.replicas, writer);
    encodeList(message.receipts, REPLICAS_MAX, writer, (receipt) => {
      writer.fixed(receipt.nodeId, NODE_ID_BYTES);
      writer.fixed(receipt.receipt, RECEIPT_BYTES);
    });
  },
  decode: (reader) => ({
    token: reader.bytes(TOKEN_BYTES),
    hash: reader.bytes(HASH_BYTES),
    bytes: reader.u48(),
    replicas: decodeReplicas(reader),
    receipts: decodeList(reader, REPLICAS_MAX, () => ({
      nodeId: reader.bytes(NODE_ID_BYTES),
      receipt: reader.bytes(RECEIPT_BYTES),
    })),
  }),
};

export const revisionReply: Codec<RevisionReply> = {
  size: () => 6,
  encode: (message, writer) => writer.u48(message.revision),
  decode: (reader) => ({ revision: reader.u48() }),
};

/** RELEASE and RENEW ask with a reservation's token. */
export const tokenQuery: Codec<TokenQuery> = {
  size: () => TOKEN_BYTES,
  encode: (message, writer) => writer.fixed(message.token, TOKEN_BYTES),
  decode: (reader) => ({ token: reader.bytes(TOKEN_BYTES) }),
};

export const removeQuery: Codec<RemoveQuery> = {
  size: () => TOKEN_BYTES + HASH_BYTES,
  encode(message, writer) {
    writer.fixed(message.token, TOKEN_BYTES);
    writer.fixed(message.hash, HASH_BYTES);
  },
  decode: (reader) => ({ token: reader.bytes(TOKEN_BYTES), hash: reader.bytes(HASH_BYTES) }),
};

export const joinQuery: Codec<JoinQuery> = {
  size: (message) => NODE_ID_BYTES + 6 + text8Size(message.name) + text8Size(message.address) + 6 + 6 + 2,
  encode(message, writer) {
    writer.fixed(message.nodeId, NODE_ID_BYTES);
    writer.u48(message.incarnation);
    encodeAddress(message.name, writer);
    encodeAddress(message.address, writer);
    writer.u48(message.quotaBytes);
    writer.u48(message.freeBytes);
    writer.u8(message.offload ? 1 : 0);
    writer.u8(message.draining ? 1 : 0);
  },
  decode: (reader) => ({
    nodeId: reader.bytes(NODE_ID_BYTES),
    incarnation: reader.u48(),
    name: address(reader),
    address: address(reader),
    quotaBytes: reader.u48(),
    freeBytes: reader.u48(),
    offload: flag(reader),
    draining: flag(reader),
  }),
};

export const joinReply: Codec<JoinReply> = {
  size: () => ADMISSION_NONCE_BYTES,
  encode: (message, writer) => writer.fixed(message.nonce, ADMISSION_NONCE_BYTES),
  decode: (reader) => ({ nonce: reader.bytes(ADMISSION_NONCE_BYTES) }),
};

export const admitQuery: Codec<AdmitQuery> = {
  size: () => ADMISSION_PROOF_BYTES,
  encode: (message, writer) => writer.fixed(message.proof, ADMISSION_PROOF_BYTES),
  decode: (reader) => ({ proof: reader.bytes(ADMISSION_PROOF_BYTES) }),
};

export const admitReply: Codec<AdmitReply> = {
  size: (message) => CLUSTER_ID_BYTES + text8Size(message.address) + ADMISSION_PROOF_BYTES,
  encode(message, writer) {
    writer.fixed(message.clusterId, CLUSTER_ID_BYTES);
    encodeAddress(message.address, writer);
    writer.fixed(message.proof, ADMISSION_PROOF_BYTES);
  },
  decode: (reader) => ({
    clusterId: reader.bytes(CLUSTER_ID_BYTES),
    address: address(reader),
    proof: reader.bytes(ADMISSION_PROOF_BYTES),
  }),
};

export const inventoryQuery: Codec<InventoryQuery> = {
  size: () => 6 + BUCKET_MAP_BYTES,
  encode(message, writer) {
    writer.u48(message.entries);
    writer.fixed(message.buckets, BUCKET_MAP_BYTES);
  },
  decode: (reader) => ({ entries: reader.u48(), buckets: reader.bytes(BUCKET_MAP_BYTES) }),
};

export const settleQuery: Codec<SettleQuery> = {
  size: (message) => 1 + message.entries.length * (TOKEN_BYTES + HASH_BYTES),
  encode(message, writer) {
    encodeList(message.entries, SETTLE_ENTRIES_MAX, writer, (entry) => {
      writer.fixed(entry.token, TOKEN_BYTES);
      writer.fixed(entry.hash, HASH_BYTES);
    });
  },
  decode: (reader) => ({
    entries: decodeList(reader, SETTLE_ENTRIES_MAX, () => ({
      token: reader.bytes(TOKEN_BYTES),
      hash: reader.bytes(HASH_BYTES),
    })),
  }),
};

export const settleReply: Codec<SettleReply> = {
  size: (message) => 1 + message.settlements.length,
  encode(message, writer) {
    encodeList(message.settlements, SETTLE_ENTRIES_MAX, writer, (settlement) =>
      encodeOneOf(settlement, Settlement, writer),
    );
  },
  decode: (reader) => ({
    settlements: decodeList(reader, SETTLE_ENTRIES_MAX, () => oneOf(reader, Settlement)),
  }),
};

export const storeQuery: Codec<StoreQuery> = {
  size: () => TOKEN_BYTES + 6,
  encode(message, writer) {
    writer.fixed(message.token, TOKEN_BYTES);
    writer.u48(message.bytes);
  },
  decode: (reader) => ({ token: reader.bytes(TOKEN_BYTES), bytes: reader.u48() }),
};

export const storeReply: Codec<StoreReply> = {
  size: () => HASH_BYTES + RECEIPT_BYTES,
  encode(message, writer) {
    writer.fixed(message.hash, HASH_BYTES);
    writer.fixed(message.receipt, RECEIPT_BYTES);
  },
  decode: (reader) => ({ hash: reader.bytes(HASH_BYTES), receipt: reader.bytes(RECEIPT_BYTES) }),
};

export const readQuery: Codec<ReadQuery> = {
  size: () => HASH_BYTES + 22,
  encode(message, writer) {
    writer.fixed(message.hash, HASH_BYTES);
    writer.u48(message.offset);
    writer.u48(message.length);
    writer.u48(message.creditBytes);
    writer.u32(message.recordBytes);
  },
  decode: (reader) => ({
    hash: reader.bytes(HASH_BYTES),
    offset: reader.u48(),
    length: reader.u48(),
    creditBytes: reader.u48(),
    recordBytes: reader.u32(),
  }),
};

export const readReply: Codec<ReadReply> = {
  size: () => 6,
  encode: (message, writer) => writer.u48(message.bytes),
  decode: (reader) => ({ bytes: reader.u48() }),
};

export const loadNotice: Codec<LoadNotice> = {
  size: () => 13,
  encode(message, writer) {
    writer.u48(message.freeBytes);
    writer.u48(message.objects);
    writer.u8(message.full ? 1 : 0);
  },
  decode: (reader) => ({ freeBytes: reader.u48(), objects: reader.u48(), full: flag(reader) }),
};

export const busyReply: Codec<BusyReply> = {
  size: () => 4,
  encode: (message, writer) => writer.u32(message.retryMillis),
  decode: (reader) => ({ retryMillis: reader.u32() }),
};

function encodeReplicas(replicas: number, writer: Writer): void {
  assert(replicas >= 1 && replicas <= REPLICAS_MAX, 'number of replicas');
  writer.u8(replicas);
}

/** [DEFS-6] One to eight replicas. */
function decodeReplicas(reader: Reader): number {
  const replicas = reader.u8();
  if (replicas < 1 || replicas > REPLICAS_MAX) reader.refuse('range');
  return replicas;
}

function answerSize(found: WhereIsAnswer): number {
  if (found.code === ResultCode.OK) return 1 + 6 + 1 + found.replicas.length;
  return found.code === ResultCode.BUSY ? 5 : 1;
}

function decodeAnswer(reader: Reader, locationsCount: number): WhereIsAnswer {
  const code = reader.u8();
  switch (code) {
    case ResultCode.OK: {
      const bytes = reader.u48();
      const replicas = decodeList(reader, REPLICAS_MAX, () => {
        const replica = reader.u8();
        // [MSG-12] It stands in the table.
        if (replica >= locationsCount) reader.refuse('range');
        return replica;
      });
      return { code, bytes, replicas };
    }
    case ResultCode.BUSY:
      return { code, retryMillis: reader.u32() };
    case ResultCode.NOT_FOUND:
    case ResultCode.CORRUPT:
      return { code };
    default:
      // [MSG-3] No other code stands there.
      reader.refuse('unknown');
      return { code: ResultCode.NOT_FOUND };
  }
}
