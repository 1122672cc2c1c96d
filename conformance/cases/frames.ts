/** Frames: those that break the protocol, those that do nothing, and how a session ends. */

import { CloseCode, type Frame, FrameType, Writer } from '../../src/wire/index.ts';
import { type CaseText, section, type WireContext } from '../case.ts';
import { expectThat } from '../expectations.ts';
import { frameBytes, PING, type RawSession, UNKNOWN_KIND } from '../peer.ts';

const CLOSE_TEXT_BYTES_MAX = 200;
const BODY_BYTES_MAX = 1_024;
const NOTICE_UNKNOWN = 200;

/** The bytes that `write` puts down. */
function bytesOf(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer(new Uint8Array(2_048));
  write(writer);
  return writer.buffer.slice(0, writer.at);
}

/** A case of a plaintext that must close the session with PROTOCOL. */
function breaks(
  title: string,
  clauses: readonly string[],
  plaintext: (session: RawSession) => Uint8Array,
): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const session = await context.connect();
    await session.checkAlive();
    session.sendRaw(session.seal(plaintext(session)));
    await session.expectClose(clauses[0]!);
  };
  return { title, clauses, run };
}

/** A case of frames that must change nothing. */
function harmless(
  title: string,
  clauses: readonly string[],
  frames: (session: RawSession) => readonly Frame[] | Uint8Array,
): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const session = await context.connect();
    await session.checkAlive();
    const made = frames(session);
    session.sendRaw(made instanceof Uint8Array ? session.seal(made) : session.packet(made));
    await session.checkAlive(clauses[0]);
  };
  return { title, clauses, run };
}

/** An ACK frame of raw fields. */
function ackBytes(fields: {
  readonly space?: number;
  readonly count?: number;
  readonly largest?: number;
  readonly firstLength?: number;
  readonly more?: readonly (readonly [gap: number, length: number])[];
}): Uint8Array {
  const { space = 0, count, largest = 0, firstLength = 0, more = [] } = fields;
  return bytesOf((writer) => {
    writer.u8(FrameType.ACK);
    writer.u8(space);
    writer.u16(0);
    writer.u8(count ?? more.length + 1);
    writer.u48(largest);
    writer.u32(firstLength);
    for (const [gap, length] of more) {
      writer.u32(gap);
      writer.u32(length);
    }
  });
}

function creditBytes(limit: number, opened: number, complete: number): Uint8Array {
  return bytesOf((writer) => {
    writer.u8(FrameType.CREDIT);
    writer.u32(0);
    writer.u48(limit);
    writer.u48(opened);
    writer.u8(complete);
  });
}

/** A QUERY, REPLY or NOTICE head that says `bytes` of body, and as many bytes as `there`. */
function bodyBytes(type: number, bytes: number, there: number): Uint8Array {
  return bytesOf((writer) => {
    writer.u8(type);
    if (type !== FrameType.NOTICE) writer.u32(0);
    writer.u8(UNKNOWN_KIND);
    writer.u16(bytes);
    writer.zeros(there);
  });
}

function closeBytes(text: Uint8Array): Uint8Array {
  return bytesOf((writer) => {
    writer.u8(FrameType.CLOSE);
    writer.u16(CloseCode.NORMAL);
    writer.u8(text.length);
    writer.bytes(text);
  });
}

/** Frames whole, to be cut at any byte. */
const WHOLE: readonly (readonly [name: string, bytes: Uint8Array])[] = [
  ['ACK', ackBytes({ more: [[0, 0]], largest: 0 })],
  ['CLOSE', closeBytes(new TextEncoder().encode('bye'))],
  ['QUERY', bodyBytes(FrameType.QUERY, 3, 3)],
  ['REPLY', bodyBytes(FrameType.REPLY, 3, 3)],
  ['NOTICE', bodyBytes(FrameType.NOTICE, 3, 3)],
  ['CREDIT', creditBytes(10, 5, 0)],
  [
    'RESEND',
    bytesOf((writer) => {
      writer.u8(FrameType.RESEND);
      writer.zeros(8);
    }),
  ],
  [
    'STOP',
    bytesOf((writer) => {
      writer.u8(FrameType.STOP);
      writer.zeros(5);
    }),
  ],
  [
    'RESET',
    bytesOf((writer) => {
      writer.u8(FrameType.RESET);
      writer.zeros(5);
    }),
  ],
];

