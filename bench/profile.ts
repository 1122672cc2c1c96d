/** Reads what the profiler wrote: where a process spent its time, function by function. */

import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  /** From 0, both. */
  readonly lineNumber: number;
  readonly columnNumber: number;
}

/** Names the source of a function. */
export type SourceOf = (frame: CallFrame) => string;

export interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: CallFrame;
  }[];
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

export interface FunctionTime {
  readonly name: string;
  /** Source file, or what else there is to say about its place. */
  readonly where: string;
  readonly micros: number;
  /** Of the time in which the process did anything. */
  readonly share: number;
}

const IDLE = '(idle)';

/**
 * The functions with the most time of their own, most first.
 */
export function selfTimes(
  profile: Profile,
  count: number,
  sourceOf: SourceOf,
): { readonly busyMicros: number; readonly functions: readonly FunctionTime[] } {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const times = new Map<string, { name: string; where: string; micros: number }>();
  let busyMicros = 0;
  profile.samples.forEach((id, index) => {
    const frame = frames.get(id);
    // The last span of time ends with the process and belongs to no sample.
    const micros = Math.max(0, profile.timeDeltas[index + 1] ?? 0);
    if (frame === undefined || frame.functionName === IDLE) return;
    busyMicros += micros;
    const { functionName, url, lineNumber } = frame;
    const key = `${functionName} ${url} ${lineNumber}`;
    const time = times.get(key);
    if (time !== undefined) time.micros += micros;
    else times.set(key, { name: functionName || '(anonymous)', where: sourceOf(frame), micros });
  });
  const functions = [...times.values()]
    .sort((left, right) => right.micros - left.micros)
    .slice(0, count)
    .map((time) => ({ ...time, share: time.micros / busyMicros }));
  return { busyMicros, functions };
}

/** Finds sources by the map that the bundler left beside a script. */
export function bundleSources(): SourceOf {
  const maps = new Map<string, SourceMap | undefined>();
  return ({ url, lineNumber, columnNumber }) => {
    if (url === '') return 'in the engine';
    if (!url.startsWith('file:')) return url;
    if (url.includes('/node_modules/') && !url.includes('/.cache/'))
      return url.replace(/^.*\/node_modules\//, '');
    if (!maps.has(url)) maps.set(url, readMap(fileURLToPath(url)));
    const entry = maps.get(url)?.findEntry(lineNumber, columnNumber);
    if (entry === undefined || !('originalSource' in entry)) return url;
    return `${entry.originalSource.replace(/^(\.\.\/)+/, '')}:${entry.originalLine + 1}`;
  };
}

function readMap(script: string): SourceMap | undefined {
  try {
    const name = /\/\/# sourceMappingURL=(\S+)\s*$/.exec(readFileSync(script, 'utf8'))?.[1];
    if (name === undefined) return undefined;
    return new SourceMap(JSON.parse(readFileSync(join(dirname(script), name), 'utf8')));
  } catch {
    // The figures hold without the names of files.
    return undefined;
  }
}

export function readProfile(path: string): Profile {
  return JSON.parse(readFileSync(path, 'utf8')) as Profile;
}

export function formatProfile(
  title: string,
  { busyMicros, functions }: ReturnType<typeof selfTimes>,
): string {
  const lines = functions.map(({ name, where, micros, share }) => {
    const [time, part] = [(micros / 1000).toFixed(0), `${(share * 100).toFixed(1)} %`];
    return `  ${part.padStart(7)} ${time.padStart(7)} ms  ${name.slice(0, 40).padEnd(40)}  ${where}`;
  });
  return [`${title}: busy ${(busyMicros / 1000).toFixed(0)} ms`, ...lines].join('\n');
}
