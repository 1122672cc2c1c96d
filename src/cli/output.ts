/** What stands on stdout: text for people, JSON for programs. */

import { styleText } from 'node:util';

const SIZE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;
const COLUMN_GAP = '  ';

/** `98.2 MB`: decimal units, three digits or so. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < SIZE_UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits).replace(/\.0$/, '')} ${SIZE_UNITS[unit]!}`;
}

/** `0.41 s`, `12.3 s`. */
export function formatSeconds(seconds: number): string {
  return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
}

/** `240 MB/s`. */
export function formatRate(bytes: number, seconds: number): string {
  return `${formatBytes(seconds > 0 ? bytes / seconds : 0)}/s`;
}

/** `1 object`, `2 objects`. */
export function formatCount(count: number, noun: string): string {
  return `${count.toLocaleString('en-US')} ${noun}${count === 1 ? '' : 's'}`;
}

export interface Column {
  readonly title: string;
  readonly align?: 'right';
}

/** Lines of a table whose columns are as wide as their widest cell. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const titles = columns.map((column) => column.title);
  const lines = titles.some((title) => title !== '') ? [titles, ...rows] : rows;
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, index) =>
          columns[index]!.align === 'right' ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!),
        )
        .join(COLUMN_GAP)
        .trimEnd(),
    )
    .join('\n');
}

/** Colours `text` where stdout is a terminal and NO_COLOR is not set. */
export function paint(style: 'green' | 'red' | 'yellow' | 'bold' | 'dim', text: string): string {
  const wanted = process.stdout.isTTY === true && (process.env.NO_COLOR ?? '') === '';
  return wanted && process.env.TERM !== 'dumb' ? styleText(style, text) : text;
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Seconds since `startedAt` (of `performance.now()`), to the microsecond. */
export function secondsSince(startedAt: number): number {
  return Math.round((performance.now() - startedAt) * 1000) / 1e6;
}

/** One object on one line. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value));
}

/** A line for the person at the terminal that is no result. */
export function remark(text: string): void {
  process.stderr.write(`gramline: ${text}\n`);
}
