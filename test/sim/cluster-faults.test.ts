/** What goes wrong on machines and networks, one thing at a time, and what the cluster owes its users. */

import { describe, expect, onTestFinished, test } from 'vitest';
import {
  COORDINATOR_IP,
  contentOf,
  hashOf,
  type SimClient,
  SimCluster,
  type SimNode,
} from '../../sim/cluster.ts';
import { NO_FAULTS } from '../../sim/faults.ts';
import { collectMarks } from '../../src/base/marks.ts';
import { micros } from '../../src/base/units.ts';
import { UNREPORTED_MAX } from '../../src/nodes/node.ts';
import { NodeState } from '../../src/wire/index.ts';

const SECOND = 1_000_000;

function hashBytes(hash: string): Uint8Array {
  return new Uint8Array(Buffer.from(hash, 'hex'));
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}

async function open(
  seed: number,
  nodes: number,
  options: Partial<ConstructorParameters<typeof SimCluster>[0]> = {},
) {
  const cluster = new SimCluster({ seed, nodes, ...options });
  await cluster.start();
  return { cluster, client: cluster.client(), content: contentOf(cluster.random, 200_000) };
}

/** Cuts both ways between two machines; returns what mends it. */
function cut(cluster: SimCluster, fromIp: string, toIp: string, ways: 1 | 2 = 2): () => void {
  cluster.network.cut(fromIp, toIp);
  if (ways === 2) cluster.network.cut(toIp, fromIp);
  return () => cluster.network.heal();
}

/** Waits until no object is pending on any node: what was committed a while ago is known to be. */
async function settled(cluster: SimCluster): Promise<void> {
  const isSettled = (): boolean => cluster.nodes.every((node) => node.store.pending().length === 0);
  await cluster.runUntil(isSettled, 90 * SECOND, 'settling');
}

/** The node from which most of an object is arriving, once it has begun. */
async function servingNode(cluster: SimCluster, client: SimClient, leastBytes: number): Promise<SimNode> {
  const received = new Map<string, number>();
  const stop = cluster.network.tap((from, to, bytes) => {
    if (to.host === client.ip) received.set(from.host, (received.get(from.host) ?? 0) + bytes.length);
  });
  const serving = (): SimNode | undefined =>
    cluster.nodes.find((node) => (received.get(node.ip) ?? 0) > leastBytes);
  await cluster.runUntil(() => serving() !== undefined, 10 * SECOND, 'the beginning of the get');
  stop();
  return serving()!;
}

