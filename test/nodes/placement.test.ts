import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Random } from '../../sim/random.ts';
import { choosePlaces } from '../../src/nodes/placement.ts';

interface Disk {
  name: number;
  quotaBytes: number;
  availableBytes: number;
}

const disks = (...free: number[]): Disk[] =>
  free.map((bytes, name) => ({ name, quotaBytes: 1_000, availableBytes: bytes }));

describe('placement', () => {
  it('never chooses a node that lacks the space, nor one twice', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(1_000), { maxLength: 12 }),
        fc.nat(1_200),
        fc.integer({ min: 1, max: 8 }),
        fc.nat(),
        (free, bytes, count, seed) => {
          const random = new Random(seed);
          const all = disks(...free);
          const chosen = choosePlaces(all, bytes, count, () => random.fraction());
          const able = all.filter((disk) => disk.availableBytes >= bytes);
          expect(chosen.length).toBe(Math.min(count, able.length));
          expect(new Set(chosen).size).toBe(chosen.length);
          for (const disk of chosen) expect(able).toContain(disk);
        },
      ),
    );
  });

  it('places an empty object on a full node when there is no other', () => {
    expect(choosePlaces(disks(0), 0, 1, () => 0.5)).toHaveLength(1);
  });

  it('fills nodes of unequal size evenly [DEFS-14]', () => {
    const random = new Random(11);
    const nodes = [100, 200, 400, 800, 1_600, 3_200].map((quota, name) => ({
      name,
      quotaBytes: quota * 1_000,
      availableBytes: quota * 1_000,
    }));
    const total = nodes.reduce((sum, node) => sum + node.quotaBytes, 0);
    for (let placed = 0; placed < total / 2; placed += 100) {
      const [node] = choosePlaces(nodes, 100, 1, () => random.fraction());
      node!.availableBytes -= 100;
    }
    for (const node of nodes) {
      const fill = 1 - node.availableBytes / node.quotaBytes;
      expect(fill).toBeGreaterThan(0.45);
      expect(fill).toBeLessThan(0.55);
    }
  });

  it('does not put many objects in a row on the emptiest node', () => {
    const random = new Random(12);
    const nodes = disks(...Array.from({ length: 12 }, () => 900));
    nodes[0]!.availableBytes = 1_000;
    let first = 0;
    for (let turn = 0; turn < 1_000; turn++) {
      if (choosePlaces(nodes, 1, 1, () => random.fraction())[0] === nodes[0]) first += 1;
    }
    expect(first).toBeLessThan(300);
  });
});
