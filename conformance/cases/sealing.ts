/** SEALED packets: what opens, what is dropped, the replay window, tags, and datagrams of several packets. */

import { FrameType, PacketType, Space } from '../../src/wire/index.ts';
import { type CaseText, section, type WireContext } from '../case.ts';
import { expectThat } from '../expectations.ts';
import { glue } from '../handshake.ts';
import { frameBytes, PING, type RawSession, UNKNOWN_KIND } from '../peer.ts';

const REPLAY_WINDOW = 8_192;
const PACKET_NUMBER_FAR = 2 ** 40;

/** A case of packets that must change nothing: the session lives, and none of them is acknowledged. */
function dropped(
  title: string,
  clauses: readonly string[],
  send: (session: RawSession, context: WireContext) => void | Promise<void>,
): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const session = await context.connect();
    await session.checkAlive();
    await send(session, context);
    await session.checkAlive(clauses[0]);
    expectThat(session.frames(FrameType.CLOSE).length === 0, 'no CLOSE', () => session.summary);
  };
  return { title, clauses, run };
}

/** Sends a PING that was spoiled, under a number of its own. */
function sendSpoiled(session: RawSession, clause: string, spoil: (packet: Uint8Array) => void): void {
  const number = session.nextNumber();
  session.sendForbidden(session.packet([PING], { number, spoil }), number, clause);
}

/** Counts the replies to one query id. */
function repliesTo(session: RawSession, id: number): number {
  return session.frames(FrameType.REPLY).filter((frame) => frame.id === id).length;
}

