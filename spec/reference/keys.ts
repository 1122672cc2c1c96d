/** The slow twin of the key schedule (section 2.2), of the front port's MAC, of proofs and of receipts. */

import { scrypt } from '@noble/hashes/scrypt.js';
import { ascii, bigEndian, expand, extract, hmac, join, label } from './primitives.ts';

export const MAC_BYTES = 16;
const RECEIPT_BYTES = 16;
const PASSPHRASE_POINTS_MIN = 12;

export interface ClusterKeys {
  readonly secretId: Uint8Array;
  readonly psk: Uint8Array;
  readonly helloKey: Uint8Array;
}

/** [KEY-2] */
export function clusterKeys(clusterSecret: Uint8Array): ClusterKeys {
  const root = extract(ascii('gramline cluster v1'), clusterSecret);
  return { secretId: label(root, 'secret id', 8), psk: label(root, 'psk'), helloKey: label(root, 'hello') };
}

/** [SECRET-1]; undefined for a passphrase that is too short [SECRET-2]. */
export function stretched(passphrase: string): Uint8Array | undefined {
  const normal = passphrase.normalize('NFKC');
  if ([...normal].length < PASSPHRASE_POINTS_MIN) return undefined;
  const salt = ascii('gramline passphrase v1');
  return scrypt(new TextEncoder().encode(normal), salt, { N: 2 ** 17, r: 8, p: 1, dkLen: 32 });
}

/** The first traffic secret of a direction [KEY-3]. */
export function trafficSecret(handshakeHash: Uint8Array, splitKey: Uint8Array): Uint8Array {
  return label(extract(handshakeHash, splitKey), 'traffic');
}

export interface EpochKeys {
  readonly trafficSecret: Uint8Array;
  readonly controlKey: Uint8Array;
  readonly recordKey: Uint8Array;
}

/** The keys of an epoch, from the traffic secret of epoch 0. */
export function epochKeys(first: Uint8Array, epoch: number): EpochKeys {
  let secret = first;
  for (let count = 0; count < epoch; count++) secret = label(secret, 'update');
  return { trafficSecret: secret, controlKey: label(secret, 'control'), recordKey: label(secret, 'record') };
}

/** [HELLO-1], over everything in the packet before the MAC. */
export function frontMac(helloKey: Uint8Array, bytes: Uint8Array): Uint8Array {
  return hmac(helloKey, bytes).slice(0, MAC_BYTES);
}

/** [ADM-1] */
export function admissionProof(
  admissionSecret: Uint8Array,
  handshakeHash: Uint8Array,
  nonce: Uint8Array,
  role: string,
): Uint8Array {
  const length = bigEndian(nonce.length, 4);
  return hmac(admissionSecret, ascii('gramline admission v1'), handshakeHash, length, nonce, ascii(role));
}

/** [DEFS-8] */
export function receipt(
  admissionSecret: Uint8Array,
  nodeId: Uint8Array,
  token: Uint8Array,
  hash: Uint8Array,
  size: number,
): Uint8Array {
  const text = ascii('gramline receipt v1');
  const key = expand(extract(text, admissionSecret), text, 32);
  return hmac(key, join(nodeId, token, hash, bigEndian(size, 6))).slice(0, RECEIPT_BYTES);
}
