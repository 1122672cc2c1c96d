/**
 * What both ends mix into a handshake before anything fresh: the same for all handshakes of a cluster
 * under one secret, and so made once. Pure.
 */

import { concatBytes, equalBytes } from '../base/bytes.ts';
import { type ClusterKeys, HandshakeStart, type Suite } from '../crypto/index.ts';
import { CLUSTER_ID_BYTES, MAGIC, WIRE_VERSION, Writer } from '../wire/index.ts';

interface Known {
  readonly suite: Suite;
  readonly start: HandshakeStart;
}

/** The last start under each secret; it goes with the secret's keys. One secret is one cluster, as a rule. */
const knownStarts = new WeakMap<ClusterKeys, Known>();

/** The start of handshakes under `keys` with the cluster of `clusterId` [HS-8]. */
export function handshakeStart(
  suite: Suite,
  keys: ClusterKeys,
  clusterId: Uint8Array,
  version: number = WIRE_VERSION,
): HandshakeStart {
  const prologue = handshakePrologue(clusterId, version);
  const known = knownStarts.get(keys);
  if (known !== undefined && known.suite === suite && equalBytes(known.start.basis.prologue, prologue)) {
    return known.start;
  }
  const start = new HandshakeStart(suite, { pattern: 'NNpsk0', prologue, psks: [keys.psk] });
  knownStarts.set(keys, { suite, start });
  return start;
}

/** What both ends mix into the handshake first: magic, version, cluster id [HS-13]. */
export function handshakePrologue(clusterId: Uint8Array, version: number = WIRE_VERSION): Uint8Array {
  const head = new Writer(new Uint8Array(5));
  head.u32(MAGIC);
  head.u8(version);
  const cluster = new Uint8Array(CLUSTER_ID_BYTES);
  cluster.set(clusterId);
  return concatBytes(head.buffer, cluster);
}
