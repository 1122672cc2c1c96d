import { describe, expect, it, vi } from 'vitest';
import { micros } from '../../src/base/units.ts';
import { AckTracker, MAX_ACK_DELAY_MICROS, RangeSet } from '../../src/reliability/index.ts';
import {
  ACK_RANGES_MAX,
  encodeFrame,
  type Frame,
  FrameType,
  frameSize,
  Writer,
} from '../../src/wire/index.ts';

function tracker(max = ACK_RANGES_MAX): AckTracker {
  return new AckTracker(max);
}

describe('an ack tracker', () => {
  it('waits 2 ms with the first packet and no longer [ACK-5]', () => {
    const acks = tracker();
    acks.onReceived(micros(100), 0, true);
    expect(acks.dueAt).toBe(100 + MAX_ACK_DELAY_MICROS);
    expect(MAX_ACK_DELAY_MICROS).toBe(2_000);
    expect(acks.pending).toBe(true);
  });

  it('acknowledges every second packet at once [ACK-5]', () => {
    const acks = tracker();
    acks.onReceived(micros(100), 0, true);
    acks.onReceived(micros(200), 1, true);
    expect(acks.dueAt).toBe(200);
    acks.onAckSent();
    expect(acks.dueAt).toBeUndefined();
    expect(acks.pending).toBe(false);
    acks.onReceived(micros(300), 2, true);
    expect(acks.dueAt).toBe(2_300);
  });

  it('acknowledges at once when a number is missing, and when it turns up late [ACK-5]', () => {
    const acks = tracker();
    acks.onReceived(micros(1), 0, true);
    acks.onAckSent();
    acks.onReceived(micros(100), 2, true);
    expect(acks.dueAt).toBe(100);
    acks.onAckSent();
    acks.onReceived(micros(200), 1, true);
    expect(acks.dueAt).toBe(200);
  });

  it('asks for nothing after packets that are not ack-eliciting', () => {
    const acks = tracker();
    acks.onReceived(micros(1), 0, false);
    acks.onReceived(micros(2), 5, false);
    expect(acks.dueAt).toBeUndefined();
    expect(acks.ranges()).toEqual([
      { first: 5, last: 5 },
      { first: 0, last: 0 },
    ]);
  });

  it('tells the delay since the largest number arrived [ACK-2]', () => {
    const acks = tracker();
    acks.onReceived(micros(100), 3, true);
    acks.onReceived(micros(400), 1, true);
    expect(acks.delayMicros(micros(500))).toBe(400);
  });

  it('remembers 32 ranges, and of 33 forgets the lowest, which still counts as received [ACK-4]', () => {
    const acks = tracker();
    for (let index = 0; index < ACK_RANGES_MAX; index++) acks.onReceived(micros(1), index * 2, true);
    expect(acks.ranges()).toHaveLength(ACK_RANGES_MAX);
    acks.onReceived(micros(1), ACK_RANGES_MAX * 2, true);
    expect(acks.ranges()).toHaveLength(ACK_RANGES_MAX);
    expect(acks.ranges().at(-1)).toEqual({ first: 2, last: 2 });
    expect(acks.has(0)).toBe(true);
    expect(acks.has(3)).toBe(false);
  });

  it('takes a number below the first range for new, until there are too many ranges to know', () => {
    const acks = tracker();
    for (let index = 1; index <= ACK_RANGES_MAX; index++) acks.onReceived(micros(1), 2 * index, true);
    expect(acks.ranges()).toHaveLength(ACK_RANGES_MAX);
    expect([0, 1, 3].map((number) => acks.has(number))).toEqual([false, false, false]);
    const one = tracker();
    one.onReceived(micros(1), 5, true);
    expect(one.has(3)).toBe(false);
  });

  it('forgets what the peer knows, but keeps the newest range [ACK-6]', () => {
    const acks = tracker();
    for (const number of [0, 1, 4, 5, 9]) acks.onReceived(micros(1), number, true);
    acks.onAckAcked(5);
    expect(acks.ranges()).toEqual([
      { first: 9, last: 9 },
      { first: 5, last: 5 },
    ]);
    acks.onAckAcked(100);
    expect(acks.ranges()).toEqual([{ first: 9, last: 9 }]);
    expect(acks.largest).toBe(9);
    expect(acks.has(2), 'below what is settled').toBe(true);
  });

  it('cuts a range that has grown beyond 32 bits: four billion packets without a gap', () => {
    const ranges = vi.spyOn(RangeSet.prototype, 'ranges', 'get');
    ranges.mockReturnValue([{ start: 0, end: 2 ** 33 }]);
    expect(tracker().ranges()).toEqual([{ first: 2 ** 32, last: 2 ** 33 - 1 }]);
    ranges.mockRestore();
  });

  it('gives only ranges that an ACK frame can hold, however far the numbers have run', () => {
    const acks = tracker();
    acks.onReceived(micros(1), 0, true);
    acks.onReceived(micros(1), 1, true);
    acks.onReceived(micros(1), 2 ** 47, true);
    const ranges = acks.ranges();
    expect(ranges).toEqual([{ first: 2 ** 47, last: 2 ** 47 }]);
    const frame: Frame = { type: FrameType.ACK, space: 0, delayUnits: 0, ranges };
    encodeFrame(frame, new Writer(new Uint8Array(frameSize(frame))));
  });
});
