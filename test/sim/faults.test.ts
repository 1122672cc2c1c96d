import { describe, expect, test } from 'vitest';
import {
  DATAGRAM_OVERHEAD_BYTES,
  DATAGRAM_PAYLOAD_BYTES_MAX,
  DEFAULT_FAULT_LIMITS,
  drawFaults,
  Link,
  NO_FAULTS,
} from '../../sim/faults.ts';
import { Random } from '../../sim/random.ts';

describe('drawFaults', () => {
  test('stays within its limits, draws each fault in some seeds and leaves it out in others', () => {
    const seen = { loss: 0, duplicate: 0, reorder: 0, flip: 0, truncate: 0, jitter: 0, rate: 0, mtu: 0 };
    for (let seed = 0; seed < 500; seed++) {
      const faults = drawFaults(new Random(seed), { lossMax: 0.1 });
      const limits = DEFAULT_FAULT_LIMITS;
      expect(faults.lossProbability).toBeLessThan(0.1);
      expect(faults.duplicateProbability).toBeLessThan(limits.duplicateMax);
      expect(faults.reorderProbability).toBeLessThan(limits.reorderMax);
      expect(faults.bitFlipProbability).toBeLessThan(limits.bitFlipMax);
      expect(faults.truncateProbability).toBeLessThan(limits.truncateMax);
      expect(faults.mtuBytes).toBeGreaterThanOrEqual(limits.mtuBytesMin);
      for (const span of [faults.delayMicros, faults.jitterMicros, faults.reorderMicros]) {
        expect(Number.isSafeInteger(span) && span >= 0 && span <= 5_000).toBe(true);
      }
      if (faults.bytesPerSecond > 0) {
        expect(faults.bytesPerSecond).toBeGreaterThanOrEqual(limits.bytesPerSecondMin);
        expect(faults.bytesPerSecond).toBeLessThanOrEqual(125_000_000);
      }
      expect(faults.queueBytes).toBeGreaterThanOrEqual(DATAGRAM_PAYLOAD_BYTES_MAX);
      if (faults.lossProbability > 0) seen.loss += 1;
      if (faults.duplicateProbability > 0) seen.duplicate += 1;
      if (faults.reorderProbability > 0) seen.reorder += 1;
      if (faults.bitFlipProbability > 0) seen.flip += 1;
      if (faults.truncateProbability > 0) seen.truncate += 1;
      if (faults.jitterMicros > 0) seen.jitter += 1;
      if (faults.bytesPerSecond > 0) seen.rate += 1;
      if (faults.mtuBytes < DATAGRAM_PAYLOAD_BYTES_MAX) seen.mtu += 1;
    }
    for (const count of Object.values(seen)) {
      expect(count).toBeGreaterThan(150);
      expect(count).toBeLessThan(450);
    }
  });

  test('a limit of zero switches a fault off', () => {
    for (let seed = 0; seed < 50; seed++) {
      const faults = drawFaults(new Random(seed), {
        lossMax: 0,
        duplicateMax: 0,
        reorderMax: 0,
        bitFlipMax: 0,
        truncateMax: 0,
        jitterMicrosMax: 0,
        bytesPerSecondMin: 0,
        mtuBytesMin: DATAGRAM_PAYLOAD_BYTES_MAX,
        delayMicrosMax: 0,
        reorderMicrosMax: 0,
      });
      expect({ ...faults, queueBytes: 0 }).toEqual({ ...NO_FAULTS, delayMicros: 0, queueBytes: 0 });
    }
  });

  test('the same seed draws the same faults', () => {
    expect(drawFaults(new Random(3))).toEqual(drawFaults(new Random(3)));
    expect(drawFaults(new Random(3))).not.toEqual(drawFaults(new Random(4)));
  });
});

describe('Link', () => {
  test('a limited link sends one datagram after the other, and drops what its queue cannot hold', () => {
    const faults = { ...NO_FAULTS, bytesPerSecond: 1_000_000, queueBytes: 3_000 };
    const link = new Link('a', 'b', new Random(1), faults);
    const payloadBytes = 1_000 - DATAGRAM_OVERHEAD_BYTES;
    // 1,000 bytes at 1 MB/s take 1,000 us each; the queue holds 3,000 bytes.
    expect([1, 2, 3, 4].map(() => link.depart(0, payloadBytes))).toEqual([1_000, 2_000, 3_000, undefined]);
    expect(link.depart(1_000, payloadBytes)).toBe(4_000);
    expect(link.depart(9_000, payloadBytes)).toBe(10_000);
  });

  test('an idle link takes a datagram that is larger than its queue', () => {
    const faults = { ...NO_FAULTS, bytesPerSecond: 1_000_000, queueBytes: 100 };
    const link = new Link('a', 'b', new Random(1), faults);
    expect(link.depart(0, 1_000)).toBe(1_028);
    expect(link.depart(0, 1_000)).toBeUndefined();
  });
});
