import { describe, expect, it } from 'vitest';
import { Closing } from '../../src/session/closing.ts';
import { CloseCode, FrameType } from '../../src/wire/index.ts';

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

  it('comes once, and for a reason: anything else is our bug', () => {
    const closing = new Closing();
    expect(() => closing.finish()).toThrow('a session ends for a reason');
    closing.start(REASON);
    expect(() => closing.start(REASON)).toThrow('a session ends once');
    expect(closing.finish({ ...REASON, text: 'another' })).toEqual(REASON);
    expect(closing.state).toBe('closed');
  });
});
