/**
 * The vector files of the specification: they are what the reference says today, our code gives every reply
 * that they expect, on both providers of algorithms, and a wrong expectation is found.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { answer, operationsBy } from '../../conformance/subject.ts';
import { vectorFiles } from '../../spec/reference/all-vectors.ts';
import { answerBy, type Reply } from '../../spec/reference/subject.ts';
import { type Case, fileText, type VectorFile } from '../../spec/reference/vectors.ts';
import { nobleSuite } from '../../src/crypto/noble-suite.ts';

const SPEC = fileURLToPath(new URL('../../spec/', import.meta.url));
const FOLDER = join(SPEC, 'vectors');
const NAMES = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));
/** Everything is made anew, and scrypt takes its time: generous for a machine that has other work. */
const TIMEOUT = 240_000;

function committed(name: string): VectorFile {
  return JSON.parse(readFileSync(join(FOLDER, name), 'utf8')) as VectorFile;
}

/** The cases that a subject answers otherwise than expected. */
function failures(file: VectorFile, subject: (request: unknown) => Reply): string[] {
  return file.cases
    .filter((one) => {
      // As it would come over a pipe.
      const { id: _, ...reply } = JSON.parse(
        JSON.stringify(subject({ id: 1, op: one.op, ...one.in })),
      ) as Reply;
      return !isDeepStrictEqual(reply, one.out);
    })
    .map(({ name }) => name);
}

describe('the vector files', () => {
  it(
    'are byte for byte what the reference makes',
    () => {
      const made = vectorFiles();
      expect(NAMES.toSorted()).toEqual(
        Object.keys(made)
          .map((name) => `${name}.json`)
          .toSorted(),
      );
      for (const [name, file] of Object.entries(made)) {
        const text = readFileSync(join(FOLDER, `${name}.json`), 'utf8');
        expect(fileText(file) === text, `spec/vectors/${name}.json is out of date`).toBe(true);
      }
    },
    TIMEOUT,
  );

  it.each(NAMES)('%s: our code answers every case as it should', { timeout: TIMEOUT }, (name) => {
    const file = committed(name);
    expect(file.cases.length).toBeGreaterThan(0);
    expect(failures(file, answer)).toEqual([]);
  });

  it.each(NAMES)('%s: on the portable algorithms, too', { timeout: TIMEOUT }, (name) => {
    const operations = operationsBy(nobleSuite);
    const file = committed(name);
    // What takes half a second a case is the same function on both providers.
    const cases = file.cases.filter(({ op }) => op !== 'key.passphrase');
    expect(failures({ ...file, cases }, (request) => answerBy(operations, request))).toEqual([]);
  });

  it.each(NAMES)('%s: names clauses that exist', (name) => {
    const pages = readdirSync(SPEC).filter((page) => page.endsWith('.md'));
    const text = pages.map((page) => readFileSync(join(SPEC, page), 'utf8')).join('\n');
    const file = committed(name);
    const unknown = file.clauses.filter((clause) => !text.includes(`**[${clause}]**`));
    expect(unknown).toEqual([]);
    const named = new Set(file.cases.flatMap(({ clause }) => clause));
    expect([...named].toSorted()).toEqual(file.clauses.toSorted());
  });

  it('have cases that are taken, and cases that are refused', () => {
    const cases = NAMES.flatMap((name) => committed(name).cases);
    expect(cases.length).toBeGreaterThan(500);
    expect(cases.filter(({ out }) => 'refused' in out).length).toBeGreaterThan(200);
  });
});

describe('the check of a subject', () => {
  it('finds every single changed expectation', { timeout: TIMEOUT }, () => {
    const file = committed('frames.json');
    const missed = file.cases.filter(
      (one) => failures({ ...file, cases: [changed(one)] }, answer).length !== 1,
    );
    expect(missed.map(({ name }) => name)).toEqual([]);
  });

  it('finds a subject that takes what is to be refused', () => {
    const lenient = (): Reply => ({ id: 1, ok: {} });
    const file = committed('frames.json');
    const refused = file.cases.filter(({ out }) => 'refused' in out);
    expect(failures({ ...file, cases: refused }, lenient)).toHaveLength(refused.length);
  });
});

/** The same case with another expectation: a refusal for a reply, and one digit or number of a reply. */
function changed(one: Case): Case {
  if ('refused' in one.out) return { ...one, out: { ok: {} } };
  let isDone = false;
  const text = JSON.stringify(one.out.ok).replace(/(?<=[:"[]|[0-9a-f])[0-9](?=[,"}\]0-9a-f])/, (digit) => {
    isDone = true;
    return digit === '1' ? '2' : '1';
  });
  return { ...one, out: isDone ? { ok: JSON.parse(text) as never } : { refused: true } };
}
