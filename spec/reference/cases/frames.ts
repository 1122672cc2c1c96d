/** Cases of section 5.5: every frame, its truncations, its ranges, and frames behind one another. */

import { bytesOf, hexOf, type JsonObject } from '../json.ts';
import { bigEndian, join } from '../primitives.ts';
import { CaseList, counting, type VectorFile } from '../vectors.ts';

const LONGEST_TEXT = 'x'.repeat(200);

const FRAMES: Readonly<Record<string, JsonObject>> = {
  'PADDING of one byte': { type: 'PADDING', bytes: 1 },
  'PADDING of 40 bytes': { type: 'PADDING', bytes: 40 },
  PING: { type: 'PING' },
  'ACK of one number': { type: 'ACK', space: 0, delay: 0, ranges: [{ first: 0, last: 0 }] },
  'ACK of one range': { type: 'ACK', space: 1, delay: 125, ranges: [{ first: 5, last: 1_000_000 }] },
  'ACK of three ranges': {
    type: 'ACK',
    space: 0,
    delay: 65_535,
    ranges: [
      { first: 100, last: 110 },
      { first: 90, last: 98 },
      { first: 0, last: 3 },
    ],
  },
  'ACK of 32 ranges': {
    type: 'ACK',
    space: 1,
    delay: 1,
    ranges: Array.from({ length: 32 }, (_, index) => ({ first: 93 - 3 * index, last: 94 - 3 * index })),
  },
  'ACK of the largest numbers': {
    type: 'ACK',
    space: 0,
    delay: 0,
    ranges: [{ first: 2 ** 48 - 2 ** 32, last: 2 ** 48 - 1 }],
  },
  'CLOSE without a text': { type: 'CLOSE', code: 0, text: '' },
  'CLOSE with a text': { type: 'CLOSE', code: 1, text: '[FRM-2] frames: ünlesbar €' },
  'CLOSE with the longest text': { type: 'CLOSE', code: 65_535, text: LONGEST_TEXT },
  'QUERY without a body': { type: 'QUERY', queryId: 0, kind: 1, body: '' },
  'QUERY with a body': { type: 'QUERY', queryId: 2 ** 32 - 4, kind: 255, body: '00000007' },
  'QUERY with the longest body': { type: 'QUERY', queryId: 2, kind: 13, body: hexOf(counting(0, 1_024)) },
  'REPLY without a body': { type: 'REPLY', queryId: 1, code: 12, body: '' },
  'REPLY with the longest body': { type: 'REPLY', queryId: 7, code: 0, body: hexOf(counting(9, 1_024)) },
  NOTICE: { type: 'NOTICE', kind: 1, body: '00000000100000000000000200' },
  'NOTICE of an unknown kind': { type: 'NOTICE', kind: 200, body: 'ff' },
  'CREDIT of nothing': { type: 'CREDIT', flowId: 0, limit: 0, opened: 0, complete: false },
  'CREDIT, complete': { type: 'CREDIT', flowId: 4, limit: 65_536, opened: 65_536, complete: true },
  'CREDIT with the largest numbers': {
    type: 'CREDIT',
    flowId: 2 ** 32 - 1,
    limit: 2 ** 48 - 1,
    opened: 2 ** 48 - 2,
    complete: false,
  },
  RESEND: { type: 'RESEND', flowId: 6, recordNumber: 0x01020304 },
  STOP: { type: 'STOP', flowId: 8, code: 14 },
  RESET: { type: 'RESET', flowId: 9, code: 10 },
};

export function frameFile(): VectorFile {
  const cases = new CaseList('Frames');
  for (const [name, frame] of Object.entries(FRAMES)) {
    const { bytes } = cases.takes(`write ${name}`, 'FRM-1', 'frames.encode', { frames: [frame] });
    cases.takes(`read ${name}`, 'FRM-1', 'frames.decode', { bytes: bytes! });
    if (String(frame.type) !== 'PADDING') addTruncations(cases, name, bytesOf(bytes as string));
  }
  addSequences(cases);
  addAcks(cases);
  addRanges(cases);
  return cases.file;
}

/** Every shorter form of a short frame, some of a long one. */
function addTruncations(cases: CaseList, name: string, bytes: Uint8Array): void {
  for (let length = 1; length < bytes.length; length++) {
    if (length > 24 && length !== bytes.length - 1) continue;
    cases.refuses(`${name}, only ${length} bytes`, 'FRM-2 FRM-5', 'frames.decode', {
      bytes: hexOf(bytes.slice(0, length)),
    });
  }
}

function addSequences(cases: CaseList): void {
  const all = [
    'ACK of three ranges',
    'PING',
    'QUERY with a body',
    'CREDIT, complete',
    'NOTICE',
    'PADDING of 40 bytes',
  ];
  const frames = all.map((name) => FRAMES[name]!);
  const { bytes } = cases.takes('write six frames', 'FRM-1 FRM-5', 'frames.encode', { frames });
  cases.takes('read six frames', 'FRM-1 FRM-5', 'frames.decode', { bytes: bytes! });
  cases.takes('PADDING between frames', 'FRM-1 FRM-6', 'frames.decode', { bytes: '0100000001' });
  cases.refuses('no frame', 'FRM-2', 'frames.decode', { bytes: '' });
  for (const type of [0x0b, 0x10, 0x40, 0x7f, 0x80, 0xff]) {
    cases.refuses(`frame 0x${hexOf([type])}`, 'FRM-2', 'frames.decode', { bytes: hexOf([type]) });
    cases.refuses(`frame 0x${hexOf([type])} behind a PING`, 'FRM-2', 'frames.decode', {
      bytes: hexOf([1, type, 0, 0]),
    });
  }
}

