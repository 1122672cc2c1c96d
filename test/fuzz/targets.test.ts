/** What every target keeps: valid inputs hold, any bytes have a layout, mutations stay in bounds. */

import { describe, expect, it } from 'vitest';
import { mustHold } from '../../fuzz/engine/campaign.ts';
import { type Layout, LayoutBuilder, numberAt, putNumber } from '../../fuzz/engine/layout.ts';
import { mutated } from '../../fuzz/engine/mutation.ts';
import { STEPS_MAX, scriptOf, stepsOf } from '../../fuzz/engine/script.ts';
import { TARGETS } from '../../fuzz/targets/index.ts';
import { Random } from '../../sim/random.ts';

const VALID_INPUTS = 20;
const MUTATIONS = 300;
const PLACES_MAX = 2_048 + 512;

describe.each(TARGETS.map((target) => [target.name, target] as const))('%s', (_name, target) => {
  it('draws valid inputs, which hold and give the same again', async () => {
    const random = new Random(3);
    for (let count = 0; count < VALID_INPUTS; count++) {
      const input = target.generate(random).slice(0, target.inputBytesMax);
      const outcome = await mustHold(target, input);
      expect(await mustHold(target, input)).toBe(outcome);
    }
  }, 60_000);

  it('has a layout for any bytes, and mutations within its maximum', () => {
    const random = new Random(4);
    const kept = Array.from({ length: 4 }, () => target.generate(random));
    for (let count = 0; count < MUTATIONS; count++) {
      const input = random.chance(0.5) ? random.pick(kept) : random.bytes(random.integer(200));
      const before = input.slice();
      const { fields, items, lengths } = target.layout(input);
      expect(fields.length + items.length + lengths.length).toBeLessThanOrEqual(PLACES_MAX);
      for (const field of fields) expect(field.at).toBeGreaterThanOrEqual(0);
      const output = mutated(input, {
        random,
        layoutOf: (bytes) => target.layout(bytes),
        other: () => random.pick(kept),
        inputBytesMax: target.inputBytesMax,
      });
      expect(output.length).toBeLessThanOrEqual(target.inputBytesMax);
      expect(input).toEqual(before);
    }
  }, 60_000);
});

describe('mutations', () => {
  it('mostly keep stated lengths and counts right', () => {
    // A count, and entries behind a length each.
    const input = Uint8Array.from([2, 3, 1, 1, 1, 2, 9, 9]);
    const layoutOf = (bytes: Uint8Array): Layout => {
      const layout = new LayoutBuilder();
      for (let at = 1; at < bytes.length; ) {
        const end = at + 1 + numberAt(bytes, at, 1);
        layout.lengths.push({ at, bytes: 1, start: at + 1, end });
        layout.item(at, Math.min(end, bytes.length) - at, 0);
        at = end;
      }
      return layout;
    };
    const isWhole = (bytes: Uint8Array): boolean => {
      let at = 1;
      let count = 0;
      for (; at < bytes.length; count++) at += 1 + numberAt(bytes, at, 1);
      return at === bytes.length && count === bytes[0];
    };
    const random = new Random(5);
    let whole = 0;
    for (let count = 0; count < 1_000; count++) {
      const options = { random, layoutOf, other: () => input, inputBytesMax: 100 };
      if (isWhole(mutated(input, options))) whole += 1;
    }
    expect(whole).toBeGreaterThan(200);
    expect(whole).toBeLessThan(950);
  });
});

describe('a script', () => {
  it('comes back as it was written', () => {
    const steps = [
      { operation: 3, content: Uint8Array.of(1, 2) },
      { operation: 0, content: new Uint8Array(0) },
      { operation: 255, content: new Uint8Array(300) },
    ];
    const read = stepsOf(scriptOf(Uint8Array.of(9), steps), 1);
    expect(read.map(({ operation, content }) => ({ operation, content }))).toEqual(steps);
    expect(read.map(({ at }) => at)).toEqual([4, 9, 12]);
  });

  it('is made of any bytes, of so many steps at most', () => {
    const random = new Random(6);
    for (let count = 0; count < 200; count++) {
      const script = random.bytes(random.integer(80));
      for (const { at, content } of stepsOf(script, 1))
        expect(content).toEqual(script.slice(at, at + content.length));
    }
    expect(stepsOf(new Uint8Array(3 * STEPS_MAX + 3), 0)).toHaveLength(STEPS_MAX);
  });
});

describe('numbers in an input', () => {
  it('are written modulo their width, and never behind the end', () => {
    const bytes = new Uint8Array(4);
    putNumber(bytes, 1, 2, 0x1_0203);
    expect([...bytes]).toEqual([0, 2, 3, 0]);
    putNumber(bytes, 3, 4, 0x0102_0304);
    expect([...bytes]).toEqual([0, 2, 3, 1]);
    putNumber(bytes, 0, 2, -1);
    expect([...bytes]).toEqual([255, 255, 3, 1]);
    expect(numberAt(bytes, 2, 4)).toBe(0x0301_0000);
  });
});
