/** What the benchmark says of its figures. */

import { describe, expect, it } from 'vitest';
import { formatFigure, formatTable, judge } from '../../bench/results.ts';

describe('a row', () => {
  it('with a peer is judged by the median of its ratios', () => {
    const peer = { name: 'TLS', values: [100, 100, 100], ratioOf: 'ours/theirs' } as const;
    const row = judge({
      case: 'bulk',
      name: 'loopback',
      unit: 'MB/s',
      ours: [90, 130, 120],
      peer,
      goal: { atLeast: 1.2 },
    });
    expect(row).toMatchObject({ oursMedian: 120, theirsMedian: 100, reached: true });
    expect(row.spread).toEqual({ median: 1.2, min: 0.9, max: 1.3 });
  });

  it('without a peer is judged by its value', () => {
    const row = judge({ case: 'sessions', name: 'each', unit: 'KiB', ours: [25], goal: { atMost: 24 } });
    expect(row).toMatchObject({ oursMedian: 25, reached: false });
    expect(row).not.toHaveProperty('theirsMedian');
  });

  it('without a goal is not judged', () => {
    expect(judge({ case: 'x', name: 'y', unit: 's', ours: [1] })).not.toHaveProperty('reached');
  });
});

describe('the table', () => {
  it('has a block a case, names to the left and figures to the right', () => {
    const peer = { name: 'scp', values: [4], ratioOf: 'theirs/ours' } as const;
    const rows = [
      judge({ case: 'put', name: 'command', unit: 's', ours: [2], peer, goal: { atLeast: 2 } }),
      judge({ case: 'put', name: 'client', unit: 's', ours: [1.5], peer }),
      judge({
        case: 'rate',
        name: 'WhereIs',
        unit: '1/s',
        ours: [1_000, 123_456],
        goal: { atLeast: 500_000 },
      }),
    ];
    expect(formatTable(rows)).toBe(
      [
        '             Gramline    peer  peer is   ratio            spread       goal',
        '',
        'put',
        '  command      2.00 s  4.00 s  scp      2.00 *                         >= 2  reached',
        '  client       1.50 s  4.00 s  scp      2.67 *',
        '',
        'rate',
        '  WhereIs  62,228 1/s                           1,000 .. 123,456  >= 500000  not reached',
      ].join('\n'),
    );
  });

  it('shows three digits that matter', () => {
    expect([0, 0.123, 1.234, 12.34, 123.4, 123_456].map(formatFigure)).toEqual([
      '0',
      '0.12',
      '1.23',
      '12.3',
      '123',
      '123,456',
    ]);
  });
});
