import { describe, expect, it } from 'vitest';
import { micros, millis, seconds } from '../../src/base/units.ts';
import {
  CONTROL_FRAMES_QUEUED_MAX,
  EVENTS_QUEUED_MAX,
  QUERIES_OUTSTANDING_MAX,
} from '../../src/session/index.ts';
import { Outbox } from '../../src/session/outbox.ts';
import { QueryBook } from '../../src/session/queries.ts';
import { CloseCode, type Frame, FrameType, frameSize, ResultCode } from '../../src/wire/index.ts';
import { clauseOf, makeSession, Puppet, pattern, SessionPair } from '../support/session-pair.ts';

const NOTHING = new Uint8Array(0);

describe('queries', () => {
  it('have even ids at the initiator and odd ones at the responder [QRY-1]', () => {
    const initiator = makeSession('initiator');
    const responder = makeSession('responder');
    expect([1, 2, 3].map(() => initiator.query(1, NOTHING))).toEqual([0, 2, 4]);
    expect([1, 2, 3].map(() => responder.query(1, NOTHING))).toEqual([1, 3, 5]);
  });

  it('are refused at the maximum plus one, and taken again after a reply [QRY-6] [LIM-1]', () => {
    const puppet = new Puppet('initiator');
    for (let count = 0; count < QUERIES_OUTSTANDING_MAX; count++) {
      expect(puppet.session.query(1, NOTHING)).toBe(count * 2);
    }
    expect(puppet.session.query(1, NOTHING)).toBeUndefined();
    puppet.send({ type: FrameType.REPLY, id: 6, code: 0, body: NOTHING });
    expect(puppet.session.query(1, NOTHING)).toBe(QUERIES_OUTSTANDING_MAX * 2);
    expect(puppet.session.query(1, NOTHING)).toBeUndefined();
  });

  it('of the peer are answered as busy at the maximum plus one, without being carried out [QRY-6]', () => {
    const puppet = new Puppet('initiator');
    for (let count = 0; count <= QUERIES_OUTSTANDING_MAX; count++) {
      puppet.send({ type: FrameType.QUERY, id: 1 + 2 * count, kind: 1, body: NOTHING });
    }
    expect(puppet.events()).toHaveLength(QUERIES_OUTSTANDING_MAX);
    expect(puppet.frames()).toEqual([
      {
        type: FrameType.REPLY,
        id: 1 + 2 * QUERIES_OUTSTANDING_MAX,
        code: ResultCode.BUSY,
        body: Uint8Array.of(0, 0, 1, 0xf4),
      },
    ]);
    puppet.session.reply(1, 0, NOTHING);
    puppet.send({ type: FrameType.QUERY, id: 3 + 2 * QUERIES_OUTSTANDING_MAX, kind: 1, body: NOTHING });
    expect(puppet.events()).toHaveLength(1);
  });

  it('are carried out once, however often they arrive in new packets [QRY-3]', () => {
    const puppet = new Puppet('initiator');
    for (let copy = 0; copy < 5; copy++)
      puppet.send({ type: FrameType.QUERY, id: 3, kind: 1, body: pattern(4) });
    expect(puppet.events()).toEqual([{ kind: 'query', id: 3, query: 1, body: pattern(4) }]);
    puppet.session.reply(3, 0, NOTHING);
    puppet.session.reply(3, 1, NOTHING);
    expect(puppet.frames()).toEqual([{ type: FrameType.REPLY, id: 3, code: 0, body: NOTHING }]);
    puppet.send({ type: FrameType.QUERY, id: 3, kind: 1, body: pattern(4) });
    expect(puppet.events()).toEqual([]);
  });

  it('share a datagram when they are asked together [SES-8]', () => {
    const puppet = new Puppet('initiator');
    for (let count = 0; count < 20; count++) puppet.session.query(1, pattern(10));
    const before = puppet.session.counts.datagramsSent;
    expect(puppet.frames()).toHaveLength(20);
    expect(puppet.session.counts.datagramsSent - before).toBe(1);
  });

  it('are sent again until they are answered, and not after [QRY-4]', () => {
    const pair = SessionPair.live();
    let lost = 2;
    pair.left.filter = () => lost-- <= 0;
    pair.left.session.query(1, NOTHING);
    pair.right.onEvent = (event) => {
      if (event.kind === 'query') pair.right.session.reply(event.id, 0, NOTHING);
    };
    pair.runUntil(() => pair.left.kinds().includes('reply'), seconds(1));
    pair.run(seconds(1));
    expect(pair.right.kinds()).toEqual(['query']);
    expect(pair.left.kinds()).toEqual(['reply']);
  });

  it('are in the probe itself when the peer is silent: a lost query costs one timeout, not two [REL-11]', () => {
    const puppet = new Puppet('initiator');
    puppet.session.query(1, pattern(3));
    puppet.said();
    const { frames } = puppet.wait(millis(40));
    expect(frames).toContainEqual({ type: FrameType.QUERY, id: 0, kind: 1, body: pattern(3) });
    expect(frames).toContainEqual({ type: FrameType.PING });
  });

  it('probe even when the window is more than full and nothing comes back [REL-11]', () => {
    const puppet = new Puppet('initiator');
    for (let count = 0; count < 200; count++) puppet.session.query(1, pattern(1_000));
    const before = puppet.said().frames.length;
    expect(before).toBeLessThan(30);
    for (let probe = 0; probe < 3; probe++) {
      expect(puppet.wait(seconds(2)).frames).toContainEqual({ type: FrameType.PING });
    }
  });

  it('are not like notices, which are not sent again when lost [FRM-8]', () => {
    const pair = SessionPair.live();
    let lost = 1;
    pair.left.filter = () => lost-- <= 0;
    pair.left.session.notify(1, NOTHING);
    pair.run(millis(1));
    pair.left.session.notify(2, NOTHING);
    pair.run(seconds(1));
    expect(pair.right.events).toMatchObject([{ kind: 'notice', notice: 2 }]);
  });

  it('hold bodies that their driver may keep: copies of what arrived', () => {
    const puppet = new Puppet('initiator');
    puppet.send({ type: FrameType.NOTICE, kind: 1, body: pattern(8) });
    const [event] = puppet.events();
    puppet.send({ type: FrameType.NOTICE, kind: 1, body: new Uint8Array(8) });
    expect(event).toEqual({ kind: 'notice', notice: 1, body: pattern(8) });
  });

  it('end with their ids: the book says so, and gives no id twice [QRY-8]', () => {
    const book = new QueryBook('responder', 5);
    expect([book.open(), book.open(), book.open()]).toEqual([1, 3, 5]);
    expect(book.exhausted).toBe(true);
    expect(book.open()).toBeUndefined();
  });
});

