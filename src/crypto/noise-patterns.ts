/**
 * The Noise patterns that `noise.ts` runs, as tables of tokens, and the reading of their names.
 *
 * From the Noise Protocol Framework, revision 34, sections 7.5 and 9.4. Left out: one-way, deferred
 * and fallback patterns.
 */

import { assert } from '../base/assert.ts';

export type NoiseToken = 'e' | 's' | 'ee' | 'es' | 'se' | 'ss' | 'psk';
export type BasePattern = 'NN' | 'KK' | 'IK' | 'XX';
type PskModifier = `psk${0 | 1 | 2 | 3}`;

/** A pattern name with its psk modifiers in rising order, as in `NNpsk0` or `NNpsk0+psk2`. */
export type NoisePattern =
  | BasePattern
  | `${BasePattern}${PskModifier}`
  | `${BasePattern}${PskModifier}+${PskModifier}`;

export type NoiseRole = 'initiator' | 'responder';

export interface ParsedPattern {
  readonly base: BasePattern;
  readonly messages: readonly (readonly NoiseToken[])[];
  readonly pskCount: number;
}

const MESSAGES: Readonly<Record<BasePattern, readonly (readonly NoiseToken[])[]>> = {
  NN: [['e'], ['e', 'ee']],
  KK: [
    ['e', 'es', 'ss'],
    ['e', 'ee', 'se'],
  ],
  IK: [
    ['e', 'es', 's', 'ss'],
    ['e', 'ee', 'se'],
  ],
  XX: [['e'], ['e', 'ee', 's', 'es'], ['s', 'se']],
};

/** Whose static keys both ends know beforehand, in the order in which they are hashed. */
export const PRE_MESSAGES: Readonly<Record<BasePattern, readonly NoiseRole[]>> = {
  NN: [],
  KK: ['initiator', 'responder'],
  IK: ['responder'],
  XX: [],
};

const PATTERN_NAME = /^(NN|KK|IK|XX)(psk[0-3](?:\+psk[0-3])*)?$/;

/** Applies psk modifiers: psk0 opens the first message, pskN closes message N (Noise section 9.4). */
export function parsePattern(pattern: NoisePattern): ParsedPattern {
  const match = PATTERN_NAME.exec(pattern);
  assert(match !== null, `no such Noise pattern: ${pattern}`);
  const base = match[1] as BasePattern;
  const messages = MESSAGES[base].map((tokens) => [...tokens]);
  const modifiers = (match[2]?.split('+') ?? []).map((modifier) => Number(modifier.slice('psk'.length)));
  for (const [index, position] of modifiers.entries()) {
    assert(position <= messages.length, `${base} has no place for psk${position}`);
    assert(index === 0 || position > modifiers[index - 1]!, 'psk modifiers rise');
    if (position === 0) messages[0]!.unshift('psk');
    else messages[position - 1]!.push('psk');
  }
  return { base, messages, pskCount: modifiers.length };
}
