import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { collectMarks, MARKS, mark, marked } from '../../src/base/marks.ts';

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));
/** Fewer rare branches than that would say little about a campaign. */
const MARKS_MIN = 40;

afterEach(() => collectMarks(undefined));

describe('marks', () => {
  test('do nothing unless somebody collects', () => {
    mark('key-update');
    const seen: string[] = [];
    collectMarks((name) => seen.push(name));
    mark('key-update');
    expect(marked('pto-doubled', 7)).toBe(7);
    collectMarks(undefined);
    mark('key-update');
    expect(seen).toEqual(['key-update', 'pto-doubled']);
  });

  test('each stands at some branch of the sources, and is described', () => {
    const text = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && path !== join('base', 'marks.ts'))
      .map((path) => readFileSync(join(SRC, path), 'utf8'))
      .join('\n');
    const names = Object.entries(MARKS);
    expect(names.length).toBeGreaterThanOrEqual(MARKS_MIN);
    const isUsed = (name: string): boolean => new RegExp(`mark(?:ed)?\\([^)]*'${name}'`).test(text);
    expect(names.map(([name]) => name).filter((name) => !isUsed(name))).toEqual([]);
    expect(names.every(([, what]) => what.length > 10)).toBe(true);
  });
});
