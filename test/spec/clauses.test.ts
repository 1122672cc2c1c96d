/**
 * The clauses of `spec/` and the source that cites them: every citation has its clause, no number
 * is given twice, and every MUST is obeyed or checked at a place in `src/` that says so.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** MUST clauses that no file of `src/` cites, each with its reason. */
const UNCITED: Readonly<Record<string, string>> = {};

interface Clause {
  readonly id: string;
  readonly file: string;
  /** The whole paragraph. */
  readonly text: string;
}

interface Citation {
  readonly id: string;
  /** `path:line`. */
  readonly at: string;
}

/** A clause is a paragraph whose first line starts with its number, bold and in brackets. */
function clausesOf(file: string, text: string): Clause[] {
  return text.split(/\n\s*\n/).flatMap((paragraph) => {
    const id = /^\*\*\[([A-Z]+-\d+)\]\*\* /.exec(paragraph)?.[1];
    return id === undefined ? [] : [{ id, file, text: paragraph }];
  });
}

/** Every clause number in brackets, and those with which a session is closed. */
function citationsOf(path: string, text: string): Citation[] {
  return text.split('\n').flatMap((line, index) => {
    const found = line.matchAll(/\[([A-Z]+-\d+)\]|\bviolation\('([A-Z]+-\d+)'/g);
    return [...found].map((match) => ({ id: (match[1] ?? match[2])!, at: `${path}:${index + 1}` }));
  });
}

function filesUnder(folder: string, extension: string): { readonly path: string; readonly text: string }[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path: path.slice(ROOT.length), text: readFileSync(path, 'utf8') }));
}

const clauses = filesUnder('spec', '.md').flatMap(({ path, text }) => clausesOf(path, text));
const citations = filesUnder('src', '.ts').flatMap(({ path, text }) => citationsOf(path, text));
const defined = new Set(clauses.map(({ id }) => id));
const cited = new Set(citations.map(({ id }) => id));
const required = clauses.filter(({ text }) => /\bMUST\b/.test(text));

describe('the clauses of the specification', () => {
  it('are there at all, so that an empty folder cannot pass', () => {
    expect(dirname(clauses[0]!.file)).toBe('spec');
    expect(clauses.length).toBeGreaterThan(150);
    expect(citations.length).toBeGreaterThan(150);
  });

  it('have one number each', () => {
    const twice = clauses.filter(({ id }, index) => clauses.findIndex((other) => other.id === id) !== index);
    expect(twice.map(({ id, file }) => `${file} gives [${id}] again`)).toEqual([]);
  });

  it('exist wherever the source cites one', () => {
    const unknown = citations.filter(({ id }) => !defined.has(id));
    expect(unknown.map(({ id, at }) => `${at} cites [${id}], which spec/ lacks`)).toEqual([]);
  });

  it('exist wherever another clause refers to one', () => {
    const pages = filesUnder('spec', '.md').flatMap(({ path, text }) => citationsOf(path, text));
    const unknown = pages.filter(({ id }) => !defined.has(id));
    expect(unknown.map(({ id, at }) => `${at} refers to [${id}], which spec/ lacks`)).toEqual([]);
  });

  it('are cited by the source when they hold a MUST', () => {
    const missing = required.filter(({ id }) => !cited.has(id) && !(id in UNCITED));
    const share = `${required.filter(({ id }) => cited.has(id)).length} of ${required.length}`;
    const all = clauses.filter(({ id }) => cited.has(id)).length;
    console.log(`spec: ${clauses.length} clauses, ${all} cited by src; of those with a MUST ${share}`);
    expect(missing.map(({ id, file }) => `no file of src cites [${id}] of ${file}`)).toEqual([]);
  });

  it('stand on the list of exceptions only as long as they need to', () => {
    const needless = Object.keys(UNCITED).filter((id) => cited.has(id) || !defined.has(id));
    expect(needless).toEqual([]);
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

  it('sees citations in comments and in violations, with their lines', () => {
    const source =
      "// [PKT-1] [FRM-2]\nreturn violation('REC-19', 'x');\nconst list = ['A-1', names[A - 1]];\n";
    expect(citationsOf('src/a.ts', source)).toEqual([
      { id: 'PKT-1', at: 'src/a.ts:1' },
      { id: 'FRM-2', at: 'src/a.ts:1' },
      { id: 'REC-19', at: 'src/a.ts:2' },
    ]);
  });
});
