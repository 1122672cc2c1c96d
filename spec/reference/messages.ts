/** The slow twin of the codec, third part: a table for each message. Numbers stand here as the spec has them. */

import type * as wire from '../../src/wire/index.ts';
import {
  body,
  bytes,
  type Field,
  flag,
  list,
  oneOf,
  optional,
  refuseUnless,
  table,
  text,
  u8,
  u16,
  u32,
  u48,
} from './fields.ts';

const hash = bytes(32);
const token = bytes(8);
const nodeId = bytes(16);
const receipt = bytes(16);
const address = text(80);
/** A bit for each of 64 buckets. */
const buckets = bytes(8);
/** By which a lock or a user session is held. */
const holder = bytes(16);
const tag = table<wire.SessionTag>({ high: u32, low: u32 });
const locations = list(8, table<wire.Location>({ nodeId, address }));

/** Field tables may hold plain numbers where the message type has named ones. */
type Loose<Message> = {
  readonly [Name in keyof Message]: Message[Name] extends number ? number : Message[Name];
};

const replicas: Field<number> = {
  put(value) {
    refuseUnless(value >= 1 && value <= 8, 'number of replicas');
    return u8.put(value);
  },
  get(input) {
    const value = u8.get(input);
    refuseUnless(value >= 1 && value <= 8, 'number of replicas');
    return value;
  },
};

/** What became of one hash: a code, and behind it what that code calls for. */
type Answer = {
  readonly code: number;
  readonly bytes?: number;
  readonly replicas?: readonly number[];
  readonly retryMillis?: number;
};
const found = table<{ readonly bytes: number; readonly replicas: readonly number[] }>({
  bytes: u48,
  replicas: list(8, u8),
});
const busy = table<{ readonly retryMillis: number }>({ retryMillis: u32 });
const answer: Field<Answer> = {
  put({ code, bytes: size, replicas: indices, retryMillis }) {
    refuseUnless([0, 3, 7, 8].includes(code), 'code of an answer');
    if (code === 0) return [0, ...found.put({ bytes: size!, replicas: indices! })];
    return code === 7 ? [7, ...busy.put({ retryMillis: retryMillis! })] : [code];
  },
  get(input) {
    const code = oneOf(0, 3, 7, 8).get(input);
    if (code === 0) return { code, ...found.get(input) };
    return code === 7 ? { code, ...busy.get(input) } : { code };
  },
};

interface ManyReply {
  readonly revision: number;
  readonly stale: boolean;
  readonly locations: readonly wire.Location[];
  readonly answers: readonly Answer[];
}
const manyReply = table<ManyReply>({
  revision: u48,
  stale: flag,
  locations: list(59, table<wire.Location>({ nodeId, address })),
  answers: list(31, answer),
});
const whereIsManyReply: Field<ManyReply> = {
  put(value) {
    refuseUnless(isWhole(value), 'answers');
    return manyReply.put(value);
  },
  get(input) {
    const value = manyReply.get(input);
    refuseUnless(isWhole(value), 'answers');
    return value;
  },
};

/** There is an answer, and every index stands in the table. */
function isWhole({ locations: all, answers }: ManyReply): boolean {
  const indices = answers.flatMap(({ replicas: some }) => some ?? []);
  return answers.length > 0 && indices.every((index) => index < all.length);
}

const hashes: Field<readonly Uint8Array[]> = {
  put(value) {
    refuseUnless(value.length > 0, 'no hash');
    return list(31, hash).put(value);
  },
  get(input) {
    const value = list(31, hash).get(input);
    refuseUnless(value.length > 0, 'no hash');
    return value;
  },
};

const lockName: Field<string> = {
  put(value) {
    refuseUnless(value !== '', 'a lock without a name');
    return text(80).put(value);
  },
  get(input) {
    const value = text(80).get(input);
    refuseUnless(value !== '', 'a lock without a name');
    return value;
  },
};

/** State of a node: up, down, up and full, failed, draining, collected. */
const state = oneOf(0, 1, 2, 3, 4, 5);

