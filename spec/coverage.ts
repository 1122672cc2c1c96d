/**
 * Which source obeys or checks each clause of `spec/`, and which test proves it: found from the
 * citations in both, so that it can't grow old. `coverage-command.ts` prints it and writes it to
 * `clauses.json`, `test/spec/clauses.test.ts` holds it against the pages.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where sources stand that obey the clauses of all pages. */
const SOURCE_FOLDERS = ['src'];
/** Where sources stand that obey the clauses about tools, which are those of pages 08 and 09. */
const TOOL_FOLDERS = ['sim', 'fuzz', 'conformance', 'lab', 'spec/reference'];
const TOOL_PAGE = /^spec\/0[89]-/;
const TEST_FOLDERS = ['test'];
const VECTOR_FOLDER = 'spec/vectors';
const CASE_FOLDER = 'conformance/cases';
/** Their own cases are made-up clauses and citations. */
const NOT_A_PROOF: ReadonlySet<string> = new Set([
  'test/spec/clauses.test.ts',
  'test/conformance/run-cases.test.ts',
  'test/fuzz/oracles.test.ts',
]);
const SUMMARY_LENGTH_MAX = 120;

export type Level = 'MUST' | 'SHOULD' | 'MAY' | 'statement';

export interface Clause {
  readonly id: string;
  /** Path of the page. */
  readonly page: string;
  /** Number and title of the section, such as `1.2 Datagrams and packets`. */
  readonly section: string;
  /** The strongest word in it; MUST NOT counts as MUST. */
  readonly level: Level;
  /** Its first sentence, or as much as fits. */
  readonly summary: string;
  /** The whole paragraph. */
  readonly text: string;
}

export interface Citation {
  readonly id: string;
  readonly path: string;
  readonly line: number;
  /** Declaration or test that the citation belongs to, `undefined` at the head of a file. */
  readonly owner: string | undefined;
}

/** A clause with what obeys and what proves it. */
export interface Coverage {
  readonly id: string;
  readonly page: string;
  readonly section: string;
  readonly level: Level;
  readonly summary: string;
  /** `path#symbol`, or a path where the file as a whole cites it. */
  readonly enforcedBy: readonly string[];
  /** `path > title`: a test, a case of the conformance runner, or a file of vectors. */
  readonly provenBy: readonly string[];
}

export interface Specification {
  readonly clauses: readonly Clause[];
  readonly coverage: readonly Coverage[];
  /** Every citation, also those of clauses that do not exist. */
  readonly citations: readonly Citation[];
}

interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** Reads pages, sources, tests, vectors and cases under `root`, the folder of the repository. */
export function readSpecification(root: string): Specification {
  const clauses = filesUnder(root, 'spec', '.md').flatMap(({ path, text }) => clausesOf(path, text));
  const sources = read(root, SOURCE_FOLDERS, '.ts').flatMap(({ path, text }) => sourceCitations(path, text));
  const isCase = ({ path }: SourceFile): boolean => path.startsWith(`${CASE_FOLDER}/`);
  const tools = read(root, TOOL_FOLDERS, '.ts')
    .filter((file) => !isCase(file))
    .flatMap(({ path, text }) => sourceCitations(path, text));
  const proofs = [
    ...read(root, TEST_FOLDERS, '.ts')
      .filter(({ path }) => !NOT_A_PROOF.has(path))
      .flatMap(({ path, text }) => testCitations(path, text)),
    ...filesUnder(root, CASE_FOLDER, '.ts').flatMap(({ path, text }) => caseCitations(path, text)),
    ...filesUnder(root, VECTOR_FOLDER, '.json').flatMap(({ path, text }) => vectorCitations(path, text)),
  ];
  const coverage = clauses.map(({ id, page, section, level, summary }) => {
    const enforcing = TOOL_PAGE.test(page) ? [...sources, ...tools] : sources;
    const named = enforcing.filter((citation) => citation.id === id);
    const proving = proofs.filter((citation) => citation.id === id && citation.owner !== undefined);
    return {
      id,
      page,
      section,
      level,
      summary,
      enforcedBy: distinct(named.map(({ path, owner }) => (owner === undefined ? path : `${path}#${owner}`))),
      provenBy: distinct(proving.map(({ path, owner }) => `${path} > ${owner}`)),
    };
  });
  return { clauses, coverage, citations: [...sources, ...tools, ...proofs] };
}

