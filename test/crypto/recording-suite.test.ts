/** The recording provider of the simulator: same bytes, and a report of each sealing. */

import { describe, expect, it } from 'vitest';
import { recordingSuite } from '../../sim/recording-suite.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { SendKeys } from '../../src/crypto/packet-protection.ts';
import { rising } from './support.ts';

const EMPTY = new Uint8Array(0);

describe('a recording suite', () => {
  it('gives equal keys equal ids and reports each nonce before it seals', () => {
    const reports: [number, string][] = [];
    const suite = recordingSuite(nodeSuite, (keyId, nonceHex) => reports.push([keyId, nonceHex]));
    const into = new Uint8Array(16);
    suite.aead(rising(32)).seal(rising(12), EMPTY, EMPTY, into, 0);
    suite.aead(rising(32, 1)).seal(rising(12), EMPTY, EMPTY, into, 0);
    suite.aead(rising(32)).seal(rising(12, 1), EMPTY, EMPTY, into, 0);
    expect(reports).toEqual([
      [0, '000102030405060708090a0b'],
      [1, '000102030405060708090a0b'],
      [0, '0102030405060708090a0b0c'],
    ]);
  });

  it('shows a nonce that was used twice under one key', () => {
    const pairs = new Set<string>();
    let repeats = 0;
    const suite = recordingSuite(nodeSuite, (keyId, nonceHex) => {
      const pair = `${keyId} ${nonceHex}`;
      if (pairs.has(pair)) repeats++;
      pairs.add(pair);
    });
    const keys = new SendKeys(suite, rising(32));
    const into = new Uint8Array(16);
    keys.sealControl(1, EMPTY, EMPTY, into, 0);
    keys.sealRecord(0, 1, EMPTY, into, 0);
    keys.update();
    keys.sealControl(1, EMPTY, EMPTY, into, 0);
    expect(repeats).toBe(0);
    keys.sealControl(1, EMPTY, EMPTY, into, 0);
    expect(repeats).toBe(1);
  });

  it('changes no byte', () => {
    const suite = recordingSuite(nodeSuite, () => {});
    const pair = nodeSuite.keyPair(rising(32));
    expect(suite.keyPair(rising(32))).toEqual(pair);
    expect(suite.dh(pair, rising(32, 3))).toEqual(nodeSuite.dh(pair, rising(32, 3)));
    expect(suite.sha256(rising(3))).toEqual(nodeSuite.sha256(rising(3)));
    expect(suite.hmacSha256(rising(3), rising(4))).toEqual(nodeSuite.hmacSha256(rising(3), rising(4)));
    const sealed = [suite, nodeSuite].map((each) => {
      const into = new Uint8Array(20);
      each.aead(rising(32)).seal(rising(12), rising(2), rising(4), into, 0);
      return into;
    });
    expect(sealed[0]).toEqual(sealed[1]);
    expect(suite.aead(rising(32)).open(rising(12), rising(2), sealed[0]!, new Uint8Array(4), 0)).toBe(4);
  });
});
