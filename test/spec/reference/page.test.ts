/** Page 08 of the specification: it says of every op, field and event of the vectors what they are. */

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LINE_BYTES_MAX, operationsBy } from '../../../conformance/subject.ts';
import { ITEMS_MAX, MESSAGE_CODECS, PACKET_TYPES } from '../../../spec/reference/json.ts';
import type { VectorFile } from '../../../spec/reference/vectors.ts';
import { nodeSuite } from '../../../src/crypto/node-suite.ts';

const PAGE = readFileSync(new URL('../../../spec/08-conformance.md', import.meta.url), 'utf8');
const FOLDER = new URL('../../../spec/vectors/', import.meta.url);
const cases = readdirSync(FOLDER).flatMap(
  (name) => (JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as VectorFile).cases,
);

/** The row of an op in its table, and the paragraphs that start with its name. */
function said(op: string): string {
  const row = PAGE.split('\n').filter((line) => line.startsWith(`| ${op} |`));
  const text = PAGE.split(`**${op}.**`)[1]?.split(/\n\*\*[a-z]+\.[a-z]+\.\*\*|\n###/)[0] ?? '';
  return row.length === 1 ? `${row[0]}\n${text}` : '';
}

describe('page 08', () => {
  it('has one row for every op that a vector or our subject knows', () => {
    const ops = new Set([...cases.map(({ op }) => op), ...Object.keys(operationsBy(nodeSuite))]);
    expect([...ops].filter((op) => said(op) === '')).toEqual([]);
    const rows = [...PAGE.matchAll(/^\| ([a-z]+\.[a-z]+) \|/gm)].map((match) => match[1]!);
    expect(rows.toSorted()).toEqual([...ops].toSorted());
  });

  it('is backed by at least one vector of every op', () => {
    const shown = new Set(cases.map(({ op }) => op));
    expect(Object.keys(operationsBy(nodeSuite)).filter((op) => !shown.has(op))).toEqual([]);
  });

  it('names every field of every request, reply and event', () => {
    const missing = new Set<string>();
    for (const { op, in: request, out } of cases) {
      const text = `${said(op)}\n${op === 'sender.trace' ? said('recovery.trace') : ''}`;
      // The request of handshake.finish is that of handshake.prove and one field more.
      const all = op === 'handshake.finish' ? `${text}\n${said('handshake.prove')}` : text;
      const names = [
        ...Object.keys(request),
        ...('ok' in out ? Object.keys(out.ok) : []),
        ...[request.events, 'ok' in out ? out.ok.results : undefined].flatMap((list) =>
          (Array.isArray(list) ? list : []).flatMap((item) => Object.keys(item as object)),
        ),
      ].filter((name) => name !== 'at' && name !== 'event');
      for (const name of names) if (!new RegExp(`\\b${name}\\b`).test(all)) missing.add(`${op}: ${name}`);
      for (const { event } of (request.events ?? []) as readonly { event?: string }[]) {
        if (event !== undefined && !all.includes(`| ${event} |`)) missing.add(`${op}: event ${event}`);
      }
    }
    expect([...missing]).toEqual([]);
  });

  it('names every packet, and messages as the vectors do', () => {
    for (const type of PACKET_TYPES.slice(1)) expect(PAGE).toContain(`| ${type} |`);
    const shown = new Set(
      cases.flatMap(({ in: request }) => (request.message === undefined ? [] : [request.message])),
    );
    expect([...shown].toSorted()).toEqual(Object.keys(MESSAGE_CODECS).toSorted());
  });

  it('states our maxima', () => {
    expect(PAGE).toContain(`at most ${LINE_BYTES_MAX.toLocaleString('en')} bytes`);
    const longest = Math.max(
      ...cases.map(({ op, in: request }) => JSON.stringify({ id: 1, op, ...request }).length),
    );
    expect(longest).toBeLessThan(LINE_BYTES_MAX);
    const items = cases.map(({ in: request }) => (Array.isArray(request.events) ? request.events.length : 0));
    expect(Math.max(...items)).toBeLessThan(ITEMS_MAX);
  });
});
