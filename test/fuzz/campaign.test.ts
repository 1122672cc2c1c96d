/** The engine: planted faults are found, the same seed gives the same inputs. */

import { describe, expect, it } from 'vitest';
import { FAULTS_MAX, judge, KEPT_MAX, runCampaign } from '../../fuzz/engine/campaign.ts';
import { faultOf, readCrash, saveCrash, shrunk } from '../../fuzz/engine/crash.ts';
import { Finding, type Target } from '../../fuzz/engine/target.ts';
import { TARGETS } from '../../fuzz/targets/index.ts';
import { toHex } from '../../src/base/bytes.ts';
import { decodeFrames, isFailure } from '../../src/wire/index.ts';
import { folder, listTarget, plainTarget } from './support.ts';

const NOTHING = new Map();

function campaign(
  targets: readonly Target[],
  inputs: number,
  seed = 1,
  onInput = (_input: Uint8Array) => {},
) {
  return runCampaign({ targets, inputs, seed, corpus: NOTHING, onInput: (_target, input) => onInput(input) });
}

/** A decoder that forgets to check the count of its list: it reads past the end. */
function careless(input: Uint8Array): string {
  let at = 1;
  for (let count = input[0] ?? 0; count > 0; count--) {
    const length = input[at];
    if (length === undefined) throw new Finding(`read past the end at ${at}`);
    at += 1 + length;
  }
  return at === input.length ? 'whole' : 'another length';
}

describe('a planted fault', () => {
  it('in a decoder is found, made smaller, saved and replayed', async () => {
    const target = listTarget(careless);
    const report = await campaign([target], 2_000);
    expect(report.crashes).toHaveLength(1);
    const [crash] = report.crashes;
    // The smallest one: a count of one, or of nothing behind it.
    expect(crash!.input.length).toBeLessThanOrEqual(2);
    const path = saveCrash(folder(), crash!);
    expect(readCrash(path)).toEqual(crash);
    expect(await judge(target, readCrash(path).input)).toEqual({ sentence: crash!.sentence });
  });

  it('is made smaller by its items, however they stand', async () => {
    const frames = TARGETS.find(({ name }) => name === 'frames')!;
    const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
    const input = hex('01 04 00000001 02 0003 aabbcc 09 00000005 0a 06 01 0000');
    // Something about a STOP that stands between others.
    const sentenceAt = async (bytes: Uint8Array): Promise<string | undefined> => {
      const decoded = decodeFrames(bytes);
      return !isFailure(decoded) && decoded.some(({ type }) => type === 9) ? 'Finding: STOP' : undefined;
    };
    const crash = { target: 'frames', input, sentence: 'Finding: STOP' };
    const smaller = await shrunk(crash, (bytes) => frames.layout(bytes), sentenceAt);
    expect(toHex(smaller.input)).toBe('090000000000');
  });

  it('behind a promise is found, and so is a promise that nobody waits for', async () => {
    const late = plainTarget(async (input) => {
      await Promise.resolve();
      if (input.length === 7) throw new TypeError('not seven');
      return 'held';
    }, 'late');
    const stray = plainTarget(async (input) => {
      if (input.length === 9) void Promise.reject(new Error('nobody looks'));
      await new Promise((resolve) => setImmediate(resolve));
      return 'held';
    }, 'stray');
    const report = await campaign([late, stray], 3_000);
    expect(report.crashes.map(faultOf).sort()).toEqual([
      'late: TypeError: not seven',
      'stray: left a promise that failed: Error: nobody looks',
    ]);
  });

  it('is kept once however often it is met, and after too many different ones the job ends', async () => {
    const always = plainTarget(() => {
      throw new Finding(`always, at byte ${Math.random() * 1e9}`);
    });
    const one = await campaign([always], 200);
    expect([one.inputs, one.crashes.length]).toEqual([200, 1]);
    const words = 'abcdefghijklmnopqrstuvwxyz';
    const many = plainTarget((input) => {
      throw new Finding(`fault ${words[(input[0] ?? 0) % words.length]}`);
    });
    const ended = await campaign([many], 100_000);
    expect(ended.crashes).toHaveLength(FAULTS_MAX);
    expect(ended.inputs).toBeLessThan(100_000);
  });

  it('that makes one input slow is told from a machine that was busy once', async () => {
    let slowNow = true;
    const wait = (): void => {
      for (const until = performance.now() + 1_100; performance.now() < until; );
    };
    const once = plainTarget(() => {
      if (slowNow) wait();
      slowNow = false;
      return 'held';
    });
    expect(await judge(once, new Uint8Array(1))).toEqual({ outcome: 'held' });
    const always = plainTarget(() => {
      wait();
      return 'held';
    });
    expect(await judge(always, new Uint8Array(1))).toEqual({
      sentence: 'Finding: takes longer than 1000 ms',
    });
  });
});

describe('a campaign', () => {
  it('gives the same inputs for the same seed, and others for another one', async () => {
    const inputsOf = async (seed: number): Promise<string[]> => {
      const inputs: string[] = [];
      await campaign(TARGETS.slice(0, 3), 600, seed, (input) => inputs.push(toHex(input)));
      return inputs;
    };
    const first = await inputsOf(5);
    expect(first).toHaveLength(600);
    expect(await inputsOf(5)).toEqual(first);
    expect(await inputsOf(6)).not.toEqual(first);
  });

  it('runs the corpus first, and shares few inputs out by weight', async () => {
    const seen: string[] = [];
    const quiet = (name: string, weight: number): Target => ({ ...plainTarget(() => 'held', name), weight });
    const corpus = new Map([['rare', [Uint8Array.of(1, 2), Uint8Array.of(3)]]]);
    const report = await runCampaign({
      targets: [quiet('often', 9), quiet('rare', 1)],
      inputs: 102,
      seed: 1,
      corpus,
      onInput: (_target, input) => seen.push(toHex(input)),
    });
    expect(seen.slice(0, 2)).toEqual(['0102', '03']);
    expect(report.inputs).toBe(102);
    expect(report.byTarget.get('often')).toBeGreaterThan(80);
    expect(report.byTarget.get('rare')).toBeGreaterThan(2);
  });

  it('ends when time is up', async () => {
    let left = 3;
    const report = await runCampaign({
      targets: [plainTarget(() => 'held')],
      inputs: 1e9,
      seed: 1,
      corpus: NOTHING,
      isOver: () => left-- <= 0,
    });
    expect(report.inputs).toBeGreaterThan(0);
    expect(report.inputs).toBeLessThan(1_000);
  });

  it('keeps a bounded number of inputs to mutate, however many outcomes there are', async () => {
    let outcome = 0;
    const report = await campaign([plainTarget(() => `outcome ${outcome++}`)], KEPT_MAX * 4);
    expect(report.outcomes.get('planted')!.size).toBe(1_000);
    expect(report.kept.get('planted')!.length).toBe(1_000);
  });

  it('keeps inputs of longer and longer prefixes, until it meets what stands behind all of them', async () => {
    const magic = [0x47, 0x52, 0x4d, 0x4c];
    const target = plainTarget((input) => {
      const right = magic.findIndex((byte, index) => input[index] !== byte);
      if (right < 0) throw new Finding('met the magic');
      return `${right} right`;
    });
    const guarded: Target = { ...target, inputBytesMax: 4, generate: (random) => random.bytes(4) };
    const report = await campaign([guarded], 400_000);
    expect(report.crashes.map(({ sentence }) => sentence)).toEqual(['Finding: met the magic']);
    expect(report.crashes[0]!.input).toEqual(Uint8Array.from(magic));
  });
});
