/** Found by seed 3005: a commit that waits behind one that fails has counted it already. */

import { expect, test } from 'vitest';
import { checkTotals, Violations } from '../../sim/checkers.ts';
import { SimDisk } from '../../sim/disk.ts';
import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { Random } from '../../sim/random.ts';
import { Catalog } from '../../src/nodes/catalog.ts';

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

/** A store whose totals count an object of 100 bytes that is not there, beside one of 200 that is. */
async function miscounted(): Promise<{ state: MemoryStateStore; disk: HeldDisk }> {
  const disk = new HeldDisk();
  const state = new MemoryStateStore({ clusterId: new Uint8Array(16), disk });
  const catalog = new Catalog(state);
  await catalog.load(async () => false);
  state.fail(true);
  const failed = catalog.commit(hash(1), 100, [NODE], 0).catch((error: { code: string }) => error.code);
  await disk.go();
  const kept = catalog.commit(hash(2), 200, [NODE], 0);
  state.fail(false);
  await disk.go(3);
  expect([await failed, await kept]).toEqual(['GRAMLINE_IO', 'created']);
  // Nobody has mended the totals yet.
  state.crash();
  return { state: state.reopen(), disk };
}

function isTrue(state: MemoryStateStore, catalog: Catalog): boolean {
  const violations = new Violations();
  checkTotals(violations, state, catalog.totals);
  return violations.first === undefined;
}

test('totals that count a commit which failed are counted anew after a crash', async () => {
  const { state, disk } = await miscounted();
  const catalog = new Catalog(state);
  expect(catalog.totals).toEqual({ objects: 2, bytes: 300 });
  await catalog.load(async () => false);
  expect(catalog.totals).toEqual({ objects: 1, bytes: 200 });
  const mended = catalog.mendTotals();
  await disk.go(2);
  await mended;
  expect(isTrue(state, catalog)).toBe(true);
});

test('and so they are when changes are under way as the catalog has been read', async () => {
  const { state, disk } = await miscounted();
  const catalog = new Catalog(state);
  const changes = [catalog.commit(hash(3), 50, [NODE], 0), catalog.remove(hash(2), 0)];
  // The changes can be read, and are not answered.
  await disk.go();
  await catalog.load(async () => false);
  await disk.go();
  await Promise.all(changes);
  expect(catalog.totals).toEqual({ objects: 1, bytes: 50 });
  const mended = catalog.mendTotals();
  await disk.go(2);
  await mended;
  expect(isTrue(state, catalog)).toBe(true);
});
