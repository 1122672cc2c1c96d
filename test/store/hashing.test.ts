import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { toHex, utf8 } from '../../src/base/bytes.ts';
import { nodeHashing } from '../../src/store/hashing.ts';

test('the SHA-256 of "abc" is that of FIPS 180-4', () => {
  const hash = nodeHashing.sha256();
  hash.update(utf8('abc'));
  expect(toHex(hash.digest())).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});

test('any bytes in any pieces have the hash that another implementation finds', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (pieces) => {
      const hash = nodeHashing.sha256();
      for (const piece of pieces) hash.update(piece);
      expect(hash.digest()).toEqual(nobleSha256(Uint8Array.from(pieces.flatMap((piece) => [...piece]))));
    }),
  );
});

test('bytes that change behind an update do not change the hash', () => {
  const hash = nodeHashing.sha256();
  const bytes = utf8('abc');
  hash.update(bytes);
  bytes.fill(0);
  expect(toHex(hash.digest())).toMatch(/^ba7816bf/);
});
