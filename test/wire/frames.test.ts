import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as twin from '../../spec/reference/codec.ts';
import { fromHex, toHex } from '../../src/base/bytes.ts';
import type { PacketNumber } from '../../src/base/units.ts';
import {
  type AckRange,
  decodeFrames,
  encodeFrame,
  type Frame,
  frameSize,
  isAckEliciting,
  isFailure,
  Writer,
} from '../../src/wire/index.ts';
import { frame, frames } from './arbitraries.ts';
import { type Subject, testCodecLaws, testExactLength } from './codec-laws.ts';

function encode(list: readonly Frame[]): Uint8Array {
  const writer = new Writer(new Uint8Array(list.reduce((sum, entry) => sum + frameSize(entry), 0)));
  for (const entry of list) encodeFrame(entry, writer);
  expect(writer.remaining).toBe(0);
  return writer.buffer;
}

const subject: Subject<readonly Frame[]> = {
  arbitrary: frames,
  size: (list) => list.reduce((sum, entry) => sum + frameSize(entry), 0),
  encode,
  decode: (bytes) => {
    const result = decodeFrames(bytes);
    return isFailure(result) ? undefined : result;
  },
  twinEncode: twin.encodeFrames,
  twinDecode: twin.decodeFrames,
};

const hex = (text: string): Uint8Array => fromHex(text.replaceAll(/\s/g, ''))!;
const range = (first: number, last: number): AckRange => ({
  first: first as PacketNumber,
  last: last as PacketNumber,
});
const body = Uint8Array.of(0xaa, 0xbb);

const traces: readonly (readonly [string, string, Frame])[] = [
  ['PADDING of 3', '000000', { type: 0, bytes: 3 }],
  ['PING', '01', { type: 1 }],
  [
    'ACK of 9..10, 5 and 0..1 after 24 us: gaps of 2 and 2 missing numbers count as 2 and 2',
    '02 01 0003 03  00000000000a 00000001  00000002 00000000  00000002 00000001',
    { type: 2, space: 1, delayUnits: 3, ranges: [range(9, 10), range(5, 5), range(0, 1)] },
  ],
  [
    'ACK of all of 2^32..2^48-1 less what fits no length',
    '02 00 ffff 01  ffffffffffff ffffffff',
    { type: 2, space: 0, delayUnits: 65_535, ranges: [range(2 ** 48 - 2 ** 32, 2 ** 48 - 1)] },
  ],
  ['CLOSE for a protocol error', '03 0001 03 627965', { type: 3, code: 1, text: 'bye' }],
  ['QUERY 2^31 of kind 2', '04 80000000 02 0002 aabb', { type: 4, id: 2 ** 31, kind: 2, body }],
  ['REPLY, not found', '05 00000001 03 0000', { type: 5, id: 1, code: 3, body: new Uint8Array(0) }],
  ['NOTICE of load', '06 01 0002 aabb', { type: 6, kind: 1, body }],
  [
    'CREDIT to 2^32, of which 2^31 are open',
    '07 00000005 000100000000 000080000000 00',
    { type: 7, flowId: 5, limitBytes: 2 ** 32, openedBytes: 2 ** 31, complete: false },
  ],
  ['RESEND of record 2^32-1', '08 00000005 ffffffff', { type: 8, flowId: 5, record: 2 ** 32 - 1 }],
  ['STOP', '09 00000005 0a', { type: 9, flowId: 5, code: 10 }],
  ['RESET', '0a 00000005 0a', { type: 10, flowId: 5, code: 10 }],
];

