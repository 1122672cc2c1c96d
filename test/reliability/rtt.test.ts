import { describe, expect, it } from 'vitest';
import { micros } from '../../src/base/units.ts';
import { RttEstimator } from '../../src/reliability/index.ts';

describe('the RTT estimator', () => {
  it('starts at 10 ms and half of it', () => {
    const rtt = new RttEstimator();
    expect(rtt.sampled).toBe(false);
    expect(rtt.smoothedMicros).toBe(10_000);
    expect(rtt.varianceMicros).toBe(5_000);
    // 10 ms + 4 x 5 ms + 2 ms of the peer's delay.
    expect(rtt.ptoMicros).toBe(32_000);
  });

  it('takes the first sample whole, whatever delay the peer claims [REL-4]', () => {
    const rtt = new RttEstimator();
    rtt.update(micros(800), micros(700));
    expect([rtt.smoothedMicros, rtt.varianceMicros, rtt.minMicros]).toEqual([800, 400, 800]);
  });

  it('takes the deviation from the smoothed RTT before it moves, not from the minimum [REL-3]', () => {
    const rtt = new RttEstimator();
    rtt.update(micros(800), micros(0));
    rtt.update(micros(1_600), micros(0));
    // rttvar = 3/4 x 400 + 1/4 x |800 - 1600|; smoothed = 7/8 x 800 + 1/8 x 1600.
    expect(rtt.varianceMicros).toBe(500);
    expect(rtt.smoothedMicros).toBe(900);
    rtt.update(micros(900), micros(0));
    // With the minimum (800) in place of the smoothed RTT (900) this were 400, not 375.
    expect(rtt.varianceMicros).toBe(375);
    expect(rtt.smoothedMicros).toBe(900);
  });

  it('subtracts the peer’s delay, but never below the minimum', () => {
    const rtt = new RttEstimator();
    rtt.update(micros(800), micros(0));
    rtt.update(micros(1_800), micros(1_000));
    expect(rtt.smoothedMicros).toBe(800);
    rtt.update(micros(1_600), micros(1_000));
    // 1600 - 1000 lies below the minimum of 800: the delay is not believed.
    expect(rtt.smoothedMicros).toBe(900);
    expect(rtt.minMicros).toBe(800);
  });

  it('believes at most 2 ms of delay [REL-5]', () => {
    const rtt = new RttEstimator();
    rtt.update(micros(1_000), micros(0));
    rtt.update(micros(9_000), micros(8_000));
    expect(rtt.smoothedMicros).toBe((7 * 1_000 + 7_000) / 8);
  });

  it('keeps the probe timeout above granularity, and in whole microseconds', () => {
    const rtt = new RttEstimator();
    for (let sample = 0; sample < 200; sample++) rtt.update(micros(101), micros(0));
    expect(rtt.ptoMicros).toBe(101 + 1_000 + 2_000);
    rtt.update(micros(102), micros(0));
    expect(Number.isSafeInteger(rtt.ptoMicros)).toBe(true);
  });
});
