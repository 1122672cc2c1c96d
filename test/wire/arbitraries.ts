/** Values of the wire for property tests, with weight on the edges of their ranges; and damage to bytes. */

import fc from 'fast-check';
import { encodePacket as twinEncodePacket } from '../../spec/reference/codec.ts';
import type { MessageName } from '../../spec/reference/messages.ts';
import type { PacketNumber } from '../../src/base/units.ts';
import {
  type AckRange,
  type Frame,
  type Packet,
  type RecordHeader,
  STATUS_FIXED_BYTES,
} from '../../src/wire/index.ts';

/** Whole numbers from 0 to 2^bits - 1: even, or at a power of two and beside it. */
export function unsigned(bits: number): fc.Arbitrary<number> {
  const max = 2 ** bits - 1;
  const edge = fc
    .tuple(fc.integer({ min: 0, max: bits }), fc.integer({ min: -1, max: 1 }))
    .map(([power, step]) => Math.min(Math.max(2 ** power + step, 0), max));
  return fc.oneof(
    fc.maxSafeInteger().map((value) => Math.abs(value) % (max + 1)),
    edge,
    fc.constantFrom(0, max),
  );
}

export const u8 = unsigned(8);
export const u16 = unsigned(16);
export const u32 = unsigned(32);
export const u48 = unsigned(48);

/** An object with these fields, of the usual prototype. */
function shape<Fields extends object>(
  fields: { [Name in keyof Fields]: fc.Arbitrary<Fields[Name]> },
): fc.Arbitrary<Fields> {
  return fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<Fields>;
}

export function bytes(count: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: count, maxLength: count });
}

export function bytesUpTo(max: number): fc.Arbitrary<Uint8Array> {
  return fc.oneof(
    fc.uint8Array({ minLength: 0, maxLength: Math.min(max, 40) }),
    fc.uint8Array({ minLength: 0, maxLength: max, size: 'max' }),
    bytes(max),
  );
}

/** Texts of at most `bytesMax` bytes as UTF-8, of any code points but lone surrogates. */
export function text(bytesMax: number): fc.Arbitrary<string> {
  return fc.oneof(
    fc.string({ unit: 'binary', maxLength: Math.floor(bytesMax / 4), size: 'max' }),
    fc.string({ unit: 'grapheme-ascii', maxLength: bytesMax, size: 'max' }),
    fc.constantFrom('', '\ufeffa', '\0', '\u07ff\u0800\uffff', '\u{10000}\u{10ffff}', 'x'.repeat(bytesMax)),
  );
}

// ---------------------------------------------------------------- packets

const tag = shape({ high: u32, low: u32 });
const packetNumber = u48.map((value) => value as PacketNumber);
const epochBits = fc.integer({ min: 0, max: 3 });
const mac = bytes(16);
const content = fc.oneof(
  { weight: 20, arbitrary: bytesUpTo(1_500) },
  { weight: 1, arbitrary: bytesUpTo(20_000) },
);
const someContent = content.filter((value) => value.length > 0);

const hello = shape({
  version: u8,
  secretId: bytes(8),
  tag,
  mac,
  second: fc.boolean(),
  cookie: bytes(24),
  noise: someContent,
}).map(
  ({ second, cookie, noise, ...rest }): Packet => ({
    type: 1,
    ...rest,
    cookie: second ? cookie : undefined,
    noise: second ? noise : new Uint8Array(0),
  }),
);

const segment = shape({
  tag,
  epochBits,
  number: packetNumber,
  flowId: u32,
  record: u32,
  payload: someContent,
  offset: fc.nat(),
  behind: fc.nat(),
}).map(({ offset, behind, ...rest }): Packet => {
  const room = 65_571 - rest.payload.length;
  const start = offset % (room + 1);
  return {
    type: 6,
    ...rest,
    offset: start,
    sealedBytes: start + rest.payload.length + (behind % (room - start + 1)),
  };
});

export const packet: fc.Arbitrary<Packet> = fc.oneof(
  hello,
  shape({ type: fc.constant(2 as const), tag, cookie: bytes(24), clusterId: bytes(16), mac }),
  shape({ type: fc.constant(3 as const), tag, noise: content, mac }),
  shape({ type: fc.constant(4 as const), tag, code: u8, retryMillis: u16, mac }),
  shape({ type: fc.constant(5 as const), tag, epochBits, number: packetNumber, sealed: content }).map(
    withHeader,
  ),
  segment,
);

/** A SEALED packet as it is decoded: with its header as it stands on the wire. */
export function withHeader(sealed: Omit<Extract<Packet, { type: 5 }>, 'header'>): Packet {
  const bare = { ...sealed, header: new Uint8Array(0) };
  return { ...bare, header: Uint8Array.from(twinEncodePacket(bare).slice(0, 18)) };
}

