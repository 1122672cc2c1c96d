import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as twin from '../../spec/reference/codec.ts';
import { concatBytes, fromHex, toHex } from '../../src/base/bytes.ts';
import type { PacketNumber } from '../../src/base/units.ts';
import {
  decodePacket,
  encodePacket,
  encodeSealedHeader,
  isFailure,
  PACKET_BYTES_MAX,
  type Packet,
  packetLength,
  packetSize,
  SEALED_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  writeSegmentHeader,
} from '../../src/wire/index.ts';
import { anyBytes, damage, damaged, packet, withHeader } from './arbitraries.ts';
import { expectSame, type Subject, testCodecLaws, testExactLength } from './codec-laws.ts';

function encode(value: Packet): Uint8Array {
  const buffer = new Uint8Array(packetSize(value));
  expect(encodePacket(value, buffer)).toBe(buffer.length);
  return buffer;
}

function decode(bytes: Uint8Array, at = 0): Packet | undefined {
  const result = decodePacket(bytes, at);
  return isFailure(result) ? undefined : result;
}

const subject: Subject<Packet> = {
  arbitrary: packet,
  size: packetSize,
  encode,
  decode,
  twinEncode: twin.encodePacket,
  twinDecode: (bytes) => twin.decodePacket(bytes),
};

/** Hex with spaces, as a trace shows it. */
const hex = (text: string): Uint8Array => fromHex(text.replaceAll(/\s/g, ''))!;
const times = (byte: number, count: number): Uint8Array => new Uint8Array(count).fill(byte);
const number = (value: number): PacketNumber => value as PacketNumber;
const tag = { high: 0x01020304, low: 0xa5a6a7a8 };

const traces: readonly { readonly name: string; readonly bytes: Uint8Array; readonly packet: Packet }[] = [
  {
    name: 'HELLO without a cookie: 65 bytes, the cookie field zero',
    bytes: hex(`01 00 0041  47524d4c 01  b1b1b1b1b1b1b1b1  01020304a5a6a7a8
      000000000000000000000000000000000000000000000000  c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1`),
    packet: {
      type: 1,
      version: 1,
      secretId: times(0xb1, 8),
      tag,
      cookie: undefined,
      noise: times(0, 0),
      mac: times(0xc1, 16),
    },
  },
  {
    name: 'COOKIE: 68 bytes, nothing in it is open-ended',
    bytes: hex(`02 00 0044  01020304a5a6a7a8  d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1
      e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1  c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1`),
    packet: { type: 2, tag, cookie: times(0xd1, 24), clusterId: times(0xe1, 16), mac: times(0xc1, 16) },
  },
  {
    name: 'HELLO again, with its cookie and a Noise message of 3 bytes',
    bytes: hex(`01 01 0044  47524d4c 01  b1b1b1b1b1b1b1b1  01020304a5a6a7a8
      d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1  f1f2f3  c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1`),
    packet: {
      type: 1,
      version: 1,
      secretId: times(0xb1, 8),
      tag,
      cookie: times(0xd1, 24),
      noise: Uint8Array.of(0xf1, 0xf2, 0xf3),
      mac: times(0xc1, 16),
    },
  },
  {
    name: 'WELCOME with a Noise message of 2 bytes',
    bytes: hex('03 00 001e  01020304a5a6a7a8  f1f2  c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1'),
    packet: { type: 3, tag, noise: Uint8Array.of(0xf1, 0xf2), mac: times(0xc1, 16) },
  },
  {
    name: 'REFUSED: busy, again in 1,000 ms',
    bytes: hex('04 00 001f  01020304a5a6a7a8  07 03e8  c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1'),
    packet: { type: 4, tag, code: 7, retryMillis: 1_000, mac: times(0xc1, 16) },
  },
  {
    name: 'SEALED: epoch 2, number 2^32 + 1, three bytes of ciphertext',
    bytes: hex('05 02 0015  01020304a5a6a7a8  000100000001  aabbcc'),
    packet: {
      type: 5,
      tag,
      epochBits: 2,
      number: number(2 ** 32 + 1),
      header: hex('05 02 0015 01020304a5a6a7a8 000100000001'),
      sealed: Uint8Array.of(0xaa, 0xbb, 0xcc),
    },
  },
  {
    name: 'SEGMENT: the last 4 of the 65,571 bytes of record 7 of flow 2^31',
    bytes: hex('06 03 0026  01020304a5a6a7a8  ffffffffffff  80000000 00000007 0001001f 00010023  aabbccdd'),
    packet: {
      type: 6,
      tag,
      epochBits: 3,
      number: number(2 ** 48 - 1),
      flowId: 2 ** 31,
      record: 7,
      offset: 65_567,
      sealedBytes: 65_571,
      payload: Uint8Array.of(0xaa, 0xbb, 0xcc, 0xdd),
    },
  },
];

