/** Found by seed 3005: a commit that waited behind one that failed had counted it already. */

import { expect, test } from 'vitest';
import { checkTotals, Violations } from '../../sim/checkers.ts';
import { SimDisk } from '../../sim/disk.ts';
import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { Random } from '../../sim/random.ts';
import { Catalog, type NewReplicas } from '../../src/nodes/catalog.ts';
import { freshToken, removal } from '../nodes/tokens.ts';

const NODE = new Uint8Array(16).fill(1);
const hash = (first: number): Uint8Array => new Uint8Array(32).fill(first);

/** A disk that takes every step when it is told to. */
class HeldDisk extends SimDisk {
  readonly #waiting: (() => void)[] = [];

  constructor() {
    super({ wait: () => Promise.reject(new Error('not used')) }, new Random(1), true);
  }

  override step(): Promise<void> {
    return new Promise((go) => this.#waiting.push(go));
  }

  async go(steps = 1): Promise<void> {
    for (; steps > 0; steps--) {
      for (let turn = 0; turn < 30; turn++) await Promise.resolve();
      this.#waiting.shift()!();
    }
    for (let turn = 0; turn < 30; turn++) await Promise.resolve();
  }
}

/** A store in which a commit failed beside one that did not, and which crashed then. */
async function crashed(): Promise<{ state: MemoryStateStore; disk: HeldDisk }> {
  const disk = new HeldDisk();
  const state = new MemoryStateStore({ clusterId: new Uint8Array(16), disk });
  const catalog = new Catalog(state);
  await catalog.load(async () => false);
  state.fail(true);
  const failed = catalog.commit(object(1, 100)).catch((error: { code: string }) => error.code);
  await disk.go();
  const kept = catalog.commit(object(2, 200));
  state.fail(false);
  await disk.go(3);
  expect([await failed, await kept]).toEqual(['GRAMLINE_IO', 'created']);
  state.crash();
  return { state: state.reopen(), disk };
}

function object(first: number, bytes: number): NewReplicas {
  return { hash: hash(first), bytes, replicas: [NODE], wanted: 2, token: freshToken(), nowMillis: 0 };
}

test('totals do not count a commit that failed, after a crash either', async () => {
  const { state } = await crashed();
  const catalog = new Catalog(state);
  await catalog.load(async () => false);
  expect(catalog.totals).toEqual({ objects: 1, bytes: 200 });
  const violations = new Violations();
  checkTotals(violations, state, catalog.totals);
  expect(violations.first).toBeUndefined();
});

test('changes that become durable while the catalog is read are counted once', async () => {
  const { state, disk } = await crashed();
  const catalog = new Catalog(state);
  const changes = [catalog.commit(object(3, 50)), catalog.remove(hash(2), removal(0))];
  // The changes can be read, and are not answered.
  await disk.go();
  await catalog.load(async () => false);
  await disk.go();
  await Promise.all(changes);
  expect(catalog.totals).toEqual({ objects: 1, bytes: 50 });
});
