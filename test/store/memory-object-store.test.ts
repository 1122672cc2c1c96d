import { describe, expect, test } from 'vitest';
import { MemoryObjectStore } from '../../sim/memory-object-store.ts';
import { describeObjectStore, type ObjectStoreHarness, QUOTA_BYTES } from './object-store-contract.ts';
import { put, TOKEN } from './support.ts';

const NODE_ID = new Uint8Array(16).fill(5);

class MemoryHarness implements ObjectStoreHarness {
  wallMillis = 0;
  store: MemoryObjectStore;

  constructor(quotaBytes: number) {
    this.store = new MemoryObjectStore({ nodeId: NODE_ID, quotaBytes, wallMillis: () => this.wallMillis });
  }

  async restart() {
    await this.store.close();
    this.store = this.store.reopen();
    return this.store;
  }

  async crash() {
    this.store.crash();
    this.store = this.store.reopen();
    return this.store;
  }

  async corrupt(hash: Uint8Array, offset: number) {
    this.store.corrupt(hash, offset);
  }

  fail(full: boolean) {
    this.store.fail(full);
  }
}

describeObjectStore('the object store in memory', async (quotaBytes) => new MemoryHarness(quotaBytes));

describe('faults of the object store in memory', () => {
  test('a crash while an object is being finished loses it', async () => {
    const { store } = new MemoryHarness(QUOTA_BYTES);
    const writer = await store.create(TOKEN, 4);
    await writer.write(new Uint8Array(4));
    const finished = writer.finish();
    store.crash();
    await expect(finished).rejects.toMatchObject({ code: 'GRAMLINE_CLOSED' });
    expect(store.reopen().objects).toBe(0);
  });

  test('a store that is open cannot be opened again', () => {
    const { store } = new MemoryHarness(QUOTA_BYTES);
    expect(() => store.reopen()).toThrowError(expect.objectContaining({ code: 'GRAMLINE_IN_USE' }));
  });

  test('a corrupt empty object is found when it is opened', async () => {
    const { store } = new MemoryHarness(QUOTA_BYTES);
    const hash = await put(store, new Uint8Array());
    store.corrupt(hash);
    await expect(store.open(hash)).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
  });
});
