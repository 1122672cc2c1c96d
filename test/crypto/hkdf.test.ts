/** HKDF against Wycheproof, at its limit, and the label derivation against `node:crypto`'s own HKDF. */

import { hkdfSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssertionError } from '../../src/base/assert.ts';
import { concatBytes, toHex, utf8 } from '../../src/base/bytes.ts';
import {
  expandLabel,
  HKDF_BYTES_MAX,
  hkdf,
  hkdfBlocks,
  hkdfExpand,
  hkdfExtract,
} from '../../src/crypto/hkdf.ts';
import { hex, rising, SUITES, wycheproofCases } from './support.ts';

interface HkdfCase {
  readonly tcId: number;
  readonly ikm: string;
  readonly salt: string;
  readonly info: string;
  readonly size: number;
  readonly okm: string;
  readonly result: string;
}

describe.each(SUITES)('HKDF over the $name provider', (suite) => {
  it('passes the 37 Wycheproof cases', () => {
    let valid = 0;
    let refused = 0;
    for (const test of wycheproofCases<HkdfCase>('wycheproof-hkdf-sha256-ikm256')) {
      const derive = () => hkdf(suite, hex(test.salt), hex(test.ikm), hex(test.info), test.size);
      if (test.result === 'valid') {
        expect(toHex(derive()), `case ${test.tcId}`).toBe(test.okm);
        valid++;
      } else {
        expect(derive, `case ${test.tcId}`).toThrow(AssertionError);
        refused++;
      }
    }
    expect(valid + refused).toBe(37);
    expect(refused).toBeGreaterThan(0);
  });

  it('gives single blocks that are one output, cut', () => {
    for (let count = 1; count <= 4; count++) {
      const blocks = hkdfBlocks(suite, rising(32), rising(32, 5), count);
      const output = hkdf(suite, rising(32), rising(32, 5), new Uint8Array(0), count * 32);
      expect(concatBytes(...blocks)).toEqual(output);
    }
    expect(() => hkdfBlocks(suite, rising(32), rising(32), 0)).toThrow(AssertionError);
    expect(() => hkdfBlocks(suite, rising(32), rising(32), 256)).toThrow(AssertionError);
  });

  it('gives 255 blocks and no byte more', () => {
    const prk = hkdfExtract(suite, rising(4), rising(32));
    expect(hkdfExpand(suite, prk, rising(2), HKDF_BYTES_MAX)).toHaveLength(255 * 32);
    expect(() => hkdfExpand(suite, prk, rising(2), HKDF_BYTES_MAX + 1)).toThrow(AssertionError);
    expect(hkdfExpand(suite, prk, rising(2), 0)).toHaveLength(0);
  });

  it('derives labels as Expand with the prefix "gramline " [KEY-1]', () => {
    const prk = rising(32);
    const twin = suite.hmacSha256(prk, utf8('gramline control'), Uint8Array.of(1));
    expect(expandLabel(suite, prk, 'control')).toEqual(twin);
    expect(expandLabel(suite, prk, 'control', 8)).toEqual(twin.slice(0, 8));
    expect(expandLabel(suite, prk, 'record')).not.toEqual(twin);
  });

  it('agrees with the HKDF of node:crypto', () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 80 });
    fc.assert(
      fc.property(bytes, bytes, bytes, fc.integer({ min: 1, max: 200 }), (salt, ikm, info, length) => {
        const twin = new Uint8Array(hkdfSync('sha256', ikm, salt, info, length));
        expect(hkdf(suite, salt, ikm, info, length)).toEqual(twin);
      }),
    );
  });
});
