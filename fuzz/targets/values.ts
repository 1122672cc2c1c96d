/** Valid values of the wire, drawn quickly from a seeded stream, with weight on the edges of their ranges. */

import type { Random } from '../../sim/random.ts';
import type { MessageName } from '../../spec/reference/messages.ts';
import type { PacketNumber } from '../../src/base/units.ts';
import type { AckRange, Frame, Location, Packet, SessionTag } from '../../src/wire/index.ts';

/** A number of `bits` bits: anywhere, or at an edge. */
export function unsigned(random: Random, bits: number): number {
  const max = 2 ** bits - 1;
  switch (random.integer(4)) {
    case 0:
      return random.pick([0, 1, max, max - 1]);
    case 1:
      return Math.min(2 ** random.integer(bits + 1), max);
    case 2:
      return random.integer(Math.min(1_000, max + 1));
    default:
      return random.integer(max + 1);
  }
}

/** Up to `max` bytes, mostly few. */
export function bytesUpTo(random: Random, max: number): Uint8Array {
  const most = random.chance(0.05) ? max : Math.min(max, 60);
  return random.bytes(random.integer(most + 1));
}

const TEXTS = ['', 'a:1', '10.0.0.1:7400', '[::1]:7400', 'é', '\ufeffx', '\0', '\u{10ffff}', 'node-17'];

/** A text of at most `bytesMax` bytes as UTF-8. */
export function text(random: Random, bytesMax: number): string {
  if (random.chance(0.1)) return 'x'.repeat(bytesMax);
  if (random.chance(0.6)) return random.pick(TEXTS);
  const length = random.integer(Math.floor(bytesMax / 4) + 1);
  return Array.from({ length }, () =>
    String.fromCodePoint(random.pick([0x61, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x1_0000])),
  ).join('');
}

function list<Item>(random: Random, most: number, draw: () => Item, least = 0): Item[] {
  const length = random.chance(0.1) ? most : least + random.integer(Math.min(most, 4) - least + 1);
  return Array.from({ length }, draw);
}

// ---------------------------------------------------------------- packets

function tag(random: Random): SessionTag {
  return { high: unsigned(random, 32), low: unsigned(random, 32) };
}

/** A packet of any type; its contents are random, not sealed. */
export function packet(random: Random): Packet {
  const mac = random.bytes(16);
  const number = unsigned(random, 48) as PacketNumber;
  const some = random.bytes(1 + random.integer(random.chance(0.05) ? 1_400 : 60));
  switch (1 + random.integer(6)) {
    case 1: {
      const second = random.chance(0.5);
      return {
        type: 1,
        version: unsigned(random, 8),
        secretId: random.bytes(8),
        tag: tag(random),
        cookie: second ? random.bytes(24) : undefined,
        noise: second ? some : new Uint8Array(0),
        mac,
      };
    }
    case 2:
      return { type: 2, tag: tag(random), cookie: random.bytes(24), clusterId: random.bytes(16), mac };
    case 3:
      return { type: 3, tag: tag(random), noise: random.chance(0.1) ? new Uint8Array(0) : some, mac };
    case 4:
      return { type: 4, tag: tag(random), code: unsigned(random, 8), retryMillis: unsigned(random, 16), mac };
    case 5:
      return {
        type: 5,
        tag: tag(random),
        epochBits: random.integer(4),
        number,
        header: new Uint8Array(0),
        sealed: some,
      };
    default: {
      const room = 65_571 - some.length;
      const offset = Math.min(unsigned(random, 16), room);
      return {
        type: 6,
        tag: tag(random),
        epochBits: random.integer(4),
        number,
        flowId: unsigned(random, 32),
        record: unsigned(random, 32),
        offset,
        sealedBytes: offset + some.length + random.integer(room - offset + 1),
        payload: some,
      };
    }
  }
}

// ---------------------------------------------------------------- frames

/** Ranges below `last`: disjoint, not adjacent, highest first. */
export function ackRanges(random: Random, last: number): AckRange[] {
  const ranges: AckRange[] = [];
  let high = last;
  const most = random.chance(0.1) ? 32 : 1 + random.integer(3);
  while (ranges.length < most && high >= 0) {
    const low = Math.max(high - unsigned(random, random.chance(0.9) ? 4 : 32), 0);
    ranges.push({ first: low as PacketNumber, last: high as PacketNumber });
    high = low - 2 - unsigned(random, random.chance(0.9) ? 3 : 32);
  }
  return ranges;
}

