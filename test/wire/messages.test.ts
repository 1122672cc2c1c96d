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
      `000000000009 02 ${'33'.repeat(16)} 03 613a31 ${'34'.repeat(16)} 03 623a31
       05 00 000100000000 02 01 00 03 07 000001f4 08 00 000000000000 00`,
      {
        revision: 9,
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
    ['9 receipts', 'commitQuery', `${'11'.repeat(46)} 09 ${'22'.repeat(32 * 9)}`],
    ['no hash', 'whereIsManyQuery', '00'],
    ['32 hashes', 'whereIsManyQuery', `20 ${'22'.repeat(32 * 32)}`],
    ['no answer', 'whereIsManyReply', '000000000009 00 00'],
    ['32 answers', 'whereIsManyReply', `000000000009 00 20 ${'03'.repeat(32)}`],
    ['60 locations', 'whereIsManyReply', `000000000009 3c ${`${'33'.repeat(16)} 00`.repeat(60)} 01 03`],
    ['an answer with a code of 1', 'whereIsManyReply', '000000000009 00 01 01'],
    ['an index behind the table', 'whereIsManyReply', '000000000009 00 01 00 000000000000 01 00'],
    [
      '9 replicas of an answer',
      'whereIsManyReply',
      `000000000009 01 ${'33'.repeat(16)} 00 01 00 000000000000 09 ${'00'.repeat(9)}`,
    ],
    ['an address of 81 bytes', 'admitReply', `${'11'.repeat(16)} 51 ${'61'.repeat(81)}`],
    ['an address that is no UTF-8', 'admitReply', `${'11'.repeat(16)} 01 80`],
  ] as [string, MessageName, string][])(
    '%s is refused [HS-15] [MSG-3] [MSG-7] [MSG-11] [MSG-12] [DEFS-6] [MSG-9]',
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
      ['commitQuery', 46, 8],
      ['whereToReply', 10, 8],
      ['whereIsReply', 12, 8],
      ['statusReply', 23, 32],
      ['whereIsManyQuery', 0, 31],
      ['whereIsManyReply', 6, 59],
    ] as [MessageName, number, number][]) {
      for (const count of [cap + 1, 255]) {
        const bytes = new Uint8Array(headBytes + 1 + 255 * 120);
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

  test('all of the largest messages but STATUS fit the body of a frame', () => {
    const locations = Array.from({ length: 8 }, () => ({ nodeId: times(1, 16), address: 'a'.repeat(80) }));
    const receipts = locations.map(({ nodeId }) => ({ nodeId, receipt: times(2, 16) }));
    const entries = Array.from({ length: 20 }, () => ({ token: times(1, 8), hash: times(2, 32) }));
    const sizes = [
      wire.whereToReply.size({ leaseMillis: 0, revision: 0, locations }),
      wire.whereIsReply.size({ bytes: 0, revision: 0, locations }),
      wire.commitQuery.size({ token: times(1, 8), hash: times(2, 32), bytes: 0, receipts }),
      wire.settleQuery.size({ entries }),
      wire.whereIsManyQuery.size({ hashes: new Array(31).fill(times(1, 32)) }),
      // The least that a coordinator answers: one hash.
      wire.whereIsManyReply.size({
        revision: 0,
        locations,
        answers: [{ code: 0, bytes: 0, replicas: [0, 1, 2, 3, 4, 5, 6, 7] }],
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
      },
    ],
    ['0 replicas', 'whereToQuery', { token: times(1, 8), bytes: 0, replicas: 0, hash: undefined }],
    ['9 locations', 'whereToReply', { leaseMillis: 0, revision: 0, locations: new Array(9).fill(location) }],
    ['a role of 4', 'initiatorParameters', { role: 4, datagramBytesMax: 0, windowBytes: 0, idleMillis: 0 }],
    ['21 settlements', 'settleReply', { settlements: new Array(21).fill(0) }],
    ['no hash', 'whereIsManyQuery', { hashes: [] }],
    ['32 hashes', 'whereIsManyQuery', { hashes: new Array(32).fill(times(1, 32)) }],
    ['no answer', 'whereIsManyReply', { revision: 0, locations: [], answers: [] }],
    [
      '32 answers',
      'whereIsManyReply',
      { revision: 0, locations: [], answers: new Array(32).fill({ code: 3 }) },
    ],
    [
      '60 locations',
      'whereIsManyReply',
      { revision: 0, locations: new Array(60).fill(location), answers: [{ code: 3 }] },
    ],
    [
      'an index of no location',
      'whereIsManyReply',
      { revision: 0, locations: [location], answers: [{ code: 0, bytes: 0, replicas: [1] }] },
    ],
  ] as [string, MessageName, unknown][])('%s', (_name, name, message) => {
    expect(() => wire.encodeMessage(codecOf(name), message)).toThrow();
  });
});