/** By the name that the codec has in `src/wire`. */
export const MESSAGES = {
  initiatorParameters: table<Loose<wire.InitiatorParameters>>({
    role: oneOf(1, 2, 3),
    datagramBytesMax: u16,
    windowBytes: u32,
    idleMillis: u32,
  }),
  responderParameters: table<wire.ResponderParameters>({
    port: u16,
    tag,
    datagramBytesMax: u16,
    windowBytes: u32,
    idleMillis: u32,
  }),
  emptyMessage: table<Record<never, never>>({}),
  statusQuery: table<wire.StatusQuery>({ cursor: u32 }),
  statusReply: table<
    Omit<Loose<wire.StatusReply>, 'nodes'> & { readonly nodes: readonly Loose<wire.NodeStatus>[] }
  >({
    revision: u48,
    stale: flag,
    objects: u48,
    bytes: u48,
    nodesTotal: u32,
    repair: oneOf(0, 1, 2),
    missing: u32,
    copying: u32,
    surplus: u32,
    coordinators: list(
      8,
      table<wire.CoordinatorStatus>({ address, leads: flag, answers: flag, offload: flag }),
    ),
    nodes: list(
      32,
      table<Loose<wire.NodeStatus>>({
        nodeId,
        name: address,
        address,
        state,
        quotaBytes: u48,
        freeBytes: u48,
        objects: u48,
        offload: flag,
      }),
    ),
  }),
  whereToQuery: table<wire.WhereToQuery>({ token, bytes: u48, replicas, hash: optional(hash) }),
  whereToReply: table<wire.WhereToReply>({ leaseMillis: u32, revision: u48, locations }),
  noSpaceReply: table<wire.NoSpaceReply>({ freeBytes: u48, nodesUp: u16 }),
  hashQuery: table<wire.HashQuery>({ hash }),
  whereIsReply: table<wire.WhereIsReply>({ bytes: u48, revision: u48, stale: flag, locations }),
  whereIsManyQuery: table<wire.WhereIsManyQuery>({ hashes }),
  whereIsManyReply,
  commitQuery: table<wire.CommitQuery>({
    token,
    hash,
    bytes: u48,
    replicas,
    receipts: list(8, table<wire.Receipt>({ nodeId, receipt })),
  }),
  revisionReply: table<wire.RevisionReply>({ revision: u48 }),
  tokenQuery: table<wire.TokenQuery>({ token }),
  removeQuery: table<wire.RemoveQuery>({ token, hash }),
  joinQuery: table<wire.JoinQuery>({
    nodeId,
    incarnation: u48,
    name: address,
    address,
    quotaBytes: u48,
    freeBytes: u48,
    offload: flag,
    draining: flag,
  }),
  joinReply: table<wire.JoinReply>({ nonce: bytes(32) }),
  admitQuery: table<wire.AdmitQuery>({ proof: bytes(32) }),
  admitReply: table<wire.AdmitReply>({ clusterId: bytes(16), address, proof: bytes(32) }),
  inventoryQuery: table<wire.InventoryQuery>({ entries: u48, buckets }),
  settleQuery: table<wire.SettleQuery>({ entries: list(20, table<wire.SettleEntry>({ token, hash })) }),
  settleReply: table<{ readonly settlements: readonly number[] }>({ settlements: list(20, oneOf(0, 1, 2)) }),
  storeQuery: table<wire.StoreQuery>({ token, bytes: u48 }),
  storeReply: table<wire.StoreReply>({ hash, receipt }),
  readQuery: table<wire.ReadQuery>({ hash, offset: u48, length: u48, creditBytes: u48, recordBytes: u32 }),
  readReply: table<wire.ReadReply>({ bytes: u48 }),
  loadNotice: table<wire.LoadNotice>({ freeBytes: u48, objects: u48, full: flag }),
  busyReply: table<wire.BusyReply>({ retryMillis: u32 }),
  notLeaderReply: table<wire.NotLeaderReply>({ epoch: u48, address }),
  membersQuery: table<wire.MembersQuery>({ after: u48, afterId: nodeId, waitMillis: u32 }),
  membersReply: table<
    Omit<wire.MembersReply, 'members'> & { readonly members: readonly Loose<wire.MemberChange>[] }
  >({
    revision: u48,
    full: flag,
    members: list(
      32,
      table<Loose<wire.MemberChange>>({
        changed: u48,
        nodeId,
        incarnation: u48,
        state,
        name: address,
        address,
      }),
    ),
  }),
  digestQuery: table<wire.DigestQuery>({ entries: u48, digests: bytes(64 * 8) }),
  digestReply: table<wire.DigestReply>({ differs: buckets }),
  lockQuery: table<wire.LockQuery>({
    name: lockName,
    token: holder,
    shared: flag,
    leaseMillis: u32,
    waitMillis: u32,
  }),
  lockReply: table<wire.LockReply>({ held: flag, fencing: u48, leaseMillis: u32, ahead: u32 }),
  unlockQuery: table<wire.UnlockQuery>({ name: lockName, token: holder, fencing: u48 }),
  sessionWriteQuery: table<wire.SessionWriteQuery>({
    id: bytes(16),
    token: holder,
    number: u48,
    lifetimeSeconds: u32,
    data: body(640),
  }),
  sessionQuery: table<wire.SessionQuery>({ id: bytes(16), token: holder }),
  sessionReply: table<wire.SessionReply>({
    number: u48,
    remainingSeconds: u32,
    stale: flag,
    data: body(640),
  }),
  copyQuery: table<wire.CopyQuery>({ token, hash, bytes: u48, sources: locations }),
};
export type MessageName = keyof typeof MESSAGES;
