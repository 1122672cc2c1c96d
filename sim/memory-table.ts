/** Ordered keys and values in memory, for the stores of the simulator. */

import { checkRange } from '../src/store/state-limits.ts';

/** Keys are strings of one character a byte: they sort like the bytes. */
export class MemoryTable {
  readonly #values: Map<string, Uint8Array>;
  readonly #sortedKeys: string[];

  constructor(from?: MemoryTable) {
    this.#values = new Map(from === undefined ? [] : from.#values);
    this.#sortedKeys = from === undefined ? [] : [...from.#sortedKeys];
  }

  /** The value, owned by the caller. */
  get(key: Uint8Array): Uint8Array | undefined {
    return this.#values.get(textOf(key))?.slice();
  }

  /** The value itself. */
  peek(key: string): Uint8Array | undefined {
    return this.#values.get(key);
  }

  range(start: Uint8Array, end: Uint8Array, limit: number): [Uint8Array, Uint8Array][] {
    checkRange(start, end);
    const endText = textOf(end);
    const found: [Uint8Array, Uint8Array][] = [];
    for (let index = this.#placeOf(textOf(start)); index < this.#sortedKeys.length; index++) {
      const key = this.#sortedKeys[index]!;
      if (key >= endText || found.length >= limit) break;
      found.push([bytesOf(key), this.#values.get(key)!.slice()]);
    }
    return found;
  }

  set(key: string, value: Uint8Array | undefined): void {
    const isThere = this.#values.has(key);
    if (value === undefined) {
      if (isThere) this.#sortedKeys.splice(this.#placeOf(key), 1);
      this.#values.delete(key);
      return;
    }
    if (!isThere) this.#sortedKeys.splice(this.#placeOf(key), 0, key);
    this.#values.set(key, value);
  }

  /** Index of the first key that is not less than `key`. */
  #placeOf(key: string): number {
    let low = 0;
    let high = this.#sortedKeys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sortedKeys[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

export function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}
