/** Profiles, read. */

import { describe, expect, it } from 'vitest';
import { formatProfile, type Profile, selfTimes } from '../../bench/profile.ts';

const frame = (functionName: string, lineNumber = 0) => ({
  functionName,
  url: '',
  lineNumber,
  columnNumber: 0,
});
const profile: Profile = {
  nodes: [
    { id: 1, callFrame: frame('(idle)') },
    { id: 2, callFrame: frame('seal') },
    // The same function, called from elsewhere.
    { id: 3, callFrame: frame('seal') },
    { id: 4, callFrame: frame('', 7) },
  ],
  samples: [1, 2, 3, 4, 2],
  timeDeltas: [100, 500, 30, 40, 30],
};

describe('the time of functions', () => {
  it('is what passed until the next sample, over all callers, without idle time', () => {
    const { busyMicros, functions } = selfTimes(profile, 10, ({ lineNumber }) => `line ${lineNumber}`);
    expect(busyMicros).toBe(100);
    expect(functions).toEqual([
      { name: 'seal', where: 'line 0', micros: 70, share: 0.7 },
      { name: '(anonymous)', where: 'line 7', micros: 30, share: 0.3 },
    ]);
  });

  it('is told of as many functions as are asked for', () => {
    const times = selfTimes(profile, 1, () => 'src/x.ts');
    expect(times.functions).toHaveLength(1);
    expect(formatProfile('sink', times).split('\n')).toHaveLength(2);
    expect(formatProfile('sink', times)).toMatch(/^sink: busy 0 ms\n\s+70\.0 %\s+0 ms\s+seal\s+src\/x\.ts$/);
  });
});