describe('a node dies', () => {
  test.each(['machine', 'process'] as const)(
    'in the middle of a get: the client goes on at another replica, at the byte that it reached (%s)',
    async (kind) => {
      const faults = { ...NO_FAULTS, bytesPerSecond: 1_000_000, mtuBytes: 1_472 };
      const { cluster, client } = await open(21, 3, { faults });
      const content = contentOf(cluster.random, 1_000_000);
      const { hash } = await cluster.drive(client.role.put(content, { replicas: 2 }));
      const fetched = client.fetch(hash);
      const first = await servingNode(cluster, client, 400_000);
      const offsets: number[] = [];
      for (const { store } of cluster.nodes.filter((node) => node !== first)) {
        const open = store.open.bind(store);
        store.open = async (name) => {
          const reader = await open(name);
          const read = reader!.read.bind(reader);
          reader!.read = (offset, length) => {
            offsets.push(offset);
            return read(offset, length);
          };
          return reader;
        };
      }
      first.crash(kind);
      expect(sameBytes(await cluster.drive(fetched), content)).toBe(true);
      // The second replica was asked for the rest, and for nothing twice.
      expect(offsets[0]).toBeGreaterThan(100_000);
      expect(offsets).toEqual([...new Set(offsets)].sort((left, right) => left - right));
      await cluster.close();
    },
  );

  test('that held the only replica: the get fails clearly, and works when the node is back', async () => {
    const { cluster, client, content } = await open(22, 1);
    const { hash } = await cluster.drive(client.role.put(content));
    cluster.nodes[0]!.crash();
    await expect(cluster.drive(client.fetch(hash))).rejects.toMatchObject({ name: 'GramlineError' });
    await cluster.nodes[0]!.start();
    await cluster.drive(cluster.joined());
    expect(sameBytes(await cluster.drive(client.fetch(hash)), content)).toBe(true);
    await cluster.close();
  });

  test('in the middle of a put to two: the other one keeps it; three that were asked for are not two', async () => {
    const faults = { ...NO_FAULTS, bytesPerSecond: 1_000_000 };
    const { cluster, client } = await open(23, 3, { faults });
    const content = contentOf(cluster.random, 1_000_000);
    const dieAt = (node: SimNode) => (progress: { doneBytes: number }) => {
      if (progress.doneBytes >= 500_000 && node.isRunning) node.crash('process');
    };
    const strict = client.role.put(content, { replicas: 3, onProgress: dieAt(cluster.nodes[0]!) });
    await expect(cluster.drive(strict)).rejects.toMatchObject({ name: 'GramlineError' });
    await expect(cluster.drive(client.role.whereIs(hashOf(content)))).rejects.toMatchObject({
      code: 'GRAMLINE_NOT_FOUND',
    });
    const result = await cluster.drive(client.role.put(content, { onProgress: dieAt(cluster.nodes[1]!) }));
    expect(result.replicas).toBeGreaterThanOrEqual(1);
    expect(sameBytes(await cluster.drive(client.fetch(result.hash)), content)).toBe(true);
    await cluster.close();
  });

  test('and comes back: its objects count again, ones it lost are struck, removed ones are deleted [DEFS-12]', async () => {
    const { cluster, client } = await open(24, 2);
    const [kept, lost, removed] = [1, 2, 3].map(() => contentOf(cluster.random, 3_000));
    for (const content of [kept!, lost!, removed!])
      await cluster.drive(client.role.put(content, { replicas: 2 }));
    const node = cluster.nodes[0]!;
    await settled(cluster);
    node.crash();
    await cluster.drive(client.role.rm(hashOf(removed!)));
    await node.store.remove(hashBytes(hashOf(lost!)));
    await cluster.pass(15 * SECOND);
    expect((await cluster.drive(client.role.status())).nodes.map(({ state }) => state).sort()).toEqual([
      NodeState.UP,
      NodeState.FAILED,
    ]);
    const marks = new Set<string>();
    collectMarks((mark) => marks.add(mark));
    onTestFinished(() => collectMarks(undefined));
    await node.start();
    await cluster.drive(cluster.joined());
    await cluster.pass(SECOND);
    const replicas = async (content: Uint8Array): Promise<number> =>
      (await cluster.drive(client.role.whereIs(hashOf(content)))).replicas.length;
    expect(await replicas(kept!)).toBe(2);
    // Struck, and copied again by repair [REP-2].
    expect(await replicas(lost!)).toBe(2);
    expect([marks.has('inventory-strikes'), marks.has('repair-copied')]).toEqual([true, true]);
    expect(node.holds(hashOf(removed!))).toBe(false);
    await expect(replicas(removed!)).rejects.toMatchObject({ code: 'GRAMLINE_NOT_FOUND' });
    await cluster.close();
  });

  test('with objects of which the catalog knows nothing: they are adopted', async () => {
    const { cluster, client, content } = await open(25, 1);
    const { hash } = await cluster.drive(client.role.put(content));
    await settled(cluster);
    const other = new SimCluster({ seed: 25, nodes: 1 });
    other.nodes[0]!.crash();
    await cluster.drive(cluster.nodes[0]!.stop());
    cluster.nodes[0]!.reopenStore();
    // The same disk, under a coordinator whose catalog is empty.
    other.nodes[0]!.store = cluster.nodes[0]!.store;
    await other.start();
    expect(sameBytes(await other.drive(other.client().fetch(hash)), content)).toBe(true);
    await other.close();
  });

  test('by being closed while it joins: nothing of that is left', async () => {
    const cluster = new SimCluster({ seed: 26, nodes: 1, faults: { ...NO_FAULTS, delayMicros: 100_000 } });
    await cluster.coordinator.start();
    for (const momentMicros of [50_000, 250_000, 450_000, 650_000, 850_000]) {
      const node = cluster.nodes[0]!;
      await node.start();
      await cluster.pass(momentMicros);
      await cluster.drive(node.stop());
      expect(node.transport!.connections.size).toBe(0);
      expect(node.process!.clock.pending).toBe(0);
      expect(cluster.network.socketsAt(node.ip)).toBe(0);
      node.reopenStore();
    }
    await cluster.close();
  });

  test('and comes back with more objects than a flow takes at once, and is refused: it tries again', async () => {
    const { cluster } = await open(27, 1);
    const node = cluster.nodes[0]!;
    node.crash();
    cluster.coordinator.failState(true);
    const random = cluster.random.fork('hashes');
    const many = Array.from({ length: 60_000 }, () => ({ hash: random.bytes(32), bytes: 1 }));
    const inventory = node.store.inventory.bind(node.store);
    node.store.inventory = () => many;
    await node.start();
    await cluster.pass(5 * SECOND);
    expect(node.role!.isJoined).toBe(false);
    node.store.inventory = inventory;
    cluster.coordinator.failState(false);
    await cluster.drive(cluster.joined(), micros(60 * SECOND));
    await cluster.close();
  });
});

