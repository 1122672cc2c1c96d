/** Cases of page 01: every packet, each rule by which one is refused, and several packets in a datagram. */

import { bytesOf, hexOf, type Json, type JsonObject } from '../json.ts';
import { bigEndian, join } from '../primitives.ts';
import { CaseList, counting, fixedBytes, patched, type VectorFile } from '../vectors.ts';

const INITIATOR_TAG = '1122334455667788';
const RECEIVER_TAG = 'a1a2a3a4a5a6a7a8';
const MAC = hexOf(counting(0xd0, 16));
const COOKIE = hexOf(counting(0x40, 24));

/** One of each, with values that are easy to find again in the bytes. */
export const PACKETS: Readonly<Record<string, JsonObject>> = {
  'HELLO without a cookie': {
    type: 'HELLO',
    version: 1,
    secretId: hexOf(counting(0x10, 8)),
    initiatorTag: INITIATOR_TAG,
    cookie: null,
    noise: '',
    mac: MAC,
  },
  'HELLO with a cookie': {
    type: 'HELLO',
    version: 1,
    secretId: hexOf(counting(0x10, 8)),
    initiatorTag: INITIATOR_TAG,
    cookie: COOKIE,
    noise: hexOf(counting(0x60, 59)),
    mac: MAC,
  },
  'HELLO of a later version': {
    type: 'HELLO',
    version: 2,
    secretId: hexOf(counting(0x10, 8)),
    initiatorTag: INITIATOR_TAG,
    cookie: COOKIE,
    noise: hexOf(counting(0x60, 59)),
    mac: MAC,
  },
  COOKIE: {
    type: 'COOKIE',
    initiatorTag: INITIATOR_TAG,
    cookie: COOKIE,
    clusterId: hexOf(counting(0x80, 16)),
    mac: MAC,
  },
  WELCOME: { type: 'WELCOME', initiatorTag: INITIATOR_TAG, noise: hexOf(counting(0x01, 68)), mac: MAC },
  REFUSED: { type: 'REFUSED', initiatorTag: INITIATOR_TAG, code: 7, retryMs: 500, mac: MAC },
  SEALED: {
    type: 'SEALED',
    epochBits: 1,
    receiverTag: RECEIVER_TAG,
    packetNumber: 0x010203040506,
    sealed: hexOf(counting(0x20, 17)),
  },
  SEGMENT: {
    type: 'SEGMENT',
    epochBits: 2,
    receiverTag: RECEIVER_TAG,
    segmentNumber: 0x0a0b0c0d0e0f,
    flowId: 0x11121314,
    recordNumber: 0x21222324,
    offset: 1_000,
    sealedBytes: 1_166,
    slice: hexOf(counting(0x30, 100)),
  },
};

const EXTREMES: Readonly<Record<string, JsonObject>> = {
  'HELLO with a tag of zeros': { ...PACKETS['HELLO without a cookie']!, initiatorTag: '0000000000000000' },
  'HELLO with a tag of ones': { ...PACKETS['HELLO without a cookie']!, initiatorTag: 'ffffffffffffffff' },
  'HELLO whose cookie is zeros, with the flag': {
    ...PACKETS['HELLO with a cookie']!,
    cookie: hexOf(new Uint8Array(24)),
  },
  'REFUSED, retry at once': { ...PACKETS.REFUSED!, code: 12, retryMs: 0 },
  'REFUSED, longest retry': { ...PACKETS.REFUSED!, code: 255, retryMs: 65_535 },
  'SEALED, first number, epoch 0': { ...PACKETS.SEALED!, epochBits: 0, packetNumber: 0 },
  'SEALED, last number, epoch 3': { ...PACKETS.SEALED!, epochBits: 3, packetNumber: 2 ** 48 - 1 },
  'SEALED of a number above 2^32': { ...PACKETS.SEALED!, packetNumber: 2 ** 32 },
  'SEGMENT of one byte': { ...PACKETS.SEGMENT!, offset: 1_165, slice: 'ff' },
  'SEGMENT that is a whole record': {
    ...PACKETS.SEGMENT!,
    offset: 0,
    sealedBytes: 35,
    slice: hexOf(counting(0, 35)),
  },
  'SEGMENT at the end of the longest record': {
    ...PACKETS.SEGMENT!,
    offset: 65_571 - 100,
    sealedBytes: 65_571,
  },
  'SEGMENT with the largest numbers': {
    ...PACKETS.SEGMENT!,
    segmentNumber: 2 ** 48 - 1,
    flowId: 2 ** 32 - 1,
    recordNumber: 2 ** 32 - 1,
  },
};

