import { describe, expect, test } from 'vitest';
import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { changes, describeStateStore, type StateStoreHarness, textAt } from './state-store-contract.ts';

class MemoryHarness implements StateStoreHarness {
  store = new MemoryStateStore({ clusterId: new Uint8Array(16).fill(3) });
  #isFull = false;

  async restart() {
    await this.store.close();
    this.store = this.store.reopen();
    return this.store;
  }

  fail(full: boolean) {
    this.#isFull = full;
    this.store.fail(this.#isFull);
  }
}

describeStateStore('the state store in memory', async () => new MemoryHarness());

describe('faults of the state store in memory', () => {
  test('a crash loses the commits that were not answered and keeps those that were', async () => {
    const { store } = new MemoryHarness();
    await store.commit([], changes({ a: '1' }));
    const lost = store.commit([], changes({ b: '2' }));
    store.crash();
    await expect(lost).rejects.toMatchObject({ code: 'GRAMLINE_CLOSED' });
    const reopened = store.reopen();
    expect([reopened.revision, textAt(reopened, 'a'), textAt(reopened, 'b')]).toEqual([1, '1', undefined]);
  });

  test('a store that is open cannot be opened again', () => {
    const { store } = new MemoryHarness();
    expect(() => store.reopen()).toThrowError(expect.objectContaining({ code: 'GRAMLINE_IN_USE' }));
  });
});
