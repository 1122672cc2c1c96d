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
