/** Empty records: they need no credit, and must not overtake the opening of their flow [SEG-6]. */

import { afterAll, describe, expect, it } from 'vitest';
import { collect, TestCluster } from '../support/cluster.ts';

/** The timers that would save a record which came too early take one to two seconds. */
const NO_TIMER_MILLIS = 900;

const cluster = await TestCluster.open({ nodes: 1 });
afterAll(() => cluster.close());

describe('an empty flow waits for no timer', () => {
  it('when a node without objects joins', async () => {
    const startedAt = performance.now();
    const node = await cluster.addNode(1);
    await node.joined;
    expect(performance.now() - startedAt).toBeLessThan(NO_TIMER_MILLIS);
  });

  it('when an empty object is stored and read', async () => {
    const app = cluster.client();
    await app.status();
    const startedAt = performance.now();
    const { hash, bytes, replicas } = await app.put(new Uint8Array(0));
    expect({ bytes, replicas }).toEqual({ bytes: 0, replicas: 2 });
    expect((await collect(app.get(hash))).length).toBe(0);
    expect(performance.now() - startedAt).toBeLessThan(NO_TIMER_MILLIS);
  });
});
