import { describe, expect, it } from 'vitest';
import { micros, seconds } from '../../src/base/units.ts';
import { CoordinatorTurns, LOST_MICROS } from '../../src/nodes/coordinator-turns.ts';

const NOW = seconds(100);

describe('coordinators, asked in turn', () => {
  it('each has its turn', () => {
    const turns = new CoordinatorTurns(['a', 'b', 'c']);
    const met = Array.from({ length: 4 }, () => {
      const address = turns.current(NOW);
      turns.pass(NOW);
      return address;
    });
    expect(met).toEqual(['a', 'b', 'c', 'a']);
  });

  it('but for one that was lost, until a lease is over [LEAD-5]', () => {
    const turns = new CoordinatorTurns(['a', 'b', 'c']);
    turns.lose('a', NOW);
    const met = Array.from({ length: 4 }, () => {
      const address = turns.current(NOW);
      turns.pass(NOW);
      return address;
    });
    expect(met).toEqual(['b', 'c', 'b', 'c']);
    expect([turns.isLost('a', micros(NOW + LOST_MICROS - 1)), turns.isLost('b', NOW)]).toEqual([true, false]);
    expect(turns.isLost('a', micros(NOW + LOST_MICROS))).toBe(false);
  });

  it('when one after the other is lost all are tried', () => {
    const turns = new CoordinatorTurns(['a', 'b', 'c']);
    const met: string[] = [];
    for (let count = 0; count < 4; count++) {
      const address = turns.current(NOW);
      met.push(address);
      turns.lose(address, NOW);
    }
    expect(met).toEqual(['a', 'b', 'c', 'a']);
  });

  it('one that answers after all is believed again', () => {
    const turns = new CoordinatorTurns(['a', 'b']);
    turns.lose('a', NOW);
    turns.find('b');
    expect(turns.isLost('a', NOW)).toBe(true);
    turns.find('a');
    expect(turns.isLost('a', NOW)).toBe(false);
  });

  it('a lone one is asked whatever happens', () => {
    const turns = new CoordinatorTurns(['a']);
    turns.lose('a', NOW);
    turns.pass(NOW);
    expect([turns.current(NOW), turns.areSeveral]).toEqual(['a', false]);
  });
});