const CUTS_AT_ONCE = 4;

const texts: readonly CaseText[] = [
  ...[0x0b, 0x0c, 0x20, 0x40, 0x80, 0xff].map((type) =>
    breaks(`the unknown frame type ${type}`, ['FRM-2', 'FRM-1'], () => new Uint8Array([type])),
  ),
  breaks('an unknown frame behind a good one', ['FRM-2'], () => new Uint8Array([1, 0x0b])),
  ...WHOLE.map(
    ([name, whole]): CaseText => ({
      title: `${name} cut at any byte breaks the protocol`,
      clauses: ['FRM-2', 'PKT-4', 'FRM-5'],
      run: async (context) => {
        const cuts = Array.from({ length: whole.length - 1 }, (_, index) => index + 1);
        for (let at = 0; at < cuts.length; at += CUTS_AT_ONCE) {
          await Promise.all(
            cuts.slice(at, at + CUTS_AT_ONCE).map(async (bytes) => {
              const session = await context.connect();
              session.sendRaw(session.seal(whole.slice(0, bytes)));
              await session.expectClose('FRM-2');
              session.close();
            }),
          );
        }
      },
    }),
  ),
  breaks('an ACK of an unknown space', ['FRM-2'], () => ackBytes({ space: 2 })),
  breaks('an ACK without a range', ['ACK-4', 'FRM-2'], () => ackBytes({ count: 0 })),
  breaks('an ACK of 33 ranges', ['ACK-4', 'FRM-2'], () =>
    ackBytes({ largest: 1_000, space: 1, more: Array.from({ length: 32 }, () => [0, 0] as const) }),
  ),
  breaks('an ACK whose first range goes below 0', ['ACK-3', 'FRM-2'], () =>
    ackBytes({ largest: 0, firstLength: 1 }),
  ),
  breaks('an ACK whose second range goes below 0', ['ACK-3', 'FRM-2'], () =>
    ackBytes({ largest: 5, firstLength: 2, more: [[0, 4]] }),
  ),
  breaks('an ACK whose gap goes below 0', ['ACK-3', 'FRM-2'], () =>
    ackBytes({ largest: 1, firstLength: 0, more: [[0, 0]] }),
  ),
  breaks('an ACK of a number that was never sent', ['ACK-7', 'SES-14'], () => ackBytes({ largest: 5_000 })),
  breaks('an ACK of the last number there is', ['ACK-7'], () => ackBytes({ largest: 2 ** 48 - 1 })),
  breaks('an ACK whose second range was never sent', ['ACK-7'], (session) =>
    ackBytes({ largest: session.packets.length + 50, firstLength: 0, more: [[0, 0]] }),
  ),
  harmless('an ACK of segments that were never sent is passed over', ['ACK-7'], () =>
    ackBytes({ space: 1, largest: 5_000, firstLength: 10 }),
  ),
  harmless('an ACK of 32 ranges of segments', ['ACK-4'], () =>
    ackBytes({ space: 1, largest: 1_000, more: Array.from({ length: 31 }, () => [0, 0] as const) }),
  ),
  harmless('the same ACK again and again', ['ACK-1'], () =>
    frameBytes(
      ...Array.from(
        { length: 20 },
        (): Frame => ({
          type: FrameType.ACK,
          space: 0,
          delayUnits: 0,
          ranges: [{ first: 0 as never, last: 0 as never }],
        }),
      ),
    ),
  ),
  breaks('a QUERY with a body above 1,024 bytes', ['FRM-4', 'FRM-2'], () =>
    bodyBytes(FrameType.QUERY, BODY_BYTES_MAX + 1, BODY_BYTES_MAX + 1),
  ),
  breaks('a REPLY with a body above 1,024 bytes', ['FRM-4', 'FRM-2'], () =>
    bodyBytes(FrameType.REPLY, BODY_BYTES_MAX + 1, BODY_BYTES_MAX + 1),
  ),
  breaks('a NOTICE with a body above 1,024 bytes', ['FRM-4', 'FRM-2'], () =>
    bodyBytes(FrameType.NOTICE, BODY_BYTES_MAX + 1, BODY_BYTES_MAX + 1),
  ),
  breaks('a QUERY that says more body than there is', ['FRM-5', 'FRM-2', 'PKT-16'], () =>
    bodyBytes(FrameType.QUERY, BODY_BYTES_MAX, 10),
  ),
  {
    title: 'a QUERY with a body of 1,024 bytes is answered',
    clauses: ['FRM-4', 'QRY-9'],
    run: async (context) => {
      const session = await context.connect();
      const { code } = await session.ask(UNKNOWN_KIND, new Uint8Array(BODY_BYTES_MAX), 'FRM-4');
      expectThat(code === 12, 'UNSUPPORTED (12)', `${code}`, 'QRY-9');
    },
  },
  breaks('a CLOSE text above 200 bytes', ['FRM-7', 'FRM-2'], () =>
    closeBytes(new Uint8Array(CLOSE_TEXT_BYTES_MAX + 1).fill(0x61)),
  ),
  ...(
    [
      ['an overlong form', [0xc0, 0x80]],
      ['an overlong form of three bytes', [0xe0, 0x80, 0x80]],
      ['a surrogate', [0xed, 0xa0, 0x80]],
      ['a point above U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
      ['a sequence that is cut', [0xe2, 0x82]],
      ['a lone continuation', [0x80]],
    ] as const
  ).map(([what, bytes]) =>
    breaks(`a CLOSE text with ${what}`, ['PKT-14', 'FRM-2'], () => closeBytes(new Uint8Array(bytes))),
  ),
  breaks('a CREDIT that has opened more than its limit', ['FLOW-5', 'FRM-2'], () => creditBytes(5, 6, 0)),
  breaks('a CREDIT whose complete is 2', ['FRM-2'], () => creditBytes(5, 5, 2)),
  harmless('a CREDIT of a flow that is not there', ['FLOW-12'], () => creditBytes(5, 5, 1)),
  harmless('a RESEND of a flow that is not there', ['FLOW-12'], () => [
    { type: FrameType.RESEND, flowId: 40, record: 7 },
  ]),
  harmless(
    'STOP and RESET of flows that are not there, beyond what is remembered',
    ['FLOW-12', 'LIM-1'],
    () =>
      frameBytes(
        ...Array.from(
          { length: 90 },
          (_, index): Frame => ({ type: FrameType.STOP, flowId: index * 2, code: 10 }),
        ),
        ...Array.from(
          { length: 90 },
          (_, index): Frame => ({ type: FrameType.RESET, flowId: index * 2, code: 10 }),
        ),
      ),
  ),
  harmless('a NOTICE of an unknown kind is ignored', ['FRM-8'], () => [
    { type: FrameType.NOTICE, kind: NOTICE_UNKNOWN, body: new Uint8Array(7) },
  ]),
  harmless('a NOTICE whose body does not decode is ignored', ['FRM-8'], () => [
    { type: FrameType.NOTICE, kind: 1, body: new Uint8Array(3) },
  ]),
  harmless('PADDING alone', ['FRM-6'], () => [{ type: FrameType.PADDING, bytes: 500 }]),
  {
    title: 'PADDING between frames does not hide them',
    clauses: ['FRM-6', 'FRM-5'],
    run: async (context) => {
      const session = await context.connect();
      const [first, second] = [session.queryId(), session.queryId()];
      const query = (id: number): Frame => ({
        type: FrameType.QUERY,
        id,
        kind: UNKNOWN_KIND,
        body: new Uint8Array(1),
      });
      const padding: Frame = { type: FrameType.PADDING, bytes: 30 };
      const send = (): void => void session.send([padding, query(first), padding, query(second), padding]);
      send();
      await session.reply(first, { clause: 'FRM-6', again: send });
      await session.reply(second, { clause: 'FRM-6', again: send });
    },
  },
  {
    title: 'the whole packet is ignored when one of its frames breaks the protocol',
    clauses: ['FRM-2'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      const id = session.queryId();
      const query: Frame = { type: FrameType.QUERY, id, kind: UNKNOWN_KIND, body: new Uint8Array(0) };
      const good = frameBytes(query);
      const plaintext = new Uint8Array(good.length + 1);
      plaintext.set(good);
      plaintext[good.length] = 0x0b;
      session.sendRaw(session.seal(plaintext));
      await session.expectClose('FRM-2');
      const replies = session.frames(FrameType.REPLY).filter((reply) => reply.id === id);
      expectThat(replies.length === 0, 'no REPLY', () => session.summary, 'FRM-2');
    },
  },
  {
    title: 'the text of CLOSE begins with the clause',
    clauses: ['SES-14'],
    run: async (context) => {
      const session = await context.connect();
      session.sendRaw(session.seal(new Uint8Array([0x0b])));
      const text = await session.expectClose('SES-14');
      expectThat(text.startsWith('[FRM-2]'), "a text that begins with '[FRM-2]'", `'${text}'`);
    },
  },
  {
    title: 'an end that closed says so again to every packet that opens, and nothing else',
    clauses: ['SES-17'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      session.acks = false;
      session.sendRaw(session.seal(new Uint8Array([0x0b])));
      await session.expectClose('SES-17');
      const before = session.packets.length;
      const id = session.query(UNKNOWN_KIND);
      const look = (): true | undefined => session.packets.length > before || undefined;
      await session
        .until(look, 'CLOSE again', { millis: 2_000, again: () => session.send([PING]) })
        .catch(() => undefined);
      const late = session.packets.slice(before).flatMap(({ frames }) => frames);
      const others = late.filter(({ type }) => type !== FrameType.CLOSE);
      expectThat(others.length === 0, 'CLOSE and nothing else', () => session.summary);
      const replies = session.frames(FrameType.REPLY).filter((reply) => reply.id === id);
      expectThat(replies.length === 0, 'no REPLY after CLOSE', () => session.summary);
    },
  },
  {
    title: 'CLOSE is answered once, with NORMAL and no text',
    clauses: ['SES-16', 'SES-15'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      session.send([{ type: FrameType.CLOSE, code: CloseCode.SHUTDOWN, text: 'done' }]);
      const look = (): { code: number; text: string } | undefined => session.frames(FrameType.CLOSE)[0];
      const close = await session.until(look, 'CLOSE in answer', { clause: 'SES-16', millis: 3_000 });
      expectThat(
        close.code === CloseCode.NORMAL && close.text === '',
        'NORMAL without a text',
        () => session.summary,
      );
      for (let round = 0; round < 5; round++) session.send([PING]);
      await session.idle(200);
      const count = session.frames(FrameType.CLOSE).length;
      expectThat(count === 1, 'one CLOSE', `${count}`);
    },
  },
  {
    title: 'an unknown close code closes like any other',
    clauses: ['SES-20', 'SES-16'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      session.send([{ type: FrameType.CLOSE, code: 999, text: '' }]);
      const look = (): true | undefined => session.frames(FrameType.CLOSE).length > 0 || undefined;
      await session.until(look, 'CLOSE in answer', { clause: 'SES-20', millis: 3_000 });
    },
  },
  {
    title: 'after CLOSE nothing of the session is answered',
    clauses: ['SES-19', 'SES-16'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      session.send([{ type: FrameType.CLOSE, code: CloseCode.NORMAL, text: '' }]);
      await session.idle(100);
      const id = session.query(UNKNOWN_KIND);
      await (await context.connect()).checkAlive();
      const replies = session.frames(FrameType.REPLY).filter((reply) => reply.id === id);
      expectThat(replies.length === 0, 'no REPLY', () => session.summary);
    },
  },
  {
    title: 'frames behind a CLOSE in its packet have no effect',
    clauses: ['FRM-5', 'SES-16'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      const id = session.queryId();
      session.send([
        { type: FrameType.CLOSE, code: CloseCode.NORMAL, text: '' },
        { type: FrameType.QUERY, id, kind: UNKNOWN_KIND, body: new Uint8Array(0) },
      ]);
      await session.idle(100);
      await (await context.connect()).checkAlive();
      const replies = session.frames(FrameType.REPLY).filter((reply) => reply.id === id);
      expectThat(replies.length === 0, 'no REPLY', () => session.summary);
    },
  },
  {
    title: 'PADDING and ACK alone are not acknowledged',
    clauses: ['FRM-3', 'ACK-5'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      // A busy machine may send a probe for an acknowledgement that is late: one quiet round says enough.
      for (let round = 0; ; round++) {
        await session.idle(100);
        session.acknowledge();
        await session.idle(100);
        const before = session.packets.length;
        for (let count = 0; count < 10; count++) session.send([{ type: FrameType.PADDING, bytes: 40 }]);
        await session.idle(100);
        const gained = session.packets.length - before;
        if (gained === 0) return;
        expectThat(round < 5, 'no packet', `${gained}: ${session.summary}`);
      }
    },
  },
];

export const frameCases = section('frames', 121, texts);
