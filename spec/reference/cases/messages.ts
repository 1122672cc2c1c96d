/** Cases of sections 2.7 and 6: every message, its truncations, its ranges and its texts. */

import { bytesOf, hexOf, type JsonObject, type MessageTitle } from '../json.ts';
import { bigEndian, join } from '../primitives.ts';
import { CaseList, counting, patched, type VectorFile } from '../vectors.ts';

const HASH = hexOf(counting(0xa0, 32));
const OTHER_HASH = hexOf(counting(0x20, 32));
const TOKEN = hexOf(counting(0x70, 8));
const NODE_ID = hexOf(counting(0x50, 16));
const RECEIPT = hexOf(counting(0xe0, 16));
const HOLDER = hexOf(counting(0x90, 16));
const USER_SESSION = hexOf(counting(0xc0, 16));
const ALL_BUCKETS = 'ff'.repeat(8);
const U48_MAX = 2 ** 48 - 1;
const LONGEST_TEXT = 'n'.repeat(80);

const LOCATION = { nodeId: NODE_ID, address: '10.0.0.7:7400' };
const LOCATION_6 = { nodeId: hexOf(counting(0x51, 16)), address: '[fe80::1]:7400' };
const NODE = {
  nodeId: NODE_ID,
  name: 'röhre-7',
  address: '10.0.0.7:7400',
  state: 0,
  quotaBytes: 10_000_000_000,
  freeBytes: 9_999_999_999,
  objects: 12,
  offload: true,
};

const COORDINATOR = { address: '10.0.0.1:7400', leads: true, answers: false, offload: true };
const MEMBER = {
  changed: 77,
  nodeId: NODE_ID,
  incarnation: 3,
  state: 0,
  name: 'röhre-7',
  address: '10.0.0.7:7400',
};

interface Example {
  readonly clauses: string;
  readonly values: readonly JsonObject[];
}

