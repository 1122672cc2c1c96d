/** Nodes that are lost for good, come back, or leave, and what becomes of the objects that they held. */

import { describe, expect, test } from 'vitest';
import { contentOf, hashOf, SimCluster, type SimNode } from '../../sim/cluster.ts';
import { decodeEntry, hasReplica } from '../../src/nodes/catalog-entry.ts';
import { objectKey } from '../../src/nodes/state-keys.ts';

const SECOND = 1_000_000;
const DELAY_MILLIS = 3_000;

type Options = Partial<ConstructorParameters<typeof SimCluster>[0]>;

async function open(seed: number, nodes: number, options: Options = {}) {
  const cluster = new SimCluster({ seed, nodes, repairDelayMillis: DELAY_MILLIS, ...options });
  await cluster.start();
  return { cluster, client: cluster.client() };
}

/** Puts so many objects, and returns their hashes. */
async function fill(
  cluster: SimCluster,
  count: number,
  bytesMax: number,
  replicas: number,
): Promise<string[]> {
  const client = cluster.clients[0]!;
  const hashes: string[] = [];
  for (let index = 0; index < count; index++) {
    const content = contentOf(cluster.random, 1 + cluster.random.integer(bytesMax));
    hashes.push((await cluster.drive(client.role.put(content, { replicas }))).hash);
  }
  return hashes;
}

function entryOf(cluster: SimCluster, hash: string) {
  const value = cluster.truth.get(objectKey(new Uint8Array(Buffer.from(hash, 'hex'))));
  return value === undefined ? undefined : decodeEntry(value);
}

/** Nodes that run and stay, and hold an object by the catalog and on their disk. */
function holders(cluster: SimCluster, hash: string): SimNode[] {
  const entry = entryOf(cluster, hash)!;
  return cluster.nodes.filter((node) => {
    return node.isRunning && !node.isDraining && hasReplica(entry, node.nodeId) && node.holds(hash);
  });
}

/** Waits until repair has nothing to do. */
async function repaired(cluster: SimCluster, spanMicros = 120 * SECOND): Promise<void> {
  // Until the loss is noticed, and the delay over.
  await cluster.pass(DELAY_MILLIS * 1_000 + 6 * SECOND);
  const isDone = (): boolean => {
    const status = cluster.leader?.role?.repair;
    return status !== undefined && !status.scanning && status.missing + status.copying + status.surplus === 0;
  };
  await cluster.runUntil(isDone, spanMicros, 'repair');
}

describe('repair', () => {
  test('a cluster of ten nodes that loses three, one after the other, keeps every object [REP-1] [REP-2]', async () => {
    const { cluster, client } = await open(1, 10);
    const hashes = await fill(cluster, 250, 60_000, 2);
    for (const index of [2, 5, 8]) {
      cluster.nodes[index]!.lose();
      await repaired(cluster);
      for (const hash of hashes) expect(holders(cluster, hash)).toHaveLength(2);
    }
    for (const hash of hashes) expect(hashOf(await cluster.drive(client.fetch(hash)))).toBe(hash);
    const left = cluster.nodes.filter((node) => !node.isLost);
    const fills = left.map(({ store }) => 1 - store.freeBytes / store.quotaBytes);
    expect(Math.max(...fills) - Math.min(...fills)).toBeLessThan(0.05);
    await cluster.checkStores();
    await cluster.close();
  });
});
