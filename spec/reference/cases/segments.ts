/** Cases of sections 3.3 and 3.4: records cut into segments, and one flow that puts them together. */

import { bytesOf, hexOf, type JsonObject } from '../json.ts';
import { epochKeys } from '../keys.ts';
import { expandBlock } from '../lz4.ts';
import { join, nonceOf, seal } from '../primitives.ts';
import { sealRecord } from '../sealing.ts';
import { cut, type Slice } from '../segments.ts';
import { CaseList, counting, fixedBytes, flipped, type VectorFile } from '../vectors.ts';
import { RECEIVER_TAG, TRAFFIC } from './sealing.ts';

const FLOW = 6;
const TAG = { high: 0xa1a2a3a4, low: 0xa5a6a7a8 };
const CREDIT = 1_000_000;

interface Made {
  readonly record: number;
  readonly epoch: number;
  readonly sealed: Uint8Array;
}

/** A record of `size` plaintext bytes at `offset`; `dataLeft` -1 unless it is said. */
function made(record: number, offset: number, size: number, dataLeft = -1, epoch = 0): Made {
  const header = { encoding: 0, offset, dataLeft, plainBytes: size } as const;
  const payload = fixedBytes(`record ${record}`, size);
  return { record, epoch, sealed: sealRecord(bytesOf(TRAFFIC), epoch, FLOW, record, header, payload) };
}

/** SEGMENT packets, each with the next segment number unless one is said. */
class Segments {
  #next = 0;

  /** Slices of `bytes` each, in order. */
  all(source: Made, bytes: number): Uint8Array[] {
    const slices: Slice[] = [];
    for (let offset = 0; offset < source.sealed.length; offset += bytes) {
      slices.push({ offset, length: Math.min(bytes, source.sealed.length - offset) });
    }
    return slices.map(({ offset, length }) => this.one(source, offset, length));
  }

  one(source: Made, offset = 0, length = source.sealed.length - offset, number = this.#next++): Uint8Array {
    const fields = { tag: TAG, epochBits: source.epoch % 4, flowId: FLOW, record: source.record };
    return cut(fields, number, source.sealed, [{ offset, length }])[0]!;
  }
}

export function segmentFile(): VectorFile {
  const cases = new CaseList('Segments, and a flow that receives them');
  addCuts(cases);
  addOrders(cases);
  addDuplicates(cases);
  addFailures(cases);
  addViolations(cases);
  addNumbers(cases);
  return cases.file;
}

function receive(
  cases: CaseList,
  name: string,
  clauses: string,
  packets: readonly Uint8Array[],
  changes: JsonObject = {},
): void {
  cases.takes(name, clauses, 'flow.receive', {
    trafficSecret: TRAFFIC,
    receiverTag: RECEIVER_TAG,
    flowId: FLOW,
    credit: CREDIT,
    ...changes,
    packets: packets.map((packet) => hexOf(packet)),
  });
}

function addCuts(cases: CaseList): void {
  const { sealed } = made(3, 0, 300);
  const request = (slices: readonly (readonly [number, number])[]): JsonObject => ({
    receiverTag: RECEIVER_TAG,
    epochBits: 1,
    segmentNumber: 40,
    flowId: FLOW,
    recordNumber: 3,
    sealed: hexOf(sealed),
    slices: slices.map(([offset, length]) => ({ offset, length })),
  });
  const takes = (name: string, ...slices: readonly (readonly [number, number])[]): void => {
    cases.takes(`cut ${name}`, 'SEG-1 SEG-2', 'segments.cut', request(slices));
  };
  takes('into one', [0, 335]);
  takes('into three', [0, 112], [112, 112], [224, 111]);
  takes('into pieces of one byte at both ends', [0, 1], [334, 1]);
  takes('into pieces that overlap', [0, 200], [100, 200], [135, 200]);
  takes('in another order', [224, 111], [0, 112], [112, 112]);
  const refuses = (name: string, slice: readonly [number, number]): void =>
    cases.refuses(`cut ${name}`, 'SEG-3', 'segments.cut', request([slice]));
  refuses('a piece behind the end', [335, 1]);
  refuses('a piece over the end', [300, 36]);
  refuses('a piece of no byte', [10, 0]);
}

