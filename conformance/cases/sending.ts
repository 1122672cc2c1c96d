/** What the flows of a node must keep to: credit, windows, resends, and their end. */

import { equalBytes } from '../../src/base/bytes.ts';
import { FrameType, ResultCode, Space } from '../../src/wire/index.ts';
import { type CaseText, section } from '../case.ts';
import { expectThat } from '../expectations.ts';
import {
  complete,
  credit,
  DATAGRAM_BYTES_MIN,
  FIRST_FLIGHT_BYTES,
  lie,
  OBJECT_BYTES,
  onObject,
  QUIET_MILLIS,
  read,
} from './store-steps.ts';

const texts: readonly CaseText[] = [
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
      await session.stopAcknowledging();
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
      await session.until(() => session.segments[0], 'segments', { clause: 'FLOW-2' });
      await session.idle(QUIET_MILLIS);
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
    await session.until(() => session.segments[0], 'segments', { clause: 'FLOW-2' });
    await session.idle(QUIET_MILLIS);
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
      await session.until(() => session.segments[0], 'segments', { clause: 'FLOW-2' });
      await session.idle(QUIET_MILLIS);
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

export const sendingCases = section('sending flows', 511, texts);
