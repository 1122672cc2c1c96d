/** What every initiator owes, whoever it is: the handshake, and the first steps of its session. */

import { randomBytes } from 'node:crypto';
import { equalBytes, toHex } from '../../src/base/bytes.ts';
import {
  CloseCode,
  FrameType,
  isAckEliciting,
  PacketType,
  ResultCode,
  Role,
  Space,
} from '../../src/wire/index.ts';
import { CaseFailure, expectBytes, expectThat } from '../expectations.ts';
import { glue, isSameTag, randomTag } from '../handshake.ts';
import type { Accepted, ListenCase, ListenContext, ReceivedHello } from '../listen.ts';
import { PING, UNKNOWN_KIND } from '../peer.ts';

/** How long the six tries of a handshake take: 100 ms and then spans that double. */
const ALL_TRIES_MILLIS = 7_500;
const TRIES_MAX = 6;
const FIRST_SPAN_MILLIS = 100;
/** Clocks and sockets of two processes, one of which has just started. */
const SPAN_SLACK = 0.5;
const ROUNDS_MAX = 2;
const QUIET_MILLIS = 500;
const FIRST_HELLO_BYTES = 65;
const SECOND_HELLO_BYTES = 124;

type Text = Omit<ListenCase, 'id' | 'group'>;

function random(bytes: number): Uint8Array {
  return new Uint8Array(randomBytes(bytes));
}

function spoiled(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at < 0 ? copy.length + at : at]! ^= 1;
  return copy;
}

const hasCookie = ({ packet }: ReceivedHello): boolean => packet.cookie !== undefined;

/** A case of answers to the first HELLO that count for nothing: the next right one still does. */
function ignored(
  title: string,
  clauses: readonly string[],
  make: (context: ListenContext, hello: ReceivedHello) => readonly Uint8Array[],
): Text {
  const run = async (context: ListenContext): Promise<void> => {
    const hello = await context.firstHello();
    for (const bytes of make(context, hello)) context.front.send(bytes, hello.from);
    await context.idle(QUIET_MILLIS / 2);
    expectThat(!context.hellos.some(hasCookie), 'no HELLO with a cookie', () => context.summary, clauses[0]);
    try {
      await context.accept();
    } catch (error) {
      // A slow initiator shows only now that it took one of them.
      throw error instanceof CaseFailure
        ? new CaseFailure('the right one to be taken', context.summary)
        : error;
    }
  };
  return { title, clauses, run };
}

/** Spans between tries of one handshake that is not answered, none of them too short; which are sure to be long enough. */
async function triesOf(context: ListenContext): Promise<readonly { readonly isSure: boolean }[]> {
  const before = context.hellos.length;
  const isNew = (hello: ReceivedHello): boolean => context.hellos.indexOf(hello) >= before;
  const first = await context.hello(isNew, 'a HELLO whose MAC holds', 'HELLO-1');
  await context.idle(ALL_TRIES_MILLIS);
  const own = context.hellos.filter((hello) => isNew(hello) && isSameTag(hello.packet.tag, first.packet.tag));
  expectThat(own.length > 1, 'the HELLO again', `${own.length}`);
  expectThat(own.length <= TRIES_MAX, 'at most 6 tries', `${own.length}`);
  return own.slice(1).map((hello, index) => {
    const least = FIRST_SPAN_MILLIS * 2 ** index * SPAN_SLACK;
    const last = own[index]!;
    // The one before may have waited to be read.
    const most = hello.atMillis - last.notBeforeMillis;
    expectThat(
      most >= least,
      `at least ${least.toFixed(0)} ms before try ${index + 2}`,
      `${most.toFixed(0)} ms`,
    );
    expectBytes(hello.bytes, first.bytes, 'the same HELLO');
    return { isSure: hello.notBeforeMillis - last.atMillis >= least };
  });
}

/** A case on an established session. */
function established(
  title: string,
  clauses: readonly string[],
  run: (context: ListenContext, accepted: Accepted) => Promise<void>,
): Text {
  return { title, clauses, run: async (context) => run(context, await context.accept()) };
}

