/** Bodies that do not decode: each is answered MALFORMED, and none ends the session. */

import { QueryKind, ResultCode, Writer } from '../../src/wire/index.ts';
import { type CaseText, section, type WireContext } from '../case.ts';
import { expectThat } from '../expectations.ts';

type Role = 'coordinator' | 'node';

/** The right body of a kind, of zeros where a field may be anything. */
interface Shape {
  readonly name: string;
  readonly kind: number;
  readonly role: Role;
  /** What a body that decodes is made of. */
  readonly body: () => Uint8Array;
}

const LONG = 600;
const MEMBERS_BYTES = 6 + 16 + 4;
const DIGEST_BYTES = 6 + 64 * 8;

function body(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer(new Uint8Array(LONG * 2));
  write(writer);
  return writer.buffer.slice(0, writer.at);
}

function whereTo(replicas: number, flag: number, hashBytes: number): Uint8Array {
  return body((writer) => {
    writer.zeros(8);
    writer.u48(1);
    writer.u8(replicas);
    writer.u8(flag);
    writer.zeros(hashBytes);
  });
}

/** Lists of a count and so many bytes. */
function list(count: number, bytes: number): (writer: Writer) => void {
  return (writer) => {
    writer.u8(count);
    writer.zeros(bytes);
  };
}

function commit(count: number, bytes: number, replicas = 1): Uint8Array {
  return body((writer) => {
    writer.zeros(46);
    writer.u8(replicas);
    list(count, bytes)(writer);
  });
}

function join(name: Uint8Array, address: Uint8Array, offload = 0, draining = 0): Uint8Array {
  return body((writer) => {
    writer.zeros(16 + 6);
    for (const text of [name, address]) {
      writer.u8(text.length);
      writer.bytes(text);
    }
    writer.zeros(12);
    writer.u8(offload);
    writer.u8(draining);
  });
}

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
const ADDRESS = ascii('127.0.0.1:9');

const SHAPES: readonly Shape[] = [
  { name: 'STATUS', kind: QueryKind.STATUS, role: 'coordinator', body: () => new Uint8Array(4) },
  { name: 'WHERE_TO', kind: QueryKind.WHERE_TO, role: 'coordinator', body: () => whereTo(1, 1, 32) },
  { name: 'WHERE_IS', kind: QueryKind.WHERE_IS, role: 'coordinator', body: () => new Uint8Array(32) },
  {
    name: 'COMMIT',
    kind: QueryKind.COMMIT,
    role: 'coordinator',
    body: () => commit(1, 32),
  },
  { name: 'RELEASE', kind: QueryKind.RELEASE, role: 'coordinator', body: () => new Uint8Array(8) },
  { name: 'RENEW', kind: QueryKind.RENEW, role: 'coordinator', body: () => new Uint8Array(8) },
  { name: 'REMOVE', kind: QueryKind.REMOVE, role: 'coordinator', body: () => new Uint8Array(32) },
  { name: 'JOIN', kind: QueryKind.JOIN, role: 'coordinator', body: () => join(ascii('n'), ADDRESS) },
  { name: 'ADMIT', kind: QueryKind.ADMIT, role: 'coordinator', body: () => new Uint8Array(32) },
  {
    name: 'WHERE_IS_MANY',
    kind: QueryKind.WHERE_IS_MANY,
    role: 'coordinator',
    body: () => body(list(2, 64)),
  },
  { name: 'STORE', kind: QueryKind.STORE, role: 'node', body: () => new Uint8Array(14) },
  { name: 'READ', kind: QueryKind.READ, role: 'node', body: () => new Uint8Array(54) },
];

/** Kinds that are refused for another reason before their body matters, unless a node asks. */
const OF_NODES: readonly Shape[] = [
  { name: 'INVENTORY', kind: QueryKind.INVENTORY, role: 'coordinator', body: () => new Uint8Array(14) },
  { name: 'SETTLE', kind: QueryKind.SETTLE, role: 'coordinator', body: () => body(list(1, 40)) },
  { name: 'CORRUPT', kind: QueryKind.CORRUPT, role: 'coordinator', body: () => new Uint8Array(32) },
];

