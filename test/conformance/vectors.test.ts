/** Vector files, and subjects of every kind: those that answer, and those that hang, end, or talk nonsense. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { firstDifference } from '../../conformance/json.ts';
import { SILENT_STARTS_MAX, STARTS_MAX, SubjectProcess } from '../../conformance/subject-process.ts';
import { readVectors, runVectors, type Vector } from '../../conformance/vectors.ts';
import { UsageError } from '../../src/cli/failures.ts';

const SUBJECT = new URL('subject.mjs', import.meta.url).pathname;
const LIMITS = { caseMillis: 15_000, totalMillis: 60_000 };
/** For subjects that hang; one that answers does so sooner, on a busy machine too, or is asked again. */
const SHORT = { caseMillis: 4_000, totalMillis: 60_000 };

function vector(
  name: string,
  op: string,
  input: Record<string, unknown>,
  out: Record<string, unknown>,
): Vector {
  return {
    id: `file:${name}`,
    title: name,
    group: 'a file',
    clauses: ['PKT-1'],
    op,
    in: input,
    out,
    within: 0,
  };
}

const ADD = vector('two and two', 'add', { left: 2, right: 2 }, { ok: { sum: 4 } });

/** What `vectors` come to with a subject that has these faults. */
async function outcomes(vectors: readonly Vector[], faults: readonly string[] = [], limits = LIMITS) {
  const subject = new SubjectProcess([process.execPath, SUBJECT, ...faults]);
  await subject.start();
  try {
    const verdicts = await runVectors(subject, vectors, limits);
    return { said: verdicts.map(({ outcome, detail }) => [outcome, detail ?? '']), starts: subject.starts };
  } finally {
    await subject.end();
  }
}

describe('a subject', () => {
  it('passes where its replies are those of the vectors, in whatever order their fields stand', async () => {
    const echo = vector(
      'echo',
      'echo',
      { one: 1, two: { x: [1, null], y: 'é' } },
      { ok: { two: { y: 'é', x: [1, null] }, one: 1 } },
    );
    const { said, starts } = await outcomes([ADD, echo, vector('no', 'refuse', {}, { refused: true })]);
    expect(said).toEqual([
      ['pass', ''],
      ['pass', ''],
      ['pass', ''],
    ]);
    expect(starts).toBe(1);
  });

  it('fails where a field is another, is missing, or is one too many', async () => {
    const vectors = [
      vector('another', 'echo', { a: [1, 2] }, { ok: { a: [1, 3] } }),
      vector('missing', 'echo', {}, { ok: { a: 1 } }),
      vector('too many', 'echo', { a: 1, b: 2 }, { ok: { a: 1 } }),
      vector('refused', 'refuse', {}, { ok: {} }),
    ];
    const { said } = await outcomes(vectors);
    expect(said).toEqual([
      ['fail', 'at ok.a[1] expected 3; saw 2'],
      ['fail', 'at ok.a expected 1; saw nothing'],
      ['fail', 'at ok.b expected nothing; saw 2'],
      ['fail', 'at ok expected {}; saw nothing'],
    ]);
  });

  it('is passed over where it does not know the op, and fails where it calls the request malformed', async () => {
    const { said } = await outcomes([
      vector('dance', 'dance', {}, { ok: {} }),
      vector('complain', 'complain', {}, { ok: {} }),
      vector('rightly', 'complain', {}, { error: 'other words' }),
      vector('unknown', 'dance', {}, { unsupported: true }),
    ]);
    expect(said.map(([outcome]) => outcome)).toEqual(['skipped', 'fail', 'pass', 'pass']);
  });

  it('may differ in numbers by as much as a vector says', async () => {
    const input = { left: 2, right: 2.4 };
    const near = { ...vector('near', 'add', input, { ok: { sum: 4 } }), within: 0.5 };
    const { said } = await outcomes([near, { ...near, within: 0.1 }]);
    expect(said.map(([outcome]) => outcome)).toEqual(['pass', 'fail']);
  });

  it.each([
    ['hang', 'a reply within'],
    ['end', "the subject ended, and said 'out of coffee'"],
    ['nonsense', "saw 'well...'"],
    ['other-id', 'a reply with the id'],
    ['endless', 'saw a longer one'],
  ])('that would %s fails that case, and is started anew for the next', async (fault, why) => {
    const { said, starts } = await outcomes(
      [ADD, vector('echo', 'echo', {}, { ok: {} }), ADD],
      [`echo=${fault}`],
      fault === 'hang' ? SHORT : LIMITS,
    );
    expect(said[1]![0]).toBe('fail');
    expect(said[1]![1]).toContain(why);
    expect(said[0]![0]).toBe('pass');
    expect(said[2]![0]).toBe('pass');
    expect(starts).toBe(2);
  });

  it.each([
    ['has replied once', [vector('echo', 'echo', {}, { ok: {} })], STARTS_MAX],
    ['never replies', [], SILENT_STARTS_MAX],
  ])(
    'that %s is started some times at most, and not for ever',
    async (_what, before, most) => {
      const many = Array.from({ length: most + 1 }, (_, index) => ({ ...ADD, id: `file:${index}` }));
      const { said, starts } = await outcomes([...before, ...many], ['add=end']);
      expect(starts).toBe(most);
      expect(said.at(-2)![1]).toContain('the subject ended');
      expect(said.at(-1)![1]).toContain(`it hung or ended ${most} times`);
    },
    120_000,
  );

  it('is not waited for when the time of the run is over', async () => {
    const { said } = await outcomes([ADD, ADD], ['add=hang'], { caseMillis: 60_000, totalMillis: 300 });
    expect(said.map(([outcome]) => outcome)).toEqual(['fail', 'skipped']);
  });

  it('that is not there is one clear sentence', async () => {
    const subject = new SubjectProcess(['/no/such/program']);
    await expect(subject.start()).rejects.toThrow("/no/such/program can't be started");
  });
});

