import { describe, expect, test } from 'vitest';
import { micros, seconds } from '../../src/base/units.ts';
import { STATE_LEASES_MAX, StateLeases } from '../../src/store/state-leases.ts';

describe('leases of a state store', () => {
  test('a lease lasts whole seconds, rounded up, from when it was last kept alive', () => {
    const leases = new StateLeases();
    const lease = leases.grant(micros(0), micros(1_500_000));
    expect(leases.nextDeadline).toBe(seconds(2));
    expect(leases.keepAlive(micros(1_999_999), lease)).toBe(true);
    expect(leases.expire(micros(3_999_998))).toEqual([]);
    expect(leases.expire(micros(3_999_999))).toEqual([lease.id]);
    expect(leases.keepAlive(micros(3_999_999), lease)).toBe(false);
    expect(() => leases.require(lease)).toThrowError(expect.objectContaining({ code: 'GRAMLINE_EXPIRED' }));
    expect(leases.nextDeadline).toBeUndefined();
  });

  test('a lease whose time is over is not kept alive, even before anybody looked', () => {
    const leases = new StateLeases();
    const lease = leases.grant(micros(0), seconds(1));
    expect(leases.keepAlive(seconds(1), lease)).toBe(false);
  });

  test('the most leases are granted, and one more is refused as busy', () => {
    const leases = new StateLeases();
    for (let held = 0; held < STATE_LEASES_MAX; held++) leases.grant(micros(0), seconds(1));
    expect(() => leases.grant(micros(0), seconds(1))).toThrowError(
      expect.objectContaining({ code: 'GRAMLINE_BUSY', retryable: true }),
    );
    leases.expire(seconds(1));
    leases.grant(seconds(1), seconds(1));
  });
});