/** A case of bodies that must be answered MALFORMED, by a session that goes on. */
function malformed(
  title: string,
  { kind, role }: Pick<Shape, 'kind' | 'role'>,
  clauses: readonly string[],
  bodies: () => readonly Uint8Array[],
  asNode = false,
): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const session = asNode ? (await context.joined()).session : await context.connect();
    for (const wrong of bodies()) {
      const { code, body: answer } = await session.ask(kind, wrong, clauses[0]);
      expectThat(
        code === ResultCode.MALFORMED,
        `MALFORMED (11) to a body of ${wrong.length} bytes`,
        `code ${code}`,
      );
      expectThat(answer.length === 0, 'an empty body of MALFORMED', `${answer.length} bytes`, 'DEFS-1');
    }
    await session.checkAlive('QRY-9');
  };
  return { title, role, clauses, run };
}

function cutsOf(whole: Uint8Array): Uint8Array[] {
  return Array.from({ length: whole.length }, (_, bytes) => whole.slice(0, bytes));
}

function longer(whole: Uint8Array, by: number): Uint8Array {
  const bytes = new Uint8Array(whole.length + by);
  bytes.set(whole);
  return bytes;
}

const coordinator = (kind: number): Pick<Shape, 'kind' | 'role'> => ({ kind, role: 'coordinator' });
const OVERLONG = new Uint8Array([0xc0, 0x80]);
const SURROGATE = new Uint8Array([0xed, 0xa0, 0x80]);
const TOO_HIGH = new Uint8Array([0xf4, 0x90, 0x80, 0x80]);
const CUT = new Uint8Array([0xe2, 0x82]);