const texts: readonly CaseText[] = [
  {
    title: 'a PING is acknowledged by its number',
    clauses: ['ACK-1', 'SEAL-1', 'KEY-4'],
    run: async (context) => {
      const session = await context.handshake();
      const number = session.send([PING]);
      await session.expectAck(number, Space.CONTROL, 'ACK-1', () => session.send([PING], { number }));
    },
  },
  dropped('a corrupted tag of the seal', ['SEAL-3', 'ACK-1'], (session) =>
    sendSpoiled(session, 'SEAL-3', (packet) => {
      packet[packet.length - 1]! ^= 1;
    }),
  ),
  dropped('a corrupted ciphertext', ['SEAL-3', 'ACK-1'], (session) =>
    sendSpoiled(session, 'SEAL-3', (packet) => {
      packet[18]! ^= 0x80;
    }),
  ),
  dropped('every bit of a short packet flipped, one at a time', ['SEAL-3', 'PKT-13'], (session) => {
    const bits = (18 + 1 + 16) * 8;
    for (let bit = 0; bit < bits; bit++) {
      // The number says which packet it is: another one is another packet.
      if (bit >= 12 * 8 && bit < 18 * 8) continue;
      sendSpoiled(session, 'SEAL-3', (packet) => {
        packet[bit >>> 3]! ^= 0x80 >>> (bit & 7);
      });
    }
  }),
  dropped('a header that is not what was sealed: the number', ['SEAL-1'], (session) => {
    const number = session.nextNumber();
    const spoil = (packet: Uint8Array): void => {
      packet[17]! += 1;
    };
    session.sendForbidden(session.packet([PING], { number, spoil }), number, 'SEAL-1');
    session.skipTo(number + 2);
  }),
  dropped('a SEALED packet without room for a seal', ['SEAL-3', 'PKT-13'], (session) => {
    const whole = session.packet([PING]);
    for (const bytes of [18, 19, 33]) {
      const cut = whole.slice(0, bytes);
      cut[2] = 0;
      cut[3] = bytes;
      session.sendRaw(cut);
    }
  }),
  dropped('a packet cut at any byte', ['PKT-3', 'SEAL-3'], (session) => {
    const whole = session.packet([PING]);
    for (let bytes = 0; bytes < whole.length; bytes++) session.sendRaw(whole.slice(0, bytes));
  }),
  dropped('a packet cut at any byte, with a length that agrees', ['SEAL-3', 'PKT-4'], (session) => {
    const whole = session.packet([PING]);
    for (let bytes = 4; bytes < whole.length; bytes++) {
      const cut = whole.slice(0, bytes);
      cut[3] = bytes;
      session.sendRaw(cut);
    }
  }),
  dropped('a forged tag', ['PKT-8', 'SES-6'], (session, context) => {
    for (let round = 0; round < 4; round++) {
      const number = session.nextNumber();
      const random = context.random(8);
      const tag = { high: random[0]! * 2 ** 24 + random[1]!, low: random[2]! };
      session.sendForbidden(session.packet([PING], { number, tag }), number, 'PKT-8');
    }
  }),
  dropped('our own tag instead of the responder’s', ['PKT-8'], (session) => {
    const number = session.nextNumber();
    session.sendForbidden(session.packet([PING], { number, tag: session.localTag }), number, 'PKT-8');
  }),
  ...[4, 8, 16, 32, 64, 128].map(
    (flags): CaseText =>
      dropped(`the unknown flag bit ${flags} of SEALED`, ['PKT-10'], (session) => {
        const number = session.nextNumber();
        session.sendForbidden(session.packet([PING], { number, flags }), number, 'PKT-10');
      }),
  ),
  ...[0, 7, 8, 0x45, 0xff].map(
    (type): CaseText =>
      dropped(`a packet of type ${type} that would open`, ['PKT-2'], (session) => {
        const number = session.nextNumber();
        session.sendForbidden(session.packet([PING], { number, type }), number, 'PKT-2');
      }),
  ),
  dropped('front packets at a session port', ['PKT-13'], (session) => {
    for (const type of [PacketType.HELLO, PacketType.COOKIE, PacketType.WELCOME, PacketType.REFUSED]) {
      const number = session.nextNumber();
      session.sendForbidden(session.packet([PING], { number, type }), number, 'PKT-2');
    }
  }),
  dropped('noise at a session port', ['PKT-13'], (session, context) => {
    session.sendRaw(new Uint8Array(0));
    for (let bytes = 1; bytes < 64; bytes++) session.sendRaw(context.random(bytes * 16));
  }),
  {
    title: 'several packets in one datagram all count',
    clauses: ['PKT-1', 'SES-8'],
    run: async (context) => {
      const session = await context.connect();
      const numbers = [0, 1, 2, 3].map((offset) => session.nextNumber() + offset);
      const datagram = glue(...numbers.map((number) => session.packet([PING], { number })));
      session.sendRaw(datagram);
      for (const number of numbers) {
        await session.expectAck(number, Space.CONTROL, 'PKT-1', () => session.sendRaw(datagram));
      }
    },
  },
  {
    title: 'a packet that is refused does not take the next one of its datagram with it',
    clauses: ['PKT-13', 'PKT-2'],
    run: async (context) => {
      const session = await context.connect();
      const spoil = (packet: Uint8Array): void => {
        packet[20]! ^= 1;
      };
      for (const wrong of [
        session.packet([PING], { type: 0x31 }),
        session.packet([PING], { flags: 0x10 }),
        session.packet([PING], { tag: session.localTag }),
        session.packet([PING], { spoil }),
      ]) {
        const number = session.nextNumber();
        const datagram = glue(wrong, session.packet([PING], { number }));
        session.sendRaw(datagram);
        await session.expectAck(number, Space.CONTROL, 'PKT-13', () => session.sendRaw(datagram));
      }
    },
  },
  {
    title: 'a packet before one that is refused counts',
    clauses: ['PKT-13'],
    run: async (context) => {
      const session = await context.connect();
      const number = session.nextNumber();
      const datagram = glue(session.packet([PING], { number }), new Uint8Array([5, 0, 0xff, 0xff, 1, 2, 3]));
      session.sendRaw(datagram);
      await session.expectAck(number, Space.CONTROL, 'PKT-13', () => session.sendRaw(datagram));
    },
  },
  ...[0, 3, 0xffff].map(
    (length): CaseText =>
      dropped(`what stands behind a packet of length ${length}`, ['PKT-3'], (session) => {
        const wrong = session.packet([PING]);
        wrong[2] = length >>> 8;
        wrong[3] = length & 0xff;
        const number = session.nextNumber();
        session.sendForbidden(glue(wrong, session.packet([PING], { number })), number, 'PKT-3');
      }),
  ),
  {
    title: 'a packet that is sent again is not carried out again',
    clauses: ['REPLAY-3', 'SEAL-3'],
    run: async (context) => {
      const session = await context.connect();
      session.acks = false;
      const id = session.queryId();
      const packet = session.packet([
        { type: FrameType.QUERY, id, kind: UNKNOWN_KIND, body: new Uint8Array(0) },
      ]);
      session.sendRaw(packet);
      await session.reply(id, { again: () => session.sendRaw(packet) });
      session.acks = true;
      session.acknowledge();
      await session.checkAlive();
      // Were the window not asked, each copy would be acknowledged by a packet of its own.
      const before = session.packets.length;
      for (let copy = 0; copy < 50; copy++) session.sendRaw(packet);
      await session.checkAlive('REPLAY-3');
      const gained = session.packets.length - before;
      expectThat(gained < 25, 'silence towards 50 copies', `${gained} packets`, 'REPLAY-3');
    },
  },
  dropped('a number that was used before, with another content', ['REPLAY-3'], async (session) => {
    const number = session.send([PING]);
    await session.expectAck(number, Space.CONTROL);
    // A second content under the same nonce, which no honest sender makes: it would end the session.
    session.sendRaw(session.packet([{ type: FrameType.CLOSE, code: 3, text: 'replayed' }], { number }));
  }),
  dropped(`a number more than ${REPLAY_WINDOW} below the greatest`, ['REPLAY-2'], async (session) => {
    const greatest = session.send([PING], { number: 20_000 });
    await session.expectAck(greatest, Space.CONTROL);
    const number = greatest - REPLAY_WINDOW - 1;
    const close = { type: FrameType.CLOSE, code: 3, text: 'too old' } as const;
    session.sendForbidden(session.packet([close], { number }), number, 'REPLAY-2');
  }),
  {
    title: 'numbers within the window are taken, in any order',
    clauses: ['REPLAY-2', 'REPLAY-1'],
    run: async (context) => {
      const session = await context.connect();
      session.acks = false;
      session.send([PING], { number: 9_000 });
      for (const number of [9_000 - REPLAY_WINDOW, 8_999, 5_000, 900, 4_001]) {
        const id = session.queryId();
        const packet = session.packet(
          [{ type: FrameType.QUERY, id, kind: UNKNOWN_KIND, body: new Uint8Array(0) }],
          { number },
        );
        session.sendRaw(packet);
        await session.reply(id, { clause: 'REPLAY-2', again: () => session.sendRaw(packet) });
      }
      expectThat(repliesTo(session, 0) > 0, 'replies', 'none');
    },
  },
  {
    title: 'a forged packet of a number far ahead does not move the window',
    clauses: ['REPLAY-1', 'SEAL-3'],
    run: async (context) => {
      const session = await context.connect();
      const number = session.nextNumber();
      for (const far of [number + REPLAY_WINDOW * 4, PACKET_NUMBER_FAR, 2 ** 48 - 1]) {
        const spoil = (packet: Uint8Array): void => {
          packet[packet.length - 2]! ^= 0x55;
        };
        session.sendRaw(session.packet([PING], { number: far, spoil }));
      }
      session.skipTo(number);
      await session.checkAlive('REPLAY-1');
    },
  },
  {
    title: 'numbers may jump far ahead',
    clauses: ['REPLAY-1', 'ACK-3'],
    run: async (context) => {
      const session = await context.connect();
      for (const number of [100, 70_000, 2 ** 33, PACKET_NUMBER_FAR]) {
        session.send([PING], { number });
        await session.expectAck(number, Space.CONTROL, 'ACK-3', () => session.send([PING]));
      }
      await session.checkAlive();
    },
  },
  {
    title: 'packets in reverse order all count',
    clauses: ['REPLAY-1', 'ACK-1'],
    run: async (context) => {
      const session = await context.connect();
      const first = session.nextNumber();
      const packets = Array.from({ length: 20 }, (_, offset) =>
        session.packet([PING], { number: first + offset }),
      );
      for (const packet of packets.toReversed()) session.sendRaw(packet);
      for (let number = first; number < first + packets.length; number++) {
        await session.expectAck(number, Space.CONTROL, 'ACK-1', () =>
          session.sendRaw(packets[number - first]!),
        );
      }
    },
  },
  {
    title: 'the peer’s numbers start at 0 and grow by 1',
    clauses: ['PKT-11', 'PKT-12'],
    run: async (context) => {
      const session = await context.connect();
      for (let round = 0; round < 10; round++) await session.checkAlive();
      await session.idle(50);
      const numbers = session.packets.map(({ number }) => number).sort((left, right) => left - right);
      const expected = numbers.map((_, index) => index);
      expectThat(String(numbers) === String(expected), `numbers ${expected}`, `${numbers}`);
    },
  },
  {
    title: 'a packet from another port than the session’s is not taken',
    clauses: ['SES-1', 'HS-25'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      const stranger = await context.port();
      const number = session.nextNumber();
      const packet = session.packet([PING], { number });
      stranger.send(packet, session.options.to);
      const heard = await stranger.receive(200);
      expectThat(heard === undefined, 'no answer to a stranger', `${heard?.bytes.length} bytes`);
      await session.checkAlive('SES-1');
    },
  },
  {
    title: 'a packet of the largest size that is offered is taken',
    clauses: ['PKT-3', 'FRM-6'],
    run: async (context) => {
      const session = await context.connect();
      const bytes = Math.min(1_200, session.options.peer.datagramBytesMax);
      const padding = { type: FrameType.PADDING, bytes: bytes - 18 - 16 - 1 } as const;
      const number = session.send([PING, padding]);
      await session.expectAck(number, Space.CONTROL, 'PKT-3', () => session.send([PING, padding]));
    },
  },
  {
    title: 'a bare seal without a frame closes the session',
    clauses: ['FRM-2', 'SES-14'],
    run: async (context) => {
      const session = await context.connect();
      session.sendRaw(session.seal(frameBytes()));
      await session.expectClose('FRM-2');
    },
  },
  {
    title: 'the nonce of a packet is its number, whatever that is',
    clauses: ['KEY-4'],
    run: async (context) => {
      const session = await context.connect();
      for (const number of [1, 2, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 1]) {
        const packet = session.packet([PING], { number });
        session.sendRaw(packet);
        await session.expectAck(number, Space.CONTROL, 'KEY-4', () => session.sendRaw(packet));
      }
    },
  },
];

export const sealingCases = section('sealing', 61, texts);