/** At least one value of every message; the first one is also cut short. */
const EXAMPLES: Readonly<Record<MessageTitle, Example>> = {
  'initiator parameters': {
    clauses: 'HS-15',
    values: [1, 2, 3].map((role) => ({
      role,
      datagramBytesMax: [65_507, 1_472, 0][role - 1]!,
      windowBytes: [4_194_304, 212_992, 2 ** 32 - 1][role - 1]!,
      idleTimeMs: 10_000 * role,
    })),
  },
  'responder parameters': {
    clauses: 'HS-16',
    values: [
      {
        sessionPort: 40_123,
        responderTag: '0102030405060708',
        datagramBytesMax: 62_000,
        windowBytes: 4_194_304,
        idleTimeMs: 10_000,
      },
      {
        sessionPort: 65_535,
        responderTag: 'ffffffffffffffff',
        datagramBytesMax: 65_535,
        windowBytes: 2 ** 32 - 1,
        idleTimeMs: 2 ** 32 - 1,
      },
    ],
  },
  'STATUS query': { clauses: 'MSG-1', values: [{ cursor: 0 }, { cursor: 2 ** 32 - 1 }] },
  'STATUS reply': {
    clauses: 'MSG-1 MSG-5 MSG-13 REP-7',
    values: [
      {
        revision: 77,
        stale: false,
        objects: 3,
        bytes: 123_456_789,
        nodesInAll: 2,
        ...{ repair: 1, missing: 0, copying: 0, surplus: 0 },
        coordinators: [
          COORDINATOR,
          { address: '[fe80::1]:7400', leads: false, answers: true, offload: false },
        ],
        nodes: [NODE, { ...NODE, name: '', state: 2, freeBytes: 0, offload: false }],
      },
      {
        revision: U48_MAX,
        stale: true,
        objects: U48_MAX,
        bytes: U48_MAX,
        nodesInAll: 2 ** 32 - 1,
        ...{ repair: 2, missing: 2 ** 32 - 1, copying: 2 ** 32 - 1, surplus: 2 ** 32 - 1 },
        coordinators: [],
        nodes: [],
      },
      {
        revision: 0,
        stale: false,
        objects: 0,
        bytes: 0,
        nodesInAll: 5,
        ...{ repair: 0, missing: 0, copying: 0, surplus: 0 },
        coordinators: [{ ...COORDINATOR, answers: true, address: '' }],
        nodes: [1, 2, 3, 4, 5].map((state) => ({ ...NODE, state })),
      },
      {
        revision: 1,
        stale: false,
        objects: 1,
        bytes: 1,
        nodesInAll: 33,
        ...{ repair: 2, missing: 12_000, copying: 8, surplus: 7 },
        coordinators: new Array(8).fill({ ...COORDINATOR, address: LONGEST_TEXT }),
        nodes: [{ ...NODE, name: LONGEST_TEXT, address: LONGEST_TEXT }],
      },
    ],
  },
  'WHERE_TO query': {
    clauses: 'DEFS-2 DEFS-6',
    values: [
      { token: TOKEN, size: 1_000_000, replicas: 2, hash: HASH },
      { token: TOKEN, size: 0, replicas: 1, hash: null },
      { token: TOKEN, size: U48_MAX, replicas: 8, hash: null },
    ],
  },
  'WHERE_TO reply': {
    clauses: 'DEFS-4',
    values: [
      { leaseMs: 30_000, revision: 5, locations: [LOCATION, LOCATION_6] },
      { leaseMs: 0, revision: 0, locations: [] },
      { leaseMs: 1, revision: 1, locations: new Array(8).fill({ ...LOCATION, address: LONGEST_TEXT }) },
    ],
  },
  'WHERE_IS query': { clauses: 'MSG-1', values: [{ hash: HASH }] },
  'WHERE_IS reply': {
    clauses: 'DEFS-9 LEAD-9',
    values: [
      { size: 4_096, revision: 6, stale: false, locations: [LOCATION] },
      { size: 0, revision: U48_MAX, stale: true, locations: [] },
    ],
  },
  'WHERE_IS_MANY query': {
    clauses: 'MSG-11',
    values: [{ hashes: [HASH, OTHER_HASH] }, { hashes: new Array(31).fill(HASH) }],
  },
  'WHERE_IS_MANY reply': {
    clauses: 'MSG-11 MSG-12 DEFS-27 LEAD-9',
    values: [
      {
        revision: 9,
        stale: true,
        locations: [LOCATION, LOCATION_6],
        answers: [
          { code: 0, size: 70, replicas: [1, 0] },
          { code: 3 },
          { code: 7, retryAfterMs: 500 },
          { code: 8 },
          { code: 0, size: 0, replicas: [] },
        ],
      },
      { revision: 0, stale: false, locations: [], answers: [{ code: 3 }] },
      {
        revision: 0,
        stale: false,
        locations: new Array(8).fill(LOCATION),
        answers: new Array(31).fill({ code: 8 }),
      },
    ],
  },
  'COMMIT query': {
    clauses: 'DEFS-8 MSG-7 REP-1',
    values: [
      {
        token: TOKEN,
        hash: HASH,
        size: 1_000,
        replicas: 2,
        receipts: [{ nodeId: NODE_ID, receipt: RECEIPT }],
      },
      { token: TOKEN, hash: HASH, size: 0, replicas: 1, receipts: [] },
      {
        token: TOKEN,
        hash: HASH,
        size: 1,
        replicas: 8,
        receipts: new Array(8).fill({ nodeId: NODE_ID, receipt: RECEIPT }),
      },
    ],
  },
  'COMMIT reply': { clauses: 'DEFS-16', values: [{ revision: 8 }] },
  'RELEASE query': { clauses: 'MSG-1', values: [{ token: TOKEN }] },
  'RELEASE reply': { clauses: 'MSG-1', values: [{}] },
  'RENEW query': { clauses: 'MSG-1', values: [{ token: TOKEN }] },
  'RENEW reply': { clauses: 'MSG-1', values: [{}] },
  'REMOVE query': { clauses: 'MSG-1 DEFS-30', values: [{ token: TOKEN, hash: HASH }] },
  'REMOVE reply': { clauses: 'MSG-1', values: [{}] },
  'JOIN query': {
    clauses: 'MSG-4 REP-6',
    values: [
      {
        nodeId: NODE_ID,
        incarnation: 3,
        name: 'disk-3',
        address: '0.0.0.0:7400',
        quotaBytes: 5_000_000_000,
        freeBytes: 4_000_000_000,
        offload: true,
        draining: false,
      },
      {
        nodeId: NODE_ID,
        incarnation: U48_MAX,
        name: LONGEST_TEXT,
        address: '[::]:1',
        quotaBytes: U48_MAX,
        freeBytes: 0,
        offload: false,
        draining: true,
      },
    ],
  },
  'JOIN reply': { clauses: 'ADM-3', values: [{ nonce: OTHER_HASH }] },
  'ADMIT query': { clauses: 'ADM-1', values: [{ proof: HASH }] },
  'ADMIT reply': {
    clauses: 'ADM-8',
    values: [{ clusterId: hexOf(counting(0x80, 16)), address: '10.0.0.7:7400', proof: HASH }],
  },
  'INVENTORY query': {
    clauses: 'MSG-8 DIG-3',
    values: [
      { entries: 10_000_000, buckets: ALL_BUCKETS },
      { entries: 0, buckets: '0100000000000080' },
      { entries: U48_MAX, buckets: '00'.repeat(8) },
    ],
  },
  'INVENTORY reply': { clauses: 'MSG-1', values: [{}] },
  'SETTLE query': {
    clauses: 'MSG-9',
    values: [
      { entries: [{ token: TOKEN, hash: HASH }] },
      { entries: new Array(20).fill({ token: TOKEN, hash: OTHER_HASH }) },
    ],
  },
  'SETTLE reply': {
    clauses: 'MSG-9',
    values: [{ settlements: [0, 1, 2] }, { settlements: new Array(20).fill(1) }],
  },
  'CORRUPT query': { clauses: 'DEFS-19', values: [{ hash: HASH }] },
  'CORRUPT reply': { clauses: 'MSG-1', values: [{}] },
  'MEMBERS query': {
    clauses: 'MEM-3',
    values: [
      { after: 77, afterId: NODE_ID, waitMs: 30_000 },
      { after: 0, afterId: '00'.repeat(16), waitMs: 0 },
      { after: U48_MAX, afterId: 'ff'.repeat(16), waitMs: 2 ** 32 - 1 },
    ],
  },
  'MEMBERS reply': {
    clauses: 'MEM-3 MSG-5',
    values: [
      { revision: 78, full: false, members: [MEMBER, { ...MEMBER, changed: 78, name: '', state: 5 }] },
      { revision: U48_MAX, full: true, members: [] },
      {
        revision: 9,
        full: true,
        members: new Array(32).fill({ ...MEMBER, name: '', address: '' }).map((member, index) => ({
          ...member,
          state: index % 6,
        })),
      },
      { revision: 1, full: false, members: [{ ...MEMBER, name: LONGEST_TEXT, address: LONGEST_TEXT }] },
    ],
  },
  'DIGEST query': {
    clauses: 'DIG-1',
    values: [
      { entries: 1, digests: `${'00'.repeat(8 * 32)}a8a9aaabacadaeaf${'00'.repeat(8 * 31)}` },
      { entries: 0, digests: '00'.repeat(512) },
      { entries: U48_MAX, digests: 'ff'.repeat(512) },
    ],
  },
  'DIGEST reply': {
    clauses: 'DIG-2',
    values: [{ differs: '0000000001000080' }, { differs: 'ff'.repeat(8) }, { differs: '00'.repeat(8) }],
  },
  'LOCK query': {
    clauses: 'LOCK-1',
    values: [
      { name: 'nightly build', token: HOLDER, shared: false, leaseMs: 30_000, waitMs: 10_000 },
      { name: 'é', token: HOLDER, shared: true, leaseMs: 1_000, waitMs: 0 },
      { name: LONGEST_TEXT, token: HOLDER, shared: true, leaseMs: 3_600_000, waitMs: 2 ** 32 - 1 },
    ],
  },
  'LOCK reply': {
    clauses: 'LOCK-3 LOCK-4',
    values: [
      { held: true, fencingToken: 12, leaseMs: 30_000, ahead: 0 },
      { held: false, fencingToken: 0, leaseMs: 1_000, ahead: 1_023 },
      { held: true, fencingToken: U48_MAX, leaseMs: 2 ** 32 - 1, ahead: 2 ** 32 - 1 },
    ],
  },
  'UNLOCK query': {
    clauses: 'LOCK-1 LOCK-5',
    values: [
      { name: 'nightly build', token: HOLDER, fencingToken: 12 },
      { name: LONGEST_TEXT, token: HOLDER, fencingToken: 0 },
    ],
  },
  'UNLOCK reply': { clauses: 'MSG-1', values: [{}] },
  'SESSION_WRITE query': {
    clauses: 'USR-1 USR-2',
    values: [
      { id: USER_SESSION, token: HOLDER, number: 1, lifetimeS: 3_600, data: '7b7d' },
      { id: USER_SESSION, token: HOLDER, number: U48_MAX, lifetimeS: 31_536_000, data: '' },
      { id: USER_SESSION, token: HOLDER, number: 2, lifetimeS: 1, data: 'd7'.repeat(640) },
    ],
  },
  'SESSION_WRITE reply': { clauses: 'USR-4', values: [{}] },
  'SESSION_READ query': { clauses: 'MSG-1', values: [{ id: USER_SESSION, token: HOLDER }] },
  'SESSION_READ reply': {
    clauses: 'USR-2 LEAD-9',
    values: [
      { number: 2, remainingS: 3_599, stale: false, data: '7b7d' },
      { number: U48_MAX, remainingS: 2 ** 32 - 1, stale: true, data: 'd7'.repeat(640) },
      { number: 1, remainingS: 0, stale: false, data: '' },
    ],
  },
  'SESSION_END query': { clauses: 'MSG-1', values: [{ id: USER_SESSION, token: HOLDER }] },
  'SESSION_END reply': { clauses: 'USR-4', values: [{}] },
  'STORE query': { clauses: 'DEFS-20', values: [{ token: TOKEN, size: 65_536 }] },
  'STORE reply': { clauses: 'DEFS-8', values: [{ hash: HASH, receipt: RECEIPT }] },
  'READ query': {
    clauses: 'DEFS-13',
    values: [
      { hash: HASH, offset: 0, length: 0, creditBytes: 1_048_576, recordBytes: 65_536 },
      { hash: HASH, offset: U48_MAX, length: U48_MAX, creditBytes: U48_MAX, recordBytes: 2 ** 32 - 1 },
    ],
  },
  'READ reply': { clauses: 'DEFS-13', values: [{ size: 70_000 }] },
  'DELETE query': { clauses: 'ADM-5', values: [{ hash: HASH }] },
  'DELETE reply': { clauses: 'MSG-1', values: [{}] },
  'COPY query': {
    clauses: 'REP-4 MSG-7',
    values: [
      { token: TOKEN, hash: HASH, size: 1_000, sources: [LOCATION, LOCATION_6] },
      { token: TOKEN, hash: HASH, size: 0, sources: [] },
      {
        token: TOKEN,
        hash: HASH,
        size: U48_MAX,
        sources: new Array(8).fill({ ...LOCATION, address: LONGEST_TEXT }),
      },
    ],
  },
  'COPY reply': { clauses: 'REP-4 DEFS-20', values: [{ hash: HASH, receipt: RECEIPT }] },
  'LOAD notice': {
    clauses: 'MSG-2 MSG-3',
    values: [
      { freeBytes: 4_096, objects: 2, full: false },
      { freeBytes: 0, objects: U48_MAX, full: true },
    ],
  },
  'BUSY body': { clauses: 'MSG-10', values: [{ retryAfterMs: 500 }, { retryAfterMs: 0 }] },
  'NO_SPACE body': { clauses: 'DEFS-5', values: [{ freeBytes: 1_000, nodesUp: 3 }] },
  'NOT_LEADER body': {
    clauses: 'LEAD-5',
    values: [
      { epoch: 4, address: '10.0.0.1:7400' },
      { epoch: 0, address: '' },
      { epoch: U48_MAX, address: LONGEST_TEXT },
    ],
  },
};

