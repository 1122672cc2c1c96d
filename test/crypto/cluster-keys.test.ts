/** What follows from the cluster secret and the admission secret. */

import { createHmac, hkdfSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { AssertionError } from '../../src/base/assert.ts';
import { concatBytes, utf8 } from '../../src/base/bytes.ts';
import {
  admissionProof,
  checkAdmissionProof,
  checkHelloMac,
  deriveClusterKeys,
  helloMac,
} from '../../src/crypto/cluster-keys.ts';
import { flipBit, rising, SUITES } from './support.ts';

describe.each(SUITES)('cluster keys over the $name provider', (suite) => {
  const secret = rising(32);
  const keys = deriveClusterKeys(suite, secret);

  it('are those of the specification, by the HKDF of node:crypto [KEY-2]', () => {
    const twin = (label: string, bytes: number) =>
      new Uint8Array(hkdfSync('sha256', secret, 'gramline cluster v1', `gramline ${label}`, bytes));
    expect(keys).toEqual({
      secretId: twin('secret id', 8),
      psk: twin('psk', 32),
      helloKey: twin('hello', 32),
    });
  });

  it('differ for another secret, and demand 32 bytes', () => {
    expect(deriveClusterKeys(suite, rising(32, 1)).secretId).not.toEqual(keys.secretId);
    for (const bytes of [0, 31, 33]) {
      expect(() => deriveClusterKeys(suite, rising(bytes))).toThrow(AssertionError);
    }
  });

  it('check the MAC of HELLO, and refuse every turned bit and every other length [HELLO-1]', () => {
    const hello = rising(50);
    const mac = helloMac(suite, keys.helloKey, hello);
    expect(mac).toEqual(
      new Uint8Array(createHmac('sha256', keys.helloKey).update(hello).digest().subarray(0, 16)),
    );
    expect(checkHelloMac(suite, keys.helloKey, hello, mac)).toBe(true);
    for (let bit = 0; bit < 128; bit++) {
      expect(checkHelloMac(suite, keys.helloKey, hello, flipBit(mac, bit))).toBe(false);
    }
    for (let bit = 0; bit < hello.length * 8; bit++) {
      expect(checkHelloMac(suite, keys.helloKey, flipBit(hello, bit), mac)).toBe(false);
    }
    for (let length = 0; length < 16; length++) {
      expect(checkHelloMac(suite, keys.helloKey, hello, mac.subarray(0, length))).toBe(false);
    }
    expect(checkHelloMac(suite, keys.helloKey, hello, concatBytes(mac, rising(1)))).toBe(false);
    expect(checkHelloMac(suite, rising(32), hello, mac)).toBe(false);
  });
});

describe.each(SUITES)('the admission proof over the $name provider', (suite) => {
  const secret = rising(32, 40);
  const hash = rising(32, 80);
  const nonce = rising(16, 120);
  const proof = admissionProof(suite, secret, hash, nonce, 'node');

  it('is an HMAC over domain, handshake hash, length of nonce, nonce and role [ADM-1]', () => {
    const input = concatBytes(
      utf8('gramline admission v1'),
      hash,
      Uint8Array.of(0, 0, 0, 16),
      nonce,
      utf8('node'),
    );
    expect(proof).toEqual(new Uint8Array(createHmac('sha256', secret).update(input).digest()));
  });

  it('is good for its own secret, session, nonce and role only', () => {
    expect(checkAdmissionProof(suite, secret, hash, nonce, 'node', proof)).toBe(true);
    expect(checkAdmissionProof(suite, rising(32), hash, nonce, 'node', proof)).toBe(false);
    expect(checkAdmissionProof(suite, secret, rising(32), nonce, 'node', proof)).toBe(false);
    expect(checkAdmissionProof(suite, secret, hash, rising(16), 'node', proof)).toBe(false);
    expect(checkAdmissionProof(suite, secret, hash, nonce, 'coordinator', proof)).toBe(false);
    for (let bit = 0; bit < 256; bit++) {
      expect(checkAdmissionProof(suite, secret, hash, nonce, 'node', flipBit(proof, bit))).toBe(false);
    }
    for (let length = 0; length < 32; length++) {
      expect(checkAdmissionProof(suite, secret, hash, nonce, 'node', proof.subarray(0, length))).toBe(false);
    }
  });

  it('does not let bytes move between nonce and role [ADM-2]', () => {
    const left = admissionProof(suite, secret, hash, utf8('abcn'), 'ode');
    const right = admissionProof(suite, secret, hash, utf8('abc'), 'node');
    expect(left).not.toEqual(right);
  });
});
