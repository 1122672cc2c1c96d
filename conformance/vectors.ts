/** Vector files [CONF-8], and a subject that is asked every one of their cases. */

import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../src/cli/failures.ts';
import { CaseFailure } from './expectations.ts';
import { firstDifference, isObject, valueAt } from './json.ts';
import type { RunLimits, VerdictListener } from './run-cases.ts';
import type { SubjectProcess } from './subject-process.ts';
import type { Verdict } from './verdicts.ts';

/** Files of one folder, and bytes of one file, that are looked at. */
const FILES_MAX = 1_000;
const FILE_BYTES_MAX = 64 * 1024 * 1024;
const CASES_MAX = 1_000_000;
const CLAUSE = /^[A-Z]+-\d+$/;
const VALUE_SHOWN = 120;

/** One case of a vector file. */
export interface Vector {
  /** `frames:one PING`. */
  readonly id: string;
  readonly title: string;
  /** The title of its file. */
  readonly group: string;
  readonly clauses: readonly string[];
  readonly op: string;
  readonly in: Record<string, unknown>;
  readonly out: Record<string, unknown>;
  /** How much numbers of the reply may differ. */
  readonly within: number;
}

/** Where the vectors of this version are: beside the sources, or in the package. */
export function vectorsDirectory(): string {
  const near = ['../spec/vectors', '../../spec/vectors'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  return near.find((path) => existsSync(path)) ?? near[1]!;
}

/** All cases of a folder's `*.json`; throws a usage error in one sentence when a file is no vector file. */
export async function readVectors(directory: string): Promise<Vector[]> {
  let names: string[];
  try {
    names = (await readdir(directory)).filter((name) => name.endsWith('.json')).sort();
  } catch (error) {
    throw new UsageError(
      `the vectors in ${directory} can't be read: ${(error as NodeJS.ErrnoException).code}`,
    );
  }
  if (names.length === 0) throw new UsageError(`there are no vectors (*.json) in ${directory}`);
  if (names.length > FILES_MAX) throw new UsageError(`more than ${FILES_MAX} vector files in ${directory}`);
  const vectors: Vector[] = [];
  for (const name of names) vectors.push(...(await readVectorFile(join(directory, name), name)));
  if (vectors.length > CASES_MAX) throw new UsageError(`more than ${CASES_MAX} cases in ${directory}`);
  return vectors;
}

async function readVectorFile(path: string, name: string): Promise<Vector[]> {
  const wrong = (why: string): UsageError => new UsageError(`${path} is no vector file: ${why}`);
  let text: string;
  try {
    const bytes = await readFile(path);
    if (bytes.length > FILE_BYTES_MAX) throw wrong(`it has more than ${FILE_BYTES_MAX} bytes`);
    text = bytes.toString('utf8');
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw wrong(`it can't be read (${(error as NodeJS.ErrnoException).code})`);
  }
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    throw wrong('it is no JSON');
  }
  if (!isObject(file) || typeof file.title !== 'string') throw wrong('it has no title');
  if (!Array.isArray(file.cases) || file.cases.length === 0) throw wrong('it has no cases');
  const { title, cases } = file;
  const seen = new Set<string>();
  return cases.map((each: unknown, index) => {
    const vector = vectorOf(each, name.replace(/\.json$/, ''), title);
    if (typeof vector === 'string') throw wrong(`case ${index + 1}: ${vector}`);
    if (seen.has(vector.id)) throw wrong(`case ${index + 1}: its name is there twice`);
    seen.add(vector.id);
    return vector;
  });
}

/** The case, or what is wrong with it. */
function vectorOf(each: unknown, file: string, group: string): Vector | string {
  if (!isObject(each)) return 'it is no object';
  const { name, clause, op, out, within = 0 } = each;
  if (typeof name !== 'string' || name === '') return 'it has no name';
  const clauses = Array.isArray(clause) ? clause : [clause];
  const isClause = (text: unknown): text is string => typeof text === 'string' && CLAUSE.test(text);
  if (clauses.length === 0 || !clauses.every(isClause)) return 'it names no clause';
  if (typeof op !== 'string' || op === '') return 'it has no op';
  if (!isObject(each.in)) return 'it has no in';
  if (Object.hasOwn(each.in, 'id') || Object.hasOwn(each.in, 'op')) return 'its in has an id or an op';
  if (!isObject(out) || Object.keys(out).length !== 1) return 'its out is no reply';
  if (!['ok', 'refused', 'unsupported', 'error'].some((field) => Object.hasOwn(out, field))) {
    return 'its out is no reply';
  }
  if (typeof within !== 'number' || !(within >= 0)) return 'its within is no number';
  return { id: `${file}:${name}`, title: name, group, clauses, op, in: each.in, out, within };
}

/** Asks the subject every case, one after the other. */
export async function runVectors(
  subject: SubjectProcess,
  vectors: readonly Vector[],
  limits: Omit<RunLimits, 'atOnce'>,
  onVerdict: VerdictListener = () => undefined,
): Promise<Verdict[]> {
  const endAt = performance.now() + limits.totalMillis;
  const verdicts: Verdict[] = [];
  for (const [index, vector] of vectors.entries()) {
    const verdict = await judge(
      subject,
      vector,
      index + 1,
      Math.min(limits.caseMillis, endAt - performance.now()),
    );
    verdicts.push(verdict);
    if (onVerdict(verdict) === 'enough') break;
  }
  return verdicts;
}

async function judge(subject: SubjectProcess, vector: Vector, id: number, millis: number): Promise<Verdict> {
  const startedAt = performance.now();
  const { title, group, clauses } = vector;
  const verdict = (outcome: Verdict['outcome'], detail?: string): Verdict => ({
    id: vector.id,
    title,
    group,
    clauses,
    outcome,
    ...(outcome === 'fail' ? { brokenClause: clauses[0]! } : {}),
    ...(detail === undefined ? {} : { detail }),
    seconds: (performance.now() - startedAt) / 1000,
  });
  if (millis <= 0) return verdict('skipped', 'the time of the run was over');
  try {
    const reply = await subject.ask(id, { op: vector.op, ...vector.in }, millis);
    if (reply.unsupported === true && vector.out.unsupported !== true) {
      return verdict('skipped', `the subject does not know the op '${vector.op}'`);
    }
    const difference = differenceOf(vector, reply);
    return difference === undefined ? verdict('pass') : verdict('fail', difference);
  } catch (error) {
    if (error instanceof CaseFailure) return verdict('fail', error.message);
    throw error;
  }
}

/** What is wrong with a reply, in words. */
function differenceOf({ out, within }: Vector, reply: Record<string, unknown>): string | undefined {
  // The texts of errors are for people.
  if (Object.hasOwn(out, 'error') && typeof reply.error === 'string') return undefined;
  if (typeof reply.error === 'string') return `the subject took the request for malformed: ${reply.error}`;
  const path = firstDifference(out, reply, within);
  if (path === undefined) return undefined;
  return `at ${path} expected ${shown(valueAt(out, path))}; saw ${shown(valueAt(reply, path))}`;
}

function shown(value: unknown): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value);
  return text.length <= VALUE_SHOWN ? text : `${text.slice(0, VALUE_SHOWN)}...`;
}