/** A frame of any type; `id` draws the ids of queries and flows. */
export function frame(random: Random, id: () => number = () => unsigned(random, 32)): Frame {
  const body = bytesUpTo(random, 1_024);
  switch (random.integer(11)) {
    case 0:
      return { type: 0, bytes: 1 + random.integer(random.chance(0.1) ? 1_200 : 5) };
    case 1:
      return { type: 1 };
    case 2: {
      const last = unsigned(random, random.chance(0.8) ? 4 : 48);
      const space = random.chance(0.5) ? 0 : 1;
      return { type: 2, space, delayUnits: unsigned(random, 16), ranges: ackRanges(random, last) };
    }
    case 3:
      return { type: 3, code: unsigned(random, 16), text: text(random, 200) };
    case 4:
      return { type: 4, id: id(), kind: unsigned(random, 8), body };
    case 5:
      return { type: 5, id: id(), code: random.integer(16), body };
    case 6:
      return { type: 6, kind: random.integer(3), body };
    case 7: {
      const limitBytes = unsigned(random, 48);
      const openedBytes = Math.min(limitBytes, unsigned(random, 24));
      return { type: 7, flowId: id(), limitBytes, openedBytes, complete: random.chance(0.2) };
    }
    case 8:
      return { type: 8, flowId: id(), record: random.chance(0.7) ? random.integer(5) : unsigned(random, 32) };
    case 9:
      return { type: 9, flowId: id(), code: random.integer(16) };
    default:
      return { type: 10, flowId: id(), code: random.integer(16) };
  }
}

/** Up to `most` frames, no two of them padding side by side: that would be one. */
export function frames(random: Random, most: number, id?: () => number): Frame[] {
  const drawn = Array.from({ length: 1 + random.integer(most) }, () => frame(random, id));
  return drawn.filter((entry, index) => entry.type !== 0 || drawn[index - 1]?.type !== 0);
}

// ---------------------------------------------------------------- messages

function locations(random: Random, most: number): Location[] {
  return list(random, most, () => ({ nodeId: random.bytes(16), address: text(random, 80) }));
}