// ---------------------------------------------------------------- frames

/** 1 to 32 ranges below a highest number: disjoint, not adjacent, highest first. */
const ackRanges = shape({
  last: u48,
  length: u32,
  more: fc.array(fc.tuple(u32, u32), { maxLength: 31, size: 'max' }),
}).map(({ last, length, more }) => {
  const ranges: AckRange[] = [range(Math.max(last - length, 0), last)];
  for (const [gap, nextLength] of more) {
    const nextLast = ranges.at(-1)!.first - gap - 2;
    if (nextLast < 0) continue;
    ranges.push(range(Math.max(nextLast - nextLength, 0), nextLast));
  }
  return ranges;
});

function range(first: number, last: number): AckRange {
  return { first: first as PacketNumber, last: last as PacketNumber };
}

const frameBody = bytesUpTo(1_024);

export const frame: fc.Arbitrary<Frame> = fc.oneof(
  shape({ type: fc.constant(0 as const), bytes: fc.integer({ min: 1, max: 1_500 }) }),
  shape({ type: fc.constant(1 as const) }),
  shape({
    type: fc.constant(2 as const),
    space: fc.constantFrom(0 as const, 1 as const),
    delayUnits: u16,
    ranges: ackRanges,
  }),
  shape({ type: fc.constant(3 as const), code: u16, text: text(200) }),
  shape({ type: fc.constant(4 as const), id: u32, kind: u8, body: frameBody }),
  shape({ type: fc.constant(5 as const), id: u32, code: u8, body: frameBody }),
  shape({ type: fc.constant(6 as const), kind: u8, body: frameBody }),
  shape({ flowId: u32, one: u48, other: u48, complete: fc.boolean() }).map(
    ({ flowId, one, other, complete }) => {
      const limitBytes = Math.max(one, other);
      return { type: 7 as const, flowId, limitBytes, openedBytes: Math.min(one, other), complete };
    },
  ),
  shape({ type: fc.constant(8 as const), flowId: u32, record: u32 }),
  shape({ type: fc.constant(9 as const), flowId: u32, code: u8 }),
  shape({ type: fc.constant(10 as const), flowId: u32, code: u8 }),
);

/** What one SEALED packet may hold. Adjacent padding is one frame, so no two stand side by side. */
export const frames: fc.Arbitrary<Frame[]> = fc
  .array(frame, { maxLength: 12 })
  .map((list) => list.filter((entry, index) => entry.type !== 0 || list[index - 1]?.type !== 0));

// ---------------------------------------------------------------- records

/** A record as it is opened: header and payload agree. */
export const openedRecord: fc.Arbitrary<{ readonly header: RecordHeader; readonly payload: Uint8Array }> =
  shape({
    compressed: fc.boolean(),
    offset: u48,
    dataLeft: fc.oneof(u48, unsigned(53), fc.constantFrom(-1, 0, 1, Number.MAX_SAFE_INTEGER)),
    payload: bytesUpTo(2_000),
    shrunk: fc.integer({ min: 1, max: 60_000 }),
  }).map(({ compressed, offset, dataLeft, payload, shrunk }) => {
    const plainBytes = payload.length + (compressed ? shrunk : 0);
    return { header: { encoding: compressed ? 1 : 0, offset, dataLeft, plainBytes }, payload };
  });

// ---------------------------------------------------------------- messages

const hash = bytes(32);
const token = bytes(8);
const nodeId = bytes(16);
const address = text(80);
const flag = fc.boolean();
const locations = fc.array(shape({ nodeId, address }), { maxLength: 8, size: 'max' });

/** A reply that fits into one body: its locations first, then as many answers as there is room for. */
const whereIsManyReply = shape({
  revision: u48,
  stale: fc.boolean(),
  table: fc.array(shape({ nodeId, address: fc.oneof(text(80), text(21)) }), { maxLength: 59, size: 'max' }),
  drawn: fc.array(
    shape({
      code: fc.constantFrom(0, 0, 0, 3, 7, 8),
      bytes: u48,
      replicas: fc.array(fc.nat(), { maxLength: 8, size: 'max' }),
      retryMillis: u32,
    }),
    { minLength: 1, maxLength: 31, size: 'max' },
  ),
}).map(({ revision, stale, table, drawn }) => {
  // Room for one answer stays.
  let room = 1_024 - 9 - 16;
  const locations = table.filter((location) => {
    room -= 17 + new TextEncoder().encode(location.address).length;
    return room >= 0;
  });
  room = Math.max(room, 0) + 16;
  const answers = drawn
    .map(({ code, bytes: size, replicas, retryMillis }) => {
      const indices = locations.length === 0 ? [] : replicas.map((index) => index % locations.length);
      if (code === 0) return { code, bytes: size, replicas: indices };
      return code === 7 ? { code, retryMillis } : { code };
    })
    .filter((found) => {
      room -= found.code === 0 ? 8 + found.replicas!.length : found.code === 7 ? 5 : 1;
      return room >= 0;
    });
  return { revision, stale, locations, answers };
});