describe('the coordinator dies', () => {
  test('between put and where-is: nothing that was committed is lost', async () => {
    const { cluster, client, content } = await open(31, 3);
    const { hash } = await cluster.drive(client.role.put(content));
    cluster.coordinator.crash('process');
    await cluster.coordinator.start();
    await cluster.drive(cluster.nodes[0]!.role!.joined);
    await cluster.pass(15 * SECOND);
    expect((await cluster.drive(client.role.whereIs(hash))).replicas).toHaveLength(2);
    expect(sameBytes(await cluster.drive(client.fetch(hash)), content)).toBe(true);
    await cluster.close();
  });

  test('and its nodes are not back yet: where-is names them, as the state has them [DEFS-9]', async () => {
    const { cluster, client, content } = await open(32, 1);
    const { hash } = await cluster.drive(client.role.put(content));
    cluster.coordinator.crash('process');
    const heal = cut(cluster, cluster.nodes[0]!.ip, COORDINATOR_IP);
    await cluster.coordinator.start();
    const [replica] = (await cluster.drive(client.role.whereIs(hash))).replicas;
    expect(replica?.address).toBe(cluster.nodes[0]!.address);
    expect(await cluster.drive(client.fetch(hash))).toEqual(content);
    heal();
    await cluster.pass(30 * SECOND);
    expect((await cluster.drive(client.role.whereIs(hash))).replicas).toHaveLength(1);
    await cluster.close();
  });

  test('between the last byte of a put and its commit: the receipts count at the next one, joined or not', async () => {
    const { cluster, client, content } = await open(33, 2);
    async function* once(): AsyncIterable<Uint8Array> {
      yield content;
      // The nodes have most of it; the coordinator dies now, and they can't reach the next one.
      cluster.coordinator.crash('process');
      for (const node of cluster.nodes) cut(cluster, node.ip, COORDINATOR_IP);
      await cluster.coordinator.start();
    }
    const stored = await cluster.drive(client.role.put(once(), { bytes: content.length }));
    expect(stored.replicas).toBe(2);
    cluster.network.heal();
    await cluster.pass(30 * SECOND);
    expect(sameBytes(await cluster.drive(client.fetch(stored.hash)), content)).toBe(true);
    await cluster.close();
  });

  test('and the answer to a commit is lost: the repeated commit says that it is done [DEFS-17]', async () => {
    const { cluster, client, content } = await open(34, 2);
    // Older than a lease, so that it honours only reservations that it knows.
    await cluster.pass(40 * SECOND);
    async function* once(): AsyncIterable<Uint8Array> {
      yield content;
      cluster.network.cut(COORDINATOR_IP, client.ip);
      cluster.clock.schedule(12 * SECOND, () => cluster.network.heal());
    }
    const stored = await cluster.drive(client.role.put(once(), { bytes: content.length }));
    expect(stored).toMatchObject({ hash: hashOf(content), replicas: 2, existed: false });
    await cluster.close();
  });

  test('its disk is full: puts fail clearly, nodes that bring inventories try again, and later all is well', async () => {
    const { cluster, client, content } = await open(35, 2);
    const node = cluster.nodes[0]!;
    // An object that the catalog does not know: its adoption needs the catalog's disk.
    const writer = await node.store.create(new Uint8Array(8), 5);
    await writer.write(new Uint8Array(5));
    await node.store.settle((await writer.finish()).hash, true);
    cluster.coordinator.failState(true);
    await expect(cluster.drive(client.role.put(content))).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
    node.crash();
    await node.start();
    await cluster.pass(20 * SECOND);
    expect(node.role!.isJoined).toBe(false);
    cluster.coordinator.failState(false);
    await cluster.drive(cluster.joined());
    expect(sameBytes(await cluster.drive(client.fetch(hashOf(new Uint8Array(5)))), new Uint8Array(5))).toBe(
      true,
    );
    await cluster.drive(client.role.put(content));
    await cluster.close();
  });
});

