/**
 * The clauses of `spec/`, the source that cites them and the tests that prove them: every citation has
 * its clause, no number is given twice, every MUST is obeyed or checked at a place in `src/` that says
 * so and proven by a test that says so, and `spec/clauses.json` tells which.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  clausesOf,
  filesUnder,
  lackingOf,
  readSpecification,
  sourceCitations,
  testCitations,
  toJson,
  toTable,
} from '../../spec/coverage.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Cases of the conformance runner have numbers like those of clauses. */
const CASE_PREFIX = 'W-';

const { clauses, coverage, citations } = readSpecification(ROOT);
const defined = new Set(clauses.map(({ id }) => id));

describe('the clauses of the specification', () => {
  it('are there at all, so that an empty folder cannot pass', () => {
    expect(clauses[0]!.page).toMatch(/^spec\/0/);
    expect(clauses.length).toBeGreaterThan(200);
    expect(citations.length).toBeGreaterThan(300);
    expect(clauses.filter(({ level }) => level === 'MUST').length).toBeGreaterThan(100);
  });

  it('have one number each', () => {
    const twice = clauses.filter(({ id }, index) => clauses.findIndex((other) => other.id === id) !== index);
    expect(twice.map(({ id, page }) => `${page} gives [${id}] again`)).toEqual([]);
  });

  it('exist wherever a source, a test, a vector or a case cites one', () => {
    const unknown = citations.filter(({ id }) => !defined.has(id) && !id.startsWith(CASE_PREFIX));
    expect(unknown.map(({ id, path, line }) => `${path}:${line} cites [${id}], which spec/ lacks`)).toEqual(
      [],
    );
  });

  it('exist wherever another clause refers to one', () => {
    const pages = filesUnder(ROOT, 'spec', '.md').flatMap(({ path, text }) => sourceCitations(path, text));
    const unknown = pages.filter(({ id }) => !defined.has(id) && !id.startsWith(CASE_PREFIX));
    expect(
      unknown.map(({ id, path, line }) => `${path}:${line} refers to [${id}], which spec/ lacks`),
    ).toEqual([]);
  });

  it('are cited by the source and proven by a test when they hold a MUST', () => {
    expect(lackingOf(coverage)).toEqual([]);
  });

  it('stand in clauses.json as the citations give them', () => {
    const written = readFileSync(join(ROOT, 'spec/clauses.json'), 'utf8');
    expect(written === toJson(coverage), 'spec/clauses.json is old: npm run spec -- --write').toBe(true);
  });
});

describe('the reading of clauses and citations', () => {
  it('sees a number that is given twice, on one page or on two', () => {
    const page = '**[PKT-1]** One.\n\n**[PKT-1]** Two, and it MUST be.\nStill two.\n\nNot [PKT-2].\n';
    expect(clausesOf('spec/a.md', page).map(({ id, text }) => [id, text.split('\n').length])).toEqual([
      ['PKT-1', 1],
      ['PKT-1', 2],
    ]);
  });

  it('tells how strong a clause is, in which section it stands, and what it says first', () => {
    const page =
      '# 1\n\n## 1.1 A\n\n**[A-1]** It MAY, or SHOULD. Or\nnot.\n\n## 1.2 B\n\n**[A-2]** It\nMUST NOT.';
    expect(clausesOf('spec/a.md', page)).toMatchObject([
      { id: 'A-1', section: '1.1 A', level: 'SHOULD', summary: 'It MAY, or SHOULD.' },
      { id: 'A-2', section: '1.2 B', level: 'MUST', summary: 'It MUST NOT.' },
    ]);
    expect(clausesOf('spec/a.md', '**[A-3]** MUSTARD.')[0]!.level).toBe('statement');
  });

  it('sees citations in comments and in violations, with their lines and declarations', () => {
    const source = [
      '/** Head [A-1]. */',
      '',
      'const LIMIT = 1; // [A-2]',
      '/** A class [A-3]. */',
      'export class Thing {',
      '  readonly size = 1; // [A-4]',
      '  /** It does [A-5]. */',
      '  act(now: number): void {',
      "    if (now > 1) return violation('REC-19', 'x'); // [A-6] [A-7]",
      '  }',
      '}',
      "const list = ['A-8', names[A - 1]];",
    ].join('\n');
    expect(sourceCitations('src/a.ts', source).map(({ id, line, owner }) => [id, line, owner])).toEqual([
      ['A-1', 1, undefined],
      ['A-2', 3, 'LIMIT'],
      ['A-3', 4, 'Thing'],
      ['A-4', 6, 'Thing.size'],
      ['A-5', 7, 'Thing.act'],
      ['REC-19', 9, 'Thing.act'],
      ['A-6', 9, 'Thing.act'],
      ['A-7', 9, 'Thing.act'],
    ]);
  });

  it('gives a citation to the test in whose title, above which or in which it stands', () => {
    const source = [
      "const CASES = [['A-1', 1]];",
      "describe('a', () => {",
      "  it('does [A-2]', () => {});",
      '  // [A-3] A word about it,',
      '  // and another.',
      '  it.each([1])(',
      "    'each %i', () => {",
      '    check(); // [A-4]',
      '  });',
      "  it.skip('left out [A-5]', () => {});",
      '});',
    ].join('\n');
    expect(testCitations('test/a.test.ts', source).map(({ id, owner }) => [id, owner])).toEqual([
      ['A-1', 'a'],
      ['A-2', 'does [A-2]'],
      ['A-3', 'each %i'],
      ['A-4', 'each %i'],
      ['A-5', 'each %i'],
    ]);
  });

  it('finds a MUST that no source cites or no test proves, and nothing else', () => {
    const whole = { page: 'spec/a.md', section: '1', summary: '', enforcedBy: ['src/a.ts'], provenBy: ['t'] };
    const found = [
      { ...whole, id: 'A-1', level: 'MUST' as const },
      { ...whole, id: 'A-2', level: 'MUST' as const, enforcedBy: [] },
      { ...whole, id: 'A-3', level: 'MUST' as const, provenBy: [] },
      { ...whole, id: 'A-4', level: 'SHOULD' as const, provenBy: [], enforcedBy: [] },
    ];
    const lacking = lackingOf(found);
    expect(lacking.map((line) => line.slice(0, line.indexOf(':')))).toEqual([
      '[A-2] of spec/a.md is cited by no source',
      '[A-3] of spec/a.md is proven by no test',
    ]);
    for (const line of lacking) expect(toTable(found)).toContain(line);
  });
});
