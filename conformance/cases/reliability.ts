/** Acknowledgement, and what is sent again when it fails to come. */

import type { PacketNumber } from '../../src/base/units.ts';
import { type Frame, FrameType, Space } from '../../src/wire/index.ts';
import { type CaseText, section } from '../case.ts';
import { expectThat } from '../expectations.ts';
import { glue } from '../handshake.ts';
import { PING, type RawSession, UNKNOWN_KIND } from '../peer.ts';

/** A busy machine delays some acknowledgements, a late peer all of them: so many of these tries must be quick. */
const TRIES = 20;
const QUICK_MIN = 5;
/** What the network and two processes may take beside the 2 ms of the clause. */
const SOON_MILLIS = 40;
const ACK_RANGES_MAX = 32;
const DELAY_UNIT_MILLIS = 0.008;
/** Resends within the time that the case looks: a PTO that doubles allows about 7. */
const LOOK_MILLIS = 3_000;
const RESENDS_MAX = 20;
/** Two timeouts that have doubled from the round-trip time of a busy machine. */
const BACKED_OFF_MILLIS = 20_000;

/** How many of several packets that `send` sends are acknowledged soon; it counts no further than it must. */
async function quickAcks(session: RawSession, send: () => number): Promise<number> {
  let quick = 0;
  for (let round = 0; round < TRIES && quick < QUICK_MIN; round++) {
    await session.idle(5);
    const sentAt = performance.now();
    const number = send();
    await session.expectAck(number, Space.CONTROL, 'ACK-5', () => session.send([PING]));
    if (performance.now() - sentAt < SOON_MILLIS) quick += 1;
  }
  return quick;
}

function soonCase(title: string, send: (session: RawSession) => number): CaseText {
  return {
    title,
    clauses: ['ACK-5'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      const quick = await quickAcks(session, () => send(session));
      const expected = `${QUICK_MIN} of ${TRIES} acknowledged within ${SOON_MILLIS} ms`;
      expectThat(quick >= QUICK_MIN, expected, `${quick}`);
    },
  };
}

/** Packets that hold the REPLY to `id`, by their numbers. */
function carriers(session: RawSession, id: number): number[] {
  const holds = (frame: Frame): boolean => frame.type === FrameType.REPLY && frame.id === id;
  return session.packets.filter(({ frames }) => frames.some(holds)).map(({ number }) => number);
}