export function messageFile(): VectorFile {
  const cases = new CaseList('Messages');
  for (const [message, { clauses, values }] of Object.entries(EXAMPLES)) {
    values.forEach((value, index) => {
      const which = values.length === 1 ? message : `${message} ${index + 1}`;
      const { bytes } = cases.takes(`write ${which}`, `${clauses} PKT-9`, 'message.encode', {
        message,
        value,
      });
      cases.takes(`read ${which}`, `${clauses} PKT-9`, 'message.decode', { message, bytes: bytes! });
      if (index === 0) addLengths(cases, message, bytesOf(bytes as string));
    });
  }
  addChanges(cases);
  addTexts(cases);
  addLists(cases);
  addHolders(cases);
  return cases.file;
}

/** [PKT-4]: every shorter form of short messages, some of long ones, and one byte more. */
function addLengths(cases: CaseList, message: string, bytes: Uint8Array): void {
  const read = (what: string, changed: Uint8Array): void =>
    cases.refuses(`${message}, ${what}`, 'PKT-4', 'message.decode', { message, bytes: hexOf(changed) });
  for (let length = 0; length < bytes.length; length++) {
    if (length > 12 && length % 8 !== 7 && length !== bytes.length - 1) continue;
    read(`only ${length} bytes`, bytes.slice(0, length));
  }
  read('one byte too many', join(bytes, [0]));
}

