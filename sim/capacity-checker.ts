/** What the disks of nodes hold against their quotas. What a coordinator promises is `lease-checker.ts`'s matter. */

import { toHex } from '../src/base/bytes.ts';
import type { ObjectStore } from '../src/nodes/ports.ts';
import { quotaBytesOf } from '../src/store/object-file.ts';
import { Invariant, type SessionChecker, type Violations } from './checkers.ts';

/** Judges {@link Invariant.WITHIN_CAPACITY} on stores, at every change, and effects of STORE queries. */
export class CapacityChecker {
  readonly #violations: Violations;
  readonly #sessions: SessionChecker;
  /** Bytes of the writers that are open, by store. */
  readonly #writing = new WeakMap<ObjectStore, number>();

  constructor(violations: Violations, sessions: SessionChecker) {
    this.#violations = violations;
    this.#sessions = sessions;
  }

  /** Patches `store` so that its writers are counted and judged. */
  watch(store: ObjectStore, name: string): void {
    const { create } = store;
    const add = (bytes: number): void => {
      this.#writing.set(store, (this.#writing.get(store) ?? 0) + bytes);
      this.check(store, name);
    };
    store.create = async (token, bytes) => {
      const writer = await create.call(store, token, bytes);
      this.#sessions.onEffect(`store ${name} ${toHex(token)}`);
      const accounted = quotaBytesOf(bytes);
      let isOpen = true;
      const end = (): void => {
        if (isOpen) add(-accounted);
        isOpen = false;
      };
      const { finish, abort } = writer;
      // The port says what is visible after `finish`; until then it is being written.
      writer.finish = (expected) => finish.call(writer, expected).finally(end);
      writer.abort = () => abort.call(writer).finally(end);
      add(accounted);
      return writer;
    };
  }

  check(store: ObjectStore, name: string): void {
    let stored = 0;
    for (const { bytes } of store.inventory()) stored += quotaBytesOf(bytes);
    this.judge(name, stored, this.#writing.get(store) ?? 0, store.quotaBytes);
  }

  judge(name: string, storedBytes: number, writingBytes: number, quotaBytes: number): void {
    // An object that is just being published counts in both sums: the store itself counts it once.
    if (storedBytes <= quotaBytes && writingBytes <= quotaBytes) return;
    this.#violations.report(
      Invariant.WITHIN_CAPACITY,
      `${name}: ${storedBytes} bytes stored and ${writingBytes} being stored, of ${quotaBytes}`,
    );
  }
}