const texts: readonly CaseText[] = [
  soonCase('one PING is acknowledged soon', (session) => session.send([PING])),
  soonCase('two PINGs are acknowledged soon', (session) => {
    const first = session.packet([PING]);
    const number = session.nextNumber();
    session.sendRaw(glue(first, session.packet([PING], { number })));
    return number;
  }),
  soonCase('a PING behind a gap is acknowledged soon', (session) =>
    session.send([PING], { number: session.nextNumber() + 3 }),
  ),
  soonCase('a PING that comes late, into a gap, is acknowledged soon', (session) => {
    const late = session.nextNumber();
    session.send([PING], { number: late + 1 });
    session.send([PING], { number: late });
    session.skipTo(late + 2);
    return late;
  }),
  {
    title: 'the delay of an ACK is no more than what passed',
    clauses: ['ACK-2'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      for (let round = 0; round < 10; round++) {
        const sentAt = performance.now();
        const number = session.send([PING]);
        await session.expectAck(number, Space.CONTROL, 'ACK-1');
        const packet = session.packets.find(({ frames }) =>
          frames.some(
            (frame) => frame.type === FrameType.ACK && frame.space === 0 && frame.ranges[0]!.last >= number,
          ),
        )!;
        const ack = packet.frames.find((frame) => frame.type === FrameType.ACK && frame.space === 0);
        const delay = ack?.type === FrameType.ACK ? ack.delayUnits * DELAY_UNIT_MILLIS : 0;
        const passed = packet.atMillis - sentAt;
        expectThat(
          delay <= passed + 1,
          `a delay of at most ${passed.toFixed(2)} ms`,
          `${delay.toFixed(2)} ms`,
        );
      }
    },
  },
  {
    title: 'ACK ranges run from the largest number down, at most 32, the newest of them',
    clauses: ['ACK-3', 'ACK-4'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      await session.stopAcknowledging();
      const first = session.nextNumber();
      const last = first + 200;
      for (let number = first; number <= last; number += 2) session.send([PING], { number });
      const send = (): void => void session.send([PING], { number: last });
      await session.expectAck(last, Space.CONTROL, 'ACK-4', send);
      const acks = session.frames(FrameType.ACK).filter(({ space }) => space === 0);
      const most = Math.max(...acks.map(({ ranges }) => ranges.length));
      expectThat(most <= ACK_RANGES_MAX, 'at most 32 ranges', `${most}`, 'ACK-4');
      const newest = acks.filter(({ ranges }) => ranges[0]!.last === last);
      expectThat(newest.length > 0, `an ACK whose largest number is ${last}`, () => session.summary, 'ACK-3');
    },
  },
  {
    title: 'numbers that were left out are not acknowledged',
    clauses: ['ACK-1', 'ACK-3'],
    run: async (context) => {
      const session = await context.connect();
      for (let round = 0; round < 15; round++)
        session.send([PING], { number: session.nextNumber() + 1 + (round % 5) });
      await session.expectAck(session.nextNumber() - 1, Space.CONTROL, 'ACK-1', () => session.send([PING]));
      await session.checkAlive();
    },
  },
  {
    title: 'a reply is sent again, in a packet of a new number, until it is acknowledged',
    clauses: ['QRY-4', 'REL-11', 'REL-8', 'PKT-12'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      await session.stopAcknowledging();
      const id = session.query(UNKNOWN_KIND);
      const look = (): true | undefined => carriers(session, id).length >= 3 || undefined;
      // A sign of life now and then, which acknowledges nothing: else the idle time may end it first.
      const again = (): void => void session.send([PING]);
      const options = { clause: 'REL-11', millis: BACKED_OFF_MILLIS, again };
      await session.until(look, 'the REPLY in three packets', options);
      const numbers = carriers(session, id);
      expectThat(new Set(numbers).size === numbers.length, 'a number each', `${numbers}`, 'PKT-12');
    },
  },
  {
    title: 'a probe of a timeout holds a PING',
    clauses: ['REL-11'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      await session.stopAcknowledging();
      const id = session.query(UNKNOWN_KIND);
      const look = (): true | undefined => carriers(session, id).length >= 2 || undefined;
      await session.until(look, 'the REPLY again', { clause: 'REL-11' });
      const again = carriers(session, id)[1]!;
      const frames = session.packets.find(({ number }) => number === again)!.frames;
      expectThat(
        frames.some(({ type }) => type === FrameType.PING),
        'a PING in the probe',
        () => session.summary,
      );
    },
  },
  {
    title: 'timeouts back off',
    clauses: ['REL-10'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      await session.stopAcknowledging();
      const id = session.query(UNKNOWN_KIND);
      await session.idle(LOOK_MILLIS);
      const count = carriers(session, id).length;
      expectThat(count <= RESENDS_MAX, `at most ${RESENDS_MAX} copies in 3 s`, `${count}`);
      expectThat(count >= 2, 'the REPLY again', `${count} copies`, 'REL-11');
    },
  },
  {
    title: 'what has been acknowledged is not sent again',
    clauses: ['QRY-4', 'REL-8'],
    run: async (context) => {
      const session = await context.connect();
      const id = session.query(UNKNOWN_KIND);
      await session.reply(id);
      // Our acknowledgement may be slow to arrive on a busy machine: one quiet round says enough.
      for (let round = 0; ; round++) {
        session.acknowledge();
        await session.idle(200);
        const before = carriers(session, id).length;
        await session.idle(800);
        const after = carriers(session, id).length;
        if (after === before) return;
        expectThat(round < 5, `${before} copies`, `${after}`);
      }
    },
  },
  {
    title: 'replies that share a fate are all sent again',
    clauses: ['QRY-4', 'REL-8'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      await session.stopAcknowledging();
      const ids = Array.from({ length: 12 }, () => session.queryId());
      const query = (id: number): Frame => ({
        type: FrameType.QUERY,
        id,
        kind: UNKNOWN_KIND,
        body: new Uint8Array(0),
      });
      session.send(ids.map(query));
      const look = (): true | undefined => ids.every((id) => carriers(session, id).length >= 2) || undefined;
      await session.until(look, '12 REPLYs twice', { clause: 'QRY-4' });
    },
  },
  {
    title: 'a packet that our acknowledgements show to be lost is sent again',
    clauses: ['REL-8', 'QRY-4'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      await session.stopAcknowledging();
      const lost = session.query(UNKNOWN_KIND);
      await session.reply(lost);
      const [lostNumber] = carriers(session, lost);
      for (let round = 0; round < 4; round++) await session.reply(session.query(UNKNOWN_KIND));
      const newest = Math.max(...session.packets.map(({ number }) => number)) as PacketNumber;
      expectThat(newest >= lostNumber! + 3, 'packets behind the lost one', `${newest}`, 'PKT-11');
      session.send([
        { type: FrameType.ACK, space: 0, delayUnits: 0, ranges: [{ first: newest, last: newest }] },
      ]);
      const look = (): true | undefined => carriers(session, lost).length >= 2 || undefined;
      await session.until(look, 'the lost REPLY again', { clause: 'REL-8' });
    },
  },
];

export const reliabilityCases = section('reliability', 201, texts);