describe('packets, byte by byte', () => {
  test.each(traces)('$name', ({ bytes, packet: expected }) => {
    expect(toHex(encode(expected))).toBe(toHex(bytes));
    expect(decodePacket(bytes)).toStrictEqual(expected);
    expect(toHex(Uint8Array.from(twin.encodePacket(expected)))).toBe(toHex(bytes));
    expect(twin.decodePacket([...bytes])).toStrictEqual(expected);
  });

  test('a whole datagram of SEALED, SEGMENT and SEALED is walked by their own lengths', () => {
    const [sealed, segment] = [traces[5]!, traces[6]!];
    const datagram = concatBytes(sealed.bytes, segment.bytes, sealed.bytes);
    expect(packetLength(datagram, 0)).toBe(21);
    expect(decodePacket(datagram, 0)).toStrictEqual(sealed.packet);
    expect(packetLength(datagram, 21)).toBe(38);
    expect(decodePacket(datagram, 21)).toStrictEqual(segment.packet);
    expect(packetLength(datagram, 59)).toBe(21);
    expect(decodePacket(datagram, 59)).toStrictEqual(sealed.packet);
    expect(packetLength(datagram, 80)).toBe(0);
  });

  test.each([
    ['an unknown type', '07 00 0004', 'unknown'],
    ['type 0', '00 00 0004', 'unknown'],
    ['a length below the prefix', '05 00 0003', 'truncated'],
    ['a length behind the datagram', '05 00 0016 01020304a5a6a7a8 000100000001 aabbcc', 'truncated'],
    ['a SEALED shorter than its header', '05 00 0011 01020304a5a6a7a8 0001000000', 'truncated'],
    ['a reserved flag of SEALED', '05 04 0015 01020304a5a6a7a8 000100000001 aabbcc', 'reserved'],
    [
      'a reserved flag of COOKIE',
      `02 01 0044 01020304a5a6a7a8 ${'c0'.repeat(24)} ${'1d'.repeat(16)} ${'c1'.repeat(16)}`,
      'reserved',
    ],
    ['a reserved flag of REFUSED', `04 80 001f 01020304a5a6a7a8 07 01f4 ${'c1'.repeat(16)}`, 'reserved'],
    [
      'a reserved flag of WELCOME',
      '03 01 001e 01020304a5a6a7a8 f1f2 c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1',
      'reserved',
    ],
    [
      'a WELCOME without room for its MAC',
      '03 00 001b 01020304a5a6a7a8 c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1',
      'truncated',
    ],
    [
      'a REFUSED with a byte too many',
      '04 00 0020 01020304a5a6a7a8 07 03e8 c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1 00',
      'trailing',
    ],
    [
      'a reserved flag of SEGMENT',
      '06 04 0023 01020304a5a6a7a8 000000000001 00000001 00000000 00000000 00000010 aa',
      'reserved',
    ],
    [
      'a SEGMENT shorter than its header',
      '06 00 0021 01020304a5a6a7a8 000000000001 00000001 00000000 00000000 000000',
      'truncated',
    ],
    [
      'a SEGMENT without payload',
      '06 00 0022 01020304a5a6a7a8 000000000001 00000001 00000000 00000000 00000010',
      'range',
    ],
    [
      'a SEGMENT past its record',
      '06 00 0024 01020304a5a6a7a8 000000000001 00000001 00000000 0000000f 00000010 aabb',
      'range',
    ],
    [
      'a SEGMENT whose end wraps at 2^32',
      '06 00 0024 01020304a5a6a7a8 000000000001 00000001 00000000 ffffffff 00000010 aabb',
      'range',
    ],
    [
      'a record of 65,572 bytes',
      '06 00 0024 01020304a5a6a7a8 000000000001 00000001 00000000 00000000 00010024 aabb',
      'range',
    ],
  ])('%s is refused [PKT-2] [PKT-3] [PKT-4] [PKT-10] [SEG-3]', (_name, text, reason) => {
    expect(decodePacket(hex(text))).toBe(reason);
    expect(twin.decodePacket([...hex(text)])).toBeUndefined();
  });

  test('a HELLO keeps its rules: magic, cookie flag, Noise and zero field go together [PKT-6] [HS-12]', () => {
    const first = traces[0]!.bytes;
    const second = traces[2]!.bytes;
    const change = (bytes: Uint8Array, at: number, value: number): Uint8Array => bytes.with(at, value);
    expect(decodePacket(change(first, 7, 0x4d))).toBe('unknown');
    expect(decodePacket(change(first, 1, 1))).toBe('length');
    expect(decodePacket(change(second, 1, 0))).toBe('length');
    expect(decodePacket(change(first, 1, 2))).toBe('reserved');
    for (let at = 25; at < 49; at++) expect(decodePacket(change(first, at, 1))).toBe('reserved');
  });
});

