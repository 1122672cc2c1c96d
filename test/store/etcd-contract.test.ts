/** The contract of all state stores, on real etcd processes. */

import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { ETCD_PROGRAM, EtcdProcesses, etcdCall } from '../../bench/etcd-processes.ts';
import type { StateStore } from '../../src/nodes/ports.ts';
import { ETCD_COMPARISONS_MAX, openEtcdStateStore } from '../../src/store/etcd-state-store.ts';
import { describeStateStore, type StateStoreHarness } from './state-store-contract.ts';

/** A state of its own in an etcd that tests share. */
class EtcdHarness implements StateStoreHarness {
  readonly #etcd: EtcdProcesses;
  readonly #prefix = `test-${randomBytes(8).toString('hex')}/`;
  store!: StateStore;

  constructor(etcd: EtcdProcesses) {
    this.#etcd = etcd;
  }

  async open() {
    this.store = await openEtcdStateStore({ endpoints: this.#etcd.urls, prefix: this.#prefix });
    return this.store;
  }

  async restart() {
    await this.store.close();
    return this.open();
  }

  async fail(full: boolean) {
    const action = full ? 'ACTIVATE' : 'DEACTIVATE';
    await etcdCall(this.#etcd.urls[0]!, '/v3/maintenance/alarm', { action, alarm: 'NOSPACE' });
  }
}

for (const members of [1, 3]) {
  const name = `the state store in etcd, ${members === 1 ? 'one member' : 'three members'}`;
  if (ETCD_PROGRAM === undefined) {
    describe(name, () => {
      test.skip('skipped: etcd is not installed', () => undefined);
    });
    continue;
  }
  describe(name, () => {
    let etcd: EtcdProcesses;
    beforeAll(async () => {
      etcd = await EtcdProcesses.start({ members });
    });
    afterAll(() => etcd?.stop());
    describeStateStore(
      'the contract',
      async () => {
        const harness = new EtcdHarness(etcd);
        await harness.open();
        return harness;
      },
      { countsCommits: false, comparisonsMax: ETCD_COMPARISONS_MAX },
    );
  });
}
