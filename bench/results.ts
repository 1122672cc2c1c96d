/** What a run found, and how it is told: tables for people, JSON for programs. */

import { type Goal, median, type RatioOf, ratioSpread, reaches, type Spread, spread } from './statistics.ts';

/** Ours beside a peer's, measured in turn; or, without a peer, ours alone. */
export interface Row {
  readonly case: string;
  readonly name: string;
  readonly unit: string;
  readonly ours: readonly number[];
  readonly peer?: { readonly name: string; readonly values: readonly number[]; readonly ratioOf: RatioOf };
  /** Bar for the ratio, or for the value where there is no peer. */
  readonly goal?: Goal;
}

export interface Judged extends Row {
  readonly oursMedian: number;
  readonly theirsMedian?: number;
  /** Of the ratio, or of the value where there is no peer. */
  readonly spread: Spread;
  readonly reached?: boolean;
}

export interface Skipped {
  readonly case: string;
  readonly what: string;
  readonly why: string;
}

export function judge(row: Row): Judged {
  const found =
    row.peer === undefined ? spread(row.ours) : ratioSpread(row.ours, row.peer.values, row.peer.ratioOf);
  return {
    ...row,
    oursMedian: median(row.ours),
    ...(row.peer === undefined ? {} : { theirsMedian: median(row.peer.values) }),
    spread: found,
    ...(row.goal === undefined ? {} : { reached: reaches(row.goal, found.median) }),
  };
}

const HEADINGS = ['', 'Gramline', 'peer', 'peer is', 'ratio', 'spread', 'goal', ''];

/** The rows as a table, a case a block. */
export function formatTable(rows: readonly Judged[]): string {
  const lines: (readonly string[] | string)[] = [HEADINGS];
  let last = '';
  for (const row of rows) {
    if (row.case !== last) lines.push(`\n${row.case}`);
    last = row.case;
    lines.push(cellsOf(row));
  }
  const tables = lines.filter((line) => typeof line !== 'string');
  const widths = HEADINGS.map((_heading, column) =>
    Math.max(...tables.map((cells) => cells[column]!.length)),
  );
  // Names are read from the left, figures from the right.
  const isText = (column: number): boolean => column === 0 || column === 3 || column === 7;
  const align = (cell: string, column: number): string =>
    isText(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!);
  return lines
    .map((line) => (typeof line === 'string' ? line : `  ${line.map(align).join('  ')}`.trimEnd()))
    .join('\n');
}

function cellsOf(row: Judged): readonly string[] {
  const { name, unit, peer, spread: found, goal, reached } = row;
  const isRatio = peer !== undefined;
  const show = isRatio ? (value: number) => value.toFixed(2) : formatFigure;
  return [
    name,
    `${formatFigure(row.oursMedian)} ${unit}`,
    isRatio ? `${formatFigure(row.theirsMedian!)} ${unit}` : '',
    peer?.name ?? '',
    isRatio ? `${found.median.toFixed(2)}${peer.ratioOf === 'ours/theirs' ? '' : ' *'}` : '',
    found.min === found.max ? '' : `${show(found.min)} .. ${show(found.max)}`,
    goal === undefined ? '' : 'atLeast' in goal ? `>= ${goal.atLeast}` : `<= ${goal.atMost}`,
    reached === undefined ? '' : reached ? 'reached' : 'not reached',
  ];
}

export const LEGEND =
  'Medians. Ratios are Gramline / peer; with * peer / Gramline. Spread: least .. greatest of the pairs.';

/** Three digits that matter, and no more. */
export function formatFigure(value: number): string {
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(size >= 10 ? 1 : size === 0 ? 0 : 2);
}
