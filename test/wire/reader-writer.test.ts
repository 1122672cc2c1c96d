import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as fields from '../../spec/reference/fields.ts';
import { fromHex, toHex, utf8 } from '../../src/base/bytes.ts';
import { Reader, text8Size, varintSize, Writer } from '../../src/wire/index.ts';
import { text, unsigned } from './arbitraries.ts';

interface Vectors {
  readonly varint: readonly { readonly hex: string; readonly value: string; readonly note?: string }[];
  readonly varint_bounds: readonly { readonly max: string; readonly len: number }[];
}
const vectors = JSON.parse(
  readFileSync(new URL('../vectors/rfc9000-varint-packetnumber.json', import.meta.url), 'utf8'),
) as Vectors;

function written(bytes: number, write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer(new Uint8Array(bytes));
  write(writer);
  expect(writer.remaining).toBe(0);
  return writer.buffer;
}

function read<Value>(
  bytes: Uint8Array,
  take: (reader: Reader) => Value,
): { value: Value; failure: string | undefined } {
  const reader = new Reader(bytes);
  const value = take(reader);
  reader.end();
  return { value, failure: reader.failure };
}

/** 2^power - 1, 2^power and 2^power + 1 for each power up to `bits`, and all below 2^bits. */
function edges(bits: number): number[] {
  const values = new Set<number>([0]);
  for (let power = 0; power <= bits; power++) {
    for (const step of [-1, 0, 1]) values.add(2 ** power + step);
  }
  return [...values].filter((value) => value >= 0 && value < 2 ** bits);
}

const widths = [
  { name: 'u8', bits: 8, field: fields.u8 },
  { name: 'u16', bits: 16, field: fields.u16 },
  { name: 'u32', bits: 32, field: fields.u32 },
  { name: 'u48', bits: 48, field: fields.u48 },
] as const;

describe.each(widths)('$name', ({ name, bits, field }) => {
  test('is right at every power of two and beside it', () => {
    for (const value of edges(bits)) {
      const bytes = written(bits / 8, (writer) => writer[name](value));
      expect([...bytes], `${value}`).toEqual(field.put(value));
      expect(
        read(bytes, (reader) => reader[name]()),
        `${value}`,
      ).toEqual({ value, failure: undefined });
    }
  });

  test('agrees with the twin on any value', () => {
    fc.assert(
      fc.property(unsigned(bits), (value) => {
        const bytes = written(bits / 8, (writer) => writer[name](value));
        expect([...bytes]).toEqual(field.put(value));
        expect(read(bytes, (reader) => reader[name]())).toEqual({ value, failure: undefined });
      }),
    );
  });

  test('refuses by assertion what does not fit', () => {
    for (const value of [-1, 2 ** bits, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => new Writer(new Uint8Array(16))[name](value), `${value}`).toThrow(/out of range/);
    }
  });

  test('does not read past the end, and stays failed', () => {
    for (let length = 0; length < bits / 8; length++) {
      const reader = new Reader(new Uint8Array(16).fill(0xff), 3, 3 + length);
      expect(reader[name]()).toBe(0);
      expect([reader.failure, reader.remaining, reader.u8(), reader.bytes(1).length]).toEqual([
        'truncated',
        0,
        0,
        0,
      ]);
    }
  });
});