/** A STATUS reply before its lists. */
const STATUS_HEAD_BYTES = 6 + 1 + 6 + 6 + 4 + 1 + 4 + 4 + 4;

/** Where `leads` of the first coordinator stands in the first example of a STATUS reply. */
const COORDINATOR_FLAGS_AT = STATUS_HEAD_BYTES + 1 + 1 + 13;

/** One byte of a valid message made into one that its field does not have. */
function addChanges(cases: CaseList): void {
  const change = (
    name: string,
    clauses: string,
    message: MessageTitle,
    at: number,
    ...values: number[]
  ): void => {
    const bytes = patched(bytesOf(encoded(message)), at, ...values);
    cases.refuses(name, clauses, 'message.decode', { message, bytes: hexOf(bytes) });
  };
  for (const role of [0, 4, 255]) change(`role ${role}`, 'HS-15 MSG-3', 'initiator parameters', 0, role);
  for (const flag of [2, 128, 255]) {
    change(`full = ${flag}`, 'MSG-3', 'LOAD notice', 12, flag);
    change(`has hash = ${flag}`, 'MSG-3', 'WHERE_TO query', 15, flag);
    change(`stale = ${flag} of STATUS`, 'MSG-3', 'STATUS reply', 6, flag);
    change(`leads = ${flag}`, 'MSG-3', 'STATUS reply', COORDINATOR_FLAGS_AT, flag);
    change(`answers = ${flag}`, 'MSG-3', 'STATUS reply', COORDINATOR_FLAGS_AT + 1, flag);
    change(`offload of the coordinator = ${flag}`, 'MSG-3', 'STATUS reply', COORDINATOR_FLAGS_AT + 2, flag);
    change(`stale = ${flag} of WHERE_IS`, 'MSG-3', 'WHERE_IS reply', 12, flag);
    change(`stale = ${flag} of WHERE_IS_MANY`, 'MSG-3', 'WHERE_IS_MANY reply', 6, flag);
    change(`full = ${flag} of MEMBERS`, 'MSG-3', 'MEMBERS reply', 6, flag);
    change(`shared = ${flag}`, 'MSG-3', 'LOCK query', 1 + 13 + 16, flag);
    change(`held = ${flag}`, 'MSG-3', 'LOCK reply', 0, flag);
    change(`stale = ${flag} of SESSION_READ`, 'MSG-3', 'SESSION_READ reply', 10, flag);
    const joinEnd = bytesOf(encoded('JOIN query')).length;
    change(`offload of a node = ${flag}`, 'MSG-3', 'JOIN query', joinEnd - 2, flag);
    change(`draining = ${flag}`, 'MSG-3', 'JOIN query', joinEnd - 1, flag);
  }
  for (const replicas of [0, 9, 255]) {
    change(`${replicas} replicas`, 'DEFS-6', 'WHERE_TO query', 14, replicas);
    change(`${replicas} replicas of COMMIT`, 'DEFS-6', 'COMMIT query', 46, replicas);
  }
  const state = COORDINATOR_FLAGS_AT + 3 + (1 + 14 + 3) + 1 + 16 + 1 + 8 + 1 + 13;
  for (const value of [6, 255]) {
    change(`state ${value} of a node`, 'MSG-3 MSG-5', 'STATUS reply', state, value);
    change(`state ${value} of a member`, 'MSG-3 MSG-5', 'MEMBERS reply', 8 + 6 + 16 + 6, value);
  }
  for (const value of [3, 255]) change(`repair ${value}`, 'MSG-3 REP-7', 'STATUS reply', 23, value);
  for (const value of [3, 255]) change(`settlement ${value}`, 'MSG-3 MSG-9', 'SETTLE reply', 2, value);
  change('has hash = 0, and a hash', 'PKT-4', 'WHERE_TO query', 15, 0);
}

