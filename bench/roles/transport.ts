/** A transport of the benchmark's own, for cases below the roles: raw flows, handshakes, sessions. */

import { bestSuite } from '../../src/crypto/best-suite.ts';
import { deriveClusterKeys } from '../../src/crypto/index.ts';
import type { Transport } from '../../src/nodes/ports.ts';
import { deferToTurn, machineHost, systemClock, systemEntropy, UdpTransport } from '../../src/udp/index.ts';

/** What `open.ts` makes for a role, for a secret in hex. */
export function openTransport(secretHex: string): Transport {
  const secret = new Uint8Array(Buffer.from(secretHex, 'hex'));
  return new UdpTransport({
    host: machineHost(() => undefined),
    clock: systemClock,
    entropy: systemEntropy,
    suite: bestSuite(),
    secrets: [
      {
        keys: deriveClusterKeys(bestSuite(), secret),
        rights: { read: true, write: true, node: true, admin: true },
      },
    ],
    defer: deferToTurn,
    turn: setImmediate,
    resolve: async (host) => host,
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
  });
}