describe('i64', () => {
  test('is right at every power of two and beside it, on both sides of zero', () => {
    for (const magnitude of edges(53)) {
      for (const value of magnitude === 0 ? [0] : [magnitude, -magnitude]) {
        const bytes = written(8, (writer) => writer.i64(value));
        expect([...bytes], `${value}`).toEqual(fields.i64.put(value));
        expect(new DataView(bytes.buffer).getBigInt64(0), `${value}`).toBe(BigInt(value));
        expect(
          read(bytes, (reader) => reader.i64()),
          `${value}`,
        ).toEqual({ value, failure: undefined });
      }
    }
  });

  test('refuses what JavaScript cannot hold, on both sides [PKT-9]', () => {
    for (const power of [53n, 54n, 62n, 63n]) {
      for (const step of [-1n, 0n, 1n]) {
        for (const sign of [-1n, 1n]) {
          const value = BigInt.asIntN(64, sign * (2n ** power + step));
          const bytes = new Uint8Array(8);
          new DataView(bytes.buffer).setBigInt64(0, value);
          const isSafe = value > -(2n ** 53n) && value < 2n ** 53n;
          expect(
            read(bytes, (reader) => reader.i64()),
            `${value}`,
          ).toEqual(isSafe ? { value: Number(value), failure: undefined } : { value: 0, failure: 'range' });
          expect(fields.decodeAll(fields.i64, [...bytes]), `${value}`).toBe(
            isSafe ? Number(value) : undefined,
          );
        }
      }
    }
    expect(() => new Writer(new Uint8Array(8)).i64(2 ** 53)).toThrow('safe range');
    expect(() => new Writer(new Uint8Array(8)).i64(0.5)).toThrow('safe range');
  });

  test('agrees with the twin on any eight bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 8, maxLength: 8 }), fc.nat({ max: 6 }), (bytes, signBytes) => {
        bytes.fill(bytes[0]! & 0x80 ? 0xff : 0, 0, signBytes);
        const { value, failure } = read(bytes, (reader) => reader.i64());
        expect(failure === undefined ? value : undefined).toBe(fields.decodeAll(fields.i64, [...bytes]));
      }),
    );
  });
});

describe('varint', () => {
  test.each(vectors.varint)('RFC 9000 A.1: $hex', ({ hex, value, note }) => {
    const bytes = fromHex(hex)!;
    const result = read(bytes, (reader) => reader.varint());
    if (note !== undefined) {
      // 4025 says 37 in two bytes where one is enough.
      expect(result).toEqual({ value: 0, failure: 'non-minimal' });
    } else if (BigInt(value) > BigInt(Number.MAX_SAFE_INTEGER)) {
      expect(result).toEqual({ value: 0, failure: 'range' });
      expect(fields.decodeAll(fields.varint, [...bytes])).toBe(BigInt(value));
    } else {
      expect(result).toEqual({ value: Number(value), failure: undefined });
      expect(toHex(written(bytes.length, (writer) => writer.varint(Number(value))))).toBe(hex);
    }
  });

  test.each(vectors.varint_bounds)('RFC 9000 table 4: up to $max in $len bytes', ({ max, len }) => {
    const bound = Number(BigInt(max) < 2n ** 53n ? BigInt(max) : 2n ** 53n - 1n);
    expect(varintSize(bound)).toBe(len);
    if (len < 8) expect(varintSize(bound + 1)).toBe(len * 2);
  });

  test('is right at every power of two and beside it, and refused in every longer form [PKT-5]', () => {
    for (const value of edges(53)) {
      const bytes = written(varintSize(value), (writer) => writer.varint(value));
      expect([...bytes], `${value}`).toEqual(fields.varint.put(BigInt(value)));
      expect(
        read(bytes, (reader) => reader.varint()),
        `${value}`,
      ).toEqual({ value, failure: undefined });
      for (let length = bytes.length * 2; length <= 8; length *= 2) {
        const longer = new Uint8Array(length);
        longer.set(bytes, length - bytes.length);
        longer[length - bytes.length]! &= 0x3f;
        longer[0]! |= { 2: 0x40, 4: 0x80, 8: 0xc0 }[length]!;
        expect(read(longer, (reader) => reader.varint()).failure, `${value}`).toBe('non-minimal');
        expect(fields.decodeAll(fields.varint, [...longer])).toBeUndefined();
      }
    }
  });

  test('agrees with the twin on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 9 }), (bytes) => {
        const { value, failure } = read(bytes, (reader) => reader.varint());
        const twin = fields.decodeAll(fields.varint, [...bytes]);
        const expected = twin !== undefined && twin < 2n ** 53n ? Number(twin) : undefined;
        expect(failure === undefined ? value : undefined).toBe(expected);
      }),
      { numRuns: 2_000 },
    );
  });

  test('refuses by assertion what it cannot say', () => {
    for (const value of [-1, 0.5, 2 ** 53, Number.NaN])
      expect(() => varintSize(value)).toThrow('out of range');
  });
});

