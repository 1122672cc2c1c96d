/** How sessions begin, stay, and end by themselves. These cases wait, so they run beside the others. */

import { FrameType } from '../../src/wire/index.ts';
import { type CaseText, section } from '../case.ts';
import { expectThat } from '../expectations.ts';
import { PING, UNKNOWN_KIND } from '../peer.ts';

/** A responder forgets a session that stays silent for 3 s [SES-4]. */
const HALF_OPEN_OVER_MILLIS = 4_500;
const IDLE_MILLIS = 1_000;
/** Of a case that takes seconds. */
const LONG_TRIES = 2;

const texts: readonly CaseText[] = [
  {
    title: 'a session that was never live is forgotten after 3 s',
    clauses: ['SES-4'],
    run: async (context) => {
      const session = await context.handshake();
      await session.idle(HALF_OPEN_OVER_MILLIS);
      session.query(UNKNOWN_KIND);
      await session.idle(500);
      expectThat(session.frames(FrameType.REPLY).length === 0, 'no answer any more', () => session.summary);
    },
  },
  {
    title: 'a responder sends no datagram above 1,200 bytes before the session is live',
    clauses: ['SES-4', 'MTU-1'],
    run: async (context) => {
      const session = await context.handshake({ datagramBytesMax: 62_000 });
      await session.idle(700);
      const largest = Math.max(0, ...session.packets.map(({ datagramBytes }) => datagramBytes));
      expectThat(largest <= 1_200, 'no probe', `${largest} bytes`);
      session.send([PING]);
      await session.checkAlive();
    },
  },
  {
    title: 'the first packet may come late and still opens the session',
    clauses: ['SES-4', 'SES-9'],
    run: async (context) => {
      const session = await context.handshake();
      await session.idle(1_500);
      await session.checkAlive('SES-4');
    },
  },
  {
    title: 'forged packets do not make a session live',
    clauses: ['SES-4', 'SES-9', 'SEAL-3'],
    run: async (context) => {
      const session = await context.handshake();
      const spoil = (packet: Uint8Array): void => {
        packet[packet.length - 1]! ^= 1;
      };
      for (let waited = 0; waited < HALF_OPEN_OVER_MILLIS; waited += 500) {
        session.sendRaw(session.packet([PING], { spoil }));
        await session.idle(500);
      }
      session.query(UNKNOWN_KIND);
      await session.idle(500);
      expectThat(session.frames(FrameType.REPLY).length === 0, 'no answer any more', () => session.summary);
    },
  },
  {
    title: 'a PING comes after a quarter of the idle time',
    clauses: ['SES-11', 'SES-12'],
    run: async (context) => {
      const session = await context.connect({ idleMillis: IDLE_MILLIS });
      await session.checkAlive();
      const look = (): true | undefined => session.frames(FrameType.PING).length > 0 || undefined;
      await session.until(look, 'a PING', { clause: 'SES-11', millis: 5_000 });
    },
  },
  {
    title: 'a session without a sign of life ends after the idle time, without a CLOSE',
    clauses: ['SES-10', 'SES-12'],
    run: async (context) => {
      const session = await context.connect({ idleMillis: IDLE_MILLIS });
      await session.checkAlive();
      session.acks = false;
      await session.idle(3 * IDLE_MILLIS);
      const id = session.query(UNKNOWN_KIND);
      await session.idle(500);
      const late = session.frames(FrameType.REPLY).filter((reply) => reply.id === id).length;
      expectThat(late === 0, 'no answer any more', () => session.summary);
      expectThat(session.frames(FrameType.CLOSE).length === 0, 'no CLOSE', () => session.summary);
    },
  },
  {
    title: 'the peer of a session that answers its PINGs stays',
    clauses: ['SES-9', 'SES-11'],
    run: async (context) => {
      // A machine may stand still for the whole idle time: once in several tries it must not.
      for (let round = 1; ; round++) {
        const session = await context.connect({ idleMillis: 2_000 });
        await session.idle(6_000);
        try {
          return await session.checkAlive('SES-9');
        } catch (error) {
          if (round === LONG_TRIES) throw error;
        }
      }
    },
  },
  {
    title: 'an idle time of 0 counts as 1 s',
    clauses: ['SES-12'],
    run: async (context) => {
      // A busy machine may let the second go by: once in several tries it must not.
      for (let round = 0; ; round++) {
        const session = await context.connect({ idleMillis: 0 });
        await session.idle(300);
        const id = session.query(UNKNOWN_KIND);
        await session.idle(300);
        if (session.frames(FrameType.REPLY).some((reply) => reply.id === id)) return;
        expectThat(round < 5, 'an answer after 300 ms', () => session.summary);
      }
    },
  },
];

export const lifeCases = section('life', 281, texts);