/** How a valid message of each kind is drawn. */
export const MESSAGE_VALUES: { readonly [Name in MessageName]: (random: Random) => object } = {
  initiatorParameters: (random) => ({ role: 1 + random.integer(3), ...ends(random) }),
  responderParameters: (random) => ({ port: unsigned(random, 16), tag: tag(random), ...ends(random) }),
  emptyMessage: () => ({}),
  statusQuery: (random) => ({ cursor: unsigned(random, 32) }),
  statusReply: (random) => ({
    revision: unsigned(random, 48),
    stale: random.chance(0.2),
    objects: unsigned(random, 48),
    bytes: unsigned(random, 48),
    nodesTotal: unsigned(random, 32),
    repair: random.integer(3),
    missing: unsigned(random, 32),
    copying: unsigned(random, 32),
    surplus: unsigned(random, 32),
    coordinators: list(random, 3, () => ({
      address: text(random, 80),
      leads: random.chance(0.3),
      answers: random.chance(0.3),
      offload: random.chance(0.5),
    })),
    // With as many coordinators, and the longest texts, they still fit one body.
    nodes: list(random, 3, () => ({
      nodeId: random.bytes(16),
      name: text(random, 80),
      address: text(random, 80),
      state: random.integer(6),
      quotaBytes: unsigned(random, 48),
      freeBytes: unsigned(random, 48),
      objects: unsigned(random, 48),
      offload: random.chance(0.5),
    })),
  }),
  whereToQuery: (random) => ({
    token: random.bytes(8),
    bytes: unsigned(random, 48),
    replicas: 1 + random.integer(8),
    hash: random.chance(0.5) ? random.bytes(32) : undefined,
  }),
  whereToReply: (random) => ({
    leaseMillis: unsigned(random, 32),
    revision: unsigned(random, 48),
    locations: locations(random, 8),
  }),
  noSpaceReply: (random) => ({ freeBytes: unsigned(random, 48), nodesUp: unsigned(random, 16) }),
  hashQuery: (random) => ({ hash: random.bytes(32) }),
  removeQuery: (random) => ({ token: random.bytes(8), hash: random.bytes(32) }),
  whereIsReply: (random) => ({
    bytes: unsigned(random, 48),
    revision: unsigned(random, 48),
    stale: random.chance(0.2),
    locations: locations(random, 8),
  }),
  whereIsManyQuery: (random) => ({ hashes: list(random, 31, () => random.bytes(32), 1) }),
  whereIsManyReply: (random) => {
    const table = locations(random, 4);
    const replica = (): number => random.integer(table.length);
    const answers = list(random, 31, () => manyAnswer(random, table.length, replica), 1);
    return { revision: unsigned(random, 48), stale: random.chance(0.2), locations: table, answers };
  },
  commitQuery: (random) => ({
    token: random.bytes(8),
    hash: random.bytes(32),
    bytes: unsigned(random, 48),
    replicas: 1 + random.integer(8),
    receipts: list(random, 8, () => ({ nodeId: random.bytes(16), receipt: random.bytes(16) })),
  }),
  revisionReply: (random) => ({ revision: unsigned(random, 48) }),
  tokenQuery: (random) => ({ token: random.bytes(8) }),
  joinQuery: (random) => ({
    nodeId: random.bytes(16),
    incarnation: unsigned(random, 48),
    name: text(random, 80),
    address: text(random, 80),
    quotaBytes: unsigned(random, 48),
    freeBytes: unsigned(random, 48),
    offload: random.chance(0.5),
    draining: random.chance(0.2),
  }),
  joinReply: (random) => ({ nonce: random.bytes(32) }),
  admitQuery: (random) => ({ proof: random.bytes(32) }),
  admitReply: (random) => ({
    clusterId: random.bytes(16),
    address: text(random, 80),
    proof: random.bytes(32),
  }),
  inventoryQuery: (random) => ({ entries: unsigned(random, 48), buckets: buckets(random) }),
  settleQuery: (random) => ({
    entries: list(random, 20, () => ({ token: random.bytes(8), hash: random.bytes(32) })),
  }),
  settleReply: (random) => ({ settlements: list(random, 20, () => random.integer(3)) }),
  storeQuery: (random) => ({ token: random.bytes(8), bytes: unsigned(random, 48) }),
  storeReply: (random) => ({ hash: random.bytes(32), receipt: random.bytes(16) }),
  readQuery: (random) => ({
    hash: random.bytes(32),
    offset: unsigned(random, 48),
    length: unsigned(random, 48),
    creditBytes: unsigned(random, 48),
    recordBytes: unsigned(random, 32),
  }),
  readReply: (random) => ({ bytes: unsigned(random, 48) }),
  loadNotice: (random) => ({
    freeBytes: unsigned(random, 48),
    objects: unsigned(random, 48),
    full: random.chance(0.5),
  }),
  busyReply: (random) => ({ retryMillis: unsigned(random, 32) }),
  notLeaderReply: (random) => ({ epoch: unsigned(random, 48), address: text(random, 80) }),
  membersQuery: (random) => ({
    after: unsigned(random, 48),
    afterId: random.bytes(16),
    waitMillis: unsigned(random, 32),
  }),
  membersReply: (random) => ({
    revision: unsigned(random, 48),
    full: random.chance(0.2),
    members: list(random, 5, () => ({
      changed: unsigned(random, 48),
      nodeId: random.bytes(16),
      incarnation: unsigned(random, 48),
      state: random.integer(6),
      name: text(random, 80),
      address: text(random, 80),
    })),
  }),
  digestQuery: (random) => ({ entries: unsigned(random, 48), digests: random.bytes(512) }),
  digestReply: (random) => ({ differs: buckets(random) }),
  lockQuery: (random) => ({
    name: text(random, 80) || 'a',
    token: random.bytes(16),
    shared: random.chance(0.5),
    leaseMillis: unsigned(random, 32),
    waitMillis: unsigned(random, 32),
  }),
  lockReply: (random) => ({
    held: random.chance(0.5),
    fencing: unsigned(random, 48),
    leaseMillis: unsigned(random, 32),
    ahead: unsigned(random, 32),
  }),
  unlockQuery: (random) => ({
    name: text(random, 80) || 'a',
    token: random.bytes(16),
    fencing: unsigned(random, 48),
  }),
  sessionWriteQuery: (random) => ({
    id: random.bytes(16),
    token: random.bytes(16),
    number: unsigned(random, 48),
    lifetimeSeconds: unsigned(random, 32),
    data: bytesUpTo(random, 640),
  }),
  sessionQuery: (random) => ({ id: random.bytes(16), token: random.bytes(16) }),
  sessionReply: (random) => ({
    number: unsigned(random, 48),
    remainingSeconds: unsigned(random, 32),
    stale: random.chance(0.2),
    data: bytesUpTo(random, 640),
  }),
  copyQuery: (random) => ({
    token: random.bytes(8),
    hash: random.bytes(32),
    bytes: unsigned(random, 48),
    sources: locations(random, 8),
  }),
};

/** A bit for each of 64 buckets: all, none or some. */
function buckets(random: Random): Uint8Array {
  return random.chance(0.5) ? new Uint8Array(8).fill(random.pick([0, 0xff])) : random.bytes(8);
}

function ends(random: Random): object {
  return {
    datagramBytesMax: unsigned(random, 16),
    windowBytes: unsigned(random, 32),
    idleMillis: unsigned(random, 32),
  };
}

function manyAnswer(random: Random, locationsCount: number, replica: () => number): object {
  const code = random.pick([0, 0, 3, 7, 8]);
  if (code === 7) return { code, retryMillis: unsigned(random, 32) };
  if (code !== 0) return { code };
  const replicas = locationsCount === 0 ? [] : list(random, 8, replica);
  return { code, bytes: unsigned(random, 48), replicas };
}
