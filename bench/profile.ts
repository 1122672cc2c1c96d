/** Reads what `--cpu-prof` wrote: where a process spent its time, function by function. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
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
const REGION = /^\/\/#region (.+)$/;
const REGION_END = /^\/\/#endregion/;

/**
 * The functions with the most time of their own, most first.
 *
 * @param sourceOf Names the source of a line (from 0) of a script.
 */
export function selfTimes(
  profile: Profile,
  count: number,
  sourceOf: (url: string, line: number) => string,
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
    else times.set(key, { name: functionName || '(anonymous)', where: sourceOf(url, lineNumber), micros });
  });
  const functions = [...times.values()]
    .sort((left, right) => right.micros - left.micros)
    .slice(0, count)
    .map((time) => ({ ...time, share: time.micros / busyMicros }));
  return { busyMicros, functions };
}

/** Finds sources by the marks that the bundler leaves before each module. */
export function bundleSources(): (url: string, line: number) => string {
  const scripts = new Map<string, readonly string[]>();
  return (url, line) => {
    if (url === '') return 'in the engine';
    if (!url.startsWith('file:')) return url;
    if (url.includes('/node_modules/') && !url.includes('/.cache/'))
      return url.replace(/^.*\/node_modules\//, '');
    let marks = scripts.get(url);
    if (marks === undefined) {
      marks = markLines(readFileSync(fileURLToPath(url), 'utf8'));
      scripts.set(url, marks);
    }
    return marks[line] ?? url;
  };
}

/** The module of each line of a bundle. */
export function markLines(text: string): string[] {
  let module = '';
  return text.split('\n').map((line) => {
    if (REGION_END.test(line)) module = '';
    else module = REGION.exec(line)?.[1] ?? module;
    return module;
  });
}

/** The one profile that a process left in `directory`. */
export function readProfile(directory: string): Profile {
  const name = readdirSync(directory).find((file) => file.endsWith('.cpuprofile'));
  if (name === undefined) throw new Error(`no profile was written to ${directory}`);
  return JSON.parse(readFileSync(join(directory, name), 'utf8')) as Profile;
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
