import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Micros, micros } from '../../src/base/units.ts';
import { type Lease, LeaseTable } from '../../src/nodes/leases.ts';

const token = (n: number): Uint8Array => new Uint8Array(8).fill(n);

function table(max = 10) {
  const expired: string[] = [];
  const leases = new LeaseTable<string>(max, (lease: Lease<string>) => expired.push(lease.value));
  return { leases, expired };
}

describe('a lease', () => {
  it('is held until its deadline and reported once when that passes', () => {
    const { leases, expired } = table();
    leases.hold(token(1), 'a', micros(100), 'x');
    leases.expire(micros(99));
    expect(leases.get(token(1))?.value).toBe('x');
    leases.expire(micros(100));
    leases.expire(micros(101));
    expect(leases.get(token(1))).toBeUndefined();
    expect(expired).toEqual(['x']);
  });

  it('that is finished never expires', () => {
    const { leases, expired } = table();
    leases.hold(token(1), 'a', micros(100), 'x');
    expect(leases.finish(token(1))?.value).toBe('x');
    expect(leases.finish(token(1))).toBeUndefined();
    leases.expire(micros(1_000));
    expect(expired).toEqual([]);
  });

  it('can be renewed while it is held and not after', () => {
    const { leases } = table();
    leases.hold(token(1), 'a', micros(100), 'x');
    expect(leases.renew(token(1), micros(200))).toBe(true);
    leases.expire(micros(150));
    expect(leases.size).toBe(1);
    leases.expire(micros(200));
    expect(leases.renew(token(1), micros(300))).toBe(false);
  });

  it('is not held twice under one token, nor beyond the maximum', () => {
    const { leases } = table(2);
    expect(leases.hold(token(1), 'a', micros(1), 'x')).toBeDefined();
    expect(leases.hold(token(1), 'b', micros(1), 'y')).toBeUndefined();
    expect(leases.hold(token(2), 'a', micros(1), 'x')).toBeDefined();
    expect(leases.hold(token(3), 'a', micros(1), 'x')).toBeUndefined();
    expect(leases.full).toBe(true);
  });

  it('goes through the same states as a plain list of deadlines does', () => {
    const step = fc.oneof(
      fc.record({
        op: fc.constantFrom('hold', 'renew', 'finish' as const),
        n: fc.nat(5),
        span: fc.integer({ min: 1, max: 50 }),
      }),
      fc.record({
        op: fc.constant('wait' as const),
        n: fc.constant(0),
        span: fc.integer({ min: 1, max: 50 }),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { leases } = table(4);
        const model = new Map<number, number>();
        let now = 0;
        for (const { op, n, span } of steps) {
          const at = micros(now + span) as Micros;
          if (op === 'wait') {
            now += span;
            leases.expire(micros(now));
            for (const [key, deadline] of model) if (deadline <= now) model.delete(key);
          } else if (op === 'hold') {
            const held = leases.hold(token(n), 'o', at, 'v') !== undefined;
            expect(held).toBe(!model.has(n) && model.size < 4);
            if (held) model.set(n, at);
          } else if (op === 'renew') {
            expect(leases.renew(token(n), at)).toBe(model.has(n));
            if (model.has(n)) model.set(n, at);
          } else {
            expect(leases.finish(token(n)) !== undefined).toBe(model.delete(n));
          }
          expect(leases.size).toBe(model.size);
        }
      }),
    );
  });
});

/** One input to a table, on the table and on its twin: a plain list. */
type Input = (leases: LeaseTable<string>, twin: Twin) => void;

const MAX = 2;

/** What a table of {@link MAX} leases does, in the plainest words. */
class Twin {
  now = 0;
  held: { readonly n: number; deadline: number }[] = [];
  readonly expired: number[] = [];

  get(n: number) {
    return this.held.find((lease) => lease.n === n);
  }

  hold(n: number, deadline: number): boolean {
    if (this.held.length === MAX || this.get(n) !== undefined) return false;
    return this.held.push({ n, deadline }) > 0;
  }

  renew(n: number, deadline: number): boolean {
    const lease = this.get(n);
    if (lease !== undefined) lease.deadline = deadline;
    return lease !== undefined;
  }

  finish(n: number): boolean {
    const had = this.get(n) !== undefined;
    this.held = this.held.filter((lease) => lease.n !== n);
    return had;
  }

