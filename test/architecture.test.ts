/** The house stands as `ARCHITECTURE.md` draws it: who may import whom, and which rooms are pure. */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const SRC = fileURLToPath(new URL('../src/', import.meta.url));

/** Roof to cellar. A room imports from rooms below it, and from itself. */
const HOUSE = [
  ['cli'],
  ['front door'],
  ['gateways'],
  ['udp', 'store'],
  ['nodes'],
  ['session'],
  ['reliability', 'crypto'],
  ['wire'],
  ['native'],
  ['base'],
] as const;

const PURE_ROOMS = ['wire', 'crypto', 'reliability', 'session', 'base'];
/** The provider of `node:crypto` is the one exception. */
const IMPURE_FILE = join('crypto', 'node-suite.ts');
const IMPURE_NAMES =
  /\b(?:Date|performance|Math\.random|setTimeout|setInterval|setImmediate|queueMicrotask|process|require)\b(?!['"-])/;
const LINES_MAX = 450;

interface SourceFile {
  readonly path: string;
  readonly room: string;
  readonly text: string;
  /** Import specifiers, of types too. */
  readonly imports: readonly string[];
}

function roomOf(path: string): string {
  const [first, ...rest] = path.split(sep);
  return rest.length === 0 ? 'front door' : first!;
}

function importsOf(text: string): string[] {
  const found = text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*['"]([^'"]+)['"]/g);
  return [...found].map((match) => match[1]!);
}

/** Code without comments and string contents, so that prose names no clock. */
function codeOf(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/\/\/.*$/gm, '')
    .replace(/'(?:[^'\\\n]|\\.)*'/g, "''")
    .replace(/`(?:[^`\\]|\\.)*`/g, '``');
}

function load(): SourceFile[] {
  return readdirSync(SRC, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => {
      const path = relative(SRC, join(entry.parentPath, entry.name));
      const text = readFileSync(join(SRC, path), 'utf8');
      return { path, room: roomOf(path), text, imports: importsOf(text) };
    });
}

function floorOf(room: string): number {
  return HOUSE.findIndex((floor) => (floor as readonly string[]).includes(room));
}

/** Why `file` may not import `specifier`, or undefined. */
function breach(file: Pick<SourceFile, 'path' | 'room'>, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  const target = relative(SRC, resolve(SRC, dirname(file.path), specifier));
  const room = target.startsWith('..') ? 'outside' : roomOf(target);
  if (room === file.room) return undefined;
  if (floorOf(room) > floorOf(file.room)) return undefined;
  return `${file.path} imports ${target}`;
}

/** What `file` uses that a pure room may not. */
function impurity(file: Pick<SourceFile, 'path' | 'text' | 'imports'>): string | undefined {
  const module = file.imports.find((specifier) => specifier.startsWith('node:'));
  const name = IMPURE_NAMES.exec(codeOf(file.text))?.[0];
  const found = module ?? name;
  return found === undefined ? undefined : `${file.path} uses ${found}`;
}

const files = load();

describe('the house', () => {
  it('has no room without a floor', () => {
    expect(files.length).toBeGreaterThan(50);
    expect(files.filter((file) => floorOf(file.room) < 0).map((file) => file.path)).toEqual([]);
  });

  it('lets a room import only from rooms below it', () => {
    const breaches = files.flatMap((file) => file.imports.map((specifier) => breach(file, specifier)));
    expect(breaches.filter((found) => found !== undefined)).toEqual([]);
  });

  it('would notice an import upwards, sideways and out of the house', () => {
    expect(breach({ path: 'wire/x.ts', room: 'wire' }, '../session/session.ts')).toBeDefined();
    expect(breach({ path: 'crypto/x.ts', room: 'crypto' }, '../reliability/rtt.ts')).toBeDefined();
    expect(breach({ path: 'udp/x.ts', room: 'udp' }, '../store/index.ts')).toBeDefined();
    expect(breach({ path: 'nodes/x.ts', room: 'nodes' }, '../open.ts')).toBeDefined();
    expect(breach({ path: 'nodes/x.ts', room: 'nodes' }, '../../sim/random.ts')).toBeDefined();
    expect(breach({ path: 'nodes/x.ts', room: 'nodes' }, '../wire/index.ts')).toBeUndefined();
  });

  it('keeps gateways apart from each other', () => {
    const gateways = files.filter((file) => file.room === 'gateways' && !file.path.endsWith('index.ts'));
    const sideways = gateways.filter((file) => file.imports.some((specifier) => specifier.startsWith('./')));
    expect(sideways.map((file) => file.path)).toEqual([]);
  });

  it('keeps clocks, chance, timers and node modules out of the pure rooms', () => {
    const pure = files.filter((file) => PURE_ROOMS.includes(file.room) && file.path !== IMPURE_FILE);
    expect(pure.map(impurity).filter((found) => found !== undefined)).toEqual([]);
  });

  it('would notice a clock, chance, a timer and a node module', () => {
    const file = { path: 'wire/x.ts', imports: [] };
    for (const text of [
      'Date.now()',
      'performance.now()',
      'Math.random()',
      'setTimeout(f, 1)',
      'process.env',
    ]) {
      expect(impurity({ ...file, text })).toBeDefined();
    }
    expect(impurity({ ...file, text: '', imports: ['node:fs'] })).toBeDefined();
    expect(impurity({ ...file, text: '// Date is only prose here' })).toBeUndefined();
  });

  it('lets the roles in nodes/ touch the outside only through their ports', () => {
    const nodes = files.filter((file) => file.room === 'nodes');
    expect(nodes.map(impurity).filter((found) => found !== undefined)).toEqual([]);
  });

  it(`has no file above ${LINES_MAX} lines, but for the messages`, () => {
    const long = files.filter((file) => file.text.split('\n').length > LINES_MAX).map((file) => file.path);
    // One codec a message, all alike: splitting them would only scatter the list.
    expect(long.filter((path) => path !== join('wire', 'messages.ts'))).toEqual([]);
  });
});