const state = fc.constantFrom(0, 1, 2, 3, 4, 5);
/** Many of the short ones fit on a page. */
const shortOrLong = fc.oneof({ weight: 4, arbitrary: fc.constantFrom('', 'a:1') }, address);
const lockName = address.map((name) => name || 'a');

export const messages: { readonly [Name in MessageName]: fc.Arbitrary<unknown> } = {
  initiatorParameters: shape({
    role: fc.constantFrom(1, 2, 3),
    datagramBytesMax: u16,
    windowBytes: u32,
    idleMillis: u32,
  }),
  responderParameters: shape({
    port: u16,
    tag,
    datagramBytesMax: u16,
    windowBytes: u32,
    idleMillis: u32,
  }),
  emptyMessage: shape({}),
  statusQuery: shape({ cursor: u32 }),
  statusReply: shape({
    revision: u48,
    stale: flag,
    objects: u48,
    bytes: u48,
    nodesTotal: u32,
    repair: fc.constantFrom(0, 1, 2),
    missing: u32,
    copying: u32,
    surplus: u32,
    coordinators: fc.array(shape({ address, leads: flag, answers: flag, offload: flag }), {
      maxLength: 8,
      size: 'max',
    }),
    nodes: fc.array(
      shape({
        nodeId,
        name: address,
        address,
        state,
        quotaBytes: u48,
        freeBytes: u48,
        objects: u48,
        offload: flag,
      }),
      { maxLength: 32, size: 'max' },
    ),
  }).map(fittingOneBody),
  whereToQuery: shape({
    token,
    bytes: u48,
    replicas: fc.integer({ min: 1, max: 8 }),
    hash: fc.option(hash, { nil: undefined }),
  }),
  whereToReply: shape({ leaseMillis: u32, revision: u48, locations }),
  noSpaceReply: shape({ freeBytes: u48, nodesUp: u16 }),
  hashQuery: shape({ hash }),
  removeQuery: shape({ token, hash }),
  whereIsReply: shape({ bytes: u48, revision: u48, stale: flag, locations }),
  whereIsManyQuery: shape({ hashes: fc.array(hash, { minLength: 1, maxLength: 31, size: 'max' }) }),
  whereIsManyReply,
  commitQuery: shape({
    token,
    hash,
    bytes: u48,
    replicas: fc.integer({ min: 1, max: 8 }),
    receipts: fc.array(shape({ nodeId, receipt: bytes(16) }), { maxLength: 8, size: 'max' }),
  }),
  revisionReply: shape({ revision: u48 }),
  tokenQuery: shape({ token }),
  joinQuery: shape({
    nodeId,
    incarnation: u48,
    name: address,
    address,
    quotaBytes: u48,
    freeBytes: u48,
    offload: flag,
    draining: flag,
  }),
  joinReply: shape({ nonce: bytes(32) }),
  admitQuery: shape({ proof: bytes(32) }),
  admitReply: shape({ clusterId: bytes(16), address, proof: bytes(32) }),
  inventoryQuery: shape({ entries: u48, buckets: bytes(8) }),
  settleQuery: shape({ entries: fc.array(shape({ token, hash }), { maxLength: 20, size: 'max' }) }),
  settleReply: shape({ settlements: fc.array(fc.constantFrom(0, 1, 2), { maxLength: 20, size: 'max' }) }),
  storeQuery: shape({ token, bytes: u48 }),
  storeReply: shape({ hash, receipt: bytes(16) }),
  readQuery: shape({ hash, offset: u48, length: u48, creditBytes: u48, recordBytes: u32 }),
  readReply: shape({ bytes: u48 }),
  loadNotice: shape({ freeBytes: u48, objects: u48, full: flag }),
  busyReply: shape({ retryMillis: u32 }),
  notLeaderReply: shape({ epoch: u48, address }),
  membersQuery: shape({ after: u48, afterId: nodeId, waitMillis: u32 }),
  membersReply: shape({
    revision: u48,
    full: flag,
    members: fc.array(
      shape({ changed: u48, nodeId, incarnation: u48, state, name: shortOrLong, address: shortOrLong }),
      { maxLength: 32, size: 'max' },
    ),
  }).map((reply) => ({ ...reply, members: fitting(reply.members, 1_024 - 8, 31) })),
  digestQuery: shape({ entries: u48, digests: bytes(512) }),
  digestReply: shape({ differs: bytes(8) }),
  lockQuery: shape({ name: lockName, token: bytes(16), shared: flag, leaseMillis: u32, waitMillis: u32 }),
  lockReply: shape({ held: flag, fencing: u48, leaseMillis: u32, ahead: u32 }),
  unlockQuery: shape({ name: lockName, token: bytes(16), fencing: u48 }),
  sessionWriteQuery: shape({
    id: bytes(16),
    token: bytes(16),
    number: u48,
    lifetimeSeconds: u32,
    data: bytesUpTo(640),
  }),
  sessionQuery: shape({ id: bytes(16), token: bytes(16) }),
  sessionReply: shape({ number: u48, remainingSeconds: u32, stale: flag, data: bytesUpTo(640) }),
  copyQuery: shape({ token, hash, bytes: u48, sources: locations }),
};

