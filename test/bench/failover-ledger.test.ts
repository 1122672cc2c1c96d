/** What a failover run counts: losses must show, and so must a slow recovery. */

import { describe, expect, it } from 'vitest';
import { Ledger, percentile } from '../../bench/failover/ledger.ts';

function ledgerOf(...held: readonly (readonly [fencing: number, from: number, until: number])[]): Ledger {
  const ledger = new Ledger();
  for (const [fencing, from, until] of held)
    ledger.take(0, { kind: 'lock', name: 'red', fencing, from, until });
  return ledger;
}

describe('locks of a failover run', () => {
  it('that were held one after the other are in order', () => {
    expect(ledgerOf([3, 20, 30], [1, 0, 10], [7, 30, 40]).lockBreaches()).toEqual([]);
  });

  it('that two held at a time are a breach', () => {
    expect(ledgerOf([1, 0, 10], [2, 9, 20]).lockBreaches()).toEqual(['red: 1 was held until 10, 2 from 9']);
  });

  it('whose token does not grow are a breach', () => {
    expect(ledgerOf([5, 0, 10], [5, 20, 30]).lockBreaches()).toEqual(['red: token 5 came after 5']);
    expect(ledgerOf([5, 0, 10], [4, 20, 30]).lockBreaches()).toHaveLength(1);
  });

  it('of different names have nothing to do with each other', () => {
    const ledger = ledgerOf([5, 0, 10]);
    ledger.take(1, { kind: 'lock', name: 'blue', fencing: 1, from: 5, until: 8 });
    expect([ledger.lockBreaches(), ledger.held]).toEqual([[], 2]);
  });
});

describe('a recovery', () => {
  it('ends with the first cycle that began after the fault, for each client', () => {
    const ledger = new Ledger();
    const cycle = (client: number, began: number, ended: number): void =>
      ledger.take(client, { kind: 'cycle', began, ended, hash: `${client}-${began}` });
    cycle(0, 0, 90);
    // Under way when the fault strikes: what it says of the time after is not known.
    cycle(0, 95, 130);
    cycle(0, 140, 160);
    cycle(1, 100, 101);
    expect(ledger.recoveries({ kind: 'leader', at: 100 }, 1_000)).toEqual([60, 1]);
    expect(ledger.recoveries({ kind: 'leader', at: 150 }, 1_000)).toEqual([850, 850]);
    expect([ledger.cycles, percentile(ledger.cycleMillis, 0.5)]).toEqual([4, 20]);
  });
});

describe('a percentile', () => {
  it('is the value of its rank', () => {
    const values = [5, 1, 4, 2, 3];
    expect([0.2, 0.5, 0.95, 1].map((p) => percentile(values, p))).toEqual([1, 3, 5, 5]);
    expect(percentile([], 0.5)).toBe(0);
  });
});
