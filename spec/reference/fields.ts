/**
 * The slow twin of the codec, first part: how single fields look.
 *
 * It is written from the layouts alone, shares no code with `src/`, and works on plain lists of
 * numbers and on bigint, so that no trick of the fast codec can hide in it. It throws
 * {@link Refused} where bytes break a rule. For tests and for readers, never for traffic.
 */

/** Bytes that break a rule, or a value that no bytes can say. */
export class Refused extends Error {}

export function refuseUnless(condition: boolean, reason: string): asserts condition {
  if (!condition) throw new Refused(reason);
}

/** Bytes that are taken from the front, one after the other. */
export interface Input {
  readonly bytes: readonly number[];
  at: number;
}

/** How many bytes are left. */
export function left(input: Input): number {
  return input.bytes.length - input.at;
}

/** The next `count` bytes. */
export function take(input: Input, count: number): number[] {
  refuseUnless(count >= 0 && count <= left(input), 'truncated');
  const taken = input.bytes.slice(input.at, input.at + count);
  input.at += count;
  return taken;
}

/** One kind of field: a value to bytes, and bytes to a value. */
export interface Field<Value> {
  put(value: Value): number[];
  get(input: Input): Value;
}

/** Any field, where a table mixes them. */
// biome-ignore lint/suspicious/noExplicitAny: a table of fields of many types; each row is checked by its tests.
export type AnyField = Field<any>;

/** An unsigned number of `byteCount` bytes, most significant first. */
export function unsigned(byteCount: number): Field<number> {
  return {
    put(value) {
      let rest = BigInt(value);
      refuseUnless(rest >= 0n && rest < 256n ** BigInt(byteCount), 'number does not fit');
      const bytes: number[] = [];
      for (let count = 0; count < byteCount; count++) {
        bytes.unshift(Number(rest % 256n));
        rest /= 256n;
      }
      return bytes;
    },
    get: (input) => Number(sum(take(input, byteCount))),
  };
}

export const u8 = unsigned(1);
export const u16 = unsigned(2);
export const u32 = unsigned(4);
export const u48 = unsigned(6);

/** A signed 64-bit number in two's complement; only what JavaScript holds exactly is allowed. */
export const i64: Field<number> = {
  put(value) {
    const whole = BigInt(value);
    refuseUnless(isSafe(whole), 'not a safe integer');
    let rest = whole < 0n ? whole + 2n ** 64n : whole;
    const bytes: number[] = [];
    for (let count = 0; count < 8; count++) {
      bytes.unshift(Number(rest % 256n));
      rest /= 256n;
    }
    return bytes;
  },
  get(input) {
    const raw = sum(take(input, 8));
    const whole = raw >= 2n ** 63n ? raw - 2n ** 64n : raw;
    refuseUnless(isSafe(whole), 'not a safe integer');
    return Number(whole);
  },
};

/** A variable-length integer of RFC 9000 section 16, in its shortest form only. */
export const varint: Field<bigint> = {
  put(value) {
    const prefix = shortestPrefix(value);
    const byteCount = 2 ** prefix;
    const bytes: number[] = [];
    let rest = value + BigInt(prefix) * 2n ** BigInt(byteCount * 8 - 2);
    for (let count = 0; count < byteCount; count++) {
      bytes.unshift(Number(rest % 256n));
      rest /= 256n;
    }
    return bytes;
  },
  get(input) {
    refuseUnless(left(input) > 0, 'truncated');
    const prefix = Math.floor(input.bytes[input.at]! / 64);
    const byteCount = 2 ** prefix;
    const value = sum(take(input, byteCount)) % 2n ** BigInt(byteCount * 8 - 2);
    refuseUnless(shortestPrefix(value) === prefix, 'not minimal');
    return value;
  },
};

/** Exactly `byteCount` bytes. */
export function bytes(byteCount: number): Field<Uint8Array> {
  return {
    put(value) {
      refuseUnless(value.length === byteCount, 'another length');
      return [...value];
    },
    get: (input) => Uint8Array.from(take(input, byteCount)),
  };
}

/** All bytes but the last `behind`. */
export function restBut(behind: number): Field<Uint8Array> {
  return {
    put: (value) => [...value],
    get: (input) => Uint8Array.from(take(input, left(input) - behind)),
  };
}

/** A number in one byte that is one of `values`. */
export function oneOf(...values: readonly number[]): Field<number> {
  return {
    put(value) {
      refuseUnless(values.includes(value), 'unknown number');
      return u8.put(value);
    },
    get(input) {
      const value = u8.get(input);
      refuseUnless(values.includes(value), 'unknown number');
      return value;
    },
  };
}

/** No or yes: a byte that is 0 or 1. */
export const flag: Field<boolean> = {
  put: (value) => [value ? 1 : 0],
  get: (input) => oneOf(0, 1).get(input) === 1,
};