describe('text', () => {
  test('agrees with the twin, byte order marks and all planes included', () => {
    fc.assert(
      fc.property(text(200), (value) => {
        const bytes = written(text8Size(value), (writer) => writer.text8(value));
        expect([...bytes]).toEqual(fields.text(255).put(value));
        expect(read(bytes, (reader) => reader.text8())).toEqual({ value, failure: undefined });
      }),
    );
  });

  test('agrees with the twin on what is UTF-8, on any bytes [PKT-14]', () => {
    const tricky = fc.constantFrom(
      0x00,
      0x7f,
      0x80,
      0xbf,
      0xc0,
      0xc1,
      0xc2,
      0xdf,
      0xe0,
      0xa0,
      0x9f,
      0xed,
      0xef,
      0xf0,
      0x90,
      0x8f,
      0xf4,
      0xf5,
      0xff,
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(tricky, fc.nat({ max: 255 })), { maxLength: 6 }), (content) => {
        const bytes = Uint8Array.from([content.length, ...content]);
        const { value, failure } = read(bytes, (reader) => reader.text8());
        expect(failure === undefined ? value : undefined).toBe(
          fields.decodeAll(fields.text(255), [...bytes]),
        );
      }),
      { numRuns: 5_000 },
    );
  });

  test.each([
    ['overlong slash', 'c0af'],
    ['surrogate', 'eda080'],
    ['above U+10FFFF', 'f4908080'],
    ['lone tail', '80'],
    ['cut short', 'e282'],
  ])('refuses %s', (_name, hex) => {
    const content = fromHex(hex)!;
    expect(read(Uint8Array.from([content.length, ...content]), (reader) => reader.text8()).failure).toBe(
      'text',
    );
  });

  test('refuses a length that is not there, and asserts on a text that no length can say', () => {
    expect(read(Uint8Array.of(5, 0x61), (reader) => reader.text8()).failure).toBe('truncated');
    expect(() => new Writer(new Uint8Array(400)).text8('x'.repeat(256))).toThrow('out of range');
  });
});

describe('Reader', () => {
  test('bytes are copied, a view is borrowed', () => {
    const input = Uint8Array.of(1, 2, 3, 4);
    const reader = new Reader(input);
    const [copy, view] = [reader.bytes(2), reader.view(2)];
    input.fill(9);
    expect([[...copy], [...view]]).toEqual([
      [1, 2],
      [9, 9],
    ]);
  });

  // `Buffer.prototype.slice` borrows, and dgram hands in Buffers.
  test('bytes are copied from a Buffer too', () => {
    const input = Buffer.of(1, 2, 3, 4);
    const copy = new Reader(input).bytes(2);
    input.fill(9);
    expect([...copy]).toEqual([1, 2]);
  });

  test('the first reason stays', () => {
    const reader = new Reader(Uint8Array.of(0x40, 0x25));
    reader.varint();
    reader.u8();
    reader.refuse('length');
    reader.end();
    expect(reader.failure).toBe('non-minimal');
  });

  test('trailing bytes are refused at the end [PKT-4]', () => {
    const reader = new Reader(Uint8Array.of(1, 2));
    reader.u8();
    reader.end();
    expect(reader.failure).toBe('trailing');
  });
});

describe('Writer', () => {
  test('asserts before it writes past its end, and on a fixed field of another length', () => {
    const room = (write: (writer: Writer) => void) => () => write(new Writer(new Uint8Array(8), 6, 7));
    expect(room((writer) => writer.u16(1))).toThrow('out of room');
    expect(room((writer) => writer.u32(1))).toThrow('out of room');
    expect(room((writer) => writer.u48(1))).toThrow('out of room');
    expect(room((writer) => writer.bytes(utf8('ab')))).toThrow('out of room');
    expect(room((writer) => writer.zeros(2))).toThrow('out of room');
    expect(room((writer) => writer.fixed(utf8('a'), 2))).toThrow('another length');
    expect(room((writer) => writer.u8(1))).not.toThrow();
  });

  // Without it, writes past the buffer vanish: typed arrays ignore them.
  test('asserts on an end behind its buffer', () => {
    expect(() => new Writer(new Uint8Array(4), 0, 5)).toThrow();
  });

  test.each(['u8', 'u16', 'u32'] as const)('%s refuses a fraction by assertion', (name) => {
    expect(() => new Writer(new Uint8Array(16))[name](1.5)).toThrow('out of range');
  });
});
