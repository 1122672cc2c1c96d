import { describe, expect, test } from 'vitest';
import { type DiskStep, SimDisk } from '../../sim/disk.ts';
import { MemoryObjectStore } from '../../sim/memory-object-store.ts';
import { Random } from '../../sim/random.ts';
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

describe('the disk of the object store in memory', () => {
  /** A disk whose every step waits until it is told to go on. */
  class HeldDisk extends SimDisk {
    readonly #waiting: { readonly kind: DiskStep; readonly go: () => void }[] = [];
    holds: readonly DiskStep[] = [];

    constructor() {
      super({ wait: () => Promise.reject(new Error('not used')) }, new Random(1), true);
    }

    override step(kind: DiskStep): Promise<void> | undefined {
      if (!this.holds.includes(kind)) return undefined;
      return new Promise((go) => this.#waiting.push({ kind, go }));
    }

    /** Lets the oldest step go on, and what it waited for. */
    async go(): Promise<DiskStep | undefined> {
      const step = this.#waiting.shift();
      step?.go();
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      return step?.kind;
    }
  }

  function open(disk: HeldDisk): MemoryObjectStore {
    return new MemoryObjectStore({ nodeId: NODE_ID, quotaBytes: QUOTA_BYTES, wallMillis: () => 0, disk });
  }

  /** Begins to store four bytes, and lets `steps` steps of the disk pass. */
  async function begin(store: MemoryObjectStore, disk: HeldDisk, steps: number): Promise<void> {
    const writer = await store.create(TOKEN, 4);
    await writer.write(new Uint8Array(4));
    disk.holds = ['sync'];
    writer.finish().catch(() => undefined);
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    for (let step = 0; step < steps; step++) await disk.go();
  }

  // Flushed are, in order: the bytes, the marker, the name.
  test.each([
    ['machine', 0, 0],
    ['machine', 1, 0],
    ['machine', 2, 0],
    ['machine', 3, 1],
    ['process', 1, 0],
    ['process', 2, 1],
    ['process', 3, 1],
  ] as const)(
    'at the crash of a %s after %i flushes of a put, %i objects are there',
    async (kind, flushes, left) => {
      const disk = new HeldDisk();
      const store = open(disk);
      await begin(store, disk, flushes);
      // Nothing is visible before it is durable.
      expect(store.objects).toBe(flushes === 3 ? 1 : 0);
      expect([...store.inventory()]).toHaveLength(flushes === 3 ? 1 : 0);
      store.crash(kind);
      await disk.go();
      const reopened = store.reopen();
      expect([reopened.objects, reopened.pending().length]).toEqual([left, left]);
    },
  );

  test.each([
    ['machine', 1],
    ['process', 0],
  ] as const)(
    'a removal that was not flushed is undone by the crash of a machine (%s)',
    async (kind, left) => {
      const disk = new HeldDisk();
      const store = open(disk);
      const hash = await put(store, new Uint8Array(9));
      disk.holds = ['sync'];
      const removed = store.remove(hash).catch((error: { code: string }) => error.code);
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      expect(store.crash(kind)).toBe(left);
      await disk.go();
      expect(await removed).toBe('GRAMLINE_CLOSED');
      expect([...store.reopen().inventory()]).toHaveLength(left);
    },
  );

  test('reads and writes wait for a slow disk', async () => {
    const disk = new HeldDisk();
    const store = open(disk);
    const hash = await put(store, new Uint8Array(9));
    disk.holds = ['read', 'write'];
    let done = 0;
    const reader = store.open(hash);
    void reader.then(() => done++);
    expect([await disk.go(), done]).toEqual(['read', 1]);
    void (await reader)!.read(0, 9).then(() => done++);
    expect([done, await disk.go(), done]).toEqual([1, 'read', 2]);
    const writer = await store.create(TOKEN, 1);
    void writer.write(new Uint8Array(1)).then(() => done++);
    expect([done, await disk.go(), done]).toEqual([2, 'write', 3]);
  });
});
