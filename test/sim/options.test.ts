import { describe, expect, test } from 'vitest';
import { replayOptionsOf } from '../../sim/campaign.ts';
import {
  MARKED_SEEDS,
  parseFaults,
  parseLoss,
  parseMinutes,
  parseNodes,
  parseSeeds,
  parseWithout,
  planCampaign,
} from '../../sim/options.ts';
import { UsageError } from '../../src/cli/failures.ts';

describe('the words of gramline sim', () => {
  test.each([
    ['0%', 0],
    ['10%', 0.1],
    ['0.5%', 0.005],
    ['50%', 0.5],
  ])('--loss %s', (text, share) => expect(parseLoss(text)).toBeCloseTo(share, 12));

  test.each(['10', '0.1', '51%', '-1%', '%', 'ten%', '1e1%', ''])('--loss %s is refused', (text) => {
    expect(() => parseLoss(text)).toThrow(UsageError);
    expect(() => parseLoss(text)).toThrow('--loss is a percentage from 0% to 50%');
  });

  test('numbers have bounds, which the error names', () => {
    expect([parseNodes('1'), parseNodes('250'), parseSeeds('1000000000')]).toEqual([1, 250, 1_000_000_000]);
    for (const text of ['0', '251', '1.5', '-3', 'x', '']) {
      expect(() => parseNodes(text)).toThrow(`--nodes is a whole number from 1 to 250, not '${text}'`);
    }
    expect([parseMinutes('60'), parseMinutes('0.5')]).toEqual([60, 0.5]);
    for (const text of ['0', '1441', '-1', 'x', '']) expect(() => parseMinutes(text)).toThrow(UsageError);
  });

  test('faults and names are known, or refused', () => {
    expect(parseFaults('none')).toEqual([]);
    expect(parseFaults('pauses,weather')).toEqual(['weather', 'pauses']);
    expect(() => parseFaults('pauses,rain')).toThrow("not 'rain'");
    expect(() => parseFaults('')).toThrow(UsageError);
    expect(parseWithout('node-crash.2,client-1.2.3,client-2.contend.4')).toHaveLength(3);
    expect(() => parseWithout('node-crash')).toThrow("not 'node-crash'");
  });

  test('what does not go together is refused', () => {
    expect(() => planCampaign({ seed: 1, seeds: 2 })).toThrow('--seed is one seed');
    expect(() => planCampaign({ seed: 1, from: 2 })).toThrow('--seed is one seed');
    expect(() => planCampaign({ trace: '-' })).toThrow('name it with --seed');
    expect(() => planCampaign({ qlog: 'file' })).toThrow('name it with --seed');
    expect(() => planCampaign({ seed: 1, json: true, trace: true })).toThrow('do not mix');
    expect(() => planCampaign({ from: Number.MAX_SAFE_INTEGER })).toThrow('safe integers');
  });

  test('a large campaign must hit every mark, unless it is narrowed', () => {
    expect(planCampaign({ seeds: MARKED_SEEDS - 1 }).requiresMarks).toBe(false);
    expect(planCampaign({ seeds: MARKED_SEEDS }).requiresMarks).toBe(true);
    expect(planCampaign({ seeds: MARKED_SEEDS, faults: [] }).requiresMarks).toBe(false);
    expect(planCampaign({ seeds: 1, requireMarks: true }).requiresMarks).toBe(true);
  });

  test('a replay names every option of the run, and means the same again', () => {
    const { run } = planCampaign({
      contention: true,
      loss: 0.07,
      nodes: 20,
      clients: 4,
      minutes: 2.5,
      faults: [],
      without: ['weather.1'],
    });
    const words = replayOptionsOf(run);
    expect(words).toBe(
      ' --contention --loss 7% --nodes 20 --clients 4 --minutes 2.5 --faults none --without weather.1',
    );
    expect(parseLoss('7%')).toBe(run.lossProbability);
    expect(replayOptionsOf({})).toBe('');
  });
});
