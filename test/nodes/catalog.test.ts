import { beforeEach, describe, expect, it } from 'vitest';
import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { Catalog, hasReplica } from '../../src/nodes/catalog.ts';
import { REPLICAS_MAX } from '../../src/wire/index.ts';

const hash = (n: number): Uint8Array => new Uint8Array(32).fill(n);
const node = (n: number): Uint8Array => new Uint8Array(16).fill(n);

let state: MemoryStateStore;
let catalog: Catalog;
beforeEach(() => {
  state = new MemoryStateStore({ clusterId: new Uint8Array(16) });
  catalog = new Catalog(state);
});

describe('the catalog', () => {
  it('keeps an entry with its replicas, size and the totals', async () => {
    expect(await catalog.create(hash(1), 500, [node(1), node(2)], 7)).toBe(true);
    const entry = catalog.lookup(hash(1))!;
    expect(entry).toMatchObject({ bytes: 500, createdMillis: 7, replicas: [node(1), node(2)] });
    expect(catalog.totals).toEqual({ objects: 1, bytes: 500 });
    expect(new Catalog(state).totals).toEqual({ objects: 1, bytes: 500 });
  });

  it('creates an entry once, however many race for it', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, n) => catalog.create(hash(1), 10, [node(n)], 0)),
    );
    expect(outcomes.filter((created) => created)).toHaveLength(1);
    expect(catalog.totals).toEqual({ objects: 1, bytes: 10 });
  });

  it('counts totals right when commits to many objects overlap', async () => {
    await Promise.all(Array.from({ length: 40 }, (_, n) => catalog.create(hash(n), n, [node(1)], 0)));
    await Promise.all([3, 4, 5].map((n) => catalog.remove(hash(n), 1)));
    const bytes = Array.from({ length: 40 }, (_, n) => n).reduce((sum, n) => sum + n, 0) - 12;
    expect(catalog.totals).toEqual({ objects: 37, bytes });
    expect(new Catalog(state).totals).toEqual(catalog.totals);
  });

  it('remembers what was removed, until it is stored again', async () => {
    await catalog.create(hash(1), 10, [node(1)], 0);
    expect((await catalog.remove(hash(1), 5))?.bytes).toBe(10);
    expect(await catalog.remove(hash(1), 5)).toBeUndefined();
    expect(catalog.lookup(hash(1))).toBeUndefined();
    expect(catalog.isRemoved(hash(1))).toBe(true);
    await catalog.create(hash(1), 10, [node(1)], 6);
    expect(catalog.isRemoved(hash(1))).toBe(false);
  });

  it('forgets tombstones after a month, not before', async () => {
    await catalog.create(hash(1), 10, [node(1)], 0);
    await catalog.remove(hash(1), 1_000);
    const month = 30 * 24 * 3_600_000;
    await catalog.sweepTombstones(1_000 + month);
    expect(catalog.isRemoved(hash(1))).toBe(true);
    await catalog.sweepTombstones(1_001 + month);
    expect(catalog.isRemoved(hash(1))).toBe(false);
  });

  it('adds replicas up to the maximum and strikes lost ones', async () => {
    await catalog.create(hash(1), 10, [node(1)], 0);
    await catalog.addReplicas(
      hash(1),
      Array.from({ length: REPLICAS_MAX + 1 }, (_, n) => node(n)),
    );
    expect(catalog.lookup(hash(1))!.replicas).toHaveLength(REPLICAS_MAX);
    expect(await catalog.removeReplica(hash(1), node(1))).toBe(true);
    expect(hasReplica(catalog.lookup(hash(1))!, node(1))).toBe(false);
    expect(await catalog.removeReplica(hash(1), node(99))).toBe(false);
  });

  it('does not strike a replica that was written after the node joined', async () => {
    const joined = catalog.revision;
    await catalog.create(hash(1), 10, [node(1)], 0);
    expect(await catalog.removeReplica(hash(1), node(1), joined)).toBe(false);
    expect(await catalog.removeReplica(hash(1), node(1), catalog.revision)).toBe(true);
  });

  it('lists what a node holds', async () => {
    await catalog.create(hash(1), 10, [node(1), node(2)], 0);
    await catalog.create(hash(2), 10, [node(2)], 0);
    expect([...catalog.heldBy(node(2))].map((held) => held.hash)).toEqual([hash(1), hash(2)]);
    expect([...catalog.heldBy(node(1))].map((held) => held.hash)).toEqual([hash(1)]);
  });
});
