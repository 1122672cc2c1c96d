/**
 * `npm run spec`: prints which clauses are cited and proven, and fails when a MUST is not, or when
 * `clauses.json` is not what the citations give. `npm run spec -- --write` writes that file anew.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { lackingOf, readSpecification, toJson, toTable } from './coverage.ts';

/** npm runs its scripts in the folder of the package. */
const ROOT = '.';
const FILE = `${ROOT}/spec/clauses.json`;

const unknown = process.argv.slice(2).filter((word) => word !== '--write');
if (unknown.length > 0) {
  console.error(`usage: npm run spec -- [--write]; ${unknown[0]} is unknown`);
  process.exit(2);
}
const { coverage } = readSpecification(ROOT);
const json = toJson(coverage);
if (process.argv.includes('--write')) writeFileSync(FILE, json);
console.log(toTable(coverage));
const isFresh = existsSync(FILE) && readFileSync(FILE, 'utf8') === json;
if (!isFresh) console.error(`\n${FILE} is not what the citations give: npm run spec -- --write`);
if (!isFresh || lackingOf(coverage).length > 0) process.exitCode = 1;