describe('the queues', () => {
  it('refuse queries and drop notices at half of the maximum, so that answers find room', () => {
    // Nothing is sent, because nobody polls.
    const session = makeSession('initiator');
    for (let count = 0; count < CONTROL_FRAMES_QUEUED_MAX / 2; count++) session.notify(1, NOTHING);
    expect(session.memory.framesQueued).toBe(CONTROL_FRAMES_QUEUED_MAX / 2);
    session.notify(1, NOTHING);
    expect(session.memory.framesQueued).toBe(CONTROL_FRAMES_QUEUED_MAX / 2);
    expect(session.query(1, NOTHING)).toBeUndefined();
    expect(session.isOpen).toBe(true);
  });

  it('take frames up to the maximum and not one more [SES-18] [LIM-1]', () => {
    const outbox = new Outbox(() => true);
    const frame: Frame = { type: FrameType.STOP, flowId: 1, code: 0 };
    for (let count = 0; count < CONTROL_FRAMES_QUEUED_MAX; count++) expect(outbox.push(frame)).toBe(true);
    expect(outbox.push(frame)).toBe(false);
  });

  it('end the session when a peer piles answers up and acknowledges none [SES-18]', () => {
    const puppet = new Puppet('initiator');
    // Each query beyond the outstanding ones is answered as busy, and nothing is ever sent.
    const queries = QUERIES_OUTSTANDING_MAX + CONTROL_FRAMES_QUEUED_MAX;
    for (let count = 0; count < queries; count++) {
      puppet.send({ type: FrameType.QUERY, id: 1 + 2 * count, kind: 1, body: NOTHING });
      if (count % 1_000 === 0) puppet.events();
    }
    expect(puppet.session.isOpen).toBe(true);
    puppet.send({ type: FrameType.QUERY, id: 1 + 2 * queries, kind: 1, body: NOTHING });
    expect(puppet.session.isOpen).toBe(false);
    expect(puppet.frames()).toMatchObject([{ type: FrameType.CLOSE, code: CloseCode.LIMIT }]);
  });

  it('drop notices that the driver does not fetch, and nothing else', () => {
    const puppet = new Puppet('initiator');
    const notices: Frame[] = Array.from({ length: 256 }, () => ({
      type: FrameType.NOTICE,
      kind: 1,
      body: NOTHING,
    }));
    for (let sent = 0; sent < EVENTS_QUEUED_MAX; sent += notices.length) puppet.send(...notices);
    puppet.send({ type: FrameType.QUERY, id: 1, kind: 1, body: NOTHING });
    expect(puppet.dropped('notice')).toBe(EVENTS_QUEUED_MAX / 2);
    expect(puppet.events().filter(({ kind }) => kind === 'query')).toHaveLength(1);
  });

  it('send lost frames before new ones, in order, and a PING before all [REL-8]', () => {
    const outbox = new Outbox((frame) => frame.type !== FrameType.QUERY);
    const stop = (flowId: number): Frame => ({ type: FrameType.STOP, flowId, code: 0 });
    const lost = stop(9);
    outbox.push(stop(1));
    outbox.push(stop(2));
    outbox.pushAgain(lost);
    outbox.pushAgain(lost);
    outbox.pushAgain({ type: FrameType.QUERY, id: 0, kind: 1, body: NOTHING });
    outbox.pushPing();
    const room = 1 + 2 * frameSize(lost);
    expect(outbox.take(room)).toEqual([{ type: FrameType.PING }, lost, stop(1)]);
    expect(outbox.take(room)).toEqual([stop(2)]);
    expect(outbox.empty).toBe(true);
  });

  it('of a half-open responder are not endless either: it says nothing to a stranger but what is due', () => {
    const puppet = new Puppet('responder', {}, true);
    expect(puppet.wait(seconds(4)).frames).toEqual([]);
    expect(clauseOf(puppet.frames())).toBe('no CLOSE');
    expect(puppet.session.nextTimeout()).toBeUndefined();
    puppet.session.close(micros(puppet.now));
    expect(puppet.wait(millis(1)).frames).toEqual([]);
  });
});
