/** Cookies: who may use them, how long, and through which rotations of the secret. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssertionError } from '../../src/base/assert.ts';
import { concatBytes, utf8 } from '../../src/base/bytes.ts';
import { micros, millis, seconds } from '../../src/base/units.ts';
import { COOKIE_BYTES, CookieJar, type CookieJarOptions } from '../../src/crypto/cookie.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import type { Suite } from '../../src/crypto/suite.ts';
import { countingSuite, flipBit, rising, SUITES } from './support.ts';

const ADDRESS = '192.168.7.20';
const PORT = 40_001;
const CONTEXT = rising(16);

describe.each(SUITES)('a cookie over the $name provider', (suite) => {
  it('has 24 bytes, the time first, and is good for whom it was made', () => {
    const jar = newJar(suite);
    const cookie = jar.make(micros(2 ** 40 + 5), ADDRESS, PORT, CONTEXT);
    expect(cookie).toHaveLength(COOKIE_BYTES);
    expect([...cookie.subarray(0, 8)]).toEqual([0, 0, 1, 0, 0, 0, 0, 5]);
    expect(jar.check(micros(2 ** 40 + 6), ADDRESS, PORT, CONTEXT, cookie)).toBe(true);
  });

  it('is bound to address, port and context [COOKIE-1]', () => {
    const jar = newJar(suite);
    const cookie = jar.make(seconds(1), ADDRESS, PORT, CONTEXT);
    expect(jar.check(seconds(1), '192.168.7.2', PORT, CONTEXT, cookie)).toBe(false);
    expect(jar.check(seconds(1), ADDRESS, PORT + 1, CONTEXT, cookie)).toBe(false);
    expect(jar.check(seconds(1), ADDRESS, PORT, CONTEXT.subarray(1), cookie)).toBe(false);
    expect(newJar(suite, { secret: rising(32, 9) }).check(seconds(1), ADDRESS, PORT, CONTEXT, cookie)).toBe(
      false,
    );
  });

  it('does not let bytes move between address and context [COOKIE-4]', () => {
    const jar = newJar(suite);
    const cookie = jar.make(seconds(1), '10.0.0.12', PORT, utf8('3'));
    expect(jar.check(seconds(1), '10.0.0.1', PORT, utf8('23'), cookie)).toBe(false);
    expect(jar.check(seconds(1), '10.0.0.123', PORT, utf8(''), cookie)).toBe(false);
  });

  it('is refused with any bit turned, cut anywhere, or longer by a byte [COOKIE-1]', () => {
    const jar = newJar(suite);
    const cookie = jar.make(seconds(1), ADDRESS, PORT, CONTEXT);
    for (let bit = 0; bit < COOKIE_BYTES * 8; bit++) {
      expect(jar.check(seconds(3), ADDRESS, PORT, CONTEXT, flipBit(cookie, bit)), `bit ${bit}`).toBe(false);
    }
    for (let length = 0; length < COOKIE_BYTES; length++) {
      expect(jar.check(seconds(1), ADDRESS, PORT, CONTEXT, cookie.subarray(0, length))).toBe(false);
    }
    expect(jar.check(seconds(1), ADDRESS, PORT, CONTEXT, concatBytes(cookie, rising(1)))).toBe(false);
    expect(jar.check(seconds(3), ADDRESS, PORT, CONTEXT, cookie)).toBe(true);
  });

  it('never throws on random bytes', () => {
    const jar = newJar(suite);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2 * COOKIE_BYTES }), (bytes) => {
        expect(jar.check(seconds(1), ADDRESS, PORT, CONTEXT, bytes)).toBe(false);
      }),
    );
  });
});

describe('the life of a cookie', () => {
  it('is five seconds to the microsecond [COOKIE-2]', () => {
    const jar = newJar(nodeSuite);
    const cookie = jar.make(seconds(10), ADDRESS, PORT, CONTEXT);
    expect(jar.check(seconds(15), ADDRESS, PORT, CONTEXT, cookie)).toBe(true);
    expect(jar.check(micros(seconds(15) + 1), ADDRESS, PORT, CONTEXT, cookie)).toBe(false);
  });

  it('does not begin in the future, and nothing is computed for one that does [COOKIE-2]', () => {
    const counting = countingSuite(nodeSuite);
    const jar = newJar(counting);
    jar.check(seconds(9), ADDRESS, PORT, CONTEXT, rising(1));
    const cookie = newJar(nodeSuite).make(seconds(10), ADDRESS, PORT, CONTEXT);
    expect(jar.check(micros(seconds(10) - 1), ADDRESS, PORT, CONTEXT, cookie)).toBe(false);
    expect(counting.counts.hmac).toBe(0);
    expect(jar.check(seconds(10), ADDRESS, PORT, CONTEXT, cookie)).toBe(true);
    expect(counting.counts.hmac).toBe(1);
  });

  it('passes over one rotation of the secret but not over two [COOKIE-3]', () => {
    const asked: number[] = [];
    const entropy = (bytes: number) => {
      asked.push(bytes);
      return rising(bytes, 100 + asked.length);
    };
    const jar = newJar(nodeSuite, { entropy, rotateMicros: millis(100), lifetimeMicros: millis(100) });
    jar.make(millis(0), ADDRESS, PORT, CONTEXT);
    const first = jar.make(millis(99), ADDRESS, PORT, CONTEXT);
    const second = jar.make(millis(100), ADDRESS, PORT, CONTEXT);
    expect(asked).toEqual([32]);
    expect(jar.check(millis(199), ADDRESS, PORT, CONTEXT, first)).toBe(true);
    expect(jar.check(millis(199), ADDRESS, PORT, CONTEXT, second)).toBe(true);
    expect(jar.check(millis(200), ADDRESS, PORT, CONTEXT, second)).toBe(true);
    expect(jar.check(millis(200), ADDRESS, PORT, CONTEXT, first)).toBe(false);
    expect(asked).toEqual([32, 32]);
  });

  it('does not let an old secret make new cookies', () => {
    const options = { rotateMicros: millis(100), lifetimeMicros: millis(100) };
    const jar = newJar(nodeSuite, options);
    jar.make(millis(0), ADDRESS, PORT, CONTEXT);
    jar.make(millis(100), ADDRESS, PORT, CONTEXT);
    const stale = newJar(nodeSuite, options).make(millis(150), ADDRESS, PORT, CONTEXT);
    expect(jar.check(millis(150), ADDRESS, PORT, CONTEXT, stale)).toBe(false);
  });

  it('asserts that no cookie outlives two secrets, and that our own values make sense', () => {
    expect(() => newJar(nodeSuite, { rotateMicros: millis(4999) })).toThrow(AssertionError);
    expect(() => newJar(nodeSuite, { secret: rising(31) })).toThrow(AssertionError);
    expect(() => newJar(nodeSuite, { lifetimeMicros: micros(0) })).toThrow(AssertionError);
    expect(() => newJar(nodeSuite).make(micros(-1), ADDRESS, PORT, CONTEXT)).toThrow(AssertionError);
    expect(() => newJar(nodeSuite).make(micros(1), ADDRESS, 65_536, CONTEXT)).toThrow(AssertionError);
  });
});

function newJar(suite: Suite, changes: Partial<CookieJarOptions> = {}): CookieJar {
  return new CookieJar(suite, { secret: rising(32), entropy: (bytes) => rising(bytes, 77), ...changes });
}
