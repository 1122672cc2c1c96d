/** Entries of the state that have had their time, removed many at once; what fails stays for the next try. */

import { toHex } from '../base/bytes.ts';
import type { StateWriter } from './state-writer.ts';

/** Entries of one commit. */
const REMOVALS_PER_COMMIT_MAX = 64;

export class Removals {
  readonly #writer: StateWriter;
  /** By key in hex: as many as there are entries of the kind at most. */
  readonly #keys = new Map<string, Uint8Array>();
  #flushing: Promise<void> | undefined;

  constructor(writer: StateWriter) {
    this.#writer = writer;
  }

  /** Entries that wait to be removed. */
  get size(): number {
    return this.#keys.size;
  }

  has(key: Uint8Array): boolean {
    return this.#keys.has(toHex(key));
  }

  /** Notes that an entry is to be removed. */
  add(key: Uint8Array): void {
    this.#keys.set(toHex(key), key);
  }

  /** Removes all that is noted; rejects when some of it could not be, which stays noted. */
  flush(): Promise<void> {
    this.#flushing ??= this.#removeAll().finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  async #removeAll(): Promise<void> {
    // What the rest of this turn notes goes along.
    await Promise.resolve();
    while (this.#keys.size > 0) {
      const page: (readonly [string, Uint8Array])[] = [];
      for (const entry of this.#keys) {
        page.push(entry);
        if (page.length === REMOVALS_PER_COMMIT_MAX) break;
      }
      const operations = page.map(([, key]) => ({ key, value: undefined }));
      await this.#writer.commit([], operations);
      for (const [name] of page) this.#keys.delete(name);
    }
  }
}
