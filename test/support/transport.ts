/** Transports on real loopback sockets for tests. */

import { lookup } from 'node:dns/promises';
import { deriveClusterKeys } from '../../src/crypto/index.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import type { Log } from '../../src/nodes/ports.ts';
import { deferToTurn, systemClock, systemEntropy } from '../../src/udp/clock.ts';
import { machineHost } from '../../src/udp/machine-host.ts';
import { type TransportOptions, UdpTransport } from '../../src/udp/transport.ts';

export const SILENT: Log = { info() {}, warn() {}, error() {} };
export const ALL_RIGHTS = { read: true, write: true, node: true, admin: true };
export const SECRET = new Uint8Array(32).fill(7);

export function frontSecret(secret: Uint8Array, rights = ALL_RIGHTS) {
  return { keys: deriveClusterKeys(nodeSuite, secret), rights };
}

export function loopbackTransport(options: Partial<TransportOptions> = {}): UdpTransport {
  return new UdpTransport({
    host: machineHost(),
    clock: systemClock,
    entropy: systemEntropy,
    suite: nodeSuite,
    secrets: [frontSecret(SECRET)],
    defer: deferToTurn,
    turn: setImmediate,
    resolve: async (host) => (await lookup(host)).address,
    log: SILENT,
    ...options,
  });
}
