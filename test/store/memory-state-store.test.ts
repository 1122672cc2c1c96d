import { describe, expect, test } from 'vitest';
import { SimDisk } from '../../sim/disk.ts';
import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { Random } from '../../sim/random.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { micros } from '../../src/base/units.ts';
import { systemClock } from '../../src/udp/index.ts';
import { changes, describeStateStore, type StateStoreHarness, textAt } from './state-store-contract.ts';

class MemoryHarness implements StateStoreHarness {
  store = new MemoryStateStore({ clusterId: new Uint8Array(16).fill(3), clock: systemClock });
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

  test('what leases of a process kept goes with it', async () => {
    const { store } = new MemoryHarness();
    const lease = await store.lease(micros(60_000_000));
    await store.commit([], [{ key: new Uint8Array([1]), value: new Uint8Array(1), lease }]);
    store.crash();
    expect(store.reopen().get(new Uint8Array([1]))).toBeUndefined();
  });

  test('a store that is open cannot be opened again', () => {
    const { store } = new MemoryHarness();
    expect(() => store.reopen()).toThrowError(expect.objectContaining({ code: 'GRAMLINE_IN_USE' }));
  });
});

describe('the disk of the state store in memory', () => {
  const DELAY_MICROS = 1_000;

  /** A disk whose writes and flushes take the same time each. */
  class SteadyDisk extends SimDisk {
    readonly #clock: VirtualClock;

    constructor(clock: VirtualClock) {
      super({ wait: (span) => clock.sleep(span) }, new Random(1), true);
      this.#clock = clock;
    }

    override step(): Promise<void> {
      return this.#clock.sleep(DELAY_MICROS);
    }
  }

  function slowStore(clock: VirtualClock): MemoryStateStore {
    return new MemoryStateStore({ clusterId: new Uint8Array(16), disk: new SteadyDisk(clock) });
  }

  const at = (clock: VirtualClock, time: number) => clock.run({ untilMicros: micros(time), stepsMax: 10 });

  test('takes its time before a commit can be read, and again before it is answered', async () => {
    const clock = new VirtualClock();
    const store = slowStore(clock);
    const answers: string[] = [];
    void store.commit([], changes({ a: '1' })).then(() => answers.push('a'));
    await at(clock, DELAY_MICROS - 1);
    expect([textAt(store, 'a'), answers]).toEqual([undefined, []]);
    await at(clock, DELAY_MICROS);
    expect([textAt(store, 'a'), answers]).toEqual(['1', []]);
    // Those that come meanwhile share the next batch.
    void store.commit([], changes({ b: '2' })).then(() => answers.push('b'));
    void store.commit([], changes({ c: '3' })).then(() => answers.push('c'));
    await at(clock, 2 * DELAY_MICROS);
    expect([textAt(store, 'b'), answers]).toEqual([undefined, ['a']]);
    await at(clock, 4 * DELAY_MICROS);
    expect(answers).toEqual(['a', 'b', 'c']);
  });

  test.each([
    ['process', [1, '1', undefined]],
    ['machine', [0, undefined, undefined]],
  ] as const)('at the crash of a %s keeps of what was not flushed what it should', async (kind, kept) => {
    const clock = new VirtualClock();
    const store = slowStore(clock);
    const told = store.commit([], changes({ a: '1' })).catch((error: { code: string }) => error.code);
    await at(clock, DELAY_MICROS);
    const lost = store.commit([], changes({ b: '2' })).catch((error: { code: string }) => error.code);
    expect(store.crash(kind)).toBe(kind === 'machine');
    await at(clock, 10 * DELAY_MICROS);
    expect([await told, await lost]).toEqual(['GRAMLINE_CLOSED', 'GRAMLINE_CLOSED']);
    const reopened = store.reopen();
    expect([reopened.revision, textAt(reopened, 'a'), textAt(reopened, 'b')]).toEqual(kept);
  });

  test('a power failure takes back no batch that was answered, and all of the one that was not', async () => {
    const clock = new VirtualClock();
    const store = slowStore(clock);
    void store.commit([], changes({ a: '1', b: '1' }));
    await at(clock, 2 * DELAY_MICROS);
    const lost = Promise.allSettled([
      store.commit([], changes({ a: '2' })),
      store.commit([], [{ key: new TextEncoder().encode('b'), value: undefined }]),
      store.commit([], changes({ a: '3' })),
    ]);
    await at(clock, 3 * DELAY_MICROS);
    expect([textAt(store, 'a'), textAt(store, 'b'), store.revision]).toEqual(['3', undefined, 4]);
    store.crash('machine');
    const reopened = store.reopen();
    expect([textAt(reopened, 'a'), textAt(reopened, 'b'), reopened.revision]).toEqual(['1', '1', 1]);
    await at(clock, 10 * DELAY_MICROS);
    expect((await lost).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  });
});