function addOrders(cases: CaseList): void {
  const record = made(0, 0, 500, 0);
  const pieces = new Segments().all(record, 100);
  receive(cases, 'a record in one segment', 'REC-22 SEG-2', [new Segments().one(made(0, 0, 100, 0))]);
  receive(cases, 'a record in order', 'SEG-2', pieces);
  receive(cases, 'a record backwards', 'SEG-2', pieces.toReversed());
  receive(
    cases,
    'a record in a mixed order',
    'SEG-2',
    [3, 0, 5, 1, 4, 2].map((index) => pieces[index]!),
  );
  const segments = new Segments();
  receive(cases, 'pieces of one byte', 'SEG-2', segments.all(made(0, 0, 10, 0), 1));
  const overlapping = new Segments();
  receive(cases, 'pieces that overlap', 'SEG-2', [
    overlapping.one(record, 0, 300),
    overlapping.one(record, 200, 200),
    overlapping.one(record, 150, 100),
    overlapping.one(record, 390, 145),
  ]);
  const anew = new Segments();
  receive(cases, 'a record that is cut anew', 'SEG-2 SEG-4 REC-13', [
    ...anew.all(record, 100).slice(0, 2),
    ...anew.all(record, 77),
  ]);
  const many = new Segments();
  const [first, second, third] = [made(0, 0, 200), made(1, 200, 300), made(2, 500, 50, 0)];
  receive(
    cases,
    'three records in order',
    'REC-16 REC-19',
    [first, second, third].flatMap((one) => many.all(one, 120)),
  );
  const mixed = new Segments();
  receive(cases, 'three records backwards', 'REC-19', [
    ...mixed.all(third, 120),
    ...mixed.all(second, 120),
    ...mixed.all(first, 120),
  ]);
  const woven = new Segments();
  const [a, b] = [woven.all(first, 80), woven.all(second, 80)];
  receive(cases, 'two records woven into each other', 'SEG-2', [
    b[0]!,
    a[0]!,
    b[1]!,
    a[1]!,
    b[2]!,
    a[2]!,
    b[3]!,
    b[4]!,
  ]);
  receive(cases, 'a flow of nothing', 'REC-19', [new Segments().one(made(0, 0, 0, 0))]);
  const ends = new Segments();
  receive(cases, 'a flow that ends by an empty record', 'REC-16 REC-19', [
    ends.one(made(0, 0, 200)),
    ends.one(made(1, 200, 0, 0)),
  ]);
  const known = new Segments();
  receive(cases, 'an end that every record states', 'REC-16', [
    known.one(made(0, 0, 200, 350)),
    known.one(made(1, 200, 300, 50)),
    known.one(made(2, 500, 50, 0)),
  ]);
  const updated = new Segments();
  receive(cases, 'records of two epochs', 'REC-3 KEY-8', [
    updated.one(made(0, 0, 100)),
    updated.one(made(1, 100, 100, -1, 1)),
    updated.one(made(2, 200, 100)),
    updated.one(made(3, 300, 100, 0, 1)),
  ]);
  const large = new Segments();
  receive(cases, 'the longest record', 'REC-11 REC-12', large.all(made(0, 0, 65_536, 0), 8_938), {
    credit: 65_536,
  });
  addLz4(cases);
}

function addLz4(cases: CaseList): void {
  const block = join([0x1f, 0x61, 1, 0, 60, 0x50], counting(0x65, 5));
  const plainBytes = expandBlock(block, 85)!.length;
  const header = { encoding: 1, offset: 0, dataLeft: 0, plainBytes } as const;
  const sealed = sealRecord(bytesOf(TRAFFIC), 0, FLOW, 0, header, block);
  const segments = new Segments();
  receive(cases, 'a compressed record', 'REC-5 REC-15', segments.all({ record: 0, epoch: 0, sealed }, 20));
}

function addDuplicates(cases: CaseList): void {
  const [record, last] = [made(0, 0, 300), made(1, 300, 100, 0)];
  const segments = new Segments();
  const pieces = segments.all(record, 100);
  receive(cases, 'the same packet twice', 'SEG-7', [pieces[0]!, pieces[0]!, ...pieces.slice(1)]);
  const anew = new Segments();
  receive(cases, 'the same slice under another number', 'SEG-7', [
    anew.one(record, 0, 100),
    anew.one(record, 0, 100),
    anew.one(record, 50, 20),
    anew.one(record, 100),
  ]);
  const open = new Segments();
  receive(cases, 'a slice of a record that has opened', 'SEG-7 REC-20', [
    open.one(record),
    open.one(record, 10, 50),
    open.one(record),
    open.one(record, 0, 335, 0),
  ]);
  const numbers = new Segments();
  receive(cases, 'new bytes under a number that was seen', 'SEG-7', [
    numbers.one(record, 0, 100, 5),
    numbers.one(record, 100, 100, 5),
    numbers.one(record, 200, 135, 5),
  ]);
  const ended = new Segments();
  receive(cases, 'segments after the end of the flow', 'SEG-7', [
    ended.one(record),
    ended.one(last),
    ended.one(record),
    ended.one(last, 0, 50),
    ended.one(last, 0, 50, 3),
  ]);
  const other = new Segments();
  const fields = { tag: TAG, epochBits: 0, flowId: FLOW + 2, record: 0 };
  const stranger = (number: number): Uint8Array =>
    cut(fields, number, record.sealed, [{ offset: 0, length: 100 }])[0]!;
  receive(cases, 'a segment of a flow that is not open', 'SEG-6', [
    stranger(100),
    stranger(100),
    other.one(record),
  ]);
}

