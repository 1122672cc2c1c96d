import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as twin from '../../spec/reference/codec.ts';
import { MESSAGES, type MessageName } from '../../spec/reference/messages.ts';
import { fromHex, toHex } from '../../src/base/bytes.ts';
import * as wire from '../../src/wire/index.ts';
import { messages } from './arbitraries.ts';
import { type Subject, testCodecLaws, testExactLength } from './codec-laws.ts';

const names = Object.keys(MESSAGES) as MessageName[];

const exported = new Map<string, unknown>(Object.entries(wire));

function codecOf(name: MessageName): wire.Codec<unknown> {
  return exported.get(name) as wire.Codec<unknown>;
}

function subjectOf(name: MessageName): Subject<unknown> {
  const codec = codecOf(name);
  return {
    arbitrary: messages[name],
    size: (value) => codec.size(value),
    encode: (value) => wire.encodeMessage(codec, value),
    decode: (bytes) => {
      const result = wire.decodeMessage(codec, bytes);
      return typeof result === 'string' ? undefined : result;
    },
    twinEncode: (value) => twin.encodeMessage(name, value),
    twinDecode: (bytes) => twin.decodeMessage(name, bytes),
  };
}

test('every codec of the wire has a twin, and is tested here', () => {
  const codecs = [...exported].flatMap(([name, value]) =>
    typeof value === 'object' && value !== null && 'decode' in value && 'size' in value ? [name] : [],
  );
  expect(codecs.sort()).toEqual([...names].sort());
});

describe.each(names)('%s', (name) => {
  const subject = subjectOf(name);
  testCodecLaws(subject, 60);
  testExactLength(subject, messages[name], 20);

  test('is refused with trailing bytes [PKT-4]', () => {
    fc.assert(
      fc.property(messages[name], fc.uint8Array({ minLength: 1, maxLength: 5 }), (value, more) => {
        const bytes = Uint8Array.from([...subject.encode(value), ...more]);
        expect(wire.decodeMessage(codecOf(name), bytes)).toBe('trailing');
      }),
      { numRuns: 20 },
    );
  });
});

const hex = (text: string): Uint8Array => fromHex(text.replaceAll(/\s/g, ''))!;
const times = (byte: number, count: number): Uint8Array => new Uint8Array(count).fill(byte);