function addTexts(cases: CaseList): void {
  const bytes = bytesOf(encoded('JOIN query'));
  const joined = (name: readonly number[]): Uint8Array =>
    join(bytes.slice(0, 22), [name.length], name, bytes.slice(22 + 1 + 6));
  const read = (what: string, clauses: string, name: readonly number[]): void =>
    cases.refuses(`JOIN query, name ${what}`, clauses, 'message.decode', {
      message: 'JOIN query',
      bytes: hexOf(joined(name)),
    });
  read('of 81 bytes', 'MSG-4', new Array<number>(81).fill(0x6e));
  read('of 255 bytes', 'MSG-4', new Array<number>(255).fill(0x6e));
  read('with half a letter', 'PKT-14', [0x61, 0xc3]);
  read('with an overlong letter', 'PKT-14', [0xc1, 0xa1]);
  read('with an overlong euro', 'PKT-14', [0xf0, 0x82, 0x82, 0xac]);
  read('with a surrogate', 'PKT-14', [0xed, 0xbf, 0xbf]);
  read('with a point above U+10FFFF', 'PKT-14', [0xf5, 0x80, 0x80, 0x80]);
  read('with a tail alone', 'PKT-14', [0x61, 0x80, 0x61]);
  for (const [what, name] of Object.entries({
    'with a byte order mark': [0xef, 0xbb, 0xbf, 0x61],
    'with a zero': [0x61, 0, 0x62],
    'with U+10FFFF': [0xf4, 0x8f, 0xbf, 0xbf],
    'with a letter and its accent apart': [0x65, 0xcc, 0x81],
    'of no byte': [],
  })) {
    cases.takes(`JOIN query, name ${what}`, 'PKT-14', 'message.decode', {
      message: 'JOIN query',
      bytes: hexOf(joined(name)),
    });
  }
  cases.refuses('write JOIN query, name of 81 bytes', 'MSG-4', 'message.encode', {
    message: 'JOIN query',
    value: { ...EXAMPLES['JOIN query'].values[0]!, name: 'n'.repeat(81) },
  });
}

