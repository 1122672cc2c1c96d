/** A subject lives through any request: those of the vectors, with fields that make no sense put into them. */

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { answer } from '../../../conformance/subject.ts';
import type { Json } from '../../../spec/reference/json.ts';
import type { Case, VectorFile } from '../../../spec/reference/vectors.ts';

const FOLDER = new URL('../../../spec/vectors/', import.meta.url);
const SEED = 1;
const REQUESTS = 12_000;
/** Longer ones take their time and say no more. */
const REQUEST_CHARS_MAX = 8_000;

const ODD: readonly Json[] = [
  ...[null, true, false, 0, 1, -1, 1.5, 1e300, 2 ** 48, 2 ** 32, 255, 65_536],
  ...['', '00', 'zz', 'FF', '0', 'ff'.repeat(8), '00'.repeat(32), 'PING', 'toString', '__proto__', '\ud800'],
  ...[[], {}, [[]], [null], { at: 1 }, { type: 'SEGMENT' }],
];

const cases = readdirSync(FOLDER)
  .flatMap((name) => (JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as VectorFile).cases)
  .filter(
    ({ op, in: request }) => op !== 'key.passphrase' && JSON.stringify(request).length < REQUEST_CHARS_MAX,
  );

/** Chance that is the same at every run (mulberry32). */
function chanceOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

type Draw = (below: number) => number;

/** A value with one thing in it changed: replaced, left out, or doubled. */
function spoiled(value: Json, draw: Draw, depth = 0): Json {
  if (value === null || typeof value !== 'object') return ODD[draw(ODD.length)]!;
  const names = Object.keys(value);
  if (names.length === 0 || (depth > 0 && draw(6) === 0)) return ODD[draw(ODD.length)]!;
  const name = names[draw(names.length)]!;
  if (Array.isArray(value)) {
    const items = [...value] as Json[];
    const at = Number(name);
    const way = draw(6);
    if (way === 0) items.splice(at, 1);
    else if (way === 1) items.push(items[at]!);
    else items[at] = spoiled(items[at]!, draw, depth + 1);
    return items;
  }
  const fields = { ...value } as Record<string, Json>;
  if (draw(8) === 0) delete fields[name];
  else fields[name] = spoiled(fields[name]!, draw, depth + 1);
  return fields;
}

function spoiledRequest({ op, in: request }: Case, draw: Draw): object {
  let fields: Json = request;
  for (let count = 1 + draw(2); count > 0; count--) fields = spoiled(fields, draw);
  return { id: 1, op, ...(fields as object) };
}

describe('a subject', () => {
  it('answers requests that make no sense, and never throws', { timeout: 240_000 }, () => {
    const draw = chanceOf(SEED);
    const kinds = new Map<string, number>();
    for (let count = 0; count < REQUESTS; count++) {
      const request = spoiledRequest(cases[draw(cases.length)]!, draw);
      let kind: string;
      try {
        kind = Object.keys(answer(request))[1]!;
      } catch (error) {
        expect.fail(`request ${count} of seed ${SEED}: ${String(error)}\n${JSON.stringify(request)}`);
      }
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
    // All three ways out were taken: the requests were neither all senseless nor all harmless.
    expect([...kinds.keys()].toSorted()).toEqual(['error', 'ok', 'refused']);
    for (const count of kinds.values()) expect(count).toBeGreaterThan(REQUESTS / 50);
  });
});