describe('packets', () => {
  testCodecLaws(subject, 300);
  testExactLength(subject, packet);

  test('a byte behind the stated length belongs to the next packet, a byte inside it is refused or counts', () => {
    fc.assert(
      fc.property(packet, fc.nat({ max: 255 }), (value, byte) => {
        const encoded = encode(value);
        const behind = concatBytes(encoded, Uint8Array.of(byte));
        expectSame(decode(behind), value);
        const inside = behind.slice();
        new DataView(inside.buffer).setUint16(2, inside.length);
        expectSame(decode(inside), twin.decodePacket([...inside]));
        if (value.type === 2 || value.type === 4) expect(decodePacket(inside)).toBe('trailing');
      }),
    );
  });

  test('several in one datagram are split at their own lengths, at any place [PKT-1]', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5 }), fc.array(packet, { maxLength: 6 }), (front, packets) => {
        const datagram = concatBytes(front, ...packets.map(encode));
        let at = front.length;
        for (const value of packets) {
          expectSame(decode(datagram, at), value);
          expect(packetLength(datagram, at)).toBe(packetSize(value));
          at += packetLength(datagram, at);
        }
        expect([at, packetLength(datagram, at)]).toEqual([datagram.length, 0]);
        expect(twin.splitDatagram([...datagram.subarray(front.length)]).length).toBe(packets.length);
      }),
      { numRuns: 60 },
    );
  });

  test('a walk over any datagram ends, and splits as the twin does', () => {
    const datagrams = fc.oneof(
      anyBytes,
      fc
        .tuple(fc.array(packet, { minLength: 1, maxLength: 4 }), damage)
        .map(([packets, changes]) => damaged(concatBytes(...packets.map(encode)), changes)),
    );
    fc.assert(
      fc.property(datagrams, (datagram) => {
        const lengths: number[] = [];
        for (
          let at = 0, length = packetLength(datagram, 0);
          length > 0;
          length = packetLength(datagram, at)
        ) {
          decodePacket(datagram, at);
          lengths.push(length);
          at += length;
        }
        expect(lengths.length).toBeLessThanOrEqual(datagram.length / 4);
        if (datagram.length > 5_000) return;
        expect(lengths).toEqual(twin.splitDatagram([...datagram]).map((bytes) => bytes.length));
      }),
      { numRuns: 500 },
    );
  });

  test('a place at or behind the end holds no packet', () => {
    const bytes = traces[5]!.bytes;
    for (const at of [bytes.length - 3, bytes.length, bytes.length + 1, 70_000]) {
      expect([packetLength(bytes, at), decodePacket(bytes, at)]).toEqual([0, 'truncated']);
    }
  });

  test('encoding writes at its place and nowhere else', () => {
    fc.assert(
      fc.property(packet, fc.nat({ max: 50 }), (value, at) => {
        const bytes = packetSize(value);
        const buffer = times(0xee, at + bytes + 7);
        expect(encodePacket(value, buffer, at)).toBe(bytes);
        expectSame(buffer.slice(at, at + bytes), encode(value));
        expect([...buffer.slice(0, at), ...buffer.slice(at + bytes)].every((byte) => byte === 0xee)).toBe(
          true,
        );
      }),
    );
  });

  test('the headers that are written in place are those of the whole packet', () => {
    fc.assert(
      fc.property(packet, (value) => {
        const encoded = encode(value);
        const isSealed = value.type === 5;
        const header = new Uint8Array(isSealed ? SEALED_HEADER_BYTES : SEGMENT_HEADER_BYTES);
        if (isSealed) encodeSealedHeader(header, 0, encoded.length, value.epochBits, value.tag, value.number);
        else if (value.type === 6) {
          const { tag, epochBits, number, flowId, record, offset, sealedBytes } = value;
          writeSegmentHeader(
            header,
            0,
            encoded.length,
            tag,
            epochBits,
            number,
            flowId,
            record,
            offset,
            sealedBytes,
          );
        } else return;
        expectSame(header, encoded.slice(0, header.length));
      }),
    );
  });

  test('the largest packet goes, one byte more is refused by assertion', () => {
    const sealed = (bytes: number): Packet =>
      withHeader({ type: 5, tag, epochBits: 0, number: number(0), sealed: new Uint8Array(bytes) });
    const largest = sealed(PACKET_BYTES_MAX - SEALED_HEADER_BYTES);
    expectSame(decode(encode(largest)), largest);
    const tooLong = {
      ...largest,
      sealed: new Uint8Array(PACKET_BYTES_MAX - SEALED_HEADER_BYTES + 1),
    } as Packet;
    expect(() => encodePacket(tooLong, new Uint8Array(70_000))).toThrow('packet too long');
    expect(() => twin.encodePacket(tooLong)).toThrow('packet too long');
  });

  // [PKT-3] Glued datagrams can make room for it, no single one can.
  test('a stated length above 65,507 is refused', () => {
    const bytes = new Uint8Array(70_000);
    bytes.set([5, 0, 0xff, 0xff]);
    expect(isFailure(decodePacket(bytes))).toBe(true);
  });
});

describe('what the encoder of packets must refuse, since the decoder does', () => {
  const [, , , , , sealed, segment] = traces.map((trace) => trace.packet);
  test.each([
    ['an epoch of more than two bits', { ...sealed!, epochBits: 4 }],
    ['a segment without payload', { ...segment!, payload: new Uint8Array(0) }],
    ['a segment past its record', { ...segment!, offset: 65_568 }],
    ['a record that is too long', { ...segment!, sealedBytes: 65_572 }],
  ] as [string, Packet][])('%s', (_name, value) => {
    expect(() => encode(value)).toThrow();
  });

  test('a cookie without a Noise message, and fields of another width', () => {
    const [first, cookie] = traces.map((trace) => trace.packet);
    expect(() => encode({ ...first!, noise: times(1, 1) } as Packet)).toThrow('go together');
    expect(() => encode({ ...cookie!, cookie: times(1, 23) } as Packet)).toThrow('another length');
  });
});