/** What stands in `clauses.json`: one clause after the other, in the order of the pages. */
export function toJson(coverage: readonly Coverage[]): string {
  const about = 'Generated from the pages and the citations: npm run spec -- --write';
  return `${JSON.stringify({ about, clauses: coverage }, undefined, 1)}\n`;
}

/** The table that `npm run spec` prints: a line for each section, then each MUST that lacks something. */
export function toTable(coverage: readonly Coverage[]): string {
  const lines = [row('section', 'clauses', 'cited', 'proven', 'with a MUST', 'cited', 'proven')];
  for (const section of new Set(coverage.map((clause) => clause.section)))
    lines.push(
      rowOf(
        section,
        coverage.filter((clause) => clause.section === section),
      ),
    );
  lines.push(rowOf('all', coverage));
  const lacking = lackingOf(coverage);
  lines.push('', lacking.length === 0 ? 'Every MUST is cited by a source and proven by a test.' : 'Lacking:');
  return [...lines, ...lacking].join('\n');
}

/** A line for every clause with a MUST that no source cites or no test proves. */
export function lackingOf(coverage: readonly Coverage[]): string[] {
  return coverage
    .filter(({ level }) => level === 'MUST')
    .flatMap(({ id, page, enforcedBy, provenBy, summary }) => [
      ...(enforcedBy.length === 0 ? [`[${id}] of ${page} is cited by no source: ${summary}`] : []),
      ...(provenBy.length === 0 ? [`[${id}] of ${page} is proven by no test: ${summary}`] : []),
    ]);
}

/** A clause is a paragraph whose first line starts with its number, bold and in brackets. */
export function clausesOf(page: string, text: string): Clause[] {
  let section = page;
  return text.split(/\n\s*\n/).flatMap((paragraph) => {
    section = /^## (.+)/.exec(paragraph)?.[1] ?? section;
    const id = /^\*\*\[([A-Z]+-\d+)\]\*\* /.exec(paragraph)?.[1];
    if (id === undefined) return [];
    return [{ id, page, section, level: levelOf(paragraph), summary: summaryOf(paragraph), text: paragraph }];
  });
}

/**
 * Every clause number in brackets, and those with which a session is closed. The owner is the
 * declaration that a comment stands above, or else the one that the line stands in.
 */