function addFailures(cases: CaseList): void {
  const record = made(0, 0, 300, 0);
  const spoiled = (piece: Uint8Array): Uint8Array => flipped(piece, piece.length - 1);
  const whole = new Segments();
  receive(cases, 'a whole record that does not open', 'REC-17', [
    spoiled(whole.one(record)),
    whole.one(record),
  ]);
  const one = new Segments();
  const [first, second, third, fourth] = one.all(record, 100);
  receive(cases, 'a record that does not open, once', 'REC-18', [
    first!,
    spoiled(second!),
    third!,
    fourth!,
    ...one.all(record, 100),
  ]);
  const thrice = new Segments();
  const attempts = [1, 2, 3].flatMap(() => {
    const [start, ...rest] = thrice.all(record, 200);
    return [spoiled(start!), ...rest];
  });
  receive(cases, 'a record that does not open, three times', 'REC-18', [
    ...attempts,
    ...thrice.all(record, 200),
  ]);
  const apart = new Segments();
  const records = [made(0, 0, 300), made(1, 300, 300), made(2, 600, 300, 0)];
  receive(cases, 'three records that do not open, once each', 'REC-18', [
    ...records.flatMap((source) => {
      const [start, ...rest] = apart.all(source, 200);
      return [spoiled(start!), ...rest];
    }),
  ]);
  const lengths = new Segments();
  const longer = { ...record, sealed: join(record.sealed, [0]) };
  receive(cases, 'two lengths of one record', 'SEG-8', [
    lengths.one(record, 0, 100),
    lengths.one(longer, 100, 100),
    ...lengths.all(record, 168),
  ]);
  const forged = new Segments();
  const wrongEpoch = { ...record, epoch: 2 };
  receive(cases, 'a whole record of the epoch after the next', 'KEY-10 REC-17', [
    forged.one(wrongEpoch),
    forged.one(record),
  ]);
}

/** What closes the session: the trace ends there. */
function addViolations(cases: CaseList): void {
  const closes = (
    name: string,
    clauses: string,
    records: readonly Made[],
    changes: JsonObject = {},
  ): void => {
    const segments = new Segments();
    receive(
      cases,
      name,
      clauses,
      records.map((record) => segments.one(record)),
      changes,
    );
  };
  closes('a record that ends at the credit', 'FLOW-3', [made(0, 0, 200, 0)], { credit: 200 });
  closes('a record that ends behind the credit', 'FLOW-3', [made(0, 0, 201, 0)], { credit: 200 });
  closes('a record far behind the credit', 'FLOW-3', [made(9, 2_000_000, 10)]);
  closes('two records that disagree about the end', 'REC-16', [made(0, 0, 100, 100), made(1, 100, 50, 51)]);
  closes('a record behind the end', 'REC-16', [made(0, 0, 100, 50), made(1, 100, 100)]);
  closes('a record behind the end that came first', 'REC-16', [made(1, 100, 100), made(0, 0, 100, 50)]);
  closes('a record behind the last one', 'REC-16', [
    made(2, 150, 0, 0),
    made(1, 100, 50, 0),
    made(0, 0, 100),
  ]);
  closes('a gap between records', 'REC-19', [made(0, 0, 100), made(1, 101, 100)]);
  closes('records that overlap', 'REC-19', [made(0, 0, 100), made(1, 99, 100)]);
  closes('a first record that does not start at 0', 'REC-19', [made(0, 1, 100)]);
  closes('an empty record that is not the last', 'REC-19', [made(0, 0, 0)]);
  closes('an empty record that is not the last, by dataLeft', 'REC-19', [made(0, 0, 0, 10)]);
  // Headers that no encoder writes: sealed as they are.
  const { recordKey } = epochKeys(bytesOf(TRAFFIC), 0);
  const raw = (plaintext: Uint8Array): Uint8Array =>
    seal(recordKey, nonceOf(FLOW, 0), new Uint8Array(0), plaintext);
  const header = join([0], new Uint8Array(6), new Uint8Array(8).fill(0xff), [0, 0, 0, 3]);
  const bad: Readonly<Record<string, Uint8Array>> = {
    'a record of an unknown encoding': join([2], header.slice(1), [1, 2, 3]),
    'a record of another length than it states': join(header, [1, 2]),
    'a record of nothing at all': new Uint8Array(0),
    'a record of a header alone, cut': header.slice(0, 18),
    'a record whose dataLeft is -2': join(header.slice(0, 14), [0xfe], header.slice(15), [1, 2, 3]),
  };
  for (const [name, plaintext] of Object.entries(bad)) {
    closes(name, name.includes('dataLeft') ? 'REC-16' : 'REC-14', [
      { record: 0, epoch: 0, sealed: raw(plaintext) },
    ]);
  }
}

/** [SEG-5] */
function addNumbers(cases: CaseList): void {
  const [first, second] = [made(0, 0, 100), made(1, 100, 100, 0)];
  const segments = new Segments();
  const at = (source: Made, number: number): Uint8Array =>
    segments.one(source, 0, source.sealed.length, number);
  receive(cases, 'the first number is 65,535', 'SEG-5', [at(first, 65_535), at(second, 131_071)]);
  receive(cases, 'the first number is 65,536', 'SEG-5', [
    at(first, 65_536),
    at(first, 0),
    at(second, 65_536),
  ]);
  receive(cases, 'a number 65,537 ahead', 'SEG-5', [at(first, 10), at(second, 65_547), at(second, 65_546)]);
  receive(cases, 'numbers far behind', 'SEG-5', [at(first, 60_000), at(second, 0)]);
}