function addLists(cases: CaseList): void {
  const read = (name: string, clauses: string, message: MessageTitle, bytes: Uint8Array): void =>
    cases.refuses(name, clauses, 'message.decode', { message, bytes: hexOf(bytes) });
  const location = join(bytesOf(NODE_ID), [3], [0x61, 0x3a, 0x31]);
  const many = (count: number, item: Uint8Array): Uint8Array =>
    join(...new Array<Uint8Array>(count).fill(item));
  const hash = bytesOf(HASH);
  read(
    'WHERE_TO reply with 9 locations',
    'MSG-7',
    'WHERE_TO reply',
    join(new Uint8Array(10), [9], many(9, location)),
  );
  read(
    'WHERE_IS reply with 9 locations',
    'MSG-7',
    'WHERE_IS reply',
    join(new Uint8Array(13), [9], many(9, location)),
  );
  read(
    'WHERE_IS reply that states 255 locations',
    'MSG-7 PKT-16',
    'WHERE_IS reply',
    join(new Uint8Array(13), [255]),
  );
  const receipt = join(bytesOf(NODE_ID), bytesOf(RECEIPT));
  read(
    'COMMIT query with 9 receipts',
    'MSG-7',
    'COMMIT query',
    join(new Uint8Array(46), [1, 9], many(9, receipt)),
  );
  read('WHERE_IS_MANY query without a hash', 'MSG-11', 'WHERE_IS_MANY query', Uint8Array.of(0));
  read('WHERE_IS_MANY query with 32 hashes', 'MSG-11', 'WHERE_IS_MANY query', join([32], many(32, hash)));
  const entry = join(bytesOf(TOKEN), hash);
  read('SETTLE query with 21 entries', 'MSG-9', 'SETTLE query', join([21], many(21, entry)));
  read('SETTLE reply with 21 settlements', 'MSG-9', 'SETTLE reply', join([21], new Uint8Array(21)));
  const node = join(bytesOf(NODE_ID), [0, 0, 0], new Uint8Array(18), [0]);
  read(
    'STATUS reply with 33 nodes',
    'MSG-7',
    'STATUS reply',
    join(new Uint8Array(STATUS_HEAD_BYTES + 1), [33], many(33, node)),
  );
  const coordinator = Uint8Array.of(0, 0, 0, 0);
  read(
    'STATUS reply with 9 coordinators',
    'MSG-13 MSG-7',
    'STATUS reply',
    join(new Uint8Array(STATUS_HEAD_BYTES), [9], many(9, coordinator), [0]),
  );
  const member = new Uint8Array(6 + 16 + 6 + 1 + 1 + 1);
  read(
    'MEMBERS reply with 33 members',
    'MSG-7 MEM-3',
    'MEMBERS reply',
    join(new Uint8Array(7), [33], many(33, member)),
  );
  read(
    'COPY query with 9 sources',
    'MSG-7 REP-4',
    'COPY query',
    join(new Uint8Array(46), [9], many(9, location)),
  );
  const reply = (locations: number, ...answers: readonly (readonly number[])[]): Uint8Array =>
    join(
      new Uint8Array(7),
      [locations],
      many(locations, join(bytesOf(NODE_ID), [0])),
      [answers.length],
      ...answers,
    );
  const found = (...replicas: readonly number[]): number[] => [
    0,
    ...bigEndian(5, 6),
    replicas.length,
    ...replicas,
  ];
  const ill = (name: string, clauses: string, bytes: Uint8Array): void =>
    read(`WHERE_IS_MANY reply ${name}`, clauses, 'WHERE_IS_MANY reply', bytes);
  ill('without an answer', 'MSG-11', reply(1));
  ill('with 32 answers', 'MSG-11', reply(0, ...new Array<number[]>(32).fill([3])));
  ill('with 60 locations', 'MSG-11', reply(60, [3]));
  ill('with an index behind the locations', 'MSG-12', reply(2, found(2)));
  ill('with the index 255', 'MSG-12', reply(2, found(0, 255)));
  ill('with an index and no locations', 'MSG-12', reply(0, found(0)));
  ill('with 9 replicas', 'MSG-7', reply(1, found(0, 0, 0, 0, 0, 0, 0, 0, 0)));
  for (const code of [1, 2, 4, 5, 6, 9, 10, 11, 12, 13, 14, 255]) {
    ill(`with an answer of code ${code}`, 'MSG-12', reply(1, [code]));
  }
  ill('with BUSY cut short', 'PKT-4', reply(1, [7, 0, 0, 1]));
  cases.takes('WHERE_IS_MANY reply with 59 locations', 'MSG-11', 'message.decode', {
    message: 'WHERE_IS_MANY reply',
    bytes: hexOf(reply(59, found(58))),
  });
  const written: readonly [string, string, MessageTitle, JsonObject][] = [
    [
      'COMMIT query with 9 receipts',
      'MSG-7',
      'COMMIT query',
      {
        token: TOKEN,
        hash: HASH,
        size: 1,
        replicas: 8,
        receipts: new Array(9).fill({ nodeId: NODE_ID, receipt: RECEIPT }),
      },
    ],
    [
      'COMMIT query of 0 replicas',
      'DEFS-6',
      'COMMIT query',
      { token: TOKEN, hash: HASH, size: 1, replicas: 0, receipts: [] },
    ],
    [
      'STATUS reply with 9 coordinators',
      'MSG-13',
      'STATUS reply',
      {
        ...EXAMPLES['STATUS reply'].values[1]!,
        coordinators: new Array(9).fill({ ...COORDINATOR, address: '' }),
      },
    ],
    ['WHERE_IS_MANY query without a hash', 'MSG-11', 'WHERE_IS_MANY query', { hashes: [] }],
    ['a hash of 31 bytes', 'PKT-9', 'WHERE_IS query', { hash: HASH.slice(2) }],
    ['a size of 2^48', 'PKT-9', 'STORE query', { token: TOKEN, size: 2 ** 48 }],
    [
      'STATUS reply with a node in state 6',
      'MSG-3 MSG-5',
      'STATUS reply',
      { ...EXAMPLES['STATUS reply'].values[0]!, nodes: [{ ...NODE, state: 6 }] },
    ],
    [
      'STATUS reply with repair 3',
      'MSG-3 REP-7',
      'STATUS reply',
      { ...EXAMPLES['STATUS reply'].values[0]!, repair: 3 },
    ],
    [
      'MEMBERS reply with a member in state 6',
      'MSG-3 MSG-5',
      'MEMBERS reply',
      { revision: 0, full: false, members: [{ ...MEMBER, state: 6 }] },
    ],
    ['a settlement of 3', 'MSG-3 MSG-9', 'SETTLE reply', { settlements: [3] }],
  ];
  for (const [name, clauses, message, value] of written) {
    cases.refuses(`write ${name}`, clauses, 'message.encode', { message, value });
  }
}

