import { afterEach, expect, test, vi } from 'vitest';
import { runSeed } from '../../sim/campaign.ts';
import { Invariant } from '../../sim/checkers.ts';
import { InvariantError } from '../../sim/cluster.ts';
import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { minimise } from '../../sim/minimise.ts';
import { utf8 } from '../../src/base/bytes.ts';

afterEach(() => vi.restoreAllMocks());

/** A disk that lies: at every crash it has lost the first entry of the catalog. */
function lieAtCrashes(): void {
  const { reopen } = MemoryStateStore.prototype;
  vi.spyOn(MemoryStateStore.prototype, 'reopen').mockImplementation(function (this: MemoryStateStore) {
    const store = reopen.call(this);
    const { get } = store;
    const [entry] = store.range(utf8('o'), utf8('p'), 1);
    const lost = entry === undefined ? undefined : Buffer.from(entry[0]);
    store.get = (key) => (lost?.equals(key) ? undefined : get.call(store, key));
    return store;
  });
}

async function failureOf(seed: number): Promise<InvariantError | undefined> {
  try {
    await runSeed(seed);
  } catch (error) {
    if (error instanceof InvariantError) return error;
    throw error;
  }
  return undefined;
}

test('a failure is made small: the one crash and the one put that it takes, and it fails alike', {
  timeout: 120_000,
}, async () => {
  lieAtCrashes();
  let seed = 0;
  let error: InvariantError | undefined;
  while (error?.invariant !== Invariant.COMMIT_KEPT) {
    seed += 1;
    error = await failureOf(seed);
  }
  expect(error.operations.length).toBeGreaterThan(1);
  const small = await minimise(seed, {}, error);
  expect(small.faults).toHaveLength(1);
  expect(small.faults[0]).toMatch(/^coordinator-crash\.\d$/);
  expect(small.operations).toHaveLength(1);
  expect(small.options.faults).toEqual(['coordinator-crash']);
  expect(small.error.invariant).toBe(Invariant.COMMIT_KEPT);
  const [operation] = small.operations;
  expect(small.error.lines.some((line) => line.includes(`${operation}: put`))).toBe(true);
  expect(small.error.replay).toContain(`--seed ${seed} --faults coordinator-crash --without `);
  const again = runSeed(seed, small.options);
  await expect(again).rejects.toMatchObject({ summary: small.error.summary });
});

test('a failure that does not come again stays as it was', async () => {
  const error = new InvariantError(7, { invariant: Invariant.READABLE, detail: 'once' }, []);
  const { error: last, tries } = await minimise(7, { faults: ['state-full'] }, error);
  expect(last).toBe(error);
  expect(tries).toBeGreaterThan(0);
});
