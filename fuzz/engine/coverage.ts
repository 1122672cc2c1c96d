/**
 * Which parts of `src/` a run has reached, as V8's own coverage tells through the inspector.
 *
 * Code is counted by its characters: a part is reached when any block that holds it has run. Works on
 * the sources as a test runner loads them, and on a bundle, where a comment above the code says which file
 * it is of. Where Node has no inspector, {@link openCoverage} says so by giving nothing.
 */

import { readFileSync } from 'node:fs';
import type { Profiler, Session } from 'node:inspector';
import { fileURLToPath } from 'node:url';

/** A piece of a script, in characters. */
type Span = readonly [start: number, end: number];

/** Characters of each script that were reached, by the script's address. */
export type Ground = ReadonlyMap<string, readonly Span[]>;

/** What the bundler writes above the code of each file. */
const FILE_MARK = /^\/\/ (\S+\.ts)$/gm;

/**
 * Opens coverage of this thread; undefined where Node was built without an inspector, or refuses. To be
 * called before the code under test has run: what V8 has compiled by then is seen by whole functions only,
 * and for the same reason counting never pauses.
 */
export async function openCoverage(): Promise<Coverage | undefined> {
  try {
    const { Session } = await import('node:inspector');
    const session = new Session();
    session.connect();
    const coverage = new Coverage(session);
    coverage.start();
    return coverage;
  } catch {
    return undefined;
  }
}

export class Coverage {
  readonly #session: Session;
  /** For each script, where code of `src/` stands; undefined: nowhere. */
  readonly #ours = new Map<string, readonly Span[] | undefined>();

  constructor(session: Session) {
    this.#session = session;
  }

  start(): void {
    this.#post('Profiler.enable');
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  close(): void {
    this.#post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
  }

  /** What was reached since the last call. */
  take(): Ground {
    const taken = this.#post('Profiler.takePreciseCoverage') as
      | Profiler.TakePreciseCoverageReturnType
      | undefined;
    const ground = new Map<string, Span[]>();
    for (const { url, functions } of taken?.result ?? []) {
      const ours = this.#oursIn(url);
      if (ours === undefined) continue;
      const spans: Span[] = ground.get(url) ?? [];
      for (const { ranges } of functions) {
        const [outer] = ranges;
        if (
          outer !== undefined &&
          ours.some(([start, end]) => start <= outer.startOffset && outer.endOffset <= end)
        )
          spans.push(...reached(ranges));
      }
      ground.set(url, spans);
    }
    return ground;
  }

  #oursIn(url: string): readonly Span[] | undefined {
    if (!this.#ours.has(url)) this.#ours.set(url, oursIn(url));
    return this.#ours.get(url);
  }

  #post(method: string, parameters?: object): unknown {
    let outcome: unknown;
    // The session is with this thread: it answers before it returns.
    this.#session.post(method, parameters, (error: Error | null, result: unknown) => {
      if (error !== null) throw error;
      outcome = result;
    });
    return outcome;
  }
}

/** The parts of a function that ran: the first range is all of it, further ones stand inside others. */
function reached(ranges: readonly Profiler.CoverageRange[]): Span[] {
  const spans: Span[] = [];
  const open: { end: number; count: number }[] = [];
  let at = 0;
  const close = (until: number): void => {
    for (let top = open.at(-1); top !== undefined && top.end <= until; top = open.at(-1)) {
      advance(top.end, top.count);
      open.pop();
    }
  };
  const advance = (to: number, count: number): void => {
    if (to > at && count > 0) spans.push([at, to]);
    at = Math.max(at, to);
  };
  for (const { startOffset, endOffset, count } of ranges) {
    close(startOffset);
    advance(startOffset, open.at(-1)?.count ?? 0);
    at = startOffset;
    open.push({ end: endOffset, count });
  }
  close(Number.POSITIVE_INFINITY);
  return spans;
}

function oursIn(url: string): readonly Span[] | undefined {
  const isSource = /\/src\/[^?]*\.ts/.test(url) && !url.includes('/node_modules/');
  if (isSource) return [[0, Number.POSITIVE_INFINITY]];
  if (!url.startsWith('file:') || !/\.m?js$/.test(url)) return undefined;
  const spans: Span[] = [];
  const text = textOf(url);
  const marks = [...text.matchAll(FILE_MARK)];
  for (const [order, { 1: name, index }] of marks.entries()) {
    if (/^(?:.*\/)?src\//.test(name!)) spans.push([index, marks[order + 1]?.index ?? text.length]);
  }
  return spans.length === 0 ? undefined : spans;
}

function textOf(url: string): string {
  try {
    return readFileSync(fileURLToPath(url), 'utf8');
  } catch {
    return '';
  }
}

/** All that was reached so far. */
export class Reached {
  readonly #scripts = new Map<string, Uint8Array>();
  /** Characters in all. */
  characters = 0;

  /** How many characters of `ground` are new; those that several functions hold count for each. */
  gain(ground: Ground): number {
    let gain = 0;
    for (const [url, spans] of ground) {
      const known = this.#scripts.get(url);
      for (const [start, end] of spans) {
        for (let at = start; at < end; at++) if (known?.[at] !== 1) gain += 1;
      }
    }
    return gain;
  }

  /** Takes `ground` in; how many of its characters were new. */
  add(ground: Ground): number {
    let gain = 0;
    for (const [url, spans] of ground) {
      let known = this.#scripts.get(url);
      for (const [start, end] of spans) {
        if (known === undefined || known.length < end) known = this.#grown(url, known, end);
        for (let at = start; at < end; at++) {
          if (known[at] === 1) continue;
          known[at] = 1;
          gain += 1;
        }
      }
    }
    this.characters += gain;
    return gain;
  }

  #grown(url: string, known: Uint8Array | undefined, bytes: number): Uint8Array {
    const larger = new Uint8Array(Math.max(bytes, (known?.length ?? 0) * 2));
    if (known !== undefined) larger.set(known);
    this.#scripts.set(url, larger);
    return larger;
  }
}