/** A case of a plaintext that must make the initiator close. */
function breaks(title: string, clauses: readonly string[], plaintext: Uint8Array): Text {
  return established(title, clauses, async (_, { session }) => {
    session.sendRaw(session.seal(plaintext));
    await session.expectClose(clauses[0]!);
  });
}

const texts: readonly Text[] = [
  {
    title: 'the first HELLO has no cookie, zeros for one, and no Noise message',
    clauses: ['HS-12', 'PKT-6', 'PKT-7', 'HELLO-1', 'KEY-2'],
    run: async (context) => {
      const { packet, bytes } = await context.firstHello();
      expectThat(bytes.length === FIRST_HELLO_BYTES, '65 bytes', `${bytes.length}`);
      expectThat(packet.cookie === undefined && packet.noise.length === 0, 'neither cookie nor Noise', 'one');
      expectThat(packet.version === 1, 'version 1', `${packet.version}`, 'PKT-7');
    },
  },
  {
    title: 'a HELLO without an answer is repeated, after spans that double, at most 6 times',
    clauses: ['HS-18'],
    run: async (context) => {
      for (let round = 1; ; round++) {
        const tried = await triesOf(context);
        // Read so late that tries in haste would look like others: once more.
        if (tried.every(({ isSure }) => isSure) || round === ROUNDS_MAX) return;
        await context.startCommand();
      }
    },
  },
  {
    title: 'the HELLO behind a COOKIE brings it back, with Noise message 1 that opens',
    clauses: ['HS-12', 'HS-8', 'HS-13', 'HS-15'],
    run: async (context) => {
      const { hello } = await context.prove();
      expectThat(hello.bytes.length === SECOND_HELLO_BYTES, '124 bytes', `${hello.bytes.length}`);
      const { parameters } = await context.welcome(hello);
      expectThat(Object.values(Role).includes(parameters.role), 'a role', `${parameters.role}`, 'HS-15');
    },
  },
  {
    title: 'another cookie of the same cluster gets the same Noise message',
    clauses: ['HS-21'],
    run: async (context) => {
      const { hello } = await context.prove();
      const cookie = random(24);
      const isBack = (next: ReceivedHello): boolean =>
        next.packet.cookie !== undefined && equalBytes(next.packet.cookie, cookie);
      context.front.send(context.cookie(hello, cookie), hello.from);
      const next = await context.hello(isBack, 'a HELLO with the new cookie', 'HS-21');
      expectBytes(next.packet.noise, hello.packet.noise, 'the same Noise message');
    },
  },
  {
    title: 'a COOKIE of another cluster gets a Noise message with a fresh key, or ends the handshake',
    clauses: ['HS-21', 'HS-23'],
    run: async (context) => {
      const { hello } = await context.prove();
      const cookie = random(24);
      context.front.send(context.cookie(hello, cookie, random(16)), hello.from);
      await context.idle(QUIET_MILLIS);
      for (const { packet } of context.hellos.filter(
        (next) => next.packet.cookie !== undefined && equalBytes(next.packet.cookie, cookie),
      )) {
        const isFresh = !equalBytes(packet.noise.subarray(0, 32), hello.packet.noise.subarray(0, 32));
        expectThat(isFresh, 'a fresh ephemeral key', 'the same', 'HS-21');
      }
    },
  },
  ignored('a COOKIE with a wrong MAC', ['HS-14', 'HELLO-1'], (context, hello) => {
    const right = context.cookie(hello, random(24));
    return [0, -1, 12, 40].map((at) => spoiled(right, at));
  }),
  ignored('a COOKIE for another tag', ['HS-14'], (context) => [
    context.signed({
      type: PacketType.COOKIE,
      tag: randomTag(),
      cookie: random(24),
      clusterId: context.clusterId,
    }),
  ]),
  ignored('a COOKIE with bytes behind it, or glued to another', ['PKT-15'], (context, hello) => {
    const right = context.cookie(hello, random(24));
    return [glue(right, new Uint8Array(1)), glue(right, right)];
  }),
  ignored('a COOKIE cut at any byte', ['PKT-4', 'PKT-3'], (context, hello) => {
    const right = context.cookie(hello, random(24));
    return Array.from({ length: right.length }, (_, bytes) => right.slice(0, bytes));
  }),
  ignored('a COOKIE with flags', ['PKT-10'], (context, hello) => {
    const right = context.cookie(hello, random(24));
    // Flags are under the MAC, so it has to be made anew for each.
    return [1, 2, 128].map((flags) => context.resigned(right, (bytes) => bytes.fill(flags, 1, 2)));
  }),
  ignored('packets of unknown types', ['PKT-2'], (context, hello) => {
    const right = context.cookie(hello, random(24));
    return [0, 7, 255].map((type) => context.resigned(right, (bytes) => bytes.fill(type, 0, 1)));
  }),
  ignored('a REFUSED with a wrong MAC', ['HS-14'], (context, { packet }) => [
    spoiled(
      context.signed({ type: PacketType.REFUSED, tag: packet.tag, code: ResultCode.DENIED, retryMillis: 0 }),
      -1,
    ),
  ]),
  ignored('a REFUSED for another tag', ['HS-14'], (context) => [
    context.signed({ type: PacketType.REFUSED, tag: randomTag(), code: ResultCode.DENIED, retryMillis: 0 }),
  ]),
  ignored('a WELCOME before the cookie', ['HS-14'], (context, { packet }) => [
    context.signed({ type: PacketType.WELCOME, tag: packet.tag, noise: random(68) }),
  ]),
  {
    title: 'a WELCOME with a wrong MAC is dropped, and the right one taken',
    clauses: ['HS-14', 'HELLO-1'],
    run: async (context) => {
      const { hello } = await context.prove();
      const { welcome, session } = await context.welcome(hello);
      context.front.send(spoiled(welcome, -1), hello.from);
      context.front.send(spoiled(welcome, 30), hello.from);
      const send = (): void => context.front.send(welcome, hello.from);
      send();
      const look = (): true | undefined => session.packets.length > 0 || undefined;
      await session.until(look, 'a SEALED packet after WELCOME', { clause: 'HS-14', again: send });
    },
  },
  {
    title: 'a WELCOME whose Noise message does not open ends the handshake',
    clauses: ['HS-22', 'HS-3', 'HS-5'],
    run: async (context) => {
      const { hello } = await context.prove();
      const { welcome, session } = await context.welcome(hello);
      context.front.send(
        context.resigned(welcome, (bytes) => bytes.fill(0, 60, 70)),
        hello.from,
      );
      await context.idle(QUIET_MILLIS / 2);
      context.front.send(welcome, hello.from);
      await context.idle(QUIET_MILLIS);
      expectThat(session.packets.length === 0, 'no session', () => session.summary);
    },
  },
  {
    title: 'a WELCOME with an ephemeral key of zeros ends the handshake',
    clauses: ['HS-6', 'HS-22'],
    run: async (context) => {
      const { hello } = await context.prove();
      const { welcome, session } = await context.welcome(hello);
      context.front.send(
        context.resigned(welcome, (bytes) => bytes.fill(0, 12, 44)),
        hello.from,
      );
      await context.idle(QUIET_MILLIS / 2);
      context.front.send(welcome, hello.from);
      await context.idle(QUIET_MILLIS);
      expectThat(session.packets.length === 0, 'no session', () => session.summary);
    },
  },
  {
    title: 'REFUSED ends the handshake',
    clauses: ['HS-20'],
    run: async (context) => {
      const { hello } = await context.prove();
      const { tag } = hello.packet;
      const refusal = context.signed({
        type: PacketType.REFUSED,
        tag,
        code: ResultCode.BUSY,
        retryMillis: 60_000,
      });
      context.front.send(refusal, hello.from);
      await context.idle(QUIET_MILLIS / 2);
      const before = context.hellos.length;
      await context.idle(2 * QUIET_MILLIS);
      const late = context.hellos.slice(before).filter(({ packet }) => isSameTag(packet.tag, tag));
      expectThat(late.length === 0, 'no HELLO of this handshake more', `${late.length}`);
    },
  },
  established(
    'an ack-eliciting SEALED packet comes right after WELCOME',
    ['SES-3', 'PKT-11', 'KEY-3'],
    async (_, { session }) => {
      const first = session.packets.toSorted((left, right) => left.number - right.number)[0]!;
      expectThat(first.number === 0, 'number 0', `${first.number}`, 'PKT-11');
      expectThat(first.frames.some(isAckEliciting), 'an ack-eliciting frame', () => session.summary);
    },
  ),
  established(
    'it comes from the port of the HELLO',
    ['HS-25', 'SES-2'],
    async (context, { session, hello }) => {
      // Packets from elsewhere are not looked at: that there is one says it.
      expectThat(session.packets.length > 0, 'a packet', 'none');
      expectThat(
        context.hellos.every(({ from }) => from.port === hello.from.port),
        'one port',
        'several',
        'SES-2',
      );
    },
  ),
  established(
    'the same WELCOME again, and a late COOKIE, change nothing',
    ['HS-17', 'SES-2'],
    async (context, accepted) => {
      const { session, hello, welcome } = accepted;
      for (let copy = 0; copy < 3; copy++) context.front.send(welcome, hello.from);
      context.front.send(context.cookie(hello, random(24)), hello.from);
      await session.checkAlive('HS-17');
    },
  ),
  established(
    'packets of the front port mean nothing to the session',
    ['SES-2', 'PKT-13'],
    async (context, { session, hello }) => {
      const number = session.nextNumber();
      const close = { type: FrameType.CLOSE, code: CloseCode.SHUTDOWN, text: '' } as const;
      context.front.send(session.packet([close], { number }), hello.from);
      await session.checkAlive('SES-2');
    },
  ),
  established(
    'a query of an unknown kind is answered UNSUPPORTED',
    ['QRY-9', 'QRY-1'],
    async (_, { session }) => {
      await session.checkAlive('QRY-9');
    },
  ),
  established('query ids are even, from 0 on', ['QRY-1'], async (_, { session }) => {
    const look = (): number | undefined => session.frames(FrameType.QUERY)[0]?.id;
    const id = await session.until(look, 'a query', { clause: 'QRY-1' });
    expectThat(id === 0, 'id 0', `${id}`);
  }),
  established('our packets are acknowledged', ['ACK-1', 'ACK-5'], async (_, { session }) => {
    const number = session.send([PING]);
    await session.expectAck(number, Space.CONTROL, 'ACK-1', () => session.send([PING]));
  }),
  established(
    'what is not acknowledged is sent again under a new number',
    ['QRY-4', 'REL-11', 'PKT-12'],
    async (_, { session }) => {
      session.acks = false;
      await session.reply(session.query(UNKNOWN_KIND));
      // A probe repeats the oldest frames: those of our answer, or of a query that came before.
      const carriers = (type: number, id: number): number[] =>
        session.packets
          .filter(({ frames }) =>
            frames.some((frame) => frame.type === type && 'id' in frame && frame.id === id),
          )
          .map(({ number }) => number);
      const asked = [...session.frames(FrameType.QUERY), ...session.frames(FrameType.REPLY)];
      const look = (): number[] | undefined =>
        asked.map(({ type, id }) => carriers(type, id)).find((numbers) => numbers.length >= 2);
      const numbers = await session.until(look, 'a QUERY or REPLY again', { clause: 'QRY-4' });
      expectThat(new Set(numbers).size === numbers.length, 'a number each', `${numbers}`, 'PKT-12');
    },
  ),
  established('a corrupted seal is dropped', ['SEAL-3'], async (_, { session }) => {
    const spoil = (packet: Uint8Array): void => {
      packet[packet.length - 1]! ^= 1;
    };
    const number = session.nextNumber();
    session.sendForbidden(session.packet([PING], { number, spoil }), number, 'SEAL-3');
    await session.checkAlive('SEAL-3');
  }),
  established('a forged tag is dropped', ['PKT-8'], async (_, { session }) => {
    const number = session.nextNumber();
    session.sendForbidden(session.packet([PING], { number, tag: randomTag() }), number, 'PKT-8');
    await session.checkAlive('PKT-8');
  }),
  established('unknown flags and types are dropped', ['PKT-10', 'PKT-2'], async (_, { session }) => {
    for (const options of [{ flags: 4 }, { flags: 128 }, { type: 0 }, { type: 7 }]) {
      const number = session.nextNumber();
      session.sendForbidden(session.packet([PING], { number, ...options }), number, 'PKT-10');
    }
    await session.checkAlive('PKT-10');
  }),
  established('a number that was used is not taken again', ['REPLAY-3'], async (_, { session }) => {
    const number = session.send([PING]);
    await session.expectAck(number, Space.CONTROL);
    session.sendRaw(session.packet([{ type: FrameType.CLOSE, code: 3, text: 'replayed' }], { number }));
    await session.checkAlive('REPLAY-3');
  }),
  established('our key update is followed', ['KEY-8', 'KEY-7'], async (_, { session }) => {
    for (let round = 0; round < 5; round++) {
      const number = session.send([PING]);
      await session.expectAck(number, Space.CONTROL, 'ACK-1', () => session.send([PING]));
      session.epoch += 1;
      await session.checkAlive('KEY-8');
    }
  }),
  established(
    'several packets in a datagram, and a bad one between them',
    ['PKT-1', 'PKT-13'],
    async (_, { session }) => {
      const first = session.nextNumber();
      const datagram = glue(
        session.packet([PING], { number: first }),
        session.packet([PING], { number: first + 1, type: 0x33 }),
        session.packet([PING], { number: first + 2 }),
      );
      session.sendRaw(datagram);
      await session.expectAck(first + 2, Space.CONTROL, 'PKT-13', () => session.sendRaw(datagram));
    },
  ),
  breaks('an unknown frame', ['FRM-2', 'SES-14'], new Uint8Array([0x0b])),
  breaks('no frame', ['FRM-2'], new Uint8Array(0)),
  breaks(
    'an ACK of what was not sent',
    ['ACK-7'],
    new Uint8Array([2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
  ),
  breaks('a query id of the initiator’s parity', ['QRY-2'], new Uint8Array([4, 0, 0, 0, 8, 250, 0, 0])),
  breaks('a reply to what was never asked', ['QRY-5'], new Uint8Array([5, 0, 0, 0x40, 0, 0, 0, 0])),
  breaks('a query id too far ahead', ['QRY-7'], new Uint8Array([4, 0, 1, 0, 1, 250, 0, 0])),
  established('CLOSE is answered once with NORMAL', ['SES-16'], async (_, { session }) => {
    session.send([{ type: FrameType.CLOSE, code: CloseCode.SHUTDOWN, text: '' }]);
    const look = (): number | undefined => session.frames(FrameType.CLOSE)[0]?.code;
    const code = await session.until(look, 'CLOSE in answer', { clause: 'SES-16', millis: 3_000 });
    expectThat(code === CloseCode.NORMAL, 'NORMAL (0)', `${code}`);
  }),
  {
    title: 'every handshake has a port, a tag and an ephemeral key of its own',
    clauses: ['HS-1', 'SES-2', 'SES-6'],
    run: async (context) => {
      const { hello } = await context.prove();
      await context.startCommand();
      const isOther = (next: ReceivedHello): boolean => !isSameTag(next.packet.tag, hello.packet.tag);
      const other = await context.hello(isOther, 'a HELLO of another tag', 'SES-6');
      expectThat(other.from.port !== hello.from.port, 'another port', `${other.from.port}`, 'SES-2');
      const cookie = random(24);
      const send = (): void => context.front.send(context.cookie(other, cookie), other.from);
      send();
      const isBack = (next: ReceivedHello): boolean => isOther(next) && hasCookie(next);
      const second = await context.hello(isBack, 'a HELLO with a cookie', 'HS-12');
      const key = (of: ReceivedHello): string => toHex(of.packet.noise.subarray(0, 32));
      expectThat(key(second) !== key(hello), 'another ephemeral key', 'the same', 'HS-1');
    },
  },
];

export const listenCases: readonly ListenCase[] = texts.map((text, index) => ({
  ...text,
  group: 'initiator',
  id: `L-${String(index + 1).padStart(3, '0')}`,
}));