/** A text as UTF-8, its length in one byte in front, of at most `bytesMax` bytes. */
export function text(bytesMax: number): Field<string> {
  return {
    put(value) {
      const encoded = toUtf8(value);
      refuseUnless(encoded.length <= bytesMax, 'text too long');
      return [encoded.length, ...encoded];
    },
    get(input) {
      const encoded = take(input, u8.get(input));
      refuseUnless(encoded.length <= bytesMax, 'text too long');
      return fromUtf8(encoded);
    },
  };
}

/** Bytes with their length in two bytes in front, of at most `bytesMax` bytes. */
export function body(bytesMax: number): Field<Uint8Array> {
  return {
    put(value) {
      refuseUnless(value.length <= bytesMax, 'body too long');
      return [...u16.put(value.length), ...value];
    },
    get(input) {
      const length = u16.get(input);
      refuseUnless(length <= bytesMax, 'body too long');
      return Uint8Array.from(take(input, length));
    },
  };
}

/** A list with its number of items in one byte in front, of at most `itemsMax` items. */
export function list<Item>(itemsMax: number, item: Field<Item>): Field<readonly Item[]> {
  return {
    put(value) {
      refuseUnless(value.length <= itemsMax, 'too many items');
      return [value.length, ...value.flatMap((entry) => item.put(entry))];
    },
    get(input) {
      const count = u8.get(input);
      refuseUnless(count <= itemsMax, 'too many items');
      const items: Item[] = [];
      while (items.length < count) items.push(item.get(input));
      return items;
    },
  };
}

/** A flag, and behind it the field if the flag says yes. */
export function optional<Value>(field: Field<Value>): Field<Value | undefined> {
  return {
    put: (value) => (value === undefined ? [0] : [1, ...field.put(value)]),
    get: (input) => (flag.get(input) ? field.get(input) : undefined),
  };
}

/** Named fields, one behind the other: a table of a layout. */
export function table<Value extends object>(
  rows: { readonly [Name in keyof Value]: Field<Value[Name]> },
): Field<Value> {
  const fields = Object.entries(rows) as [keyof Value, AnyField][];
  return {
    put: (value) => fields.flatMap(([name, field]) => field.put(value[name])),
    get(input) {
      const value: Partial<Value> = {};
      for (const [name, field] of fields) value[name] = field.get(input);
      return value as Value;
    },
  };
}

/** The value that is exactly these bytes, or undefined when they are refused. */
export function decodeAll<Value>(field: Field<Value>, encoded: readonly number[]): Value | undefined {
  return unlessRefused(() => {
    const input = { bytes: encoded, at: 0 };
    const value = field.get(input);
    refuseUnless(left(input) === 0, 'trailing bytes');
    return value;
  });
}

/** What `decode` returns, or undefined when it refuses. */
export function unlessRefused<Value>(decode: () => Value): Value | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof Refused) return undefined;
    throw error;
  }
}

function sum(digits: readonly number[]): bigint {
  return digits.reduce((value, digit) => value * 256n + BigInt(digit), 0n);
}

function isSafe(value: bigint): boolean {
  return value > -(2n ** 53n) && value < 2n ** 53n;
}

function shortestPrefix(value: bigint): number {
  refuseUnless(value >= 0n && value < 2n ** 62n, 'varint out of range');
  if (value < 2n ** 6n) return 0;
  if (value < 2n ** 14n) return 1;
  return value < 2n ** 30n ? 2 : 3;
}

/** UTF-8 by the table of RFC 3629 section 3. */
function toUtf8(value: string): number[] {
  const encoded: number[] = [];
  for (const character of value) {
    const point = character.codePointAt(0)!;
    refuseUnless(point < 0xd800 || point > 0xdfff, 'lone surrogate');
    const tail = (shift: number): number => 0x80 + (Math.floor(point / 2 ** shift) % 64);
    if (point < 0x80) encoded.push(point);
    else if (point < 0x800) encoded.push(0xc0 + Math.floor(point / 64), tail(0));
    else if (point < 0x1_0000) encoded.push(0xe0 + Math.floor(point / 4096), tail(6), tail(0));
    else encoded.push(0xf0 + Math.floor(point / 262_144), tail(12), tail(6), tail(0));
  }
  return encoded;
}

/** The same table backwards: refuses overlong forms, surrogates, and points above U+10FFFF. */
function fromUtf8(encoded: readonly number[]): string {
  let value = '';
  let at = 0;
  while (at < encoded.length) {
    const first = encoded[at]!;
    at += 1;
    let tails = 0;
    let point = first;
    if (first >= 0x80) {
      refuseUnless(first >= 0xc2 && first <= 0xf4, 'not UTF-8');
      tails = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
      point = first % 2 ** (6 - tails);
    }
    for (let count = 0; count < tails; count++) {
      const tail = encoded[at];
      refuseUnless(tail !== undefined && tail >= 0x80 && tail < 0xc0, 'not UTF-8');
      point = point * 64 + (tail - 0x80);
      at += 1;
    }
    const least = [0, 0x80, 0x800, 0x1_0000][tails]!;
    refuseUnless(point >= least && point <= 0x10_ffff, 'not UTF-8');
    refuseUnless(point < 0xd800 || point > 0xdfff, 'not UTF-8');
    value += String.fromCodePoint(point);
  }
  return value;
}
