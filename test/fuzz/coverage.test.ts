/** Coverage tells which inputs bring something new. Of code that ran before it began it sees less: hence this file. */

import { afterAll, describe, expect, it } from 'vitest';
import { Coverage, openCoverage, Reached } from '../../fuzz/engine/coverage.ts';
import { minimised } from '../../fuzz/engine/minimise.ts';
import { TARGETS } from '../../fuzz/targets/index.ts';
import { toHex } from '../../src/base/bytes.ts';
import { decodeFrames } from '../../src/wire/index.ts';

const coverage = await openCoverage();
afterAll(() => coverage?.close());

describe('coverage', () => {
  it('sees new code of src/ once, and nothing where nothing new ran', () => {
    expect(coverage).toBeInstanceOf(Coverage);
    const reached = new Reached();
    const newBy = (bytes: number[]): number => {
      coverage!.take();
      decodeFrames(Uint8Array.from(bytes));
      return reached.add(coverage!.take());
    };
    expect(newBy([1])).toBeGreaterThan(0);
    expect(newBy([1])).toBe(0);
    // A frame of another type runs another branch.
    expect(newBy([8, 0, 0, 0, 1, 0, 0, 0, 1])).toBeGreaterThan(0);
    expect(newBy([8, 0, 0, 0, 2, 0, 0, 0, 2])).toBe(0);
  });

  it.each([
    ['with it', coverage],
    ['without it, by their outcomes', undefined],
  ])('reduces a corpus to inputs that each bring something, %s', async (_name, guide) => {
    const frames = TARGETS.find(({ name }) => name === 'frames')!;
    const texts = ['01', '0101', '010101', '090000000101', '090000000202'];
    const inputs = texts.map((text) => Uint8Array.from(Buffer.from(text, 'hex')));
    const kept = await minimised(frames, inputs, guide);
    // A loop that goes round twice runs more of its head.
    expect(kept.map(toHex).filter((text) => text.length <= 12).length).toBe(kept.length);
    expect(new Set(kept.map((input) => input[0]))).toEqual(new Set([1, 9]));
    expect(kept.length).toBeLessThanOrEqual(3);
  });
});