describe('messages, byte by byte', () => {
  test.each([
    [
      'initiatorParameters',
      '01 ffe3 00034000 00007530',
      { role: 1, datagramBytesMax: 65_507, windowBytes: 212_992, idleMillis: 30_000 },
    ],
    [
      'responderParameters',
      'c000 01020304a5a6a7a8 05c0 00034000 00007530',
      {
        port: 49_152,
        tag: { high: 0x01020304, low: 0xa5a6a7a8 },
        datagramBytesMax: 1_472,
        windowBytes: 212_992,
        idleMillis: 30_000,
      },
    ],
    ['emptyMessage', '', {}],
    [
      'whereToQuery',
      `1111111111111111 000100000000 03 01 ${'22'.repeat(32)}`,
      { token: times(0x11, 8), bytes: 2 ** 32, replicas: 3, hash: times(0x22, 32) },
    ],
    [
      'whereToQuery',
      '1111111111111111 000000000000 01 00',
      { token: times(0x11, 8), bytes: 0, replicas: 1, hash: undefined },
    ],
    [
      'whereToReply',
      `0000ea60 000000000009 01 ${'33'.repeat(16)} 03 613a31`,
      { leaseMillis: 60_000, revision: 9, locations: [{ nodeId: times(0x33, 16), address: 'a:1' }] },
    ],
    [
      'whereIsManyQuery',
      `02 ${'22'.repeat(32)} ${'23'.repeat(32)}`,
      { hashes: [times(0x22, 32), times(0x23, 32)] },
    ],
    [
      'whereIsManyReply',
      `000000000009 01 02 ${'33'.repeat(16)} 03 613a31 ${'34'.repeat(16)} 03 623a31
       05 00 000100000000 02 01 00 03 07 000001f4 08 00 000000000000 00`,
      {
        revision: 9,
        stale: true,
        locations: [
          { nodeId: times(0x33, 16), address: 'a:1' },
          { nodeId: times(0x34, 16), address: 'b:1' },
        ],
        answers: [
          { code: 0, bytes: 2 ** 32, replicas: [1, 0] },
          { code: 3 },
          { code: 7, retryMillis: 500 },
          { code: 8 },
          { code: 0, bytes: 0, replicas: [] },
        ],
      },
    ],
    ['settleReply', '03 00 01 02', { settlements: [0, 1, 2] }],
    ['loadNotice', '000000000001 000000000002 01', { freeBytes: 1, objects: 2, full: true }],
    ['busyReply', 'ffffffff', { retryMillis: 2 ** 32 - 1 }],
    [
      'statusReply',
      `000000000009 01 00000000000a 00000000000b 0000000c 02 0000000f 00000010 00000011 01 03 613a31 01 00 01
       01 ${'33'.repeat(16)} 01 62 03 623a31 03 000100000000 00000000000d 00000000000e 01`,
      {
        revision: 9,
        stale: true,
        objects: 10,
        bytes: 11,
        nodesTotal: 12,
        ...{ repair: 2, missing: 15, copying: 16, surplus: 17 },
        coordinators: [{ address: 'a:1', leads: true, answers: false, offload: true }],
        nodes: [
          {
            nodeId: times(0x33, 16),
            name: 'b',
            address: 'b:1',
            state: 3,
            quotaBytes: 2 ** 32,
            freeBytes: 13,
            objects: 14,
            offload: true,
          },
        ],
      },
    ],
    [
      'whereIsReply',
      `000100000000 000000000009 01 01 ${'33'.repeat(16)} 03 613a31`,
      {
        bytes: 2 ** 32,
        revision: 9,
        stale: true,
        locations: [{ nodeId: times(0x33, 16), address: 'a:1' }],
      },
    ],
    [
      'commitQuery',
      `1111111111111111 ${'22'.repeat(32)} 000100000000 03 01 ${'33'.repeat(16)} ${'44'.repeat(16)}`,
      {
        token: times(0x11, 8),
        hash: times(0x22, 32),
        bytes: 2 ** 32,
        replicas: 3,
        receipts: [{ nodeId: times(0x33, 16), receipt: times(0x44, 16) }],
      },
    ],
    [
      'joinQuery',
      `${'33'.repeat(16)} 000000000007 01 6e 03 613a31 000100000000 000000000002 00 01`,
      {
        nodeId: times(0x33, 16),
        incarnation: 7,
        name: 'n',
        address: 'a:1',
        quotaBytes: 2 ** 32,
        freeBytes: 2,
        offload: false,
        draining: true,
      },
    ],
    [
      'inventoryQuery',
      '000100000000 0102030405060780',
      { entries: 2 ** 32, buckets: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 0x80) },
    ],
    ['notLeaderReply', '000100000000 03 613a31', { epoch: 2 ** 32, address: 'a:1' }],
    [
      'membersQuery',
      `000100000000 ${'33'.repeat(16)} 00007530`,
      { after: 2 ** 32, afterId: times(0x33, 16), waitMillis: 30_000 },
    ],
    [
      'membersReply',
      `000100000000 01 01 000000000009 ${'33'.repeat(16)} 000000000007 05 01 6e 03 613a31`,
      {
        revision: 2 ** 32,
        full: true,
        members: [
          {
            changed: 9,
            nodeId: times(0x33, 16),
            incarnation: 7,
            state: 5,
            name: 'n',
            address: 'a:1',
          },
        ],
      },
    ],
    ['digestQuery', `000100000000 ${'55'.repeat(512)}`, { entries: 2 ** 32, digests: times(0x55, 512) }],
    ['digestReply', '0100000000000080', { differs: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0x80) }],
    [
      'lockQuery',
      `01 6c ${'66'.repeat(16)} 01 00007530 00002710`,
      { name: 'l', token: times(0x66, 16), shared: true, leaseMillis: 30_000, waitMillis: 10_000 },
    ],
    [
      'lockReply',
      '00 000100000000 00007530 000003ff',
      { held: false, fencing: 2 ** 32, leaseMillis: 30_000, ahead: 1_023 },
    ],
    [
      'unlockQuery',
      `01 6c ${'66'.repeat(16)} 000100000000`,
      { name: 'l', token: times(0x66, 16), fencing: 2 ** 32 },
    ],
    [
      'sessionWriteQuery',
      `${'77'.repeat(16)} ${'66'.repeat(16)} 000100000000 01e13380 0003 010203`,
      {
        id: times(0x77, 16),
        token: times(0x66, 16),
        number: 2 ** 32,
        lifetimeSeconds: 31_536_000,
        data: Uint8Array.of(1, 2, 3),
      },
    ],
    [
      'sessionQuery',
      `${'77'.repeat(16)} ${'66'.repeat(16)}`,
      { id: times(0x77, 16), token: times(0x66, 16) },
    ],
    [
      'sessionReply',
      `000100000000 00000e10 01 0280 ${'88'.repeat(640)}`,
      { number: 2 ** 32, remainingSeconds: 3_600, stale: true, data: times(0x88, 640) },
    ],
    [
      'copyQuery',
      `1111111111111111 ${'22'.repeat(32)} 000100000000 01 ${'33'.repeat(16)} 03 613a31`,
      {
        token: times(0x11, 8),
        hash: times(0x22, 32),
        bytes: 2 ** 32,
        sources: [{ nodeId: times(0x33, 16), address: 'a:1' }],
      },
    ],
  ] as [MessageName, string, unknown][])('%s %s', (name, text, message) => {
    expect(toHex(wire.encodeMessage(codecOf(name), message))).toBe(toHex(hex(text)));
    expect(wire.decodeMessage(codecOf(name), hex(text))).toStrictEqual(message);
    expect(twin.encodeMessage(name, message)).toEqual([...hex(text)]);
    expect(twin.decodeMessage(name, [...hex(text)])).toStrictEqual(message);
  });

  test.each([
    ['a role of 0', 'initiatorParameters', '00 ffe3 00034000 00007530'],
    ['a role of 4', 'initiatorParameters', '04 ffe3 00034000 00007530'],
    ['0 replicas', 'whereToQuery', '1111111111111111 000000000000 00 00'],
    ['9 replicas', 'whereToQuery', '1111111111111111 000000000000 09 00'],
    ['a flag of 2', 'loadNotice', '000000000001 000000000002 02'],
    ['a settlement of 3', 'settleReply', '01 03'],
    ['21 settlements', 'settleReply', `15 ${'00'.repeat(21)}`],
    ['9 locations', 'whereToReply', `00000000 09 ${`${'33'.repeat(16)} 00`.repeat(9)}`],
    ['9 receipts', 'commitQuery', `${'11'.repeat(46)} 01 09 ${'22'.repeat(32 * 9)}`],
    ['0 replicas of COMMIT', 'commitQuery', `${'11'.repeat(46)} 00 00`],
    ['9 replicas of COMMIT', 'commitQuery', `${'11'.repeat(46)} 09 00`],
    ['9 coordinators', 'statusReply', `${'00'.repeat(36)} 09 ${'00000000'.repeat(9)} 00`],
    ['33 nodes', 'statusReply', `${'00'.repeat(37)} 21 ${'00'.repeat(38 * 33)}`],
    ['repair of 3', 'statusReply', `${'00'.repeat(23)} 03 ${'00'.repeat(14)}`],
    ['a state of 6', 'statusReply', `${'00'.repeat(37)} 01 ${'33'.repeat(16)} 00 00 06 ${'00'.repeat(19)}`],
    ['33 members', 'membersReply', `${'00'.repeat(7)} 21 ${'00'.repeat(31 * 33)}`],
    ['a state of 6 of a member', 'membersReply', `${'00'.repeat(7)} 01 ${'00'.repeat(28)} 06 00 00`],
    ['9 sources', 'copyQuery', `${'11'.repeat(46)} 09 ${`${'33'.repeat(16)} 00`.repeat(9)}`],
    ['a lock without a name', 'lockQuery', `00 ${'66'.repeat(16)} 00 00007530 00000000`],
    [
      'a lock with a name of 81 bytes',
      'lockQuery',
      `51 ${'61'.repeat(81)} ${'66'.repeat(16)} 00 00007530 00000000`,
    ],
    ['a shared flag of 2', 'lockQuery', `01 6c ${'66'.repeat(16)} 02 00007530 00000000`],
    ['no lock to give up', 'unlockQuery', `00 ${'66'.repeat(16)} 000000000000`],
    ['641 bytes of data', 'sessionWriteQuery', `${'77'.repeat(42)} 0281 ${'88'.repeat(641)}`],
    ['641 bytes of data read', 'sessionReply', `${'00'.repeat(11)} 0281 ${'88'.repeat(641)}`],
    ['a stale flag of 2', 'sessionReply', `${'00'.repeat(10)} 02 0000`],
    ['a stale flag of 2 of WHERE_IS', 'whereIsReply', `${'00'.repeat(12)} 02 00`],
    ['no hash', 'whereIsManyQuery', '00'],
    ['32 hashes', 'whereIsManyQuery', `20 ${'22'.repeat(32 * 32)}`],
    ['no answer', 'whereIsManyReply', '000000000009 00 00 00'],
    ['32 answers', 'whereIsManyReply', `000000000009 00 00 20 ${'03'.repeat(32)}`],
    ['60 locations', 'whereIsManyReply', `000000000009 00 3c ${`${'33'.repeat(16)} 00`.repeat(60)} 01 03`],
    ['an answer with a code of 1', 'whereIsManyReply', '000000000009 00 00 01 01'],
    ['a stale flag of 2 of many', 'whereIsManyReply', '000000000009 02 00 01 03'],
    ['an index behind the table', 'whereIsManyReply', '000000000009 00 00 01 00 000000000000 01 00'],
    [
      '9 replicas of an answer',
      'whereIsManyReply',
      `000000000009 00 01 ${'33'.repeat(16)} 00 01 00 000000000000 09 ${'00'.repeat(9)}`,
    ],
    ['an address of 81 bytes', 'admitReply', `${'11'.repeat(16)} 51 ${'61'.repeat(81)}`],
    ['an address that is no UTF-8', 'admitReply', `${'11'.repeat(16)} 01 80`],
  ] as [string, MessageName, string][])(
    '%s is refused [HS-15] [MSG-3] [MSG-5] [MSG-7] [MSG-11] [MSG-12] [MSG-13] [DEFS-6] [MSG-9] [LOCK-1] [USR-2]',
    (_name, name, text) => {
      // The reason is one of those that are counted by name.
      expect(wire.decodeMessage(codecOf(name), hex(text))).toMatch(/^(?:range|unknown|length|text)$/);
      expect(twin.decodeMessage(name, [...hex(text)])).toBeUndefined();
    },
  );

  test('an address of 80 bytes goes, counted as UTF-8 [MSG-4]', () => {
    for (const address of ['a'.repeat(80), 'é'.repeat(40)]) {
      const message = { clusterId: times(1, 16), address, proof: times(2, 32) };
      expect(wire.decodeMessage(wire.admitReply, wire.encodeMessage(wire.admitReply, message))).toEqual(
        message,
      );
    }
  });

  test('a list count above its cap is refused before any item is read [MSG-7] [PKT-16]', () => {
    for (const [name, headBytes, cap] of [
      ['settleQuery', 0, 20],
      ['settleReply', 0, 20],
      ['commitQuery', 47, 8],
      ['whereToReply', 10, 8],
      ['whereIsReply', 13, 8],
      ['statusReply', 36, 8],
      ['statusReply', 37, 32],
      ['membersReply', 7, 32],
      ['copyQuery', 46, 8],
      ['whereIsManyQuery', 0, 31],
      ['whereIsManyReply', 7, 59],
    ] as [MessageName, number, number][]) {
      for (const count of [cap + 1, 255]) {
        const bytes = new Uint8Array(headBytes + 1 + 255 * 120);
        if (name === 'commitQuery') bytes[headBytes - 1] = 1;
        bytes[headBytes] = count;
        let reads = 0;
        const reader = new wire.Reader(bytes);
        for (const method of ['u8', 'bytes', 'text8', 'view'] as const) {
          const original = reader[method].bind(reader) as (count?: number) => never;
          Object.defineProperty(reader, method, {
            value: (argument?: number) => {
              if (reader.at > headBytes && reader.failure === undefined) reads += 1;
              return original(argument);
            },
          });
        }
        codecOf(name).decode(reader);
        expect([name, reader.failure, reads]).toEqual([name, 'range', 0]);
      }
    }
  });

  test('all of the largest messages but STATUS and MEMBERS fit the body of a frame', () => {
    const locations = Array.from({ length: 8 }, () => ({ nodeId: times(1, 16), address: 'a'.repeat(80) }));
    const receipts = locations.map(({ nodeId }) => ({ nodeId, receipt: times(2, 16) }));
    const entries = Array.from({ length: 20 }, () => ({ token: times(1, 8), hash: times(2, 32) }));
    const sizes = [
      wire.whereToReply.size({ leaseMillis: 0, revision: 0, locations }),
      wire.whereIsReply.size({ bytes: 0, revision: 0, stale: true, locations }),
      wire.commitQuery.size({ token: times(1, 8), hash: times(2, 32), bytes: 0, replicas: 8, receipts }),
      wire.settleQuery.size({ entries }),
      wire.whereIsManyQuery.size({ hashes: new Array(31).fill(times(1, 32)) }),
      // The least that a coordinator answers: one hash.
      wire.whereIsManyReply.size({
        revision: 0,
        stale: true,
        locations,
        answers: [{ code: 0, bytes: 0, replicas: [0, 1, 2, 3, 4, 5, 6, 7] }],
      }),
      // [MSG-11] The most locations, and an answer.
      wire.whereIsManyReply.size({
        revision: 0,
        stale: true,
        locations: new Array(wire.WHERE_IS_LOCATIONS_MAX).fill({ nodeId: times(1, 16), address: '' }),
        answers: [{ code: 0, bytes: 0, replicas: [58] }],
      }),
      wire.copyQuery.size({ token: times(1, 8), hash: times(2, 32), bytes: 0, sources: locations }),
      wire.digestQuery.size({ entries: 0, digests: times(0, 512) }),
      wire.sessionWriteQuery.size({
        id: times(1, 16),
        token: times(2, 16),
        number: 1,
        lifetimeSeconds: 1,
        data: times(3, wire.USER_DATA_BYTES_MAX),
      }),
      // [MSG-13] All coordinators, and the largest node.
      wire.STATUS_FIXED_BYTES +
        wire.COORDINATORS_MAX *
          wire.coordinatorStatusSize({
            address: 'a'.repeat(80),
            leads: false,
            answers: false,
            offload: false,
          }) +
        wire.nodeStatusSize({
          nodeId: times(1, 16),
          name: 'n'.repeat(80),
          address: 'a'.repeat(80),
          state: 0,
          quotaBytes: 0,
          freeBytes: 0,
          objects: 0,
          offload: false,
        }),
      // The most members of a page.
      wire.MEMBERS_FIXED_BYTES +
        wire.MEMBERS_MAX *
          wire.memberChangeSize({
            changed: 0,
            nodeId: times(1, 16),
            incarnation: 0,
            state: 0,
            name: '',
            address: '',
          }),
    ];
    for (const size of sizes) expect(size).toBeLessThanOrEqual(wire.BODY_BYTES_MAX);
  });
});

