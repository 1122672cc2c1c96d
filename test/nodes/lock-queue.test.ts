import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { micros, millis } from '../../src/base/units.ts';
import { LOCK_PLACES_MAX, type LockPlace, LockQueues, PLACES_MAX } from '../../src/nodes/lock-queue.ts';
import {
  decodeLock,
  decodeLockKey,
  encodeLock,
  LOCK_NUMBER_KEY,
  type LockRecord,
  lockKey,
} from '../../src/nodes/lock-record.ts';

const NO_MORE = { ofLock: 0, ofAll: 0 };
const hash = (n: number): Uint8Array => new Uint8Array(32).fill(n);

function place(number: number, shared = false, name = 'a', leaseMillis = 1_000): LockRecord {
  return { name, number, tokenHash: hash(number), shared, leaseMillis };
}

function queues() {
  const expired: number[] = [];
  const all = new LockQueues(({ number }) => expired.push(number));
  return { all, expired };
}

/** Places `e` (exclusive) and `s` (shared) in order; numbers from 1. */
function filled(text: string): LockQueues {
  const { all } = queues();
  [...text].forEach((letter, index) => {
    all.add(micros(0), place(index + 1, letter === 's'));
  });
  return all;
}

const numbers = (places: readonly LockPlace[]): number[] => places.map(({ number }) => number);

describe('who holds a lock [LOCK-2]', () => {
  it.each([
    ['', []],
    ['e', [1]],
    ['ee', [1]],
    ['es', [1]],
    ['s', [1]],
    ['se', [1]],
    ['ss', [1, 2]],
    ['sse', [1, 2]],
    ['sses', [1, 2]],
    ['ses', [1]],
    ['ess', [1]],
    ['sss', [1, 2, 3]],
  ])('of the queue "%s" is %j', (text, holders) => {
    const all = filled(text);
    expect(numbers(all.holders('a'))).toEqual(holders);
    for (let number = 1; number <= text.length; number++) {
      const found = all.find('a', hash(number))!;
      expect([all.holds(found), all.ahead(found)]).toEqual([holders.includes(number), number - 1]);
    }
  });

  it('is as a plainly written twin says, in every queue of up to five, whoever goes first', () => {
    for (let length = 1; length <= 5; length++) {
      for (let kinds = 0; kinds < 1 << length; kinds++) {
        for (let gone = 0; gone < length; gone++) {
          const isShared = (number: number): boolean => (kinds & (1 << (number - 1))) !== 0;
          const { all } = queues();
          for (let number = 1; number <= length; number++)
            all.add(micros(0), place(number, isShared(number)));
          all.remove('a', gone + 1);
          const left = Array.from({ length }, (_, index) => index + 1).filter(
            (number) => number !== gone + 1,
          );
          const holds = left.filter((_number, index) => {
            return index === 0 || left.slice(0, index + 1).every(isShared);
          });
          expect(numbers(all.holders('a'))).toEqual(holds);
        }
      }
    }
  });

  it('is not one that is about to leave, which still stands in the way of others', () => {
    const all = filled('ee');
    const first = all.find('a', hash(1))!;
    all.leave(first);
    expect([all.stays(first), all.holds(first), all.renew(micros(1), first)]).toEqual([false, false, false]);
    expect(all.holds(all.find('a', hash(2))!)).toBe(false);
    all.remove('a', 1);
    expect(all.holds(all.find('a', hash(2))!)).toBe(true);
  });

  it('differs from lock to lock', () => {
    const { all } = queues();
    all.add(micros(0), place(1, false, 'a'));
    all.add(micros(0), place(2, false, 'b'));
    expect(numbers(all.holders('b'))).toEqual([2]);
    expect(all.find('b', hash(1))).toBeUndefined();
  });

  it('follows from the numbers, in whatever order places become known', () => {
    const { all } = queues();
    for (const number of [3, 1, 2, 2]) all.add(micros(0), place(number));
    expect([all.size, ...numbers(all.holders('a'))]).toEqual([3, 1]);
    all.remove('a', 9);
    all.remove('b', 1);
    expect(all.size).toBe(3);
  });
});

describe('the lease of a place [LOCK-3]', () => {
  it('ends by time, is told once, and leaves the place in its queue until it is removed', () => {
    const { all, expired } = queues();
    all.add(micros(0), place(1));
    all.add(micros(0), place(2));
    all.expire(millis(999));
    expect(expired).toEqual([]);
    expect(all.renew(millis(999), all.find('a', hash(2))!)).toBe(true);
    all.expire(millis(1_000));
    all.expire(millis(1_500));
    expect(expired).toEqual([1]);
    expect(numbers(all.holders('a'))).toEqual([1]);
    all.remove('a', 1);
    expect(all.holds(all.find('a', hash(2))!)).toBe(true);
    all.expire(millis(1_999));
    expect(expired).toEqual([1, 2]);
  });
});