describe('a disk', () => {
  test('with a damaged object never serves it: reported, struck, and fetched from another node [DEFS-19] [DEFS-22]', async () => {
    const { cluster, client, content } = await open(41, 2);
    const { hash } = await cluster.drive(client.role.put(content, { replicas: 2 }));
    const marks = new Set<string>();
    collectMarks((mark) => marks.add(mark));
    onTestFinished(() => collectMarks(undefined));
    cluster.nodes[0]!.store.corrupt(hashBytes(hash), 150_000);
    for (let times = 0; times < 10; times++) {
      expect(sameBytes(await cluster.drive(client.fetch(hash)), content)).toBe(true);
    }
    await cluster.pass(SECOND);
    // Struck, and copied anew from the other node by repair [REP-2].
    expect([marks.has('damage-reported'), marks.has('repair-copied')]).toEqual([true, true]);
    expect((await cluster.drive(client.role.whereIs(hash))).replicas).toHaveLength(2);
    await cluster.checkStores();
    expect(sameBytes(await cluster.drive(client.fetch(hash)), content)).toBe(true);
    await cluster.close();
  });

  test('with the only replica damaged: the get says so, and storing it again heals it [DEFS-11] [DEFS-22]', async () => {
    const { cluster, client, content } = await open(42, 1);
    const { hash } = await cluster.drive(client.role.put(content));
    cluster.nodes[0]!.store.corrupt(hashBytes(hash));
    await expect(cluster.drive(client.fetch(hash))).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
    await cluster.pass(SECOND);
    await expect(cluster.drive(client.role.whereIs(hash))).rejects.toMatchObject({
      code: 'GRAMLINE_CORRUPT',
    });
    await cluster.drive(client.role.put(content));
    expect(sameBytes(await cluster.drive(client.fetch(hash)), content)).toBe(true);
    await cluster.close();
  });

  test('that is damaged while its node is out of reach: a late report does not strike the copy stored since', async () => {
    const { cluster, client, content } = await open(43, 1);
    const { hash } = await cluster.drive(client.role.put(content));
    const node = cluster.nodes[0]!;
    node.store.corrupt(hashBytes(hash));
    cluster.network.cut(node.ip, COORDINATOR_IP);
    await expect(cluster.drive(client.fetch(hash))).rejects.toMatchObject({ name: 'GramlineError' });
    cluster.clock.schedule(2 * SECOND, () => cluster.network.heal());
    const again = await cluster.drive(
      client.role.put(content).then(
        () => true,
        () => false,
      ),
    );
    await cluster.pass(20 * SECOND);
    if (!again) await cluster.drive(client.role.put(content));
    await cluster.pass(10 * SECOND);
    expect(sameBytes(await cluster.drive(client.fetch(hash)), content)).toBe(true);
    await cluster.close();
  });

  test('that is full refuses, says so in status, and takes objects again when it has room', async () => {
    const { cluster, client, content } = await open(44, 1);
    cluster.nodes[0]!.store.fail(true);
    await expect(cluster.drive(client.role.put(content))).rejects.toMatchObject({
      code: 'GRAMLINE_NO_SPACE',
    });
    await cluster.pass(6 * SECOND);
    const states = async (): Promise<readonly number[]> =>
      (await cluster.drive(client.role.status())).nodes.map(({ state }) => state);
    expect(await states()).toEqual([NodeState.FULL]);
    await expect(cluster.drive(client.role.whereTo(1))).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
    cluster.nodes[0]!.store.fail(false);
    await cluster.pass(7 * SECOND);
    expect(await states()).toEqual([NodeState.UP]);
    await cluster.drive(client.role.put(content));
    await cluster.close();
  });

  test.each(['disk', 'quota'] as const)(
    'that fills up in the middle of a put (%s): a clean failure, no partial object, no space kept',
    async (kind) => {
      const { cluster, client } = await open(45, 1, {
        quotaBytes: 1_024_000,
        faults: { ...NO_FAULTS, bytesPerSecond: 1_000_000 },
      });
      const { store } = cluster.nodes[0]!;
      const content = contentOf(cluster.random, 600_000);
      async function* source(): AsyncIterable<Uint8Array> {
        yield content.subarray(0, 300_000);
        await cluster.clock.sleep(500_000);
        if (kind === 'disk') store.fail(true);
        yield content.subarray(300_000);
      }
      if (kind === 'quota') {
        // Something else took the room since the node last told of it.
        const writer = await store.create(new Uint8Array(8), 700_000);
        const put = client.role.put(source(), { bytes: content.length });
        await expect(cluster.drive(put)).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
        await writer.abort();
      } else {
        const put = client.role.put(source(), { bytes: content.length });
        await expect(cluster.drive(put)).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
        store.fail(false);
      }
      await cluster.pass(7 * SECOND);
      expect([...store.inventory()]).toEqual([]);
      expect(store.freeBytes).toBe(1_024_000);
      expect(cluster.coordinator.role!.reservations).toBe(0);
      expect(cluster.coordinator.role!.nodes[0]!.freeBytes).toBe(1_024_000);
      await cluster.drive(client.role.put(content));
      await cluster.close();
    },
  );
});

