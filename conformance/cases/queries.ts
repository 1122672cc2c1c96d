/** Queries: ids, duplicates, replies, and what never ends a session. */

import {
  CloseCode,
  copyQuery,
  encodeMessage,
  type Frame,
  FrameType,
  QueryKind,
  ResultCode,
} from '../../src/wire/index.ts';
import { type CaseText, section, type WireContext } from '../case.ts';
import { expectThat } from '../expectations.ts';
import { type RawSession, UNKNOWN_KIND } from '../peer.ts';

const EMPTY = new Uint8Array(0);
const QUERY_IDS_AHEAD_MAX = 4_096;
const COPIES = 50;
/** Queries of one packet, and packets: far more replies than anybody has to keep. */
const PILE_QUERIES = 100;
const PILE_PACKETS_MAX = 600;
const COORDINATOR_KINDS = Array.from({ length: 20 }, (_, index) => index + 1);
const NODE_KINDS = [QueryKind.STORE, QueryKind.READ, QueryKind.DELETE, QueryKind.COPY];

function query(id: number, kind = UNKNOWN_KIND, body = EMPTY): Frame {
  return { type: FrameType.QUERY, id, kind, body };
}

function repliesTo(session: RawSession, id: number): { readonly code: number; readonly body: Uint8Array }[] {
  return session.frames(FrameType.REPLY).filter((frame) => frame.id === id);
}

/** A case of frames that break the protocol. */
function breaks(title: string, clauses: readonly string[], frames: readonly Frame[]): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const session = await context.connect();
    session.send(frames);
    await session.expectClose(clauses[0]!);
  };
  return { title, clauses, run };
}

/** A case of kinds that a role must answer UNSUPPORTED. */
function unsupported(
  title: string,
  role: 'coordinator' | 'node',
  clauses: readonly string[],
  kinds: readonly number[],
  body: Uint8Array = new Uint8Array(32),
): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const session = await context.connect();
    for (const kind of kinds) {
      const { code } = await session.ask(kind, body, clauses[0]);
      expectThat(code === ResultCode.UNSUPPORTED, `UNSUPPORTED (12) to kind ${kind}`, `code ${code}`);
    }
    await session.checkAlive('QRY-9');
  };
  return { title, role, clauses, run };
}