describe('the room for places [LOCK-6]', () => {
  it('ends at 1,024 of one lock, those that are about to come among them', () => {
    const { all } = queues();
    for (let number = 1; number < LOCK_PLACES_MAX; number++) all.add(micros(0), place(number));
    expect(all.hasRoom('a', NO_MORE)).toBe(true);
    expect(all.hasRoom('a', { ofLock: 1, ofAll: 1 })).toBe(false);
    all.add(micros(0), place(LOCK_PLACES_MAX));
    expect([all.hasRoom('a', NO_MORE), all.hasRoom('b', NO_MORE)]).toEqual([false, true]);
    all.remove('a', 1);
    expect(all.hasRoom('a', NO_MORE)).toBe(true);
  });

  it('ends at 65,536 of all locks; one beyond is told to go', () => {
    const { all, expired } = queues();
    for (let number = 1; number < PLACES_MAX; number++) all.add(micros(0), place(number, false, `${number}`));
    expect(all.hasRoom('x', NO_MORE)).toBe(true);
    expect(all.hasRoom('x', { ofLock: 0, ofAll: 1 })).toBe(false);
    all.add(micros(0), place(PLACES_MAX, false, 'x'));
    expect(all.hasRoom('y', NO_MORE)).toBe(false);
    all.add(micros(0), place(PLACES_MAX + 1, false, 'y'));
    expect(expired).toEqual([PLACES_MAX + 1]);
  });
});

describe('the queues', () => {
  it('go through the same states as a plain list does', () => {
    const step = fc.record({
      op: fc.constantFrom('add', 'renew', 'leave', 'remove', 'wait'),
      number: fc.integer({ min: 1, max: 8 }),
      span: fc.integer({ min: 1, max: 700 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { all } = queues();
        /** By number: when the lease ends; undefined when it is about to leave. */
        const model = new Map<number, number | undefined>();
        let now = 0;
        const isShared = (number: number): boolean => number % 3 !== 0;
        for (const { op, number, span } of steps) {
          const at = micros(now * 1_000);
          const found = all.find('a', hash(number));
          expect(found !== undefined).toBe(model.has(number));
          if (op === 'wait') {
            now += span;
            all.expire(millis(now));
            for (const [key, deadline] of model) {
              if (deadline !== undefined && deadline <= now) model.set(key, undefined);
            }
          } else if (op === 'add') {
            all.add(at, place(number, isShared(number)));
            if (!model.has(number)) model.set(number, now + 1_000);
          } else if (op === 'remove') {
            all.remove('a', number);
            model.delete(number);
          } else if (found !== undefined && op === 'leave') {
            all.leave(found);
            model.set(number, undefined);
          } else if (found !== undefined) {
            const stays = model.get(number) !== undefined;
            expect(all.renew(at, found)).toBe(stays);
            if (stays) model.set(number, now + 1_000);
          }
          const order = [...model.keys()].sort((left, right) => left - right);
          for (const [index, key] of order.entries()) {
            const isFirst = index === 0 || order.slice(0, index + 1).every(isShared);
            const current = all.find('a', hash(key))!;
            expect(all.stays(current)).toBe(model.get(key) !== undefined);
            expect(all.holds(current)).toBe(isFirst && model.get(key) !== undefined);
          }
          expect(all.size).toBe(model.size);
        }
      }),
    );
  });
});

describe('a place in the state', () => {
  it('is read as it was written, and stands in the order of the queues', () => {
    const record = place(2 ** 40 + 5, true, 'naïve', 3_600_000);
    const key = lockKey(record.name, record.number);
    expect(decodeLock(key, encodeLock(record))).toEqual(record);
    expect(Buffer.compare(lockKey('a', 255), lockKey('a', 256))).toBe(-1);
    expect(Buffer.compare(lockKey('a', 2 ** 40), lockKey('b', 1))).toBe(-1);
  });

  it('is not the record of the last number, nor what is cut, or of another version', () => {
    const value = encodeLock(place(1));
    expect(decodeLockKey(LOCK_NUMBER_KEY)).toBeUndefined();
    expect(decodeLock(lockKey('a', 1).subarray(0, 7), value)).toBeUndefined();
    expect(decodeLock(lockKey('a', 1), value.subarray(1))).toBeUndefined();
    expect(decodeLock(lockKey('a', 1), Uint8Array.of(2, ...value.subarray(1)))).toBeUndefined();
    expect(decodeLock(Uint8Array.of(0x6c, 1), value)).toBeUndefined();
  });
});