export function sourceCitations(path: string, text: string): Citation[] {
  const lines = text.split('\n');
  return lines.flatMap((line, index) => {
    const found = line.matchAll(/\[([A-Z]+-\d+)\]|\bviolation\(\s*'([A-Z]+-\d+)'/g);
    return [...found].map((match) => ({
      id: (match[1] ?? match[2])!,
      path,
      line: index + 1,
      owner: declarationAt(lines, index),
    }));
  });
}

/**
 * Every clause number in brackets or alone in quotes. The owner is the title of the test: the one that
 * the number stands in, the one that a comment stands above, or else the last one before it.
 */
export function testCitations(path: string, text: string): Citation[] {
  const titles = titlesOf(text);
  return [...text.matchAll(/\[([A-Z]+-\d+)\]|'([A-Z]+-\d+)'/g)].map((match) => ({
    id: (match[1] ?? match[2])!,
    path,
    line: lineOf(text, match.index),
    owner: titleAt(text, titles, match.index),
  }));
}

/** Numbers in a file of conformance cases, each with the case (`W-012`) that it stands behind. */
function caseCitations(path: string, text: string): Citation[] {
  const cases = [...text.matchAll(/['"`](W-\d+)['"`]/g)];
  return [...text.matchAll(/['"`[]([A-Z]+-\d+)['"`\]]/g)]
    .filter((match) => !match[1]!.startsWith('W-'))
    .map((match) => ({
      id: match[1]!,
      path,
      line: lineOf(text, match.index),
      owner: cases.filter(({ index }) => index < match.index).at(-1)?.[1],
    }));
}

/** The clauses of the cases in a file of vectors. */
function vectorCitations(path: string, text: string): Citation[] {
  const file = JSON.parse(text) as { cases?: readonly { clause?: string | readonly string[] }[] };
  return (file.cases ?? []).flatMap(({ clause }) =>
    [clause ?? []].flat().map((id) => ({ id, path, line: 1, owner: 'vectors' })),
  );
}

function levelOf(paragraph: string): Level {
  return (['MUST', 'SHOULD', 'MAY'] as const).find((word) => paragraph.match(`\\b${word}\\b`)) ?? 'statement';
}

function summaryOf(paragraph: string): string {
  const text = paragraph.replace(/^\*\*\[[A-Z]+-\d+\]\*\* /, '').replaceAll(/\s+/g, ' ');
  const sentence = /^.*?[.:](?= |$)/.exec(text)?.[0] ?? text;
  return sentence.length <= SUMMARY_LENGTH_MAX ? sentence : `${sentence.slice(0, SUMMARY_LENGTH_MAX - 3)}...`;
}

const TOP_DECLARATION =
  /^(?:export )?(?:abstract )?(?:async )?(function\*?|class|const|let|interface|type) (\w+)/;
const MEMBER_DECLARATION =
  /^ {2}(?:(?:static|async|get|set|override|readonly|private) )*([#\w]+)\s*(?:<[^>]*>)?(?:\(.*[{,(]$|.*=>.*|: .*;$| = .*)/;

/** `name`, or `class.member`. */
function declarationAt(lines: readonly string[], index: number): string | undefined {
  let at = index;
  const isComment = (line: string | undefined): boolean =>
    line !== undefined && /^\s*(?:\/\/|\/?\*)/.test(line);
  if (isComment(lines[index])) {
    while (isComment(lines[at])) at++;
    if (!isDeclaration(lines[at])) at = index;
  }
  let member: string | undefined;
  for (; at >= 0; at--) {
    const line = lines[at]!;
    const top = TOP_DECLARATION.exec(line);
    if (top !== null) return member === undefined || top[1] !== 'class' ? top[2] : `${top[2]}.${member}`;
    if (line.startsWith('}')) return undefined;
    if (!isComment(line)) member ??= MEMBER_DECLARATION.exec(line)?.[1];
  }
  return undefined;
}

function isDeclaration(line: string | undefined): boolean {
  return line !== undefined && (TOP_DECLARATION.test(line) || MEMBER_DECLARATION.test(line));
}

interface Title {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** A title is the text with which a call of `it`, `test` or `describe` begins, also behind `.each(...)`. */
function titlesOf(text: string): Title[] {
  const pattern =
    /(?:\b(?:it|test|describe)(?:\.(?:concurrent|sequential|only|each))*|\))\(\s*('(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)\s*,/g;
  return [...text.matchAll(pattern)].map((match) => {
    const start = match.index + match[0].indexOf(match[1]!);
    return { start, end: start + match[1]!.length, text: match[1]!.slice(1, -1) };
  });
}

function titleAt(text: string, titles: readonly Title[], position: number): string | undefined {
  const within = titles.find(({ start, end }) => start <= position && position < end);
  if (within !== undefined) return within.text;
  const next = titles.find(({ start }) => start > position);
  const rest = text.slice(position, next?.start ?? position).split('\n');
  const line = text.slice(text.lastIndexOf('\n', position) + 1, position);
  const isAbove = /^\s*(?:\/\/|\/?\*)/.test(line) && /^(?:\s*(?:\/\/|\/?\*).*)*$/.test(line);
  const firstCode = rest.slice(1).find((other) => !/^\s*(?:\/\/|\/?\*)/.test(other));
  if (
    next !== undefined &&
    isAbove &&
    firstCode !== undefined &&
    /^\s*(?:it|test|describe)\b/.test(firstCode)
  )
    return next.text;
  return titles.filter(({ start }) => start < position).at(-1)?.text ?? next?.text;
}

function lineOf(text: string, position: number): number {
  return text.slice(0, position).split('\n').length;
}

function rowOf(section: string, clauses: readonly Coverage[]): string {
  const required = clauses.filter(({ level }) => level === 'MUST');
  const cited = (of: readonly Coverage[]): number =>
    of.filter(({ enforcedBy }) => enforcedBy.length > 0).length;
  const proven = (of: readonly Coverage[]): number => of.filter(({ provenBy }) => provenBy.length > 0).length;
  const cells = [clauses.length, cited(clauses), proven(clauses), required.length, cited(required)];
  return row(section, ...[...cells, proven(required)].map(String));
}

function row(...[section, ...cells]: readonly string[]): string {
  return `${section!.padEnd(46)}${cells.map((cell) => cell.padStart(13)).join('')}`;
}

function distinct(values: readonly string[]): string[] {
  return [...new Set(values)].sort();
}

function read(root: string, folders: readonly string[], extension: string): SourceFile[] {
  return folders.flatMap((folder) => filesUnder(root, folder, extension));
}

/** Files in the order of their paths, so that the same tree gives the same bytes everywhere. */
export function filesUnder(root: string, folder: string, extension: string): SourceFile[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(extension))
    .map((name) => `${folder}/${name}`)
    .sort()
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}
