/**
 * The corpus: for each target a file NAME.hex, one input a line in hex, sorted; and SHA256SUMS beside
 * them, so that a file that was changed by accident is noticed and not run.
 */

import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromHex, toHex } from '../../src/base/bytes.ts';
import { refused } from '../../src/cli/failures.ts';
import type { Target } from './target.ts';

const SUMS = 'SHA256SUMS';
const ENDING = '.hex';
const SUM_LINE = /^([0-9a-f]{64}) {2}([a-z0-9-]+\.hex)$/;
/** Entries of one file, at most. */
export const ENTRIES_MAX = 10_000;
/** Bytes of one file, at most. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;

/** Inputs by the name of their target. */
export type Corpus = ReadonlyMap<string, readonly Uint8Array[]>;

/** Reads and checks a corpus. Throws GRAMLINE_INVALID, with a sentence, when anything is not as it was written. */
export function readCorpus(directory: string, targets: readonly Target[]): Corpus {
  const sums = readSums(directory);
  for (const name of readdirSync(directory)) {
    if (name.endsWith(ENDING) && !sums.has(name)) throw tampered(directory, `${name} is not in ${SUMS}`);
  }
  const corpus = new Map<string, readonly Uint8Array[]>();
  for (const [name, sum] of sums) {
    const text = readText(directory, name);
    if (sumOf(text) !== sum) throw tampered(directory, `${name} is not what ${SUMS} says`);
    const target = targets.find((one) => `${one.name}${ENDING}` === name);
    if (target === undefined) throw tampered(directory, `${name} is of no target`);
    corpus.set(target.name, entriesOf(directory, name, text, target.inputBytesMax));
  }
  return corpus;
}

/** Writes a corpus: each target's inputs sorted, none twice; targets without inputs have no file. */
export function writeCorpus(directory: string, corpus: Corpus): void {
  mkdirSync(directory, { recursive: true });
  const sums: string[] = [];
  for (const [name, inputs] of [...corpus].sort(([left], [right]) => (left < right ? -1 : 1))) {
    if (inputs.length === 0) continue;
    const lines = [...new Set(inputs.map(toHex))].sort();
    const text = `${lines.join('\n')}\n`;
    writeFileSync(join(directory, `${name}${ENDING}`), text);
    sums.push(`${sumOf(text)}  ${name}${ENDING}\n`);
  }
  writeFileSync(join(directory, SUMS), sums.join(''));
}

function readSums(directory: string): ReadonlyMap<string, string> {
  const sums = new Map<string, string>();
  for (const line of readText(directory, SUMS).split('\n').slice(0, -1)) {
    const match = SUM_LINE.exec(line);
    if (match === null) throw tampered(directory, `${SUMS} has a line that is no checksum`);
    sums.set(match[2]!, match[1]!);
  }
  return sums;
}

function entriesOf(directory: string, name: string, text: string, bytesMax: number): Uint8Array[] {
  const lines = text.split('\n');
  if (lines.pop() !== '') throw tampered(directory, `${name} ends in the middle of a line`);
  if (lines.length > ENTRIES_MAX) throw tampered(directory, `${name} has more than ${ENTRIES_MAX} entries`);
  return lines.map((line, index) => {
    const bytes = fromHex(line);
    if (bytes === undefined) throw tampered(directory, `${name} line ${index + 1} is no hex`);
    if (bytes.length > bytesMax) {
      throw tampered(directory, `${name} line ${index + 1} has more than ${bytesMax} bytes`);
    }
    return bytes;
  });
}

function readText(directory: string, name: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(join(directory, name));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? `${name} is missing` : `${name} cannot be read (${code})`;
    throw tampered(directory, why, error);
  }
  if (bytes.length > FILE_BYTES_MAX) throw tampered(directory, `${name} is larger than a corpus file may be`);
  return bytes.toString('latin1');
}

function sumOf(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex');
}

function tampered(directory: string, why: string, cause?: unknown): Error {
  return refused(`the corpus in ${directory} is not as it was written: ${why}`, cause);
}
