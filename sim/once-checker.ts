/** Whether what a client asked for once was done once, however often it was repeated: judges `Invariant.QUERY_ONCE`. */

import { equalBytes, toHex } from '../src/base/bytes.ts';
import { decodeEntry, decodeTombstone, NO_TOKEN } from '../src/nodes/catalog-entry.ts';
import { isBehind, OBJECT_PREFIX, TOMBSTONE_PREFIX } from '../src/nodes/state-keys.ts';
import { Invariant, type Violations } from './checkers.ts';

/** One change of the state. */
export interface SeenChange {
  readonly key: Uint8Array;
  readonly before: Uint8Array | undefined;
  readonly value: Uint8Array | undefined;
}

/** Follows a state that never goes back: what was committed there stays committed. */
export class OnceChecker {
  readonly #violations: Violations;
  /** Tokens of puts that made an object, and of removals that took one away. */
  readonly #done = new Set<string>();

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  onChange({ key, before, value }: SeenChange): void {
    if (value === undefined) return;
    if (isBehind(key, OBJECT_PREFIX) && before === undefined) {
      const { madeBy } = decodeEntry(value);
      if (!equalBytes(madeBy, NO_TOKEN)) this.#note(key, madeBy, 'made');
    }
    if (isBehind(key, TOMBSTONE_PREFIX)) this.#note(key, decodeTombstone(value).done.at(-1)!, 'removed');
  }

  #note(key: Uint8Array, token: Uint8Array, what: string): void {
    const name = `${toHex(key.subarray(1, 7))} was ${what} twice by ${toHex(token)}`;
    if (this.#done.has(name)) this.#violations.report(Invariant.QUERY_ONCE, name);
    this.#done.add(name);
  }
}
