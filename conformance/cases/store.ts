/** A node's work: STORE and READ, and what its sending flows must keep to. */

import { equalBytes } from '../../src/base/bytes.ts';
import {
  decodeMessage,
  encodeMessage,
  FrameType,
  isFailure,
  noSpaceReply,
  QueryKind,
  type ReadQuery,
  ResultCode,
  readQuery,
  readReply,
  Space,
  storeQuery,
  storeReply,
} from '../../src/wire/index.ts';
import { type CaseText, section, type WireContext } from '../case.ts';
import { expectBytes, expectThat } from '../expectations.ts';
import { type IncomingFlow, plaintextOf } from '../incoming-flow.ts';
import type { RawSession } from '../peer.ts';

/** Random, so that no record of it is compressed. */
const OBJECT_BYTES = 200_000;
const FIRST_FLIGHT_BYTES = 14_720;
const DATAGRAM_BYTES_MIN = 1_200;
const QUIET_MILLIS = 250;
const NODE_OBJECT_BYTES = 2 ** 41;

interface Stored {
  readonly hash: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Stores an object, and checks what STORE must answer. */
async function store(context: WireContext, bytes: Uint8Array): Promise<Stored> {
  const session = await context.connect();
  const body = encodeMessage(storeQuery, { token: context.random(8), bytes: bytes.length });
  const id = session.query(QueryKind.STORE, body);
  const upload = await context.uploadFor(session, id);
  if (bytes.length === 0) await upload.deliverAll(bytes);
  else await upload.stream(bytes, 65_536);
  const { code, body: answer } = await upload.reply('DEFS-20');
  expectThat(code === ResultCode.OK, 'OK to STORE', `code ${code}`, 'DEFS-20');
  const reply = decodeMessage(storeReply, answer);
  expectThat(!isFailure(reply), 'a hash and a receipt', `${answer.length} bytes`, 'DEFS-20');
  const hash = context.suite.sha256(bytes);
  expectBytes(reply.hash, hash, 'the SHA-256', 'DEFS-21');
  return { hash, bytes };
}

/** Asks READ and expects its flow; nothing is waited for. */
function read(
  session: RawSession,
  hash: Uint8Array,
  range: Partial<ReadQuery> = {},
): { readonly id: number; readonly flow: IncomingFlow } {
  const message = { hash, offset: 0, length: 0, creditBytes: 1 << 20, recordBytes: 65_536, ...range };
  const id = session.query(QueryKind.READ, encodeMessage(readQuery, message));
  return { id, flow: session.expectFlow(id, message.creditBytes) };
}

function credit(session: RawSession, flow: IncomingFlow, limitBytes: number, complete = false): void {
  flow.limitBytes = Math.max(flow.limitBytes, limitBytes);
  const openedBytes = Math.min(flow.openedBytes, limitBytes);
  session.send([{ type: FrameType.CREDIT, flowId: flow.id, limitBytes, openedBytes, complete }]);
}

async function complete(session: RawSession, flow: IncomingFlow, clause = 'REC-13'): Promise<Uint8Array> {
  await session.until(() => flow.isComplete || undefined, 'the whole flow', { clause });
  credit(session, flow, Math.max(flow.limitBytes, flow.openedBytes), true);
  return plaintextOf(flow.records);
}

/** Sends what a sender must not believe, and expects the end. */
function lie(
  title: string,
  clauses: readonly string[],
  say: (session: RawSession, flow: IncomingFlow) => void | Promise<void>,
): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const { hash } = await store(context, context.random(OBJECT_BYTES));
    const session = await context.connect();
    const { id, flow } = read(session, hash, { creditBytes: 65_536, recordBytes: 4_096 });
    await session.reply(id);
    await say(session, flow);
    await session.expectClose(clauses[0]!);
  };
  return { title, role: 'node', clauses, run };
}

