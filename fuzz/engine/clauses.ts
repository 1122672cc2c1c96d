/** The clauses of the specification, by their numbers. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { specFolder } from './places.ts';
import { check } from './target.ts';

const CLAUSE = /^\*\*\[([A-Z]+-\d+)\]\*\*/gm;

let known: ReadonlySet<string> | undefined;

/** Numbers of all clauses; none where the program stands without its specification. */
function clauses(): ReadonlySet<string> {
  const folder = specFolder();
  if (folder === undefined) return new Set();
  const pages = readdirSync(folder).filter((name) => /^\d\d-.*\.md$/.test(name));
  const texts = pages.map((name) => readFileSync(join(folder, name), 'utf8'));
  return new Set(texts.flatMap((text) => [...text.matchAll(CLAUSE)].map((match) => match[1]!)));
}

/** Checks that the text of a CLOSE for a broken rule begins with a clause that exists [SES-20]; the clause. */
export function checkClause(text: string): string {
  known ??= clauses();
  const clause = /^\[([A-Z]+-\d+)\] ./.exec(text)?.[1];
  check(clause !== undefined, `closed for a broken rule without a clause: ${text}`);
  check(known.size === 0 || known.has(clause), `closed for [${clause}], which the specification lacks`);
  return clause;
}
