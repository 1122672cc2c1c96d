/** That the checkers of locks and user sessions can fail. */

import { describe, expect, it } from 'vitest';
import { Invariant, Violations } from '../../sim/checkers.ts';
import { LockChecker } from '../../sim/lock-checker.ts';
import { UserSessionChecker, type WrittenSession } from '../../sim/user-session-checker.ts';
import { toHex, utf8 } from '../../src/base/bytes.ts';
import { encodeUserSession } from '../../src/nodes/user-session-record.ts';

const sure = (): boolean => true;

describe('the checker of locks', () => {
  const held = (fencing: number, options: { shared?: boolean; isHeld?: boolean } = {}) => {
    return { name: 'a', fencing, shared: false, isHeld: true, ...options };
  };
  const found = (run: (checker: LockChecker) => void): string | undefined => {
    const violations = new Violations();
    run(new LockChecker(violations));
    return violations.first?.invariant;
  };

  it('finds two holders at once, unless they share the lock, or one is not sure', () => {
    const two = (
      first: ReturnType<typeof held>,
      second: ReturnType<typeof held>,
      isSure = sure,
    ): string | undefined =>
      found((checker) => {
        checker.onHeld('x', first, isSure);
        checker.onHeld('y', second, sure);
      });
    expect(two(held(1), held(2))).toBe(Invariant.LOCK_ALONE);
    expect(two(held(1, { shared: true }), held(2))).toBe(Invariant.LOCK_ALONE);
    expect(two(held(1, { shared: true }), held(2, { shared: true }))).toBeUndefined();
    expect(two(held(1, { isHeld: false }), held(2))).toBeUndefined();
    expect(two(held(1), held(2), () => false)).toBeUndefined();
    expect(two(held(1), { ...held(2), name: 'b' })).toBeUndefined();
  });

  it('finds a fencing token that does not grow, but for holders that share', () => {
    const after = (first: ReturnType<typeof held>, second: ReturnType<typeof held>): string | undefined =>
      found((checker) => {
        checker.onHeld('x', first, sure);
        checker.onHeld('y', second, sure);
      });
    const gone = { isHeld: false };
    expect(after(held(2, gone), held(2))).toBe(Invariant.FENCING_GROWS);
    expect(after(held(2, { ...gone, shared: true }), held(1))).toBe(Invariant.FENCING_GROWS);
    expect(after(held(2, gone), held(1, { shared: true }))).toBe(Invariant.FENCING_GROWS);
    expect(after(held(2, { shared: true }), held(1, { shared: true }))).toBeUndefined();
  });
});

describe('the checker of user sessions', () => {
  const token = '01'.repeat(32);
  const check = (stored: { number: number; data: string } | undefined, nowSeconds = 1) => {
    const violations = new Violations();
    const checker = new UserSessionChecker(violations);
    const session: WrittenSession = {
      ...{ token, lifetimeSeconds: 10, isBusy: false, isEnded: false, number: 3, beganMicros: 0 },
      data: utf8('three'),
      tried: new Set(['three', 'four'].map((text) => toHex(utf8(text)))),
    };
    checker.sessions.push(session);
    const fixed = { tokenHash: new Uint8Array(32), lifetimeSeconds: 10, deadlineMillis: 0 };
    const value =
      stored === undefined
        ? undefined
        : encodeUserSession({ ...fixed, number: stored.number, data: utf8(stored.data) });
    checker.check({ get: () => value }, nowSeconds * 1_000_000);
    return violations.first?.invariant;
  };

  it('finds a write that is lost, and data that nobody wrote', () => {
    expect(check(undefined)).toBe(Invariant.SESSION_KEPT);
    expect(check({ number: 2, data: 'three' })).toBe(Invariant.SESSION_KEPT);
    expect(check({ number: 3, data: 'four' })).toBe(Invariant.SESSION_KEPT);
    expect(check({ number: 4, data: 'five' })).toBe(Invariant.SESSION_KEPT);
  });

  it('takes what was acknowledged, a later write that was tried, and an end by time', () => {
    expect(check({ number: 3, data: 'three' })).toBeUndefined();
    expect(check({ number: 4, data: 'four' })).toBeUndefined();
    expect(check(undefined, 10)).toBeUndefined();
  });
});