describe('what is stored and not committed', () => {
  test('is dropped after the lease; what was committed stays [DEFS-10]', async () => {
    const { cluster, content } = await open(51, 1);
    const node = cluster.nodes[0]!;
    const dying = cluster.client();
    const kept = contentOf(cluster.random, 4_000);
    const client = cluster.clients[0]!;
    await cluster.drive(client.role.put(kept));
    void dying.role.put(content).catch(() => undefined);
    await cluster.runUntil(() => node.holds(hashOf(content)), 5 * SECOND, 'storing');
    dying.crash();
    expect(node.store.pending()).toHaveLength(2);
    await cluster.pass(59 * SECOND);
    expect(node.holds(hashOf(content))).toBe(true);
    await cluster.pass(15 * SECOND);
    expect(node.holds(hashOf(content))).toBe(false);
    expect(node.holds(hashOf(kept))).toBe(true);
    expect(node.store.pending()).toEqual([]);
    expect(cluster.coordinator.role!.reservations).toBe(0);
    expect(sameBytes(await cluster.drive(client.fetch(hashOf(kept))), kept)).toBe(true);
    await cluster.close();
  });

  test('and is stored again while the answer to drop it is on its way: the second one stays [DEFS-10]', async () => {
    const { cluster, client, content } = await open(52, 1);
    const node = cluster.nodes[0]!;
    const dying = cluster.client();
    void dying.role.put(content).catch(() => undefined);
    await cluster.runUntil(() => node.holds(hashOf(content)), 5 * SECOND, 'storing');
    dying.crash();
    await cluster.pass(58 * SECOND);
    // The coordinator's answers take half a second from here on.
    cluster.network.setFaults({ ...NO_FAULTS, delayMicros: 500_000 }, COORDINATOR_IP, node.ip);
    await cluster.pass(3 * SECOND);
    // The node asks when it looks at what is pending.
    let hasAsked = false;
    const pending = node.store.pending.bind(node.store);
    node.store.pending = () => {
      hasAsked = true;
      return pending();
    };
    await cluster.runUntil(() => hasAsked, 10 * SECOND, 'asking');
    await cluster.pass(1_000);
    expect(await cluster.drive(client.role.put(content))).toMatchObject({ replicas: 1, existed: false });
    await cluster.pass(80 * SECOND);
    expect(sameBytes(await cluster.drive(client.fetch(hashOf(content))), content)).toBe(true);
    await cluster.close();
  });
});

