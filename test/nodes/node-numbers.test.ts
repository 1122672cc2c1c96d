import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { NODE_NUMBERS_MAX, NodeNumbers } from '../../src/nodes/node-numbers.ts';
import { Pace } from '../../src/nodes/pace.ts';

function id(prefix: number, rest: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, prefix);
  view.setUint32(12, rest);
  return bytes;
}

describe('numbers of nodes', () => {
  it('are one for each id, wherever it stands', () => {
    const numbers = new NodeNumbers();
    const inside = new Uint8Array(40);
    inside.set(id(7, 1), 5);
    expect([numbers.of(id(7, 1)), numbers.of(id(8, 1)), numbers.of(inside, 5)]).toEqual([0, 1, 0]);
    expect([numbers.id(0), numbers.size]).toEqual([id(7, 1), 2]);
  });

  it('tell ids apart that begin alike', () => {
    const numbers = new NodeNumbers();
    const given = [1, 2, 3, 2, 1, 3].map((rest) => numbers.of(id(7, rest)));
    expect(given).toEqual([0, 1, 2, 1, 0, 2]);
  });

  it('end at their maximum, and those that were given stay', () => {
    const numbers = new NodeNumbers();
    for (let n = 0; n < NODE_NUMBERS_MAX; n++) numbers.of(id(n, n));
    expect(numbers.of(id(1, 0))).toBeUndefined();
    expect(numbers.of(id(NODE_NUMBERS_MAX, 0))).toBeUndefined();
    expect(numbers.of(id(NODE_NUMBERS_MAX - 1, NODE_NUMBERS_MAX - 1))).toBe(NODE_NUMBERS_MAX - 1);
  });
});

describe('a pace', () => {
  it('lets work begin up to its maximum in one turn, and the rest in later ones', async () => {
    const clock = new VirtualClock();
    const pace = new Pace(clock, 10);
    const begun: number[] = [];
    const workers = Array.from({ length: 5 }, async (_, n) => {
      await pace.take(6);
      begun.push(n);
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(begun).toEqual([0, 1]);
    await clock.run({ until: () => begun.length > 2, stepsMax: 100 });
    await new Promise((resolve) => setImmediate(resolve));
    expect(begun).toEqual([0, 1, 2, 3]);
    await clock.run({ until: () => begun.length > 4, stepsMax: 100 });
    await Promise.all(workers);
  });
});
