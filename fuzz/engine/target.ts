/** What can be fuzzed: a target takes byte strings, and knows by itself when something is wrong. */

import type { Random } from '../../sim/random.ts';
import type { Layout } from './layout.ts';

export interface Target {
  readonly name: string;
  /** What it feeds, for `gramline fuzz --list`. */
  readonly description: string;
  /** Its share of a campaign's inputs, beside the shares of the others. */
  readonly weight: number;
  /** Longer inputs are cut. */
  readonly inputBytesMax: number;
  /** A valid input. All chance comes from `random`. */
  generate(random: Random): Uint8Array;
  /** Where the parts of an input stand, as far as they can be made out. Never throws. */
  layout(input: Uint8Array): Layout;
  /**
   * Runs one input from a fresh start, so that the same input gives the same again. Returns a word for
   * what became of it; throws, best a {@link Finding}, when something is wrong.
   */
  run(input: Uint8Array): string | Promise<string>;
}

/** Something is wrong with the code under test: an oracle says so. */
export class Finding extends Error {
  override readonly name = 'Finding';
}

/** Throws a {@link Finding} unless `condition` holds. */
export function check(condition: boolean, sentence: string): asserts condition {
  if (!condition) throw new Finding(sentence);
}

/** What a thrown thing says, in one line, without what differs from run to run. */
export function sentenceOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.replaceAll(/\s*[\r\n]+\s*/g, ' ').slice(0, SENTENCE_CHARACTERS_MAX);
}

const SENTENCE_CHARACTERS_MAX = 300;
