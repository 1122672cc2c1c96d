/** What decoders are held against: equality, bounds on what they give back, and bytes behind the input. */

import { equalBytes } from '../../src/base/bytes.ts';
import { check } from './target.ts';

/** Bytes around an input that no decoder may look at. */
const MARGIN_BYTES = 32;

/** Whether two values are equal, byte arrays by content. */
export function same(left: unknown, right: unknown): boolean {
  if (Object.is(left, right) || left === right) return true;
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false;
  if (left instanceof Uint8Array) return right instanceof Uint8Array && equalBytes(left, right);
  if (Array.isArray(left)) {
    if (!Array.isArray(right) || left.length !== right.length) return false;
    return left.every((item, index) => same(item, right[index]));
  }
  const names = Object.keys(left);
  if (names.length !== Object.keys(right).length) return false;
  return names.every((name) => Object.hasOwn(right, name) && same(left[name as never], right[name as never]));
}

/**
 * What a decoder may give back for its input: byte fields and texts hold no more than the input does,
 * lists have no more items than it has bytes, and no field keeps a larger buffer alive but the input's.
 */
export function checkBounded(result: unknown, input: Uint8Array): void {
  let heldBytes = 0;
  let items = 0;
  const weigh = (value: unknown): void => {
    if (value instanceof Uint8Array) {
      heldBytes += value.length;
      const isOwned = value.buffer.byteLength === value.length;
      check(isOwned || value.buffer === input.buffer, 'a field keeps a foreign buffer alive');
    } else if (typeof value === 'string') heldBytes += Buffer.byteLength(value);
    else if (Array.isArray(value)) {
      items += value.length;
      value.forEach(weigh);
    } else if (typeof value === 'object' && value !== null) Object.values(value).forEach(weigh);
  };
  weigh(result);
  check(heldBytes <= input.length, `${heldBytes} bytes came out of ${input.length}`);
  check(items <= input.length, `${items} items came out of ${input.length} bytes`);
}

/**
 * What `decode` makes of `input`, whatever stands in front of it and behind it. Throws when the
 * surroundings make a difference: then it read past the input.
 */
export function decodeInside<Result>(input: Uint8Array, decode: (bytes: Uint8Array) => Result): Result {
  const result = decode(surrounded(input, 0x00));
  check(same(result, decode(surrounded(input, 0xff))), 'the result depends on bytes outside the input');
  return result;
}

function surrounded(input: Uint8Array, byte: number): Uint8Array {
  const buffer = new Uint8Array(input.length + 2 * MARGIN_BYTES).fill(byte);
  buffer.set(input, MARGIN_BYTES);
  return buffer.subarray(MARGIN_BYTES, MARGIN_BYTES + input.length);
}
