/**
 * Mutations: a byte string becomes another one that is nearly as valid.
 *
 * Most aim at a part that the target's layout names: a number at an edge of its range, an item
 * doubled, removed, moved or taken from another input. Stated lengths and counts follow most of the
 * time, so that the change is seen by more than the first length check. The rest are blind: bits,
 * runs cut out or put in, the end cut off.
 */

import type { Random } from '../../sim/random.ts';
import { concatBytes } from '../../src/base/bytes.ts';
import { type Field, type Item, type Layout, numberAt, putNumber } from './layout.ts';

/** Changes on top of one another in one input, at most. */
const CHANGES_MAX = 5;
/** Share of changes after which stated lengths and counts are set right. */
const FOLLOW_SHARE = 0.8;
/** Longest run that a blind change puts in or cuts out, beside the rest of the input. */
const RUN_BYTES_MAX = 40;
/** Edges that follow from no width: maxima of the protocol, and one more. */
const EDGES = [
  2, 3, 8, 9, 16, 19, 20, 21, 31, 32, 33, 59, 60, 80, 81, 200, 201, 1_023, 1_024, 1_025, 1_200, 4_096, 4_097,
  65_507, 65_508, 65_535, 65_536, 65_537, 65_571, 65_572, 1_048_576,
];
const BYTES = [0, 1, 0x7f, 0x80, 0xff, 0xc0, 0x20, 0x3a];

export interface MutationOptions {
  readonly random: Random;
  readonly layoutOf: (input: Uint8Array) => Layout;
  /** Another input of the same target, to take parts from. */
  readonly other: () => Uint8Array;
  readonly inputBytesMax: number;
}

/** `input` with one to {@link CHANGES_MAX} changes. */
export function mutated(input: Uint8Array, options: MutationOptions): Uint8Array {
  const { random, inputBytesMax } = options;
  let bytes: Uint8Array = input.slice();
  const changes = 1 + Math.floor(random.fraction() ** 2 * CHANGES_MAX);
  for (let change = 0; change < changes; change++) {
    bytes = changed(bytes, options);
    if (bytes.length > inputBytesMax) bytes = bytes.slice(0, inputBytesMax);
  }
  return bytes;
}

function changed(bytes: Uint8Array, options: MutationOptions): Uint8Array {
  const { random } = options;
  const layout = options.layoutOf(bytes);
  const numbers = layout.fields.filter(({ kind }) => kind === 'number');
  const choice = random.integer(10);
  const aim = choice < 4 ? numbers : choice < 7 ? layout.items : choice < 8 ? layout.fields : [];
  if (aim.length === 0) return blindly(bytes, layout, options);
  if (choice < 4) return withNumber(bytes, random.pick(numbers), numbers, random);
  if (choice < 7) return withItem(bytes, layout, options);
  return withField(bytes, layout, random);
}

// ---------------------------------------------------------------- numbers

function withNumber(bytes: Uint8Array, field: Field, numbers: readonly Field[], random: Random): Uint8Array {
  const width = Math.min(field.bytes, 6);
  const at = field.at + field.bytes - width;
  const max = 256 ** width - 1;
  const now = numberAt(bytes, at, width);
  putNumber(bytes, at, width, Math.min(Math.max(nextNumber(), 0), max));
  // The high bytes of a 64-bit number: its sign, and whether it is in the safe range.
  if (field.bytes > width) putNumber(bytes, field.at, 2, random.pick([0, 0, 0x1f, 0x20, 0xffff, 0x8000]));
  return bytes;

  function nextNumber(): number {
    switch (random.integer(7)) {
      case 0:
        return now + random.pick([-2, -1, 1, 2]);
      case 1:
        return random.pick([0, 1, max, max - 1, (max + 1) / 2, (max - 1) / 2]);
      case 2:
        return 2 ** random.integer(width * 8) + random.integer(3) - 1;
      case 3:
        return random.pick(EDGES);
      case 4:
        return bytes.length - at + random.integer(5) - 2;
      case 5: {
        const other = random.pick(numbers);
        return numberAt(bytes, other.at, Math.min(other.bytes, 6)) + random.integer(3) - 1;
      }
      default:
        return random.integer(max + 1);
    }
  }
}

// ---------------------------------------------------------------- items and fields