  expire(): void {
    const over = this.held.filter(({ deadline }) => deadline <= this.now);
    this.held = this.held.filter(({ deadline }) => deadline > this.now);
    this.expired.push(...over.sort((left, right) => left.deadline - right.deadline).map(({ n }) => n));
  }
}

/** Every input there is: each operation on each of three tokens, and time. Deadlines are never two at a time. */
function inputs(): Input[] {
  const all: Input[] = [];
  for (const n of [1, 2, 3]) {
    for (const span of [10, 20, 30]) {
      const at = ({ now }: Twin): number => now + span + n;
      all.push((leases, twin) =>
        expect(leases.hold(token(n), '', micros(at(twin)), `${n}`) !== undefined).toBe(
          twin.hold(n, at(twin)),
        ),
      );
      all.push((leases, twin) =>
        expect(leases.renew(token(n), micros(at(twin)))).toBe(twin.renew(n, at(twin))),
      );
    }
    all.push((leases, twin) => expect(leases.finish(token(n)) !== undefined).toBe(twin.finish(n)));
  }
  for (const span of [10, 25]) {
    all.push((leases, twin) => {
      twin.now += span;
      leases.expire(micros(twin.now));
      twin.expire();
    });
  }
  return all;
}

/** All that can be seen of a table, and what is to be seen. */
function expectLike(leases: LeaseTable<string>, expired: readonly string[], twin: Twin): void {
  expect(expired).toEqual(twin.expired.map(String));
  expect([leases.size, leases.full]).toEqual([twin.held.length, twin.held.length === MAX]);
  expect(leases.oldest?.value).toBe(twin.held[0] === undefined ? undefined : `${twin.held[0].n}`);
  for (const n of [1, 2, 3]) expect(leases.get(token(n))?.deadline).toBe(twin.get(n)?.deadline);
}

describe('the lease table, in every state under every input', () => {
  it('does what a plain list does, whatever comes after whatever', () => {
    const all = inputs();
    const seen = new Map<string, readonly number[]>([['', []]]);
    // Each state that differs, by a shortest way to it: all inputs are tried in all of them.
    let transitions = 0;
    for (let frontier = [...seen.values()]; frontier.length > 0; ) {
      const next: (readonly number[])[] = [];
      for (const path of frontier) {
        for (const index of all.keys()) {
          const { leases, expired } = table(MAX);
          const twin = new Twin();
          for (const step of [...path, index]) all[step]!(leases, twin);
          expectLike(leases, expired, twin);
          transitions += 1;
          const state = twin.held.map(({ n, deadline }) => `${n}:${deadline - twin.now}`).join(' ');
          if (seen.has(state)) continue;
          seen.set(state, [...path, index]);
          next.push([...path, index]);
        }
      }
      frontier = next;
    }
    // No lease, one of three tokens, two of them in either order, at every distance from their deadlines.
    expect(seen.size).toBeGreaterThan(100);
    expect(transitions).toBe(seen.size * all.length);
  });

  it('keeps many in the order of their deadlines, whatever is renewed and finished between', () => {
    const span = fc.integer({ min: 0, max: 1_000_000 });
    const change = fc.tuple(fc.nat(199), fc.option(span, { nil: undefined }));
    fc.assert(
      fc.property(
        fc.uniqueArray(span, { minLength: 100, maxLength: 200 }),
        fc.array(change, { maxLength: 200 }),
        (deadlines, changes) => {
          const { leases, expired } = table(deadlines.length);
          const due = new Map<string, number>();
          for (const [n, deadline] of deadlines.entries()) {
            leases.hold(new Uint8Array([n]), '', micros(deadline), `${n}`);
            due.set(`${n}`, deadline);
          }
          for (const [n, deadline] of changes) {
            if (!due.has(`${n}`)) continue;
            if (deadline === undefined) leases.finish(new Uint8Array([n]));
            else leases.renew(new Uint8Array([n]), micros(deadline));
            if (deadline === undefined) due.delete(`${n}`);
            else due.set(`${n}`, deadline);
          }
          leases.expire(micros(1_000_000));
          expect(new Set(expired)).toEqual(new Set(due.keys()));
          const order = expired.map((n) => due.get(n)!);
          expect(order).toEqual(order.toSorted((left, right) => left - right));
        },
      ),
    );
  });
});
