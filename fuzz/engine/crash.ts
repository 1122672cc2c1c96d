/** Inputs that broke something: made smaller, kept as files, run again. */

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { concatBytes, fromHex, toHex } from '../../src/base/bytes.ts';
import { refused } from '../../src/cli/failures.ts';
import type { Layout } from './layout.ts';
import { withoutItem } from './mutation.ts';
import type { Target } from './target.ts';

const HEADER = 'gramline fuzz crash 1';
/** No crash file is larger: a line of hex and a few words. */
const FILE_BYTES_MAX = 1024 * 1024;
/** Runs that making one input smaller may take. */
const SHRINK_RUNS_MAX = 2_000;

export interface Crash {
  readonly target: string;
  readonly input: Uint8Array;
  /** What went wrong, in one line. */
  readonly sentence: string;
}

/** What two crashes have in common that are one fault: the sentence without its numbers. */
export function faultOf(crash: Pick<Crash, 'target' | 'sentence'>): string {
  return `${crash.target}: ${crash.sentence.replaceAll(/\d+/g, 'N')}`;
}

/** Writes a crash to a file of its own below `directory`; its path. */
export function saveCrash(directory: string, crash: Crash): string {
  mkdirSync(directory, { recursive: true });
  const name = createHash('sha256').update(crash.input).digest('hex').slice(0, 16);
  const path = join(directory, `${crash.target}-${name}.crash`);
  const lines = [HEADER, `target ${crash.target}`, `says ${crash.sentence}`, `input ${toHex(crash.input)}`];
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

/** Reads what {@link saveCrash} wrote. Throws GRAMLINE_INVALID, with a sentence, when it is something else. */
export function readCrash(path: string): Crash {
  if (statSync(path).size > FILE_BYTES_MAX) throw refused(`${path} is no crash file: it is too large`);
  const [header, target, says, input] = readFileSync(path, 'utf8').split('\n');
  const bytes = input?.startsWith('input ') ? fromHex(input.slice(6)) : undefined;
  const isWhole = header === HEADER && target?.startsWith('target ') && says?.startsWith('says ');
  if (!isWhole || bytes === undefined) throw refused(`${path} is no crash file`);
  return { target: target!.slice(7), sentence: says!.slice(5), input: bytes };
}

/**
 * A smaller input with the same fault: items and parts are cut out, then bytes set to zero, as long as
 * `sentenceAt` gives the same fault.
 */
export async function shrunk(
  crash: Crash,
  layoutOf: (input: Uint8Array) => Layout,
  sentenceAt: (input: Uint8Array) => Promise<string | undefined>,
): Promise<Crash> {
  const fault = faultOf(crash);
  let best = crash;
  let runs = 0;
  const tries = async (input: Uint8Array): Promise<boolean> => {
    if (runs >= SHRINK_RUNS_MAX || input.length > best.input.length) return false;
    runs += 1;
    const sentence = await sentenceAt(input);
    if (sentence === undefined || faultOf({ target: crash.target, sentence }) !== fault) return false;
    best = { ...crash, input, sentence };
    return true;
  };
  for (let from = 0; ; ) {
    const layout = layoutOf(best.input);
    const item = layout.items[from];
    if (item === undefined) break;
    if (!(await tries(withoutItem(best.input, layout, item)))) from += 1;
  }
  for (let part = Math.ceil(best.input.length / 2); part >= 1; part = Math.floor(part / 2)) {
    for (let at = 0; at < best.input.length; ) {
      const without = concatBytes(best.input.subarray(0, at), best.input.subarray(at + part));
      if (!(await tries(without))) at += part;
    }
  }
  for (let at = 0; at < best.input.length; at++) {
    if (best.input[at] === 0) continue;
    const zeroed = best.input.slice();
    zeroed[at] = 0;
    await tries(zeroed);
  }
  return best;
}

/** The target of this name. Throws GRAMLINE_INVALID when there is none. */
export function targetOf(name: string, targets: readonly Target[]): Target {
  const target = targets.find((one) => one.name === name);
  if (target === undefined) throw refused(`there is no target '${name}'`);
  return target;
}