describe('frames, byte by byte', () => {
  test.each(traces)('%s', (_name, text, expected) => {
    expect(toHex(encode([expected]))).toBe(toHex(hex(text)));
    expect(decodeFrames(hex(text))).toStrictEqual([expected]);
    expect(twin.encodeFrames([expected])).toEqual([...hex(text)]);
    expect(twin.decodeFrames([...hex(text)])).toStrictEqual([expected]);
  });

  test.each([
    ['an unknown frame', '0b'],
    ['an ACK of space 2', '02 02 0000 01 000000000001 00000000'],
    ['an ACK of no range', '02 00 0000 00 000000000001 00000000'],
    ['an ACK of 33 ranges', `02 00 0000 21 0000000000ff 00000000 ${'00000000 00000000'.repeat(32)}`],
    ['an ACK below 0', '02 00 0000 01 000000000001 00000002'],
    ['an ACK whose gap ends below 0', '02 00 0000 02 000000000003 00000001 00000001 00000000'],
    ['an ACK whose second range starts below 0', '02 00 0000 02 000000000009 00000001 00000001 00000006'],
    ['a CLOSE text of 201 bytes', `03 0001 c9 ${'61'.repeat(201)}`],
    ['a CLOSE text that is no UTF-8', '03 0001 01 ff'],
    ['a body of 1,025 bytes', `06 01 0401 ${'00'.repeat(1_025)}`],
    ['a CREDIT opened past its limit', '07 00000005 000000000001 000000000002 00'],
    ['a CREDIT that is 2 complete', '07 00000005 000000000001 000000000001 02'],
    ['a good frame before a bad one', '01 0b'],
  ])('%s is refused [ACK-3] [ACK-4] [FRM-2] [FRM-4] [FLOW-5]', (_name, text) => {
    // The reason is one of those that are counted by name.
    expect(decodeFrames(hex(text))).toMatch(/^(?:truncated|range|unknown|length|text)$/);
    expect(twin.decodeFrames([...hex(text)])).toBeUndefined();
  });

  test('limits are inclusive: 32 ranges, 1,024 bytes of body, 200 bytes of text [FRM-4] [ACK-4]', () => {
    const ranges = Array.from({ length: 32 }, (_, index) => range(100 - index * 2, 100 - index * 2));
    const atLimits: Frame[] = [
      { type: 2, space: 0, delayUnits: 0, ranges },
      { type: 4, id: 0, kind: 0, body: new Uint8Array(1_024) },
      { type: 3, code: 0, text: 'é'.repeat(100) },
    ];
    expect(decodeFrames(encode(atLimits))).toStrictEqual(atLimits);
    const pastLimits: [Frame, string][] = [
      [{ type: 2, space: 0, delayUnits: 0, ranges: [...ranges, range(0, 0)] }, 'number of ack ranges'],
      [{ type: 2, space: 0, delayUnits: 0, ranges: [] }, 'number of ack ranges'],
      [{ type: 2, space: 2 as never, delayUnits: 0, ranges }, 'unknown space'],
      [{ type: 4, id: 0, kind: 0, body: new Uint8Array(1_025) }, 'body too long'],
      [{ type: 0, bytes: 0 }, 'padding of no bytes'],
    ];
    for (const [entry, text] of pastLimits)
      expect(() => encodeFrame(entry, new Writer(new Uint8Array(2_000)))).toThrow(text);
  });

  test('padding side by side is one frame, and only padding, ACK and CLOSE ask for no acknowledgement [FRM-3]', () => {
    expect(decodeFrames(hex('000000 01 0000'))).toEqual([
      { type: 0, bytes: 3 },
      { type: 1 },
      { type: 0, bytes: 2 },
    ]);
    expect(traces.map(([, , entry]) => isAckEliciting(entry))).toEqual(
      traces.map(([, , entry]) => ![0, 2, 3].includes(entry.type)),
    );
  });
});

describe('frames', () => {
  testCodecLaws(subject, 300);
  testExactLength(
    { ...subject, decode: (bytes) => (bytes.length === 0 ? undefined : subject.decode(bytes)) },
    frame.filter((entry) => entry.type !== 0).map((entry) => [entry]),
  );

  test('every list of ranges that decodes is highest first, disjoint and not adjacent', () => {
    fc.assert(
      fc.property(fc.nat({ max: 40 }), fc.uint8Array({ maxLength: 300, size: 'max' }), (count, rest) => {
        const small = rest.map((byte, index) => (index % 4 === 1 ? byte : 0));
        const decoded = decodeFrames(Uint8Array.from([2, 0, 0, 0, count, 0, 0, 0, 0xff, ...small]));
        if (isFailure(decoded)) return;
        const [first] = decoded;
        if (first?.type !== 2) return;
        expect(first.ranges.length).toBe(count);
        for (const [index, { first: low, last: high }] of first.ranges.entries()) {
          expect(low >= 0 && low <= high).toBe(true);
          if (index > 0) expect(high).toBeLessThan(first.ranges[index - 1]!.first - 1);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test.each([
    ['70,000 PINGs', 70_000, () => 1, 70_000],
    ['70,000 bytes of padding', 70_000, () => 0, 1],
    ['PING and padding in turns', 70_000, (index: number) => index % 2, 70_000],
    ['notices without body', 69_984, (index: number) => (index % 4 === 0 ? 6 : 0), 17_496],
  ])('%s make one frame a byte at most, in linear time', (_name, length, byteAt, expected) => {
    const bytes = Uint8Array.from({ length }, (_, index) => byteAt(index));
    const startMillis = performance.now();
    const decoded = decodeFrames(bytes);
    expect(performance.now() - startMillis).toBeLessThan(1_000);
    expect(decoded.length).toBe(expected);
  });
});

describe('what the encoder of frames must refuse, since the decoder does', () => {
  test('ranges that overlap, touch or run downwards', () => {
    for (const ranges of [
      [range(5, 9), range(4, 4)],
      [range(5, 9), range(5, 5)],
      [range(0, 1), range(5, 9)],
      [range(9, 5)],
    ]) {
      const ack: Frame = { type: 2, space: 0, delayUnits: 0, ranges };
      expect(() => encodeFrame(ack, new Writer(new Uint8Array(100)))).toThrow('out of range');
    }
  });

  test.each([
    ['a CLOSE text of 201 bytes', { type: 3, code: 0, text: 'x'.repeat(201) }],
    [
      'a CREDIT opened past its limit',
      { type: 7, flowId: 0, limitBytes: 1, openedBytes: 2, complete: false },
    ],
    ['an ACK of space 2', { type: 2, space: 2, delayUnits: 0, ranges: [range(0, 0)] }],
  ] as [string, Frame][])('%s', (_name, value) => {
    expect(() => encodeFrame(value, new Writer(new Uint8Array(500)))).toThrow();
  });
});
