import { describe, expect, it } from 'vitest';
import { micros, millis, seconds } from '../../src/base/units.ts';
import { REFUSALS_MAX } from '../../src/session/index.ts';
import { CloseCode, FrameType } from '../../src/wire/index.ts';
import { makeSession, PARAMETERS, Puppet, SessionPair } from '../support/session-pair.ts';

describe('the life of a session', () => {
  it('starts with a PING of the initiator, sent again until the responder answers [SES-3]', () => {
    const pair = new SessionPair();
    let lost = 3;
    pair.left.filter = () => lost-- <= 0;
    pair.runUntil(() => pair.left.session.isLive && pair.right.session.isLive, seconds(1));
    expect(pair.left.events).toEqual([{ kind: 'live' }]);
    expect(pair.right.events).toEqual([{ kind: 'live' }]);
  });

  it('goes on for hours without work: whoever hears nothing pings [SES-11]', () => {
    const pair = SessionPair.live();
    pair.run(seconds(3_600 * 3));
    expect(pair.left.session.isOpen && pair.right.session.isOpen).toBe(true);
    expect(pair.left.events).toEqual([]);
    // A ping each 2.5 s at most, and its acknowledgement.
    expect(pair.left.datagramsOut).toBeLessThan(2 * 3_600 * 3);
  });

  it('ends when nothing is heard for the idle time that both agreed on, the smaller one [SES-10] [SES-12]', () => {
    const idle = { ...PARAMETERS, idleMicros: seconds(4) };
    const pair = SessionPair.live({ initiator: { local: idle }, responder: { peer: idle } });
    const silentFrom = pair.now;
    pair.faults = { ...pair.faults, loss: 1 };
    pair.runUntil(() => !pair.left.session.isOpen && !pair.right.session.isOpen);
    expect(pair.now - silentFrom).toBeGreaterThan(millis(2_900));
    expect(pair.now - silentFrom).toBeLessThanOrEqual(seconds(4));
    expect(pair.left.events).toMatchObject([{ kind: 'closed', reason: 'idle' }]);
    expect(pair.left.session.nextTimeout()).toBeUndefined();
  });

  it('never lives shorter than a second unheard, whatever a peer asks for [SES-12]', () => {
    const idle = { ...PARAMETERS, idleMicros: micros(1) };
    const session = makeSession('initiator', { peer: idle });
    session.handleTimeout(micros(seconds(1_000) + seconds(1) - 1));
    expect(session.isOpen).toBe(true);
    session.handleTimeout(micros(seconds(1_001)));
    expect(session.isOpen).toBe(false);
  });

  it('ends at the third refusal in a row, and asks after each before [SES-13]', () => {
    const puppet = new Puppet('initiator');
    for (let refusal = 1; refusal < REFUSALS_MAX; refusal++) {
      puppet.session.handleRefused(micros(puppet.now));
      expect(puppet.said().frames.map(({ type }) => type)).toContain(FrameType.PING);
    }
    puppet.session.handleRefused(micros(puppet.now));
    expect(puppet.events()).toMatchObject([{ kind: 'closed', reason: 'refused' }]);
    puppet.session.handleRefused(micros(puppet.now));
    expect(puppet.events()).toEqual([]);
  });

  it('handles all that is due in one call: a timer that fires does not put off a lost query', () => {
    const puppet = new Puppet('initiator');
    puppet.session.query(1, Uint8Array.of(7));
    puppet.said();
    puppet.now += seconds(3);
    puppet.session.handleTimeout(micros(puppet.now));
    expect(puppet.session.nextTimeout()).toBeGreaterThan(puppet.now);
    expect(puppet.frames()).toMatchObject([{ type: FrameType.QUERY, body: Uint8Array.of(7) }]);
  });

  it('forgets refusals when the peer is heard: anyone on the path can forge one [SES-13]', () => {
    const puppet = new Puppet('initiator');
    for (let round = 0; round < 5; round++) {
      for (let refusal = 1; refusal < REFUSALS_MAX; refusal++)
        puppet.session.handleRefused(micros(puppet.now));
      puppet.send({ type: FrameType.PING });
    }
    expect(puppet.session.isOpen).toBe(true);
  });
});

