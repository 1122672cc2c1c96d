/** Key updates of ours: what the other end follows, what it refuses, and for how long it looks back. */

import { FrameType, Space } from '../../src/wire/index.ts';
import { type CaseText, section, type WireContext } from '../case.ts';
import { expectThat } from '../expectations.ts';
import { PING, type RawSession } from '../peer.ts';

/** Far more than 3 PTO on any path that the cases are meant for. */
const OLD_KEYS_MILLIS = 4_000;
const CLOSE = { type: FrameType.CLOSE, code: 3, text: 'to be dropped' } as const;

/** Goes to the next epoch as the clauses want it: after a packet of the current one was acknowledged. */
async function update(session: RawSession, clause = 'KEY-8'): Promise<void> {
  const number = session.send([PING]);
  await session.expectAck(number, Space.CONTROL, 'ACK-1', () => session.send([PING]));
  session.epoch += 1;
  await session.checkAlive(clause);
}

async function live(context: WireContext): Promise<RawSession> {
  const session = await context.connect();
  await session.checkAlive();
  return session;
}

/** Sends a CLOSE that must not open, and looks that the session goes on. */
async function expectDropped(
  session: RawSession,
  clause: string,
  options: { epoch: number; flags?: number },
): Promise<void> {
  const number = session.nextNumber();
  session.sendForbidden(session.packet([CLOSE], { number, ...options }), number, clause);
  await session.checkAlive(clause);
}

const texts: readonly CaseText[] = [
  {
    title: 'the next epoch is followed',
    clauses: ['KEY-8', 'KEY-7', 'SEAL-2'],
    run: async (context) => {
      await update(await live(context));
    },
  },
  {
    title: 'nine epochs in a row are followed, past the end of their two bits',
    clauses: ['KEY-8', 'KEY-7', 'KEY-10'],
    run: async (context) => {
      const session = await live(context);
      for (let round = 0; round < 9; round++) await update(session);
    },
  },
  {
    title: 'a packet of the previous epoch that comes late is taken',
    clauses: ['KEY-11', 'KEY-8'],
    run: async (context) => {
      // A busy machine may take longer than 3 PTO between the two packets: then it is tried again.
      for (let round = 0; ; round++) {
        const session = await live(context);
        const late = session.nextNumber();
        const packet = session.packet([PING], { number: late, epoch: 0 });
        session.epoch = 1;
        session.sendRaw(session.packet([PING]));
        session.sendRaw(packet);
        await session.checkAlive('KEY-8');
        if (session.isAcked(late, Space.CONTROL)) return;
        expectThat(round < 10, 'an ACK of the late packet', () => session.summary, 'KEY-11');
      }
    },
  },
  {
    title: 'a packet of an epoch two ahead is dropped',
    clauses: ['KEY-10'],
    run: async (context) => {
      await expectDropped(await live(context), 'KEY-10', { epoch: 2 });
    },
  },
  {
    title: 'a packet of an epoch three ahead is dropped',
    clauses: ['KEY-10'],
    run: async (context) => {
      await expectDropped(await live(context), 'KEY-10', { epoch: 3 });
    },
  },
  {
    title: 'the keys of the current epoch under the next one’s bits are dropped',
    clauses: ['KEY-8', 'KEY-4'],
    run: async (context) => {
      const session = await live(context);
      await expectDropped(session, 'KEY-8', { epoch: 0, flags: 1 });
      await expectDropped(session, 'KEY-8', { epoch: 1, flags: 0 });
    },
  },
  {
    title: 'forged packets of the next epoch neither move it nor spoil it',
    clauses: ['KEY-9', 'KEY-8'],
    run: async (context) => {
      const session = await live(context);
      for (let round = 0; round < 20; round++) {
        const number = session.nextNumber();
        const spoil = (packet: Uint8Array): void => {
          packet[packet.length - 1]! ^= 1;
        };
        session.sendForbidden(session.packet([PING], { number, epoch: 1, spoil }), number, 'SEAL-3');
      }
      await session.checkAlive('KEY-8');
      await update(session, 'KEY-9');
      for (let round = 0; round < 3; round++) await update(session, 'KEY-9');
    },
  },
  {
    title: 'the control key of the previous epoch is forgotten',
    clauses: ['KEY-11'],
    run: async (context) => {
      const session = await live(context);
      await update(session);
      await session.idle(OLD_KEYS_MILLIS);
      await session.checkAlive();
      await expectDropped(session, 'KEY-11', { epoch: 0 });
    },
  },
  {
    title: 'an epoch before the previous one is forgotten at once',
    clauses: ['KEY-10', 'KEY-7'],
    run: async (context) => {
      const session = await live(context);
      await update(session);
      await update(session);
      await expectDropped(session, 'KEY-10', { epoch: 0 });
    },
  },
  {
    title: 'one replay window serves all epochs',
    clauses: ['REPLAY-3'],
    run: async (context) => {
      const session = await live(context);
      const number = session.send([PING]);
      await session.expectAck(number, Space.CONTROL);
      await update(session);
      session.sendRaw(session.packet([CLOSE], { number }));
      await session.checkAlive('REPLAY-3');
    },
  },
  {
    title: 'a record of the next epoch takes the receiver there',
    clauses: ['KEY-8', 'REC-1'],
    run: async (context) => {
      const upload = await context.upload();
      const { session } = upload;
      const number = session.send([PING]);
      await session.expectAck(number, Space.CONTROL);
      // From here on no control packet of ours says that there is a next epoch.
      session.acks = false;
      session.epoch = 1;
      const sealed = upload.seal(0, new Uint8Array(39 * 20).fill(1), { dataLeft: -1 });
      const send = (): void => upload.send(0, sealed);
      send();
      const look = (): true | undefined => session.isAcked(0, Space.SEGMENT) || undefined;
      await session.until(look, 'an ACK of the record', { clause: 'KEY-8', again: send });
      // Two ahead of where the session began: only a receiver that went on takes it.
      session.epoch = 2;
      await session.checkAlive('KEY-8');
    },
  },
  {
    title: 'a record of the previous epoch opens after an update',
    clauses: ['REC-3', 'SEG-1'],
    run: async (context) => {
      const upload = await context.upload(39 * 20);
      const { session } = upload;
      const payload = new Uint8Array(39 * 20).fill(1);
      const packets = upload.cut(0, upload.seal(0, payload, { dataLeft: 0 }), 300);
      for (const packet of packets.slice(1)) session.sendRaw(packet);
      await update(session);
      // These bits are those of the epoch under which the record was sealed.
      const send = (): void => packets.forEach((packet) => void session.sendRaw(packet));
      session.sendRaw(packets[0]!);
      const look = (): true | undefined => upload.isComplete || undefined;
      await session.until(look, 'CREDIT complete', { clause: 'REC-3', again: send });
    },
  },
];

export const epochCases = section('epochs', 231, texts);