/** Names of locks, data of user sessions, and what else is 64 of something. */
function addHolders(cases: CaseList): void {
  const read = (name: string, clauses: string, message: MessageTitle, bytes: Uint8Array): void =>
    cases.refuses(name, clauses, 'message.decode', { message, bytes: hexOf(bytes) });
  const write = (name: string, clauses: string, message: MessageTitle, change: JsonObject): void => {
    const value = { ...EXAMPLES[message].values[0]!, ...change };
    cases.refuses(`write ${name}`, clauses, 'message.encode', { message, value });
  };
  for (const message of ['LOCK query', 'UNLOCK query'] as const) {
    const behind = bytesOf(encoded(message)).slice(1 + 13);
    const named = (name: readonly number[]): Uint8Array => join([name.length], name, behind);
    read(`${message} without a name`, 'LOCK-1', message, named([]));
    read(`${message}, name of 81 bytes`, 'LOCK-1', message, named(new Array<number>(81).fill(0x6e)));
    read(`${message}, name of 255 bytes`, 'LOCK-1', message, named(new Array<number>(255).fill(0x6e)));
    read(`${message}, name with half a letter`, 'LOCK-1 PKT-14', message, named([0x61, 0xc3]));
    write(`${message} without a name`, 'LOCK-1', message, { name: '' });
    write(`${message}, name of 81 bytes`, 'LOCK-1', message, { name: 'n'.repeat(81) });
    write(`${message}, token of 15 bytes`, 'LOCK-1', message, { token: HOLDER.slice(2) });
    cases.takes(`${message}, name of one byte`, 'LOCK-1', 'message.decode', {
      message,
      bytes: hexOf(named([0])),
    });
  }
  for (const [message, dataAt] of [
    ['SESSION_WRITE query', 42],
    ['SESSION_READ reply', 11],
  ] as const) {
    const head = bytesOf(encoded(message)).slice(0, dataAt);
    const holding = (stated: number, count: number): Uint8Array =>
      join(head, bigEndian(stated, 2), new Uint8Array(count));
    read(`${message}, data of 641 bytes`, 'USR-2', message, holding(641, 641));
    read(`${message} that states 65,535 bytes`, 'USR-2 PKT-16', message, holding(65_535, 640));
    read(`${message} with fewer bytes than it states`, 'PKT-4', message, holding(640, 639));
    read(`${message} with more bytes than it states`, 'PKT-4', message, holding(639, 640));
    write(`${message}, data of 641 bytes`, 'USR-2', message, { data: 'd7'.repeat(641) });
  }
  write('DIGEST query of 63 digests', 'DIG-1', 'DIGEST query', { digests: '00'.repeat(63 * 8) });
  write('DIGEST query of 65 digests', 'DIG-1', 'DIGEST query', { digests: '00'.repeat(65 * 8) });
  write('DIGEST reply of 7 bytes', 'DIG-2', 'DIGEST reply', { differs: '00'.repeat(7) });
  write('INVENTORY query, buckets of 9 bytes', 'MSG-8', 'INVENTORY query', { buckets: '00'.repeat(9) });
  write('NOT_LEADER body, address of 81 bytes', 'LEAD-5 MSG-4', 'NOT_LEADER body', {
    address: 'a'.repeat(81),
  });
  write('MEMBERS query, id of 15 bytes', 'MEM-3', 'MEMBERS query', { afterId: NODE_ID.slice(2) });
}

/** The bytes of the first example of a message. */
function encoded(message: MessageTitle): string {
  const scratch = new CaseList('scratch');
  const value = EXAMPLES[message].values[0]!;
  return scratch.takes('x', 'PKT-9', 'message.encode', { message, value }).bytes as string;
}
