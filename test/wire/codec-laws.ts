/** The laws that every codec keeps: written once, tested for packets, frames, records and messages. */

import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { anyBytes, damage, damaged } from './arbitraries.ts';

/** A codec beside its slow twin. `decode` and `twinDecode` return undefined where they refuse. */
export interface Subject<Value> {
  readonly arbitrary: fc.Arbitrary<Value>;
  size(value: Value): number;
  encode(value: Value): Uint8Array;
  decode(bytes: Uint8Array): unknown;
  twinEncode(value: Value): number[];
  twinDecode(bytes: readonly number[]): unknown;
  /** What `decode` returns for `value`, where it is not the value itself. */
  decoded?(value: Value): unknown;
}

/** Equal, byte arrays by content; a difference is shown as vitest shows it. */
export function expectSame(actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) expect(actual).toStrictEqual(expected);
}

/**
 * What a decoder may give back for `inputBytes` of input: byte fields and texts hold no more than
 * the input, lists have no more items than the input has bytes, and no field keeps alive a buffer
 * larger than itself unless it is the input's.
 */
export function expectBounded(result: unknown, input: Uint8Array): void {
  let heldBytes = 0;
  let items = 0;
  const weigh = (value: unknown): void => {
    if (value instanceof Uint8Array) {
      heldBytes += value.length;
      const owned = value.buffer.byteLength === value.length;
      if (!owned && value.buffer !== input.buffer) expect.fail('a field keeps a foreign buffer alive');
    } else if (typeof value === 'string') heldBytes += Buffer.byteLength(value);
    else if (Array.isArray(value)) {
      items += value.length;
      value.forEach(weigh);
    } else if (typeof value === 'object' && value !== null) Object.values(value).forEach(weigh);
  };
  weigh(result);
  expect(heldBytes).toBeLessThanOrEqual(input.length);
  expect(items).toBeLessThanOrEqual(input.length);
}

export function testCodecLaws<Value>(subject: Subject<Value>, runs = 200): void {
  const { arbitrary } = subject;
  const decodedOf = (value: Value): unknown => subject.decoded?.(value) ?? value;

  test('comes back as it was, takes the size it says, and has the bytes of the twin', () => {
    fc.assert(
      fc.property(arbitrary, (value) => {
        const encoded = subject.encode(value);
        expect(encoded.length).toBe(subject.size(value));
        expectSame([...encoded], subject.twinEncode(value));
        expectSame(subject.decode(encoded), decodedOf(value));
        expectSame(subject.twinDecode([...encoded]), decodedOf(value));
        expectBounded(subject.decode(encoded), encoded);
      }),
      { numRuns: runs },
    );
  });

  test('decides as the twin does about damaged bytes, never throws, and stays in bounds', () => {
    fc.assert(
      fc.property(arbitrary, damage, (value, changes) => {
        const bytes = damaged(subject.encode(value), changes);
        const result = subject.decode(bytes);
        expectSame(result, subject.twinDecode([...bytes]));
        expectBounded(result, bytes);
      }),
      { numRuns: runs * 5 },
    );
  });

  test('decides as the twin does about any bytes, never throws, and stays in bounds [PKT-16]', () => {
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        const result = subject.decode(bytes);
        expectSame(result, subject.twinDecode([...bytes]));
        expectBounded(result, bytes);
      }),
      { numRuns: runs },
    );
  });
}

/** For what is not open at its end: every shorter and every longer form is refused. */
export function testExactLength<Value>(
  subject: Subject<Value>,
  arbitrary: fc.Arbitrary<Value>,
  runs = 40,
): void {
  test('is refused when truncated at any byte [PKT-4]', () => {
    fc.assert(
      fc.property(arbitrary, (value) => {
        const encoded = subject.encode(value);
        for (let length = 0; length < encoded.length; length++) {
          if (subject.decode(encoded.slice(0, length)) !== undefined)
            expect.fail(`accepted at ${length} bytes`);
          // The bytes behind the cut must not be read either.
          if (subject.decode(encoded.subarray(0, length)) !== undefined)
            expect.fail(`read past ${length} bytes`);
        }
      }),
      { numRuns: runs },
    );
  });
}