describe('removing and storing the same object', () => {
  test('while the order to delete is still under way: an acknowledged put stays', async () => {
    const { cluster, client, content } = await open(61, 1);
    const { hash } = await cluster.drive(client.role.put(content));
    cluster.network.cut(COORDINATOR_IP, cluster.nodes[0]!.ip);
    await cluster.drive(client.role.rm(hash));
    cluster.clock.schedule(SECOND, () => cluster.network.heal());
    const acknowledged = await cluster.drive(
      client.role.put(content).then(
        () => true,
        () => false,
      ),
    );
    await cluster.pass(10 * SECOND);
    if (!acknowledged) await cluster.drive(client.role.put(content));
    await cluster.pass(10 * SECOND);
    expect(sameBytes(await cluster.drive(client.fetch(hash)), content)).toBe(true);
    await cluster.close();
  });

  test('where the node deletes between receipt and commit: the put stores it anew', async () => {
    const { cluster, client, content } = await open(62, 1);
    const { hash } = await cluster.drive(client.role.put(content));
    const remover = cluster.client();
    let isFirst = true;
    async function* source(): AsyncIterable<Uint8Array> {
      yield content;
      if (!isFirst) return;
      isFirst = false;
      // The node has the object, and gives its receipt; this client's commit is held back.
      cluster.network.cut(client.ip, COORDINATOR_IP);
      cluster.clock.schedule(SECOND, () => void remover.role.rm(hash));
      cluster.clock.schedule(2 * SECOND, () => cluster.network.heal());
    }
    const stored = await cluster.drive(client.role.put(() => source(), { bytes: content.length }));
    await cluster.pass(5 * SECOND);
    expect(sameBytes(await cluster.drive(client.fetch(stored.hash)), content)).toBe(true);
    await cluster.close();
  });

  test.each([0, 1, 2, 3])(
    'where the commit arrives while the removal is on its way to the disk: an acknowledged put stays (seed 63 + %i)',
    async (step) => {
      const { cluster, client, content } = await open(63 + step, 1);
      const { hash } = await cluster.drive(client.role.put(content));
      await settled(cluster);
      const remover = cluster.client();
      await cluster.drive(remover.role.status());
      const { state } = cluster.coordinator;
      const commit = state.commit.bind(state);
      let removal: Promise<unknown> | undefined;
      // The removal's flush takes until the commit of the same object is there.
      state.commit = async (...args) => {
        state.commit = commit;
        await cluster.clock.sleep(SECOND);
        return commit(...args);
      };
      async function* source(): AsyncIterable<Uint8Array> {
        yield content;
        removal ??= remover.role.rm(hash);
        await cluster.clock.sleep(step * 50);
      }
      await cluster.drive(client.role.put(() => source(), { bytes: content.length }));
      await cluster.drive(removal!);
      await cluster.pass(5 * SECOND);
      // There, or removed: never in the catalog alone.
      const isKnown = cluster.coordinator.role!.whereIs(hashBytes(hash)) !== undefined;
      expect(cluster.nodes[0]!.holds(hash)).toBe(isKnown);
      if (isKnown) expect(sameBytes(await cluster.drive(client.fetch(hash)), content)).toBe(true);
      await cluster.close();
    },
  );
});

