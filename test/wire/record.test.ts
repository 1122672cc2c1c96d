import { describe, expect, test } from 'vitest';
import * as twin from '../../spec/reference/codec.ts';
import { concatBytes, fromHex } from '../../src/base/bytes.ts';
import {
  decodeRecordHeader,
  encodeRecordHeader,
  isFailure,
  RECORD_BYTES_MAX,
  RECORD_HEADER_BYTES,
  type RecordHeader,
} from '../../src/wire/index.ts';
import { openedRecord } from './arbitraries.ts';
import { type Subject, testCodecLaws } from './codec-laws.ts';

interface OpenedRecord {
  readonly header: RecordHeader;
  readonly payload: Uint8Array;
}

const subject: Subject<OpenedRecord> = {
  arbitrary: openedRecord,
  size: ({ payload }) => RECORD_HEADER_BYTES + payload.length,
  encode: ({ header, payload }) => {
    const bytes = concatBytes(new Uint8Array(RECORD_HEADER_BYTES), payload);
    encodeRecordHeader(header, bytes, 0);
    return bytes;
  },
  decode: (bytes) => {
    const result = decodeRecordHeader(bytes);
    return isFailure(result) ? undefined : result;
  },
  twinEncode: ({ header, payload }) => [...twin.encodeRecordHeader(header), ...payload],
  twinDecode: twin.decodeRecordHeader,
  decoded: ({ header }) => header,
};

const hex = (text: string): Uint8Array => fromHex(text.replaceAll(/\s/g, ''))!;

describe('record header', () => {
  testCodecLaws(subject, 300);

  test.each([
    ['stored, the end unknown', '00 000000000000 ffffffffffffffff 00000002 aabb', 0, 0, -1, 2],
    ['stored, empty and complete', '00 000000000000 0000000000000000 00000000', 0, 0, 0, 0],
    [
      'compressed, at 2^32, with 2^40 left',
      '01 000100000000 0000010000000000 00010000 aa',
      1,
      2 ** 32,
      2 ** 40,
      65_536,
    ],
    ['the largest dataLeft', '00 ffffffffffff 001fffffffffffff 00000000', 0, 2 ** 48 - 1, 2 ** 53 - 1, 0],
  ])('%s', (_name, text, encoding, offset, dataLeft, plainBytes) => {
    const header = { encoding, offset, dataLeft, plainBytes } as RecordHeader;
    expect(decodeRecordHeader(hex(text))).toStrictEqual(header);
    const encoded = new Uint8Array(RECORD_HEADER_BYTES);
    encodeRecordHeader(header, encoded, 0);
    expect(encoded).toEqual(hex(text).slice(0, RECORD_HEADER_BYTES));
    expect(twin.encodeRecordHeader(header)).toEqual([...encoded]);
  });

  test.each([
    ['dataLeft of -2', '00 000000000000 fffffffffffffffe 00000000', 'range'],
    ['dataLeft of 2^53', '00 000000000000 0020000000000000 00000000', 'range'],
    ['dataLeft of -2^63', '00 000000000000 8000000000000000 00000000', 'range'],
    ['encoding 2', '02 000000000000 0000000000000000 00000000', 'unknown'],
    ['a plain length of 65,537', '01 000000000000 0000000000000000 00010001 aa', 'range'],
    ['a stored payload that is short', '00 000000000000 0000000000000000 00000003 aabb', 'length'],
    ['a stored payload that is long', '00 000000000000 0000000000000000 00000001 aabb', 'length'],
    [
      'a compressed payload as long as its plaintext',
      '01 000000000000 0000000000000000 00000002 aabb',
      'length',
    ],
    ['a byte too few', '00 000000000000 0000000000000000 000000', 'truncated'],
  ])('%s is refused [REC-15] [REC-11] [REC-14]', (_name, text, reason) => {
    expect(decodeRecordHeader(hex(text))).toBe(reason);
    expect(twin.decodeRecordHeader([...hex(text)])).toBeUndefined();
  });

  test('is refused when cut inside the header, at every byte', () => {
    const bytes = hex('01 000100000000 0000010000000000 00010000');
    expect(isFailure(decodeRecordHeader(bytes))).toBe(false);
    for (let length = 0; length < bytes.length; length++) {
      expect(decodeRecordHeader(bytes.subarray(0, length))).toBe('truncated');
    }
  });

  test('dataLeft below -1 is refused by assertion', () => {
    const header: RecordHeader = { encoding: 0, offset: 0, dataLeft: -2, plainBytes: 0 };
    expect(() => encodeRecordHeader(header, new Uint8Array(19), 0)).toThrow('below -1');
  });

  test('a plain length past the limit is refused by assertion', () => {
    const header: RecordHeader = { encoding: 0, offset: 0, dataLeft: 0, plainBytes: RECORD_BYTES_MAX + 1 };
    expect(() => encodeRecordHeader(header, new Uint8Array(19), 0)).toThrow();
  });
});