describe('a vector file', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'gramline-vectors-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const GOOD = { name: 'n', clause: ['PKT-1', 'SES-8'], op: 'add', in: { left: 1 }, out: { ok: {} } };
  const write = (value: unknown): Promise<void> =>
    writeFile(join(directory, 'a.json'), typeof value === 'string' ? value : JSON.stringify(value));

  it('gives its cases', async () => {
    await write({
      title: 'A',
      clauses: ['PKT-1', 'SES-8'],
      cases: [GOOD, { ...GOOD, name: 'm', clause: 'PKT-2', within: 2 }],
    });
    expect(await readVectors(directory)).toEqual([
      {
        id: 'a:n',
        title: 'n',
        group: 'A',
        clauses: ['PKT-1', 'SES-8'],
        op: 'add',
        in: { left: 1 },
        out: { ok: {} },
        within: 0,
      },
      {
        id: 'a:m',
        title: 'm',
        group: 'A',
        clauses: ['PKT-2'],
        op: 'add',
        in: { left: 1 },
        out: { ok: {} },
        within: 2,
      },
    ]);
  });

  it.each([
    ['no JSON', '{"title":', 'it is no JSON'],
    ['a list', [], 'it has no title'],
    ['no cases', { title: 'A', cases: [] }, 'it has no cases'],
    ['a case without a name', { title: 'A', cases: [{ ...GOOD, name: '' }] }, 'case 1: it has no name'],
    [
      'a case without a clause',
      { title: 'A', cases: [GOOD, { ...GOOD, name: 'm', clause: [] }] },
      'case 2: it names no clause',
    ],
    ['a clause that is none', { title: 'A', cases: [{ ...GOOD, clause: 'nonsense' }] }, 'it names no clause'],
    ['a case without an op', { title: 'A', cases: [{ ...GOOD, op: 7 }] }, 'it has no op'],
    ['a case without an in', { title: 'A', cases: [{ ...GOOD, in: null }] }, 'it has no in'],
    ['an in that has an id', { title: 'A', cases: [{ ...GOOD, in: { id: 9 } }] }, 'its in has an id'],
    [
      'an out that is no reply',
      { title: 'A', cases: [{ ...GOOD, out: { maybe: 1 } }] },
      'its out is no reply',
    ],
    ['a name twice', { title: 'A', cases: [GOOD, GOOD] }, 'case 2: its name is there twice'],
    [
      'a within that is no number',
      { title: 'A', cases: [{ ...GOOD, within: 'much' }] },
      'its within is no number',
    ],
  ])('with %s is wrong usage, in one sentence', async (_, value, why) => {
    await write(value);
    await expect(readVectors(directory)).rejects.toThrow(why);
    await expect(readVectors(directory)).rejects.toBeInstanceOf(UsageError);
  });

  it('that is not there is wrong usage, too', async () => {
    await expect(readVectors(directory)).rejects.toThrow('there are no vectors');
    await expect(readVectors(join(directory, 'nowhere'))).rejects.toThrow("can't be read: ENOENT");
  });
});

describe('two JSON values', () => {
  it.each([
    [1, 1, undefined],
    [1, '1', '.'],
    [null, {}, '.'],
    [[], {}, '.'],
    [[1], [1, 2], '[1]'],
    [{ a: { b: [1, { c: 2 }] } }, { a: { b: [1, { c: 3 }] } }, 'a.b[1].c'],
    [{ a: undefined }, {}, 'a'],
  ])('%j and %j differ at %s', (left, right, path) => {
    expect(firstDifference(left, right)).toBe(path);
    expect(firstDifference(right, left)).toBe(path);
  });
});