/** For each packet: its fields' borders up to where a shorter packet is surely none, and its flags. */
const LAYOUTS: readonly { name: string; borders: readonly number[]; exact: boolean; flags: number }[] = [
  { name: 'HELLO without a cookie', borders: [4, 8, 9, 17, 25, 49, 64], exact: false, flags: 1 },
  { name: 'HELLO with a cookie', borders: [4, 8, 9, 17, 25, 49, 64], exact: false, flags: 1 },
  { name: 'COOKIE', borders: [4, 12, 36, 52, 67], exact: true, flags: 0 },
  { name: 'WELCOME', borders: [4, 12, 27], exact: false, flags: 0 },
  { name: 'REFUSED', borders: [4, 12, 13, 15, 30], exact: true, flags: 0 },
  { name: 'SEALED', borders: [4, 12, 17], exact: false, flags: 3 },
  { name: 'SEGMENT', borders: [4, 12, 18, 22, 26, 30, 33], exact: false, flags: 3 },
];

export function packetFile(): VectorFile {
  const cases = new CaseList('Packets, one by one');
  for (const [name, packet] of Object.entries({ ...PACKETS, ...EXTREMES })) {
    const { bytes } = cases.takes(`write ${name}`, 'PKT-2 PKT-9', 'packet.encode', { packet });
    cases.takes(`read ${name}`, 'PKT-2 PKT-3 PKT-9', 'packet.decode', { bytes: bytes! });
  }
  for (const layout of LAYOUTS) addRefusals(cases, layout);
  addHello(cases);
  addSegments(cases);
  addUnknown(cases);
  return cases.file;
}

function addRefusals(cases: CaseList, { name, borders, exact, flags }: (typeof LAYOUTS)[number]): void {
  const bytes = encodedOf(PACKETS[name]!);
  const read = (what: string, clauses: string, changed: Uint8Array): void =>
    cases.refuses(`${name}, ${what}`, clauses, 'packet.decode', { bytes: hexOf(changed) });
  for (const length of [0, 1, 3, ...borders]) {
    if (length < bytes.length) read(`only the first ${length} bytes`, 'PKT-3', bytes.slice(0, length));
    if (length >= 4) read(`ends after ${length} bytes`, 'PKT-4', withLength(bytes.slice(0, length)));
  }
  read('the last byte missing', 'PKT-3', bytes.slice(0, -1));
  read('a length of 0', 'PKT-3', patched(bytes, 2, 0, 0));
  read('a length of 3', 'PKT-3', patched(bytes, 2, 0, 3));
  read('a length above what is there', 'PKT-3', patched(bytes, 2, ...bigEndian(bytes.length + 1, 2)));
  read('a length of 65,535', 'PKT-3', patched(bytes, 2, 0xff, 0xff));
  if (exact) read('one byte too many', 'PKT-4', withLength(join(bytes, [0])));
  for (let bit = 0; bit < 8; bit++) {
    if (2 ** bit <= flags) continue;
    read(`flag bit ${bit}`, 'PKT-10', patched(bytes, 1, bytes[1]! | (1 << bit)));
  }
}

function addHello(cases: CaseList): void {
  const without = encodedOf(PACKETS['HELLO without a cookie']!);
  const withCookie = encodedOf(PACKETS['HELLO with a cookie']!);
  for (let at = 4; at < 8; at++) {
    const bytes = patched(without, at, without[at]! ^ 0x20);
    cases.refuses(`HELLO, byte ${at - 4} of the magic wrong`, 'PKT-6', 'packet.decode', {
      bytes: hexOf(bytes),
    });
  }
  const mixed: Readonly<Record<string, Uint8Array>> = {
    'the flag, and no Noise message': patched(without, 1, 1),
    'no flag, and a Noise message': patched(patched(withCookie, 1, 0), 25, ...new Uint8Array(24)),
    'no flag, and a cookie': patched(without, 25, ...counting(1, 24)),
    'no flag, and a cookie of one bit': patched(without, 48, 1),
    'no flag, a cookie and a Noise message': patched(withCookie, 1, 0),
  };
  for (const [name, bytes] of Object.entries(mixed)) {
    cases.refuses(`HELLO with ${name}`, 'HS-12', 'packet.decode', { bytes: hexOf(bytes) });
  }
  cases.refuses('write HELLO with a cookie and no Noise message', 'HS-12', 'packet.encode', {
    packet: { ...PACKETS['HELLO with a cookie']!, noise: '' },
  });
}

