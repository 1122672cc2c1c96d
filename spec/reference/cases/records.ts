/** Cases of section 3.3 that need no key: the header of a record, its payload, LZ4; and varints [PKT-5]. */

import { hexOf, type JsonObject } from '../json.ts';
import { ascii, bigEndian, join } from '../primitives.ts';
import { CaseList, counting, fixedBytes, patched, type VectorFile } from '../vectors.ts';

const RECORD: JsonObject = {
  encoding: 0,
  offset: 0x010203040506,
  dataLeft: 5_000,
  plainLength: 10,
  payload: hexOf(counting(0x40, 10)),
};

const RECORDS: Readonly<Record<string, JsonObject>> = {
  'stored record': RECORD,
  'last record': { ...RECORD, dataLeft: 0 },
  'record of unknown end': { ...RECORD, dataLeft: -1 },
  'empty last record': { encoding: 0, offset: 0, dataLeft: 0, plainLength: 0, payload: '' },
  'record at the largest offset': { ...RECORD, offset: 2 ** 48 - 1 },
  'record with the largest dataLeft': { ...RECORD, dataLeft: Number.MAX_SAFE_INTEGER },
  'LZ4 record': { ...RECORD, encoding: 1, plainLength: 11 },
  'LZ4 record of the longest plaintext': { ...RECORD, encoding: 1, plainLength: 65_536 },
};

export function recordFile(): VectorFile {
  const cases = new CaseList('Records before they are sealed');
  for (const [name, record] of Object.entries(RECORDS)) {
    const { bytes } = cases.takes(`write ${name}`, 'REC-11 REC-15 REC-16', 'record.encode', record);
    cases.takes(`read ${name}`, 'REC-11 REC-15 REC-16', 'record.decode', { bytes: bytes! });
  }
  addRefusals(cases);
  addBlocks(cases);
  addVarints(cases);
  return cases.file;
}

