/**
 * What follows from a cluster secret and from an admission secret: the secret's id, the psk of the
 * handshake, the MAC that opens the front port, and the proof by which a node is admitted.
 *
 * The secrets themselves never travel. `noise.ts` takes the psk; `session/` puts the MAC and the id in
 * `HELLO`; `nodes/` asks for the admission proof. Left out: where secrets are kept and what rights
 * they carry.
 */

import { assert } from '../base/assert.ts';
import { equalBytesConstantTime, utf8 } from '../base/bytes.ts';
import { expandLabel, hkdfExtract } from './hkdf.ts';
import { HASH_BYTES, type Suite } from './suite.ts';
import { writeUint32 } from './uint64.ts';

export const CLUSTER_SECRET_BYTES = 32;
export const SECRET_ID_BYTES = 8;
export const HELLO_MAC_BYTES = 16;
export const ADMISSION_PROOF_BYTES = HASH_BYTES;

const CLUSTER_SALT = utf8('gramline cluster v1');
const ADMISSION_DOMAIN = utf8('gramline admission v1');

export interface ClusterKeys {
  /** 8 bytes that name the secret in `HELLO` and tell nothing about it. */
  readonly secretId: Uint8Array;
  /** The 32-byte psk of the Noise handshake. */
  readonly psk: Uint8Array;
  /** The 32-byte key of the MAC in `HELLO`. */
  readonly helloKey: Uint8Array;
}

/** The keys of a cluster secret of 32 bytes, which is borrowed [KEY-2]. */
export function deriveClusterKeys(suite: Suite, secret: Uint8Array): ClusterKeys {
  assert(secret.length === CLUSTER_SECRET_BYTES, 'a cluster secret has 32 bytes');
  const root = hkdfExtract(suite, CLUSTER_SALT, secret);
  const keys = {
    secretId: expandLabel(suite, root, 'secret id', SECRET_ID_BYTES),
    psk: expandLabel(suite, root, 'psk'),
    helloKey: expandLabel(suite, root, 'hello'),
  };
  root.fill(0);
  return keys;
}

/** The 16-byte MAC of `HELLO` over `bytes`, everything in the packet before it [HELLO-1]. */
export function helloMac(suite: Suite, helloKey: Uint8Array, bytes: Uint8Array): Uint8Array {
  return suite.hmacSha256(helloKey, bytes).slice(0, HELLO_MAC_BYTES);
}

/** Whether `mac`, of any length, is the MAC of `bytes`. In constant time; never throws. */
export function checkHelloMac(
  suite: Suite,
  helloKey: Uint8Array,
  bytes: Uint8Array,
  mac: Uint8Array,
): boolean {
  return equalBytesConstantTime(helloMac(suite, helloKey, bytes), mac);
}

/**
 * A node's proof that it holds the admission secret, good for one session, one nonce and one role
 * [ADM-1].
 *
 * @param admissionSecret 32 bytes.
 * @param handshakeHash The 32-byte transcript hash of the session that carries the proof: a machine in
 * the middle has another one on each side.
 * @param nonce What the coordinator sent, of any length; it should make 16 random bytes or more.
 * @param role The role that the node asks for.
 */
export function admissionProof(
  suite: Suite,
  admissionSecret: Uint8Array,
  handshakeHash: Uint8Array,
  nonce: Uint8Array,
  role: string,
): Uint8Array {
  assert(admissionSecret.length === CLUSTER_SECRET_BYTES, 'an admission secret has 32 bytes');
  assert(handshakeHash.length === HASH_BYTES, 'a handshake hash has 32 bytes');
  // Without its length the nonce could give bytes to the role [ADM-2].
  const nonceBytes = new Uint8Array(4);
  writeUint32(nonceBytes, 0, nonce.length);
  return suite.hmacSha256(admissionSecret, ADMISSION_DOMAIN, handshakeHash, nonceBytes, nonce, utf8(role));
}

/** Whether `proof`, of any length, is the proof of these values. In constant time; never throws. */
export function checkAdmissionProof(
  suite: Suite,
  admissionSecret: Uint8Array,
  handshakeHash: Uint8Array,
  nonce: Uint8Array,
  role: string,
  proof: Uint8Array,
): boolean {
  return equalBytesConstantTime(admissionProof(suite, admissionSecret, handshakeHash, nonce, role), proof);
}