function addSegments(cases: CaseList): void {
  const broken: Readonly<Record<string, JsonObject>> = {
    'behind the end of its record': { offset: 1_067 },
    'that starts behind its record': { offset: 2_000 },
    'of a record that is too long': { offset: 0, sealedBytes: 65_572 },
    'of a record of 0 bytes': { offset: 0, sealedBytes: 0 },
    'whose offset and length pass 2^32': { offset: 2 ** 32 - 1, sealedBytes: 65_571 },
  };
  const bytes = encodedOf(PACKETS.SEGMENT!);
  for (const [name, fields] of Object.entries(broken)) {
    const { offset, sealedBytes } = { ...PACKETS.SEGMENT!, ...fields } as {
      offset: number;
      sealedBytes: number;
    };
    const changed = patched(bytes, 26, ...bigEndian(offset, 4), ...bigEndian(sealedBytes, 4));
    cases.refuses(`SEGMENT ${name}`, 'SEG-3', 'packet.decode', { bytes: hexOf(changed) });
  }
  cases.refuses('SEGMENT without a byte', 'SEG-3', 'packet.decode', {
    bytes: hexOf(withLength(bytes.slice(0, 34))),
  });
}

function addUnknown(cases: CaseList): void {
  const bytes = encodedOf(PACKETS.REFUSED!);
  for (const type of [0x00, 0x07, 0x08, 0x40, 0x80, 0xff]) {
    cases.refuses(`type 0x${hexOf([type])}`, 'PKT-2', 'packet.decode', {
      bytes: hexOf(patched(bytes, 0, type)),
    });
  }
  cases.refuses('nothing', 'PKT-3', 'packet.decode', { bytes: '' });
  cases.refuses('four bytes of zeros', 'PKT-2 PKT-3', 'packet.decode', { bytes: '00000000' });
  cases.refuses('two packets where one is asked for', 'PKT-15', 'packet.decode', {
    bytes: hexOf(join(bytes, bytes)),
  });
  cases.refuses('a byte behind the packet', 'PKT-15', 'packet.decode', { bytes: hexOf(join(bytes, [0])) });
}

export function datagramFile(): VectorFile {
  const cases = new CaseList('Several packets in a datagram');
  const sealed = encodedOf(PACKETS.SEALED!);
  const segment = encodedOf(PACKETS.SEGMENT!);
  const refused = encodedOf(PACKETS.REFUSED!);
  const split = (name: string, clauses: string, ...parts: readonly (Uint8Array | number[])[]): void => {
    cases.takes(name, clauses, 'datagram.split', { bytes: hexOf(join(...parts)) });
  };
  split('one packet', 'PKT-1', sealed);
  split('two packets', 'PKT-1', sealed, segment);
  split('three packets, of both kinds', 'PKT-1', segment, sealed, segment);
  split('a front packet between', 'PKT-1 PKT-13', sealed, refused, segment);
  split('twenty packets', 'PKT-1', ...new Array<Uint8Array>(20).fill(sealed));
  split('nothing', 'PKT-1');
  split('a packet of an unknown type is passed over', 'PKT-2 PKT-13', sealed, [9, 0, 0, 6, 1, 2], segment);
  split('a packet of four bytes is passed over', 'PKT-3 PKT-13', sealed, [5, 0, 0, 4], segment);
  split('a packet with a reserved flag is passed over', 'PKT-10 PKT-13', patched(sealed, 1, 0x10), segment);
  split('a segment outside its record is passed over', 'PKT-13 SEG-3', patched(segment, 26, 0xff), sealed);
  for (let left = 1; left < 4; left++) {
    split(`${left} bytes are left`, 'PKT-3', sealed, [5, 0, 0].slice(0, left));
  }
  split('a length of 0 ends the datagram', 'PKT-3', sealed, [5, 0, 0, 0], segment);
  split('a length of 3 ends the datagram', 'PKT-3', sealed, [5, 0, 0, 3], segment);
  split('a length behind the end', 'PKT-3', sealed, patched(segment, 2, 0x10, 0));
  split('the last packet is cut', 'PKT-3', sealed, segment.slice(0, -1));
  split('the first packet is too long', 'PKT-3', patched(sealed, 2, 0xff, 0xff), segment);
  split('the longest packet', 'PKT-3', [9, 0, 0xff, 0xe3], new Uint8Array(65_503));
  split('only zeros', 'PKT-3', new Uint8Array(64));
  split('bytes without a meaning', 'PKT-2 PKT-3', fixedBytes('datagram', 64));
  return cases.file;
}

/** The bytes of a packet, by the reference. */
export function encodedOf(packet: Json): Uint8Array {
  const scratch = new CaseList('scratch');
  return bytesOf(scratch.takes('x', 'PKT-2', 'packet.encode', { packet }).bytes as string);
}

/** The same bytes with the length that they have. */
function withLength(bytes: Uint8Array): Uint8Array {
  return patched(bytes, 2, ...bigEndian(bytes.length, 2));
}