// ---------------------------------------------------------------- hostile bytes

/** One to four changes: bits, bytes, runs cut out, put in or doubled. */
export type Damage = readonly { readonly kind: number; readonly place: number; readonly value: number }[];
export const damage: fc.Arbitrary<Damage> = fc.array(
  shape({ kind: fc.integer({ min: 0, max: 6 }), place: fc.nat(), value: fc.nat() }),
  { minLength: 1, maxLength: 4 },
);

/** `original` with the changes of `damage`. Kind 6 sets a stated packet length right again. */
export function damaged(original: Uint8Array, changes: Damage): Uint8Array {
  let list = [...original];
  for (const { kind, place, value } of changes) {
    const at = list.length === 0 ? 0 : place % list.length;
    const count = value % 20;
    if (kind === 0 && list.length > 0) list[at] = list[at]! ^ (1 << (value % 8));
    else if (kind === 1 && list.length > 0) list[at] = value % 256;
    else if (kind === 2) list.splice(at, count);
    else if (kind === 3) list.splice(at, 0, ...new Array<number>(count).fill(value % 256));
    else if (kind === 4) list.splice(at, 0, ...list.slice(at, at + count));
    else if (kind === 5 && list.length > 0) list[at] = [0, 1, 0x7f, 0x80, 0xff][value % 5]!;
    else if (list.length >= 4) {
      list[2] = (list.length >>> 8) & 0xff;
      list[3] = list.length & 0xff;
    }
    list = list.slice(0, 70_000);
  }
  return Uint8Array.from(list);
}

/** Any bytes up to 70,000: mostly short, some of the full length, with runs and with plausible starts. */
export const anyBytes: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 8, arbitrary: fc.uint8Array({ maxLength: 300, size: 'max' }) },
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 3_000, size: 'max' }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.integer({ min: 0, max: 70_000 }), fc.uint8Array({ minLength: 1, maxLength: 64 }))
      .map(([length, pattern]) =>
        Uint8Array.from({ length }, (_, index) => pattern[index % pattern.length]!),
      ),
  },
  {
    // A right type, flags and length, and anything behind.
    weight: 6,
    arbitrary: fc
      .tuple(
        fc.integer({ min: 0, max: 8 }),
        fc.integer({ min: 0, max: 5 }),
        fc.uint8Array({ maxLength: 200, size: 'max' }),
      )
      .map(([type, flags, rest]) => {
        const length = rest.length + 4;
        return Uint8Array.from([type, flags, length >>> 8, length & 0xff, ...rest]);
      }),
  },
);

/** As many of the items as fit into `room` bytes, each of `fixedBytes` and its texts. */
function fitting<Item extends { name?: string; address: string }>(
  items: readonly Item[],
  room: number,
  fixedBytes: number,
): Item[] {
  const bytesOf = (text = ''): number => new TextEncoder().encode(text).length;
  let left = room;
  return items.filter(({ name, address }) => {
    left -= fixedBytes + bytesOf(name) + bytesOf(address);
    return left >= 0;
  });
}

/** A STATUS reply with as many of its nodes as one body holds: the coordinator cuts pages, too. */
function fittingOneBody<
  Reply extends {
    coordinators: readonly { address: string }[];
    nodes: readonly { name: string; address: string }[];
  },
>(reply: Reply): Reply {
  const addresses = reply.coordinators.map(({ address }) => new TextEncoder().encode(address).length);
  const room = addresses.reduce((left, bytes) => left - 4 - bytes, 1_024 - STATUS_FIXED_BYTES);
  return { ...reply, nodes: fitting(reply.nodes, room, 38) };
}
