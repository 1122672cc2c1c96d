/** How jobs are run and told of: deadlines, skips, breaches, and reports that are always well-formed. */

import { describe, expect, it } from 'vitest';
import { CaseFailure, CaseSkipped } from '../../conformance/expectations.ts';
import { junitText, reportText } from '../../conformance/report.ts';
import { type Runnable, runJobs } from '../../conformance/run-cases.ts';
import { clauseVerdicts, type Verdict } from '../../conformance/verdicts.ts';

const LIMITS = { atOnce: 2, caseMillis: 5_000, totalMillis: 60_000 };

interface Spec {
  readonly run: () => Promise<void>;
  readonly breach?: { readonly clause: string; readonly text: string };
  readonly onClose?: () => void;
}

function jobs(...specs: readonly Spec[]) {
  return specs.map(({ run, breach, onClose }, index) => ({
    facts: { id: `T-${index + 1}`, title: `case ${index + 1}`, group: 'tests', clauses: ['PKT-1', 'PKT-2'] },
    start: (): Runnable => ({ run, breach, close: () => onClose?.() }),
  }));
}

const never = (): Promise<void> => new Promise(() => undefined);
const fine = async (): Promise<void> => undefined;

describe('a run', () => {
  it('passes, fails and skips, in the order of the cases', async () => {
    const verdicts = await runJobs(
      jobs(
        { run: fine },
        { run: () => Promise.reject(new CaseFailure('peace', 'war', 'SES-14')) },
        { run: () => Promise.reject(new CaseFailure('peace', 'war')) },
        { run: () => Promise.reject(new CaseSkipped('no time')) },
        { run: () => Promise.reject(new TypeError('oh')) },
        { run: fine, breach: { clause: 'PKT-12', text: 'a number twice' } },
      ),
      LIMITS,
    );
    expect(
      verdicts.map(({ id, outcome, brokenClause, detail }) => [id, outcome, brokenClause, detail]),
    ).toEqual([
      ['T-1', 'pass', undefined, undefined],
      ['T-2', 'fail', 'SES-14', 'expected peace; saw war'],
      ['T-3', 'fail', 'PKT-1', 'expected peace; saw war'],
      ['T-4', 'skipped', undefined, 'no time'],
      ['T-5', 'fail', 'PKT-1', 'the case itself failed: TypeError: oh'],
      ['T-6', 'fail', 'PKT-12', 'expected every packet to keep the rules; saw a number twice'],
    ]);
  });

  it('fails a case that hangs, closes it, and goes on', async () => {
    let closed = 0;
    const verdicts = await runJobs(jobs({ run: never, onClose: () => closed++ }, { run: fine }), {
      ...LIMITS,
      atOnce: 1,
      caseMillis: 50,
    });
    expect(verdicts.map(({ outcome }) => outcome)).toEqual(['fail', 'pass']);
    expect(verdicts[0]!.detail).toBe('expected an end within 50 ms; saw none');
    expect(closed).toBe(1);
  });

  it('skips what is left when its time is over', async () => {
    const verdicts = await runJobs(jobs({ run: never }, { run: fine }, { run: fine }), {
      atOnce: 1,
      caseMillis: 60_000,
      totalMillis: 60,
    });
    expect(verdicts.map(({ outcome }) => outcome)).toEqual(['fail', 'skipped', 'skipped']);
    expect(verdicts[2]!.detail).toBe('the time of the run was over');
  });

  it('ends early when somebody has heard enough', async () => {
    const verdicts = await runJobs(
      jobs({ run: fine }, { run: fine }, { run: fine }),
      { ...LIMITS, atOnce: 1 },
      ({ id }) => (id === 'T-2' ? 'enough' : undefined),
    );
    expect(verdicts.map(({ id }) => id)).toEqual(['T-1', 'T-2']);
  });
});

describe('a report', () => {
  const verdict = (outcome: Verdict['outcome'], rest: Partial<Verdict> = {}): Verdict => ({
    id: 'T-1',
    title: 'a "title" with <marks> & others',
    group: 'tests',
    clauses: ['PKT-10', 'PKT-2'],
    outcome,
    seconds: 0.25,
    ...rest,
  });

  it('speaks against the clause that was broken, and in favour of those of cases that passed', () => {
    const verdicts = [
      verdict('pass'),
      verdict('fail', { id: 'T-2', brokenClause: 'PKT-2' }),
      verdict('skipped', { id: 'T-3', clauses: ['SEG-1'] }),
    ];
    expect(clauseVerdicts(verdicts)).toEqual([
      { clause: 'PKT-2', outcome: 'fail', cases: 2, failed: ['T-2'] },
      { clause: 'PKT-10', outcome: 'pass', cases: 1, failed: [] },
      { clause: 'SEG-1', outcome: 'skipped', cases: 0, failed: [] },
    ]);
    const text = reportText(verdicts);
    expect(text).toContain('tests  FAIL  1 of 3, 1 failed, 1 skipped');
    expect(text).toContain('clauses broken: 1\n  PKT-2');
    expect(text).toContain('3 cases: 1 passed, 1 failed, 1 skipped');
  });

  it('is well-formed XML, whatever a peer said', () => {
    const xml = junitText([
      verdict('fail', { brokenClause: 'PKT-2', detail: 'saw \u0000\u001b[31m <CLOSE & "bye">' }),
    ]);
    expect(xml).toContain(
      'name="T-1 a &quot;title&quot; with &lt;marks&gt; &amp; others [PKT-10 PKT-2]" time="0.250"',
    );
    expect(xml).toContain('<failure type="PKT-2" message="saw ??[31m &lt;CLOSE &amp; &quot;bye&quot;&gt;"/>');
  });
});
