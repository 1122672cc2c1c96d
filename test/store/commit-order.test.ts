import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CommitOrder, type Turn } from '../../src/store/commit-order.ts';

interface Access {
  readonly reads: readonly string[];
  readonly writes: readonly string[];
}

function conflicts(one: Access, two: Access): boolean {
  const touches = (left: readonly string[], right: readonly string[]) =>
    left.some((name) => right.includes(name));
  return touches(one.writes, two.writes) || touches(one.writes, two.reads) || touches(one.reads, two.writes);
}

function orderOf(accesses: readonly Access[]): CommitOrder<Access> {
  const order = new CommitOrder<Access>();
  for (const access of accesses) order.add(access, access.reads, access.writes);
  return order;
}

function takeAll(order: CommitOrder<Access>): Turn<Access>[] {
  const taken: Turn<Access>[] = [];
  for (let next = order.take(); next !== undefined; next = order.take()) taken.push(next);
  return taken;
}

function commitsOf(turns: readonly Turn<Access>[]): Access[] {
  return turns.map(({ commit }) => commit);
}

describe('the order of commits', () => {
  test('lets commits of different keys, and those that only compare, go together', () => {
    const [a, b, c] = [
      { reads: ['epoch', 'a'], writes: ['a'] },
      { reads: ['epoch', 'b'], writes: ['b'] },
      { reads: ['epoch', 'epoch'], writes: [] },
    ];
    const order = orderOf([a, b, c]);
    expect(order.ready).toBe(3);
    expect(order.peek()).toBe(a);
    expect(commitsOf(takeAll(order))).toEqual([a, b, c]);
    expect([order.ready, order.peek(), order.take()]).toEqual([0, undefined, undefined]);
  });

  test('has a commit that writes wait for those that compare, and others for it', () => {
    const [one, two, taking, three] = [
      { reads: ['epoch'], writes: ['a'] },
      { reads: ['epoch'], writes: ['b'] },
      { reads: ['epoch'], writes: ['epoch'] },
      { reads: ['epoch'], writes: ['c'] },
    ];
    const order = orderOf([one, two, taking, three]);
    const first = takeAll(order);
    expect(commitsOf(first)).toEqual([one, two]);
    order.done(first[0]!);
    expect(order.ready).toBe(0);
    order.done(first[1]!);
    const second = takeAll(order);
    expect(commitsOf(second)).toEqual([taking]);
    order.done(second[0]!);
    expect(commitsOf(takeAll(order))).toEqual([three]);
  });

  test('never lets two go together that touch, keeps their order, and forgets nobody', () => {
    const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const access: fc.Arbitrary<Access> = fc.record({
      reads: fc.array(name, { maxLength: 3 }),
      writes: fc.uniqueArray(name, { maxLength: 2 }),
    });
    // What is done next: an index into those under way, or the next are taken.
    const steps = fc.array(fc.nat({ max: 9 }), { minLength: 40, maxLength: 40 });
    fc.assert(
      fc.property(
        fc.array(access, { maxLength: 20 }),
        steps,
        fc.nat({ max: 20 }),
        (accesses, picks, first) => {
          const order = orderOf(accesses.slice(0, first));
          const underWay: Turn<Access>[] = [];
          const finished = new Set<Access>();
          let added = Math.min(first, accesses.length);
          for (const pick of [...picks, ...new Array<number>(60).fill(0)]) {
            if (added < accesses.length && pick % 3 === 0) {
              const next = accesses[added++]!;
              order.add(next, next.reads, next.writes);
            }
            const taken = order.take();
            if (taken !== undefined) {
              const earlier = accesses.slice(0, accesses.indexOf(taken.commit));
              for (const other of earlier)
                if (conflicts(other, taken.commit)) expect(finished.has(other)).toBe(true);
              underWay.push(taken);
            } else if (underWay.length > 0) {
              const [done] = underWay.splice(pick % underWay.length, 1);
              finished.add(done!.commit);
              order.done(done!);
            }
          }
          expect(finished.size).toBe(accesses.length);
          // All that could go went: nobody waits without a reason.
          expect(order.ready).toBe(0);
        },
      ),
    );
  });

  test('lets go at once whoever nothing stands in the way of, as a plain look at all pairs says', () => {
    const name = fc.constantFrom('a', 'b', 'c', 'd');
    const access = fc.record({
      reads: fc.array(name, { maxLength: 2 }),
      writes: fc.uniqueArray(name, { maxLength: 2 }),
    });
    fc.assert(
      fc.property(fc.array(access, { maxLength: 15 }), (accesses) => {
        const free = accesses.filter(
          (one, index) => !accesses.slice(0, index).some((other) => conflicts(other, one)),
        );
        expect(new Set(commitsOf(takeAll(orderOf(accesses))))).toEqual(new Set(free));
      }),
    );
  });
});