describe('the end of a session', () => {
  it('is known to both at once when the CLOSE arrives [SES-16]', () => {
    const pair = SessionPair.live();
    pair.left.session.close(micros(pair.now), CloseCode.SHUTDOWN, 'going down');
    pair.run(millis(1));
    expect(pair.right.events).toEqual([
      { kind: 'closed', reason: 'peer', code: CloseCode.SHUTDOWN, text: 'going down' },
    ]);
    expect(pair.left.events).toEqual([
      { kind: 'closed', reason: 'local', code: CloseCode.SHUTDOWN, text: 'going down' },
    ]);
    expect(pair.next()).toBeUndefined();
  });

  it('is the same whatever its text says [FRM-7]', () => {
    const ends = ['', '[PKT-3] code 4: RESUME'].map((text) => {
      const puppet = new Puppet('initiator');
      puppet.send({ type: FrameType.CLOSE, code: CloseCode.SHUTDOWN, text });
      const events = puppet.events().map((event) => ({ ...event, text: undefined }));
      return {
        events,
        frames: puppet.frames(),
        open: puppet.session.isOpen,
        next: puppet.session.nextTimeout(),
      };
    });
    expect(ends[0]).toMatchObject({ events: [{ kind: 'closed', code: CloseCode.SHUTDOWN }], open: false });
    expect(ends[1]).toEqual(ends[0]);
  });

  it('comes after three PTOs when the peer’s answer is lost [SES-17]', () => {
    const pair = SessionPair.live();
    pair.right.filter = () => false;
    pair.left.session.close(micros(pair.now));
    pair.run(seconds(1));
    expect(pair.left.kinds()).toEqual(['closed']);
    expect(pair.right.kinds()).toEqual(['closed']);
  });

  it('is told again to a peer that missed it and speaks [SES-17]', () => {
    const pair = SessionPair.live();
    let lost = 1;
    pair.left.filter = () => lost-- <= 0;
    pair.left.session.close(micros(pair.now), CloseCode.NORMAL, 'bye');
    pair.run(micros(10));
    expect(pair.right.session.isOpen).toBe(true);
    pair.right.session.query(1, new Uint8Array(0));
    pair.run(millis(2));
    expect(pair.right.events).toMatchObject([{ kind: 'closed', reason: 'peer', text: 'bye' }]);
    expect(pair.left.events).toMatchObject([{ kind: 'closed', reason: 'local' }]);
  });

  it('is found by refusal or silence when every CLOSE is lost', () => {
    const pair = SessionPair.live();
    pair.left.filter = () => false;
    pair.left.session.close(micros(pair.now));
    pair.run(seconds(11));
    expect(pair.left.events).toMatchObject([{ kind: 'closed', reason: 'local' }]);
    expect(pair.right.events).toMatchObject([{ kind: 'closed', reason: 'idle' }]);
  });

  it('works when both close at once', () => {
    const pair = SessionPair.live();
    for (const { session } of pair.ends) session.close(micros(pair.now));
    pair.run(seconds(1));
    for (const end of pair.ends) expect(end.events).toMatchObject([{ kind: 'closed', reason: 'local' }]);
  });

  it('keeps its own reason when the peer’s port is refused meanwhile', () => {
    const puppet = new Puppet('initiator');
    puppet.session.close(micros(puppet.now), CloseCode.SHUTDOWN, 'mine');
    puppet.session.handleRefused(micros(puppet.now));
    expect(puppet.events()).toEqual([
      { kind: 'closed', reason: 'local', code: CloseCode.SHUTDOWN, text: 'mine' },
    ]);
  });

  it('takes a text of any length and script, and tells as much as fits', () => {
    const puppet = new Puppet('initiator');
    puppet.session.close(micros(puppet.now), CloseCode.NORMAL, '閉'.repeat(1_000));
    const [close] = puppet.frames();
    expect(close).toMatchObject({ type: FrameType.CLOSE, text: '閉'.repeat(66) });
  });

  it('gives all receive memory back', () => {
    const pair = SessionPair.live();
    const puppet = new Puppet('initiator');
    for (let id = 0; id < 10; id++) expect(puppet.session.openReceive(id * 2, false)).toBeGreaterThan(0);
    puppet.session.close(micros(puppet.now));
    expect(puppet.session.memory.heldBytes).toBe(0);
    pair.left.session.close(micros(pair.now));
  });
});