function addAcks(cases: CaseList): void {
  const read = (name: string, clauses: string, bytes: Uint8Array): void =>
    cases.refuses(`ACK ${name}`, clauses, 'frames.decode', { bytes: hexOf(bytes) });
  const ack = (space: number, count: number, largest: number, ...lengths: readonly number[]): Uint8Array =>
    join([2, space, 0, 0, count], bigEndian(largest, 6), ...lengths.map((length) => bigEndian(length, 4)));
  read('of space 2', 'FRM-2', ack(2, 1, 9, 0));
  read('of space 255', 'FRM-2', ack(255, 1, 9, 0));
  read('without a range', 'ACK-4', ack(0, 0, 9));
  read('without a range, with a length', 'ACK-4', ack(0, 0, 9, 0));
  read('of 33 ranges', 'ACK-4', ack(0, 33, 1_000, ...new Array<number>(65).fill(0)));
  read('of 255 ranges', 'ACK-4', ack(0, 255, 1_000, ...new Array<number>(509).fill(0)));
  read('whose range goes below 0', 'ACK-3', ack(0, 1, 9, 10));
  read('whose first range is the longest, below 0', 'ACK-3', ack(0, 1, 9, 2 ** 32 - 1));
  read('whose gap goes below 0', 'ACK-3', ack(0, 2, 9, 0, 8, 0));
  read('whose gap is the longest', 'ACK-3', ack(0, 2, 9, 0, 2 ** 32 - 1, 0));
  read('whose second range goes below 0', 'ACK-3', ack(0, 2, 9, 0, 0, 8));
  read('that lacks its second range', 'FRM-2', ack(0, 2, 9, 0));
  cases.takes('ACK down to 0 in one range', 'ACK-3', 'frames.decode', { bytes: hexOf(ack(0, 1, 9, 9)) });
  cases.takes('ACK down to 0 by its gap', 'ACK-3', 'frames.decode', { bytes: hexOf(ack(0, 2, 9, 0, 7, 0)) });
  const ranges = Array.from({ length: 33 }, (_, index) => ({ first: 96 - 3 * index, last: 97 - 3 * index }));
  cases.refuses('write ACK of 33 ranges', 'ACK-4', 'frames.encode', {
    frames: [{ type: 'ACK', space: 0, delay: 0, ranges }],
  });
}

function addRanges(cases: CaseList): void {
  const read = (name: string, clauses: string, ...parts: readonly (readonly number[] | Uint8Array)[]): void =>
    cases.refuses(name, clauses, 'frames.decode', { bytes: hexOf(join(...parts)) });
  const body = counting(0, 1_025);
  read('QUERY with a body of 1,025 bytes', 'FRM-4', [4, 0, 0, 0, 0, 1, 4, 1], body);
  read('REPLY with a body of 1,025 bytes', 'FRM-4', [5, 0, 0, 0, 0, 0, 4, 1], body);
  read('NOTICE with a body of 1,025 bytes', 'FRM-4', [6, 1, 4, 1], body);
  read('QUERY that states 65,535 bytes and has none', 'FRM-4 PKT-16', [4, 0, 0, 0, 0, 1, 0xff, 0xff]);
  read('CLOSE with a text of 201 bytes', 'FRM-7', [3, 0, 0, 201], new Uint8Array(201).fill(0x78));
  read('CLOSE with half a letter', 'PKT-14', [3, 0, 0, 1, 0xc3]);
  read('CLOSE with an overlong zero', 'PKT-14', [3, 0, 0, 2, 0xc0, 0x80]);
  read('CLOSE with an overlong slash', 'PKT-14', [3, 0, 0, 3, 0xe0, 0x80, 0xaf]);
  read('CLOSE with a surrogate', 'PKT-14', [3, 0, 0, 3, 0xed, 0xa0, 0x80]);
  read('CLOSE with a point above U+10FFFF', 'PKT-14', [3, 0, 0, 4, 0xf4, 0x90, 0x80, 0x80]);
  read('CLOSE with a lone tail', 'PKT-14', [3, 0, 0, 1, 0x80]);
  read('CLOSE with the byte ff', 'PKT-14', [3, 0, 0, 1, 0xff]);
  cases.takes('CLOSE with a byte order mark', 'PKT-14', 'frames.decode', { bytes: '03000004efbbbf78' });
  cases.takes('CLOSE with the last point', 'PKT-14', 'frames.decode', { bytes: '03000004f48fbfbf' });
  cases.takes('CLOSE with a zero in its text', 'PKT-14', 'frames.decode', { bytes: '030000020078' });
  const credit = (limit: number, opened: number, complete: number): Uint8Array =>
    join([7, 0, 0, 0, 2], bigEndian(limit, 6), bigEndian(opened, 6), [complete]);
  read('CREDIT that opened more than its limit', 'FLOW-5', credit(10, 11, 0));
  read('CREDIT complete with the flag 2', 'FRM-2', credit(10, 10, 2));
  read('CREDIT complete with the flag 255', 'FRM-2', credit(10, 10, 255));
  cases.refuses('write CREDIT that opened more than its limit', 'FLOW-5', 'frames.encode', {
    frames: [{ type: 'CREDIT', flowId: 2, limit: 10, opened: 11, complete: false }],
  });
  cases.refuses('write QUERY with a body of 1,025 bytes', 'FRM-4', 'frames.encode', {
    frames: [{ type: 'QUERY', queryId: 0, kind: 1, body: hexOf(body) }],
  });
  cases.refuses('write CLOSE with a text of 201 bytes', 'FRM-7', 'frames.encode', {
    frames: [{ type: 'CLOSE', code: 0, text: 'x'.repeat(201) }],
  });
}
