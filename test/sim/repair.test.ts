/** Nodes that are lost for good, come back, or leave, and what becomes of the objects that they held. */

import { describe, expect, test } from 'vitest';
import { Invariant, Violations } from '../../sim/checkers.ts';
import { contentOf, hashOf, SimCluster, type SimNode } from '../../sim/cluster.ts';
import { LeaseChecker } from '../../sim/lease-checker.ts';
import { unrepaired } from '../../sim/repair-checker.ts';
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
  test('is told by every coordinator: what the leader knows, and what it noted [REP-7]', async () => {
    const { cluster } = await open(9, 2, { coordinators: 3, repairDelayMillis: DELAY_MILLIS });
    const [hash] = await fill(cluster, 1, 1_000, 2);
    cluster.nodes.find((node) => node.holds(hash!))!.lose();
    await cluster.pass(DELAY_MILLIS * 1_000 + 30 * SECOND);
    const told = async (): Promise<unknown[]> => {
      const found = [];
      for (const { address } of cluster.coordinators) {
        const client = cluster.client([address]);
        found.push((await cluster.drive(client.role.status())).repair);
      }
      return found;
    };
    const one = { missing: 1, copying: 0, surplus: 0, scanning: false };
    expect(await told()).toEqual([one, one, one]);
    // A new leader has not looked yet, and nobody answers what the old one noted.
    const first = cluster.leader!;
    first.pause(10 * SECOND, false);
    await cluster.runUntil(
      () => cluster.leader !== undefined && cluster.leader !== first,
      10 * SECOND,
      'a leader',
    );
    const follower = cluster.coordinators.find((one) => one !== first && one !== cluster.leader)!;
    const client = cluster.client([follower.address]);
    expect((await cluster.drive(client.role.status())).repair).toBeUndefined();
    await cluster.close();
  });

  test('a cluster of ten nodes that loses three, one after the other, keeps every object [REP-1] [REP-2]', async () => {
    const { cluster, client } = await open(1, 10);
    const hashes = await fill(cluster, 120, 60_000, 2);
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

  test('a node that comes back leaves its objects with one replica too many: one that stays is checked first [REP-5]', async () => {
    const { cluster, client } = await open(2, 4);
    const hashes = await fill(cluster, 20, 60_000, 2);
    const [node] = cluster.nodes;
    node!.crash('process');
    await repaired(cluster);
    for (const hash of hashes) expect(holders(cluster, hash)).toHaveLength(2);
    await node!.start();
    await cluster.drive(cluster.joined());
    await repaired(cluster);
    for (const hash of hashes) {
      expect(entryOf(cluster, hash)!.replicas).toHaveLength(2);
      expect(cluster.nodes.filter((one) => one.holds(hash))).toHaveLength(2);
      expect(hashOf(await cluster.drive(client.fetch(hash)))).toBe(hash);
    }
    await cluster.close();
  });

  test('a node that is away for a moment only has nothing copied [REP-2]', async () => {
    const { cluster } = await open(3, 3, { repairDelayMillis: 20_000 });
    const hashes = await fill(cluster, 5, 60_000, 2);
    const before = hashes.map((hash) => entryOf(cluster, hash));
    cluster.nodes[0]!.crash('process');
    await cluster.pass(10 * SECOND);
    await cluster.nodes[0]!.start();
    await cluster.drive(cluster.joined());
    await cluster.pass(40 * SECOND);
    expect(hashes.map((hash) => entryOf(cluster, hash))).toEqual(before);
    await cluster.close();
  });

  test('an object whose nodes are all gone stays known, and is whole again when one is back [REP-3]', async () => {
    const { cluster, client } = await open(4, 4);
    const [hash] = await fill(cluster, 1, 60_000, 2);
    const [one, other] = holders(cluster, hash!);
    one!.crash('process');
    other!.crash('process');
    await repaired(cluster);
    expect(entryOf(cluster, hash!)!.replicas).toHaveLength(2);
    await one!.start();
    await cluster.drive(cluster.joined());
    await repaired(cluster);
    expect(holders(cluster, hash!)).toHaveLength(2);
    expect(hashOf(await cluster.drive(client.fetch(hash!)))).toBe(hash);
    await cluster.close();
  });

  test('a node that drains ends up with nothing, and everything is elsewhere [REP-6]', async () => {
    const { cluster, client } = await open(5, 4);
    const hashes = await fill(cluster, 30, 60_000, 2);
    const [node] = cluster.nodes;
    expect(node!.store.objects).toBeGreaterThan(0);
    node!.crash('process');
    node!.isDraining = true;
    await node!.start();
    await cluster.drive(cluster.joined());
    await cluster.runUntil(() => node!.role!.objects === 0, 120 * SECOND, 'draining');
    for (const hash of hashes) {
      expect(holders(cluster, hash)).toHaveLength(2);
      expect(entryOf(cluster, hash)!.replicas).toHaveLength(2);
    }
    const placed = await fill(cluster, 10, 1_000, 3);
    expect(placed.some((hash) => node!.holds(hash))).toBe(false);
    for (const hash of hashes) expect(hashOf(await cluster.drive(client.fetch(hash)))).toBe(hash);
    await cluster.checkStores();
    await cluster.close();
  });

  test('a node that drains keeps what too few others can take [REP-6]', async () => {
    const { cluster } = await open(6, 2);
    const [hash] = await fill(cluster, 1, 60_000, 2);
    const [node, other] = cluster.nodes;
    node!.crash('process');
    node!.isDraining = true;
    await node!.start();
    await cluster.drive(cluster.joined());
    await cluster.pass(30 * SECOND);
    expect([node!.holds(hash!), other!.holds(hash!)]).toEqual([true, true]);
    expect(cluster.leader!.role!.repair).toMatchObject({ missing: 1, copying: 0 });
    await cluster.close();
  });
});

describe('the checkers of repair', () => {
  test('see an object with too few replicas', async () => {
    const { cluster } = await open(7, 3, { repairDelayMillis: 60_000 });
    const [hash] = await fill(cluster, 1, 10_000, 2);
    expect(unrepaired(cluster, new Set())).toEqual([]);
    holders(cluster, hash!)[0]!.crash('process');
    expect(unrepaired(cluster, new Set())).toEqual([
      expect.stringContaining('1 replicas count, 2 are wanted'),
    ]);
    expect(unrepaired(cluster, new Set([hash!]))).toEqual([]);
    await cluster.close();
  });

  test('see a copy that is sent to a node without the room', () => {
    const violations = new Violations();
    const leases = new LeaseChecker(violations);
    leases.onStart(0);
    leases.onFree('n1', 4_096);
    leases.onCopyEnds(leases.onCopyBegins(0, 'n1', 2_048), true);
    leases.onCopyBegins(0, 'n1', 2_048);
    expect(violations.first).toBeUndefined();
    leases.onCopyBegins(0, 'n1', 1);
    expect(violations.first?.invariant).toBe(Invariant.PLACED_WITHIN);
  });
});
