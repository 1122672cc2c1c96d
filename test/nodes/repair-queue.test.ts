import { beforeEach, describe, expect, it } from 'vitest';
import { micros } from '../../src/base/units.ts';
import { RepairQueue } from '../../src/nodes/repair-queue.ts';

const MAX = 4;
const NOW = micros(1_000);

function hash(fill: number): Uint8Array {
  return new Uint8Array(32).fill(fill);
}

let queue: RepairQueue;
beforeEach(() => {
  queue = new RepairQueue(MAX);
});

function takeAll(now = NOW): (number | undefined)[] {
  const taken: (number | undefined)[] = [];
  for (let next = queue.take(now); next !== undefined; next = queue.take(now)) taken.push(next[0]);
  return taken;
}

describe('the queue of repair', () => {
  it('gives those with the fewest replicas first, then what leaves, then what is too much and due [REP-2]', () => {
    queue.addSurplus(hash(1), NOW);
    queue.addLeaving(hash(2));
    queue.addMissing(hash(3), 1);
    queue.addMissing(hash(4), 0);
    expect([queue.missing, queue.surplus]).toEqual([2, 2]);
    expect(takeAll()).toEqual([4, 3, 2, 1]);
  });

  it('leaves what is too much alone until it is due', () => {
    queue.addSurplus(hash(1), micros(NOW + 1));
    expect(takeAll()).toEqual([]);
    expect(queue.dueAt).toBe(NOW + 1);
    expect(takeAll(micros(NOW + 1))).toEqual([1]);
  });

  it('has an object once, whatever its need was before', () => {
    queue.addSurplus(hash(1), NOW);
    queue.addMissing(hash(1), 1);
    expect([queue.size, queue.missing, queue.surplus, queue.has(hash(1))]).toEqual([1, 1, 0, true]);
    queue.addSurplus(hash(1), NOW);
    expect([queue.size, queue.missing, queue.surplus]).toEqual([1, 0, 1]);
    queue.remove(hash(1));
    expect([queue.size, queue.has(hash(1))]).toEqual([0, false]);
  });

  it('moves an object whose need has changed, and forgets one that has none', () => {
    queue.addMissing(hash(1), 1);
    queue.addMissing(hash(2), 1);
    queue.addMissing(hash(2), 0);
    queue.remove(hash(1));
    expect(queue.size).toBe(1);
    expect(takeAll()).toEqual([2]);
  });

  it('is full at its maximum: one more takes the place of what is needed least, or is forgotten', () => {
    for (let fill = 1; fill <= MAX; fill++) queue.addMissing(hash(fill), 2);
    expect(queue.takeForgotten()).toBe(false);
    queue.addMissing(hash(9), 3);
    queue.addLeaving(hash(8));
    queue.addSurplus(hash(7), NOW);
    expect([queue.size, queue.takeForgotten(), queue.takeForgotten()]).toEqual([MAX, true, false]);
    queue.addMissing(hash(6), 0);
    expect([queue.size, queue.takeForgotten()]).toEqual([MAX, true]);
    expect(takeAll()).toEqual([6, 2, 3, 4]);
  });
});