const texts: readonly CaseText[] = [
  unsupported(
    'a coordinator answers kinds that nobody knows',
    'coordinator',
    ['QRY-9', 'MSG-1'],
    [0, 21, 31, 36, 255],
  ),
  unsupported('a coordinator answers the kinds of nodes', 'coordinator', ['QRY-9', 'MSG-1'], NODE_KINDS),
  unsupported('a node answers kinds that nobody knows', 'node', ['QRY-9', 'MSG-1'], [0, 21, 31, 36, 255]),
  unsupported('a node answers the kinds of coordinators', 'node', ['QRY-9', 'MSG-1'], COORDINATOR_KINDS),
  unsupported('a node obeys DELETE on no session that others opened', 'node', ['ADM-5'], [QueryKind.DELETE]),
  breaks('a query id of the receiver’s own parity', ['QRY-2', 'SES-14'], [query(1)]),
  breaks('a query id of the receiver’s own parity, far up', ['QRY-2'], [query(0xffff_fffd)]),
  breaks(
    'a reply to an id of the receiver that it never used',
    ['QRY-5', 'SES-14'],
    [{ type: FrameType.REPLY, id: 4_001, code: 0, body: EMPTY }],
  ),
  breaks(
    'a reply to an id of our own parity',
    ['QRY-5'],
    [{ type: FrameType.REPLY, id: 0, code: 0, body: EMPTY }],
  ),
  breaks('a query id too far ahead', ['QRY-7', 'PKT-16'], [query((QUERY_IDS_AHEAD_MAX + 1) * 2)]),
  breaks('the last query id as the first', ['QRY-7'], [query(0xffff_fffc)]),
  {
    title: 'a query id as far ahead as may be is answered',
    clauses: ['QRY-7'],
    run: async (context) => {
      const session = await context.connect();
      const id = QUERY_IDS_AHEAD_MAX * 2;
      session.expectsReply = (asked) => asked === id;
      session.send([query(id)]);
      await session.reply(id, { clause: 'QRY-7', again: () => session.send([query(id)]) });
      await session.checkAlive('QRY-7');
    },
  },
  {
    title: 'the bound on ids moves with the queries that were seen',
    clauses: ['QRY-7'],
    run: async (context) => {
      const session = await context.connect();
      for (let round = 0; round < 3; round++) await session.checkAlive();
      const id = (QUERY_IDS_AHEAD_MAX + 3) * 2;
      session.expectsReply = (asked) => asked === id;
      session.send([query(id)]);
      await session.reply(id, { clause: 'QRY-7', again: () => session.send([query(id)]) });
    },
  },
  {
    title: 'ids in reverse order are all answered',
    clauses: ['QRY-7', 'QRY-9'],
    run: async (context) => {
      const session = await context.connect();
      const ids = Array.from({ length: 40 }, () => session.queryId()).toReversed();
      for (const id of ids) session.send([query(id)]);
      for (const id of ids) await session.reply(id, { again: () => session.send([query(id)]) });
    },
  },
  {
    title: 'a query that comes again in other packets is carried out once',
    clauses: ['QRY-3'],
    run: async (context) => {
      const session = await context.connect();
      const id = session.queryId();
      for (let copy = 0; copy < COPIES; copy++) session.send([query(id)]);
      await session.reply(id);
      await session.checkAlive();
      const count = repliesTo(session, id).length;
      expectThat(count < COPIES / 2, 'one REPLY, perhaps again', `${count} of them`);
    },
  },
  {
    title: 'a query twice in one packet is carried out once',
    clauses: ['QRY-3'],
    run: async (context) => {
      const session = await context.connect();
      session.acks = false;
      const id = session.queryId();
      session.send([query(id), query(id), query(id)]);
      await session.reply(id, { again: () => session.send([query(id)]) });
      const most = Math.max(
        ...session.packets.map(
          ({ frames }) => frames.filter((frame) => frame.type === FrameType.REPLY).length,
        ),
      );
      expectThat(most === 1, 'one REPLY', `${most} in one packet`);
    },
  },
  {
    title: 'a JOIN that comes again long after its answer makes no second nonce',
    clauses: ['QRY-3', 'ADM-3'],
    role: 'coordinator',
    run: async (context) => {
      const session = await context.connect();
      await context.join(session, context.random(16));
      const [first] = session.frames(FrameType.REPLY);
      const id = first!.id;
      const body = new Uint8Array(60);
      for (let copy = 0; copy < 5; copy++) {
        session.send([query(id, QueryKind.JOIN, body)]);
        await session.checkAlive('QRY-3');
      }
      const bodies = new Set(repliesTo(session, id).map((reply) => String(reply.body)));
      expectThat(bodies.size === 1, 'one answer', `${bodies.size} different ones`);
    },
  },
  {
    title: 'a query is answered also when its copy comes under a later number first',
    clauses: ['QRY-3', 'REPLAY-1'],
    run: async (context) => {
      const session = await context.connect();
      const id = session.queryId();
      const first = session.packet([query(id)]);
      const second = session.packet([query(id)]);
      session.sendRaw(second);
      session.sendRaw(first);
      await session.reply(id, { again: () => session.send([query(id)]) });
      await session.checkAlive();
    },
  },
  {
    title: '1,000 queries at once are all answered',
    clauses: ['QRY-6', 'QRY-9'],
    run: async (context) => {
      const session = await context.connect();
      const ids = Array.from({ length: 1_000 }, () => session.queryId());
      const sendAll = (): void => {
        const missing = ids.filter((id) => repliesTo(session, id).length === 0);
        for (let at = 0; at < missing.length; at += 100) {
          session.send(missing.slice(at, at + 100).map((id) => query(id)));
        }
      };
      sendAll();
      const look = (): true | undefined => {
        const answered = new Set(session.frames(FrameType.REPLY).map(({ id }) => id));
        return answered.size === ids.length || undefined;
      };
      await session.until(look, '1,000 REPLYs', { clause: 'QRY-9', again: sendAll });
    },
  },
  {
    title: 'queries of one packet get their replies',
    clauses: ['QRY-9', 'FRM-5'],
    run: async (context) => {
      const session = await context.connect();
      const ids = Array.from({ length: 30 }, () => session.queryId());
      const send = (): void => void session.send(ids.map((id) => query(id)));
      send();
      for (const id of ids) await session.reply(id, { again: send });
    },
  },
  {
    title: 'two sessions of one peer do not know of each other',
    clauses: ['SES-19', 'QRY-1'],
    run: async (context) => {
      const [first, second] = [await context.connect(), await context.connect()];
      await first.checkAlive();
      await second.checkAlive();
      first.sendRaw(first.seal(new Uint8Array([0x0b])));
      await first.expectClose('FRM-2');
      await second.checkAlive('SES-19');
    },
  },
  {
    title: 'packets of one session mean nothing to another',
    clauses: ['PKT-8', 'HS-25'],
    run: async (context) => {
      const [first, second] = [await context.connect(), await context.connect()];
      await second.checkAlive();
      const stolen = first.packet([{ type: FrameType.CLOSE, code: 3, text: 'stolen' }]);
      second.sendRaw(stolen);
      // Also when it bears the tag of the session that it is thrown into.
      second.sendRaw(
        first.packet([{ type: FrameType.CLOSE, code: 3, text: 'stolen' }], { tag: second.peerTag }),
      );
      await second.checkAlive('PKT-8');
    },
  },
  {
    title: 'replies that we never take pile up to a bound, and end the session with LIMIT',
    clauses: ['SES-18', 'LIM-1'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      session.acks = false;
      const closed = (): { code: number } | undefined => session.frames(FrameType.CLOSE)[0];
      for (let packet = 0; packet < PILE_PACKETS_MAX && closed() === undefined; packet++) {
        session.send(Array.from({ length: PILE_QUERIES }, () => query(session.queryId())));
        // So slowly that few are lost: ids that are missing must not run too far ahead.
        await session.idle(packet % 8 === 0 ? 10 : 0);
      }
      await session.expectClose('SES-18', CloseCode.LIMIT);
    },
  },
  unsupported(
    'a node obeys COPY on no session that others opened',
    'node',
    ['ADM-5', 'REP-4'],
    [QueryKind.COPY],
    encodeMessage(copyQuery, {
      token: new Uint8Array(8),
      hash: new Uint8Array(32),
      bytes: 1,
      sources: [],
    }),
  ),
];

export const queryCases = section('queries', 251, texts);