describe('many at once', () => {
  test('damaged objects, one more than a node keeps to report: it joins again, and all are known as lost', async () => {
    const warnings: string[] = [];
    const print = (line: string): void => {
      if (line.includes(' warn ')) warnings.push(line);
    };
    const { cluster, client } = await open(69, 1, { print });
    const { store, ip } = cluster.nodes[0]!;
    const hashes: string[] = [];
    for (let count = 0; count <= UNREPORTED_MAX; count++) {
      const { hash } = await cluster.drive(client.role.put(contentOf(cluster.random, 20)));
      store.corrupt(hashBytes(hash));
      hashes.push(hash);
    }
    // Nothing that the node reports arrives while all are read.
    const mend = cut(cluster, ip, COORDINATOR_IP, 1);
    // A failing get tries for a while: all at once, so that the node does not leave its coordinator meanwhile.
    const outcomes = await cluster.drive(Promise.allSettled(hashes.map((hash) => client.fetch(hash))));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toEqual([]);
    mend();
    await cluster.pass(30 * SECOND);
    expect(warnings.filter((line) => line.includes('too many objects are damaged'))).toHaveLength(1);
    for (const hash of hashes) {
      await expect(cluster.drive(client.role.whereIs(hash))).rejects.toMatchObject({
        code: 'GRAMLINE_CORRUPT',
      });
    }
    await cluster.close();
  });

  test('removals of one object that arrive together: one succeeds, and the totals stay true', async () => {
    const { cluster, client, content } = await open(70, 1);
    const { hash } = await cluster.drive(client.role.put(content));
    // Queries of one tick share a datagram.
    const removals = [1, 2, 3, 4].map(() => client.role.rm(hash));
    const answers = await cluster.drive(Promise.allSettled(removals));
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await cluster.drive(client.role.status())).toMatchObject({ objects: 0, bytes: 0 });
    await cluster.drive(Promise.all([1, 2, 3].map(() => client.role.put(content))));
    expect(await cluster.drive(client.role.status())).toMatchObject({ objects: 1, bytes: content.length });
    await cluster.close();
  });

  test('a thousand reservations where there is room for a hundred: exactly a hundred', async () => {
    const { cluster, client } = await open(71, 4, { quotaBytes: 25 * 10_240 });
    const asked = Array.from({ length: 1_000 }, () =>
      client.role.whereTo(10_000).then(
        () => 'granted',
        (error: { code: string }) => error.code,
      ),
    );
    const answers = await cluster.drive(Promise.all(asked));
    expect(answers.filter((answer) => answer === 'granted')).toHaveLength(100);
    expect(answers.filter((answer) => answer === 'GRAMLINE_NO_SPACE')).toHaveLength(900);
    const { nodes } = await cluster.drive(client.role.status());
    expect(nodes.map(({ freeBytes }) => freeBytes)).toEqual([0, 0, 0, 0]);
    expect(cluster.coordinator.role!.reservations).toBe(100);
    await cluster.pass(32 * SECOND);
    expect(cluster.coordinator.role!.reservations).toBe(0);
    await cluster.close();
  });

  test('two hundred gets by one client: all succeed or say busy, and none stays open anywhere', async () => {
    const { cluster, client, content } = await open(72, 1);
    const { hash } = await cluster.drive(client.role.put(content));
    const gets = Array.from({ length: 200 }, () =>
      client.fetch(hash).then(
        (bytes) => (sameBytes(bytes, content) ? 'same' : 'other'),
        (error: { code: string }) => error.code,
      ),
    );
    const answers = new Set(await cluster.drive(Promise.all(gets)));
    answers.delete('same');
    answers.delete('GRAMLINE_BUSY');
    expect([...answers]).toEqual([]);
    await cluster.pass(2 * SECOND);
    const { transport } = cluster.nodes[0]!;
    for (const { session } of transport!.connections) {
      expect(session.memory.keptBytes).toBe(0);
      expect(cluster.sessions.sendingFlows(session)).toBe(0);
    }
    expect(client.transport!.creditTakenBytes).toBe(0);
    await cluster.close();
  });

  test('gets that callers may abort connect at the same time: one session is left, and it ends with the client', async () => {
    const { cluster, client, content } = await open(73, 1);
    const { hash } = await cluster.drive(client.role.put(content));
    const fresh = cluster.client();
    const get = async (): Promise<number> => {
      let bytes = 0;
      for await (const part of fresh.role.get(hash, { signal: new AbortController().signal }))
        bytes += part.length;
      return bytes;
    };
    expect(await cluster.drive(Promise.all([get(), get(), get()]))).toEqual([200_000, 200_000, 200_000]);
    await cluster.pass(SECOND);
    // One to the coordinator, one to the node.
    expect(fresh.transport!.connections.size).toBe(2);
    await cluster.close();
  });
});
