/** What a campaign says: on the way, and at its end, for people and for programs. */

import { MARKS } from '../src/base/marks.ts';
import { formatCount, formatTable } from '../src/cli/output.ts';
import type { Minimised } from './minimise.ts';
import type { Tally } from './tally.ts';

/** One line on the way. */
export function progressLine(tally: Tally, count: number, seconds: number): string {
  const { seeds, failed, virtualHours } = tally;
  const rate = (seeds / Math.max(seconds, 0.001)).toFixed(1);
  const hours = (virtualHours / Math.max(seconds, 0.001)).toFixed(2);
  const missed = tally.missedMarks.length;
  return (
    `${seeds} of ${count} seeds, ${failed} failed, ${rate} a second, ` +
    `${hours} simulated hours a second, ${missed === 0 ? 'every mark hit' : `${formatCount(missed, 'mark')} to hit`}`
  );
}

/** The end of a campaign, for people. */
export function summaryText(tally: Tally, seconds: number): string {
  const { seeds, failed, virtualHours, events, datagrams } = tally;
  const faults = tally.faults.map(([kind, times]) => [kind, String(times)]);
  const outcomes = tally.outcomes.map(([outcome, times]) => [outcome, String(times)]);
  const marks = tally.marks.map(([name, times]) => [name, String(times), MARKS[name]]);
  const right = { align: 'right' } as const;
  return [
    `${seeds} seeds, ${failed} failed, in ${seconds.toFixed(1)} s (${(seeds / seconds).toFixed(1)} a second)`,
    `${virtualHours.toFixed(2)} simulated hours, ${(virtualHours / seconds).toFixed(3)} a second; ` +
      `${events} events, ${datagrams} datagrams`,
    '',
    formatTable([{ title: 'fault' }, { title: 'seeds', ...right }], faults),
    '',
    formatTable([{ title: 'outcome' }, { title: 'times', ...right }], outcomes),
    '',
    formatTable([{ title: 'mark' }, { title: 'seeds', ...right }, { title: 'means' }], marks),
  ].join('\n');
}

/** The end of a campaign, for programs. */
export function summaryJson(tally: Tally, seconds: number, isComplete: boolean): Record<string, unknown> {
  const { seeds, failed, virtualHours, events, datagrams } = tally;
  return {
    seeds,
    failed,
    complete: isComplete,
    seconds: Math.round(seconds * 1_000) / 1_000,
    simulatedHours: Math.round(virtualHours * 1_000) / 1_000,
    simulatedHoursPerSecond: Math.round((virtualHours / seconds) * 1_000) / 1_000,
    events,
    datagrams,
    faults: Object.fromEntries(tally.faults),
    outcomes: Object.fromEntries(tally.outcomes),
    marks: Object.fromEntries(tally.marks),
    missedMarks: tally.missedMarks,
    failures: tally.failures,
  };
}

/** A failure that was made small. */
export function minimisedText({ error, faults, operations, tries }: Minimised): string {
  return [
    `made small in ${tries} runs; left are`,
    `  faults: ${faults.join(', ') || 'none'}`,
    `  operations: ${operations.join(', ') || 'none'}`,
    error.summary,
    ...error.lines.map((line) => `  ${line}`),
    `replay of that: ${error.replay}`,
  ].join('\n');
}
