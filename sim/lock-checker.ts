/** Who was told that he holds which lock: judges `Invariant.LOCK_ALONE` and `Invariant.FENCING_GROWS`. */

import type { HeldLock } from '../src/nodes/client.ts';
import { Invariant, type Violations } from './checkers.ts';

interface Holder {
  readonly who: string;
  readonly lock: Pick<HeldLock, 'isHeld' | 'shared' | 'fencing'>;
  /** Whether its clock has gone on all the time since it asked. */
  readonly isSure: () => boolean;
}

/** The greatest fencing tokens that were acknowledged for one lock. */
interface Granted {
  exclusive: number;
  any: number;
  holders: Holder[];
}

export class LockChecker {
  readonly #violations: Violations;
  readonly #locks = new Map<string, Granted>();

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  /** A client has been told that it holds a lock. `isSure` is asked whenever it is compared with others. */
  onHeld(who: string, lock: Holder['lock'] & { readonly name: string }, isSure: () => boolean): void {
    const { name, shared, fencing } = lock;
    const granted = this.#locks.get(name) ?? { exclusive: 0, any: 0, holders: [] };
    this.#locks.set(name, granted);
    if (!isSure()) return;
    granted.holders = granted.holders.filter((holder) => holder.lock.isHeld && holder.isSure());
    for (const other of granted.holders) {
      if (shared && other.lock.shared) continue;
      this.#violations.report(
        Invariant.LOCK_ALONE,
        `${who} holds ${name} under ${fencing}, and ${other.who} under ${other.lock.fencing}`,
      );
    }
    // [LOCK-4] Shared holders may be told in any order.
    const before = shared ? granted.exclusive : granted.any;
    if (fencing <= before) {
      this.#violations.report(
        Invariant.FENCING_GROWS,
        `${who} holds ${name} under ${fencing}, and ${before} was granted before`,
      );
    }
    granted.any = Math.max(granted.any, fencing);
    if (!shared) granted.exclusive = Math.max(granted.exclusive, fencing);
    granted.holders.push({ who, lock, isSure });
  }
}