function addRefusals(cases: CaseList): void {
  const payload = counting(0x40, 10);
  const bytes = join([0], bigEndian(0, 6), bigEndian(5_000, 8), bigEndian(10, 4), payload);
  const read = (name: string, clauses: string, changed: Uint8Array): void =>
    cases.refuses(name, clauses, 'record.decode', { bytes: hexOf(changed) });
  for (const encoding of [2, 3, 128, 255])
    read(`encoding ${encoding}`, 'REC-14', patched(bytes, 0, encoding));
  for (const length of [0, 1, 6, 7, 14, 15, 18]) {
    read(`a header of ${length} bytes`, 'PKT-4 REC-14', bytes.slice(0, length));
  }
  read('a stored payload one byte short', 'REC-15', bytes.slice(0, -1));
  read('a stored payload one byte long', 'REC-15', join(bytes, [0]));
  read('a stored payload of 0 for 10', 'REC-15', bytes.slice(0, 19));
  read('an LZ4 payload as long as the plaintext', 'REC-15', patched(bytes, 0, 1));
  read('an LZ4 payload longer than the plaintext', 'REC-15', join(patched(bytes, 0, 1), [0]));
  read('an LZ4 payload of no plaintext', 'REC-15', join([1], new Uint8Array(18)));
  const left = (name: string, clauses: string, ...dataLeft: readonly number[]): void =>
    read(`dataLeft ${name}`, clauses, patched(bytes, 7, ...dataLeft));
  left('of -2', 'REC-16', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe);
  left('of -(2^53 - 1)', 'REC-16', 0xff, 0xe0, 0, 0, 0, 0, 0, 1);
  left('of -2^53', 'PKT-9', 0xff, 0xe0, 0, 0, 0, 0, 0, 0);
  left('of -2^63', 'PKT-9', 0x80, 0, 0, 0, 0, 0, 0, 0);
  left('of 2^53', 'PKT-9', 0, 0x20, 0, 0, 0, 0, 0, 0);
  left('of 2^63 - 1', 'PKT-9', 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
  read('a plain length of 2^32 - 1', 'REC-11', patched(bytes, 15, 0xff, 0xff, 0xff, 0xff));
  read(
    'an LZ4 record of a plain length of 65,537',
    'REC-11',
    patched(bytes, 0, 1, ...bytes.slice(1, 15), 0, 1, 0, 1),
  );
}

/** [REC-5], by the block format of LZ4. */
function addBlocks(cases: CaseList): void {
  const expand = (
    name: string,
    plainLength: number,
    ...block: readonly (readonly number[] | Uint8Array)[]
  ): void => {
    cases.takes(name, 'REC-5', 'record.expand', { plainLength, payload: hexOf(join(...block)) });
  };
  const refuse = (
    name: string,
    plainLength: number,
    ...block: readonly (readonly number[] | Uint8Array)[]
  ): void => cases.refuses(name, 'REC-5', 'record.expand', { plainLength, payload: hexOf(join(...block)) });
  const tail = ascii('enden');
  const run = join([0x1f], ascii('a'), [1, 0, 60], [0x50], tail);
  expand('a run of one letter', 1 + 4 + 15 + 60 + 5, run);
  expand('a match at a distance of 4', 4 + 8 + 5, [0x44], ascii('abcd'), [4, 0], [0x50], tail);
  const long = fixedBytes('lz4', 300);
  expand('300 literals, then a match', 300 + 100 + 5, [0xff, 255, 30], long, [0x2c, 0x01, 81], [0x50], tail);
  expand(
    'a match whose length takes two more bytes',
    8 + 4 + 15 + 255 + 10 + 5,
    [0x8f],
    long.slice(0, 8),
    [8, 0, 255, 10],
    [0x50],
    tail,
  );
  expand(
    'the longest plaintext',
    65_536,
    [0x1f, 0x7a, 1, 0],
    new Uint8Array(256).fill(255),
    [65_536 - 1 - 19 - 5 - 256 * 255],
    [0x50],
    tail,
  );
  refuse('one byte less than stated', 86, run);
  refuse('one byte more than stated', 84, run);
  refuse('far more than stated', 30, run);
  refuse('a distance of 0', 17, [0x44], ascii('abcd'), [0, 0], [0x50], tail);
  refuse('a distance behind the start', 17, [0x44], ascii('abcd'), [5, 0], [0x50], tail);
  refuse('more literals than there are', 200, [0xf0, 100], ascii('abc'));
  refuse('a length that does not end', 1_000, [0xf0, 255, 255]);
  refuse('a match cut in its distance', 100, [0x44], ascii('abcd'), [4]);
  refuse('no block', 10);
  refuse('a block as long as its plaintext', 5, [0x40], ascii('abcd'));
}

function addVarints(cases: CaseList): void {
  for (const bytes of ['00', '25', '3f', '4040', '7bbd', '7fff', '80004000', '9d7f3e7d', 'bfffffff']) {
    cases.takes(`varint ${bytes}`, 'PKT-5', 'varint.decode', { bytes });
  }
  for (const bytes of ['c000000040000000', 'c0197c5eff14e88c', 'c01fffffffffffff']) {
    cases.takes(`varint ${bytes}`, 'PKT-5', 'varint.decode', { bytes });
  }
  for (const bytes of ['4025', '403f', '80000000', '80003fff', 'c000000000000025', 'c00000003fffffff']) {
    cases.refuses(`varint ${bytes}, not the shortest`, 'PKT-5', 'varint.decode', { bytes });
  }
  for (const bytes of ['c020000000000000', 'ffffffffffffffff']) {
    cases.refuses(`varint ${bytes}, above 2^53 - 1`, 'PKT-5', 'varint.decode', { bytes });
  }
  for (const bytes of ['', '40', '800000', 'c0000000400000', '0000']) {
    cases.refuses(`varint ${bytes}, of another length`, 'PKT-4 PKT-5', 'varint.decode', { bytes });
  }
}
