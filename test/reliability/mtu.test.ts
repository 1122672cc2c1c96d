import { describe, expect, it } from 'vitest';
import { micros } from '../../src/base/units.ts';
import {
  MTU_BLACK_HOLE_LOSSES,
  MTU_PROBE_MICROS,
  MTU_PROBES_MAX,
  MTU_RAISE_MICROS,
  MtuProbe,
} from '../../src/reliability/index.ts';
import { marksOf } from '../support/marks.ts';

const SIZES = [1_200, 1_472, 8_972, 62_000];

/** Answers probes as a path of `pathBytes` would, until none is due within a second. */
function search(mtu: MtuProbe, pathBytes: number, startAt = 0): { probes: number[]; endedAt: number } {
  const probes: number[] = [];
  let now = startAt;
  for (let steps = 0; steps < 100; steps++) {
    const at = mtu.timeoutAt();
    if (at === undefined || at > now + 1_000_000) return { probes, endedAt: now };
    now = Math.max(now, at);
    const bytes = mtu.takeProbe(micros(now))!;
    probes.push(bytes);
    now += 500;
    if (bytes <= pathBytes) mtu.onProbeAcked(micros(now), bytes);
    else mtu.onProbeLost(micros(now));
  }
  throw new Error('the search does not end');
}

describe('the datagram size', () => {
  it('starts at what every path carries, and rises with the first probe on loopback [MTU-1]', () => {
    const mtu = new MtuProbe(SIZES, micros(0));
    expect(mtu.datagramBytes).toBe(1_200);
    expect(search(mtu, 62_000).probes).toEqual([62_000]);
    expect(mtu.datagramBytes).toBe(62_000);
    expect(mtu.timeoutAt(), 'nothing larger to try').toBeUndefined();
  });

  it('tries each size three times before the next smaller one [MTU-3]', () => {
    const mtu = new MtuProbe(SIZES, micros(0));
    expect(MTU_PROBES_MAX).toBe(3);
    expect(search(mtu, 1_500).probes).toEqual([62_000, 62_000, 62_000, 8_972, 8_972, 8_972, 1_472]);
    expect(mtu.datagramBytes).toBe(1_472);
  });

  it('looks for larger sizes again ten minutes after it found one that is not the largest', () => {
    const mtu = new MtuProbe(SIZES, micros(0));
    const { endedAt } = search(mtu, 1_500);
    expect(mtu.timeoutAt()).toBe(endedAt + MTU_RAISE_MICROS);
    expect(mtu.takeProbe(micros(endedAt + MTU_RAISE_MICROS))).toBe(62_000);
  });

  it('is not lowered by the late acknowledgement of a smaller probe', () => {
    const mtu = new MtuProbe(SIZES, micros(0));
    search(mtu, 62_000);
    mtu.onProbeAcked(micros(1), 1_472);
    expect(mtu.datagramBytes).toBe(62_000);
  });

  it('stays at the least size where nothing larger passes, and tries again after ten minutes [MTU-4]', () => {
    const mtu = new MtuProbe(SIZES, micros(0));
    const { probes, endedAt } = search(mtu, 1_200);
    expect(probes).toHaveLength(9);
    expect(mtu.datagramBytes).toBe(1_200);
    expect(mtu.timeoutAt()).toBe(endedAt + MTU_RAISE_MICROS);
    expect(mtu.takeProbe(micros(endedAt + MTU_RAISE_MICROS - 1))).toBeUndefined();
    expect(mtu.takeProbe(micros(endedAt + MTU_RAISE_MICROS))).toBe(62_000);
  });

  it('has one probe under way at a time, and waits between lost ones', () => {
    const mtu = new MtuProbe(SIZES, micros(0));
    expect(mtu.takeProbe(micros(0))).toBe(62_000);
    expect(mtu.takeProbe(micros(0))).toBeUndefined();
    expect(mtu.timeoutAt()).toBeUndefined();
    mtu.onProbeLost(micros(700));
    expect(mtu.timeoutAt()).toBe(700 + MTU_PROBE_MICROS);
  });

  it('falls back when large packets are lost at six instants in a row [MTU-5]', () => {
    const mtu = new MtuProbe(SIZES, micros(0));
    search(mtu, 62_000);
    for (let loss = 1; loss < MTU_BLACK_HOLE_LOSSES; loss++)
      expect(mtu.onLargeLost(micros(1_000 + loss))).toBe(false);
    expect(mtu.onLargeLost(micros(9_000))).toBe(true);
    expect(mtu.datagramBytes).toBe(1_200);
    expect(mtu.timeoutAt()).toBe(9_000 + MTU_PROBE_MICROS);
    expect(mtu.onLargeLost(micros(9_500)), 'it cannot fall further').toBe(false);
    expect(mtu.takeProbe(micros(9_000 + MTU_PROBE_MICROS)), 'the search begins anew').toBe(62_000);
  });

  it('takes a burst that is lost at one instant for one loss', () => {
    const mtu = new MtuProbe(SIZES, micros(0));
    search(mtu, 62_000);
    for (let loss = 0; loss < 100; loss++) expect(mtu.onLargeLost(micros(5_000))).toBe(false);
    expect(mtu.datagramBytes).toBe(62_000);
  });

  it('begins to count anew when a large packet arrives', () => {
    const mtu = new MtuProbe(SIZES, micros(0));
    search(mtu, 62_000);
    for (let round = 0; round < 10; round++) {
      for (let loss = 1; loss < MTU_BLACK_HOLE_LOSSES; loss++) {
        expect(mtu.onLargeLost(micros(10_000 + round * 100 + loss))).toBe(false);
      }
      mtu.onLargeAcked();
    }
    expect(mtu.datagramBytes).toBe(62_000);
  });

  it('probes nothing where only one size is allowed', () => {
    const mtu = new MtuProbe([1_200], micros(0));
    expect(mtu.timeoutAt()).toBeUndefined();
    expect(mtu.takeProbe(micros(1))).toBeUndefined();
  });

  it('leaves a mark where it rises, where a size is given up, and where it falls back', () => {
    const mtu = new MtuProbe(SIZES, micros(0));
    expect(marksOf(() => search(mtu, 1_500))).toEqual(['mtu-too-large', 'mtu-too-large', 'mtu-raised']);
    const lose = (): void => {
      for (let loss = 0; loss < MTU_BLACK_HOLE_LOSSES; loss++) mtu.onLargeLost(micros(1_000 + loss));
    };
    expect(marksOf(lose)).toEqual(['mtu-black-hole']);
  });
});