/** A case on a stored object. */
function onObject(
  title: string,
  clauses: readonly string[],
  run: (context: WireContext, stored: Stored) => Promise<void>,
  bytes = OBJECT_BYTES,
): CaseText {
  return {
    title,
    role: 'node',
    clauses,
    run: async (context) => run(context, await store(context, context.random(bytes))),
  };
}

/** A STORE whose flow has another length than it says. */
function wrongLength(title: string, said: number, sent: number): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const session = await context.connect();
    const body = encodeMessage(storeQuery, { token: context.random(8), bytes: said });
    const upload = await context.uploadFor(session, session.query(QueryKind.STORE, body));
    upload.send(0, upload.seal(0, context.random(sent)));
    const { code } = await upload.reply('DEFS-20');
    expectThat(code === ResultCode.MALFORMED, 'MALFORMED (11)', `code ${code}`);
  };
  return { title, role: 'node', clauses: ['DEFS-20'], run };
}

const texts: readonly CaseText[] = [
  ...[1, 1_000, 65_536, 65_537, OBJECT_BYTES].map(
    (bytes): CaseText => ({
      title: `an object of ${bytes} bytes is stored, and read as it was`,
      role: 'node',
      clauses: ['DEFS-20', 'DEFS-13', 'REC-16', 'REC-19', 'FLOW-3'],
      run: async (context) => {
        const stored = await store(context, context.random(bytes));
        const session = await context.connect();
        const { id, flow } = read(session, stored.hash);
        const { code, body } = await session.reply(id, { clause: 'DEFS-13' });
        expectThat(code === ResultCode.OK, 'OK', `code ${code}`, 'DEFS-13');
        const reply = decodeMessage(readReply, body);
        expectThat(
          !isFailure(reply) && reply.bytes === bytes,
          `a size of ${bytes}`,
          `${body.length} bytes of body`,
          'DEFS-13',
        );
        const plain = await complete(session, flow);
        expectThat(
          equalBytes(plain, stored.bytes),
          'what was stored',
          `${plain.length} other bytes`,
          'DEFS-22',
        );
        for (const record of flow.records) {
          const left = bytes - record.offset - record.plainBytes;
          expectThat(
            [left, -1].includes(record.dataLeft),
            `dataLeft ${left}`,
            `${record.dataLeft}`,
            'REC-16',
          );
        }
      },
    }),
  ),
  {
    title: 'an empty object is stored, and read as one empty record',
    role: 'node',
    clauses: ['DEFS-20', 'DEFS-13', 'REC-19'],
    run: async (context) => {
      const { hash } = await store(context, new Uint8Array(0));
      const session = await context.connect();
      const { flow } = read(session, hash);
      await complete(session, flow);
      const [record] = flow.records;
      expectThat(
        flow.records.length === 1 && record!.plainBytes === 0,
        'one empty record',
        `${flow.records.length}`,
        'DEFS-13',
      );
    },
  },
  ...(
    [
      [0, 1],
      [1, 999],
      [65_535, 2],
      [100_000, 0],
      [OBJECT_BYTES - 1, 1],
      [OBJECT_BYTES - 10, 1_000],
    ] as const
  ).map(([offset, length]) =>
    onObject(
      `a range of ${length} bytes from ${offset} on`,
      ['DEFS-13', 'REC-16'],
      async (context, { hash, bytes }) => {
        const session = await context.connect();
        const { id, flow } = read(session, hash, { offset, length });
        const { code } = await session.reply(id);
        expectThat(code === ResultCode.OK, 'OK', `code ${code}`);
        const plain = await complete(session, flow);
        const expected = bytes.subarray(offset, length === 0 ? bytes.length : offset + length);
        expectThat(
          equalBytes(plain, expected),
          `${expected.length} bytes of the object`,
          `${plain.length} bytes`,
        );
      },
    ),
  ),
  onObject('a range at the end of the object is one empty record', ['DEFS-13'], async (context, { hash }) => {
    const session = await context.connect();
    const { id, flow } = read(session, hash, { offset: OBJECT_BYTES });
    const { code } = await session.reply(id);
    expectThat(code === ResultCode.OK, 'OK', `code ${code}`);
    const plain = await complete(session, flow);
    expectThat(
      plain.length === 0 && flow.records.length === 1,
      'one empty record',
      `${flow.records.length} records`,
    );
  }),
  onObject('an offset behind the end is MALFORMED', ['DEFS-13'], async (context, { hash }) => {
    const session = await context.connect();
    for (const offset of [OBJECT_BYTES + 1, 2 ** 48 - 1]) {
      const { code } = await session.reply(read(session, hash, { offset }).id);
      expectThat(code === ResultCode.MALFORMED, 'MALFORMED (11)', `code ${code}`);
    }
  }),
  onObject('records of 0 bytes are MALFORMED', ['DEFS-13'], async (context, { hash }) => {
    const session = await context.connect();
    const { code } = await session.reply(read(session, hash, { recordBytes: 0 }).id);
    expectThat(code === ResultCode.MALFORMED, 'MALFORMED (11)', `code ${code}`);
  }),
  {
    title: 'an object that is not there is NOT_FOUND',
    role: 'node',
    clauses: ['DEFS-1'],
    run: async (context) => {
      const session = await context.connect();
      const { code } = await session.reply(read(session, context.random(32)).id);
      expectThat(code === ResultCode.NOT_FOUND, 'NOT_FOUND (3)', `code ${code}`);
    },
  },
  wrongLength('a STORE of fewer bytes than it says is MALFORMED', 1_000, 999),
  wrongLength('a STORE of more bytes than it says is MALFORMED', 1_000, 1_001),
  wrongLength('a STORE of bytes where it says none is MALFORMED', 0, 1),
  {
    title: 'a STORE for which there is no space gets no credit, and the free bytes',
    role: 'node',
    clauses: ['DEFS-20', 'DEFS-5'],
    run: async (context) => {
      const session = await context.connect();
      const body = encodeMessage(storeQuery, { token: context.random(8), bytes: NODE_OBJECT_BYTES });
      const id = session.query(QueryKind.STORE, body);
      const { code, body: answer } = await session.reply(id);
      expectThat(code === ResultCode.NO_SPACE, 'NO_SPACE (2)', `code ${code}`);
      const reply = decodeMessage(noSpaceReply, answer);
      const isRight = !isFailure(reply) && reply.nodesUp === 1 && reply.freeBytes < NODE_OBJECT_BYTES;
      expectThat(isRight, 'free bytes and 1', `${answer.length} bytes`, 'DEFS-20');
      expectThat(session.frames(FrameType.CREDIT).length === 0, 'no CREDIT', () => session.summary);
    },
  },
  onObject('no segment comes before credit', ['FLOW-2', 'FLOW-3'], async (context, { hash, bytes }) => {
    const session = await context.connect();
    const { id, flow } = read(session, hash, { creditBytes: 0, recordBytes: 4_096 });
    await session.reply(id);
    await session.checkAlive();
    await session.idle(QUIET_MILLIS);
    expectThat(session.segments.length === 0, 'no segment', `${session.segments.length}`, 'FLOW-2');
    credit(session, flow, bytes.length);
    const plain = await complete(session, flow, 'FLOW-4');
    expectThat(equalBytes(plain, bytes), 'the object', 'other bytes');
  }),
  onObject('no record goes beyond the credit', ['FLOW-3'], async (context, { hash, bytes }) => {
    const session = await context.connect();
    const { flow } = read(session, hash, { creditBytes: 10_000, recordBytes: 4_096 });
    for (const limit of [10_000, 10_001, 30_000, bytes.length - 1]) {
      credit(session, flow, limit);
      const look = (): true | undefined => flow.openedBytes > limit - 4_096 || undefined;
      await session.until(look, `records up to ${limit}`, {
        clause: 'FLOW-4',
        again: () => credit(session, flow, limit),
      });
      await session.idle(50);
      expectThat(flow.openedBytes <= limit, `at most ${limit} bytes`, `${flow.openedBytes}`, 'FLOW-3');
    }
    credit(session, flow, bytes.length);
    await complete(session, flow);
  }),
  onObject('credit is never taken back', ['FLOW-4', 'FLOW-3'], async (context, { hash, bytes }) => {
    const session = await context.connect();
    const { flow } = read(session, hash, { creditBytes: bytes.length, recordBytes: 4_096 });
    session.send([
      { type: FrameType.CREDIT, flowId: flow.id, limitBytes: 10, openedBytes: 0, complete: false },
    ]);
    await complete(session, flow, 'FLOW-4');
  }),
  onObject(
    'what is not acknowledged is sent again, as the same ciphertext',
    ['REC-13', 'SEG-4', 'REL-11', 'REC-2'],
    async (context, { hash, bytes }) => {
      const session = await context.connect();
      await session.checkAlive();
      session.acks = false;
      const { flow } = read(session, hash, { creditBytes: bytes.length });
      const key = (segment: { record: number; offset: number }): string =>
        `${segment.record} ${segment.offset}`;
      const look = (): true | undefined => {
        const seen = session.segments.map(key);
        return new Set(seen).size < seen.length || undefined;
      };
      await session.until(look, 'a slice again', { clause: 'REL-11' });
      const numbers = session.segments.map(({ number }) => number);
      expectThat(new Set(numbers).size === numbers.length, 'a new number each', 'one twice', 'SEG-4');
      session.acks = true;
      session.acknowledge();
      const plain = await complete(session, flow);
      expectThat(equalBytes(plain, bytes), 'the object', 'other bytes');
    },
  ),
  onObject(
    'no more than the first window is in flight before an acknowledgement',
    ['CC-1'],
    async (context, { hash, bytes }) => {
      const session = await context.connect();
      await session.checkAlive();
      session.acks = false;
      read(session, hash, { creditBytes: bytes.length });
      await session.idle(QUIET_MILLIS);
      expectThat(session.segments.length > 0, 'segments', 'none', 'FLOW-2');
      const slices = new Map(
        session.segments.map((segment) => [
          `${segment.record} ${segment.offset}`,
          segment.payload.length + 34,
        ]),
      );
      const inFlight = [...slices.values()].reduce((sum, size) => sum + size, 0);
      // A probe after a timeout may carry one slice more each.
      const probes = 8 * DATAGRAM_BYTES_MIN;
      expectThat(
        inFlight <= FIRST_FLIGHT_BYTES + probes,
        `at most ${FIRST_FLIGHT_BYTES} bytes`,
        `${inFlight}`,
      );
    },
  ),
  onObject('our window bounds what is in flight', ['FLOW-7', 'CC-1'], async (context, { hash, bytes }) => {
    const session = await context.connect({ windowBytes: 2_400 });
    await session.checkAlive();
    session.acks = false;
    read(session, hash, { creditBytes: bytes.length });
    await session.idle(QUIET_MILLIS);
    expectThat(session.segments.length > 0, 'segments', 'none', 'FLOW-2');
    const slices = new Map(
      session.segments.map((segment) => [`${segment.record} ${segment.offset}`, segment.payload.length + 34]),
    );
    const inFlight = [...slices.values()].reduce((sum, size) => sum + size, 0);
    expectThat(inFlight <= 2_400 + 3 * DATAGRAM_BYTES_MIN, 'at most 2,400 bytes', `${inFlight}`);
  }),
  onObject(
    'no datagram above 1,200 bytes carries segments before a probe was acknowledged',
    ['MTU-1'],
    async (context, { hash, bytes }) => {
      const session = await context.connect({ datagramBytesMax: 62_000 });
      await session.checkAlive();
      session.acks = false;
      read(session, hash, { creditBytes: bytes.length });
      await session.idle(QUIET_MILLIS);
      expectThat(session.segments.length > 0, 'segments', 'none', 'FLOW-2');
      const largest = Math.max(...session.segments.map(({ datagramBytes }) => datagramBytes));
      expectThat(largest <= DATAGRAM_BYTES_MIN, 'at most 1,200 bytes', `${largest}`);
    },
  ),
  onObject('no datagram is larger than we take in', ['MTU-1'], async (context, { hash, bytes }) => {
    const session = await context.connect({ datagramBytesMax: 1_472 });
    const { flow } = read(session, hash, { creditBytes: bytes.length });
    await complete(session, flow);
    const sizes = [...session.segments, ...session.packets].map(({ datagramBytes }) => datagramBytes);
    const largest = Math.max(...sizes);
    expectThat(largest <= 1_472, 'at most 1,472 bytes', `${largest}`);
  }),
  onObject(
    'a datagram bytes max below 1,200 counts as 1,200',
    ['MTU-1', 'HS-15'],
    async (context, { hash, bytes }) => {
      const session = await context.connect({ datagramBytesMax: 10, windowBytes: 0 });
      const { flow } = read(session, hash, { creditBytes: bytes.length });
      await complete(session, flow, 'MTU-1');
    },
    20_000,
  ),
  onObject(
    'small records come in one segment each',
    ['REC-22', 'REC-21'],
    async (context, { hash, bytes }) => {
      const session = await context.connect();
      const { flow } = read(session, hash, { creditBytes: bytes.length, recordBytes: 1_024 });
      await complete(session, flow);
      const most = Math.max(...flow.records.map(({ plainBytes }) => plainBytes));
      expectThat(most <= 1_024, 'records of at most 1,024 bytes', `${most}`, 'DEFS-13');
    },
  ),
  onObject(
    'RESEND brings the same ciphertext again',
    ['REC-13', 'REC-18'],
    async (context, { hash, bytes }) => {
      const session = await context.connect();
      const { flow } = read(session, hash, { creditBytes: bytes.length, recordBytes: 8_192 });
      await session.until(() => flow.records[0], 'a record', { clause: 'FLOW-2' });
      const count = (): number => session.segments.filter(({ record }) => record === 0).length;
      const before = count();
      const again = (): void => void session.send([{ type: FrameType.RESEND, flowId: flow.id, record: 0 }]);
      again();
      await session.until(() => count() > before || undefined, 'record 0 again', { clause: 'REC-18', again });
      await complete(session, flow);
    },
  ),
  onObject(
    'RESEND of a record that was never sent is passed over',
    ['REC-18'],
    async (context, { hash, bytes }) => {
      const session = await context.connect();
      const { flow } = read(session, hash, { creditBytes: bytes.length, recordBytes: 8_192 });
      session.send([{ type: FrameType.RESEND, flowId: flow.id, record: 0xffff_ffff }]);
      await complete(session, flow);
      await session.checkAlive('REC-18');
    },
  ),
  onObject(
    'STOP ends the flow, and nothing more of it comes',
    ['FLOW-10'],
    async (context, { hash, bytes }) => {
      const session = await context.connect();
      const { id, flow } = read(session, hash, { creditBytes: 20_000, recordBytes: 4_096 });
      await session.reply(id);
      await session.until(() => (flow.openedBytes > 12_000 ? true : undefined), 'segments', {
        clause: 'FLOW-2',
      });
      const stop = { type: FrameType.STOP, flowId: id, code: ResultCode.ABORTED } as const;
      const number = session.send([stop]);
      await session.expectAck(number, Space.CONTROL, 'ACK-1', () => session.send([stop]));
      await session.idle(100);
      const before = session.segments.length;
      credit(session, flow, bytes.length);
      await session.checkAlive('FLOW-10');
      await session.idle(QUIET_MILLIS);
      expectThat(
        session.segments.length === before,
        'no segment more',
        `${session.segments.length - before}`,
      );
    },
  ),
  onObject(
    'a STOP that comes before its query ends the flow when it opens',
    ['FLOW-12'],
    async (context, { hash, bytes }) => {
      const session = await context.connect();
      await session.checkAlive();
      const id = session.queryId() + 2;
      const stop = { type: FrameType.STOP, flowId: id, code: ResultCode.ABORTED } as const;
      const number = session.send([stop]);
      await session.expectAck(number, Space.CONTROL, 'ACK-1', () => session.send([stop]));
      const asked = read(session, hash, { creditBytes: bytes.length });
      expectThat(asked.id === id, `query ${id}`, `${asked.id}`);
      await session.checkAlive('FLOW-12');
      await session.idle(QUIET_MILLIS);
      expectThat(session.segments.length === 0, 'no segment', `${session.segments.length}`);
    },
  ),
  lie('CREDIT of more bytes opened than were sent', ['FLOW-6', 'SES-14'], (session, flow) => {
    const opened = OBJECT_BYTES;
    session.send([
      { type: FrameType.CREDIT, flowId: flow.id, limitBytes: opened, openedBytes: opened, complete: false },
    ]);
  }),
  lie('CREDIT complete before the last record was sent', ['FLOW-6'], (session, flow) => {
    session.send([
      { type: FrameType.CREDIT, flowId: flow.id, limitBytes: 65_536, openedBytes: 0, complete: true },
    ]);
  }),
  lie('CREDIT complete with fewer bytes opened than the flow has', ['FLOW-6'], async (session, flow) => {
    credit(session, flow, OBJECT_BYTES);
    await session.until(() => flow.isComplete || undefined, 'the whole flow', { clause: 'FLOW-4' });
    session.send([
      {
        type: FrameType.CREDIT,
        flowId: flow.id,
        limitBytes: OBJECT_BYTES,
        openedBytes: OBJECT_BYTES - 1,
        complete: true,
      },
    ]);
  }),
  onObject(
    'an acknowledged record that is not known to be open comes again',
    ['REC-20', 'FLOW-14'],
    async (context, { hash, bytes }) => {
      const session = await context.connect();
      const { flow } = read(session, hash, { creditBytes: bytes.length, recordBytes: 1_024 });
      await session.until(() => flow.isComplete || undefined, 'the flow', { clause: 'REC-13' });
      const count = (): number => session.segments.filter(({ record }) => record === 0).length;
      const before = count();
      await session.until(() => count() > before || undefined, 'record 0 again', { clause: 'REC-20' });
      await complete(session, flow);
    },
    3_000,
  ),
  onObject(
    'a flow that ends is over: no segment after CREDIT complete',
    ['FLOW-14', 'FLOW-15'],
    async (context, { hash, bytes }) => {
      const session = await context.connect();
      const { flow } = read(session, hash, { creditBytes: bytes.length });
      await complete(session, flow);
      await session.checkAlive();
      await session.idle(100);
      const before = session.segments.length;
      await session.idle(2_500);
      expectThat(
        session.segments.length === before,
        'no segment more',
        `${session.segments.length - before}`,
      );
    },
    3_000,
  ),
  onObject('two reads of one session do not mix', ['FLOW-1', 'REC-1'], async (context, { hash, bytes }) => {
    const session = await context.connect();
    const flows = [0, 50_000, 100_000].map((offset) => ({
      offset,
      ...read(session, hash, { offset, creditBytes: bytes.length }),
    }));
    for (const { flow, offset } of flows) {
      const plain = await complete(session, flow);
      expectThat(
        equalBytes(plain, bytes.subarray(offset)),
        `the object from ${offset} on`,
        'other bytes',
        'FLOW-1',
      );
    }
  }),
];

export const storeCases = section('store and read', 481, texts);
