/** What a node answers to STORE and READ. */

import { equalBytes } from '../../src/base/bytes.ts';
import {
  decodeMessage,
  encodeMessage,
  FrameType,
  isFailure,
  noSpaceReply,
  QueryKind,
  ResultCode,
  readReply,
  storeQuery,
} from '../../src/wire/index.ts';
import { type CaseText, section } from '../case.ts';
import { expectThat } from '../expectations.ts';
import {
  complete,
  credit,
  NODE_OBJECT_BYTES,
  OBJECT_BYTES,
  onObject,
  QUIET_MILLIS,
  read,
  store,
  wrongLength,
} from './store-steps.ts';

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
];

export const storeCases = section('store and read', 481, texts);
