import { expect, test } from 'vitest';
import { Invariant } from '../../sim/checkers.ts';
import { InvariantError } from '../../sim/cluster.ts';
import { minimisedText, progressLine, summaryJson, summaryText } from '../../sim/report.ts';
import { type SeedResult, Tally } from '../../sim/tally.ts';
import { MARKS } from '../../src/base/marks.ts';

function result(seed: number, more: Partial<Extract<SeedResult, { hash: string }>> = {}): SeedResult {
  const sums = { events: 10, datagrams: 5, virtualSeconds: 1_800 };
  return {
    seed,
    hash: 'x',
    faults: ['pauses'],
    outcomes: { 'put ok': 2 },
    marks: ['key-update'],
    ...sums,
    ...more,
  };
}

test('sums up seeds, and counts the seeds of each mark and kind', () => {
  const tally = new Tally();
  tally.add(result(1));
  tally.add(result(2, { faults: [], marks: [], outcomes: { 'put ok': 1, 'get ok': 3 } }));
  tally.add({ seed: 9, failure: 'later' });
  tally.add({ seed: 3, failure: 'sooner' });
  expect([tally.seeds, tally.failed, tally.events, tally.datagrams, tally.virtualHours]).toEqual([
    4, 2, 20, 10, 1,
  ]);
  expect(Object.fromEntries(tally.faults)).toMatchObject({ pauses: 1, weather: 0 });
  expect(tally.outcomes).toEqual([
    ['get ok', 3],
    ['put ok', 3],
  ]);
  expect(tally.missedMarks).toEqual(Object.keys(MARKS).filter((name) => name !== 'key-update'));
  expect(tally.failures.map(({ failure }) => failure)).toEqual(['sooner', 'later']);
  expect(summaryJson(tally, 2, true)).toMatchObject({
    seeds: 4,
    failed: 2,
    complete: true,
    simulatedHours: 1,
    simulatedHoursPerSecond: 0.5,
    marks: { 'key-update': 1, 'pto-doubled': 0 },
  });
  const text = summaryText(tally, 2);
  expect(text).toContain('4 seeds, 2 failed, in 2.0 s (2.0 a second)');
  expect(text).toMatch(/key-update +1 {2}the sending keys are updated/);
  expect(progressLine(tally, 100, 2)).toBe(
    `4 of 100 seeds, 2 failed, 2.0 a second, 0.50 simulated hours a second, ${tally.missedMarks.length} marks to hit`,
  );
});

test('keeps only so many failures in words', () => {
  const tally = new Tally();
  for (let seed = 0; seed < 1_000; seed++) tally.add({ seed, failure: `seed ${seed}` });
  expect([tally.failed, tally.failures.length]).toEqual([1_000, 100]);
});

test('a small failure is told with what is left of it', () => {
  const error = new InvariantError(
    4,
    { invariant: Invariant.READABLE, detail: 'gone' },
    ['an event'],
    ' --nodes 3',
  );
  const text = minimisedText({ error, options: {}, faults: ['pauses.1'], operations: [], tries: 12 });
  expect(text.split('\n')).toEqual([
    'made small in 12 runs; left are',
    '  faults: pauses.1',
    '  operations: none',
    'seed 4: broken: every acknowledged put is readable: gone',
    '  an event',
    'replay of that: npm run sim -- --seed 4 --nodes 3 --trace -',
  ]);
});
