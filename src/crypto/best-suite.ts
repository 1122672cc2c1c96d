/**
 * The quickest crypto provider that works here: OpenSSL called directly where that can be had and
 * proves itself, else `node:crypto`, which runs the same code in a slower way.
 *
 * Left out: `noble-suite.ts`, which is for tests and for machines without `node:crypto`.
 */

import { concatBytes, equalBytes, fromHex, utf8 } from '../base/bytes.ts';
import { loadLibcrypto } from '../native/libcrypto.ts';
import { nodeSuite } from './node-suite.ts';
import { OpensslSuite } from './openssl-suite.ts';
import { AEAD_TAG_BYTES, type Suite } from './suite.ts';

let chosen: Suite | undefined;

/** The provider for this process, chosen at the first call. `GRAMLINE_CRYPTO=node` forces `node:crypto`. */
export function bestSuite(): Suite {
  chosen ??= openOpensslSuite() ?? nodeSuite;
  return chosen;
}

/** A provider on this program's OpenSSL; undefined where a function is missing or gives another result. */
export function openOpensslSuite(): OpensslSuite | undefined {
  const libcrypto = loadLibcrypto();
  if (libcrypto === undefined) return undefined;
  try {
    const suite = new OpensslSuite(libcrypto);
    return passesSelfTest(suite, nodeSuite) ? suite : undefined;
  } catch {
    return undefined;
  }
}

/** Around the borders at which code takes other ways, and the longest record. */
const LENGTHS = [0, 1, 15, 16, 17, 63, 64, 65, 1200, 65_571];

/**
 * Whether `suite` gives published results and, for several lengths, those of `twin`. Never throws.
 * Takes 1 or 2 ms.
 */
export function passesSelfTest(suite: Suite, twin: Suite): boolean {
  try {
    return passesExamples(suite) && LENGTHS.every((length) => isAlike(suite, twin, length));
  } catch {
    return false;
  }
}

function passesExamples(suite: Suite): boolean {
  // RFC 4231, case 2.
  const mac = suite.hmacSha256(utf8('Jefe'), utf8('what do ya '), utf8('want for nothing?'));
  const macOk = isHex(mac, '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843');
  // The GCM specification, case 16.
  const aead = suite.aead(hex('feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308'));
  const nonce = hex('cafebabefacedbaddecaf888');
  const plaintext = hex(
    'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72' +
      '1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39',
  );
  const sealed = new Uint8Array(plaintext.length + AEAD_TAG_BYTES);
  aead.seal(nonce, hex('feedfacedeadbeeffeedfacedeadbeefabaddad2'), plaintext, sealed, 0);
  const tagOk = isHex(sealed.subarray(plaintext.length), '76fc6ece0f4e1768cddf8853bb2d551b');
  return macOk && tagOk;
}

function isAlike(suite: Suite, twin: Suite, length: number): boolean {
  const bytes = Uint8Array.from({ length }, (_, index) => (index * 31 + length) & 255);
  const key = suite.sha256(bytes);
  if (!equalBytes(key, twin.sha256(bytes))) return false;
  if (!equalBytes(suite.hmacSha256(bytes, key, bytes), twin.hmacSha256(bytes, key, bytes))) return false;

  const pair = suite.keyPair(key);
  const peer = twin.keyPair(twin.sha256(key));
  if (!equalBytes(pair.publicKey, twin.keyPair(key).publicKey)) return false;
  const secret = twin.dh(peer, pair.publicKey);
  // Twice, since only the first one finds the key that was kept.
  for (let round = 0; round < 2; round++) {
    const shared = suite.dh(pair, peer.publicKey);
    if (shared === undefined || secret === undefined || !equalBytes(shared, secret)) return false;
  }
  if (suite.dh(pair, new Uint8Array(key.length)) !== undefined) return false;

  const [aead, other] = [suite.aead(key), twin.aead(key)];
  const [nonce, head] = [key.subarray(0, 12), key.subarray(3, 22)];
  const expected = new Uint8Array(head.length + length + AEAD_TAG_BYTES);
  other.seal(nonce, key, concatBytes(head, bytes), expected, 0);
  const buffer = new Uint8Array(expected.length + 5);
  const sealed = buffer.subarray(5);
  aead.seal(nonce, key, concatBytes(head, bytes), buffer, 5);
  if (!equalBytes(sealed, expected)) return false;
  if (aead.open(nonce, key, sealed, sealed, 0) !== head.length + length) return false;
  if (!equalBytes(sealed.subarray(19, 19 + length), bytes)) return false;
  aead.sealParts(nonce, head, sealed.subarray(19, 19 + length), buffer, 5);
  other.seal(nonce, new Uint8Array(0), concatBytes(head, bytes), expected, 0);
  if (!equalBytes(sealed, expected)) return false;
  const forged = sealed.slice();
  forged[length]! ^= 1;
  const isRefused = aead.openInPlace(nonce, forged) === -1;
  return isRefused && aead.openInPlace(nonce, sealed) === head.length + length;
}

function isHex(bytes: Uint8Array, text: string): boolean {
  return equalBytes(bytes, hex(text));
}

function hex(text: string): Uint8Array {
  return fromHex(text)!;
}