function withItem(bytes: Uint8Array, layout: Layout, options: MutationOptions): Uint8Array {
  const { random } = options;
  const item = random.pick(layout.items);
  const content = bytes.subarray(item.at, item.at + item.bytes);
  switch (random.integer(5)) {
    case 0:
      return spliced(bytes, layout, random, item.at, item.bytes, new Uint8Array(0), item, -1);
    case 1:
      return spliced(bytes, layout, random, item.at, 0, content.slice(), item, 1);
    case 2: {
      // Two of one kind change places where they are equally long; else the second one comes again first.
      const second = random.pick(layout.items);
      const other = bytes.slice(second.at, second.at + second.bytes);
      if (other.length !== content.length) return spliced(bytes, layout, random, item.at, 0, other, item, 1);
      bytes.copyWithin(second.at, item.at, item.at + content.length);
      bytes.set(other, item.at);
      return bytes;
    }
    case 3: {
      const times = 2 + random.integer(40);
      const many = concatBytes(...new Array<Uint8Array>(times).fill(content));
      return spliced(bytes, layout, random, item.at, 0, many, item, times);
    }
    default: {
      const donor = options.other();
      const parts = options.layoutOf(donor).items;
      if (parts.length === 0) return blindly(bytes, layout, options);
      const part = random.pick(parts);
      const taken = donor.slice(part.at, part.at + part.bytes);
      const replaces = random.chance(0.5);
      return spliced(
        bytes,
        layout,
        random,
        item.at,
        replaces ? item.bytes : 0,
        taken,
        item,
        replaces ? 0 : 1,
      );
    }
  }
}

function withField(bytes: Uint8Array, layout: Layout, random: Random): Uint8Array {
  const field = random.pick(layout.fields);
  const other = random.pick(layout.fields);
  if (random.chance(0.3)) {
    for (let index = 0; index < Math.min(field.bytes, other.bytes); index++) {
      bytes[field.at + index] = bytes[other.at + index] ?? 0;
    }
    return bytes;
  }
  if (field.kind === 'bytes' && random.chance(0.5)) {
    const shorter = random.integer(field.bytes + 1);
    return spliced(bytes, layout, random, field.at, shorter, run(random, random.integer(shorter + 3)));
  }
  const end = Math.min(field.at + field.bytes, bytes.length);
  const fill = random.pick(BYTES);
  for (let at = field.at; at < end; at++) bytes[at] = random.chance(0.1) ? random.integer(256) : fill;
  return bytes;
}

// ---------------------------------------------------------------- blind changes

function blindly(bytes: Uint8Array, layout: Layout, options: MutationOptions): Uint8Array {
  const { random } = options;
  if (bytes.length === 0) return run(random, 1 + random.integer(RUN_BYTES_MAX));
  const at = random.integer(bytes.length);
  switch (random.integer(7)) {
    case 0:
      bytes[at] = bytes[at]! ^ (1 << random.integer(8));
      return bytes;
    case 1:
      bytes[at] = random.chance(0.5) ? random.pick(BYTES) : random.integer(256);
      return bytes;
    case 2:
      return bytes.slice(0, at);
    case 3:
      return concatBytes(bytes, run(random, 1 + random.integer(RUN_BYTES_MAX)));
    case 4:
      return spliced(bytes, layout, random, at, 1 + random.integer(RUN_BYTES_MAX), new Uint8Array(0));
    case 5:
      return spliced(bytes, layout, random, at, 0, run(random, 1 + random.integer(RUN_BYTES_MAX)));
    default: {
      // The front of this one, the end of another.
      const donor = options.other();
      const from = random.chance(0.5) ? Math.min(at, donor.length) : random.integer(donor.length + 1);
      return concatBytes(bytes.subarray(0, at), donor.subarray(from));
    }
  }
}

function run(random: Random, bytes: number): Uint8Array {
  if (random.chance(0.5)) return random.bytes(bytes);
  return new Uint8Array(bytes).fill(random.pick(BYTES));
}

/** `bytes` without one of their items; lengths and counts that are stated follow. */
export function withoutItem(bytes: Uint8Array, layout: Layout, item: Item): Uint8Array {
  return replaced(bytes.slice(), layout, item.at, item.bytes, new Uint8Array(0), item, -1);
}

/** Cuts `cut` bytes at `at` and puts `insert` there; what states a length or the count of `item` mostly follows. */
function spliced(
  bytes: Uint8Array,
  layout: Layout,
  random: Random,
  at: number,
  cut: number,
  insert: Uint8Array,
  item?: Item,
  more = 0,
): Uint8Array {
  if (random.chance(FOLLOW_SHARE)) return replaced(bytes, layout, at, cut, insert, item, more);
  return concatBytes(bytes.subarray(0, at), insert, bytes.subarray(at + cut));
}

function replaced(
  bytes: Uint8Array,
  layout: Layout,
  at: number,
  cut: number,
  insert: Uint8Array,
  item: Item | undefined,
  more: number,
): Uint8Array {
  const removed = Math.min(cut, bytes.length - at);
  const delta = insert.length - removed;
  for (const length of layout.lengths) {
    if (at < length.start || at + removed > length.end || (at === length.end && removed === 0)) continue;
    const stated = numberAt(bytes, length.at, length.bytes) + delta;
    putNumber(bytes, length.at, length.bytes, Math.max(0, stated));
  }
  if (item?.countAt !== undefined) {
    putNumber(bytes, item.countAt, 1, Math.max(0, numberAt(bytes, item.countAt, 1) + more));
  }
  return concatBytes(bytes.subarray(0, at), insert, bytes.subarray(at + removed));
}