describe('what the encoders of messages must refuse, since the decoders do', () => {
  const long = 'a'.repeat(81);
  const location = { nodeId: times(1, 16), address: 'a' };
  test.each([
    ['an address of 81 bytes', 'admitReply', { clusterId: times(1, 16), address: long, proof: times(2, 32) }],
    [
      'a name of 81 bytes',
      'joinQuery',
      {
        nodeId: times(1, 16),
        incarnation: 0,
        name: long,
        address: '',
        quotaBytes: 0,
        freeBytes: 0,
        offload: false,
        draining: false,
      },
    ],
    ['a settlement of 3', 'settleReply', { settlements: [3] }],
    [
      'a member in state 6',
      'membersReply',
      {
        revision: 0,
        full: false,
        members: [{ changed: 0, nodeId: times(1, 16), incarnation: 0, state: 6, name: '', address: '' }],
      },
    ],
    ['0 replicas', 'whereToQuery', { token: times(1, 8), bytes: 0, replicas: 0, hash: undefined }],
    ['9 locations', 'whereToReply', { leaseMillis: 0, revision: 0, locations: new Array(9).fill(location) }],
    ['a role of 4', 'initiatorParameters', { role: 4, datagramBytesMax: 0, windowBytes: 0, idleMillis: 0 }],
    ['21 settlements', 'settleReply', { settlements: new Array(21).fill(0) }],
    ['no hash', 'whereIsManyQuery', { hashes: [] }],
    ['32 hashes', 'whereIsManyQuery', { hashes: new Array(32).fill(times(1, 32)) }],
    ['no answer', 'whereIsManyReply', { revision: 0, stale: false, locations: [], answers: [] }],
    [
      '32 answers',
      'whereIsManyReply',
      { revision: 0, stale: false, locations: [], answers: new Array(32).fill({ code: 3 }) },
    ],
    [
      '60 locations',
      'whereIsManyReply',
      { revision: 0, stale: false, locations: new Array(60).fill(location), answers: [{ code: 3 }] },
    ],
    [
      'an index of no location',
      'whereIsManyReply',
      { revision: 0, stale: false, locations: [location], answers: [{ code: 0, bytes: 0, replicas: [1] }] },
    ],
    [
      '9 coordinators',
      'statusReply',
      {
        revision: 0,
        stale: false,
        objects: 0,
        bytes: 0,
        nodesTotal: 0,
        ...{ repair: 0, missing: 0, copying: 0, surplus: 0 },
        coordinators: new Array(9).fill({ address: 'a', leads: false, answers: false, offload: false }),
        nodes: [],
      },
    ],
    [
      '33 members',
      'membersReply',
      {
        revision: 0,
        full: false,
        members: new Array(33).fill({
          changed: 0,
          nodeId: times(1, 16),
          incarnation: 0,
          state: 0,
          name: '',
          address: '',
        }),
      },
    ],
    [
      '0 replicas of COMMIT',
      'commitQuery',
      { token: times(1, 8), hash: times(2, 32), bytes: 0, replicas: 0, receipts: [] },
    ],
    [
      'a lock without a name',
      'lockQuery',
      { name: '', token: times(1, 16), shared: false, leaseMillis: 0, waitMillis: 0 },
    ],
    ['a lock with a name of 81 bytes', 'unlockQuery', { name: long, token: times(1, 16), fencing: 0 }],
    [
      '641 bytes of data',
      'sessionWriteQuery',
      { id: times(1, 16), token: times(2, 16), number: 1, lifetimeSeconds: 1, data: times(3, 641) },
    ],
    ['63 digests', 'digestQuery', { entries: 0, digests: times(0, 63 * 8) }],
    ['9 bytes of buckets', 'inventoryQuery', { entries: 0, buckets: times(0, 9) }],
    [
      '9 sources',
      'copyQuery',
      { token: times(1, 8), hash: times(2, 32), bytes: 0, sources: new Array(9).fill(location) },
    ],
  ] as [string, MessageName, unknown][])('%s', (_name, name, message) => {
    expect(() => wire.encodeMessage(codecOf(name), message)).toThrow();
  });
});