const texts: readonly CaseText[] = [
  ...SHAPES.flatMap((shape) => [
    malformed(`${shape.name} cut at any byte`, shape, ['QRY-9', 'PKT-4'], () => cutsOf(shape.body())),
    malformed(`${shape.name} with bytes behind it`, shape, ['PKT-4', 'QRY-9'], () => [
      longer(shape.body(), 1),
      longer(shape.body(), 100),
    ]),
  ]),
  ...OF_NODES.flatMap((shape) => [
    malformed(
      `${shape.name} of a node, cut at any byte`,
      shape,
      ['QRY-9', 'PKT-4'],
      () => cutsOf(shape.body()),
      true,
    ),
    malformed(
      `${shape.name} of a node, with bytes behind it`,
      shape,
      ['PKT-4', 'QRY-9'],
      () => [longer(shape.body(), 1), longer(shape.body(), 100)],
      true,
    ),
  ]),
  malformed(
    'WHERE_TO of 0 or more than 8 replicas',
    coordinator(QueryKind.WHERE_TO),
    ['DEFS-6', 'QRY-9'],
    () => [0, 9, 255].map((replicas) => whereTo(replicas, 0, 0)),
  ),
  malformed('WHERE_TO with a flag that is none', coordinator(QueryKind.WHERE_TO), ['MSG-3', 'QRY-9'], () =>
    [2, 3, 128, 255].map((flag) => whereTo(1, flag, 32)),
  ),
  malformed('WHERE_TO with a hash that its flag denies', coordinator(QueryKind.WHERE_TO), ['PKT-4'], () => [
    whereTo(1, 0, 32),
    whereTo(1, 1, 0),
  ]),
  malformed('COMMIT of more than 8 receipts', coordinator(QueryKind.COMMIT), ['MSG-7', 'QRY-9'], () =>
    [9, 20].map((count) => commit(count, count * 32)),
  ),
  malformed(
    'COMMIT whose list is shorter than it says',
    coordinator(QueryKind.COMMIT),
    ['PKT-16', 'MSG-7'],
    () => [1, 8, 255].map((count) => commit(count, 31)),
  ),
  malformed('WHERE_IS_MANY without a hash', coordinator(QueryKind.WHERE_IS_MANY), ['MSG-11', 'QRY-9'], () => [
    body(list(0, 0)),
  ]),
  malformed(
    'WHERE_IS_MANY of more hashes than there are',
    coordinator(QueryKind.WHERE_IS_MANY),
    ['PKT-16'],
    () => [3, 31, 32, 255].map((count) => body(list(count, 64))),
  ),
  malformed(
    'SETTLE of more than 20 entries',
    coordinator(QueryKind.SETTLE),
    ['MSG-9', 'MSG-7'],
    () => [body(list(21, 21 * 40))],
    true,
  ),
  malformed('JOIN with a flag that is none', coordinator(QueryKind.JOIN), ['MSG-3', 'QRY-9'], () =>
    [2, 255].map((flag) => join(ascii('n'), ADDRESS, flag)),
  ),
  malformed('JOIN with a name above 80 bytes', coordinator(QueryKind.JOIN), ['MSG-4', 'QRY-9'], () =>
    [81, 200].map((bytes) => join(new Uint8Array(bytes).fill(0x61), ADDRESS)),
  ),
  malformed('JOIN with an address above 80 bytes', coordinator(QueryKind.JOIN), ['MSG-4', 'QRY-9'], () =>
    [81, 200].map((bytes) => join(ascii('n'), new Uint8Array(bytes).fill(0x61))),
  ),
  ...(
    [
      ['an overlong form', OVERLONG],
      ['a surrogate', SURROGATE],
      ['a point above U+10FFFF', TOO_HIGH],
      ['a sequence that is cut', CUT],
    ] as const
  ).map(([what, bytes]) =>
    malformed(`JOIN with ${what} in its name`, coordinator(QueryKind.JOIN), ['PKT-14', 'QRY-9'], () => [
      join(bytes, ADDRESS),
    ]),
  ),
  malformed(
    'JOIN with a name that its length cuts',
    coordinator(QueryKind.JOIN),
    ['PKT-14', 'PKT-16'],
    () => [join(ascii('name'), new Uint8Array(0)).slice(0, 25)],
  ),
  {
    title: 'JOIN with a name of 80 bytes, and one that begins with a byte order mark, are taken',
    clauses: ['MSG-4', 'PKT-14'],
    role: 'coordinator',
    run: async (context) => {
      for (const name of [new Uint8Array(80).fill(0x61), ascii('\uFEFFname'), ascii('\u{1F600}é')]) {
        const session = await context.connect();
        const { code } = await session.ask(QueryKind.JOIN, join(name, ADDRESS), 'PKT-14');
        expectThat(code === ResultCode.OK, 'OK and a nonce', `code ${code}`);
      }
    },
  },
  malformed('COMMIT for 0 or more than 8 replicas', coordinator(QueryKind.COMMIT), ['DEFS-6', 'QRY-9'], () =>
    [0, 9, 255].map((replicas) => commit(1, 32, replicas)),
  ),
  malformed(
    'JOIN with a flag of draining that is none',
    coordinator(QueryKind.JOIN),
    ['MSG-3', 'QRY-9'],
    () => [2, 255].map((draining) => join(ascii('n'), ADDRESS, 0, draining)),
  ),
  malformed('MEMBERS cut at any byte', coordinator(QueryKind.MEMBERS), ['QRY-9', 'PKT-4'], () =>
    cutsOf(new Uint8Array(MEMBERS_BYTES)),
  ),
  malformed('MEMBERS with bytes behind it', coordinator(QueryKind.MEMBERS), ['PKT-4', 'QRY-9'], () => [
    new Uint8Array(MEMBERS_BYTES + 1),
    new Uint8Array(MEMBERS_BYTES + 100),
  ]),
  malformed(
    'DIGEST of a node, of another length than it has',
    coordinator(QueryKind.DIGEST),
    ['QRY-9', 'PKT-4', 'DIG-1'],
    () => [0, 6, DIGEST_BYTES - 8, DIGEST_BYTES - 1, DIGEST_BYTES + 1].map((bytes) => new Uint8Array(bytes)),
    true,
  ),
];

export const messageCases = section('messages', 301, texts);
