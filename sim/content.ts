/** What simulated clients store: bytes that differ from one call to the next, and their names. */

import { toHex } from '../src/base/bytes.ts';
import { nodeHashing } from '../src/store/hashing.ts';
import { Random } from './random.ts';

/** Bytes that differ from one call to the next, cheaply: `label` in front, then noise, or text that compresses. */
export function contentOf(random: Random, bytes: number, compressible = false): Uint8Array {
  const content = new Uint8Array(bytes);
  if (compressible) content.fill(0x61);
  else {
    const start = random.integer(NOISE.length);
    for (let at = 0; at < bytes; ) {
      const piece = NOISE.subarray((start + at) % NOISE.length).subarray(0, bytes - at);
      content.set(piece, at);
      at += piece.length;
    }
  }
  content.set(random.bytes(Math.min(bytes, 16)));
  return content;
}

const NOISE = new Random(1).bytes(524_288);

export function hashOf(bytes: Uint8Array): string {
  const digest = nodeHashing.sha256();
  digest.update(bytes);
  return toHex(digest.digest());
}
