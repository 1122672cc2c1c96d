import { describe, expect, it } from 'vitest';
import { Closing } from '../../src/session/closing.ts';
import { CloseCode, FrameType } from '../../src/wire/index.ts';
import { marksOf } from '../support/marks.ts';

const REASON = { reason: 'local', code: CloseCode.SHUTDOWN, text: 'bye' } as const;

describe('the end of a session', () => {
  it('says CLOSE once, and again only when it is asked to', () => {
    const closing = new Closing();
    expect(closing.takeFrame()).toBeUndefined();
    closing.start(REASON);
    const frame = { type: FrameType.CLOSE, code: CloseCode.SHUTDOWN, text: 'bye' };
    expect(closing.takeFrame()).toEqual(frame);
    expect(closing.takeFrame()).toBeUndefined();
    expect(closing.onPacket(Uint8Array.of(FrameType.PING))).toBe(false);
    expect(closing.takeFrame()).toEqual(frame);
  });

  it('is answered by a CLOSE wherever it stands in a packet, and by nothing else', () => {
    const packets: [boolean, readonly number[]][] = [
      [true, [FrameType.PING, FrameType.CLOSE, 0, 0, 0]],
      [true, [FrameType.CLOSE, 0, 0, 0, FrameType.PING]],
      [false, []],
      [false, [0xff]],
    ];
    for (const [ends, bytes] of packets) {
      const closing = new Closing();
      closing.start(REASON);
      closing.takeFrame();
      expect(closing.onPacket(Uint8Array.from(bytes)), `${bytes}`).toBe(ends);
      expect(closing.takeFrame() === undefined, `${bytes}`).toBe(ends);
    }
  });

  it('comes once, and for a reason: anything else is our bug', () => {
    const closing = new Closing();
    expect(() => closing.finish()).toThrow('a session ends for a reason');
    closing.start(REASON);
    expect(() => closing.start(REASON)).toThrow('a session ends once');
    expect(closing.finish({ ...REASON, text: 'another' })).toEqual(REASON);
    expect(closing.state).toBe('closed');
  });

  it('leaves a mark where it comes by silence or refusal, and where a packet comes late', () => {
    const marksOfEnd = (reason: 'idle' | 'refused' | 'peer') =>
      marksOf(() => new Closing().finish({ ...REASON, reason }));
    expect(marksOfEnd('idle')).toEqual(['session-idle']);
    expect(marksOfEnd('refused')).toEqual(['session-refused']);
    expect(marksOfEnd('peer')).toEqual([]);
    expect(marksOf(() => new Closing().onPacket(Uint8Array.of(FrameType.PING)))).toEqual(['late-packet']);
  });
});
