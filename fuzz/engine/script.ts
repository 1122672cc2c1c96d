/**
 * Inputs of targets with a state are scripts: steps one after the other, each an operation, a length of
 * two bytes, and what it works on. Every byte string is a script: what does not fit is cut.
 */

import { concatBytes } from '../../src/base/bytes.ts';
import { type Layout, LayoutBuilder, numberAt } from './layout.ts';

/** A step as it is written. */
export interface StepText {
  readonly operation: number;
  readonly content: Uint8Array;
}

/** A step as it was read. */
export interface Step extends StepText {
  /** Where the content stands in the script. */
  readonly at: number;
}

/** Steps of one script that are carried out. */
export const STEPS_MAX = 64;
const HEAD_BYTES = 3;

/** The steps behind the first `start` bytes, which are the target's own. */
export function stepsOf(script: Uint8Array, start: number): Step[] {
  const steps: Step[] = [];
  let at = start;
  while (at < script.length && steps.length < STEPS_MAX) {
    const content = at + HEAD_BYTES;
    const end = Math.min(content + numberAt(script, at + 1, 2), script.length);
    steps.push({ operation: script[at]!, content: script.slice(content, end), at: content });
    at = Math.max(end, content);
  }
  return steps;
}

/** A script of these steps behind `head`. */
export function scriptOf(head: Uint8Array, steps: readonly StepText[]): Uint8Array {
  const parts = steps.map(({ operation, content }) =>
    concatBytes(Uint8Array.of(operation, content.length >>> 8, content.length & 0xff), content),
  );
  return concatBytes(head, ...parts);
}

/** The parts of a script; `layoutOf` knows what stands inside a step. */
export function scriptLayout(
  script: Uint8Array,
  start: number,
  layoutOf: (step: Step) => Layout | undefined,
): Layout {
  const layout = new LayoutBuilder();
  for (let at = 0; at < Math.min(start, script.length); at++) layout.number(at, 1);
  for (const step of stepsOf(script, start)) {
    const head = step.at - HEAD_BYTES;
    const end = step.at + step.content.length;
    layout.number(head, 1);
    layout.length(head + 1, 2, step.at, end);
    layout.item(head, end - head);
    const inner = layoutOf(step);
    if (inner !== undefined) layout.nested(step.at, inner);
    else layout.bytes(step.at, step.content.length);
  }
  return layout;
}
