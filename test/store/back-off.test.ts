import { expect, test } from 'vitest';
import { BACK_OFF_MILLIS_MAX, BACK_OFF_MILLIS_MIN, BackOff, pause } from '../../src/store/back-off.ts';

test('waits grow twofold up to the longest, and begin anew after a success', () => {
  const backOff = new BackOff(() => 0);
  const waits = Array.from({ length: 8 }, () => backOff.next());
  expect(waits).toEqual([50, 100, 200, 400, 800, 1600, 2000, 2000]);
  expect([waits[0], waits.at(-1)]).toEqual([BACK_OFF_MILLIS_MIN, BACK_OFF_MILLIS_MAX]);
  backOff.reset();
  expect(backOff.next()).toBe(BACK_OFF_MILLIS_MIN);
});

test('chance takes away at most half of a wait', () => {
  const backOff = new BackOff(() => 0.999);
  expect(backOff.next()).toBeCloseTo(25, 0);
  expect(backOff.next()).toBeCloseTo(50, 0);
});

test('a pause ends with its signal', async () => {
  const controller = new AbortController();
  const paused = pause(1e6, controller.signal);
  controller.abort();
  await paused;
  await pause(1e6, controller.signal);
});
