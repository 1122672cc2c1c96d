/** Processes that die without a word, with kill -9. */

import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { makeSecret, openClient, openNode } from '../../src/index.ts';
import { NodeState } from '../../src/wire/index.ts';
import { ChildRole, type ChildSpec } from '../support/child-role.ts';
import { collect, eventually, TestCluster } from '../support/cluster.ts';
import { udpPorts } from '../support/process-resources.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(spec: ChildSpec): Promise<ChildRole> {
  const child = await ChildRole.start(spec);
  closers.push(() => child.kill());
  return child;
}

describe('a node that is killed in the middle of a get', () => {
  it('is replaced by the other replica, at the byte that was reached', async () => {
    const cluster = await TestCluster.open({ nodes: 0 });
    closers.push(() => cluster.close());
    const { secret, admissionSecret, address } = cluster;
    const children = await Promise.all(
      [0, 1].map((index) =>
        start({
          kind: 'node',
          secret,
          admissionSecret,
          coordinators: [address],
          directory: cluster.nodeDirectory(index),
          listen: '127.0.0.1:0',
          name: `child-${index}`,
        }),
      ),
    );
    const failures: string[] = [];
    const app = cluster.client({
      log: { info() {}, warn: (_text, fields) => failures.push(String(fields?.address)), error() {} },
    });
    const object = randomBytes(60_000_000);
    const { hash, replicas } = await app.put(object, { replicas: 2 });
    expect(replicas).toBe(2);

    const before = app.counts.bytesReceived;
    const digest = createHash('sha256');
    let at = 0;
    let victim: ChildRole | undefined;
    let lastAt = 0;
    let gapMillis = 0;
    for await (const part of app.get(hash)) {
      expect(object.subarray(at, at + part.length).equals(part)).toBe(true);
      digest.update(part);
      at += part.length;
      if (victim !== undefined) gapMillis = Math.max(gapMillis, performance.now() - lastAt);
      if (victim === undefined && at > 15_000_000) {
        victim = serving(children, cluster);
        await victim.kill();
      }
      lastAt = performance.now();
    }
    expect(at).toBe(object.length);
    expect(digest.digest('hex')).toBe(hash);
    expect(failures).toEqual([victim!.address]);
    // At the byte that was reached: nothing was fetched a second time.
    expect(app.counts.bytesReceived - before).toBeLessThan(object.length * 1.2);
    console.log(`the gap after kill -9 was ${gapMillis.toFixed(0)} ms`);
    expect(gapMillis).toBeLessThan(10_000);
  });
});

/** The child at the other end of the session that has received most. */
function serving(children: readonly ChildRole[], cluster: TestCluster): ChildRole {
  const connections = cluster.transports.flatMap((transport) => [...transport.connections]);
  const [busiest] = connections.sort((a, b) => b.counts.bytesReceived - a.counts.bytesReceived);
  return children.find((child) => udpPorts(child.pid).includes(busiest!.peerPort))!;
}

describe('a coordinator that is killed and started again', () => {
  it('has lost nothing that was committed, gets its nodes back and serves reads and writes', async () => {
    const root = await mkdtemp(join(tmpdir(), 'gramline-'));
    closers.push(() => rm(root, { recursive: true, force: true }));
    const secret = makeSecret();
    const spec = { kind: 'coordinator', secret, directory: join(root, 'hub') } as const;
    const first = await start({ ...spec, listen: '127.0.0.1:0' });
    const coordinators = [first.address];
    const nodes = await Promise.all(
      ['a', 'b'].map((name) =>
        openNode({ secret, coordinators, directory: join(root, name), listen: '127.0.0.1:0', name }),
      ),
    );
    closers.push(() => Promise.all(nodes.map((node) => node.close())));
    await Promise.all(nodes.map((node) => node.joined));
    const app = await openClient({ secret, coordinators });
    closers.push(() => app.close());
    const objects = [0, 1, 100_000, 3_000_000].map((bytes) => randomBytes(bytes));
    const stored = await Promise.all(objects.map((object) => app.put(object)));
    const revision = (await app.whereIs(stored[0]!.hash)).revision;

    await first.kill();
    const killedAt = performance.now();
    await start({ ...spec, listen: first.address });
    for (const { hash, bytes } of stored) {
      const places = await eventually('the object is known again', () =>
        // Until its nodes are back the coordinator says that it is busy, never that the object is lost.
        app.whereIs(hash).catch((error) => {
          expect(['GRAMLINE_BUSY', 'GRAMLINE_NO_COORDINATOR']).toContain(error.code);
          return undefined;
        }),
      );
      expect(places.bytes).toBe(bytes);
      expect(places.revision).toBeGreaterThanOrEqual(revision);
    }
    await eventually('both nodes are back', async () => {
      const status = await app.status();
      return status.nodes.filter((node) => node.state === NodeState.UP).length === 2;
    });
    console.log(`nodes were back ${(performance.now() - killedAt).toFixed(0)} ms after kill -9`);
    for (const [index, { hash }] of stored.entries()) {
      expect([...(await app.whereIs(hash))]).toHaveLength(2);
      expect((await collect(app.get(hash))).equals(objects[index]!)).toBe(true);
    }
    expect((await app.status()).objects).toBe(objects.length);
    const later = await app.put(randomBytes(10_000));
    expect(later.replicas).toBe(2);
  });
});
