/** What the two sides of the handshake need to be fuzzed: the cluster's keys, the MAC, a session set going. */

import type { Random } from '../../sim/random.ts';
import { concatBytes } from '../../src/base/bytes.ts';
import { type Micros, micros } from '../../src/base/units.ts';
import { bestSuite } from '../../src/crypto/best-suite.ts';
import { type ClusterKeys, deriveClusterKeys, helloMac } from '../../src/crypto/index.ts';
import { CreditPool } from '../../src/reliability/index.ts';
import { Initiator, type Session } from '../../src/session/index.ts';
import { HELLO_MAC_BYTES, Role } from '../../src/wire/index.ts';
import { check } from '../engine/target.ts';
import { START } from './session-peer.ts';

export const CLUSTER = new Uint8Array(16).fill(9);
export const PARAMETERS = { datagramBytesMax: 1_200, windowBytes: 200_000, idleMicros: 10_000_000 as Micros };
/** What a fresh session may send at once. */
const TRANSMITS_MAX = 200;
const BUFFER = new Uint8Array(65_536);

let clusterKeys: ClusterKeys | undefined;

/** What follows from the cluster's secret. */
export function keys(): ClusterKeys {
  clusterKeys ??= deriveClusterKeys(bestSuite(), new Uint8Array(32).fill(7));
  return clusterKeys;
}

/** The datagram with the MAC that belongs at its end; undefined when it is too short for one. */
export function signed(bytes: Uint8Array): Uint8Array {
  if (bytes.length < HELLO_MAC_BYTES) return bytes;
  const body = bytes.slice(0, -HELLO_MAC_BYTES);
  return concatBytes(body, helloMac(bestSuite(), keys().helloKey, body));
}

/** Whether the datagram ends with the MAC that belongs there. */
export function isSigned(bytes: Uint8Array): boolean {
  return Buffer.compare(signed(bytes), bytes) === 0;
}

/** Drives a session whose peer declared these parameters: it sends something, and nothing breaks. */
export function drive(session: Session): void {
  session.notify(1, Uint8Array.of(42));
  const id = session.query(1, new Uint8Array(100));
  if (id !== undefined && session.openSend(id, 65_536)) {
    session.writeRecord(id, { encoding: 0, plainBytes: 5_000, dataLeft: 0, payload: new Uint8Array(5_000) });
  }
  for (const at of [START, START + 1_000, START + 100_000, START + 3_000_000]) {
    session.handleTimeout(micros(at));
    for (let sent = 0; ; sent++) {
      check(sent < TRANSMITS_MAX, 'a fresh session sends and sends');
      const transmit = session.pollTransmit(micros(at), BUFFER);
      if (transmit === undefined) break;
      check(transmit.bytes > 0 && transmit.segmentBytes > 0, 'an empty datagram');
    }
    while (session.pollEvent() !== undefined);
    const next = session.nextTimeout();
    check(next === undefined || Number.isFinite(next), `a timeout at ${next}`);
  }
}

/** An honest initiator. */
export function newInitiator(random: Random, now: number): Initiator {
  return new Initiator({
    suite: bestSuite(),
    keys: keys(),
    entropy: (count) => random.bytes(count),
    now: micros(now),
    role: Role.CLIENT,
    local: PARAMETERS,
    pool: new CreditPool(1e7),
  });
}
