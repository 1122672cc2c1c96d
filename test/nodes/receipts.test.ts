import { describe, expect, it } from 'vitest';
import { nobleSuite } from '../../src/crypto/noble-suite.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { Receipts } from '../../src/nodes/receipts.ts';

const secret = new Uint8Array(32).fill(1);
const subject = {
  nodeId: new Uint8Array(16).fill(2),
  token: new Uint8Array(8).fill(3),
  hash: new Uint8Array(32).fill(4),
  bytes: 5,
};

describe('a receipt', () => {
  it('holds for exactly what it was made for', () => {
    const receipts = new Receipts(nodeSuite, secret);
    const receipt = receipts.make(subject);
    expect(receipts.check(subject, receipt)).toBe(true);
    expect(receipts.check({ ...subject, bytes: 6 }, receipt)).toBe(false);
    expect(receipts.check({ ...subject, nodeId: new Uint8Array(16).fill(9) }, receipt)).toBe(false);
    expect(receipts.check({ ...subject, token: new Uint8Array(8).fill(9) }, receipt)).toBe(false);
    expect(receipts.check({ ...subject, hash: new Uint8Array(32).fill(9) }, receipt)).toBe(false);
    expect(receipts.check(subject, receipt.subarray(1))).toBe(false);
  });

  it('can not be made with another admission secret', () => {
    const forged = new Receipts(nodeSuite, new Uint8Array(32).fill(8)).make(subject);
    expect(new Receipts(nodeSuite, secret).check(subject, forged)).toBe(false);
  });

  it('is the same on both crypto providers', () => {
    expect(new Receipts(nodeSuite, secret).make(subject)).toEqual(
      new Receipts(nobleSuite, secret).make(subject),
    );
  });
});
