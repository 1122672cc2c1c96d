/**
 * Small numbers for node ids: 2 bytes instead of 16 wherever one is kept for each object. A number
 * is given for as long as the process runs, and means nothing outside it.
 */

import { toHex } from '../base/bytes.ts';
import { NODE_ID_BYTES } from '../wire/index.ts';

/** Node ids that get a number; of objects at further ones the catalog is asked instead of its index. */
export const NODE_NUMBERS_MAX = 65_536;

export class NodeNumbers {
  readonly #ids: Uint8Array[] = [];
  /** By the first 6 bytes of the id, which are random: the first id that has them. */
  readonly #byPrefix = new Map<number, number>();
  /** Ids whose first 6 bytes another one has, by the whole in hex. */
  readonly #others = new Map<string, number>();

  get size(): number {
    return this.#ids.length;
  }

  /**
   * The number of the id that stands in `bytes` at `at`, a new one where it has none; undefined when
   * all numbers are taken. The bytes are copied.
   */
  of(bytes: Uint8Array, at = 0): number | undefined {
    const prefix =
      ((bytes[at]! << 8) | bytes[at + 1]!) * 0x1_0000_0000 +
      (((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!) >>> 0);
    const first = this.#byPrefix.get(prefix);
    if (first !== undefined) {
      const id = this.#ids[first]!;
      let index = 6;
      while (index < id.length && id[index] === bytes[at + index]) index += 1;
      if (index === id.length) return first;
    }
    const id = new Uint8Array(bytes.subarray(at, at + NODE_ID_BYTES));
    if (first !== undefined) {
      const known = this.#others.get(toHex(id));
      if (known !== undefined) return known;
    }
    const number = this.#ids.length;
    if (number >= NODE_NUMBERS_MAX) return undefined;
    this.#ids.push(id);
    if (first === undefined) this.#byPrefix.set(prefix, number);
    else this.#others.set(toHex(id), number);
    return number;
  }

  /** The id that has this number. */
  id(number: number): Uint8Array {
    return this.#ids[number]!;
  }
}
