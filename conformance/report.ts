/** Verdicts for people, for programs, and for machines that read JUnit. */

import { writeFile } from 'node:fs/promises';
import { type Column, formatTable, paint, print, printJson } from '../src/cli/output.ts';
import { type ClauseVerdict, clauseVerdicts, totalsOf, type Verdict } from './verdicts.ts';

export interface ReportOptions {
  readonly json?: boolean;
  /** File for a JUnit report. */
  readonly junit?: string;
}

const CASE_COLUMNS: readonly Column[] = [
  { title: 'CASE' },
  { title: 'VERDICT' },
  { title: 'CLAUSES' },
  { title: 'WHAT' },
];
const CLAUSES_A_LINE = 10;
/** Control characters, which XML 1.0 cannot hold. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const NOT_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

/** Prints what a run came to and writes the JUnit file, if one is wanted. */
export async function report(verdicts: readonly Verdict[], options: ReportOptions): Promise<void> {
  if (options.junit !== undefined) await writeFile(options.junit, junitText(verdicts));
  if (options.json === true) printJson(reportJson(verdicts));
  else print(reportText(verdicts));
}

/** The contract of `--json`: one object. */
export function reportJson(verdicts: readonly Verdict[]): object {
  return { ...totalsOf(verdicts), cases: verdicts, clauses: clauseVerdicts(verdicts) };
}

export function reportText(verdicts: readonly Verdict[]): string {
  const { passed, failed, skipped } = totalsOf(verdicts);
  const lines = [...groupLines(verdicts)];
  const spoken = verdicts.filter(({ outcome }) => outcome !== 'pass');
  if (spoken.length > 0) {
    const rows = spoken.map(({ id, outcome, brokenClause, clauses, title, detail }) => [
      id,
      outcome === 'fail' ? 'FAIL' : 'skipped',
      brokenClause ?? clauses.join(' '),
      `${title}${detail === undefined ? '' : `: ${detail}`}`,
    ]);
    lines.push('', formatTable(CASE_COLUMNS, rows));
  }
  lines.push('', ...clauseLines(clauseVerdicts(verdicts)), '');
  lines.push(`${verdicts.length} cases: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  return lines.join('\n');
}

function* groupLines(verdicts: readonly Verdict[]): Iterable<string> {
  const groups = new Map<string, Verdict[]>();
  for (const verdict of verdicts) groups.set(verdict.group, [...(groups.get(verdict.group) ?? []), verdict]);
  const width = Math.max(...[...groups.keys()].map((name) => name.length));
  for (const [name, own] of groups) {
    const { passed, failed, skipped } = totalsOf(own);
    const word = failed > 0 ? paint('red', 'FAIL') : passed > 0 ? paint('green', 'pass') : 'skipped';
    const counts = [
      `${passed} of ${own.length}`,
      failed > 0 ? `${failed} failed` : '',
      skipped > 0 ? `${skipped} skipped` : '',
    ];
    yield `${name.padEnd(width)}  ${word}  ${counts.filter((count) => count !== '').join(', ')}`;
  }
}

function* clauseLines(clauses: readonly ClauseVerdict[]): Iterable<string> {
  const named = (outcome: ClauseVerdict['outcome']): string[] =>
    clauses.filter((clause) => clause.outcome === outcome).map(({ clause }) => clause);
  for (const [word, list] of [
    ['clauses kept', named('pass')],
    ['clauses broken', named('fail')],
    ['clauses not looked at', named('skipped')],
  ] as const) {
    if (list.length === 0) continue;
    yield `${word}: ${list.length}`;
    for (let at = 0; at < list.length; at += CLAUSES_A_LINE)
      yield `  ${list.slice(at, at + CLAUSES_A_LINE).join(' ')}`;
  }
}

/** A JUnit report: one suite a group. */
export function junitText(verdicts: readonly Verdict[]): string {
  const groups = new Map<string, Verdict[]>();
  for (const verdict of verdicts) groups.set(verdict.group, [...(groups.get(verdict.group) ?? []), verdict]);
  const { failed, skipped } = totalsOf(verdicts);
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="gramline conformance" tests="${verdicts.length}" failures="${failed}" skipped="${skipped}">`,
  ];
  for (const [name, own] of groups) {
    const totals = totalsOf(own);
    lines.push(
      `  <testsuite name="${xml(name)}" tests="${own.length}" failures="${totals.failed}" skipped="${totals.skipped}">`,
    );
    for (const verdict of own) lines.push(...caseLines(verdict));
    lines.push('  </testsuite>');
  }
  lines.push('</testsuites>', '');
  return lines.join('\n');
}

function caseLines({ id, title, group, clauses, outcome, brokenClause, detail, seconds }: Verdict): string[] {
  const head = `    <testcase classname="${xml(group)}" name="${xml(`${id} ${title} [${clauses.join(' ')}]`)}" time="${seconds.toFixed(3)}"`;
  if (outcome === 'pass') return [`${head}/>`];
  const text = xml(detail ?? '');
  const inner =
    outcome === 'fail'
      ? `      <failure type="${xml(brokenClause ?? '')}" message="${text}"/>`
      : `      <skipped message="${text}"/>`;
  return [`${head}>`, inner, '    </testcase>'];
}

function xml(text: string): string {
  return text
    .replaceAll(NOT_XML, '?')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
