/** All providers against Wycheproof and against each other. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssertionError } from '../../src/base/assert.ts';
import { concatBytes, toHex } from '../../src/base/bytes.ts';
import { nobleSuite } from '../../src/crypto/noble-suite.ts';
import { AEAD_TAG_BYTES, DH_BYTES } from '../../src/crypto/suite.ts';
import { flipBit, hex, rising, SUITES, wycheproofCases } from './support.ts';

interface AeadCase {
  readonly tcId: number;
  readonly key: string;
  readonly iv: string;
  readonly aad: string;
  readonly msg: string;
  readonly ct: string;
  readonly tag: string;
  readonly result: string;
}

interface DhCase {
  readonly tcId: number;
  readonly public: string;
  readonly private: string;
  readonly shared: string;
}

interface MacCase {
  readonly tcId: number;
  readonly key: string;
  readonly msg: string;
  readonly tag: string;
  readonly result: string;
}

const EMPTY = new Uint8Array(0);

describe.each(SUITES)('the $name provider', (suite) => {
  it('passes the 66 AES-GCM cases and rejects 27 of them', () => {
    let valid = 0;
    let rejected = 0;
    for (const test of wycheproofCases<AeadCase>('wycheproof-aes256gcm-iv96')) {
      const aead = suite.aead(hex(test.key));
      const [nonce, aad, plaintext] = [hex(test.iv), hex(test.aad), hex(test.msg)];
      const sealed = hex(test.ct + test.tag);
      const into = new Uint8Array(plaintext.length + AEAD_TAG_BYTES).fill(0xaa);
      const opened = aead.open(nonce, aad, sealed, into, 0);
      if (test.result === 'valid') {
        expect(opened, `case ${test.tcId}`).toBe(plaintext.length);
        expect(toHex(into.subarray(0, opened)), `case ${test.tcId}`).toBe(test.msg);
        expect(aead.seal(nonce, aad, plaintext, into, 0)).toBe(sealed.length);
        expect(toHex(into), `case ${test.tcId}`).toBe(toHex(sealed));
        valid++;
      } else {
        expect(opened, `case ${test.tcId}`).toBe(-1);
        expect(
          into.every((byte) => byte === 0xaa) ||
            into.every((byte, at) => byte === (at < plaintext.length ? 0 : 0xaa)),
        ).toBe(true);
        rejected++;
      }
    }
    expect([valid, rejected]).toEqual([39, 27]);
  });

  it('passes the 518 X25519 cases and refuses the 31 shared secrets of zero', () => {
    let agreed = 0;
    let refused = 0;
    for (const test of wycheproofCases<DhCase>('wycheproof-x25519')) {
      const pair = { privateKey: hex(test.private), publicKey: EMPTY };
      const shared = suite.dh(pair, hex(test.public));
      if (/^0+$/.test(test.shared)) {
        expect(shared, `case ${test.tcId}`).toBeUndefined();
        refused++;
      } else {
        expect(shared && toHex(shared), `case ${test.tcId}`).toBe(test.shared);
        agreed++;
      }
    }
    expect([agreed, refused]).toEqual([487, 31]);
  });

  it('passes the 81 HMAC cases', () => {
    let valid = 0;
    let modified = 0;
    for (const test of wycheproofCases<MacCase>('wycheproof-hmac-sha256-k256-t256')) {
      const isEqual = toHex(suite.hmacSha256(hex(test.key), hex(test.msg))) === test.tag;
      expect(isEqual, `case ${test.tcId}`).toBe(test.result === 'valid');
      if (isEqual) valid++;
      else modified++;
    }
    expect(valid + modified).toBe(81);
    expect(valid).toBeGreaterThan(0);
    expect(modified).toBeGreaterThan(0);
  });

  it('hashes the example of FIPS 180-4 in one part and in several', () => {
    const expected = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
    expect(toHex(suite.sha256(hex('616263')))).toBe(expected);
    expect(toHex(suite.sha256(hex('61'), EMPTY, hex('6263')))).toBe(expected);
  });

  it('returns plain arrays, whose slices are copies', () => {
    const pair = suite.keyPair(rising(32));
    const arrays = [
      suite.sha256(),
      suite.hmacSha256(EMPTY),
      pair.publicKey,
      pair.privateKey,
      suite.dh(pair, rising(32)),
    ];
    for (const array of arrays) expect(Object.getPrototypeOf(array)).toBe(Uint8Array.prototype);
  });

  it('copies the private key and the AEAD key', () => {
    const privateKey = rising(32);
    const key = rising(32);
    const pair = suite.keyPair(privateKey);
    const aead = suite.aead(key);
    const nonce = new Uint8Array(12);
    const before = new Uint8Array(AEAD_TAG_BYTES);
    aead.seal(nonce, EMPTY, EMPTY, before, 0);
    const sharedBefore = suite.dh(pair, rising(32, 7));
    privateKey.fill(0);
    key.fill(0);
    const after = new Uint8Array(AEAD_TAG_BYTES);
    aead.seal(nonce, EMPTY, EMPTY, after, 0);
    expect(after).toEqual(before);
    expect(pair.privateKey).toEqual(rising(32));
    expect(suite.dh(pair, rising(32, 7))).toEqual(sharedBefore);
  });

  it('refuses public keys of any other length than 32', () => {
    const pair = suite.keyPair(rising(32));
    for (const length of [0, 1, 31, 33, 64]) expect(suite.dh(pair, rising(length))).toBeUndefined();
    expect(suite.dh(pair, rising(DH_BYTES))).toHaveLength(32);
  });

  it('asserts on keys and nonces of our own that have a wrong length', () => {
    const aead = suite.aead(rising(32));
    expect(() => suite.aead(rising(31))).toThrow(AssertionError);
    expect(() => suite.keyPair(rising(33))).toThrow(AssertionError);
    expect(() => aead.seal(rising(11), EMPTY, EMPTY, new Uint8Array(16), 0)).toThrow(AssertionError);
    expect(() => aead.open(rising(13), EMPTY, rising(16), new Uint8Array(16), 0)).toThrow(AssertionError);
    expect(() => aead.seal(rising(12), EMPTY, rising(4), new Uint8Array(20), 1)).toThrow(AssertionError);
  });

  it('opens nothing that was cut short at any byte, and leaves no plaintext', () => {
    const aead = suite.aead(rising(32));
    const nonce = rising(12);
    const plaintext = rising(40);
    const sealed = new Uint8Array(plaintext.length + AEAD_TAG_BYTES);
    aead.seal(nonce, rising(5), plaintext, sealed, 0);
    const into = new Uint8Array(64);
    for (let length = 0; length < sealed.length; length++) {
      expect(aead.open(nonce, rising(5), sealed.subarray(0, length), into, 0), `${length} bytes`).toBe(-1);
    }
    expect(into).toEqual(new Uint8Array(64));
    for (let length = 0; length < AEAD_TAG_BYTES; length++) {
      const other = rising(64, 1);
      expect(aead.open(nonce, rising(5), sealed.subarray(0, length), other, 3)).toBe(-1);
      expect(other, `${length} bytes hold no plaintext, so nothing is overwritten`).toEqual(rising(64, 1));
    }
    expect(aead.open(nonce, rising(5), sealed, into, 3)).toBe(40);
    expect(into.subarray(3, 43)).toEqual(plaintext);
  });

  it('opens nothing in which one bit was turned', () => {
    const aead = suite.aead(rising(32));
    const sealed = new Uint8Array(20);
    aead.seal(rising(12), rising(3), rising(4), sealed, 0);
    const into = new Uint8Array(4);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      expect(aead.open(rising(12), rising(3), flipBit(sealed, bit), into, 0)).toBe(-1);
    }
    for (let bit = 0; bit < 24; bit++) {
      expect(aead.open(rising(12), flipBit(rising(3), bit), sealed, into, 0)).toBe(-1);
    }
    for (let bit = 0; bit < 96; bit++) {
      expect(aead.open(flipBit(rising(12), bit), rising(3), sealed, into, 0)).toBe(-1);
    }
    expect(into).toEqual(new Uint8Array(4));
    expect(aead.open(rising(12), rising(3), sealed, into, 0)).toBe(4);
  });

  it('refuses to open into too little room and accepts just enough', () => {
    const aead = suite.aead(rising(32));
    const sealed = new Uint8Array(26);
    aead.seal(rising(12), EMPTY, rising(10), sealed, 0);
    expect(aead.open(rising(12), EMPTY, sealed, new Uint8Array(12), 3)).toBe(-1);
    expect(aead.open(rising(12), EMPTY, sealed, new Uint8Array(12), 2)).toBe(10);
  });

  it('seals and opens within one buffer', () => {
    const aead = suite.aead(rising(32));
    const packet = new Uint8Array(64);
    packet.set(rising(30), 8);
    expect(aead.seal(rising(12), packet.subarray(0, 8), packet.subarray(8, 38), packet, 8)).toBe(46);
    expect(packet.subarray(8, 38)).not.toEqual(rising(30));
    expect(aead.open(rising(12), packet.subarray(0, 8), packet.subarray(8, 54), packet, 8)).toBe(30);
    expect(packet.subarray(8, 38)).toEqual(rising(30));
  });
});

describe.each(SUITES)('records on the $name provider', (suite) => {
  it('seals two parts as it seals the two together, also where the body lies in place', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 80 }),
        fc.uint8Array({ maxLength: 200 }),
        fc.nat({ max: 70 }),
        fc.boolean(),
        (head, body, at, isInPlace) => {
          const aead = suite.aead(rising(32));
          const total = head.length + body.length + AEAD_TAG_BYTES;
          const together = new Uint8Array(total);
          aead.seal(rising(12), EMPTY, concatBytes(head, body), together, 0);
          const into = new Uint8Array(at + total + 5).fill(0xaa);
          const bodyAt = at + head.length;
          if (isInPlace) into.set(body, bodyAt);
          const given = isInPlace ? into.subarray(bodyAt, bodyAt + body.length) : body;
          expect(aead.sealParts(rising(12), head, given, into, at)).toBe(total);
          expect(into.subarray(at, at + total)).toEqual(together);
          expect(into.subarray(0, at).every((byte) => byte === 0xaa)).toBe(true);
          expect(into.subarray(at + total).every((byte) => byte === 0xaa)).toBe(true);
        },
      ),
    );
  });

  it('opens in place what it sealed, within a larger buffer and without touching the rest', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 70 }), (plaintext, at) => {
        const aead = suite.aead(rising(32));
        const buffer = new Uint8Array(at + plaintext.length + AEAD_TAG_BYTES + 7).fill(0xaa);
        const sealed = buffer.subarray(at, at + plaintext.length + AEAD_TAG_BYTES);
        aead.seal(rising(12), EMPTY, plaintext, sealed, 0);
        expect(aead.openInPlace(rising(12), sealed)).toBe(plaintext.length);
        expect(sealed.subarray(0, plaintext.length)).toEqual(plaintext);
        expect(buffer.subarray(0, at).every((byte) => byte === 0xaa)).toBe(true);
        expect(buffer.subarray(-7).every((byte) => byte === 0xaa)).toBe(true);
      }),
    );
  });

  it('opens nothing in place that was cut, turned, or sealed under another nonce or key', () => {
    const aead = suite.aead(rising(32));
    const sealed = new Uint8Array(80 + AEAD_TAG_BYTES);
    aead.seal(rising(12), EMPTY, rising(80), sealed, 0);
    for (let length = 0; length < sealed.length; length++) {
      expect(aead.openInPlace(rising(12), sealed.slice(0, length)), `${length} bytes`).toBe(-1);
    }
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const forged = flipBit(sealed, bit);
      expect(aead.openInPlace(rising(12), forged), `bit ${bit}`).toBe(-1);
      // Whatever is left, it is not what was sealed.
      expect(forged.subarray(0, 80)).not.toEqual(rising(80));
    }
    expect(aead.openInPlace(rising(12, 1), sealed.slice())).toBe(-1);
    expect(suite.aead(rising(32, 1)).openInPlace(rising(12), sealed.slice())).toBe(-1);
    expect(aead.openInPlace(rising(12), sealed.slice())).toBe(80);
  });

  it('asserts on wrong nonces and too little room, and on use after a wipe', () => {
    const aead = suite.aead(rising(32));
    expect(() => aead.sealParts(rising(11), EMPTY, EMPTY, new Uint8Array(16), 0)).toThrow(AssertionError);
    expect(() => aead.sealParts(rising(12), rising(2), rising(2), new Uint8Array(20), 1)).toThrow(
      AssertionError,
    );
    expect(() => aead.openInPlace(rising(13), rising(16))).toThrow(AssertionError);
    aead.wipe();
    aead.wipe();
    expect(() => aead.seal(rising(12), EMPTY, EMPTY, new Uint8Array(16), 0)).toThrow();
    expect(() => aead.sealParts(rising(12), EMPTY, EMPTY, new Uint8Array(16), 0)).toThrow();
    expect(() => aead.open(rising(12), EMPTY, rising(16), new Uint8Array(16), 0)).toThrow();
    expect(() => aead.openInPlace(rising(12), rising(16))).toThrow();
  });
});

describe('all providers', () => {
  const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
  const exactly = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

  it('hash and authenticate alike', () => {
    fc.assert(
      fc.property(bytes(200), fc.array(bytes(200), { maxLength: 4 }), (key, parts) => {
        for (const suite of SUITES) {
          expect(suite.sha256(...parts)).toEqual(nobleSuite.sha256(...parts));
          expect(suite.hmacSha256(key, ...parts)).toEqual(nobleSuite.hmacSha256(key, ...parts));
        }
      }),
    );
  });

  it('make the same pairs and the same shared secrets, also from pairs of the other', () => {
    fc.assert(
      fc.property(exactly(32), exactly(32), (left, right) => {
        const twin = nobleSuite.keyPair(left);
        const shared = nobleSuite.dh(twin, right);
        for (const suite of SUITES) {
          const pair = suite.keyPair(left);
          expect(pair).toEqual(twin);
          for (const other of SUITES) expect(other.dh(pair, right)).toEqual(shared);
          expect(suite.dh(pair, right)).toEqual(shared);
          expect(suite.dh(twin, right)).toEqual(shared);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('seal alike and open what the other sealed', () => {
    fc.assert(
      fc.property(
        exactly(32),
        exactly(12),
        bytes(40),
        bytes(300),
        fc.nat({ max: 9 }),
        (key, nonce, aad, plaintext, at) => {
          const sealed = SUITES.map((suite) => {
            const into = new Uint8Array(plaintext.length + AEAD_TAG_BYTES + at);
            expect(suite.aead(key).seal(nonce, aad, plaintext, into, at)).toBe(into.length - at);
            return into;
          });
          for (const each of sealed) expect(each).toEqual(sealed[0]);
          for (const suite of SUITES) {
            const into = new Uint8Array(plaintext.length + at);
            expect(suite.aead(key).open(nonce, aad, sealed[0]!.subarray(at), into, at)).toBe(
              plaintext.length,
            );
            expect(into.subarray(at)).toEqual(plaintext);
          }
        },
      ),
    );
  });

  it('refuse the same random bytes', () => {
    fc.assert(
      fc.property(exactly(32), bytes(100), (key, sealed) => {
        for (const suite of SUITES) {
          expect(suite.aead(key).open(new Uint8Array(12), EMPTY, sealed, new Uint8Array(100), 0)).toBe(-1);
        }
      }),
    );
  });
});
