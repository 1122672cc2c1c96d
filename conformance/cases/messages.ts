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

function lock(fields: {
  readonly name?: Uint8Array;
  readonly shared?: number;
  readonly leaseMillis?: number;
}): Uint8Array {
  const { name = ascii('a'), shared = 0, leaseMillis = 1_000 } = fields;
  return body((writer) => {
    writer.u8(name.length);
    writer.bytes(name);
    writer.zeros(16);
    writer.u8(shared);
    writer.u32(leaseMillis);
    writer.u32(0);
  });
}

function unlock(name = ascii('a')): Uint8Array {
  return body((writer) => {
    writer.u8(name.length);
    writer.bytes(name);
    writer.zeros(16 + 6);
  });
}

function sessionWrite(fields: {
  readonly number?: number;
  readonly lifetimeSeconds?: number;
  readonly said?: number;
  readonly dataBytes?: number;
}): Uint8Array {
  const { number = 1, lifetimeSeconds = 1, dataBytes = 3, said = dataBytes } = fields;
  return body((writer) => {
    writer.zeros(16 + 16);
    writer.u48(number);
    writer.u32(lifetimeSeconds);
    writer.u16(said);
    writer.zeros(dataBytes);
  });
}

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
  { name: 'REMOVE', kind: QueryKind.REMOVE, role: 'coordinator', body: () => new Uint8Array(40) },
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

/** Those of page 11, whose cases have the numbers behind the others. */
const OF_TENURES: readonly Shape[] = [
  { name: 'LOCK', kind: QueryKind.LOCK, role: 'coordinator', body: () => lock({}) },
  { name: 'UNLOCK', kind: QueryKind.UNLOCK, role: 'coordinator', body: () => unlock() },
  { name: 'SESSION_WRITE', kind: QueryKind.SESSION_WRITE, role: 'coordinator', body: () => sessionWrite({}) },
  { name: 'SESSION_READ', kind: QueryKind.SESSION_READ, role: 'coordinator', body: () => new Uint8Array(32) },
  { name: 'SESSION_END', kind: QueryKind.SESSION_END, role: 'coordinator', body: () => new Uint8Array(32) },
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

/** A body of another length than it has. */
function cutAndLonger(shape: Shape): CaseText[] {
  return [
    malformed(`${shape.name} cut at any byte`, shape, ['QRY-9', 'PKT-4'], () => cutsOf(shape.body())),
    malformed(`${shape.name} with bytes behind it`, shape, ['PKT-4', 'QRY-9'], () => [
      longer(shape.body(), 1),
      longer(shape.body(), 100),
    ]),
  ];
}

const texts: readonly CaseText[] = [
  ...SHAPES.flatMap(cutAndLonger),
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
  ...OF_TENURES.flatMap(cutAndLonger),
  malformed('LOCK with a flag that is none', coordinator(QueryKind.LOCK), ['MSG-3', 'QRY-9'], () =>
    [2, 255].map((shared) => lock({ shared })),
  ),
  ...[
    { name: 'LOCK', kind: QueryKind.LOCK, named: (name: Uint8Array) => lock({ name }) },
    { name: 'UNLOCK', kind: QueryKind.UNLOCK, named: unlock },
  ].map(({ name, kind, named }) =>
    malformed(`${name} with a name of no byte, or above 80`, coordinator(kind), ['LOCK-6', 'LOCK-1'], () =>
      [0, 81, 255].map((bytes) => named(new Uint8Array(bytes).fill(0x61))),
    ),
  ),
  malformed('LOCK with a name that is no UTF-8', coordinator(QueryKind.LOCK), ['PKT-14', 'QRY-9'], () =>
    [OVERLONG, SURROGATE, TOO_HIGH, CUT].map((name) => lock({ name })),
  ),
  malformed(
    'LOCK for a lease below 1,000 ms, or above an hour',
    coordinator(QueryKind.LOCK),
    ['LOCK-6', 'QRY-9'],
    () => [0, 1, 999, 3_600_001, 0xffff_ffff].map((leaseMillis) => lock({ leaseMillis })),
  ),
  malformed('SESSION_WRITE of number 0', coordinator(QueryKind.SESSION_WRITE), ['USR-3', 'QRY-9'], () => [
    sessionWrite({ number: 0 }),
  ]),
  malformed(
    'SESSION_WRITE for a lifetime of 0, or above a year',
    coordinator(QueryKind.SESSION_WRITE),
    ['USR-2', 'USR-3'],
    () => [0, 31_536_001, 0xffff_ffff].map((lifetimeSeconds) => sessionWrite({ lifetimeSeconds })),
  ),
  malformed(
    'SESSION_WRITE of more than 640 bytes',
    coordinator(QueryKind.SESSION_WRITE),
    ['USR-2', 'QRY-9'],
    () => [641, 900].map((dataBytes) => sessionWrite({ dataBytes })),
  ),
  malformed(
    'SESSION_WRITE of other data than it says',
    coordinator(QueryKind.SESSION_WRITE),
    ['PKT-16', 'PKT-4'],
    () => [2, 4, 640, 0xffff].map((said) => sessionWrite({ said })),
  ),
];

export const messageCases = section('messages', 301, texts);
